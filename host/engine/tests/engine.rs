//! The engine as its worker sees it: what it lists, loads, refuses and answers, on the golden fixtures' tiny models.

#[path = "golden/fixture.rs"]
#[expect(dead_code, reason = "shared with golden.rs, which compares more")]
mod fixture;

use atelier_engine::{CandleEngine, Defaults, DeviceChoice, EngineConfig, Extras, ModelFiles, ModelSpec};
use atelier_inference::{
    Decoder, Engine, Error, Finished, ImageOrder, ImageRequest, Pixels, Preview, Size, Source, StepState,
};
use candle_core::{DType, Device};
use serde_json::json;

type Files = Vec<(String, Vec<u8>)>;

/// A fixture's files, to be changed.
fn files(name: &str) -> Files {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures").join(name);
    let mut files = Files::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                files.push((name, std::fs::read(path).unwrap()));
            }
        }
    }
    files
}

fn set(files: &mut Files, name: &str, bytes: impl Into<Vec<u8>>) {
    files.retain(|(file, _)| file != name);
    files.push((name.into(), bytes.into()));
}

/// The pipeline `sd1` with the small autoencoder of `nano` beside its own.
fn with_small_autoencoder() -> Files {
    let mut both = files("sd1");
    let small = files("nano").into_iter().filter(|(name, _)| name.starts_with("vae/"));
    both.extend(small.map(|(name, bytes)| (name.replace("vae/", "taesd/"), bytes)));
    both
}

fn try_engine(files: Files) -> Result<CandleEngine, String> {
    engine_with(files, Extras::default())
}

fn engine_with(files: Files, extras: Extras) -> Result<CandleEngine, String> {
    let leak = |(name, bytes): (String, Vec<u8>)| (&*name.leak(), &*bytes.leak());
    let list: Vec<(&'static str, &'static [u8])> = files.into_iter().map(leak).collect();
    let spec = ModelSpec {
        id: "tiny".into(),
        source: "test".into(),
        files: ModelFiles::embedded(list.leak()),
        description: None,
        extras,
    };
    let config = EngineConfig {
        device: DeviceChoice::Cpu,
        models: vec![spec],
        memory_bytes: None,
        ..EngineConfig::default()
    };
    CandleEngine::new(config).map_err(|error| error.to_string())
}

fn engine(files: Files) -> CandleEngine {
    try_engine(files).unwrap()
}

fn request() -> ImageRequest {
    ImageRequest { prompt: "a cat".into(), steps: Some(3), seed: Some(1), ..ImageRequest::default() }
}

fn run(engine: &mut CandleEngine, request: ImageRequest) -> Result<(Finished, Vec<Preview>), Error> {
    let job = ImageOrder::new(request, &engine.models()[0])?;
    engine.load(&job.model.card.id)?;
    let mut run = engine.begin(&job.clone().into())?;
    let mut seen = Vec::new();
    loop {
        match run.next_step()? {
            StepState::Step { previews, .. } => seen.extend(previews),
            StepState::Done(finished) => return Ok((finished, seen)),
            StepState::HandOver | StepState::Heard(_) | StepState::Said(_) => panic!("there is one model"),
        }
    }
}

