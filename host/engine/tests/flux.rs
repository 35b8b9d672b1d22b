//! The networks of FLUX.1 against diffusers, stage by stage, for every fixture folder that `golden/make_flux.py` wrote
//! (`ATELIER_GOLDEN_DIR` names others), each in files of another kind. Whole runs are in `golden.rs`, with those of all
//! families.

#[path = "golden/fixture.rs"]
#[expect(dead_code, reason = "shared with golden.rs, which runs whole pipelines")]
mod fixture;
#[path = "golden/worst.rs"]
mod worst;

use atelier_engine::kernels::Blocks;
use atelier_engine::models::clip::{ClipTextEncoder, States};
use atelier_engine::models::flux::{FluxInput, FluxTransformer};
use atelier_engine::models::t5::T5Encoder;
use atelier_engine::pipeline::{FluxText, rows};
use atelier_engine::tokenizer::T5Tokenizer;
use atelier_engine::{CandleEngine, DeviceChoice, EngineConfig, Extras, ModelFiles, ModelSpec};
use atelier_inference::{Emphasis, Engine, Error, ImageOrder, ImageRequest, Precision, Size};
use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device, Tensor};
use fixture::{Fixture, Text};
use worst::Worst;

const ENCODERS: f64 = 1e-5;
const DENOISER: f64 = 1e-4;
/// Widening is exact but for the order of two multiplications.
const BLOCKS: f64 = 1e-6;

/// FLUX's fixtures; there is always at least one.
fn all() -> Vec<Fixture> {
    let all: Vec<_> = fixture::all().into_iter().filter(Fixture::is_flux).collect();
    assert!(!all.is_empty(), "no fixture is of FLUX; run make_flux.py");
    all
}

/// A case's only row of ids for T5.
fn ids(fixture: &Fixture, case: &str) -> Vec<u32> {
    let ids = fixture.expected(case, "ids_2").to_dtype(DType::U32).unwrap();
    ids.to_vec1().unwrap()
}

