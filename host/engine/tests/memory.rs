//! What the engine says of memory, held against what the process really allocates. The tests take turns: the allocator
//! counts for the whole process.

#[path = "memory/replies.rs"]
mod replies;

use std::io::Cursor;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use atelier_engine::kernels::have_bf16;
use atelier_engine::{
    CandleEngine, DeviceChoice, EngineConfig, Extras, ModelFiles, ModelSpec, PrecisionChoice,
};
use atelier_inference::speech::{SAMPLE_RATE, Timestamps};
use atelier_inference::{
    Control, Engine, Error, ImageOrder, ImageRequest, Job, MemoryConfig, ModelId, Order, Pixels, QueueConfig,
    Scheduler, SchedulerConfig, Size, Source, SpeechOptions, SpeechOrder, StepCache, StepState,
};
use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use candle_core::{DType, Device, Tensor};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

static TURN: Mutex<()> = Mutex::new(());

/// The estimate is never less than what a run takes, and at most so many times as much.
const FACTOR: usize = 2;
/// What a loaded model takes is known this well, in hundredths; its weights are exact, its vocabulary is not counted.
const MODEL_PERCENT: std::ops::RangeInclusive<usize> = 95..=125;
/// Of the tensors that a step cache keeps, beside their values; the estimate has room for them elsewhere.
const HANDLES: usize = 8 << 10;
/// What may stay behind when a model is gone: thread pools and tables that are made once.
const REST_BYTES: usize = 256 << 10;

fn turn() -> MutexGuard<'static, ()> {
    // every thread has buffers of its own: two threads, so that the numbers mean the same on every machine. An error says
    // that an earlier test has done it.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(2).build_global();
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The model that the binary carries: small, but of real widths.
const NANO: &str = "../bundle/models/atelier-nano";
/// Two levels and `AutoencoderKL`; three levels; guidance as an input.
const SD1: &str = "tests/golden/fixtures/sd1";
const SD2: &str = "tests/golden/fixtures/sd2";
const LCM: &str = "tests/golden/fixtures/lcm";
const XL: &str = "tests/golden/fixtures/xl";
const EDIT: &str = "tests/golden/fixtures/instruct";
const FLUX: &str = "tests/golden/fixtures/flux-schnell";
const WHISPER: &str = "tests/golden/whisper/multilingual";
/// A language model of two layers.
/// FLUX's denoiser, beside the folder.
const FLUX_FILE: &str = "flux1-schnell.safetensors";

/// A folder's files without what it says of its own limits, so that any size can be asked for.
fn files(folder: &str) -> ModelFiles {
    ModelFiles::embedded(listed(folder).leak())
}

fn listed(folder: &str) -> Vec<(&'static str, &'static [u8])> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<(&'static str, &'static [u8])> = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name != "atelier.json" {
                files.push((name.leak(), std::fs::read(path).unwrap().leak()));
            }
        }
    }
    files
}

/// FLUX with a denoiser of few layers, but with heads of the real width, in blocks of four bits.
fn quantized_flux() -> ModelFiles {
    let mut files = listed(FLUX);
    files.retain(|(name, _)| ![FLUX_FILE, "transformer/config.json"].contains(name));
    files.push(("flux1.gguf", gguf_of_zeros(&flux_layers(256, 3, 6))));
    ModelFiles::embedded(files.leak())
}

/// Layers by Black Forest Labs' names: outputs and inputs of their matrices, nothing for norms of heads.
fn flux_layers(width: usize, double: usize, single: usize) -> Vec<(String, usize, usize)> {
    let mut layers = Vec::new();
    let mut add = |name: String, outputs: usize, inputs: usize| layers.push((name, outputs, inputs));
    for (name, outputs, inputs) in [
        ("img_in", width, 64),
        ("txt_in", width, 32),
        ("time_in.in_layer", width, 256),
        ("time_in.out_layer", width, width),
        ("vector_in.in_layer", width, 16),
        ("vector_in.out_layer", width, width),
        ("final_layer.adaLN_modulation.1", 2 * width, width),
        ("final_layer.linear", 64, width),
    ] {
        add(name.into(), outputs, inputs);
    }
    for block in (0..double).map(|block| format!("double_blocks.{block}")) {
        for stream in ["img", "txt"] {
            add(format!("{block}.{stream}_mod.lin"), 6 * width, width);
            add(format!("{block}.{stream}_attn.qkv"), 3 * width, width);
            add(format!("{block}.{stream}_attn.proj"), width, width);
            add(format!("{block}.{stream}_attn.norm.query_norm"), 128, 0);
            add(format!("{block}.{stream}_attn.norm.key_norm"), 128, 0);
            add(format!("{block}.{stream}_mlp.0"), 4 * width, width);
            add(format!("{block}.{stream}_mlp.2"), width, 4 * width);
        }
    }
    for block in (0..single).map(|block| format!("single_blocks.{block}")) {
        add(format!("{block}.modulation.lin"), 3 * width, width);
        add(format!("{block}.linear1"), 7 * width, width);
        add(format!("{block}.linear2"), width, 5 * width);
        add(format!("{block}.norm.query_norm"), 128, 0);
        add(format!("{block}.norm.key_norm"), 128, 0);
    }
    layers
}

