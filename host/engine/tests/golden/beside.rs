//! What diffusers made of a pipeline's folder with something beside it, such as a refiner or ControlNets: values that
//! lie in the folder under a name of their own.

#[path = "pixels.rs"]
mod pixels;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use atelier_engine::ModelFiles;
use atelier_engine::pipeline::Denoise;
use atelier_inference::Pixels;
use candle_core::{DType, Device, Tensor};
use serde::de::DeserializeOwned;

use super::worst::Worst;

/// Cases, and the tensors `<case>/<stage>` of each.
pub(crate) struct Beside<Case> {
    pub(crate) cases: BTreeMap<String, Case>,
    tensors: HashMap<String, Tensor>,
}

/// The folder of all pipelines: that of the repository, or `ATELIER_GOLDEN_DIR`.
pub(crate) fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures");
    std::env::var_os("ATELIER_GOLDEN_DIR").map_or(own, PathBuf::from)
}

pub(crate) fn files(model: &str) -> ModelFiles {
    ModelFiles::folder(root().join(model))
}

impl<Case: DeserializeOwned> Beside<Case> {
    pub(crate) fn open(model: &str, name: &str) -> Self {
        let file = |ending| root().join(model).join(format!("{name}.{ending}"));
        let cases = std::fs::read_to_string(file("json")).unwrap();
        let tensors = candle_core::safetensors::load(file("safetensors"), &Device::Cpu).unwrap();
        Self { cases: serde_json::from_str(&cases).unwrap(), tensors }
    }
}

impl<Case> Beside<Case> {
    pub(crate) fn expected(&self, case: &str, stage: &str) -> Tensor {
        self.tensors[&format!("{case}/{stage}")].to_dtype(DType::F32).unwrap()
    }

    pub(crate) fn table(&self, case: &str, stage: &str) -> Vec<f64> {
        self.tensors[&format!("{case}/{stage}")].to_dtype(DType::F64).unwrap().to_vec1().unwrap()
    }

    pub(crate) fn picture(&self, case: &str, stage: &str) -> Pixels {
        pixels::pixels(&self.tensors[&format!("{case}/{stage}")])
    }

    /// Steps a run to its end and compares each step with diffusers'; `part` comes before the stages' names.
    pub(crate) fn follow(
        &self,
        denoise: &mut Denoise,
        (case, part): (&str, &str),
        (latents, predictions): (&mut Worst, &mut Worst),
    ) {
        let expected = self.expected(case, &format!("{part}latents"));
        let outputs = self.expected(case, &format!("{part}outputs"));
        for step in 0.. {
            let place = format!("{case}/{part}{step}");
            latents.compare_scaled(&*place, denoise.latents(), &expected.get(step).unwrap());
            if !denoise.step().unwrap() {
                assert_eq!(step, outputs.dim(0).unwrap(), "{place}");
                return;
            }
            let parts = Tensor::cat(denoise.predictions(), 0).unwrap();
            predictions.compare(&*place, &parts, &outputs.get(step).unwrap());
        }
    }
}
