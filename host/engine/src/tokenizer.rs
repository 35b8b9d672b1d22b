//! CLIP's tokenizer: text to ids, by byte-pair encoding (transformers' `CLIPTokenizer`), from `tokenizer/vocab.json` and
//! `merges.txt` or from `tokenizer.json`. Knows nothing of chunks or encoders.
//!
//! Must give the ids that transformers gives, token by token: one id off is another picture. So the files become the
//! `tokenizer.json` that transformers itself would write (`vocabulary`), and the same Rust library runs it.

mod byte_level;
mod charsmap;
mod language;
mod sentencepiece;
mod t5;
mod vocabulary;
mod whisper;

use serde::Deserialize;
use tokenizers::{AddedToken, Tokenizer};

use crate::files::ModelFiles;
use crate::{Error, Result};

pub use byte_level::TextStream;
pub use language::LanguageTokenizer;
pub use t5::T5Tokenizer;
pub use whisper::WhisperTokenizer;

/// Longest context when the file names none, or the placeholder that transformers writes for "no limit".
const DEFAULT_LENGTH: usize = 77;
/// A `model_max_length` above this is the placeholder (transformers writes 1e30).
const MAX_LENGTH: f64 = 4_096.0;

/// A tokenizer and the ids around a prompt.
#[derive(Debug)]
pub struct ClipTokenizer {
    /// Adds no special tokens: the pipeline puts them around each chunk.
    tokenizer: Tokenizer,
    /// Starts every sequence.
    pub bos: u32,
    /// Ends every sequence.
    pub eos: u32,
    /// Fills a sequence up.
    pub pad: u32,
    /// Ids of a full sequence, `bos` and `eos` included.
    pub max_length: usize,
    /// Words that were learned as several ids: the first, and how many.
    several: Vec<(u32, u32)>,
}

/// A special token, as a plain string or as an object.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Special {
    Text(String),
    Object { content: String },
}

/// The keys that `tokenizer_config.json` and `special_tokens_map.json` share; the rest of either does not change ids.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    bos_token: Option<Special>,
    eos_token: Option<Special>,
    unk_token: Option<Special>,
    pad_token: Option<Special>,
    model_max_length: Option<f64>,
}

/// The special tokens' texts; CLIP's own where the files name none.
struct Specials {
    bos: String,
    eos: String,
    unk: String,
    pad: String,
}

impl ClipTokenizer {
    /// Reads a folder, such as `tokenizer`.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Malformed`] name the file; so does a special token that the vocabulary lacks.
    #[doc(hidden)]
    pub fn open(files: &ModelFiles, folder: &str) -> Result<Self> {
        let config_name = format!("{folder}/tokenizer_config.json");
        let config: Config = optional(files, &config_name)?;
        let map = optional(files, &format!("{folder}/special_tokens_map.json"))?;
        let specials = Specials::of(&config, map);
        let (name, tokenizer) = load(files, folder, &specials)?;
        let id = |token: &str| {
            let id = tokenizer.token_to_id(token);
            id.ok_or_else(|| {
                files.malformed(&name, format!("special token `{token}` is not in the vocabulary"))
            })
        };
        let (bos, eos, pad) = (id(&specials.bos)?, id(&specials.eos)?, id(&specials.pad)?);
        let length = config.model_max_length.filter(|length| *length <= MAX_LENGTH);
        let max_length = length.map_or(DEFAULT_LENGTH, |length| length as usize);
        if max_length < 3 {
            return Err(files.malformed(&config_name, "model_max_length leaves no room for text"));
        }
        Ok(Self { tokenizer, bos, eos, pad, max_length, several: Vec::new() })
    }

    /// The ids of a text, without `bos`, `eos` and padding.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, false);
        let reason =
            |error| Error::Invalid { field: "prompt", reason: format!("cannot be tokenized: {error}") };
        let ids = encoding.map_err(reason)?.get_ids().to_vec();
        Ok(if self.several.is_empty() { ids } else { self.with_all_of_learned(&ids) })
    }

    /// Learns a word as `count` new ids, which follow those that there are. As in diffusers, all but the first can be
    /// written alone, as `word_1` and so on.
    ///
    /// # Errors
    /// Why the word cannot be learned; nothing is then.
    pub(crate) fn learn(&mut self, word: &str, count: usize) -> std::result::Result<(), String> {
        let first = self.vocabulary();
        let later = (1..count).map(|index| format!("{word}_{index}"));
        let words: Vec<String> = [word.to_string()].into_iter().chain(later).collect();
        if let Some(known) = words.iter().find(|word| self.knows(word)) {
            return Err(format!("the tokenizer knows `{known}` already; give the embedding another word"));
        }
        // found after the text was normalized, as transformers adds a token that is given as text
        let tokens: Vec<_> = words.iter().map(|word| AddedToken::from(word.as_str(), false)).collect();
        self.tokenizer.add_tokens(tokens).map_err(|error| error.to_string())?;
        let last = self.tokenizer.token_to_id(&words[words.len() - 1]);
        if last.map(|id| id as usize) != Some(first + count - 1) {
            return Err("the tokenizer's ids have gaps, so that new ones have no place after them".into());
        }
        if count > 1 {
            self.several.push((first as u32, count as u32));
        }
        Ok(())
    }

    /// Whether there is such a token, in whatever case: texts are lowered before tokens are looked for.
    fn knows(&self, word: &str) -> bool {
        let lowered = word.to_lowercase();
        let added = self.tokenizer.get_added_tokens_decoder();
        self.tokenizer.token_to_id(word).is_some()
            || self.tokenizer.token_to_id(&lowered).is_some()
            || added.values().any(|token| token.content.to_lowercase() == lowered)
    }

    /// With the other ids of a learned word after its first.
    fn with_all_of_learned(&self, ids: &[u32]) -> Vec<u32> {
        let count = |id| self.several.iter().find(|(first, _)| *first == id).map_or(1, |(_, count)| *count);
        ids.iter().flat_map(|id| *id..*id + count(*id)).collect()
    }

    /// One more than the highest id: the rows that the text encoder's embedding table must have at least.
    pub(crate) fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab(true).values().max().map_or(0, |id| *id as usize + 1)
    }
}

/// A file that may be missing; every key of it then takes its default.
fn optional(files: &ModelFiles, name: &str) -> Result<Config> {
    if files.contains(name) { files.json(name) } else { Ok(Config::default()) }
}

impl Specials {
    /// The configuration wins over the map. A missing `unk` or `pad` is the end of the text, which Stable Diffusion 1
    /// pads with; Stable Diffusion 2 names `!`.
    fn of(config: &Config, map: Config) -> Self {
        let text = |first: &Option<Special>, second: Option<Special>, default: &str| {
            first.clone().or(second).map_or_else(|| default.into(), Special::into_text)
        };
        let eos = text(&config.eos_token, map.eos_token, "<|endoftext|>");
        Self {
            bos: text(&config.bos_token, map.bos_token, "<|startoftext|>"),
            unk: text(&config.unk_token, map.unk_token, &eos),
            pad: text(&config.pad_token, map.pad_token, &eos),
            eos,
        }
    }
}

impl Special {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) | Self::Object { content: text } => text,
        }
    }
}

/// The tokenizer and the file that errors should name.
fn load(files: &ModelFiles, folder: &str, specials: &Specials) -> Result<(String, Tokenizer)> {
    let (name, json) = vocabulary::read(files, folder, specials)?;
    let tokenizer = Tokenizer::from_bytes(json)
        .map_err(|error| files.malformed(&name, format!("not a CLIP vocabulary: {error}")))?;
    Ok((name, tokenizer))
}
