//! Tensors where they lie in their files, read one at a time when a network takes them: the peak of loading is the
//! model and one tensor more. Positions were checked by whoever read the header.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use atelier_inference::Precision;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
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
    /// Quantized in blocks along the last dimension, as ggml has it.
    Blocks(GgmlDType),
    /// Read for single numbers only.
    F64,
    /// Likewise.
    I64,
    /// Something that is not read, such as bytes.
    Other,
}

/// One tensor in a file.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) encoding: Encoding,
    /// Which of the reader's files.
    pub(crate) file: usize,
    /// From the file's beginning.
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    /// Whether the file has rows where the shape has columns.
    pub(crate) is_transposed: bool,
    /// Whether the file has the second half of the rows first.
    pub(crate) has_swapped_halves: bool,
}

/// The tensors of a component that nobody took yet, and the open files that they lie in.
pub(crate) struct Reader {
    files: ModelFiles,
    /// Names for messages, and contents.
    blobs: Vec<(String, Blob)>,
    left: BTreeMap<String, Stored>,
    doubled: Option<String>,
    /// Whether matrices in half precision are handed out as they are.
    keeps_halves: bool,
}

impl Encoding {
    /// Whether tensors may have it.
    fn is_read(self) -> bool {
        self.ggml().is_some()
    }

    /// ggml's name for it, where tensors may have it.
    fn ggml(self) -> Option<GgmlDType> {
        match self {
            Self::F32 => Some(GgmlDType::F32),
            Self::F16 => Some(GgmlDType::F16),
            Self::Bf16 => Some(GgmlDType::BF16),
            Self::Blocks(dtype) => Some(dtype),
            Self::F64 | Self::I64 | Self::Other => None,
        }
    }

    /// As the header of a safetensors file has it.
    pub(crate) fn safetensors_name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            _ => "F32",
        }
    }
}

impl Stored {
    /// So many rows from the first dimension; none where there are not that many. Rows lie one after another, quantized
    /// or not.
    pub(crate) fn rows(&self, first: usize, count: usize) -> Option<Self> {
        let [rows, rest @ ..] = self.shape.as_slice() else { return None };
        if first.checked_add(count)? > *rows || self.is_transposed || count == 0 {
            return None;
        }
        let bytes = self.bytes / rows;
        let shape = [&[count], rest].concat();
        Some(Self {
            shape,
            offset: self.offset + (first * bytes) as u64,
            bytes: count * bytes,
            ..self.clone()
        })
    }

    /// The value of a tensor that is a single number; none for any other.
    pub(crate) fn scalar(&self, blob: &mut Blob) -> io::Result<Option<f64>> {
        let is_number = !matches!(self.encoding, Encoding::Blocks(_) | Encoding::Other);
        if self.elements() != 1 || !is_number {
            return Ok(None);
        }
        let bytes = blob.read_at(self.offset, self.bytes)?;
        let eight = bytes.first_chunk().copied().unwrap_or_default();
        Ok(match self.encoding {
            Encoding::F64 => Some(f64::from_le_bytes(eight)),
            Encoding::I64 => Some(i64::from_le_bytes(eight) as f64),
            encoding => to_f32(&bytes, encoding).first().copied().map(f64::from),
        })
    }

    /// How many values; header checks have ruled out an overflow.
    pub(crate) fn elements(&self) -> u64 {
        self.shape.iter().map(|side| *side as u64).product()
    }
}

impl Reader {
    pub(super) fn new(files: &ModelFiles) -> Self {
        Self {
            files: files.clone(),
            blobs: Vec::new(),
            left: BTreeMap::new(),
            doubled: None,
            keeps_halves: false,
        }
    }

