//! Every schedule against diffusers'. Golden values: tests/golden/make_schedules.py; a file for other seeds and step
//! counts is read from `ATELIER_GOLDEN_DIR`, if it has one.

use std::collections::BTreeSet;
use std::path::Path;

use atelier_engine::noise::PerImage;
use atelier_engine::schedule::{Schedule, build, names};
use candle_core::{Device, Tensor};
use serde_json::Value;

use super::{SHAPE, config_of, over, values};

const OWN: &str = "tests/golden/schedules.json";

/// Largest deviation of timesteps, sigmas and scalars, relative where they are over 1.
const TABLE_TOLERANCE: f64 = 1e-6;
/// Largest deviation of a sample, relative to its norm.
const SAMPLE_TOLERANCE: f64 = 1e-5;
/// What f32 leaves of the largest sample that a run has passed through: with zero terminal SNR the Euler classes begin
/// at 4096 times the noise, and diffusers' own rounding there stays in everything after it.
const F32_RESOLUTION: f64 = 1e-7;

fn golden() -> Value {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(OWN);
    let given =
        std::env::var_os("ATELIER_GOLDEN_DIR").map(|folder| Path::new(&folder).join("schedules.json"));
    let path = given.filter(|path| path.exists()).unwrap_or(own);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|item| item.as_f64().unwrap()).collect()
}

/// `(norm, dot product with cos(0), cos(1), ...)`.
fn probe(sample: &Tensor) -> [f64; 2] {
    let values = values(sample);
    let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    [norm, values.iter().enumerate().map(|(k, v)| v * (k as f64).cos()).sum()]
}

/// The dummy model of make_schedules.py.
fn model(input: &Tensor, t: f64, constant: &Tensor) -> Tensor {
    ((input * 0.3).unwrap() + (constant * (0.1 + t / 2000.0)).unwrap()).unwrap()
}

/// Runs the whole loop and returns the sample before each step and after the last.
fn run(schedule: &mut dyn Schedule, seed: u64, from_image: bool) -> Vec<Tensor> {
    let mut source = PerImage::new(&[seed]);
    let mut draw = || source.draw_shape(&SHAPE, &Device::Cpu).unwrap();
    let (constant, image, noise) = (draw(), draw(), draw());
    let first = match from_image {
        true => schedule.add_noise(0, &image, &noise).unwrap(),
        false => (noise * schedule.init_noise_sigma()).unwrap(),
    };
    let mut samples = vec![first];
    for (i, t) in schedule.timesteps().to_vec().into_iter().enumerate() {
        let sample = samples[i].clone();
        let input = schedule.scale_model_input(i, &sample).unwrap();
        samples.push(schedule.step(i, &model(&input, t, &constant), &sample, &mut source).unwrap());
    }
    samples
}

/// The worst deviations of one golden case, as `(of its tables, of its samples)`.
struct Worst {
    tables: f64,
    samples: f64,
}

fn deviation(got: f64, expected: f64) -> f64 {
    (got - expected).abs() / expected.abs().max(1.0)
}

fn worst_of(pairs: impl Iterator<Item = f64>) -> f64 {
    // a NaN must not hide behind `max`
    pairs.fold(0.0, |worst, next| if next.is_nan() || next > worst { next } else { worst })
}

/// What a case says of timesteps and sigmas.
fn compare_tables(schedule: &dyn Schedule, case: &Value, golden: &Value) -> f64 {
    let table = |key: &str| floats(&golden["tables"][case[key].as_u64().unwrap() as usize]);
    let timesteps = table("timesteps");
    assert_eq!(schedule.timesteps().len(), timesteps.len(), "timesteps {:?}", schedule.timesteps());
    let whole = |values: &[f64]| values.iter().all(|t| t.fract() == 0.0);
    assert!(!whole(&timesteps) || schedule.timesteps() == timesteps, "{timesteps:?}");
    let mut errors = vec![deviation(schedule.init_noise_sigma(), case["init_noise_sigma"].as_f64().unwrap())];
    errors.extend(schedule.timesteps().iter().zip(&timesteps).map(|(a, b)| deviation(*a, *b)));
    if let Some(sigmas) = schedule.sigmas() {
        let expected = table("sigmas");
        assert_eq!(sigmas.len(), expected.len());
        errors.extend(sigmas.iter().zip(&expected).map(|(a, b)| deviation(*a, *b)));
    }
    worst_of(errors.into_iter())
}

