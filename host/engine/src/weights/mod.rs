//! Weights: from a component's files, safetensors or GGUF, to tensors by name. Every header is checked before anything is read by it; a tensor
//! that the model wants and the files lack, or that the files have and the model does not know, is an error by name.
//!
//! Bytes come from `files`; tensors go to whatever network is being built, through a [`Builder`]. Pickled checkpoints
//! are never opened: they can run code.

mod builder;
mod file;
mod gguf;
mod safetensors;
mod slot;
mod stored;

use std::collections::BTreeMap;

use atelier_inference::Precision;
use candle_core::Device;

use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::files::{Blob, ModelFiles};
use builder::Rest;

pub use builder::Builder;
pub(crate) use file::TensorFile;
pub(crate) use gguf::Metadata;
pub(crate) use safetensors::open as open_safetensors;
pub use slot::{LowRank, Slot, Slots};
pub(crate) use stored::{Reader, Stored};

/// Most shards of one component.
const MAX_SHARDS: usize = 64;
/// Tables that old checkpoints carry and that follow from the configuration.
const DERIVED: [&str; 1] = ["embeddings.position_ids"];

/// One component's tensors, none of them read yet.
pub struct Weights {
    reader: Reader,
    device: Device,
    precision: Precision,
}

impl Weights {
    /// Opens `<component>/<stem>.safetensors`, or its half-precision variant, or its shards.
    pub fn load(files: &ModelFiles, component: &str, stem: &str, device: &Device) -> Result<Self> {
        Ok(Self::new(open_component(files, component, stem)?, device))
    }

    /// Opens a component as [`Weights::load`] does, or the one file that stands for it: the only one in its folder (or the
    /// only one there that is named so), or the only one beside the folder whose name begins so.
    ///
    /// # Errors
    /// Those of [`Weights::load`], and [`crate::Error::Malformed`] where several files could be meant.
    pub fn find(
        files: &ModelFiles,
        component: &str,
        stem: &str,
        beside: &str,
        device: &Device,
    ) -> Result<Self> {
        for (folder, prefix) in [(component, stem), (component, ""), ("", beside)] {
            match single_names(files, folder, prefix)?.as_slice() {
                [] => {}
                [name] => return Self::file(files, name, device),
                _ if prefix == stem => return Self::load(files, component, stem, device),
                names => {
                    let reason = format!("{} could each be the {component}; keep one", names.join(", "));
                    return Err(files.malformed(folder, reason));
                }
            }
        }
        Self::load(files, component, stem, device)
    }

    /// Opens one file, safetensors or GGUF.
    pub fn file(files: &ModelFiles, name: &str, device: &Device) -> Result<Self> {
        let mut reader = Reader::new(files);
        let (blob, tensors) = open_file(files, name)?;
        reader.add(name.into(), blob, tensors)?;
        Ok(Self::new(reader, device))
    }

    fn new(reader: Reader, device: &Device) -> Self {
        Self { reader, device: device.clone(), precision: Precision::F32 }
    }

    /// For a network that multiplies in this precision, which the caller knows the device to have kernels for.
    pub fn in_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// With this prefix cut off the names that have it; layouts of one model differ by a prefix.
    pub fn without_prefix(self, prefix: &str) -> Self {
        self.renamed(|name| name.strip_prefix(prefix).map(String::from))
    }