    /// Adds a file and its tensors.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] for a tensor that another file has as well, or of a type that is not read.
    pub(super) fn add(&mut self, file: String, blob: Blob, tensors: Vec<Stored>) -> Result<()> {
        for tensor in tensors {
            let name = tensor.name.clone();
            if !tensor.encoding.is_read() {
                let reason =
                    format!("tensor `{name}` has a type that is not read; f32, f16, bf16 and ggml's are");
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

    /// Whose files these are, for messages.
    pub(super) fn files(&self) -> &ModelFiles {
        &self.files
    }

    /// The first file, for messages that concern the component.
    pub(super) fn first_file(&self) -> &str {
        self.blobs.first().map_or("", |(name, _)| name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.left.keys().map(String::as_str)
    }

    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Stored> {
        self.left.values()
    }

    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.left.get(name).map(|stored| stored.shape.as_slice())
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.left.remove(name);
    }

    pub(super) fn keep_halves(&mut self) {
        self.keeps_halves = true;
    }

    /// Whether layers should take a tensor as its file has it, because it is a matrix of fewer bits than f32.
    pub(super) fn is_compact(&self, name: &str) -> bool {
        self.left.get(name).is_some_and(|stored| self.stays_compact(stored))
    }

    fn stays_compact(&self, stored: &Stored) -> bool {
        let has_few_bits = match stored.encoding {
            Encoding::Blocks(_) => true,
            Encoding::F16 | Encoding::Bf16 => self.keeps_halves,
            _ => false,
        };
        has_few_bits && stored.shape.len() == 2 && !stored.is_transposed
    }

    /// Bytes that all tensors take in memory: f32, but for those that stay compact, and for what layers multiply in bf16, which
    /// is everything but biases and the weights of norms.
    pub(super) fn bytes_in_memory(&self, precision: Precision) -> u64 {
        let bytes = |stored: &Stored| match (self.stays_compact(stored), precision) {
            (true, _) => stored.bytes as u64,
            (false, Precision::Bf16) if stored.shape.len() > 1 => 2 * stored.elements(),
            (false, _) => 4 * stored.elements(),
        };
        self.left.values().map(bytes).sum()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// Renames: `new` gives another name for those that have one.
    pub(super) fn rename(&mut self, new: impl Fn(&str) -> Option<String>) {
        for (name, stored) in std::mem::take(&mut self.left) {
            let name = new(&name).unwrap_or(name);
            if self.left.insert(name.clone(), Stored { name: name.clone(), ..stored }).is_some() {
                self.doubled = Some(name);
            }
        }
    }

    /// A tensor that has the same name as another since they were renamed.
    pub(super) fn doubled(&self) -> Option<&str> {
        self.doubled.as_deref()
    }

    /// Cuts tensors into parts along their rows: `parts` gives names and numbers of rows for those that are cut.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] where the parts are not the whole.
    pub(super) fn split(
        &mut self,
        parts: impl Fn(&str, &[usize]) -> Option<Vec<(String, usize)>>,
    ) -> Result<()> {
        let cut: Vec<_> = self
            .left
            .values()
            .filter_map(|stored| Some((stored.clone(), parts(&stored.name, &stored.shape)?)))
            .collect();
        for (stored, parts) in cut {
            let mut first = 0;
            self.left.remove(&stored.name);
            for (name, rows) in &parts {
                let part = stored.rows(first, *rows).map(|part| Stored { name: name.clone(), ..part });
                self.left.extend(part.map(|part| (name.clone(), part)));
                first += rows;
            }
            if stored.shape.first() != Some(&first) {
                let reason =
                    format!("tensor `{}` of {:?} is not made of {parts:?} rows", stored.name, stored.shape);
                return Err(self.files.malformed(self.first_file(), reason));
            }
        }
        Ok(())
    }

    /// Marks tensors whose rows' halves are the other way round in their file.
    pub(super) fn swap_halves(&mut self, swaps: impl Fn(&str) -> bool) {
        for (name, stored) in &mut self.left {
            stored.has_swapped_halves |= swaps(name);
        }
    }

    /// Hands out where a tensor lies, once.
    pub(super) fn take(&mut self, name: &str, shape: &Shape) -> candle_core::Result<Stored> {
        let Some(stored) = self.left.remove(name) else {
            candle_core::bail!("there is no tensor `{name}`, which its configuration asks for")
        };
        if stored.shape != shape.dims() {
            candle_core::bail!("tensor `{name}` is {:?}; its configuration asks for {shape:?}", stored.shape);
        }
        Ok(stored)
    }

    /// Reads a tensor as its file has it, for layers that compute with blocks.
    pub(super) fn read_quantized(&mut self, stored: &Stored, device: &Device) -> Result<QTensor> {
        let Some(dtype) = stored.encoding.ggml().filter(|_| !stored.is_transposed) else {
            let reason = format!("tensor `{}` cannot be kept as it is", stored.name);
            return Err(self.files.malformed(self.first_file(), reason));
        };
        let bytes = self.bytes(stored)?;
        let mut copy = Vec::new();
        let storage = QStorage::from_data(aligned(&bytes, &mut copy).into(), device, dtype)?;
        Ok(QTensor::new(storage, stored.shape.as_slice())?)
    }

    /// Reads a tensor's values as f32.
    pub(super) fn read(&mut self, stored: &Stored, device: &Device) -> Result<Tensor> {
        if let Encoding::Blocks(_) = stored.encoding {
            return Ok(self.read_quantized(stored, device)?.dequantize(device)?);
        }
        let values = to_f32(&self.bytes(stored)?, stored.encoding);
        match stored.shape.as_slice() {
            [rows, columns] if stored.is_transposed => {
                Ok(Tensor::from_vec(values, (*columns, *rows), device)?.t()?.contiguous()?)
            }
            shape => Ok(Tensor::from_vec(values, shape, device)?),
        }
    }

    /// A tensor's bytes, row after row.
    pub(crate) fn bytes(&mut self, stored: &Stored) -> Result<Cow<'static, [u8]>> {
        let (file, blob) = &mut self.blobs[stored.file];
        let bytes = blob.read_at(stored.offset, stored.bytes);
        let bytes = bytes.map_err(|source| self.files.unreadable(file, source))?;
        if !stored.has_swapped_halves {
            return Ok(bytes);
        }
        // rows have no bytes in common, quantized or not; an odd number of rows fits no layer that has halves
        let mut swapped = bytes.into_owned();
        let half = swapped.len() / 2;
        swapped.rotate_left(half);
        Ok(swapped.into())
    }
}

/// The bytes, copied where they begin between two numbers: candle panics there.
fn aligned<'a>(bytes: &'a [u8], copy: &'a mut Vec<u8>) -> &'a [u8] {
    const ALIGNMENT: usize = 8;
    if bytes.as_ptr().addr().is_multiple_of(ALIGNMENT) {
        return bytes;
    }
    copy.resize(bytes.len() + ALIGNMENT, 0);
    let start = copy.as_ptr().addr().next_multiple_of(ALIGNMENT) - copy.as_ptr().addr();
    let place = &mut copy[start..start + bytes.len()];
    place.copy_from_slice(bytes);
    place
}

/// Both halves widen exactly.
fn to_f32(bytes: &[u8], encoding: Encoding) -> Vec<f32> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    match encoding {
        Encoding::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Encoding::F16 => pairs().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Encoding::Bf16 => pairs().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        // refused when the file was added
        Encoding::Blocks(_) | Encoding::F64 | Encoding::I64 | Encoding::Other => Vec::new(),
    }
}
