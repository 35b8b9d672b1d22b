//! Pictures drawn with step caches against diffusers' own cache for FLUX, and against DeepCache laid over diffusers' UNet
//! (`golden/make_step_cache.py` makes the values; `ATELIER_GOLDEN_DIR` names others). A cache that takes nothing over
//! changes nothing.

#[path = "golden/beside.rs"]
mod beside;
#[path = "golden/drawn.rs"]
mod drawn;
#[path = "golden/worst.rs"]
mod worst;

use std::sync::Arc;

use atelier_engine::pipeline::{Denoise, Pipeline};
use atelier_engine::{CandleEngine, DeviceChoice, EngineConfig, ModelSpec};
use atelier_inference::{
    CacheKind, Engine, Error, Finished, ImageOrder, ImageRequest, ModelId, ModelInfo, Precision, Refine, Run,
    StepCache, StepState,
};
use beside::{Beside, files};
use candle_core::Device;
use drawn::{Case, extras, info, job};
use worst::Worst;

const RUN: f64 = 1e-3;
const IMAGE: f64 = 2e-3;
const UNETS: [&str; 4] = ["sd1", "sd2", "inpaint", "xl"];
const FLUX: &str = "flux-dev";

fn open(model: &str) -> Arc<Pipeline> {
    Arc::new(Pipeline::open(&files(model), &extras(model), &Device::Cpu, Precision::F32).unwrap())
}

/// Of every step whether its passes, one for each picture, were shortened.
fn shortened(denoise: &mut Denoise, pictures: usize) -> Vec<f64> {
    let mut steps = Vec::new();
    let mut before = denoise.passes();
    while denoise.step().unwrap() {
        let now = denoise.passes();
        assert_eq!(now.all - before.all, pictures);
        let count = now.shortened - before.shortened;
        assert!(count == 0 || count == pictures, "{count} of {pictures} passes of one step");
        steps.push(f64::from(u8::from(count > 0)));
        before = now;
    }
    steps
}

#[test]
fn every_step_equals_the_reference_and_the_same_passes_are_shortened() {
    let mut latents = Worst::new("latents with a step cache", RUN);
    let mut predictions = Worst::new("denoiser with a step cache", RUN);
    let mut image = Worst::new("picture with a step cache", IMAGE);
    for model in UNETS.into_iter().chain([FLUX]) {
        let golden = Beside::<Case>::open(model, "cached");
        let (pipeline, info) = (open(model), info(model));
        for (name, case) in &golden.cases {
            let job = job(&golden, name, case, &info);
            let mut denoise = Denoise::new(pipeline.clone(), &job).unwrap();
            golden.follow(&mut denoise, (name, ""), (&mut latents, &mut predictions));
            let place = format!("{model}/{name}");
            image.compare(&*place, &denoise.decode().unwrap(), &golden.expected(name, "image"));
            let mut again = Denoise::new(pipeline.clone(), &job).unwrap();
            let ours = shortened(&mut again, case.seeds.len());
            assert_eq!(ours, golden.table(name, "shortened"), "{place}");
            assert!(ours.contains(&1.0) && ours.contains(&0.0), "{place} tests nothing");
        }
    }
}

fn drawn(pipeline: &Arc<Pipeline>, model: &ModelInfo, step_cache: Option<&str>) -> (Vec<f32>, usize) {
    let step_cache = step_cache.map(|text| text.parse().unwrap());
    let request = ImageRequest {
        prompt: "a cat".into(),
        seed: Some(1),
        steps: Some(5),
        step_cache,
        ..ImageRequest::default()
    };
    let mut denoise = Denoise::new(pipeline.clone(), &ImageOrder::new(request, model).unwrap()).unwrap();
    while denoise.step().unwrap() {}
    (denoise.latents().flatten_all().unwrap().to_vec1().unwrap(), denoise.passes().shortened)
}

