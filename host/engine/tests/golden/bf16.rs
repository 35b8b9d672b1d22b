//! Products in bf16 (`engine.precision`): how far they are from the golden values of f32, for every fixture folder, and what
//! must be true of them as of f32. On a processor without kernels for bf16, that it is refused.

use std::sync::Arc;

use atelier_engine::kernels::have_bf16;
use atelier_engine::pipeline::{Denoise, Pipeline};
use atelier_engine::{CandleEngine, DeviceChoice, EngineConfig, Error, PrecisionChoice};
use atelier_inference::{Engine, ModelInfo, Pixels, Precision, StepState};
use candle_core::{Device, Tensor};

use super::fixture::{self, Fixture};
use super::worst::Worst;

/// A bf16 is off by 1/512 of its value at most. Networks of random weights, through a whole run in which every step starts
/// from the last, as shares of the largest value and of the mean: twice the worst of nine sets of fixtures, each of another
/// seed (0.080 and 0.075, under few steps of a Karras schedule; elsewhere half of it).
const MAX: f64 = 0.16;
const MEAN: f64 = 0.15;
/// Of pixels, 0 to 255, likewise (17 and 1.7).
const PIXEL: f64 = 34.0;
const MEAN_PIXEL: f64 = 3.4;

fn engine(fixture: &Fixture, precision: PrecisionChoice) -> Result<CandleEngine, Error> {
    let models = vec![fixture.spec()];
    CandleEngine::new(EngineConfig { device: DeviceChoice::Cpu, precision, models, memory_bytes: None })
}

/// Every fixture, on a processor that has kernels for bf16. On others: none, once it was refused there.
fn fixtures() -> Vec<Fixture> {
    let mut all = fixture::all();
    if !have_bf16() {
        let error = engine(&all[0], PrecisionChoice::Bf16).err().unwrap().to_string();
        assert!(error.contains("engine.precision bf16: this processor has no AVX512-BF16"), "{error}");
        let model = engine(&all[0], PrecisionChoice::Auto).unwrap().models().remove(0);
        assert!(matches!(model, ModelInfo::Image(model) if model.precision == Precision::F32));
        all.clear();
    }
    all
}

fn pipeline(fixture: &Fixture) -> Arc<Pipeline> {
    let pipeline = Pipeline::open(&fixture.files, &fixture.extras(), &Device::Cpu, Precision::Bf16);
    Arc::new(pipeline.unwrap())
}

fn mean(x: &Tensor) -> f64 {
    f64::from(x.abs().unwrap().mean_all().unwrap().to_scalar::<f32>().unwrap())
}

fn largest(x: &Tensor) -> f64 {
    f64::from(x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap())
}

#[test]
fn whole_runs_stay_near_the_golden_values_of_f32() {
    let (mut worst, mut means) = (Worst::new("bf16, largest", MAX), Worst::new("bf16, mean", MEAN));
    for fixture in fixtures() {
        let pipeline = pipeline(&fixture);
        for (name, case) in fixture.cases.iter().filter(|(_, case)| case.adapters.is_empty()) {
            let mut denoise = Denoise::new(pipeline.clone(), &fixture.job(name, case)).unwrap();
            let expected = fixture.expected(name, "latents");
            for step in 1.. {
                if !denoise.step().unwrap() {
                    break;
                }
                let place = || format!("{}/{name}/{step}", fixture.name);
                let expected = expected.get(step).unwrap();
                let difference = (denoise.latents() - &expected).unwrap();
                worst.take(place(), largest(&difference) / largest(&expected));
                means.take(place(), mean(&difference) / mean(&expected));
            }
        }
    }
}

#[test]
fn pictures_stay_near_those_of_diffusers_and_say_what_they_were_computed_in() {
    let (mut worst, mut means) = (Worst::new("pixel", PIXEL), Worst::new("mean of pixels", MEAN_PIXEL));
    for fixture in fixtures() {
        let mut engine = engine(&fixture, PrecisionChoice::Bf16).unwrap();
        for (name, case) in &fixture.cases {
            let (pictures, notes) = paint(&mut engine, &fixture, name, case);
            let note = "computed in bf16 (engine.precision)";
            assert!(notes.iter().any(|found| found == note), "{}/{name}: {notes:?}", fixture.name);
            let expected = fixture.expected(name, "pixels"); // (images, h, w, 3)
            for (index, picture) in pictures.iter().enumerate() {
                let theirs = expected.get(index).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let ours = picture.rgba().chunks_exact(4).flat_map(|pixel| &pixel[..3]);
                let off: Vec<f64> = ours
                    .zip(&theirs)
                    .map(|(ours, theirs)| f64::from((f32::from(*ours) - theirs).abs()))
                    .collect();
                let place = || format!("{}/{name}/{index}", fixture.name);
                worst.take(place(), off.iter().copied().fold(0.0, f64::max));
                means.take(place(), off.iter().sum::<f64>() / off.len() as f64);
            }
        }
    }
}

fn paint(
    engine: &mut CandleEngine,
    fixture: &Fixture,
    name: &str,
    case: &fixture::Case,
) -> (Vec<Pixels>, Vec<String>) {
    let job = fixture.job(name, case);
    engine.load(&job.model.card.id).unwrap();
    let mut run = engine.begin(&job.into()).unwrap();
    loop {
        if let StepState::Done(finished) = run.next_step().unwrap() {
            return (finished.pictures().to_vec(), finished.notes);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_alone_in_a_batch_and_on_any_number_of_threads() {
    for fixture in fixtures() {
        let Some((name, case)) = fixture.cases.iter().find(|(_, case)| case.seeds.len() > 1) else {
            continue;
        };
        let paint = |case: &fixture::Case, threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                paint(&mut engine(&fixture, PrecisionChoice::Bf16).unwrap(), &fixture, name, case).0
            })
        };
        let together = paint(case, 1);
        assert_eq!(paint(case, 3), together, "{}/{name}", fixture.name);
        for (seed, picture) in case.seeds.iter().zip(&together) {
            let alone = paint(&fixture::Case { seeds: vec![*seed], ..case.clone() }, 2);
            assert_eq!(alone, std::slice::from_ref(picture), "{}/{name}/{seed}", fixture.name);
        }
    }
}
