//! Walks over a GGUF header: numbers, texts, lists and the descriptions of tensors, each held against the bytes that are
//! there. Knows nothing of what keys mean.

use candle_core::quantized::GgmlDType;

use super::metadata::Value;
use crate::weights::stored::{Encoding, Stored};

/// Most tensors, and most entries of metadata.
const MAX_ENTRIES: u64 = 65_536;
/// Longest name of a tensor or a key; the format's own limit for keys.
const MAX_NAME_BYTES: u64 = 65_535;
/// Arrays within arrays; the format allows any, and no model has two.
const MAX_DEPTH: usize = 4;
const MAX_DIMENSIONS: u32 = 4;
/// Longest list that is kept: the words of the largest vocabularies twice over.
const MAX_LIST: u64 = 1 << 19;

/// Why a header could not be read.
pub(super) enum Stop {
    /// It goes on after the bytes at hand.
    Short,
    /// It is wrong.
    Bad(String),
}

pub(super) type Parsed<T> = std::result::Result<T, Stop>;

/// Walks over a header.
pub(super) struct Cursor<'a> {
    /// The file's first bytes.
    bytes: &'a [u8],
    at: usize,
    /// Bytes of the whole file.
    total: u64,
    /// Whether texts and lists are handed out, which else are walked over.
    keeps: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], total: u64, keeps: bool) -> Self {
        Self { bytes, at: 0, total, keeps }
    }

    /// Bytes that were walked over.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next bytes; `what` they are is for the message.
    pub(super) fn take(&mut self, count: u64, what: &str) -> Parsed<&'a [u8]> {
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

    pub(super) fn u32(&mut self, what: &str) -> Parsed<u32> {
        Ok(self.take(4, what)?.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    }

    fn u64(&mut self, what: &str) -> Parsed<u64> {
        Ok(self.take(8, what)?.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    pub(super) fn count(&mut self, what: &str) -> Parsed<u64> {
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

    /// One key and its value.
    pub(super) fn entry(&mut self) -> Parsed<(String, Value)> {
        let key = self.name("a metadata key")?;
        let kind = self.u32(&key)?;
        let value = self.value(&key, kind, 0)?;
        Ok((key, value))
    }

    fn value(&mut self, key: &str, kind: u32, depth: usize) -> Parsed<Value> {
        match (kind, size(kind)) {
            (_, Some(size)) => Ok(Value::Number(number(kind, self.take(size, key)?))),
            (TEXT, None) => {
                let bytes = self.text(key)?;
                if !self.keeps {
                    return Ok(Value::Other);
                }
                let text = std::str::from_utf8(bytes);
                Ok(text.map_or(Value::Other, |text| Value::Text(text.into())))
            }
            (ARRAY, None) => self.array(key, depth),
            (kind, None) => Err(Stop::Bad(format!("`{key}` has the unknown type {kind}"))),
        }
    }

    fn text(&mut self, key: &str) -> Parsed<&'a [u8]> {
        let length = self.u64(key)?;
        self.take(length, key)
    }

    /// A list. Those of lists are walked over.
    fn array(&mut self, key: &str, depth: usize) -> Parsed<Value> {
        if depth >= MAX_DEPTH {
            return Err(Stop::Bad(format!("`{key}` has lists within lists, more than {MAX_DEPTH} deep")));
        }
        let kind = self.u32(key)?;
        let count = self.u64(key)?;
        // numbers take more in memory than in the file as well, and no list that matters is longer
        let keeps = self.keeps && depth == 0;
        if let Some(size) = size(kind) {
            let bytes = count.checked_mul(size);
            let bytes =
                bytes.ok_or_else(|| Stop::Bad(format!("`{key}` has {count} values; that overflows")))?;
            let values = self.take(bytes, key)?;
            return Ok(if keeps && count <= MAX_LIST {
                Value::numbers(values, size as usize, kind)
            } else {
                Value::Other
            });
        }
        if kind == TEXT && keeps {
            return self.texts(key, count);
        }
        // every text and every list takes bytes of its own, so this ends with the file
        for _ in 0..count {
            self.value(key, kind, depth + 1)?;
        }
        Ok(Value::Other)
    }

    /// Every text takes more in memory than in the file, hence a limit of their own.
    fn texts(&mut self, key: &str, count: u64) -> Parsed<Value> {
        if count > MAX_LIST {
            return Err(Stop::Bad(format!("`{key}` has {count} texts; at most {MAX_LIST} are read")));
        }
        let mut texts = Vec::new();
        for index in 0..count {
            let text = std::str::from_utf8(self.text(key)?);
            let text = text.map_err(|_| Stop::Bad(format!("`{key}`[{index}] is not UTF-8")))?;
            texts.push(text.to_string());
        }
        Ok(Value::Texts(texts))
    }

    /// A tensor's description; its offset is still relative.
    pub(super) fn tensor(&mut self) -> Parsed<Stored> {
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
pub(super) fn number(kind: u32, bytes: &[u8]) -> f64 {
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
