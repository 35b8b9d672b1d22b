//! A folder of fixtures whose layout its own tests know: what was asked, and what diffusers made of it.

use std::collections::HashMap;
use std::path::PathBuf;

use atelier_engine::ModelFiles;
use candle_core::{DType, Device, Tensor};
use serde::de::DeserializeOwned;

/// A folder below `tests/golden`, or below `ATELIER_GOLDEN_DIR`.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) tensors: HashMap<String, Tensor>,
}

impl Folder {
    pub(crate) fn open(kind: &str, name: &str) -> Folder {
        let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let root = std::env::var_os("ATELIER_GOLDEN_DIR").map_or(own, PathBuf::from);
        let path = root.join(kind).join(name);
        let tensors = candle_core::safetensors::load(path.join("golden.safetensors"), &Device::Cpu);
        let tensors = tensors.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Folder { path, tensors }
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&std::fs::read(self.path.join("golden.json")).unwrap()).unwrap()
    }

    pub(crate) fn tensor(&self, name: &str) -> Tensor {
        self.tensors[name].to_dtype(DType::F32).unwrap()
    }

    pub(crate) fn ids(&self, name: &str) -> Vec<Vec<u32>> {
        self.tensors[name].to_dtype(DType::U32).unwrap().to_vec2().unwrap()
    }

    pub(crate) fn files(&self) -> ModelFiles {
        ModelFiles::folder(&self.path)
    }
}
