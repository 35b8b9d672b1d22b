//! Two models for one picture against diffusers: a base up to a share of the schedule, a refiner from there, and their
//! latents in between (`golden/make_xl.py` makes the values; `ATELIER_GOLDEN_DIR` names others).

#[path = "golden/beside.rs"]
mod beside;
#[path = "golden/drawn.rs"]
#[expect(dead_code, reason = "the engine here has two models")]
mod drawn;
#[path = "golden/worst.rs"]
mod worst;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use atelier_engine::noise::PerImage;
use atelier_engine::pipeline::{Denoise, Pipeline, schedule_config};
use atelier_engine::schedule::{Schedule, ScheduleConfig};
use atelier_engine::{CandleEngine, DeviceChoice, EngineConfig, Extras, ModelFiles, ModelSpec, schedule};
use atelier_inference::{
    Decoder, DefaultRefiner, Engine, ImageOrder, ImageRequest, Job, MemoryConfig, ModelId, ModelInfo,
    Outcome, Precision, QueueConfig, Refine, Scheduler, SchedulerConfig, StepState,
};
use beside::{Beside, files};
use candle_core::{Device, Tensor};
use drawn::Case;
use serde::Deserialize;
use worst::Worst;

const TABLES: f64 = 1e-6;
const RUN: f64 = 1e-3;
const IMAGE: f64 = 2e-3;
const BASE: &str = "xl";
const REFINER: &str = "xl-refiner";

/// What was asked of both.
#[derive(Debug, Clone, Deserialize)]
struct Shared {
    #[serde(flatten)]
    case: Case,
    share: f64,
}

fn golden() -> &'static Beside<Shared> {
    static GOLDEN: OnceLock<Beside<Shared>> = OnceLock::new();
    GOLDEN.get_or_init(|| Beside::open(REFINER, "handover"))
}

fn spec(model: &str) -> ModelSpec {
    let refiner = (model == BASE).then(|| DefaultRefiner { model: ModelId::new(REFINER), share: 0.5 });
    ModelSpec {
        id: model.into(),
        source: format!("test:{model}"),
        files: files(model),
        description: None,
        extras: Extras { refiner, ..Extras::default() },
    }
}

/// The base, which has the refiner for a default, and the refiner.
fn engine() -> CandleEngine {
    let models = vec![spec(BASE), spec(REFINER)];
    CandleEngine::new(EngineConfig {
        device: DeviceChoice::Cpu,
        models,
        memory_bytes: None,
        ..EngineConfig::default()
    })
    .unwrap()
}

fn base() -> ModelInfo {
    engine().models().remove(0)
}

fn golden_job(name: &str, Shared { case, share }: &Shared) -> ImageOrder {
    let refine = Refine::By { model: ModelId::new(REFINER), share: Some(*share) };
    let request = case.request(|stage| golden().picture(name, stage));
    ImageOrder::new(ImageRequest { refine, ..request }, &base()).unwrap()
}

#[test]
fn both_models_visit_the_timesteps_of_diffusers() {
    let golden = golden();
    let mut worst = Worst::new("timesteps of two models", TABLES);
    let [first, second] = [BASE, REFINER].map(|model| schedule_config(&files(model)).unwrap());
    for (name, Shared { case: Case { schedule, steps, strength, .. }, share }) in &golden.cases {
        let (steps, share) = (*steps as usize, *share);
        let whole = schedule::build(schedule, &first, steps, *strength).unwrap();
        let done = schedule::steps_before(whole.as_ref(), &first, share);
        let rest = schedule::build_rest(schedule, &second, steps, share).unwrap();
        for (part, ours) in [("base", &whole.timesteps()[..done]), ("refiner", rest.timesteps())] {
            let theirs = golden.table(name, &format!("{part}/timesteps"));
            worst.compare_tables(format!("{name}/{part}"), ours, &theirs);
        }
    }
}

/// A schedule's file that all of these names fit.
const SCHEDULE: &str = r#"{"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "skip_prk_steps": true, "steps_offset": 1}"#;

/// The samples of a run whose denoiser says half of what it sees.
fn samples(schedule: &mut dyn Schedule) -> Vec<Vec<f32>> {
    let mut sample = Tensor::new(&[[0.5f32, -1.0, 2.0]], &Device::Cpu).unwrap();
    let mut noise = PerImage::new(&[1]);
    let mut all = Vec::new();
    for i in 0..schedule.timesteps().len() {
        let output = (schedule.scale_model_input(i, &sample).unwrap() * 0.5).unwrap();
        sample = schedule.step(i, &output, &sample, &mut noise).unwrap();
        all.push(sample.flatten_all().unwrap().to_vec1().unwrap());
    }
    all
}

