//! The front door for GGUF files (ggml's `docs/gguf.md`, versions 2 and 3): the whole header is checked before anything is
//! read by it. Every count is held against the bytes that are there, so that no number makes this allocate; sizes are
//! multiplied with care; tensors lie within the file, aligned, without overlap. candle's own reader is not used: it
//! multiplies what a file says unchecked, and divides by it.
//!
//! Bytes come from `files`; what goes out says where each tensor lies. Of the metadata only the alignment matters here; the
//! rest is walked over.

use std::collections::BTreeSet;

use candle_core::quantized::GgmlDType;

use super::stored::{Encoding, Stored};
use crate::Result;
use crate::files::{Blob, ModelFiles};

pub(super) const MAGIC: &[u8; 4] = b"GGUF";
/// Longest header; a vocabulary of 256,000 words takes about 10 MiB.
const MAX_HEADER_BYTES: u64 = 64 << 20;
/// What is read first; enough for a file without vocabulary.
const FIRST_BYTES: u64 = 256 << 10;
/// Most tensors, and most entries of metadata.
const MAX_ENTRIES: u64 = 65_536;
/// Longest name of a tensor or a key; the format's own limit for keys.
const MAX_NAME_BYTES: u64 = 65_535;
/// Arrays within arrays; the format allows any, and no model has two.
const MAX_DEPTH: usize = 4;
const MAX_DIMENSIONS: u32 = 4;
/// Where the file does not say it.
const ALIGNMENT: u64 = 32;
const MAX_ALIGNMENT: u64 = 65_536;
const ALIGNMENT_KEY: &str = "general.alignment";

/// Why a header could not be read.
enum Stop {
    /// It goes on after the bytes at hand.
    Short,
    /// It is wrong.
    Bad(String),
}

type Parsed<T> = std::result::Result<T, Stop>;

/// Opens a file and checks its header.
///
/// # Errors
/// [`crate::Error::Read`] and [`crate::Error::Malformed`] name the file, and the key or tensor where it is one.
pub(super) fn open(files: &ModelFiles, name: &str) -> Result<(Blob, Vec<Stored>)> {
    let mut blob = files.open(name)?;
    let unreadable = |source| files.unreadable(name, source);
    let total = blob.len().map_err(unreadable)?;
    let mut length = FIRST_BYTES.min(total);
    loop {
        let bytes = blob.read_at(0, length as usize).map_err(unreadable)?;
        match parse(&bytes, total) {
            Ok(tensors) => return Ok((blob, tensors)),
            Err(Stop::Bad(reason)) => return Err(files.malformed(name, reason)),
            Err(Stop::Short) if length < total.min(MAX_HEADER_BYTES) => {
                length = (4 * length).min(total).min(MAX_HEADER_BYTES);
            }
            Err(Stop::Short) => {
                let reason = format!("its header does not end within {length} bytes");
                return Err(files.malformed(name, reason));
            }
        }
    }
}

/// Reads the header at the beginning of `bytes`, of a file of `total`.
fn parse(bytes: &[u8], total: u64) -> Parsed<Vec<Stored>> {
    let mut cursor = Cursor { bytes, at: 0, total };
    if cursor.take(4, "its magic")? != MAGIC {
        return Err(Stop::Bad("is no GGUF file: it does not begin with GGUF".into()));
    }
    let version = cursor.u32("its version")?;
    if ![2, 3].contains(&version) {
        return Err(Stop::Bad(format!("is of GGUF version {version}; 2 and 3 are read, little-endian")));
    }
    let tensors = cursor.count("tensors")?;
    let entries = cursor.count("metadata entries")?;
    let mut alignment = ALIGNMENT;
    let mut keys = BTreeSet::new();
    for _ in 0..entries {
        let (key, value) = cursor.entry()?;
        if key == ALIGNMENT_KEY {
            alignment = checked_alignment(value)?;
        }
        if let Some(key) = keys.replace(key) {
            return Err(Stop::Bad(format!("`{key}` is there twice")));
        }
    }
    let mut described = Vec::new();
    for _ in 0..tensors {
        described.push(cursor.tensor()?);
    }
    let start = (cursor.at as u64).next_multiple_of(alignment);
    place(described, start, alignment, total).map_err(Stop::Bad)
}