#[test]
fn every_text_becomes_the_ids_of_transformers() {
    for fixture in all() {
        let tokenizer = T5Tokenizer::open(&fixture.files).unwrap();
        let texts = std::fs::read_to_string(fixture.folder.join("texts_2.json")).unwrap();
        for text in serde_json::from_str::<Vec<Text>>(&texts).unwrap() {
            let ids = tokenizer.ids(&text.text).unwrap();
            assert_eq!(ids, text.ids, "{}: {:?}", fixture.name, text.text);
        }
        for (name, case) in &fixture.cases {
            let expected = ids(&fixture, name);
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
    for fixture in all() {
        let t5 = T5Encoder::open(&fixture.files, &Device::Cpu).unwrap();
        let clip = ClipTextEncoder::open(&fixture.files, "text_encoder", &Device::Cpu).unwrap();
        for (name, case) in &fixture.cases {
            let place = format!("{}/{name}", fixture.name);
            let states = t5.forward(&ids(&fixture, name)).unwrap();
            worst.compare(&place, &states, &fixture.expected(name, "context"));
            let rows = rows(&fixture.tokenizer(), &case.prompt, Emphasis::None).unwrap();
            let encoded = clip.forward(&[rows[0].ids.clone()], States::Normed(0)).unwrap();
            pooled.compare(&place, &encoded.pooled, &fixture.expected(name, "pooled"));
        }
    }
}

#[test]
fn a_network_in_blocks_of_256_values_gives_what_its_widened_weights_give() {
    let mut worst = Worst::new("T5 in Q4_K and Q6_K", ENCODERS);
    let fixtures = all();
    let folder =
        fixtures.iter().map(|fixture| fixture.folder.join("k")).find(|folder| folder.is_dir()).unwrap();
    let t5 = T5Encoder::open(&ModelFiles::folder(&folder), &Device::Cpu).unwrap();
    let tensors = candle_core::safetensors::load(folder.join("golden.safetensors"), &Device::Cpu).unwrap();
    let ids = tensors["ids"].to_dtype(DType::U32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    worst.compare("k", &t5.forward(&ids).unwrap(), &tensors["states"]);
}

#[test]
fn the_denoiser_equals_diffusers_at_every_step_whatever_its_files_are() {
    let mut worst = Worst::new("denoiser", DENOISER);
    for fixture in all() {
        let flux = FluxTransformer::open(&fixture.files, &Device::Cpu, Precision::F32).unwrap();
        for (name, case) in fixture.cases.iter().filter(|(_, case)| case.adapters.is_empty()) {
            let get = |stage: &str| fixture.expected(name, stage);
            let (latents, outputs) = (get("latents"), get("outputs"));
            let images = case.seeds.len();
            let text = get("context").repeat((images, 1, 1)).unwrap();
            let pooled = get("pooled").repeat((images, 1)).unwrap();
            let full = |value: f64| Tensor::full(value as f32, images, &Device::Cpu).unwrap();
            let guidance = full(case.guidance);
            for (step, timestep) in fixture.table(name, "timesteps").into_iter().enumerate() {
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
fn blocks_of_every_kind_widen_to_the_values_of_the_reference() {
    let mut worst = Worst::new("blocks", BLOCKS);
    let fixtures = all();
    let files = fixtures.iter().map(|fixture| fixture.folder.join("blocks.safetensors"));
    let file = files.into_iter().find(|file| file.is_file()).unwrap();
    let tensors = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
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
        let bytes = tensors[&format!("{name}/bytes")].flatten_all().unwrap().to_vec1::<u8>().unwrap();
        let expected = &tensors[&format!("{name}/values")];
        let blocks = Blocks::new(encoding, expected.dims2().unwrap(), &bytes).unwrap();
        worst.compare_scaled(name, &blocks.dequantize(&Device::Cpu).unwrap(), expected);
    }
}

#[test]
fn a_prompt_is_encoded_whole_or_the_answer_says_what_was_not_seen() {
    for fixture in all() {
        let text = FluxText::open(&fixture.files, &Device::Cpu).unwrap();
        assert!(text.condition("short").unwrap().notes.is_empty());
        let notes = text.condition(&"z".repeat(100)).unwrap().notes;
        assert!(notes.len() == 1 && notes[0].contains("first 75 tokens"), "{notes:?}");
        let error = text.condition(&"z".repeat(1_000)).unwrap_err().to_string();
        assert!(error.starts_with("prompt: is "), "{error}");
    }
}

/// An engine with one model.
fn engine(files: ModelFiles, extras: Extras) -> atelier_engine::Result<CandleEngine> {
    let (id, source) = ("flux".to_string(), "fixture".to_string());
    let spec = ModelSpec { id, source, files, description: None, extras };
    CandleEngine::new(EngineConfig {
        device: DeviceChoice::Cpu,
        models: vec![spec],
        memory_bytes: None,
        ..EngineConfig::default()
    })
}

#[test]
fn the_catalog_says_what_each_model_can_and_what_it_cannot_is_refused_by_name() {
    for fixture in all() {
        let model = fixture.engine().models()[0].image().unwrap().clone();
        let has_guidance = ["flux-dev", "flux-q8"].contains(&fixture.name.as_str());
        assert_eq!(model.card.family, "flux");
        let (steps, guidance) = if has_guidance { (28, 3.5) } else { (4, 0.0) };
        assert_eq!((model.default_steps, model.default_guidance), (steps, guidance), "{}", fixture.name);
        // two pixels for a latent and two latents for a token, along a side
        assert_eq!((model.side_multiple, model.default_strength), (4, 0.6));
        assert_eq!(model.schedules[0], "flow_match_euler");
        let features = model.features;
        assert!(features.text_to_image && features.image_to_image && features.inpaint);
        assert_eq!(features.guidance, has_guidance);
        let refused = |request: ImageRequest| match ImageOrder::with(request, &model) {
            Err(Error::Invalid { field, .. }) => field,
            other => panic!("{}: {other:?}", fixture.name),
        };
        assert_eq!(
            refused(ImageRequest { negative_prompt: Some("rain".into()), ..ImageRequest::default() }),
            "negative-prompt"
        );
        assert_eq!(refused(ImageRequest { clip_skip: Some(1), ..ImageRequest::default() }), "clip-skip");
        assert_eq!(
            refused(ImageRequest { emphasis: Emphasis::A1111, ..ImageRequest::default() }),
            "emphasis"
        );
        assert_eq!(
            refused(ImageRequest { guidance_rescale: Some(0.5), ..ImageRequest::default() }),
            "guidance-rescale"
        );
        assert_eq!(
            refused(ImageRequest { schedule: Some("ddim".into()), ..ImageRequest::default() }),
            "schedule"
        );
        let odd = Some(Size { width: model.native_size.width + 2, height: model.native_size.height });
        assert_eq!(refused(ImageRequest { size: odd, ..ImageRequest::default() }), "size");
        let strong = ImageRequest { guidance: Some(3.5), ..ImageRequest::default() };
        match has_guidance {
            true => assert_eq!(ImageOrder::with(strong, &model).unwrap().guidance, 3.5),
            false => assert_eq!(refused(strong), "guidance"),
        }
    }
}

#[test]
fn what_has_no_place_in_it_is_refused_before_anything_is_served() {
    for fixture in all() {
        let refused = |extras: Extras| engine(fixture.files.clone(), extras).err().unwrap().to_string();
        let words = Extras { embeddings: vec!["word.safetensors".into()], ..Extras::default() };
        let error = refused(words);
        assert!(error.contains("embeddings of") && error.contains("FLUX"), "{error}");
        let steered = Extras { controls: vec![("edges".into(), "controlnet".into())], ..Extras::default() };
        let error = refused(steered);
        assert!(error.contains("model `flux`") && error.contains("controls of `a FLUX model`"), "{error}");
        assert!(error.contains("remove the key"), "{error}");
    }
}
