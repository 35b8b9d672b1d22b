//! Tokenizers of language models: text to ids and back, from a GGUF file's metadata (`ggml`) or a folder's
//! `tokenizer.json` (`published`). Both become one checked [`Vocabulary`], and the same library runs it.
//!
//! Two kinds: words over bytes, cut by a pattern before pairs are merged (GPT-2's, of Llama 3, Qwen, Phi 4), and pieces of
//! SentencePiece's with bytes where nothing fits (Mistral's, Gemma's). A file's own patterns never reach the library: they
//! must be among those of `patterns`. Tokens with a meaning are found in what a template wrote, never in what a person did:
//! see [`LanguageTokenizer::guarded`].

mod ggml;
mod patterns;
mod published;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::{AhoCorasick, MatchKind};
use tokenizers::Tokenizer;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;

use crate::files::ModelFiles;
use crate::weights::Metadata;
use crate::{Error, Result};
use vocabulary::{Added, Kind, Prefix, SPACE, Vocabulary};

/// Texts that end a turn in the files of many families, and are looked for as llama.cpp does: files forget to name them.
const ENDS: [&str; 6] =
    ["<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>"];

/// A tokenizer, and what belongs to it.
#[derive(Debug)]
pub struct LanguageTokenizer {
    /// Of plain text.
    tokenizer: Tokenizer,
    /// None where the vocabulary is over bytes.
    prefix: Option<Prefix>,
    added: Vec<Added>,
    /// Finds the texts of `added`.
    finder: AhoCorasick,
    /// Finds those that are special.
    specials: AhoCorasick,
    /// What each id adds to the bytes of a text; none for special and unknown ones.
    bytes: Vec<Option<Vec<u8>>>,
    /// The texts of the tokens that begin and end a conversation, as templates name them.
    begin: String,
    end: String,
    ends: BTreeSet<u32>,
}

impl LanguageTokenizer {
    /// Reads a GGUF file's metadata, or `tokenizer.json` and what is beside it.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Malformed`] and [`Error::Unsupported`] name the file, and the key where it is one.
    pub(crate) fn open(files: &ModelFiles, metadata: Option<&Metadata>) -> Result<Self> {
        let (vocabulary, name) = match metadata {
            Some(metadata) => (ggml::read(metadata)?, metadata.file()),
            None => (published::read(files)?, published::NAME),
        };
        Self::new(vocabulary).map_err(|reason| files.malformed(name, reason))
    }

    fn new(vocabulary: Vocabulary) -> std::result::Result<Self, String> {
        vocabulary.check()?;
        let bytes = vocabulary.bytes();
        let Vocabulary { words, merges, mut added, kind, begin, ends } = vocabulary;
        let end = ends.first().copied();
        added.retain(|added| !added.text.is_empty());
        let named = ENDS
            .into_iter()
            .filter_map(|end| added.iter().find(|token| token.is_special && token.text == end));
        let ends = ends
            .iter()
            .copied()
            .chain(named.map(|token| token.id))
            .filter(|id| (*id as usize) < bytes.len())
            .collect();
        let special: Vec<&str> = texts(&added, |token| token.is_special);
        let text = |id: Option<u32>| {
            let added = added.iter().find(|token| Some(token.id) == id).map(|token| token.text.clone());
            let word = || words.iter().find(|(_, own)| Some(**own) == id).map(|(word, _)| word.clone());
            added.or_else(word).unwrap_or_default()
        };
        Ok(Self {
            begin: text(begin),
            end: text(end),
            finder: finder(&texts(&added, |_| true), MatchKind::LeftmostLongest)?,
            specials: finder(&special, MatchKind::Standard)?,
            prefix: match kind {
                Kind::Bytes { .. } => None,
                Kind::Pieces { prefix, .. } => Some(prefix),
            },
            tokenizer: build(words, merges, kind)?,
            added,
            bytes,
            ends,
        })
    }

