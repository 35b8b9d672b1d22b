//! `generation_config.json`, and the ids that are no text: what a window's text begins with, ends with, and may not hold.

use std::ops::Range;

use serde::Deserialize;

use crate::Result;
use crate::files::ModelFiles;
use crate::models::whisper::WhisperConfig;
use crate::tokenizer::WhisperTokenizer;
use atelier_inference::speech::SpeechTask;
use atelier_inference::speech::languages;

const NAME: &str = "generation_config.json";
const TOKENIZER: &str = "tokenizer.json";
/// Most attention heads that align words; there are 20 layers of 20 heads in the largest.
const MAX_HEADS: usize = 1_024;

/// Ids with a meaning.
#[derive(Debug)]
pub(super) struct Tokens {
    /// Ends a text; all ids from here on are no text.
    pub(super) eot: u32,
    pub(super) sot: u32,
    pub(super) translate: u32,
    pub(super) transcribe: u32,
    /// Comes before text of earlier windows.
    pub(super) sot_prev: u32,
    pub(super) no_speech: u32,
    pub(super) no_timestamps: u32,
    /// The first timestamp, 0 s, to the last, a window's end.
    pub(super) timestamps: Range<u32>,
    /// Codes and ids; none where the model knows English only.
    pub(super) languages: Vec<(&'static str, u32)>,
    /// Those that no text may hold, of the file.
    pub(super) suppressed: Vec<u32>,
    /// Those that no text may begin with.
    pub(super) suppressed_at_begin: Vec<u32>,
    /// Special ones that never follow from others.
    pub(super) never_written: Vec<u32>,
    /// Layer and head of those whose attention follows the audio.
    pub(super) alignment_heads: Vec<(usize, usize)>,
}

/// The keys that are read; others concern other ways to generate.
#[derive(Deserialize)]
struct File {
    is_multilingual: bool,
    #[serde(default)]
    suppress_tokens: Option<Vec<u32>>,
    #[serde(default)]
    begin_suppress_tokens: Option<Vec<u32>>,
    #[serde(default)]
    alignment_heads: Option<Vec<(usize, usize)>>,
}

impl Tokens {
    /// Reads the file and looks the special tokens up.
    pub(super) fn read(
        files: &ModelFiles,
        config: &WhisperConfig,
        tokenizer: &WhisperTokenizer,
    ) -> Result<Self> {
        let file: File = files.json(NAME)?;
        file.check(config).map_err(|reason| files.malformed(NAME, reason))?;
        if tokenizer.vocabulary() > config.vocab_size {
            let reason = format!("has {} ids; config.json has {}", tokenizer.vocabulary(), config.vocab_size);
            return Err(files.malformed(TOKENIZER, reason));
        }
        let id = |name: &str| {
            tokenizer
                .special(name)
                .ok_or_else(|| files.malformed(TOKENIZER, format!("has no token `{name}`")))
        };
        // the id before has had two names
        let no_speech = tokenizer.special("<|nospeech|>").map_or_else(|| id("<|nocaptions|>"), Ok);
        let no_timestamps = id("<|notimestamps|>")?;
        // one for every state of the window and one for its end; older files do not list them
        let end = no_timestamps as usize + 2 + config.max_source_positions;
        if end > config.vocab_size {
            let reason =
                format!("{} ids leave no room for timestamps after {no_timestamps}", config.vocab_size);
            return Err(files.malformed("config.json", reason));
        }
        let languages = if file.is_multilingual { known_languages(tokenizer) } else { Vec::new() };
        if file.is_multilingual && languages.is_empty() {
            let reason =
                format!("has no language's token such as `<|en|>`, though {NAME} says is_multilingual");
            return Err(files.malformed(TOKENIZER, reason));
        }
        let mut tokens = Self {
            eot: id("<|endoftext|>")?,
            sot: id("<|startoftranscript|>")?,
            translate: id("<|translate|>")?,
            transcribe: id("<|transcribe|>")?,
            sot_prev: id("<|startofprev|>")?,
            no_speech: no_speech?,
            no_timestamps,
            timestamps: no_timestamps + 1..end as u32,
            languages,
            suppressed: file.suppress_tokens.unwrap_or_default(),
            suppressed_at_begin: file.begin_suppress_tokens.unwrap_or_default(),
            never_written: tokenizer.special("<|startoflm|>").into_iter().collect(),
            alignment_heads: file.alignment_heads.unwrap_or_else(|| last_half(config)),
        };
        let never = [
            tokens.transcribe,
            tokens.translate,
            tokens.sot,
            tokens.sot_prev,
            tokens.no_speech,
            no_timestamps,
        ];
        tokens.never_written.extend(never);
        Ok(tokens)
    }

