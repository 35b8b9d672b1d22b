//! One folder that one of the `make_*.py` wrote: a diffusers pipeline, what was asked of it and what it made.

#[path = "pixels.rs"]
mod pixels;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use atelier_engine::pipeline::{Denoise, Pipeline};
use atelier_engine::tokenizer::ClipTokenizer;
use atelier_engine::{CandleEngine, DeviceChoice, EngineConfig, Extras, ModelFiles, ModelSpec};
use atelier_inference::{
    Adapted, Decoder, Emphasis, Engine, Framing, ImageOrder, ImageRequest, Pixels, Precision, Refine,
    SeedProfile, Size, Source,
};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

/// A pipeline's folder and its golden values.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) files: ModelFiles,
    pub(crate) cases: BTreeMap<String, Case>,
    pub(crate) texts: Vec<Text>,
    tensors: HashMap<String, Tensor>,
}

/// What was asked.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Case {
    pub(crate) prompt: String,
    pub(crate) negative_prompt: String,
    pub(crate) height: u32,
    pub(crate) width: u32,
    pub(crate) steps: usize,
    pub(crate) guidance: f64,
    pub(crate) seeds: Vec<u64>,
    pub(crate) schedule: String,
    pub(crate) clip_skip: u32,
    pub(crate) strength: Option<f64>,
    pub(crate) image_guidance: Option<f64>,
    pub(crate) inpaint: bool,
    pub(crate) rescale: f64,
    pub(crate) framing: Option<Framing>,
    pub(crate) emphasis: Emphasis,
    /// Files beside the pipeline's, and how strong each is.
    #[serde(default)]
    pub(crate) adapters: Vec<(String, f64)>,
}

/// A text and its ids, `bos` and `eos` included.
#[derive(Deserialize)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Golden {
    cases: BTreeMap<String, Case>,
    texts: Vec<Text>,
}

/// Every fixture: those of the repository, or of `ATELIER_GOLDEN_DIR`. There is always at least one.
pub(crate) fn all() -> Vec<Fixture> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures");
    let root = std::env::var_os("ATELIER_GOLDEN_DIR").map_or(own, PathBuf::from);
    let entries = std::fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(!folders.is_empty(), "{} holds no fixtures; run the make_*.py", root.display());
    folders.into_iter().map(Fixture::open).collect()
}

impl Fixture {
    fn open(folder: PathBuf) -> Fixture {
        let golden = std::fs::read_to_string(folder.join("golden.json")).unwrap();
        let golden: Golden = serde_json::from_str(&golden).unwrap();
        let tensors =
            candle_core::safetensors::load(folder.join("golden.safetensors"), &Device::Cpu).unwrap();
        Fixture {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            files: ModelFiles::folder(&folder),
            folder,
            cases: golden.cases,
            texts: golden.texts,
            tensors,
        }
    }

    /// Whether the denoiser is FLUX's, whose tests are in `flux.rs`.
    pub(crate) fn is_flux(&self) -> bool {
        self.folder.join("transformer").is_dir()
    }

    /// What diffusers made, in f32.
    pub(crate) fn expected(&self, case: &str, stage: &str) -> Tensor {
        self.tensors[&format!("{case}/{stage}")].to_dtype(DType::F32).unwrap()
    }

    /// Whether diffusers has such a stage.
    pub(crate) fn has(&self, case: &str, stage: &str) -> bool {
        self.tensors.contains_key(&format!("{case}/{stage}"))
    }

    /// Tables, which are kept in f64.
    pub(crate) fn table(&self, case: &str, stage: &str) -> Vec<f64> {
        self.tensors[&format!("{case}/{stage}")].to_dtype(DType::F64).unwrap().to_vec1().unwrap()
    }

    /// Rows of token ids.
    pub(crate) fn ids(&self, case: &str) -> Vec<Vec<u32>> {
        self.tensors[&format!("{case}/ids")].to_dtype(DType::U32).unwrap().to_vec2().unwrap()
    }

    /// The first tokenizer that the pipeline has.
    pub(crate) fn tokenizer(&self) -> ClipTokenizer {
        let opened = ["tokenizer", "tokenizer_2"].map(|folder| ClipTokenizer::open(&self.files, folder));
        opened.into_iter().find_map(Result::ok).unwrap()
    }

    /// The model as a manifest would name it.
    pub(crate) fn spec(&self) -> ModelSpec {
        ModelSpec {
            id: self.name.clone(),
            source: "fixture".into(),
            files: self.files.clone(),
            description: None,
            extras: self.extras(),
        }
    }

    /// An engine with this one model.
    pub(crate) fn engine(&self) -> CandleEngine {
        let spec = self.spec();
        CandleEngine::new(EngineConfig {
            device: DeviceChoice::Cpu,
            models: vec![spec],
            memory_bytes: None,
            ..EngineConfig::default()
        })
        .unwrap()
    }

    pub(crate) fn pipeline(&self) -> std::sync::Arc<Pipeline> {
        std::sync::Arc::new(
            Pipeline::open(&self.files, &self.extras(), &Device::Cpu, Precision::F32).unwrap(),
        )
    }

    /// The adapters that the cases name.
    pub(crate) fn extras(&self) -> Extras {
        let named = self.cases.values().flat_map(|case| &case.adapters).map(|(id, _)| id);
        let file = |id: &String| (id.clone(), self.folder.join(format!("{id}.safetensors")));
        Extras { adapters: named.map(file).collect(), ..Extras::default() }
    }

    /// The case as a job of our own.
    pub(crate) fn job(&self, name: &str, case: &Case) -> ImageOrder {
        let source = match (case.strength, case.image_guidance) {
            (strength, _) if case.inpaint => {
                let mask = Some(self.picture(name, "mask"));
                Some(Source::Inpaint { pixels: self.picture(name, "source"), mask, strength })
            }
            (None, None) => None,
            (_, Some(guidance)) => {
                Some(Source::Edit { pixels: self.picture(name, "source"), guidance: Some(guidance) })
            }
            (strength, None) => Some(Source::Start { pixels: self.picture(name, "source"), strength }),
        };
        let request = ImageRequest {
            prompt: case.prompt.clone(),
            negative_prompt: Some(case.negative_prompt.clone()),
            size: Some(Size { width: case.width, height: case.height }),
            steps: Some(case.steps as u32),
            guidance: Some(case.guidance),
            seed: Some(case.seeds[0]),
            count: Some(case.seeds.len() as u32),
            schedule: Some(case.schedule.clone()),
            clip_skip: Some(case.clip_skip),
            guidance_rescale: Some(case.rescale),
            emphasis: case.emphasis,
            seed_profile: SeedProfile::Diffusers,
            decoder: Decoder::Full,
            adapters: case
                .adapters
                .iter()
                .map(|(id, weight)| Adapted { id: id.clone(), weight: *weight })
                .collect(),
            controls: Vec::new(),
            framing: case.framing,
            refine: Refine::Default,
            step_cache: None,
            preview_every: None,
            source,
        };
        let job = ImageOrder::new(request, &self.engine().models()[0]).unwrap();
        assert_eq!(job.seeds, case.seeds, "cases count their seeds up");
        job
    }

    fn picture(&self, case: &str, stage: &str) -> Pixels {
        pixels::pixels(&self.tensors[&format!("{case}/{stage}")])
    }

    /// The case's denoise loop, before its first step.
    pub(crate) fn denoise(&self, name: &str, case: &Case) -> Denoise {
        Denoise::new(self.pipeline(), &self.job(name, case)).unwrap()
    }
}