fn refused(engine: &mut CandleEngine, request: ImageRequest) -> String {
    run(engine, request).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn a_model_is_described_from_its_files() {
    let engine = engine(files("sd2"));
    let info = engine.models()[0].image().unwrap().clone();
    assert_eq!((info.card.family.as_str(), info.card.device.as_str()), ("stable-diffusion", "cpu"));
    assert_eq!((info.native_size, info.side_multiple), (Size { width: 16, height: 16 }, 2));
    assert_eq!((info.default_steps, info.default_guidance), (25, 7.5));
    assert_eq!(info.schedules[0], "ddim");
    let offers = |name: &str| info.schedules.iter().any(|offered| offered == name);
    assert!(offers("pndm") && offers("dpmpp_2m_sde_karras") && !offers("flow_match_euler"));
    let distinct: std::collections::BTreeSet<&String> = info.schedules.iter().collect();
    assert_eq!(distinct.len(), info.schedules.len());
    assert!(info.card.memory_bytes > 100_000);
}

#[test]
fn what_a_publisher_says_is_laid_over_the_files_and_must_fit_them() {
    let with = |defaults: Defaults| engine_with(files("sd2"), Extras { defaults, ..Extras::default() });
    let schedule = |name: &str| Some(name.to_owned());
    let info = with(Defaults {
        size: Some(Size { width: 32, height: 18 }),
        steps: Some(4),
        guidance: Some(0.0),
        schedule: schedule("euler_trailing"),
        is_guidance_free: true,
        ..Defaults::default()
    });
    let info = info.unwrap().models()[0].image().unwrap().clone();
    assert_eq!((info.native_size, info.default_steps), (Size { width: 32, height: 18 }, 4));
    assert_eq!((info.default_guidance, info.features.negative_prompt), (0.0, false));
    let all = engine(files("sd2")).models()[0].image().unwrap().schedules.clone();
    assert_eq!((info.schedules[0].as_str(), info.schedules.len()), ("euler_trailing", all.len()));
    let flow = with(Defaults { schedule: schedule("flow_match_euler"), ..Defaults::default() });
    assert!(flow.err().unwrap().contains("`flow_match_euler` is none of ddim"));
    let odd = with(Defaults { size: Some(Size { width: 33, height: 32 }), ..Defaults::default() });
    assert!(odd.err().unwrap().contains("33x32 must be multiples of 2"));
}

#[test]
fn an_embedded_model_gives_the_picture_of_its_folder() {
    let fixture = fixture::all().into_iter().find(|fixture| fixture.name == "nano").unwrap();
    let (embedded, _) = run(&mut engine(files("nano")), request()).unwrap();
    let (folder, _) = run(&mut fixture.engine(), request()).unwrap();
    assert_eq!(embedded.pictures(), folder.pictures());
}

#[test]
fn a_missing_file_is_named_with_its_model_when_the_engine_starts() {
    for missing in
        ["model_index.json", "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"]
    {
        let mut files = files("sd1");
        files.retain(|(name, _)| name != missing);
        let error = try_engine(files).err().unwrap();
        assert!(error.contains("model `tiny`") && error.contains(missing), "{error}");
    }
    let mut files = files("sd1");
    files.retain(|(name, _)| name != "unet/diffusion_pytorch_model.safetensors");
    let error = try_engine(files).err().unwrap();
    assert!(error.contains("no diffusion_pytorch_model.safetensors"), "{error}");
}

#[test]
fn what_the_files_ask_for_and_we_lack_is_refused_by_name() {
    for (file, text, named) in [
        ("model_index.json", r#"{"_class_name": "StableDiffusion3Pipeline"}"#, "StableDiffusion3Pipeline"),
        ("vae/config.json", r#"{"_class_name": "VQModel"}"#, "VQModel"),
        ("unet/config.json", r#"{"in_channels": 9, "cross_attention_dim": 16}"#, "in_channels is 9"),
        ("unet/config.json", r#"{"cross_attention_dim": 7}"#, "cross_attention_dim 7"),
        ("text_encoder/config.json", r#"{"architectures": ["T5EncoderModel"]}"#, "T5EncoderModel"),
        ("text_encoder/config.json", r#"{"hidden_act": "mish"}"#, "hidden_act = mish"),
        ("atelier.json", r#"{"stepz": 3}"#, "stepz"),
        ("atelier.json", r#"{"width": 17}"#, "17x16"),
    ] {
        let mut files = files("sd1");
        set(&mut files, file, text);
        let error = try_engine(files).err().unwrap();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn parts_of_flux_that_do_not_fit_each_other_are_named_when_the_engine_starts() {
    let (denoiser, encoder) = ("transformer/config.json", "text_encoder_2/config.json");
    for (name, key, value, named) in [
        (
            denoiser,
            "joint_attention_dim",
            json!(64),
            "text_encoder_2: d_model 32 is not the transformer's 64",
        ),
        (denoiser, "pooled_projection_dim", json!(8), "text_encoder: hidden_size 16 is not"),
        (denoiser, "in_channels", json!(32), "vae: latent_channels 16 is not the transformer's 8"),
        (encoder, "vocab_size", json!(100), "tokenizer_2: has more than the 100 ids"),
    ] {
        let mut files = files("flux-dev");
        let (_, text) = files.iter().find(|(file, _)| *file == name).unwrap();
        let mut config: serde_json::Value = serde_json::from_slice(text).unwrap();
        config[key] = value;
        set(&mut files, name, config.to_string());
        let error = try_engine(files).err().unwrap();
        assert!(error.contains(named), "{error}");
    }
    let edm = r#"{"_class_name": "EDMEulerScheduler"}"#;
    for (name, text, named) in [
        ("scheduler/scheduler_config.json", edm, "edm_euler means nothing to FLUX"),
        ("atelier.json", r#"{"guidance": 3.5}"#, "guidance must be 1 or less"),
    ] {
        let mut files = files("flux-schnell");
        set(&mut files, name, text);
        let error = try_engine(files).err().unwrap();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn a_weights_file_that_does_not_fit_its_configuration_fails_the_job_by_name() {
    let mut changed = files("sd1");
    set(
        &mut changed,
        "vae/diffusion_pytorch_model.safetensors",
        files("nano")
            .into_iter()
            .find(|(name, _)| name == "vae/diffusion_pytorch_model.safetensors")
            .unwrap()
            .1,
    );
    let error = refused(&mut engine(changed), request());
    assert!(error.contains("model `tiny`") && error.contains("vae/diffusion_pytorch_model"), "{error}");
}

#[test]
fn a_model_says_in_its_folder_what_its_defaults_are() {
    let mut files = files("nano");
    set(
        &mut files,
        "atelier.json",
        r#"{"description": "small", "width": 32, "max_side": 64, "steps": 9, "guidance": 3.5}"#,
    );
    let info = engine(files).models()[0].image().unwrap().clone();
    assert_eq!(info.native_size, Size { width: 32, height: 16 });
    assert_eq!((info.max_side, info.default_steps, info.default_guidance), (64, 9, 3.5));
    assert_eq!(info.card.description, "small");
}

#[test]
fn half_precision_weights_give_nearly_the_same_picture() {
    let full = run(&mut engine(files("sd1")), request()).unwrap().0;
    let mut halved = files("sd1");
    for name in ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"] {
        let position = halved.iter().position(|(file, _)| *file == format!("{name}.safetensors")).unwrap();
        let (_, bytes) = halved.remove(position);
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
        let tensors: Vec<_> =
            tensors.into_iter().map(|(key, x)| (key, x.to_dtype(DType::F16).unwrap())).collect();
        set(&mut halved, &format!("{name}.fp16.safetensors"), safetensors::serialize(tensors, None).unwrap());
    }
    let half = run(&mut engine(halved), request()).unwrap().0;
    let pairs = full.pictures()[0].rgba().iter().zip(half.pictures()[0].rgba());
    let worst = pairs.map(|(full, half)| full.abs_diff(*half)).max().unwrap();
    assert!((1..=40).contains(&worst), "{worst}");
}

#[test]
fn values_that_do_not_fit_the_model_are_refused_by_field() {
    let mut engine = engine(files("sd1"));
    let long = "z ".repeat(10_000);
    for (request, named) in [
        (
            ImageRequest { clip_skip: Some(4), ..request() },
            "clip-skip: 4 is more than the text encoder's 3 layers",
        ),
        (ImageRequest { prompt: long.clone(), ..request() }, "prompt: is longer than 9600 tokens"),
        (ImageRequest { negative_prompt: Some(long), ..request() }, "negative-prompt: is longer"),
    ] {
        let error = refused(&mut engine, request);
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn a_strength_that_leaves_no_step_is_refused() {
    let pixels = Pixels::new(16, 16, vec![255; 16 * 16 * 4]).unwrap();
    let source = Some(Source::Start { pixels, strength: Some(0.2) });
    let error = refused(&mut engine(files("sd1")), ImageRequest { source, ..request() });
    assert!(error.contains("strength"), "{error}");
}

#[test]
fn previews_come_after_every_so_many_steps_but_not_after_the_last() {
    // a preview's pixel is a latent where a matrix makes it
    for (name, side) in [("sd1", 8), ("nano", 16), ("flux-schnell", 8), ("flux-q8", 8)] {
        let asked = ImageRequest { preview_every: Some(2), steps: Some(6), count: Some(2), ..request() };
        let (_, previews) = run(&mut engine(files(name)), asked).unwrap();
        let places: Vec<_> = previews.iter().map(|preview| (preview.step, preview.index)).collect();
        assert_eq!(places, [(2, 0), (2, 1), (4, 0), (4, 1)]);
        assert!(previews.iter().all(|preview| preview.pixels.size() == Size { width: side, height: side }));
    }
}

#[test]
fn a_small_autoencoder_beside_a_large_one_makes_the_previews() {
    let (_, previews) =
        run(&mut engine(with_small_autoencoder()), ImageRequest { preview_every: Some(1), ..request() })
            .unwrap();
    assert_eq!(previews[0].pixels.size(), Size { width: 16, height: 16 });
}

#[test]
fn what_lies_beside_the_autoencoder_and_is_none_is_refused_at_start() {
    let mut wrong = files("sd1");
    let own = wrong.iter().filter(|(name, _)| name.starts_with("vae/")).cloned().collect::<Files>();
    wrong.extend(own.into_iter().map(|(name, bytes)| (name.replace("vae/", "taesd/"), bytes)));
    let error = try_engine(wrong).err().unwrap();
    assert!(error.contains("taesd") && error.contains("AutoencoderTiny"), "{error}");
}

#[test]
fn the_small_autoencoder_decodes_when_it_is_asked_for_and_is_there() {
    let asked = |decoder| ImageRequest { decoder, preview_every: Some(1), ..request() };
    let mut engine_with_both = engine(with_small_autoencoder());
    let (full, _) = run(&mut engine_with_both, asked(Decoder::Full)).unwrap();
    let (tiny, _) = run(&mut engine_with_both, asked(Decoder::Tiny)).unwrap();
    assert_eq!(full.pictures()[0].size(), tiny.pictures()[0].size());
    assert_ne!(full.pictures(), tiny.pictures());
    let error = refused(&mut engine(files("sd1")), asked(Decoder::Tiny));
    assert!(error.contains("decoder") && error.contains("taesd/"), "{error}");
    // a model whose own autoencoder is small
    let mut nano = engine(files("nano"));
    let pictures =
        |nano: &mut CandleEngine, decoder| run(nano, asked(decoder)).unwrap().0.pictures().to_vec();
    assert_eq!(pictures(&mut nano, Decoder::Tiny), pictures(&mut nano, Decoder::Full));
}

#[test]
fn answers_say_what_was_done_to_the_request() {
    let mut rgba = vec![200; 16 * 16 * 4];
    rgba[3] = 0;
    let source = Some(Source::Start { pixels: Pixels::new(16, 16, rgba).unwrap(), strength: None });
    let asked = ImageRequest { prompt: "cat ".repeat(100), source, ..request() };
    let (finished, _) = run(&mut engine(files("sd1")), asked).unwrap();
    assert_eq!(finished.notes.len(), 2, "{:?}", finished.notes);
    assert!(finished.notes[0].starts_with("prompt took "), "{:?}", finished.notes);
    assert!(finished.notes[1].contains("laid over white"), "{:?}", finished.notes);
}

#[test]
fn numbers_that_are_not_finite_end_the_job_with_their_place() {
    let mut broken = files("sd1");
    let name = "unet/diffusion_pytorch_model.safetensors";
    let bytes = &mut broken.iter_mut().find(|(file, _)| file == name).unwrap().1;
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = refused(&mut engine(broken), request());
    assert_eq!(error, "the denoiser gave values that are not finite");
}

#[test]
fn a_stand_in_for_the_models_own_schedule_is_said() {
    let mut changed = files("sd1");
    set(&mut changed, "scheduler/scheduler_config.json", r#"{"_class_name": "DPMSolverSDEScheduler"}"#);
    let mut engine = engine(changed);
    let (finished, _) = run(&mut engine, request()).unwrap();
    assert!(finished.notes[0].contains("DPMSolverSDEScheduler"), "{:?}", finished.notes);
    let chosen = ImageRequest { schedule: Some("euler".into()), ..request() };
    assert!(run(&mut engine, chosen).unwrap().0.notes.is_empty());
}
