//! A safetensors file that is no network's own, such as an adapter's: its tensors by the names that it has, read one at
//! a time. The header goes through the same front door as all others.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{Device, Shape, Tensor};

use super::safetensors;
use super::stored::Reader;
use crate::Result;
use crate::files::ModelFiles;

/// An open file, none of its tensors read yet.
pub(crate) struct TensorFile {
    files: ModelFiles,
    name: String,
    reader: Reader,
    metadata: BTreeMap<String, String>,
}

impl TensorFile {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// [`crate::Error::Read`] and [`crate::Error::Malformed`] name the file.
    pub(crate) fn open(files: &ModelFiles, name: &str) -> Result<Self> {
        let metadata = safetensors::metadata(files, name)?;
        let (blob, tensors) = safetensors::open(files, name)?;
        let mut reader = Reader::new(files);
        reader.add(name.into(), blob, tensors)?;
        Ok(Self { files: files.clone(), name: name.into(), reader, metadata })
    }

    /// What the file says of itself beside its tensors; values are text, often JSON.
    pub(crate) fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Every tensor that was not read yet, with its shape.
    pub(crate) fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.reader.tensors().map(|stored| (stored.name.clone(), stored.shape.clone())).collect()
    }

    /// Reads a tensor in f32, once.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] for one of another shape, or that is not there.
    pub(crate) fn read(&mut self, name: &str, shape: &[usize], device: &Device) -> Result<Tensor> {
        let stored = self.reader.take(name, &Shape::from(shape));
        let stored = stored.map_err(|error| self.malformed(error.to_string()))?;
        self.reader.read(&stored, device)
    }

    /// The name that errors show.
    pub(crate) fn path(&self) -> PathBuf {
        self.files.path(&self.name)
    }

    /// The error for content of this file that is wrong.
    pub(crate) fn malformed(&self, reason: impl Into<String>) -> crate::Error {
        self.files.malformed(&self.name, reason)
    }
}
