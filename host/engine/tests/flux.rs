//! FLUX.1 against diffusers, stage by stage, for every folder that `golden/make_flux.py` wrote (`ATELIER_GOLDEN_DIR` names
//! others). Each stage is fed with what diffusers fed it, so that a failure names the stage.

#[path = "golden/worst.rs"]
mod worst;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use atelier_engine::ModelFiles;
use atelier_engine::kernels::Blocks;
use atelier_engine::models::clip::{ClipTextEncoder, States};
use atelier_engine::models::flux::{FluxInput, FluxTransformer};
use atelier_engine::models::t5::T5Encoder;
use atelier_engine::models::vae::Vae;
use atelier_engine::noise::{NoiseSource, PerImage};
use atelier_engine::pipeline::{FluxText, rows};
use atelier_engine::tokenizer::{ClipTokenizer, T5Tokenizer};
use atelier_inference::Emphasis;
use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use worst::Worst;

const ENCODERS: f64 = 1e-5;
const DENOISER: f64 = 1e-4;
const IMAGE: f64 = 2e-3;
/// Widening is exact but for the order of two multiplications.
const BLOCKS: f64 = 1e-6;

/// A pipeline's folder and what diffusers made of it.
struct Fixture {
    name: String,
    files: ModelFiles,
    golden: Golden,
    tensors: Tensors,
}

/// What was asked.
#[derive(Deserialize)]
struct Golden {
    cases: BTreeMap<String, Case>,
    texts: Vec<Text>,
}

#[derive(Deserialize)]
struct Case {
    prompt: String,
    guidance: f64,
    seeds: Vec<u64>,
    strength: Option<f64>,
}

/// A text and its ids, the end included.
#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
}

struct Tensors(HashMap<String, Tensor>);

impl Tensors {
    fn open(file: &Path) -> Self {
        Self(candle_core::safetensors::load(file, &Device::Cpu).unwrap())
    }

    fn get(&self, name: &str) -> Tensor {
        self.0[name].to_dtype(DType::F32).unwrap()
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        self.0[name].to_dtype(DType::U32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }
}

fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/flux");
    std::env::var_os("ATELIER_GOLDEN_DIR").map_or(own, PathBuf::from)
}

/// The two pipelines.
fn pipelines() -> [Fixture; 2] {
    ["dev", "schnell"].map(|name| {
        let folder = root().join(name);
        let golden = std::fs::read_to_string(folder.join("golden.json")).unwrap();
        Fixture {
            name: name.into(),
            golden: serde_json::from_str(&golden).unwrap(),
            tensors: Tensors::open(&folder.join("golden.safetensors")),
            files: ModelFiles::folder(folder),
        }
    })
}

