//! CLIP's words and merges from either form of its files, checked, as the one `tokenizer.json` that transformers would
//! write. A file's own patterns and rules never reach the tokenizer library: some would take for ever, others make it
//! panic. They must be CLIP's, which stand here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Specials;
use crate::Result;
use crate::files::ModelFiles;

const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const WHOLE: &str = "tokenizer.json";

/// Splits text before pairs are merged; of OpenAI's CLIP. Older files leave the special tokens to the step before.
const SPLITS: [&str; 2] = [
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
];
/// Marks the end of a word.
const END: &str = "</w>";
/// Most words, merges and ids; CLIP has 49,408.
pub(super) const MAX_WORDS: usize = 1 << 18;
/// Most tokens that are found before text is split, and their longest.
const MAX_ADDED: usize = 1_024;
pub(super) const MAX_ADDED_BYTES: usize = 256;

/// Words with their ids, merges in order, and tokens that are found before text is split.
struct Words {
    ids: BTreeMap<String, u32>,
    merges: Vec<(String, String)>,
    added: Vec<Added>,
}

/// A `tokenizer.json`; what comes after the words does not change ids.
#[derive(Deserialize)]
struct File {
    model: Model,
    normalizer: Value,
    pre_tokenizer: Value,
    #[serde(default)]
    added_tokens: Vec<Added>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    vocab: Map<String, Value>,
    /// Two parts each, as a list or, in older files, with a space between them.
    merges: Vec<Value>,
    /// Everything else, by key.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A token that is found before text is split.
#[derive(Clone, Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
}

/// The checked files as a `tokenizer.json`, and the name that errors should show. The vocabulary comes first: folders
/// that have both were written from it.
pub(super) fn read(files: &ModelFiles, folder: &str, specials: &Specials) -> Result<(String, Vec<u8>)> {
    let at = |name: &str| format!("{folder}/{name}");
    let (name, mut words) = match files.contains(&at(VOCABULARY)) {
        true => (at(VOCABULARY), from_two(files, &at(VOCABULARY), &at(MERGES))?),
        false => (at(WHOLE), from_one(files, &at(WHOLE))?),
    };
    if words.merges.len() > MAX_WORDS {
        let reason = format!("{} merges; at most {MAX_WORDS} are read", words.merges.len());
        return Err(files.malformed(&name, reason));
    }
    words.add_specials(specials);
    Ok((name, words.json(&specials.unk).to_string().into_bytes()))
}

fn from_two(files: &ModelFiles, vocabulary: &str, list: &str) -> Result<Words> {
    let ids = ids(files.json(vocabulary)?).map_err(|reason| files.malformed(vocabulary, reason))?;
    let text = files.text(list)?;
    let mut merges = Vec::new();
    let lines =
        text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version") && !line.is_empty());
    for (index, line) in lines {
        let pair =
            pair(line, &ids).ok_or_else(|| no_pair(files, list, &format!("line {}", index + 1), line))?;
        merges.push(pair);
    }
    Ok(Words { ids, merges, added: Vec::new() })
}

fn from_one(files: &ModelFiles, name: &str) -> Result<Words> {
    let file: File = files.json(name)?;
    let malformed = |reason: String| files.malformed(name, reason);
    file.check().map_err(malformed)?;
    let ids = ids(file.model.vocab).map_err(malformed)?;
    let mut merges = Vec::new();
    for (index, merge) in file.model.merges.into_iter().enumerate() {
        let text = match &merge {
            Value::String(text) => text.clone(),
            Value::Array(parts) => parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            other => other.to_string(),
        };
        let pair = pair(&text, &ids)
            .ok_or_else(|| no_pair(files, name, &format!("model.merges[{index}]"), &text))?;
        merges.push(pair);
    }
    let words = Words { ids, merges, added: file.added_tokens };
    words.check_added().map_err(malformed)?;
    Ok(words)
}

fn no_pair(files: &ModelFiles, name: &str, place: &str, text: &str) -> crate::Error {
    files.malformed(name, format!("{place}: `{text}` is no pair of known words that makes a known word"))
}

/// Words with ids that are small and each there once.
pub(super) fn ids(vocabulary: Map<String, Value>) -> std::result::Result<BTreeMap<String, u32>, String> {
    let mut ids = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (word, id) in vocabulary {
        let Some(small) = id.as_u64().filter(|id| *id < MAX_WORDS as u64) else {
            return Err(format!("`{word}` has the id {id}; whole numbers below {MAX_WORDS} make sense"));
        };
        if !taken.insert(small) {
            return Err(format!("`{word}` has the id {small}, which another word has as well"));
        }
        ids.insert(word, small as u32);
    }
    Ok(ids)
}