/// A GGUF file of such layers.
fn gguf_of_zeros(layers: &[(String, usize, usize)]) -> &'static [u8] {
    let zeros = |shape: &[usize], encoding| {
        QTensor::quantize(&Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap(), encoding).unwrap()
    };
    let mut tensors = Vec::new();
    for (name, outputs, inputs) in layers {
        if *inputs == 0 {
            tensors.push((format!("{name}.scale"), zeros(&[*outputs], GgmlDType::F32)));
            continue;
        }
        let encoding = if inputs.is_multiple_of(32) { GgmlDType::Q4_0 } else { GgmlDType::F16 };
        tensors.push((format!("{name}.weight"), zeros(&[*outputs, *inputs], encoding)));
        tensors.push((format!("{name}.bias"), zeros(&[*outputs], GgmlDType::F32)));
    }
    let named: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut file = Cursor::new(Vec::new());
    gguf_file::write(&mut file, &[], &named).unwrap();
    file.into_inner().leak()
}

/// A Whisper with a window of 30 s and layers of some width, out of the small one's files.
fn whisper() -> ModelFiles {
    const CONFIG: [(&str, &str); 6] = [
        (r#""d_model": 16"#, r#""d_model": 256"#),
        (r#""encoder_ffn_dim": 32"#, r#""encoder_ffn_dim": 1024"#),
        (r#""decoder_ffn_dim": 32"#, r#""decoder_ffn_dim": 1024"#),
        (r#""max_source_positions": 64"#, r#""max_source_positions": 1500"#),
        (r#""max_target_positions": 64"#, r#""max_target_positions": 448"#),
        (r#""vocab_size": 423"#, r#""vocab_size": 2000"#),
    ];
    let mut files = listed(WHISPER);
    for (name, bytes) in &mut files {
        *bytes = match *name {
            "config.json" => {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                let widened = CONFIG.iter().fold(text, |text, (from, to)| text.replace(from, to));
                widened.into_bytes().leak()
            }
            // as long as its window
            "preprocessor_config.json" => b"{}",
            "model.safetensors" => widened(bytes),
            _ => *bytes,
        };
    }
    ModelFiles::embedded(files.leak())
}

fn widened(weights: &[u8]) -> &'static [u8] {
    let small = candle_core::safetensors::load_buffer(weights, &Device::Cpu).unwrap();
    let widen = |(name, tensor): (String, Tensor)| {
        let side = |side: &usize| match (*side, name.contains("encoder.embed_positions")) {
            (16, _) => 256,
            (32, _) => 1024,
            (64, true) => 1500,
            (64, false) => 448,
            (423, _) => 2000,
            (other, _) => other,
        };
        let shape: Vec<usize> = tensor.dims().iter().map(side).collect();
        let large = Tensor::randn(0.0f32, 0.1, shape, &Device::Cpu).unwrap();
        (name, large)
    };
    let large: Vec<_> = small.into_iter().map(widen).collect();
    safetensors::serialize(large, None).unwrap().leak()
}

/// An engine whose models are all of the same files.
fn engine(ids: &[&str], files: &ModelFiles) -> CandleEngine {
    engine_with(ids, files, &Extras::default())
}

fn engine_with(ids: &[&str], files: &ModelFiles, extras: &Extras) -> CandleEngine {
    engine_in(PrecisionChoice::F32, ids, files, extras)
}

fn engine_in(precision: PrecisionChoice, ids: &[&str], files: &ModelFiles, extras: &Extras) -> CandleEngine {
    let spec = |id: &&str| ModelSpec {
        id: id.to_string(),
        source: "test".into(),
        files: files.clone(),
        description: None,
        extras: extras.clone(),
    };
    let models = ids.iter().map(spec).collect();
    CandleEngine::new(EngineConfig { device: DeviceChoice::Cpu, models, memory_bytes: None, precision })
        .unwrap()
}

fn request(width: u32, height: u32) -> ImageRequest {
    let size = Some(Size { width, height });
    ImageRequest {
        prompt: "a red boat".into(),
        size,
        steps: Some(2),
        seed: Some(1),
        ..ImageRequest::default()
    }
}

fn run_to_its_end(engine: &mut CandleEngine, job: &ImageOrder) {
    let mut run = engine.begin(&job.clone().into()).unwrap();
    while let StepState::Step { .. } = run.next_step().unwrap() {}
}

/// Bytes that a run took at its widest, and what was said before.
fn measured(engine: &mut CandleEngine, request: ImageRequest) -> (usize, usize) {
    let info = engine.models().remove(0);
    engine.load(info.id()).unwrap();
    let job = ImageOrder::new(request, &info).unwrap();
    // the first run makes what is made once, such as the thread pool
    run_to_its_end(engine, &job);
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    run_to_its_end(engine, &job);
    (ALLOCATOR.peak_usage() - before, engine.estimate()(&job.clone().into()) as usize)
}

#[test]
fn a_run_takes_no_more_than_was_estimated_and_at_least_half_of_it() {
    let _turn = turn();
    let [nano, sd1, sd2, lcm, xl, edit, flux] = [NANO, SD1, SD2, LCM, XL, EDIT, FLUX].map(files);
    let quantized = quantized_flux();
    let source = Pixels::new(192, 128, vec![200; 192 * 128 * 4]).unwrap();
    let edited = Source::Edit { pixels: source.clone(), guidance: None };
    let mut wrong = Vec::new();
    for (name, files, request) in [
        ("nano", &nano, request(256, 256)),
        ("nano, several", &nano, ImageRequest { count: Some(4), ..request(256, 256) }),
        ("nano, unguided", &nano, ImageRequest { guidance: Some(1.0), ..request(512, 256) }),
        ("kl", &sd1, request(192, 192)),
        ("kl, several", &sd1, ImageRequest { count: Some(3), ..request(128, 128) }),
        (
            "kl, from a picture",
            &sd1,
            ImageRequest {
                source: Some(Source::Start { pixels: source.clone(), strength: None }),
                ..request(192, 128)
            },
        ),
        ("three levels", &sd2, request(192, 192)),
        ("distilled", &lcm, request(192, 192)),
        ("two text encoders", &xl, request(192, 192)),
        ("flux", &flux, request(192, 192)),
        (
            "flux, from a picture",
            &flux,
            ImageRequest {
                source: Some(Source::Start { pixels: source, strength: None }),
                ..request(192, 128)
            },
        ),
        ("flux, quantized", &quantized, request(128, 128)),
        ("flux, quantized and large", &quantized, request(256, 256)),
        ("edit", &edit, ImageRequest { source: Some(edited), ..request(192, 128) }),
    ] {
        let (took, estimate) = measured(&mut engine(&["model"], files), request);
        println!(
            "{name}: took {took}, estimated {estimate}, {:.2} times as much",
            estimate as f64 / took as f64
        );
        if !(took..=took * FACTOR).contains(&estimate) {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_run_under_controls_takes_no_more_than_was_estimated_and_at_least_half_of_it() {
    let _turn = turn();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures");
    for (model, side) in [("sd1", 192), ("xl", 192)] {
        let control = |id: &str| (id.to_owned(), fixtures.join(model).join("controls").join(id));
        let extras = Extras { controls: ["edges", "depth"].map(control).into(), ..Extras::default() };
        let picture = Pixels::new(side, side, vec![200; (side * side * 4) as usize]).unwrap();
        let controls = ["edges", "depth"].map(|id| Control::new(id, picture.clone())).into();
        let files = files(&format!("tests/golden/fixtures/{model}"));
        let request = ImageRequest { controls, ..request(side, side) };
        let (took, estimate) = measured(&mut engine_with(&["model"], &files, &extras), request);
        println!("{model}: took {took}, estimated {estimate}");
        assert!((took..=took * FACTOR).contains(&estimate), "{model}: took {took}, estimated {estimate}");
    }
}

/// Bytes that a run holds between its first step and its second.
fn held(engine: &mut CandleEngine, job: &ImageOrder) -> usize {
    let before = ALLOCATOR.current_usage();
    let mut run = engine.begin(&job.clone().into()).unwrap();
    run.next_step().unwrap();
    ALLOCATOR.current_usage() - before
}

#[test]
fn a_transcription_takes_no_more_than_was_estimated_and_at_least_half_of_it() {
    let _turn = turn();
    let mut engine = engine(&["ear"], &whisper());
    let info = engine.models().remove(0);
    engine.load(info.id()).unwrap();
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state) as f32 / u32::MAX as f32 - 0.5
    };
    // one text for each window, however bad it is
    let once = SpeechOptions {
        temperatures: vec![0.0],
        language: Some("en".into()),
        voice_only: false,
        no_speech_threshold: None,
        ..SpeechOptions::default()
    };
    for (name, seconds, options) in [
        ("short", 2, once.clone()),
        ("several windows", 70, once.clone()),
        ("five beams", 10, SpeechOptions { beam_size: Some(5), ..once.clone() }),
        (
            "drawn, sixteen at a time",
            10,
            SpeechOptions { best_of: Some(16), temperatures: vec![1.0], ..once.clone() },
        ),
        ("words", 10, SpeechOptions { timestamps: Timestamps::Words, ..once }),
    ] {
        let audio: Vec<f32> = (0..seconds * SAMPLE_RATE).map(|_| noise()).collect();
        let order: Order = SpeechOrder::new(audio.into(), options, &info).unwrap().into();
        transcribe(&mut engine, &order);
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        transcribe(&mut engine, &order);
        let (took, estimate) = (ALLOCATOR.peak_usage() - before, engine.estimate()(&order) as usize);
        println!("{name}: took {took}, estimated {estimate}");
        assert!(took <= estimate && estimate <= took * FACTOR, "{name}: took {took}, estimated {estimate}");
    }
}

fn transcribe(engine: &mut CandleEngine, order: &Order) {
    let mut run = engine.begin(order).unwrap();
    while let StepState::Heard(_) = run.next_step().unwrap() {}
}

#[test]
fn what_a_step_cache_keeps_is_in_the_estimate() {
    let _turn = turn();
    let widest = StepCache::Deep { interval: 3, branch: 1 };
    for (name, folder, step_cache) in [
        ("nano", NANO, widest),
        ("kl", SD1, StepCache::Deep { interval: 2, branch: 0 }),
        ("two text encoders", XL, widest),
        ("flux", FLUX, StepCache::FirstBlock { threshold: 1.0 }),
    ] {
        let plain = ImageRequest { count: Some(3), steps: Some(4), ..request(128, 128) };
        let cached = ImageRequest { step_cache: Some(step_cache), ..plain.clone() };
        let mut engine = engine(&["model"], &files(folder));
        let (took, estimate) = measured(&mut engine, cached.clone());
        assert!(took <= estimate, "{name}: took {took}, estimated {estimate}");
        let info = engine.models().remove(0);
        let [plain, cached] = [plain, cached].map(|request| ImageOrder::new(request, &info).unwrap());
        let kept = held(&mut engine, &cached) - held(&mut engine, &plain);
        let estimated = estimate - engine.estimate()(&plain.clone().into()) as usize;
        println!("{name}: keeps {kept}, estimated {estimated}");
        assert!(kept <= estimated + HANDLES && estimated <= kept * FACTOR, "{name}: {kept}, not {estimated}");
    }
}

#[test]
fn a_loaded_model_takes_what_the_catalog_says_and_gives_it_all_back() {
    let _turn = turn();
    takes_what_the_catalog_says(&files(NANO));
    takes_what_the_catalog_says(&whisper());
}

#[test]
fn a_quantized_model_takes_the_bytes_of_its_file_and_not_those_of_its_values() {
    let _turn = turn();
    let files = quantized_flux();
    let values: usize = flux_layers(256, 3, 6).iter().map(|(_, outputs, inputs)| outputs * inputs).sum();
    let info = engine(&["flux"], &files).models().remove(0);
    // a block holds 32 values in 18 bytes; the text encoders and the autoencoder beside it are small
    let (blocks, floats) = (values * 18 / 32, values * 4);
    let said = info.card().memory_bytes as usize;
    assert!((blocks..floats / 4).contains(&said), "{said} for {values} values");
    takes_what_the_catalog_says(&files);
}

#[test]
fn weights_that_are_multiplied_in_bf16_take_half_as_much_and_the_catalog_says_so() {
    let _turn = turn();
    let (nano, extras) = (files(NANO), Extras::default());
    let said = |precision, files| {
        engine_in(precision, &["model"], files, &extras).models().remove(0).card().memory_bytes
    };
    let [single, half] = [PrecisionChoice::F32, PrecisionChoice::Auto].map(|kind| said(kind, &nano));
    assert_eq!(half < single, have_bf16(), "{half} of {single}");
    if !have_bf16() {
        return;
    }
    engine_takes_what_the_catalog_says(engine_in(PrecisionChoice::Bf16, &["model"], &nano, &extras));
    let request = request(256, 256);
    let mut engine = engine_in(PrecisionChoice::Bf16, &["model"], &nano, &extras);
    let (took, estimate) = measured(&mut engine, request);
    assert!((took..=took * FACTOR).contains(&estimate), "took {took}, estimated {estimate}");
}

fn takes_what_the_catalog_says(files: &ModelFiles) {
    engine_takes_what_the_catalog_says(engine(&["model"], files));
}

fn engine_takes_what_the_catalog_says(mut engine: CandleEngine) {
    let info = engine.models().remove(0);
    // once for what is made once
    engine.load(info.id()).unwrap();
    engine.unload(info.id());
    let before = ALLOCATOR.current_usage();
    engine.load(info.id()).unwrap();
    let took = ALLOCATOR.current_usage() - before;
    let percent = took * 100 / info.card().memory_bytes as usize;
    assert!(
        MODEL_PERCENT.contains(&percent),
        "took {took}, which is {percent} % of {}",
        info.card().memory_bytes
    );
    engine.unload(info.id());
    let rest = ALLOCATOR.current_usage().saturating_sub(before);
    assert!(rest < REST_BYTES, "{rest} bytes stayed behind");
}

#[test]
fn loading_takes_at_its_widest_no_more_than_the_model_and_a_run_of_its_own_size() {
    let _turn = turn();
    for files in [files(NANO), quantized_flux()] {
        let mut engine = engine(&["model"], &files);
        let info = engine.models().remove(0);
        let own = ImageOrder::new(ImageRequest::default(), &info).unwrap();
        let allowed = (info.card().memory_bytes + engine.estimate()(&own.clone().into())) as usize;
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        engine.load(info.id()).unwrap();
        let took = ALLOCATOR.peak_usage() - before;
        assert!(took <= allowed, "took {took}, and {allowed} were leased");
    }
}

/// Resident bytes of this process.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[cfg(target_os = "linux")]
#[test]
fn the_system_gets_the_memory_of_an_unloaded_model_back() {
    let _turn = turn();
    let mut engine = engine(&["nano"], &files(NANO));
    let info = engine.models().remove(0);
    let mut after = Vec::new();
    for _ in 0..4 {
        engine.load(info.id()).unwrap();
        let loaded = resident();
        engine.unload(info.id());
        after.push((loaded, resident()));
    }
    println!("loaded and unloaded, in bytes: {after:?} of a model of {}", info.card().memory_bytes);
    let (loaded, unloaded) = after[3];
    assert!(loaded - unloaded > info.card().memory_bytes / 4 * 3, "{after:?}");
    assert!(unloaded < after[0].1 + info.card().memory_bytes / 2, "it grows with every round: {after:?}");
}

#[test]
fn a_job_for_a_model_that_is_not_loaded_is_an_error_and_loads_nothing() {
    let _turn = turn();
    let mut engine = engine(&["nano"], &files(NANO));
    let job = ImageOrder::new(ImageRequest::default(), &engine.models()[0]).unwrap();
    let error = engine.begin(&job.clone().into()).err().unwrap();
    assert_eq!(error, Error::Failed("model `nano` is not loaded".into()));
}

#[test]
fn with_a_small_budget_a_large_picture_is_refused_and_the_next_small_one_is_made() {
    let _turn = turn();
    let engine = engine(&["first", "second"], &files(NANO));
    let infos = engine.models();
    let small = |model: usize| ImageOrder::new(request(128, 128), &infos[model]).unwrap();
    // one model and one picture of 128 by 128
    let budget = infos[0].card().memory_bytes + engine.estimate()(&small(0).into());
    let memory = MemoryConfig { bytes: Some(budget), ..MemoryConfig::default() };
    let config = SchedulerConfig { queue: QueueConfig::default(), memory };
    let scheduler = Scheduler::start(Box::new(engine), config).unwrap();
    let paint = |job: ImageOrder| scheduler.submit(Job::new(job))?.outcome.blocking_recv().unwrap();
    paint(small(0)).unwrap();
    let large = ImageOrder::new(request(256, 256), &infos[0]).unwrap();
    let refused = paint(large).unwrap_err();
    assert!(matches!(refused, Error::TooLarge { budget: of, needed, .. } if of == budget && needed > budget));
    let with_one = ALLOCATOR.current_usage();
    paint(small(1)).unwrap();
    assert!(scheduler.is_loaded(&ModelId::new("second")) && !scheduler.is_loaded(&ModelId::new("first")));
    let grown = ALLOCATOR.current_usage().saturating_sub(with_one);
    assert!(
        grown < infos[0].card().memory_bytes as usize / 4,
        "the first model is still there: {grown} bytes more"
    );
}
