//! Weights: from safetensors files to tensors by name. The header is checked before anything is read by it; a tensor
//! that the model wants and the file lacks, or that the file has and the model does not know, is an error by name.
//!
//! Bytes come from `files`; tensors go to whatever network is being built. Pickled checkpoints are never opened: they
//! can run code.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::{Init, VarBuilder, var_builder::SimpleBackend};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use crate::files::{Blob, ModelFiles};
use crate::{Error, Result};

/// Longest header; the largest published models have headers under 1 MiB.
const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Most shards of one component.
const MAX_SHARDS: usize = 64;
/// Tables that old checkpoints carry and that follow from the configuration.
const DERIVED: [&str; 1] = ["embeddings.position_ids"];

/// One component's tensors, all f32.
pub(crate) struct Weights {
    /// The first shard's file, for messages.
    path: PathBuf,
    device: Device,
    tensors: BTreeMap<String, Tensor>,
}

/// One safetensors file, its header checked.
struct Shard {
    name: String,
    blob: Blob,
    /// Where the tensors' bytes begin.
    start: u64,
    /// Names, types, shapes and offsets; the library has checked that they neither overlap nor overflow.
    header: Metadata,
}

impl Weights {
    /// Reads `<component>/<stem>.safetensors`, or its half-precision variant, or its shards.
    pub(crate) fn load(files: &ModelFiles, component: &str, stem: &str, device: &Device) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        let shards = shards(files, component, stem)?;
        let path = files.path(shards.first().map_or(component, |shard| &shard.name));
        for mut shard in shards {
            shard.read_into(files, device, &mut tensors)?;
        }
        Ok(Self { path, device: device.clone(), tensors })
    }

    /// Bytes that the component takes in memory (f32), from the headers alone.
    pub(crate) fn bytes_in_memory(files: &ModelFiles, component: &str, stem: &str) -> Result<u64> {
        let elements = |info: &TensorInfo| info.shape.iter().product::<usize>() as u64;
        let of_shard =
            |shard: &Shard| shard.header.tensors().values().map(|info| elements(info)).sum::<u64>();
        Ok(4 * shards(files, component, stem)?.iter().map(of_shard).sum::<u64>())
    }

    /// Whether any tensor's name starts so; layouts of one model differ by a prefix.
    pub(crate) fn has_prefix(&self, prefix: &str) -> bool {
        self.tensors.keys().any(|name| name.starts_with(prefix))
    }

    /// Builds a network: lets `build` take its tensors. Every tensor must be taken, exactly once.
    ///
    /// # Errors
    /// [`Error::Malformed`] names a tensor that is missing, has another shape, or was taken by nobody: each means
    /// that `config.json` describes another model than the one whose weights these are.
    pub(crate) fn build<T>(
        self,
        build: impl FnOnce(VarBuilder<'static>) -> candle_core::Result<T>,
    ) -> Result<T> {
        // shared with the builder, which keeps its half to itself; the lock is candle's demand and never waits
        let left = Arc::new(Mutex::new(self.tensors));
        let backend = Box::new(Taking(left.clone()));
        let malformed = |reason| Error::Malformed { path: self.path, reason };
        let built = match build(VarBuilder::from_backend(backend, DType::F32, self.device)) {
            Ok(built) => built,
            Err(error) => return Err(malformed(error.to_string())),
        };
        let left = left.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |name: &String| DERIVED.iter().any(|derived| name.ends_with(derived));
        match left.keys().find(|name| !known(name)) {
            None => Ok(built),
            Some(name) => {
                let reason = format!("tensor `{name}` has no place in the model that config.json describes");
                Err(malformed(reason))
            }
        }
    }
}

/// Hands out each tensor once; what is left at the end was unknown to the model.
struct Taking(Arc<Mutex<BTreeMap<String, Tensor>>>);

// taking instead of cloning also frees what a layer packs anew: weights are in memory once, not twice
impl SimpleBackend for Taking {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let tensor = self.get_unchecked(name, dtype, device)?;
        if *tensor.shape() != shape {
            candle_core::bail!("tensor `{name}` is {:?}; config.json asks for {shape:?}", tensor.shape());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        match taken {
            Some(tensor) => tensor.to_dtype(dtype)?.to_device(device),
            None => candle_core::bail!("there is no tensor `{name}`, which config.json asks for"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }
}

/// Every file of a component, with its header checked and no tensor read.
fn shards(files: &ModelFiles, component: &str, stem: &str) -> Result<Vec<Shard>> {
    let names = file_names(files, component, stem)?;
    names.into_iter().map(|name| Shard::open(files, name)).collect()
}

/// Full precision before half, one file before shards.
fn file_names(files: &ModelFiles, component: &str, stem: &str) -> Result<Vec<String>> {
    for variant in ["", ".fp16"] {
        let name = format!("{component}/{stem}{variant}.safetensors");
        if files.contains(&name) {
            return Ok(vec![name]);
        }
        let index = format!("{component}/{stem}.safetensors.index{variant}.json");
        if files.contains(&index) {
            return shard_names(files, component, &index);
        }
    }
    let reason = format!(
        "no {stem}.safetensors here (nor its fp16 variant or index); fetch it, or convert pickled weights with \
         diffusers' save_pretrained(safe_serialization=True)"
    );
    Err(files.malformed(component, reason))
}

/// The distinct files that a `*.safetensors.index.json` names, in order. Which tensor it claims to be where is not
/// asked: the files' own headers say that.
fn shard_names(files: &ModelFiles, component: &str, index: &str) -> Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let mut names: Vec<_> = files.json::<Index>(index)?.weight_map.into_values().collect();
    names.sort();
    names.dedup();
    if names.is_empty() || names.len() > MAX_SHARDS {
        return Err(files.malformed(index, format!("{} shards; 1 to {MAX_SHARDS} are read", names.len())));
    }
    // a shard outside of its folder would let an index read any file
    if let Some(name) = names.iter().find(|name| name.contains(['/', '\\']) || name.contains("..")) {
        return Err(files.malformed(index, format!("shard `{name}` is not a plain file name")));
    }
    Ok(names.into_iter().map(|name| format!("{component}/{name}")).collect())
}

impl Shard {
    /// Opens a file and checks its header: length, JSON, and offsets without gap or overlap that end with the file.
    fn open(files: &ModelFiles, name: String) -> Result<Shard> {
        let mut blob = files.open(&name)?;
        let unreadable = |source| files.unreadable(&name, source);
        let total = blob.len().map_err(unreadable)?;
        let prefix = blob.read_at(0, 8).map_err(unreadable)?;
        let length = prefix.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if length > MAX_HEADER_BYTES || length > total.saturating_sub(8) {
            return Err(files.malformed(&name, format!("header of {length} bytes in a file of {total}")));
        }
        let header = blob.read_at(8, length as usize).map_err(unreadable)?;
        let header: Metadata = serde_json::from_slice(&header)
            .map_err(|error| files.malformed(&name, format!("bad safetensors header: {error}")))?;
        let start = 8 + length;
        if start.checked_add(header.data_len() as u64) != Some(total) {
            let reason =
                format!("{total} bytes; its header describes {} after byte {start}", header.data_len());
            return Err(files.malformed(&name, reason));
        }
        Ok(Shard { name, blob, start, header })
    }

