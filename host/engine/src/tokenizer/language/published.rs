//! A folder's `tokenizer.json` as the tokenizers library writes it, with what `tokenizer_config.json`,
//! `generation_config.json` and `config.json` say of tokens. Everything that would change ids must be as one of the known
//! families has it; the error names the key.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::patterns::Pattern;
use super::vocabulary::{Added, Kind, Prefix, Vocabulary};
use crate::Result;
use crate::files::ModelFiles;

pub(super) const NAME: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
/// Where ids that end a reply stand, in the order of who knows better.
const ENDS: [&str; 2] = ["generation_config.json", "config.json"];

#[derive(Deserialize)]
struct File {
    model: Model,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    added_tokens: Vec<Token>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: Map<String, Value>,
    /// Two parts each, as a list or, in older files, with a space between them.
    merges: Vec<Value>,
    unk_token: Option<String>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    dropout: Option<f64>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

#[derive(Deserialize)]
struct Token {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

/// A token by its text, as a plain string or as an object.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Text(String),
    Object { content: String },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    bos_token: Option<Named>,
    eos_token: Option<Named>,
}

/// One id or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

#[derive(Deserialize)]
struct Generation {
    eos_token_id: Option<Ids>,
}

/// Reads and checks the files.
///
/// # Errors
/// [`crate::Error::Read`] and [`crate::Error::Malformed`] name the file.
pub(super) fn read(files: &ModelFiles) -> Result<Vocabulary> {
    let file: File = files.json(NAME)?;
    let config: Config = if files.contains(CONFIG) { files.json(CONFIG)? } else { Config::default() };
    let vocabulary = file.vocabulary().map_err(|reason| files.malformed(NAME, reason))?;
    let id = |named: Option<Named>| {
        let Some(Named::Text(text) | Named::Object { content: text }) = named else { return None };
        let added = vocabulary.added.iter().find(|token| token.text == text).map(|token| token.id);
        added.or_else(|| vocabulary.words.get(&text).copied())
    };
    let (begin, end) = (id(config.bos_token), id(config.eos_token));
    let mut ends: Vec<u32> = end.into_iter().collect();
    for name in ENDS.into_iter().filter(|name| files.contains(name)) {
        match files.json::<Generation>(name)?.eos_token_id {
            Some(Ids::One(id)) => ends.push(id),
            Some(Ids::Many(ids)) => ends.extend(ids),
            None => {}
        }
    }
    Ok(Vocabulary { begin, ends, ..vocabulary })
}

impl File {
    fn vocabulary(self) -> std::result::Result<Vocabulary, String> {
        self.check()?;
        let kind = self.kind()?;
        let words = self.model.vocab.into_iter().map(|(word, id)| match id.as_u64().map(u32::try_from) {
            Some(Ok(id)) => Ok((word, id)),
            _ => Err(format!("model.vocab: `{word}` has the id {id}")),
        });
        let merge = |(index, merge): (usize, Value)| {
            let pair = match &merge {
                Value::Array(parts) => match parts.as_slice() {
                    [Value::String(first), Value::String(second)] => Some((first.clone(), second.clone())),
                    _ => None,
                },
                other => {
                    other.as_str().and_then(|text| text.split_once(' ')).map(|(a, b)| (a.into(), b.into()))
                }
            };
            pair.ok_or_else(|| format!("model.merges[{index}] is no pair of words"))
        };
        let added = self.added_tokens.into_iter().map(|token| Added {
            id: token.id,
            text: token.content,
            is_special: token.special,
            takes_before: token.lstrip,
            takes_after: token.rstrip,
        });
        Ok(Vocabulary {
            words: words.collect::<std::result::Result<_, _>>()?,
            merges: self
                .model
                .merges
                .into_iter()
                .enumerate()
                .map(merge)
                .collect::<std::result::Result<_, _>>()?,
            added: added.collect(),
            kind,
            begin: None,
            ends: Vec::new(),
        })
    }

    fn check(&self) -> std::result::Result<(), String> {
        let model = &self.model;
        if model.kind.as_deref().is_some_and(|kind| kind != "BPE") {
            return Err(format!("model.type is {:?}; BPE is read", model.kind));
        }
        let is_empty = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        if model.dropout.is_some_and(|part| part != 0.0)
            || !is_empty(&model.continuing_subword_prefix)
            || !is_empty(&model.end_of_word_suffix)
        {
            return Err(
                "model has a dropout, a prefix or a suffix of words; language models have none".into()
            );
        }
        match self.added_tokens.iter().find(|token| token.single_word) {
            Some(token) => {
                Err(format!("added_tokens: `{}` is single_word, which is not supported", token.content))
            }
            None => Ok(()),
        }
    }