#[test]
fn a_cache_that_takes_nothing_over_changes_no_bit_and_one_that_does_changes_the_picture() {
    for (model, never, always, most) in [
        ("sd1", "deep:1", "deep:10", 4),
        ("sd1", "deep:1:3", "deep:2:3", 2),
        (FLUX, "first-block:0", "first-block:1", 4),
    ] {
        let (pipeline, info) = (open(model), info(model));
        let drawn = |step_cache| drawn(&pipeline, &info, step_cache);
        let plain = drawn(None);
        assert_eq!(drawn(Some(never)), plain, "{model} {never}");
        let (latents, shortened) = drawn(Some(always));
        assert!(latents != plain.0 && (1..=most).contains(&shortened), "{model} {always}: {shortened}");
    }
}

#[test]
fn the_catalog_says_which_kind_a_model_takes_and_the_other_is_refused() {
    let (sd, flux) = (info("sd1"), info(FLUX));
    let kind = |info: &ModelInfo| info.image().unwrap().step_cache;
    assert_eq!((kind(&sd), kind(&flux)), (CacheKind::Deep { branches: 4 }, CacheKind::FirstBlock));
    let asked = |model: &ModelInfo, text: &str| {
        let step_cache = Some(text.parse::<StepCache>().unwrap());
        ImageOrder::new(ImageRequest { step_cache, ..ImageRequest::default() }, model)
    };
    assert!(asked(&sd, "deep:2:3").is_ok() && asked(&flux, "first-block:0.5").is_ok());
    for (model, text, named) in [
        (&sd, "deep:2:4", "not below 4"),
        (&sd, "first-block:0.5", "takes deep:INTERVAL"),
        (&flux, "deep:2", "takes first-block:THRESHOLD"),
    ] {
        match asked(model, text) {
            Err(Error::Invalid { field: "step-cache", reason }) => {
                assert!(reason.contains(named), "{reason}")
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

fn finish(run: &mut dyn Run) -> Option<Finished> {
    loop {
        match run.next_step().unwrap() {
            StepState::Step { .. } | StepState::Heard(_) | StepState::Said(_) => {}
            StepState::HandOver => return None,
            StepState::Done(finished) => return Some(finished),
        }
    }
}

#[test]
fn an_answer_tells_how_many_passes_were_shortened_of_both_models_where_there_are_two() {
    let spec = |id: &str| ModelSpec {
        id: id.into(),
        source: "test".into(),
        files: files(id),
        description: None,
        extras: extras(id),
    };
    let models = vec![spec("xl"), spec("xl-refiner")];
    let mut engine = CandleEngine::new(EngineConfig {
        device: DeviceChoice::Cpu,
        models,
        memory_bytes: None,
        ..EngineConfig::default()
    })
    .unwrap();
    let info = engine.models().remove(0);
    for id in ["xl", "xl-refiner"] {
        engine.load(&ModelId::new(id)).unwrap();
    }
    let request = |refine: Refine| ImageRequest {
        prompt: "a cat".into(),
        seed: Some(1),
        steps: Some(7),
        count: Some(2),
        step_cache: Some(StepCache::Deep { interval: 10, branch: 0 }),
        refine,
        ..ImageRequest::default()
    };
    let told = |finished: Finished| {
        finished.notes.into_iter().filter(|note| note.starts_with("step cache")).collect::<Vec<_>>()
    };
    let job = ImageOrder::new(request(Refine::Never), &info).unwrap();
    let notes = told(finish(engine.begin(&job.clone().into()).unwrap().as_mut()).unwrap());
    assert_eq!(notes, ["step cache deep:10: 12 of 14 passes took over what an earlier one had made"]);

    let by = Refine::By { model: ModelId::new("xl-refiner"), share: Some(0.5) };
    let job = ImageOrder::new(request(by), &info).unwrap();
    let mut first = engine.begin(&job.clone().into()).unwrap();
    assert!(finish(first.as_mut()).is_none());
    let left = first.hand_over().unwrap();
    let notes = told(finish(engine.take_over(&job, left).unwrap().as_mut()).unwrap());
    // the refiner begins with a whole pass of its own
    assert_eq!(notes, ["step cache deep:10: 10 of 14 passes took over what an earlier one had made"]);
}