/// The two folders of GGUF files.
fn quantized() -> [(&'static str, ModelFiles, Tensors); 2] {
    ["q8", "q4"].map(|name| {
        let folder = root().join(name);
        (name, ModelFiles::folder(&folder), Tensors::open(&folder.join("golden.safetensors")))
    })
}

#[test]
fn every_text_becomes_the_ids_of_transformers() {
    for fixture in pipelines() {
        let tokenizer = T5Tokenizer::open(&fixture.files).unwrap();
        for text in &fixture.golden.texts {
            let ids = tokenizer.ids(&text.text).unwrap();
            assert_eq!(ids, text.ids, "{}: {:?}", fixture.name, text.text);
        }
        for case in fixture.golden.cases.values() {
            let expected = fixture.tensors.ids(&format!("ids/{}", case.prompt));
            assert_eq!(tokenizer.row(&case.prompt, expected.len()).unwrap(), expected);
        }
        let error = tokenizer.row("far too long for two tokens", 2).unwrap_err().to_string();
        assert!(error.contains("this model reads 1; shorten it"), "{error}");
    }
}

#[test]
fn text_encoders_equal_transformers() {
    let mut worst = Worst::new("T5", ENCODERS);
    let mut pooled = Worst::new("pooled CLIP", ENCODERS);
    for fixture in pipelines() {
        let t5 = T5Encoder::open(&fixture.files, &Device::Cpu).unwrap();
        let clip = ClipTextEncoder::open(&fixture.files, "text_encoder", &Device::Cpu).unwrap();
        let tokenizer = ClipTokenizer::open(&fixture.files, "tokenizer").unwrap();
        for case in fixture.golden.cases.values() {
            let place = format!("{}/{}", fixture.name, case.prompt);
            let named = |stage: &str| format!("{stage}/{}", case.prompt);
            let states = t5.forward(&fixture.tensors.ids(&named("ids"))).unwrap();
            worst.compare(&place, &states, &fixture.tensors.get(&named("states")));
            let rows = rows(&tokenizer, &case.prompt, Emphasis::None).unwrap();
            let encoded = clip.forward(&[rows[0].ids.clone()], States::Normed(0)).unwrap();
            pooled.compare(&place, &encoded.pooled, &fixture.tensors.get(&named("pooled")));
        }
    }
}

#[test]
fn prompts_are_encoded_as_the_pipeline_does_and_parts_that_do_not_fit_are_named() {
    let mut worst = Worst::new("conditioning", ENCODERS);
    for fixture in pipelines() {
        let flux = FluxTransformer::open(&fixture.files, &Device::Cpu).unwrap();
        let text = FluxText::open(&fixture.files, flux.config(), &Device::Cpu).unwrap();
        for case in fixture.golden.cases.values() {
            let place = format!("{}/{}", fixture.name, case.prompt);
            let encoded = text.encode(&case.prompt).unwrap();
            let expected = |stage: &str| fixture.tensors.get(&format!("{stage}/{}", case.prompt));
            worst.compare(&place, &encoded.states, &expected("states"));
            worst.compare(&place, &encoded.pooled, &expected("pooled"));
        }
        assert!(text.encode("short").unwrap().note.is_none());
        assert!(
            text.encode(&"z".repeat(100)).unwrap().note.is_some_and(|note| note.contains("first 75 tokens"))
        );
        let error = text.encode(&"z".repeat(1_000)).unwrap_err().to_string();
        assert!(error.starts_with("prompt: is "), "{error}");
        let mut wider = flux.config().clone();
        wider.joint_attention_dim = 64;
        let error = FluxText::open(&fixture.files, &wider, &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("text_encoder_2") && error.contains("d_model 32"), "{error}");
    }
}

#[test]
fn the_denoiser_equals_diffusers_at_every_step_under_both_sets_of_names() {
    let mut worst = Worst::new("denoiser", DENOISER);
    for fixture in pipelines() {
        let flux = FluxTransformer::open(&fixture.files, &Device::Cpu).unwrap();
        assert_eq!(flux.takes_guidance(), fixture.name == "dev");
        for (name, case) in &fixture.golden.cases {
            let get = |stage: &str| fixture.tensors.get(&format!("{name}/{stage}"));
            let (latents, outputs) = (get("latents"), get("outputs"));
            let timesteps: Vec<f32> = get("timesteps").to_vec1().unwrap();
            let images = case.seeds.len();
            let repeat = |stage: &str| {
                let of_prompt = fixture.tensors.get(&format!("{stage}/{}", case.prompt));
                let repeats: Vec<usize> =
                    std::iter::once(images).chain(vec![1; of_prompt.rank() - 1]).collect();
                of_prompt.repeat(repeats).unwrap()
            };
            let full = |value: f32| Tensor::full(value, images, &Device::Cpu).unwrap();
            let (text, pooled, guidance) = (repeat("states"), repeat("pooled"), full(case.guidance as f32));
            for (step, timestep) in timesteps.into_iter().enumerate() {
                let timesteps = full(timestep);
                let guidance = flux.takes_guidance().then_some(&guidance);
                let input = FluxInput { timesteps: &timesteps, text: &text, pooled: &pooled, guidance };
                let out = flux.forward(&latents.get(step).unwrap(), input).unwrap();
                worst.compare(format!("{}/{name}/{step}", fixture.name), &out, &outputs.get(step).unwrap());
            }
        }
    }
}

#[test]
fn quantized_files_give_what_their_widened_weights_give() {
    let mut worst = Worst::new("quantized denoiser", DENOISER);
    let mut encoder = Worst::new("quantized T5", ENCODERS);
    for (name, files, tensors) in quantized() {
        let flux = FluxTransformer::open(&files, &Device::Cpu).unwrap();
        let (timesteps, guidance) = (tensors.get("timesteps"), tensors.get("guidance"));
        let (text, pooled) = (tensors.get("states"), tensors.get("pooled"));
        let input =
            FluxInput { timesteps: &timesteps, text: &text, pooled: &pooled, guidance: Some(&guidance) };
        let out = flux.forward(&tensors.get("latents"), input).unwrap();
        worst.compare(name, &out, &tensors.get("output"));
        let t5 = T5Encoder::open(&files, &Device::Cpu).unwrap();
        encoder.compare(name, &t5.forward(&tensors.ids("ids")).unwrap(), &tensors.get("t5"));
    }
}

#[test]
fn blocks_of_every_kind_widen_to_the_values_of_the_reference() {
    let mut worst = Worst::new("blocks", BLOCKS);
    let tensors = Tensors::open(&root().join("blocks.safetensors"));
    for (name, encoding) in [
        ("Q4_0", GgmlDType::Q4_0),
        ("Q4_1", GgmlDType::Q4_1),
        ("Q5_0", GgmlDType::Q5_0),
        ("Q5_1", GgmlDType::Q5_1),
        ("Q8_0", GgmlDType::Q8_0),
        ("Q2_K", GgmlDType::Q2K),
        ("Q3_K", GgmlDType::Q3K),
        ("Q4_K", GgmlDType::Q4K),
        ("Q5_K", GgmlDType::Q5K),
        ("Q6_K", GgmlDType::Q6K),
    ] {
        let bytes = tensors.0[&format!("{name}/bytes")].flatten_all().unwrap().to_vec1::<u8>().unwrap();
        let expected = tensors.get(&format!("{name}/values"));
        let blocks = Blocks::new(encoding, expected.dims2().unwrap(), bytes).unwrap();
        worst.compare_scaled(name, &blocks.dequantize(&Device::Cpu).unwrap(), &expected);
    }
}

#[test]
fn first_latents_and_decoded_pictures_equal_diffusers() {
    let mut noise = Worst::new("first latents", BLOCKS);
    let mut image = Worst::new("decoder", IMAGE);
    for fixture in pipelines() {
        let vae = Vae::open(&fixture.files, "vae", &Device::Cpu).unwrap();
        for (name, case) in &fixture.golden.cases {
            let place = format!("{}/{name}", fixture.name);
            let latents = fixture.tensors.get(&format!("{name}/latents"));
            let (first, last) = (latents.get(0).unwrap(), latents.get(latents.dim(0).unwrap() - 1).unwrap());
            // noise is drawn for the latents as a picture, and packed after
            if case.strength.is_none() {
                noise.compare(&place, &PerImage::new(&case.seeds).draw(&first).unwrap(), &first);
            }
            let expected = fixture.tensors.get(&format!("{name}/image"));
            image.compare(&place, &vae.decode(&last).unwrap(), &expected);
        }
    }
}