    fn kind(&self) -> std::result::Result<Kind, String> {
        let (kind, model) = (self.pre_tokenizer.get("type").and_then(Value::as_str), &self.model);
        if model.byte_fallback != Some(true) {
            return Ok(Kind::Bytes {
                pattern: self.pattern()?,
                is_composed: self.is_composed()?,
                takes_whole_words: model.ignore_merges == Some(true),
            });
        }
        let is_replaced = self.replaces_spaces()?;
        let prefix = match (kind, is_replaced) {
            // a step that finds no space, since these were replaced before
            (None | Some("Split"), Some(prefix)) => prefix,
            (Some("Metaspace"), None) => self.metaspace()?,
            _ => return Err(format!("pre_tokenizer is {kind:?}; pieces have none, Metaspace or Split")),
        };
        Ok(Kind::Pieces {
            prefix,
            unknown: model.unk_token.clone().filter(|word| model.vocab.contains_key(word)),
        })
    }

    /// Of words over bytes.
    fn pattern(&self) -> std::result::Result<Pattern, String> {
        let named = |value: &Value, kind: &str| value.get("type").and_then(Value::as_str) == Some(kind);
        let is =
            |value: &Value, key: &str, wanted: bool| value.get(key).and_then(Value::as_bool) == Some(wanted);
        let bytes = |value: &Value, cuts: bool| {
            named(value, "ByteLevel")
                && is(value, "add_prefix_space", false)
                && (is(value, "use_regex", cuts) || cuts && value.get("use_regex").is_none())
        };
        if bytes(&self.pre_tokenizer, true) {
            return Ok(Pattern::Gpt2);
        }
        let steps = self.pre_tokenizer.get("pretokenizers").and_then(Value::as_array);
        if let Some([split, rest]) = steps.map(Vec::as_slice)
            && named(split, "Split")
            && split.get("behavior").and_then(Value::as_str) == Some("Isolated")
            && !is(split, "invert", true)
            && bytes(rest, false)
        {
            let expression = split.pointer("/pattern/Regex").and_then(Value::as_str);
            let known = expression.and_then(Pattern::of_expression);
            return known
                .ok_or_else(|| format!("pre_tokenizer cuts by {expression:?}, which is no known pattern"));
        }
        Err("pre_tokenizer is neither ByteLevel nor a Split by a known pattern before one".into())
    }

    /// Of words over bytes: whether letters and their accents become one.
    fn is_composed(&self) -> std::result::Result<bool, String> {
        match self.normalizer.get("type").and_then(Value::as_str) {
            None => Ok(false),
            Some("NFC") => Ok(true),
            Some(other) => Err(format!("normalizer is {other}; none and NFC are known here")),
        }
    }

    /// Of pieces: whether the normalizer makes spaces visible, and where it puts one more.
    fn replaces_spaces(&self) -> std::result::Result<Option<Prefix>, String> {
        let step = |value: &Value| {
            let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
            match text("/type") {
                Some("Prepend") if text("/prepend") == Some("▁") => Some(Prefix::Each),
                Some("Replace") if text("/pattern/String") == Some(" ") && text("/content") == Some("▁") => {
                    Some(Prefix::Never)
                }
                _ => None,
            }
        };
        if self.normalizer.is_null() {
            return Ok(None);
        }
        let steps = self.normalizer.get("normalizers").and_then(Value::as_array);
        let steps = steps.map_or(std::slice::from_ref(&self.normalizer), Vec::as_slice);
        match steps.iter().map(step).collect::<Vec<_>>().as_slice() {
            [] => Ok(None),
            [Some(Prefix::Never)] => Ok(Some(Prefix::Never)),
            [Some(Prefix::Each), Some(Prefix::Never)] => Ok(Some(Prefix::Each)),
            _ => Err("normalizer is neither Replace of spaces nor Prepend before that".into()),
        }
    }

    fn metaspace(&self) -> std::result::Result<Prefix, String> {
        let value = |key: &str| self.pre_tokenizer.get(key);
        if value("replacement").and_then(Value::as_str) != Some("▁")
            || value("split") != Some(&Value::Bool(false))
        {
            return Err("pre_tokenizer: a Metaspace of `▁` that does not split is known".into());
        }
        match value("prepend_scheme").and_then(Value::as_str) {
            Some("first") => Ok(Prefix::First),
            Some("never") => Ok(Prefix::Never),
            other => Err(format!("pre_tokenizer.prepend_scheme is {other:?}; first and never are known")),
        }
    }
}
