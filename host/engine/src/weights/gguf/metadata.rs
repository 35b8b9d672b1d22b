//! What a GGUF file says beside its tensors, by key: numbers, texts, and lists of either.

use std::collections::BTreeMap;

use super::cursor::number;
use super::read;
use crate::files::ModelFiles;
use crate::{Error, Result};

/// A key's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Of any type, and of truth values: 0 or 1.
    Number(f64),
    Text(String),
    Numbers(Vec<f64>),
    Texts(Vec<String>),
    /// What nobody asked for, text that is not UTF-8, and lists of lists.
    Other,
}

impl Value {
    /// A list of numbers of one type, `size` bytes each.
    pub(super) fn numbers(bytes: &[u8], size: usize, kind: u32) -> Self {
        Self::Numbers(bytes.chunks_exact(size.max(1)).map(|bytes| number(kind, bytes)).collect())
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// The metadata of a file.
#[derive(Debug)]
pub(crate) struct Metadata {
    files: ModelFiles,
    file: String,
    values: BTreeMap<String, Value>,
}

impl Metadata {
    /// Reads a file's header, and checks all of it.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Malformed`] name the file, and the key or tensor where it is one.
    pub(crate) fn open(files: &ModelFiles, name: &str) -> Result<Self> {
        let (_, header) = read(files, name, true)?;
        Ok(Self { files: files.clone(), file: name.into(), values: header.metadata })
    }

    /// The file's name.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// A text; none where the key is not there.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a value of another type, as of all that follow.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A finite number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a finite number", |value| value.number().filter(|number| number.is_finite()))
    }

    /// A number that counts something.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a whole number below 2^32", |value| {
            let number = value.number().filter(|number| number.fract() == 0.0)?;
            (0.0..4_294_967_296.0).contains(&number).then_some(number as usize)
        })
    }

    /// A truth value.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        Ok(self.number(key)?.map(|number| number != 0.0))
    }

    /// A list of texts.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<&[String]>> {
        self.typed(key, "a list of texts", |value| match value {
            Value::Texts(texts) => Some(texts.as_slice()),
            _ => None,
        })
    }

    /// A list of numbers.
    pub(crate) fn numbers(&self, key: &str) -> Result<Option<&[f64]>> {
        self.typed(key, "a list of numbers", |value| match value {
            Value::Numbers(numbers) => Some(numbers.as_slice()),
            _ => None,
        })
    }

    /// What has to be there.
    pub(crate) fn needed<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.malformed(format!("has no `{key}`")))
    }

    /// The error for what this file says.
    pub(crate) fn malformed(&self, reason: impl Into<String>) -> Error {
        self.files.malformed(&self.file, reason)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.malformed(format!("`{key}` is not {wanted}")))
    }
}