    /// Reads every tensor in the order of the file, one at a time: the peak is the model in f32 and one tensor more.
    fn read_into(
        &mut self,
        files: &ModelFiles,
        device: &Device,
        tensors: &mut BTreeMap<String, Tensor>,
    ) -> Result<()> {
        for key in self.header.offset_keys() {
            let Some(info) = self.header.info(&key) else { continue };
            if DERIVED.iter().any(|derived| key.ends_with(derived)) {
                continue;
            }
            let (from, to) = info.data_offsets;
            let bytes = self.blob.read_at(self.start + from as u64, to - from);
            let bytes = bytes.map_err(|source| files.unreadable(&self.name, source))?;
            let Some(values) = to_f32(&bytes, info.dtype) else {
                let reason = format!("tensor `{key}` is {:?}; f32, f16 and bf16 are read", info.dtype);
                return Err(files.malformed(&self.name, reason));
            };
            if tensors.contains_key(&key) {
                let reason = format!("tensor `{key}` is in another shard as well");
                return Err(files.malformed(&self.name, reason));
            }
            tensors.insert(key, Tensor::from_vec(values, info.shape.as_slice(), device)?);
        }
        Ok(())
    }
}

/// Little-endian values of the three precisions that are published, as f32; none for any other type. Both halves
/// widen exactly.
fn to_f32(bytes: &[u8], dtype: Dtype) -> Option<Vec<f32>> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    match dtype {
        Dtype::F32 => Some(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        Dtype::F16 => Some(pairs().map(|b| f16::from_le_bytes(*b).to_f32()).collect()),
        Dtype::BF16 => Some(pairs().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn load(bytes: Vec<u8>) -> Result<Weights> {
        let bytes: &'static [u8] = bytes.leak();
        let list: &'static [(&'static str, &'static [u8])] = vec![("unet/model.safetensors", bytes)].leak();
        Weights::load(&ModelFiles::embedded(list), "unet", "model", &Device::Cpu)
    }

    const ONE: &str = r#"{"a.weight":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;

    #[test]
    fn half_precision_weights_are_read_as_f32() {
        let data = [f16::from_f32(1.5).to_le_bytes(), f16::from_f32(-2.0).to_le_bytes()].concat();
        let weights = load(file(ONE, &data)).unwrap();
        let tensor = weights.build(|vb| vb.pp("a").get(2, "weight")).unwrap();
        assert_eq!(tensor.to_vec1::<f32>().unwrap(), [1.5, -2.0]);
    }

    #[test]
    fn a_missing_an_unknown_and_a_misshapen_tensor_are_named() {
        let fails = |name: &'static str, size: usize| {
            load(file(ONE, &[0; 4])).unwrap().build(|vb| vb.get(size, name)).unwrap_err().to_string()
        };
        assert!(fails("b", 2).contains("no tensor `b`"));
        assert!(fails("a.weight", 3).contains("`a.weight` is [2]"));
        let error = load(file(ONE, &[0; 4])).unwrap().build(|_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("`a.weight` has no place"), "{error}");
        assert!(error.contains("unet/model.safetensors"), "{error}");
    }

    #[test]
    fn a_broken_header_is_a_typed_error() {
        let overlap = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
        let overflow = r#"{"a":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,4]}}"#;
        let integers = r#"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#;
        let huge = [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat();
        for bytes in [
            vec![],
            vec![1; 7],
            huge,
            file("{", &[]),
            file(overlap, &[0; 8]),
            file(overflow, &[0; 4]),
            file(integers, &[0; 8]),
            file(ONE, &[0; 3]),
            file(ONE, &[0; 5]),
        ] {
            let error = load(bytes).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("unet/model.safetensors"), "{error}");
        }
    }

    #[test]
    fn a_shard_outside_of_its_folder_is_refused() {
        let index: &[u8] = br#"{"weight_map": {"a": "../secret.safetensors"}}"#;
        let list: &'static [(&'static str, &'static [u8])] =
            vec![("unet/model.safetensors.index.json", index)].leak();
        let error = Weights::load(&ModelFiles::embedded(list), "unet", "model", &Device::Cpu).err();
        assert!(error.is_some_and(|error| error.to_string().contains("plain file name")));
    }
}