    /// The ids of a text in which tokens have their meaning, but for those that hold the mark of
    /// [`LanguageTokenizer::guarded`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for text that the library cannot cut.
    pub fn ids(&self, text: &str, mark: Option<char>) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let mut from = 0;
        for found in self.finder.find_iter(text) {
            let token = &self.added[found.pattern().as_usize()];
            // an earlier one may have taken the space before this one
            let before = text.get(from..found.start()).unwrap_or_default();
            let before = if token.takes_before { before.trim_end() } else { before };
            self.plain_ids(before, from, mark, &mut ids)?;
            ids.push(token.id);
            from = found.end();
            if token.takes_after {
                from += text[from..].len() - text[from..].trim_start().len();
            }
        }
        self.plain_ids(text.get(from..).unwrap_or_default(), from, mark, &mut ids)?;
        Ok(ids)
    }

    /// Of text without tokens that have a meaning, which begins at `from` of the whole.
    fn plain_ids(&self, text: &str, from: usize, mark: Option<char>, ids: &mut Vec<u32>) -> Result<()> {
        let mut text: String = text.chars().filter(|letter| Some(*letter) != mark).collect();
        if text.is_empty() {
            return Ok(());
        }
        if let Some(prefix) = self.prefix {
            text = text.replace(' ', "▁");
            let is_put =
                prefix == Prefix::Each || prefix == Prefix::First && from == 0 && !text.starts_with(SPACE);
            if is_put {
                text.insert(0, SPACE);
            }
        }
        let encoding = self.tokenizer.encode_fast(text, false);
        let reason =
            |error| Error::Invalid { field: "turns", reason: format!("cannot be tokenized: {error}") };
        ids.extend(encoding.map_err(reason)?.get_ids());
        Ok(())
    }

    /// A person's text with a mark inside of all that looks like a special token, so that none is found there whatever is
    /// written around it; `mark` is a letter that is in no text. [`LanguageTokenizer::ids`] takes it out again.
    pub fn guarded(&self, text: &str, mark: char) -> String {
        let mut places: Vec<usize> =
            self.specials.find_overlapping_iter(text).map(|found| found.start()).collect();
        // the beginning of one, which what follows could end
        let end = text.trim_end();
        let tail = |token: &&Added| {
            let cuts = token.text.char_indices().skip(1).map(|(at, _)| &token.text[..at]);
            cuts.filter(|part| end.ends_with(part)).map(|part| end.len() - part.len()).min()
        };
        places.extend(self.added.iter().filter(|token| token.is_special).filter_map(|token| tail(&token)));
        places.sort_unstable();
        places.dedup();
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        for place in places {
            // after the first letter
            let letter = text[place..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&text[from..place + letter]);
            out.push(mark);
            from = place + letter;
        }
        out.push_str(&text[from..]);
        out
    }

    /// What an id adds to the bytes of a text: nothing where it is special or unknown.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).and_then(Option::as_deref).unwrap_or_default()
    }

    /// Whether replies are decoded without their first space: it was put there.
    pub fn drops_first_space(&self) -> bool {
        self.prefix.is_some_and(|prefix| prefix != Prefix::Never)
    }

    /// Whether an id ends a reply.
    pub fn is_end(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    /// The ids that end a reply.
    pub fn ends(&self) -> impl Iterator<Item = u32> {
        self.ends.iter().copied()
    }

    /// The text of the token that begins a conversation; empty where there is none.
    pub fn begin_text(&self) -> &str {
        &self.begin
    }

    /// The text of the token that ends one, as templates name it.
    pub fn end_text(&self) -> &str {
        &self.end
    }

    /// Whether there is a special token of this text.
    pub fn has_special(&self, text: &str) -> bool {
        self.added.iter().any(|token| token.is_special && token.text == text)
    }

    /// One more than the highest id.
    pub fn vocabulary(&self) -> usize {
        self.bytes.len()
    }
}

fn texts(added: &[Added], is_wanted: impl Fn(&Added) -> bool) -> Vec<&str> {
    added.iter().filter(|token| is_wanted(token)).map(|token| token.text.as_str()).collect()
}

fn finder(texts: &[&str], kind: MatchKind) -> std::result::Result<AhoCorasick, String> {
    AhoCorasick::builder().match_kind(kind).build(texts).map_err(|error| error.to_string())
}