fn checked_alignment(value: Option<f64>) -> Parsed<u64> {
    match value {
        Some(value) if (1.0..=MAX_ALIGNMENT as f64).contains(&value) && (value as u64).is_power_of_two() => {
            Ok(value as u64)
        }
        value => {
            let value = value.map_or("no number".into(), |value| value.to_string());
            let reason =
                format!("`{ALIGNMENT_KEY}` is {value}; a power of two up to {MAX_ALIGNMENT} makes sense");
            Err(Stop::Bad(reason))
        }
    }
}

/// Makes offsets absolute and holds the tensors against the file and against each other.
fn place(
    tensors: Vec<Stored>,
    start: u64,
    alignment: u64,
    total: u64,
) -> std::result::Result<Vec<Stored>, String> {
    let mut names = BTreeSet::new();
    for tensor in &tensors {
        let name = &tensor.name;
        let end = start.checked_add(tensor.offset).and_then(|from| from.checked_add(tensor.bytes as u64));
        if !tensor.offset.is_multiple_of(alignment) {
            return Err(format!(
                "tensor `{name}` begins at {}, which {alignment} does not divide",
                tensor.offset
            ));
        }
        if end.is_none_or(|end| end > total) {
            let (bytes, offset) = (tensor.bytes, tensor.offset);
            return Err(format!(
                "tensor `{name}` of {bytes} bytes at {offset} reaches past the end of the file"
            ));
        }
        if !names.insert(name.as_str()) {
            return Err(format!("tensor `{name}` is described twice"));
        }
    }
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by_key(|tensor| (tensor.offset, tensor.bytes));
    if let Some([first, second]) =
        order.array_windows().find(|[first, second]| first.offset + first.bytes as u64 > second.offset)
    {
        return Err(format!("tensors `{}` and `{}` overlap", first.name, second.name));
    }
    let absolute = |tensor: Stored| Stored { offset: start + tensor.offset, ..tensor };
    Ok(tensors.into_iter().map(absolute).collect())
}

/// Walks over a header.
struct Cursor<'a> {
    /// The file's first bytes.
    bytes: &'a [u8],
    at: usize,
    /// Bytes of the whole file.
    total: u64,
}

