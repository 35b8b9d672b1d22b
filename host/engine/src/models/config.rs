//! Reading a component's `config.json`: keys that matter are fields of a struct, every other key must hold the value
//! under which it changes nothing. So a model of a kind that we do not implement is refused by the key's name.
//!
//! Defaults are those of the diffusers or transformers class, because folders leave out what equals them.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::files::ModelFiles;
use crate::{Error, Result};

/// Most channels, layers or positions that a configuration may name; guards sums and products.
const MAX_COUNT: usize = 1 << 20;

/// A value for all blocks, or one for each.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// The same everywhere.
    One(usize),
    /// One per block.
    Many(Vec<usize>),
}

impl OneOrMany {
    /// As a list of `count`; `None` when a list has another length.
    pub(crate) fn per_block(&self, count: usize) -> Option<Vec<usize>> {
        match self {
            Self::One(value) => Some(vec![*value; count]),
            Self::Many(values) => (values.len() == count).then(|| values.clone()),
        }
    }
}

/// What a configuration may hold beside the fields that are read.
pub(crate) struct Neutral {
    /// The component, for the message.
    pub(crate) what: &'static str,
    /// Keys and the only value each may have, as a JSON object.
    pub(crate) values: &'static str,
    /// Keys without effect here.
    pub(crate) ignored: &'static [&'static str],
}

impl Neutral {
    /// Refuses the first key that would change the model.
    pub(crate) fn check(&self, rest: &Map<String, Value>) -> Result<()> {
        let neutral: Map<String, Value> = serde_json::from_str(self.values).unwrap_or_default();
        for (key, value) in rest {
            // `_class_name`, `_diffusers_version` and `_name_or_path` say where a file comes from
            let is_free = key.starts_with('_') || self.ignored.contains(&key.as_str());
            if !is_free && !neutral.get(key).is_some_and(|neutral| same(neutral, value)) {
                return Err(unsupported(self.what, key, value));
            }
        }
        Ok(())
    }
}

/// The error for a value that would need code which is not there.
pub(crate) fn unsupported(what: &'static str, key: &str, value: &Value) -> Error {
    Error::Unsupported {
        what,
        value: format!("{key} = {value}"),
        supported: "the values of Stable Diffusion 1, 2 and XL",
    }
}

/// Equal, where 1 is 1.0 and a list is its only value repeated.
pub(crate) fn same(neutral: &Value, value: &Value) -> bool {
    match (neutral, value) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (single, Value::Array(values)) | (Value::Array(values), single) => {
            values.iter().all(|value| same(single, value))
        }
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => neutral == value,
    }
}

/// Fails with the file's name unless `holds`.
pub(crate) fn ensure(
    holds: bool,
    files: &ModelFiles,
    name: &str,
    reason: impl FnOnce() -> String,
) -> Result<()> {
    if holds { Ok(()) } else { Err(files.malformed(name, reason())) }
}

/// Counts that are at least 1 and small enough to multiply.
pub(crate) fn ensure_counts(files: &ModelFiles, name: &str, counts: &[(&str, usize)]) -> Result<()> {
    match counts.iter().find(|(_, count)| !(1..=MAX_COUNT).contains(count)) {
        None => Ok(()),
        Some((key, count)) => {
            Err(files.malformed(name, format!("{key} is {count}; 1 to {MAX_COUNT} make sense")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEUTRAL: Neutral = Neutral {
        what: "test",
        values: r#"{"scale": 1.0, "kind": null, "only": false}"#,
        ignored: &["sample"],
    };

    fn check(text: &str) -> Result<()> {
        NEUTRAL.check(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn neutral_values_pass() {
        check(r#"{"scale": 1, "kind": null, "only": [false, false], "_class_name": "x", "sample": 7}"#)
            .unwrap();
    }

    #[test]
    fn any_other_key_or_value_is_refused_by_name() {
        for (text, named) in [
            (r#"{"scale": 2}"#, "scale = 2"),
            (r#"{"kind": "timestep"}"#, r#"kind = "timestep""#),
            (r#"{"only": [false, true]}"#, "only = [false,true]"),
            (r#"{"invented": 1}"#, "invented = 1"),
        ] {
            let error = check(text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