#[test]
fn what_is_left_to_the_second_model_is_what_a_run_from_a_picture_does() {
    let config = ScheduleConfig::from_json(SCHEDULE, Path::new("test")).unwrap();
    for name in ["ddim", "ddpm", "pndm", "lms", "heun", "euler_ancestral", "dpmpp_2m", "dpmpp_2s", "unipc"] {
        let mut rest = schedule::build_rest(name, &config, 10, 0.6).unwrap();
        let steps = match (name, rest.timesteps().len()) {
            ("heun", calls) => calls.div_ceil(2),
            // a whole run has one call more than steps
            ("pndm", calls) => calls - 1,
            (_, calls) => calls,
        };
        let mut part = schedule::build(name, &config, 10, Some(steps as f64 / 10.0 + 1e-9)).unwrap();
        assert_eq!(rest.timesteps(), part.timesteps(), "{name}");
        assert_eq!(rest.sigmas(), part.sigmas(), "{name}");
        assert_eq!(samples(rest.as_mut()), samples(part.as_mut()), "{name}");
    }
}

#[test]
fn pndm_is_not_begun_within_its_runge_kutta_steps() {
    let file = SCHEDULE.replace("true", "false");
    let config = ScheduleConfig::from_json(&file, Path::new("test")).unwrap();
    let error = schedule::build_rest("pndm", &config, 10, 0.6).err().unwrap().to_string();
    assert!(error.starts_with("refiner: ") && error.contains("skip_prk_steps"), "{error}");
}

#[test]
fn a_picture_of_two_models_equals_diffusers_step_by_step() {
    let golden = golden();
    let open = |model| {
        Arc::new(Pipeline::open(&files(model), &Extras::default(), &Device::Cpu, Precision::F32).unwrap())
    };
    let (base, refiner) = (open(BASE), open(REFINER));
    let mut latents = Worst::new("latents of two models", RUN);
    let mut predictions = Worst::new("denoisers of two models", RUN);
    let mut image = Worst::new("picture of two models", IMAGE);
    for (name, case) in &golden.cases {
        let job = golden_job(name, case);
        let mut denoise = Denoise::new(base.clone(), &job).unwrap();
        golden.follow(&mut denoise, (name, "base/"), (&mut latents, &mut predictions));
        let mut denoise = Denoise::take_over(refiner.clone(), &job, denoise.hand_over()).unwrap();
        golden.follow(&mut denoise, (name, "refiner/"), (&mut latents, &mut predictions));
        image.compare(&**name, &denoise.decode().unwrap(), &golden.expected(name, "refiner/image"));
    }
}

fn request() -> ImageRequest {
    ImageRequest { prompt: "a red boat".into(), steps: Some(6), seed: Some(1), ..ImageRequest::default() }
}

/// A scheduler with so many bytes beside the larger model and its run.
fn scheduler(beside: u64) -> Scheduler {
    let engine = engine();
    let job = ImageOrder::new(ImageRequest { count: Some(2), ..request() }, &engine.models()[0]).unwrap();
    let largest = engine.models().iter().map(|model| model.card().memory_bytes).max().unwrap();
    let bytes = Some(largest + engine.estimate()(&job.into()) + beside);
    let memory = MemoryConfig { bytes, ..MemoryConfig::default() };
    Scheduler::start(Box::new(engine), SchedulerConfig { queue: QueueConfig::default(), memory }).unwrap()
}

fn paint(scheduler: &Scheduler, request: ImageRequest) -> Outcome {
    let job = ImageOrder::new(request, &base()).unwrap();
    scheduler.submit(Job::new(job)).unwrap().outcome.blocking_recv().unwrap().unwrap()
}

#[test]
fn models_that_do_not_fit_together_work_one_after_the_other_and_make_the_same_pictures() {
    let mut all = Vec::new();
    for (beside, loaded) in [(0, [false, true]), (u64::from(u32::MAX), [true, true])] {
        let scheduler = scheduler(beside);
        for _ in 0..2 {
            let outcome = paint(&scheduler, ImageRequest { count: Some(2), ..request() });
            all.push(outcome.pictures().iter().map(|picture| picture.pixels.clone()).collect::<Vec<_>>());
        }
        let are_loaded = [BASE, REFINER].map(|model| scheduler.is_loaded(&ModelId::new(model)));
        assert_eq!(are_loaded, loaded, "with {beside} bytes beside the larger one");
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    assert_ne!(all[0][0], all[0][1], "each picture has its own seed");
}

#[test]
fn both_models_and_the_share_are_in_the_parameters() {
    let scheduler = scheduler(0);
    let parameters = |request| paint(&scheduler, request).pictures()[0].parameters.clone().unwrap();
    let of_both = parameters(request());
    let refined = of_both.refiner.clone().unwrap();
    assert_eq!((&*of_both.model, &*refined.model, refined.share), (BASE, REFINER, 0.5));
    assert_eq!(refined.model_source, "test:xl-refiner");
    assert!(of_both.text().contains(", Refiner: xl-refiner, Refiner switch at: 0.5,"), "{}", of_both.text());
    assert_eq!(parameters(ImageRequest { refine: Refine::Never, ..request() }).refiner, None);
}

/// A fixture with the small autoencoder of `nano` beside its own.
fn with_small_autoencoder(model: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: PathBuf, to: PathBuf| {
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    };
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures");
    let from = fixtures.join(model);
    copy(from.clone(), folder.path().into());
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        copy(entry.path(), folder.path().join(entry.file_name()));
    }
    copy(fixtures.join("nano/vae"), folder.path().join("taesd"));
    folder
}