impl<'a> Cursor<'a> {
    /// The next bytes; `what` they are is for the message.
    fn take(&mut self, count: u64, what: &str) -> Parsed<&'a [u8]> {
        let left = self.total - self.at as u64;
        if count > left {
            return Err(Stop::Bad(format!("the file ends within {what}: {count} bytes wanted, {left} left")));
        }
        // fits: no more than the file has, and the header's own limit is far below
        let found = self.at.checked_add(count as usize).and_then(|end| self.bytes.get(self.at..end));
        let found = found.ok_or(Stop::Short)?;
        self.at += found.len();
        Ok(found)
    }

    fn u32(&mut self, what: &str) -> Parsed<u32> {
        Ok(self.take(4, what)?.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    }

    fn u64(&mut self, what: &str) -> Parsed<u64> {
        Ok(self.take(8, what)?.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    fn count(&mut self, what: &str) -> Parsed<u64> {
        match self.u64(what)? {
            count if count <= MAX_ENTRIES => Ok(count),
            count => Err(Stop::Bad(format!("has {count} {what}; at most {MAX_ENTRIES} are read"))),
        }
    }

    /// A key or the name of a tensor.
    fn name(&mut self, what: &str) -> Parsed<String> {
        let length = self.u64(what)?;
        if length > MAX_NAME_BYTES {
            return Err(Stop::Bad(format!("{what} has {length} bytes; at most {MAX_NAME_BYTES} are read")));
        }
        let bytes = self.take(length, what)?;
        String::from_utf8(bytes.into()).map_err(|_| Stop::Bad(format!("{what} is not UTF-8")))
    }

    /// One key, and its value where it is a number.
    fn entry(&mut self) -> Parsed<(String, Option<f64>)> {
        let key = self.name("a metadata key")?;
        let kind = self.u32(&key)?;
        let value = self.value(&key, kind, 0)?;
        Ok((key, value))
    }

    fn value(&mut self, key: &str, kind: u32, depth: usize) -> Parsed<Option<f64>> {
        let Some(size) = size(kind) else {
            match kind {
                TEXT => {
                    let length = self.u64(key)?;
                    self.take(length, key)?;
                }
                ARRAY => self.array(key, depth)?,
                _ => return Err(Stop::Bad(format!("`{key}` has the unknown type {kind}"))),
            }
            return Ok(None);
        };
        Ok(Some(number(kind, self.take(size, key)?)))
    }

    /// A list.
    fn array(&mut self, key: &str, depth: usize) -> Parsed<()> {
        if depth >= MAX_DEPTH {
            return Err(Stop::Bad(format!("`{key}` has lists within lists, more than {MAX_DEPTH} deep")));
        }
        let kind = self.u32(key)?;
        let count = self.u64(key)?;
        if let Some(size) = size(kind) {
            let bytes = count.checked_mul(size);
            let bytes =
                bytes.ok_or_else(|| Stop::Bad(format!("`{key}` has {count} values; that overflows")))?;
            return self.take(bytes, key).map(|_| ());
        }
        // every text and every list takes bytes of its own, so this ends with the file
        for _ in 0..count {
            self.value(key, kind, depth + 1)?;
        }
        Ok(())
    }

    /// A tensor's description; its offset is still relative.
    fn tensor(&mut self) -> Parsed<Stored> {
        let name = self.name("a tensor's name")?;
        let what = format!("tensor `{name}`");
        let dimensions = self.u32(&what)?;
        if dimensions > MAX_DIMENSIONS {
            let reason =
                format!("tensor `{name}` has {dimensions} dimensions; at most {MAX_DIMENSIONS} make sense");
            return Err(Stop::Bad(reason));
        }
        // the innermost comes first
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.insert(0, self.u64(&what)?);
        }
        let kind = self.u32(&what)?;
        let offset = self.u64(&what)?;
        let Some(dtype) = dtype(kind) else {
            return Err(Stop::Bad(format!("tensor `{name}` is of ggml type {kind}, which is not read")));
        };
        let bytes = bytes(&shape, dtype);
        let (Some(bytes), Ok(shape)) = (bytes, shape.iter().map(|side| usize::try_from(*side)).collect())
        else {
            let reason =
                format!("tensor `{name}` of {shape:?} has no whole number of {dtype:?} blocks, or too many");
            return Err(Stop::Bad(reason));
        };
        let encoding = match dtype {
            GgmlDType::F32 => Encoding::F32,
            GgmlDType::F16 => Encoding::F16,
            GgmlDType::BF16 => Encoding::Bf16,
            dtype => Encoding::Blocks(dtype),
        };
        Ok(Stored {
            name,
            shape,
            encoding,
            file: 0,
            offset,
            bytes,
            is_transposed: false,
            has_swapped_halves: false,
        })
    }
}

/// Bytes of a tensor; none where a row is no whole number of blocks, or where the product overflows.
fn bytes(shape: &[u64], dtype: GgmlDType) -> Option<usize> {
    let row = shape.last().copied().unwrap_or(1);
    let block = dtype.block_size() as u64;
    let elements = shape.iter().try_fold(1u64, |product, side| product.checked_mul(*side))?;
    let bytes =
        row.is_multiple_of(block).then_some(elements / block)?.checked_mul(dtype.type_size() as u64)?;
    // shapes are multiplied in f32 later
    elements.checked_mul(4)?;
    isize::try_from(bytes).ok()?.try_into().ok()
}

const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// Bytes of a number of this type; none for texts, lists and unknown types.
fn size(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// A number of this type.
fn number(kind: u32, bytes: &[u8]) -> f64 {
    let mut wide = [0; 8];
    let count = bytes.len().min(8);
    wide[..count].copy_from_slice(&bytes[..count]);
    let unsigned = u64::from_le_bytes(wide);
    match kind {
        1 => f64::from(unsigned as i8),
        3 => f64::from(unsigned as i16),
        5 => f64::from(unsigned as i32),
        6 => f64::from(f32::from_bits(unsigned as u32)),
        11 => unsigned as i64 as f64,
        12 => f64::from_bits(unsigned),
        _ => unsigned as f64,
    }
}

/// ggml's numbers of types; those that are not here are not read.
fn dtype(kind: u32) -> Option<GgmlDType> {
    Some(match kind {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        9 => GgmlDType::Q8_1,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        15 => GgmlDType::Q8K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}
