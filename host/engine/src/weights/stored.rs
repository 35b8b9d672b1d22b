//! Tensors where they lie in their files, read one at a time when a network takes them: the peak of loading is the
//! model and one tensor more. Positions were checked by whoever read the header.

use std::collections::BTreeMap;

use candle_core::{Device, Shape, Tensor};
use half::{bf16, f16};

use crate::Result;
use crate::files::{Blob, ModelFiles};

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Little-endian, as all of these.
    F32,
    F16,
    Bf16,
    /// Something that is not read, such as integers.
    Other,
}

/// One tensor in a file.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// As the file has it.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) encoding: Encoding,
    /// Which of the reader's files.
    pub(crate) file: usize,
    /// From the file's beginning.
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
}

/// The tensors of a component that nobody took yet, and the open files that they lie in.
pub(super) struct Reader {
    files: ModelFiles,
    /// Names for messages, and contents.
    blobs: Vec<(String, Blob)>,
    left: BTreeMap<String, Stored>,
}

impl Stored {
    /// How many values; header checks have ruled out an overflow.
    pub(crate) fn elements(&self) -> u64 {
        self.shape.iter().map(|side| *side as u64).product()
    }
}

impl Reader {
    pub(super) fn new(files: &ModelFiles) -> Self {
        Self { files: files.clone(), blobs: Vec::new(), left: BTreeMap::new() }
    }

    /// Adds a file and its tensors.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] for a tensor that another file has as well, or of a type that is not read.
    pub(super) fn add(&mut self, file: String, blob: Blob, tensors: Vec<Stored>) -> Result<()> {
        for tensor in tensors {
            let name = tensor.name.clone();
            if tensor.encoding == Encoding::Other {
                let reason = format!("tensor `{name}` has a type that is not read; f32, f16 and bf16 are");
                return Err(self.files.malformed(&file, reason));
            }
            if self.left.contains_key(&name) {
                return Err(self
                    .files
                    .malformed(&file, format!("tensor `{name}` is in another shard as well")));
            }
            self.left.insert(name, Stored { file: self.blobs.len(), ..tensor });
        }
        self.blobs.push((file, blob));
        Ok(())
    }

    /// The first file, for messages that concern the component.
    pub(super) fn first_file(&self) -> &str {
        self.blobs.first().map_or("", |(name, _)| name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.left.keys().map(String::as_str)
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = &Stored> {
        self.left.values()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// Renames: `new` gives another name for those that have one.
    pub(super) fn rename(&mut self, new: impl Fn(&str) -> Option<String>) {
        let renamed = std::mem::take(&mut self.left).into_iter();
        self.left = renamed.map(|(name, stored)| (new(&name).unwrap_or(name), stored)).collect();
    }

    /// Hands out where a tensor lies, once.
    pub(super) fn take(&mut self, name: &str, shape: &Shape) -> candle_core::Result<Stored> {
        let Some(stored) = self.left.remove(name) else {
            candle_core::bail!("there is no tensor `{name}`, which config.json asks for")
        };
        if stored.shape != shape.dims() {
            candle_core::bail!("tensor `{name}` is {:?}; config.json asks for {shape:?}", stored.shape);
        }
        Ok(stored)
    }

    /// Reads a tensor's values as f32.
    pub(super) fn read(&mut self, stored: &Stored, device: &Device) -> Result<Tensor> {
        let (file, blob) = &mut self.blobs[stored.file];
        let bytes = blob.read_at(stored.offset, stored.bytes);
        let bytes = bytes.map_err(|source| self.files.unreadable(file, source))?;
        let values = to_f32(&bytes, stored.encoding);
        Ok(Tensor::from_vec(values, stored.shape.as_slice(), device)?)
    }
}

/// Both halves widen exactly.
fn to_f32(bytes: &[u8], encoding: Encoding) -> Vec<f32> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    match encoding {
        Encoding::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Encoding::F16 => pairs().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Encoding::Bf16 => pairs().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        // refused when the file was added
        Encoding::Other => Vec::new(),
    }
}
