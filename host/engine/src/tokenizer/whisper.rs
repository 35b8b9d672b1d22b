//! Whisper's tokenizer: text to ids and back, by GPT-2's byte-level pair encoding (transformers' `WhisperTokenizer`), from
//! `tokenizer.json`.
//!
//! As with CLIP's, a file's own patterns and rules never reach the tokenizer library: they must be GPT-2's, which stand
//! here. Special tokens are looked up by name and are never found in a text: what a caller writes is only ever text.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use super::byte_level::byte;
use super::vocabulary::{MAX_ADDED_BYTES, MAX_WORDS, ids, pair};
use crate::files::ModelFiles;
use crate::{Error, Result};

const NAME: &str = "tokenizer.json";
/// Most special tokens; Whisper has 1,608, nearly all of them timestamps.
const MAX_ADDED: usize = 4_096;

/// A tokenizer, and the bytes of every id.
#[derive(Debug)]
pub struct WhisperTokenizer {
    tokenizer: Tokenizer,
    /// Of words, by id; none for ids that are special or unknown.
    bytes: Vec<Option<Vec<u8>>>,
    specials: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
struct File {
    model: Model,
    #[serde(default)]
    normalizer: Value,
    pre_tokenizer: Map<String, Value>,
    #[serde(default)]
    added_tokens: Vec<Added>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: Map<String, Value>,
    /// Two parts each, as a list or, in older files, with a space between them.
    merges: Vec<Value>,
    /// Everything else, by key.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
}

impl WhisperTokenizer {
    /// Reads `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Malformed`] name the file, and the key where it is one.
    #[doc(hidden)]
    pub fn open(files: &ModelFiles) -> Result<Self> {
        let file: File = files.json(NAME)?;
        Self::of(file).map_err(|reason| files.malformed(NAME, reason))
    }

    fn of(file: File) -> std::result::Result<Self, String> {
        file.check()?;
        let words = ids(file.model.vocab)?;
        if file.model.merges.len() > MAX_WORDS {
            return Err(format!("{} merges; at most {MAX_WORDS} are read", file.model.merges.len()));
        }
        let merges = file.model.merges.iter().enumerate().map(|(index, merge)| {
            let text = match merge {
                Value::Array(parts) => parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
                other => other.as_str().unwrap_or_default().into(),
            };
            pair(&text, &words)
                .ok_or(format!("model.merges[{index}] is no pair of known words that makes a known word"))
        });
        let merges: Vec<(String, String)> = merges.collect::<std::result::Result<_, _>>()?;
        let specials: BTreeMap<String, u32> =
            file.added_tokens.into_iter().map(|added| (added.content, added.id)).collect();
        let bytes = bytes_of(&words, &specials);
        let json = json!({
            "version": "1.0", "added_tokens": [], "normalizer": null, "post_processor": null, "decoder": null,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
                "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": words, "merges": merges,
            },
        });
        let tokenizer = Tokenizer::from_bytes(json.to_string()).map_err(|error| error.to_string())?;
        Ok(Self { tokenizer, bytes, specials })
    }

    /// The ids of a text.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field that the text is in.
    pub fn ids(&self, text: &str, field: &'static str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, false);
        let reason = |error| Error::Invalid { field, reason: format!("cannot be tokenized: {error}") };
        Ok(encoding.map_err(reason)?.get_ids().to_vec())
    }

