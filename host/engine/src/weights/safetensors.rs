//! The front door for safetensors files: the header is checked before anything is read by it. Length, JSON, types,
//! shapes, and offsets without gap or overlap that end with the file.
//!
//! Bytes come from `files`; what goes out says where each tensor lies and has been held against the file's size.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, Metadata};

use super::stored::{Encoding, Stored};
use crate::Result;
use crate::files::{Blob, ModelFiles};

/// Longest header; the largest published models have headers under 1 MiB.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Opens a file and checks its header.
///
/// # Errors
/// [`crate::Error::Read`] and [`crate::Error::Malformed`] name the file, and the tensor where it is one.
pub(crate) fn open(files: &ModelFiles, name: &str) -> Result<(Blob, Vec<Stored>)> {
    let (blob, header, start) = open_header(files, name)?;
    let tensors = header.offset_keys().into_iter().map(|key| stored(files, name, key, &header, start));
    Ok((blob, tensors.collect::<Result<_>>()?))
}

/// What a file says of itself in `__metadata__`; empty where it says nothing.
///
/// # Errors
/// As [`open`].
pub(super) fn metadata(files: &ModelFiles, name: &str) -> Result<BTreeMap<String, String>> {
    let (_, header, _) = open_header(files, name)?;
    Ok(header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// The file, its header, and where the tensors' bytes begin.
fn open_header(files: &ModelFiles, name: &str) -> Result<(Blob, Metadata, u64)> {
    let mut blob = files.open(name)?;
    let unreadable = |source| files.unreadable(name, source);
    let total = blob.len().map_err(unreadable)?;
    if total < 8 {
        return Err(files.malformed(name, format!("{total} bytes; a safetensors header alone has more")));
    }
    let prefix = blob.read_at(0, 8).map_err(unreadable)?;
    let length = prefix.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if length > MAX_HEADER_BYTES || length > total - 8 {
        let reason =
            format!("header of {length} bytes in a file of {total}; at most {MAX_HEADER_BYTES} are read");
        return Err(files.malformed(name, reason));
    }
    let header = blob.read_at(8, length as usize).map_err(unreadable)?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|error| files.malformed(name, format!("bad safetensors header: {error}")))?;
    let start = 8 + length;
    if start.checked_add(header.data_len() as u64) != Some(total) {
        let reason = format!("{total} bytes; its header describes {} after byte {start}", header.data_len());
        return Err(files.malformed(name, reason));
    }
    Ok((blob, header, start))
}

/// The library has checked that offsets follow each other and fit the shapes.
fn stored(files: &ModelFiles, file: &str, key: String, header: &Metadata, start: u64) -> Result<Stored> {
    let Some(info) = header.info(&key) else {
        return Err(files.malformed(file, format!("tensor `{key}` is listed without a description")));
    };
    let encoding = match info.dtype {
        Dtype::F32 => Encoding::F32,
        Dtype::F16 => Encoding::F16,
        Dtype::BF16 => Encoding::Bf16,
        Dtype::F64 => Encoding::F64,
        Dtype::I64 => Encoding::I64,
        // tables that no network takes may have any type
        _ => Encoding::Other,
    };
    let (from, to) = info.data_offsets;
    Ok(Stored {
        name: key,
        shape: info.shape.clone(),
        encoding,
        file: 0,
        offset: start + from as u64,
        bytes: to - from,
        is_transposed: false,
        has_swapped_halves: false,
    })
}