    /// Names and shapes of the tensors that there are.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.reader.tensors().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()))
    }

    /// Under other names: `new` gives one for those that change.
    pub fn renamed(mut self, new: impl Fn(&str) -> Option<String>) -> Self {
        self.reader.rename(new);
        self
    }

    /// With fused tensors cut into parts: `parts` gives names and numbers of rows, in order, for those that are.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] where the parts are not the whole.
    pub fn split(mut self, parts: impl Fn(&str, &[usize]) -> Option<Vec<(String, usize)>>) -> Result<Self> {
        self.reader.split(parts)?;
        Ok(self)
    }

    /// With the two halves of some tensors' rows in the other order.
    pub fn with_halves_swapped(mut self, swaps: impl Fn(&str) -> bool) -> Self {
        self.reader.swap_halves(swaps);
        self
    }

    /// Without a tensor that files write twice under two names.
    pub fn without(mut self, name: &str) -> Self {
        self.reader.remove(name);
        self
    }

    /// Keeps matrices in half precision as they are, for networks too large for f32. Quantized ones always stay so.
    pub fn compact(mut self) -> Self {
        self.reader.keep_halves();
        self
    }

    /// The shape of a tensor, if there is such a one.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.reader.shape(name)
    }

    /// Bytes that the network will take in memory.
    pub fn bytes(&self) -> u64 {
        self.reader.bytes_in_memory(self.precision)
    }

    /// The error for weights that are not what they should be; names their first file.
    pub fn malformed(&self, reason: &str) -> crate::Error {
        self.reader.files().malformed(self.reader.first_file(), reason)
    }

    /// Builds a network: lets `build` take its tensors. Every tensor must be taken, exactly once. With it come the slots
    /// of its layers.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] names a tensor that is missing, has another shape, or was taken by nobody: each means
    /// that `config.json` describes another model than the one whose weights these are. [`crate::Error::Read`] for a file that
    /// fails meanwhile.
    pub fn build<T>(self, build: impl FnOnce(Builder) -> candle_core::Result<T>) -> Result<(T, Slots)> {
        let (files, file) = (self.reader.files().clone(), self.reader.first_file().to_string());
        if let Some(name) = self.reader.doubled() {
            return Err(files.malformed(&file, format!("tensor `{name}` is there under two names")));
        }
        let builder = Builder::of_files(self.reader, &self.device).in_precision(self.precision);
        let built = build(builder.clone());
        let Rest { names, slots, failure } = builder.finish();
        match (built, failure, names.first()) {
            (_, Some(failure), _) => Err(failure),
            (Err(error), ..) => Err(files.malformed(&file, error.to_string())),
            (Ok(network), None, None) => Ok((network, slots)),
            (Ok(_), None, Some(name)) => {
                let reason = format!("tensor `{name}` has no place in the model that config.json describes");
                Err(files.malformed(&file, reason))
            }
        }
    }
}

/// Every file of a component, with its header checked and no tensor read.
pub(crate) fn open_component(files: &ModelFiles, component: &str, stem: &str) -> Result<Reader> {
    let (files, component) = &files.owner(component);
    if let Some((folder, file, checkpoint)) = files.single()? {
        return of_checkpoint(files, &folder, file, component, &checkpoint);
    }
    let mut reader = Reader::new(files);
    for name in file_names(files, component, stem)? {
        let (blob, mut tensors) = open_file(files, &name)?;
        tensors.retain(|tensor| !DERIVED.iter().any(|derived| tensor.name.ends_with(derived)));
        reader.add(name, blob, tensors)?;
    }
    Ok(reader)
}

/// A file of either format; its first bytes say which, whatever its name.
fn open_file(files: &ModelFiles, name: &str) -> Result<(Blob, Vec<Stored>)> {
    let mut blob = files.open(name)?;
    let length = blob.len().map_err(|source| files.unreadable(name, source))?.min(4) as usize;
    let magic = blob.read_at(0, length).map_err(|source| files.unreadable(name, source))?;
    if *magic == *gguf::MAGIC {
        return gguf::open(files, name);
    }
    safetensors::open(files, name)
}

/// A component of a single file. The header is read anew: the file may be another one by now.
fn of_checkpoint(
    files: &ModelFiles,
    folder: &ModelFiles,
    file: &str,
    component: &str,
    checkpoint: &Checkpoint,
) -> Result<Reader> {
    let Some(tensors) = checkpoint.tensors(component) else {
        return Err(files.malformed("", format!("holds no {component}")));
    };
    let mut reader = Reader::new(folder);
    reader.add(file.into(), folder.open(file)?, tensors.to_vec())?;
    Ok(reader)
}