/// The library's tokenizer for plain text.
fn build(
    words: BTreeMap<String, u32>,
    merges: Vec<(String, String)>,
    kind: Kind,
) -> std::result::Result<Tokenizer, String> {
    let text = |error: Box<dyn std::error::Error + Send + Sync>| error.to_string();
    let words: Vocab = words.into_iter().collect();
    let model = BPE::builder().vocab_and_merges(words, merges);
    match kind {
        Kind::Bytes { pattern, is_composed, takes_whole_words } => {
            let mut made = Tokenizer::new(model.ignore_merges(takes_whole_words).build().map_err(text)?);
            if is_composed {
                made.with_normalizer(Some(NFC)).map_err(text)?;
            }
            made.with_pre_tokenizer(Some(pattern.pre_tokenizer().map_err(text)?));
            Ok(made)
        }
        Kind::Pieces { unknown, .. } => {
            let model = model.byte_fallback(true).fuse_unk(true);
            let model = match unknown {
                Some(unknown) => model.unk_token(unknown),
                None => model,
            };
            Ok(Tokenizer::new(model.build().map_err(text)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::patterns::Pattern;
    use super::*;

    fn tokenizer(
        kind: Kind,
        words: &[&str],
        merges: &[(&str, &str)],
        specials: &[&str],
    ) -> LanguageTokenizer {
        let first = words.len() as u32;
        let added = specials.iter().zip(first..).map(|(text, id)| Added {
            id,
            text: text.to_string(),
            is_special: *text != "<think>",
            takes_before: false,
            takes_after: *text == "<|end|>",
        });
        let vocabulary = Vocabulary {
            words: words.iter().zip(0..).map(|(word, id)| (word.to_string(), id)).collect(),
            merges: merges.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
            added: added.collect(),
            kind,
            begin: None,
            ends: vec![],
        };
        LanguageTokenizer::new(vocabulary).unwrap()
    }

    const BYTES: Kind = Kind::Bytes { pattern: Pattern::Qwen2, is_composed: false, takes_whole_words: false };

    #[test]
    fn special_tokens_have_their_meaning_in_templates_alone() {
        let words = ["a", "b", "ab", "Ġ", "<", "|", ">", "x"];
        let made = tokenizer(BYTES, &words, &[("a", "b")], &["<|x|>", "<think>", "<|end|>"]);
        assert_eq!(made.ids("ab<|x|>b a<think>", None).unwrap(), [2, 8, 1, 3, 0, 9]);
        assert_eq!(made.ids("a<|end|>  b", None).unwrap(), [0, 10, 1]);
        assert!(made.is_end(10) && !made.is_end(8));
        let mark = '\u{f0000}';
        for text in ["<|x|>", "ab<|x|><|x|>", "<<|x|>", "a<|x|", "<|x|>a<think>"] {
            let guarded = made.guarded(text, mark);
            let ids = made.ids(&guarded, Some(mark)).unwrap();
            assert!(!ids.contains(&8), "{text}");
            let bytes: Vec<u8> = ids.iter().flat_map(|id| made.bytes(*id)).copied().collect();
            assert_eq!(String::from_utf8(bytes).unwrap(), text);
            // nor together with what a template writes after it
            let whole = made.ids(&format!("{guarded}|>"), Some(mark)).unwrap();
            assert!(!whole.contains(&8), "{text}");
        }
        assert_eq!(made.guarded("plain text", mark), "plain text");
    }

    #[test]
    fn pieces_have_spaces_and_bytes_where_nothing_fits() {
        let bytes: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
        let words: Vec<&str> = bytes.iter().map(String::as_str).chain(["▁", "a", "▁a", "<unk>"]).collect();
        let of = |prefix| {
            let kind = Kind::Pieces { prefix, unknown: Some("<unk>".into()) };
            tokenizer(kind, &words, &[("▁", "a")], &["<|x|>"])
        };
        let ids = |prefix, text: &str| of(prefix).ids(text, None).unwrap();
        assert_eq!(ids(Prefix::Never, "a a"), [257, 258]);
        assert_eq!(ids(Prefix::First, "a<|x|>a"), [258, 260, 257]);
        assert_eq!(ids(Prefix::First, " a"), [258]);
        assert_eq!(ids(Prefix::Each, "a<|x|>a"), [258, 260, 258]);
        assert_eq!(ids(Prefix::Never, "é"), [0xc3, 0xa9]);
        assert_eq!((of(Prefix::Each).bytes(258), of(Prefix::Each).bytes(0xc3)), (&b" a"[..], &[0xc3][..]));
    }
}
