//! The front door for GGUF files (ggml's `docs/gguf.md`, versions 2 and 3): the whole header is checked before anything is
//! read by it. Every count is held against the bytes that are there, so that no number makes this allocate; sizes are
//! multiplied with care; tensors lie within the file, aligned, without overlap. candle's own reader is not used: it
//! multiplies what a file says unchecked, and divides by it.
//!
//! Bytes come from `files`; what goes out says where each tensor lies (`cursor` walks over the bytes), and for those who ask
//! what the metadata says (`metadata`). For tensors only the alignment matters of it; the rest is walked over.

mod cursor;
mod metadata;

use std::collections::{BTreeMap, BTreeSet};

use super::stored::Stored;
use crate::Result;
use crate::files::{Blob, ModelFiles};
use cursor::{Cursor, Parsed, Stop};

pub(crate) use metadata::Metadata;
use metadata::Value;

pub(super) const MAGIC: &[u8; 4] = b"GGUF";
/// Longest header; a vocabulary of 256,000 words takes about 10 MiB.
const MAX_HEADER_BYTES: u64 = 64 << 20;
/// What is read first; enough for a file without vocabulary.
const FIRST_BYTES: u64 = 256 << 10;
/// Where the file does not say it.
const ALIGNMENT: u64 = 32;
const MAX_ALIGNMENT: u64 = 65_536;
const ALIGNMENT_KEY: &str = "general.alignment";

/// Opens a file and checks its header.
///
/// # Errors
/// [`crate::Error::Read`] and [`crate::Error::Malformed`] name the file, and the key or tensor where it is one.
pub(super) fn open(files: &ModelFiles, name: &str) -> Result<(Blob, Vec<Stored>)> {
    let (blob, header) = read(files, name, false)?;
    Ok((blob, header.tensors))
}

/// What a file says.
struct Header {
    tensors: Vec<Stored>,
    /// Empty where nobody asked for it.
    metadata: BTreeMap<String, Value>,
}

fn read(files: &ModelFiles, name: &str, keeps_metadata: bool) -> Result<(Blob, Header)> {
    let mut blob = files.open(name)?;
    let unreadable = |source| files.unreadable(name, source);
    let total = blob.len().map_err(unreadable)?;
    let mut length = FIRST_BYTES.min(total);
    loop {
        let bytes = blob.read_at(0, length as usize).map_err(unreadable)?;
        match parse(&bytes, total, keeps_metadata) {
            Ok(header) => return Ok((blob, header)),
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
fn parse(bytes: &[u8], total: u64, keeps_metadata: bool) -> Parsed<Header> {
    let mut cursor = Cursor::new(bytes, total, keeps_metadata);
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
    let (mut keys, mut metadata) = (BTreeSet::new(), BTreeMap::new());
    for _ in 0..entries {
        let (key, value) = cursor.entry()?;
        if key == ALIGNMENT_KEY {
            alignment = checked_alignment(value.number())?;
        }
        if keys.contains(&key) {
            return Err(Stop::Bad(format!("`{key}` is there twice")));
        }
        if keeps_metadata {
            metadata.insert(key.clone(), value);
        }
        keys.insert(key);
    }
    let mut described = Vec::new();
    for _ in 0..tensors {
        described.push(cursor.tensor()?);
    }
    let start = (cursor.at() as u64).next_multiple_of(alignment);
    let tensors = place(described, start, alignment, total).map_err(Stop::Bad)?;
    Ok(Header { tensors, metadata })
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