/// The weights' files in a folder whose names begin so.
fn single_names(files: &ModelFiles, folder: &str, prefix: &str) -> Result<Vec<String>> {
    let is_weights = |name: &String| {
        let name = name.rsplit('/').next().unwrap_or_default();
        name.starts_with(prefix) && [".safetensors", ".gguf"].iter().any(|end| name.ends_with(end))
    };
    Ok(files.list(folder)?.into_iter().filter(is_weights).collect())
}

/// Full precision before half, one file before shards, quantized last.
fn file_names(files: &ModelFiles, component: &str, stem: &str) -> Result<Vec<String>> {
    for variant in ["", ".fp16"] {
        let name = within(component, &format!("{stem}{variant}.safetensors"));
        if files.contains(&name) {
            return Ok(vec![name]);
        }
        let index = within(component, &format!("{stem}.safetensors.index{variant}.json"));
        if files.contains(&index) {
            return shard_names(files, component, &index);
        }
    }
    let quantized = within(component, &format!("{stem}.gguf"));
    if files.contains(&quantized) {
        return Ok(vec![quantized]);
    }
    let reason = format!(
        "no {stem}.safetensors here (nor its fp16 variant, its index or a gguf); fetch it, or convert pickled weights with \
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
    Ok(names.into_iter().map(|name| within(component, &name)).collect())
}

/// A file of a component; one that was named alone has no folder of its own.
fn within(component: &str, name: &str) -> String {
    if component.is_empty() { name.into() } else { format!("{component}/{name}") }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Files of zeros, for tests that look at names and shapes.

    /// A safetensors file with tensors of these names and shapes in f16.
    pub(crate) fn file_of(tensors: &[(&str, Vec<usize>)]) -> &'static [u8] {
        use safetensors::tensor::{Dtype, TensorView, serialize};
        let bytes = |shape: &[usize]| vec![0; 2 * shape.iter().product::<usize>()];
        let data: Vec<_> = tensors.iter().map(|(_, shape)| bytes(shape)).collect();
        let views = tensors.iter().zip(&data).map(|((name, shape), data)| {
            (name.to_string(), TensorView::new(Dtype::F16, shape.clone(), data).unwrap())
        });
        serialize(views, None).unwrap().leak()
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

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
        let tensor = weights.build(|vb| vb.pp("a").get(2, "weight")).unwrap().0;
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
    fn a_tensor_under_two_names_is_refused() {
        let two = r#"{"x.a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"a":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}}"#;
        let error =
            load(file(two, &[0; 4])).unwrap().without_prefix("x.").build(|vb| vb.get(1, "a")).unwrap_err();
        assert!(error.to_string().contains("under two names"), "{error}");
    }

    #[test]
    fn a_shard_outside_of_its_folder_is_refused() {
        let index: &[u8] = br#"{"weight_map": {"a": "../secret.safetensors"}}"#;
        let list: &'static [(&'static str, &'static [u8])] =
            vec![("unet/model.safetensors.index.json", index)].leak();
        let error = Weights::load(&ModelFiles::embedded(list), "unet", "model", &Device::Cpu).err();
        assert!(error.is_some_and(|error| error.to_string().contains("plain file name")));
    }

    #[test]
    fn one_file_may_stand_for_a_component_and_several_are_refused() {
        let file = testing::file_of(&[("a", vec![2])]);
        let find = |names: &[&'static str]| {
            let files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, file)).collect();
            let files = ModelFiles::embedded(files.leak());
            Weights::find(&files, "transformer", "model", "flux1", &Device::Cpu)
        };
        for names in [
            &["transformer/flux1-dev.safetensors", "other.safetensors"][..],
            &["flux1-dev.safetensors", "ae.safetensors"],
            &["transformer/model.safetensors", "transformer/other.safetensors", "flux1-dev.safetensors"],
        ] {
            assert!(find(names).is_ok_and(|found| found.shape("a") == Some(&[2])), "{names:?}");
        }
        let error = find(&["flux1-a.safetensors", "flux1-b.gguf"]).err().unwrap().to_string();
        assert!(error.contains("flux1-a.safetensors, flux1-b.gguf"), "{error}");
        assert!(find(&["ae.safetensors"]).is_err());
    }
}