/// Two words with a space between them that are known, and so is what they make.
pub(super) fn pair(text: &str, ids: &BTreeMap<String, u32>) -> Option<(String, String)> {
    let (first, second) = text.split_once(' ')?;
    let is_known = [first, second, &format!("{first}{second}")].iter().all(|word| ids.contains_key(*word));
    is_known.then(|| (first.into(), second.into()))
}

impl File {
    /// Everything that would change ids must be as CLIP has it; the error names the key.
    fn check(&self) -> std::result::Result<(), String> {
        if self.model.kind != "BPE" {
            return Err(format!("model.type is {}; CLIP's is BPE", self.model.kind));
        }
        let neutral = [
            ("dropout", vec![Value::Null]),
            ("continuing_subword_prefix", vec![Value::Null, "".into()]),
            ("fuse_unk", vec![Value::Null, false.into()]),
            ("byte_fallback", vec![Value::Null, false.into()]),
            ("ignore_merges", vec![Value::Null, false.into()]),
        ];
        for (key, allowed) in neutral {
            let value = self.model.rest.get(key).unwrap_or(&Value::Null);
            if !allowed.contains(value) {
                return Err(format!("model.{key} is {value}; CLIP's tokenizer has none"));
            }
        }
        match self.model.rest.get("end_of_word_suffix") {
            Some(suffix) if suffix == END => {}
            other => return Err(format!("model.end_of_word_suffix is {other:?}; CLIP's is {END}")),
        }
        if self.normalizer != normalizer() {
            return Err(format!("normalizer is not CLIP's: {}", normalizer()));
        }
        let split =
            |split: &str| without_defaults(&self.pre_tokenizer) == without_defaults(&pre_tokenizer(split));
        if !SPLITS.into_iter().any(split) {
            return Err(format!("pre_tokenizer is not CLIP's: {}", pre_tokenizer(SPLITS[0])));
        }
        Ok(())
    }
}

impl Words {
    fn check_added(&self) -> std::result::Result<(), String> {
        if self.added.len() > MAX_ADDED {
            return Err(format!("added_tokens has {} entries; at most {MAX_ADDED}", self.added.len()));
        }
        for added in &self.added {
            let content = &added.content;
            if content.is_empty() || content.len() > MAX_ADDED_BYTES {
                return Err(format!("added_tokens: `{content}` must have 1 to {MAX_ADDED_BYTES} bytes"));
            }
            if added.single_word || added.lstrip || added.rstrip {
                return Err(format!("added_tokens: `{content}` takes what is around it; CLIP's do not"));
            }
            // transformers gives those that are no words the ids after them
            if self.ids.get(content).is_some_and(|id| *id != added.id) || added.id as usize >= MAX_WORDS {
                return Err(format!(
                    "added_tokens: `{content}` has the id {}, and another as a word",
                    added.id
                ));
            }
        }
        Ok(())
    }

    /// The special tokens, where the file does not have them already. Without these, `<|endoftext|>` inside of a prompt
    /// would be split into pieces instead of becoming one id.
    fn add_specials(&mut self, specials: &Specials) {
        for content in [&specials.bos, &specials.eos, &specials.unk, &specials.pad] {
            let is_there = self.added.iter().any(|added| added.content == *content);
            if let (Some(id), false) = (self.ids.get(content), is_there) {
                let plain = Added {
                    id: *id,
                    content: content.clone(),
                    single_word: false,
                    lstrip: false,
                    rstrip: false,
                    normalized: false,
                };
                self.added.push(plain);
            }
        }
        self.added.sort_by_key(|added| added.id);
    }

    fn json(&self, unknown: &str) -> Value {
        let added = |added: &Added| {
            json!({"id": added.id, "content": added.content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": added.normalized, "special": true})
        };
        json!({
            "version": "1.0",
            "added_tokens": self.added.iter().map(added).collect::<Vec<_>>(),
            "normalizer": normalizer(),
            "pre_tokenizer": pre_tokenizer(SPLITS[0]),
            "post_processor": null,
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": "",
                "end_of_word_suffix": END, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": self.ids, "merges": self.merges,
            },
        })
    }
}

fn normalizer() -> Value {
    json!({"type": "Sequence", "normalizers": [
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Lowercase"},
    ]})
}

fn pre_tokenizer(split: &str) -> Value {
    json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": split}, "behavior": "Removed", "invert": true},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    ]})
}

/// A pre-tokenizer without the key that older files do not have.
fn without_defaults(pre_tokenizer: &Value) -> Value {
    let mut value = pre_tokenizer.clone();
    let parts = value.get_mut("pretokenizers").and_then(Value::as_array_mut);
    for part in parts.into_iter().flatten().filter_map(Value::as_object_mut) {
        if part.get("use_regex") == Some(&Value::Bool(true)) {
            part.remove("use_regex");
        }
    }
    value
}