    /// What an id adds to the bytes of a text: nothing where it is special.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).and_then(Option::as_deref).unwrap_or_default()
    }

    /// The text of ids. Special ones add nothing; bytes that are no character become U+FFFD.
    pub fn text(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| self.bytes(*id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The id of a special token.
    pub fn special(&self, name: &str) -> Option<u32> {
        self.specials.get(name).copied()
    }

    /// One more than the highest id.
    pub fn vocabulary(&self) -> usize {
        let specials = self.specials.values().map(|id| *id as usize + 1).max();
        self.bytes.len().max(specials.unwrap_or_default())
    }
}

/// The bytes of each word. A character that stands for no byte, which GPT-2's vocabularies have none of, adds none.
fn bytes_of(words: &BTreeMap<String, u32>, specials: &BTreeMap<String, u32>) -> Vec<Option<Vec<u8>>> {
    let mut bytes = vec![None; words.values().max().map_or(0, |id| *id as usize + 1)];
    for (word, id) in words.iter().filter(|(word, _)| !specials.contains_key(*word)) {
        bytes[*id as usize] = Some(word.chars().filter_map(byte).collect());
    }
    bytes
}

impl File {
    /// Everything that would change ids must be as GPT-2 has it; the error names the key.
    fn check(&self) -> std::result::Result<(), String> {
        if self.model.kind.as_deref().is_some_and(|kind| kind != "BPE") {
            return Err(format!("model.type is {:?}; Whisper's is BPE", self.model.kind));
        }
        for key in [
            "dropout",
            "continuing_subword_prefix",
            "end_of_word_suffix",
            "fuse_unk",
            "byte_fallback",
            "ignore_merges",
        ] {
            let value = self.model.rest.get(key).unwrap_or(&Value::Null);
            if ![Value::Null, "".into(), false.into()].contains(value) {
                return Err(format!("model.{key} is {value}; Whisper's tokenizer has none"));
            }
        }
        if !self.normalizer.is_null() {
            return Err("normalizer is there; Whisper's tokenizer has none".into());
        }
        let is = |key: &str, wanted: Value| self.pre_tokenizer.get(key).is_none_or(|value| *value == wanted);
        if !is("type", "ByteLevel".into())
            || !is("add_prefix_space", false.into())
            || !is("use_regex", true.into())
        {
            return Err(
                "pre_tokenizer is not ByteLevel without a space before it, with its own pattern".into()
            );
        }
        self.check_added()
    }

    fn check_added(&self) -> std::result::Result<(), String> {
        if self.added_tokens.len() > MAX_ADDED {
            return Err(format!("added_tokens has {} entries; at most {MAX_ADDED}", self.added_tokens.len()));
        }
        for Added { id, content } in &self.added_tokens {
            if content.is_empty() || content.len() > MAX_ADDED_BYTES || *id as usize >= MAX_WORDS {
                return Err(format!(
                    "added_tokens: `{content}` has the id {id}; ids below {MAX_WORDS} make sense"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(change: impl FnOnce(&mut Value)) -> Result<WhisperTokenizer> {
        let mut file = json!({
            "added_tokens": [{"id": 4, "content": "<|endoftext|>"}], "normalizer": null,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3}, "merges": ["a b"], "dropout": null},
        });
        change(&mut file);
        let files: &'static [(&'static str, &'static [u8])] =
            vec![(NAME, &*file.to_string().into_bytes().leak())].leak();
        WhisperTokenizer::open(&ModelFiles::embedded(files))
    }

    #[test]
    fn text_becomes_ids_and_ids_text_and_special_tokens_are_neither() {
        let tokenizer = open(|_| {}).unwrap();
        assert_eq!(tokenizer.ids("ab ba", "prompt").unwrap(), [2, 3, 1, 0]);
        assert_eq!(tokenizer.text(&[2, 3, 1, 0, 4, 99]), "ab ba");
        assert_eq!((tokenizer.special("<|endoftext|>"), tokenizer.special("<|none|>")), (Some(4), None));
        assert_eq!(tokenizer.vocabulary(), 5);
        let written = tokenizer.ids("<|endoftext|>", "prompt").unwrap();
        assert!(!written.contains(&4), "{written:?}");
    }

    #[test]
    fn rules_that_are_not_gpt_2s_are_refused_by_key() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 8] = [
            (|file| file["model"]["type"] = "Unigram".into(), "model.type"),
            (|file| file["model"]["end_of_word_suffix"] = "</w>".into(), "model.end_of_word_suffix"),
            (|file| file["model"]["merges"] = json!(["a c"]), "model.merges[0]"),
            (|file| file["model"]["vocab"]["a"] = json!(-1), "`a` has the id -1"),
            (|file| file["normalizer"] = json!({"type": "NFC"}), "normalizer"),
            (|file| file["pre_tokenizer"]["add_prefix_space"] = true.into(), "pre_tokenizer"),
            (|file| file["pre_tokenizer"]["type"] = "Split".into(), "pre_tokenizer"),
            (|file| file["added_tokens"][0]["id"] = json!(1 << 30), "added_tokens"),
        ];
        for (change, wrong) in cases {
            let error = open(change).unwrap_err().to_string();
            assert!(error.contains(NAME) && error.contains(wrong), "wanted `{wrong}`: {error}");
        }
    }
}
