//! The files of one model: a folder on disk or a list embedded in the binary, in the layout of diffusers. Reads bytes
//! and JSON; never knows what they mean. Every error names the file.
//!
//! Names come from this crate and from a model's own index files, never from requests; those of an index are checked
//! by `weights` before they get here.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Most bytes of a file that is read whole (JSON, vocabulary, merges); weights are read tensor by tensor.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// Where a model's files come from. Names are relative, with `/`, as in `unet/config.json`.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    /// Private, so that nobody but this module can tell the two kinds apart.
    root: Root,
}

#[derive(Debug, Clone)]
enum Root {
    /// Read anew each time: a folder that is replaced under a running host shows up at the next load.
    Folder(PathBuf),
    /// Names and bytes of a model that is part of the binary; a handful, so they are searched one by one.
    Embedded(&'static [(&'static str, &'static [u8])]),
}

/// Bytes at offsets, so that a file of gigabytes needs no copy in memory.
pub(crate) enum Blob {
    File(File),
    Embedded(&'static [u8]),
}

impl ModelFiles {
    /// The files below a folder.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self { root: Root::Folder(path.into()) }
    }

    /// Files inside the binary: relative name and bytes.
    pub fn embedded(files: &'static [(&'static str, &'static [u8])]) -> Self {
        Self { root: Root::Embedded(files) }
    }

    /// The name that errors show for a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match &self.root {
            Root::Folder(folder) => folder.join(name),
            Root::Embedded(_) => Path::new("builtin").join(name),
        }
    }

    /// Whether there is such a file.
    pub(crate) fn contains(&self, name: &str) -> bool {
        match &self.root {
            Root::Folder(folder) => folder.join(name).is_file(),
            Root::Embedded(_) => self.embedded_bytes(name).is_some(),
        }
    }

    /// A small file, whole.
    pub(crate) fn bytes(&self, name: &str) -> Result<Cow<'static, [u8]>> {
        let mut blob = self.open(name)?;
        let length = blob.len().map_err(|source| self.unreadable(name, source))?;
        if length > MAX_TEXT_BYTES {
            return Err(self.malformed(name, format!("{length} bytes; at most {MAX_TEXT_BYTES}")));
        }
        blob.read_at(0, length as usize).map_err(|source| self.unreadable(name, source))
    }

    /// A small text file.
    pub(crate) fn text(&self, name: &str) -> Result<String> {
        String::from_utf8(self.bytes(name)?.into_owned())
            .map_err(|error| self.malformed(name, format!("not UTF-8: {error}")))
    }

    /// A JSON file.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_slice(&self.bytes(name)?).map_err(|error| self.malformed(name, error.to_string()))
    }

    /// A file to be read piece by piece.
    pub(crate) fn open(&self, name: &str) -> Result<Blob> {
        match &self.root {
            Root::Folder(folder) => {
                let file = File::open(folder.join(name));
                file.map(Blob::File).map_err(|source| self.unreadable(name, source))
            }
            Root::Embedded(_) => match self.embedded_bytes(name) {
                Some(bytes) => Ok(Blob::Embedded(bytes)),
                None => Err(self.unreadable(name, io::Error::from(io::ErrorKind::NotFound))),
            },
        }
    }

    /// The error for a file of this model whose content is wrong.
    pub(crate) fn malformed(&self, name: &str, reason: impl Into<String>) -> Error {
        Error::Malformed { path: self.path(name), reason: reason.into() }
    }

    /// The error for a file of this model that cannot be read at all.
    pub(crate) fn unreadable(&self, name: &str, source: io::Error) -> Error {
        Error::Read { path: self.path(name), source }
    }

    fn embedded_bytes(&self, name: &str) -> Option<&'static [u8]> {
        let Root::Embedded(files) = &self.root else { return None };
        files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| *bytes)
    }
}

impl Blob {
    /// Bytes in all, as of now.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            Blob::File(file) => file.metadata().map(|metadata| metadata.len()),
            Blob::Embedded(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Exactly `length` bytes from `offset`. The caller bounds `length` by [`Blob::len`].
    pub(crate) fn read_at(&mut self, offset: u64, length: usize) -> io::Result<Cow<'static, [u8]>> {
        match self {
            Blob::File(file) => {
                // `length` was held against the file's size, so a lying header cannot make this allocate more
                let mut buffer = vec![0; length];
                file.seek(SeekFrom::Start(offset))?;
                file.read_exact(&mut buffer)?;
                Ok(buffer.into())
            }
            Blob::Embedded(bytes) => {
                let start = usize::try_from(offset).ok();
                let piece = start.and_then(|start| bytes.get(start..start.checked_add(length)?));
                piece.map(Cow::Borrowed).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[(&str, &[u8])] = &[("unet/config.json", b"{\"in_channels\": 4}"), ("broken.json", b"{")];

    #[test]
    fn an_embedded_file_reads_as_json() {
        let config: serde_json::Value = ModelFiles::embedded(FILES).json("unet/config.json").unwrap();
        assert_eq!(config["in_channels"], 4);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = ModelFiles::embedded(FILES).text("vae/config.json").unwrap_err().to_string();
        assert!(error.contains("builtin/vae/config.json"), "{error}");
        let error = ModelFiles::folder("/nowhere").text("vae/config.json").unwrap_err().to_string();
        assert!(error.contains("/nowhere/vae/config.json"), "{error}");
    }

    #[test]
    fn broken_json_is_named_with_its_place() {
        let error =
            ModelFiles::embedded(FILES).json::<serde_json::Value>("broken.json").unwrap_err().to_string();
        assert!(error.contains("broken.json") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn reading_past_the_end_of_an_embedded_file_is_an_error() {
        let mut blob = ModelFiles::embedded(FILES).open("broken.json").unwrap();
        assert!(blob.read_at(0, 2).is_err());
        assert!(blob.read_at(u64::MAX, 1).is_err());
    }
}