/// What a case says of the samples before each call and after the last.
fn compare_samples(samples: &[Tensor], case: &Value) -> f64 {
    let expected: Vec<Vec<f64>> = case["samples"].as_array().unwrap().iter().map(floats).collect();
    let largest = worst_of(expected.iter().map(|probe| probe[0]));
    let error = |i: usize, got: f64, expected: f64, norm: f64| {
        let unavoidable = if i > 0 { F32_RESOLUTION * largest } else { 0.0 };
        let beyond = (got - expected).abs() - unavoidable;
        if beyond < 0.0 { 0.0 } else { beyond / norm.max(1e-3) }
    };
    let every = case["every"].as_u64().unwrap() as usize;
    let probed: Vec<&Tensor> = samples.iter().step_by(every).collect();
    assert_eq!(probed.len(), expected.len());
    let mut errors = Vec::new();
    for (i, (sample, expected)) in probed.iter().zip(&expected).enumerate() {
        errors.extend(probe(sample).iter().zip(expected).map(|(a, b)| error(i, *a, *b, expected[0])));
    }
    let end = &samples[samples.len() - 1];
    let norm = probe(end)[0];
    errors.extend(values(end).iter().zip(floats(&case["last"])).map(|(a, b)| error(1, *a, b, norm)));
    worst_of(errors.into_iter())
}

/// `None` where diffusers and we refuse.
fn compare(of_config: &Value, case: &Value, golden: &Value) -> std::result::Result<Option<Worst>, String> {
    let base = &golden["bases"][of_config["base"].as_str().unwrap()];
    let mut settings = of_config["settings"].clone();
    let tokens = settings.as_object_mut().unwrap().remove("image_tokens");
    let mut config = config_of(&over(base, &settings));
    if let Some(tokens) = tokens {
        config = config.for_image_tokens(tokens.as_u64().unwrap() as usize);
    }
    let steps = case["steps"].as_u64().unwrap() as usize;
    let strength = case["strength"].as_f64();
    let seed = golden["seed"].as_u64().unwrap();
    let built = build(of_config["name"].as_str().unwrap(), &config, steps, strength);
    match (built, case["refused"].as_str()) {
        (Ok(mut schedule), None) => {
            let tables = compare_tables(&*schedule, case, golden);
            let samples = compare_samples(&run(&mut *schedule, seed, strength.is_some()), case);
            Ok(Some(Worst { tables, samples }))
        }
        (Err(_), Some(_)) => Ok(None),
        (Ok(mut schedule), Some("not finite")) => {
            let samples = run(&mut *schedule, seed, strength.is_some());
            match samples.iter().flat_map(values).all(f64::is_finite) {
                true => Ok(None),
                false => Err("not finite".to_owned()),
            }
        }
        (Ok(_), Some(reason)) => Err(format!("built, but diffusers says {reason}")),
        (Err(error), None) => Err(error.to_string()),
    }
}

#[test]
fn every_schedule_follows_diffusers_step_by_step() {
    let golden = golden();
    let (mut worst, mut failures) = (Worst { tables: 0.0, samples: 0.0 }, Vec::new());
    for of_config in golden["configs"].as_array().unwrap() {
        for case in of_config["cases"].as_array().unwrap() {
            let title = format!(
                "{} {} steps {} strength {}",
                of_config["name"], of_config["settings"], case["steps"], case["strength"]
            );
            match compare(of_config, case, &golden) {
                Ok(None) => {}
                Ok(Some(of_case)) => {
                    if !(of_case.tables <= TABLE_TOLERANCE && of_case.samples <= SAMPLE_TOLERANCE) {
                        failures.push(format!("{title}: {:.1e} {:.1e}", of_case.tables, of_case.samples));
                    }
                    worst.tables = worst.tables.max(of_case.tables);
                    worst.samples = worst.samples.max(of_case.samples);
                }
                Err(reason) => failures.push(format!("{title}: {reason}")),
            }
        }
    }
    println!("worst deviation: tables {:.1e}, samples {:.1e}", worst.tables, worst.samples);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_name_has_golden_values() {
    let golden = golden();
    let tested: BTreeSet<&str> =
        golden["configs"].as_array().unwrap().iter().map(|config| config["name"].as_str().unwrap()).collect();
    // two endings mean the same, and one of them is enough
    let is_tested = |name: &String| {
        let spacing = name.replace("_trailing", "_sgm_uniform");
        tested.contains(name.as_str()) || tested.contains(spacing.as_str())
    };
    let missing: Vec<String> = names().into_iter().filter(|name| !is_tested(name)).collect();
    assert_eq!(missing, Vec::<String>::new());
}