    /// What a text begins with, in a language where the model knows several.
    pub(super) fn beginning(&self, language: &str, task: SpeechTask) -> Vec<u32> {
        let Some((_, language)) = self.languages.iter().find(|(code, _)| *code == language) else {
            return vec![self.sot];
        };
        let task = if task == SpeechTask::Translate { self.translate } else { self.transcribe };
        vec![self.sot, *language, task]
    }
}

impl File {
    fn check(&self, config: &WhisperConfig) -> std::result::Result<(), String> {
        let lists = self.suppress_tokens.iter().chain(&self.begin_suppress_tokens);
        if let Some(id) = lists.flatten().find(|id| **id as usize >= config.vocab_size) {
            return Err(format!("suppresses {id}, which is none of config.json's {} ids", config.vocab_size));
        }
        let heads = self.alignment_heads.as_deref();
        if heads.is_some_and(|heads| heads.is_empty() || heads.len() > MAX_HEADS) {
            return Err(format!("alignment_heads: 1 to {MAX_HEADS} make sense"));
        }
        let (layers, most) = (config.decoder_layers, config.decoder_attention_heads);
        match heads.into_iter().flatten().find(|(layer, head)| *layer >= layers || *head >= most) {
            Some((layer, head)) => Err(format!(
                "alignment_heads: there is no head {head} in layer {layer} of {layers} with {most} each"
            )),
            None => Ok(()),
        }
    }
}

fn known_languages(tokenizer: &WhisperTokenizer) -> Vec<(&'static str, u32)> {
    let id = |code: &'static str| Some((code, tokenizer.special(&format!("<|{code}|>"))?));
    languages::codes().filter_map(id).collect()
}

/// Every head of the later layers, as OpenAI's models have it before they are told better.
fn last_half(config: &WhisperConfig) -> Vec<(usize, usize)> {
    let layers = config.decoder_layers / 2..config.decoder_layers;
    layers.flat_map(|layer| (0..config.decoder_attention_heads).map(move |head| (layer, head))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_name_what_is_not_there_are_refused() {
        let mut config = WhisperConfig::default();
        (config.vocab_size, config.decoder_layers, config.decoder_attention_heads) = (10, 3, 2);
        let check = |text: &str| serde_json::from_str::<File>(text).unwrap().check(&config);
        check(r#"{"is_multilingual": true, "suppress_tokens": [9], "alignment_heads": [[2, 1]]}"#).unwrap();
        for (keys, wrong) in [
            (r#""suppress_tokens": [10]"#, "suppresses 10"),
            (r#""begin_suppress_tokens": [3, 11]"#, "suppresses 11"),
            (r#""alignment_heads": []"#, "1 to 1024"),
            (r#""alignment_heads": [[3, 0]]"#, "no head 0 in layer 3"),
            (r#""alignment_heads": [[0, 0], [0, 2]]"#, "no head 2 in layer 0"),
        ] {
            let error = check(&format!(r#"{{"is_multilingual": false, {keys}}}"#)).unwrap_err();
            assert!(error.contains(wrong), "wanted `{wrong}`: {error}");
        }
        assert_eq!(last_half(&config), [(1, 0), (1, 1), (2, 0), (2, 1)]);
    }
}