#[test]
fn steps_and_previews_are_counted_through_both_models() {
    let folders = [BASE, REFINER].map(with_small_autoencoder);
    let with_previews = |model: &str, folder: &tempfile::TempDir| ModelSpec {
        files: ModelFiles::folder(folder.path()),
        ..spec(model)
    };
    let models = vec![with_previews(BASE, &folders[0]), with_previews(REFINER, &folders[1])];
    let config =
        EngineConfig { device: DeviceChoice::Cpu, models, memory_bytes: None, ..EngineConfig::default() };
    let mut engine = CandleEngine::new(config).unwrap();
    for model in engine.models() {
        engine.load(model.id()).unwrap();
    }
    let job =
        ImageOrder::new(ImageRequest { preview_every: Some(2), ..request() }, &engine.models()[0]).unwrap();
    let mut run = engine.begin(&job.clone().into()).unwrap();
    let (mut seen, mut handed) = (Vec::new(), Vec::new());
    loop {
        match run.next_step().unwrap() {
            StepState::Step { step, total, previews } => seen.push((step, total, previews.len())),
            StepState::HandOver => {
                handed.push(seen.len());
                let left = run.hand_over().unwrap();
                // as where both do not fit
                engine.unload(&job.model.card.id);
                run = engine.take_over(&job, left).unwrap();
            }
            StepState::Done(finished) => break assert_eq!(finished.pictures().len(), 1),
            StepState::Heard(_) | StepState::Said(_) => panic!("nobody speaks"),
        }
    }
    assert_eq!(seen, [(1, 6, 0), (2, 6, 1), (3, 6, 0), (4, 6, 1), (5, 6, 0), (6, 6, 0)]);
    // half of the way is between the second timestep and the third
    assert_eq!(handed, [2]);
}

#[test]
fn what_the_refiner_cannot_do_is_refused_before_the_first_step() {
    let with_previews = with_small_autoencoder(BASE);
    let first = ModelSpec { files: ModelFiles::folder(with_previews.path()), ..spec(BASE) };
    let config = EngineConfig {
        device: DeviceChoice::Cpu,
        models: vec![first, spec(REFINER)],
        memory_bytes: None,
        ..EngineConfig::default()
    };
    let mut engine = CandleEngine::new(config).unwrap();
    let info = engine.models().remove(0);
    engine.load(info.id()).unwrap();
    let request = ImageRequest { decoder: Decoder::Tiny, ..request() };
    let job = ImageOrder::new(request.clone(), &info).unwrap();
    let error = engine.begin(&job.clone().into()).err().unwrap().to_string();
    assert!(error.starts_with("decoder: "), "{error}");
    let alone = ImageOrder::new(ImageRequest { refine: Refine::Never, ..request }, &info).unwrap();
    engine.begin(&alone.into()).unwrap();
}

#[test]
fn a_share_that_leaves_one_model_nothing_to_do_is_refused_before_the_first_step() {
    let mut engine = engine();
    for model in engine.models() {
        engine.load(model.id()).unwrap();
    }
    for (share, named) in [(0.001, "before the first"), (0.999, "none of 6 steps is left")] {
        let refine = Refine::By { model: ModelId::new(REFINER), share: Some(share) };
        let job = ImageOrder::new(ImageRequest { refine, ..request() }, &base()).unwrap();
        let error = engine.begin(&job.clone().into()).err().unwrap().to_string();
        assert!(error.starts_with("refiner: ") && error.contains(named), "{error}");
    }
}

#[test]
fn only_models_with_the_same_latents_refine_and_a_refiner_is_refined_by_none() {
    let models = vec![spec(BASE), spec(REFINER), spec("xl-edit"), spec("xl-lcm")];
    let engine = CandleEngine::new(EngineConfig {
        device: DeviceChoice::Cpu,
        models,
        memory_bytes: None,
        ..EngineConfig::default()
    })
    .unwrap();
    let refiners = |info: &ModelInfo| {
        info.image().unwrap().refiners.iter().map(|model| model.card.id.to_string()).collect::<Vec<_>>()
    };
    let all: Vec<_> = engine.models().iter().map(refiners).collect();
    assert_eq!(all, [vec![REFINER, "xl-lcm"], vec![], vec![], vec![BASE, REFINER]]);
    let mut wrong = spec(BASE);
    wrong.extras.refiner = Some(DefaultRefiner { model: ModelId::new("xl-edit"), share: 0.8 });
    let models = vec![wrong, spec("xl-edit")];
    let config =
        EngineConfig { device: DeviceChoice::Cpu, models, memory_bytes: None, ..EngineConfig::default() };
    let error = CandleEngine::new(config).err().unwrap().to_string();
    assert!(error.contains("model `xl`") && error.contains("`xl-edit` cannot go on"), "{error}");
}
