//! Every schedule against diffusers'. Golden values: tests/golden/make_schedules.py.

use std::path::Path;

use atelier_engine::Result;
use atelier_engine::noise::{NoiseSource, PerImage};
use atelier_engine::schedule::{NAMES, Schedule, ScheduleConfig, build};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};

const GOLDEN: &str = include_str!("golden/schedules.json");
const SHAPE: [usize; 4] = [1, 4, 4, 4];

/// Largest relative deviation of timesteps, sigmas and scalars.
const TABLE_TOLERANCE: f64 = 1e-6;
/// Largest deviation of a sample, relative to its norm.
const SAMPLE_TOLERANCE: f64 = 1e-5;
/// What f32 leaves of the largest sample that a run has passed through: with zero terminal SNR the Euler classes begin
/// at 4096 times the noise, and diffusers' own rounding there stays in everything after it.
const F32_RESOLUTION: f64 = 1e-7;

fn config_of(value: &Value) -> ScheduleConfig {
    ScheduleConfig::from_json(&value.to_string(), Path::new("scheduler_config.json")).unwrap()
}

fn refusal(value: Value) -> String {
    let path = Path::new("scheduler_config.json");
    ScheduleConfig::from_json(&value.to_string(), path).unwrap_err().to_string()
}

/// A published config with `settings` laid over it.
fn over(base: &Value, settings: &Value) -> Value {
    let mut config = base.clone();
    for (key, value) in settings.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn build_error(name: &str, settings: Value, steps: usize, strength: Option<f64>) -> String {
    let config = over(&json!({"_class_name": "DDIMScheduler"}), &settings);
    build(name, &config_of(&config), steps, strength).err().expect("a refusal").to_string()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|item| item.as_f64().unwrap()).collect()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect()
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
        true => schedule.add_noise(&image, &noise).unwrap(),
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

fn relative(got: f64, expected: f64) -> f64 {
    if got == expected { 0.0 } else { (got - expected).abs() / expected.abs().max(1e-12) }
}

fn worst_of(pairs: impl Iterator<Item = f64>) -> f64 {
    // a NaN must not hide behind `max`
    pairs.fold(0.0, |worst, next| if next.is_nan() || next > worst { next } else { worst })
}

fn compare(schedule: &mut dyn Schedule, case: &Value, golden: &Value) -> Worst {
    let table = |key: &str| floats(&golden["tables"][case[key].as_u64().unwrap() as usize]);
    let timesteps = table("timesteps");
    assert_eq!(schedule.timesteps().len(), timesteps.len(), "timesteps {:?}", schedule.timesteps());
    let whole = |t: &f64| t.fract() == 0.0;
    assert!(schedule.timesteps().iter().zip(&timesteps).all(|(a, b)| a == b || !whole(b)), "{timesteps:?}");
    let mut tables = vec![relative(schedule.init_noise_sigma(), case["init_noise_sigma"].as_f64().unwrap())];
    tables.extend(schedule.timesteps().iter().zip(&timesteps).map(|(a, b)| relative(*a, *b)));
    if let Some(sigmas) = schedule.sigmas() {
        let expected = table("sigmas");
        assert_eq!(sigmas.len(), expected.len());
        tables.extend(sigmas.iter().zip(&expected).map(|(a, b)| relative(*a, *b)));
    }
    let samples = run(schedule, golden["seed"].as_u64().unwrap(), !case["strength"].is_null());
    let expected: Vec<Vec<f64>> = case["samples"].as_array().unwrap().iter().map(floats).collect();
    let largest = worst_of(expected.iter().map(|probe| probe[0]));
    let error = |i: usize, got: f64, expected: f64, norm: f64| {
        let unavoidable = if i > 0 { F32_RESOLUTION * largest } else { 0.0 };
        let beyond = (got - expected).abs() - unavoidable;
        if beyond < 0.0 { 0.0 } else { beyond / norm.max(1e-3) }
    };
    let mut errors = Vec::new();
    for (i, (sample, expected)) in samples.iter().zip(&expected).enumerate() {
        errors.extend(probe(sample).iter().zip(expected).map(|(a, b)| error(i, *a, *b, expected[0])));
    }
    let (end, norm) = (expected.len() - 1, expected[expected.len() - 1][0]);
    errors.extend(
        values(&samples[end]).iter().zip(floats(&case["last"])).map(|(a, b)| error(end, *a, b, norm)),
    );
    Worst { tables: worst_of(tables.into_iter()), samples: worst_of(errors.into_iter()) }
}

#[test]
fn every_schedule_follows_diffusers_step_by_step() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let (mut worst, mut failures) = (Worst { tables: 0.0, samples: 0.0 }, Vec::new());
    for case in golden["cases"].as_array().unwrap() {
        let config = config_of(&over(&golden["config"], &case["settings"]));
        let name = case["name"].as_str().unwrap();
        let steps = case["steps"].as_u64().unwrap() as usize;
        let built = build(name, &config, steps, case["strength"].as_f64());
        let title = format!("{name} {} steps {steps} strength {}", case["settings"], case["strength"]);
        match (built, &case["refused"]) {
            (Ok(mut schedule), Value::Null) => {
                let of_case = compare(&mut *schedule, case, &golden);
                if !(of_case.tables <= TABLE_TOLERANCE && of_case.samples <= SAMPLE_TOLERANCE) {
                    failures.push(format!("{title}: {:.1e} {:.1e}", of_case.tables, of_case.samples));
                }
                worst.tables = worst.tables.max(of_case.tables);
                worst.samples = worst.samples.max(of_case.samples);
            }
            (Err(_), Value::String(_)) => {}
            (Ok(mut schedule), Value::String(reason)) if reason == "not finite" => {
                let samples = run(&mut *schedule, 7, !case["strength"].is_null());
                assert!(samples.iter().flat_map(values).all(f64::is_finite), "{title}");
            }
            (Ok(_), reason) => failures.push(format!("{title}: built, but diffusers says {reason}")),
            (Err(error), _) => failures.push(format!("{title}: {error}")),
        }
    }
    println!("worst deviation: tables {:.1e}, samples {:.1e}", worst.tables, worst.samples);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// A published config of each kind: SD 1.5, SDXL base, a DPM-Solver one as Python writes it, an LCM.
const PUBLISHED: [(&str, &str); 4] = [
    (
        "ddim",
        r#"{"_class_name": "PNDMScheduler", "_diffusers_version": "0.7.0.dev0", "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000, "clip_sample": false,
        "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null}"#,
    ),
    (
        "euler",
        r#"{"_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0", "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": false, "interpolation_type": "linear",
        "num_train_timesteps": 1000, "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": false,
        "skip_prk_steps": true, "steps_offset": 1, "timestep_spacing": "leading", "trained_betas": null,
        "use_karras_sigmas": false}"#,
    ),
    (
        "dpmpp_2m_karras",
        r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++", "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "dynamic_thresholding_ratio": 0.995,
        "euler_at_final": false, "final_sigmas_type": "zero", "lambda_min_clipped": -Infinity,
        "lower_order_final": true, "solver_order": 2, "solver_type": "midpoint", "thresholding": false,
        "use_karras_sigmas": true, "use_lu_lambdas": false, "variance_type": null}"#,
    ),
    (
        "lcm",
        r#"{"_class_name": "LCMScheduler", "beta_schedule": "scaled_linear", "clip_sample_range": 1.0,
        "original_inference_steps": 50, "rescale_betas_zero_snr": false, "timestep_scaling": 10.0,
        "use_karras_sigmas": null}"#,
    ),
];

#[test]
fn published_configs_name_their_own_schedule_and_build_every_other() {
    for (name, text) in PUBLISHED {
        let config = ScheduleConfig::from_json(text, Path::new("scheduler_config.json")).unwrap();
        assert_eq!(config.default_name().unwrap(), name);
        for other in NAMES {
            assert_eq!(build(other, &config, 4, None).unwrap().timesteps().len(), 4, "{name} as {other}");
        }
    }
}

#[test]
fn a_stand_in_for_the_models_own_scheduler_says_so() {
    let note = |class: &str| config_of(&json!({"_class_name": class})).default_note();
    assert!(note("PNDMScheduler").unwrap().contains("ddim runs in its place"));
    assert_eq!(note("EulerDiscreteScheduler"), None);
}

#[test]
fn a_class_without_a_schedule_is_refused_by_name() {
    let error =
        config_of(&json!({"_class_name": "KDPM2DiscreteScheduler"})).default_name().unwrap_err().to_string();
    assert!(error.starts_with("scheduler class `KDPM2DiscreteScheduler` is not supported"), "{error}");
}

#[test]
fn settings_that_are_unknown_or_not_implemented_are_refused_by_key() {
    for (key, value) in [
        ("thresholding", json!(true)),
        ("use_beta_sigmas", json!(true)),
        ("use_exponential_sigmas", json!(true)),
        ("use_lu_lambdas", json!(true)),
        ("use_flow_sigmas", json!(true)),
        ("timestep_type", json!("continuous")),
        ("interpolation_type", json!("log_linear")),
        ("variance_type", json!("learned_range")),
        ("predict_x0", json!(false)),
        ("rho", json!(7.0)),
    ] {
        let error = refusal(json!({"_class_name": "DDIMScheduler", key: value}));
        assert!(error.starts_with(&format!("scheduler setting `{key} = ")), "{error}");
    }
}

#[test]
fn malformed_settings_are_refused_by_key() {
    for (key, value) in [
        ("beta_start", json!(0.0)),
        ("beta_end", json!(1.0)),
        ("beta_schedule", json!("exponential")),
        ("num_train_timesteps", json!(0)),
        ("num_train_timesteps", json!(100_001)),
        ("trained_betas", json!([0.1, 0.2])),
        ("prediction_type", json!("flow_prediction")),
        ("timestep_spacing", json!("even")),
        ("steps_offset", json!(-1)),
        ("steps_offset", json!(1000)),
        ("clip_sample_range", json!(0.0)),
        ("sigma_min", json!("-Infinity")),
        ("timestep_scaling", json!(0.0)),
    ] {
        let error = refusal(json!({"_class_name": "DDIMScheduler", key: value}));
        assert!(error.starts_with(&format!("scheduler_config.json: `{key}`")), "{error}");
    }
    assert!(refusal(json!({})).contains("`_class_name` is missing"));
}

#[test]
fn solver_variants_that_no_name_promises_are_refused_when_built() {
    for (name, settings, start) in [
        ("dpmpp_2m", json!({"algorithm_type": "sde-dpmsolver++"}), "scheduler setting `algorithm_type = sde"),
        ("dpmpp_2m", json!({"solver_type": "heun"}), "scheduler setting `solver_type = heun"),
        ("dpmpp_2m_karras", json!({"solver_order": 3}), "scheduler setting `solver_order = 3"),
        ("unipc", json!({"solver_order": 4}), "scheduler setting `solver_order = 4"),
        ("unipc", json!({"lower_order_final": false}), "scheduler setting `lower_order_final = false"),
        ("lcm", json!({"original_inference_steps": 0}), "scheduler setting `original_inference_steps = 0"),
        (
            "euler_ancestral",
            json!({"prediction_type": "sample"}),
            "scheduler setting `prediction_type = sample",
        ),
        ("heun", json!({}), "scheduler `heun` is not supported; supported: ddim, euler"),
    ] {
        let error = build_error(name, settings, 4, None);
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn steps_and_strength_are_refused_just_past_their_limits() {
    let plain = || json!({});
    assert!(build_error("euler", plain(), 0, None).starts_with("steps: 0 is not in 1..=1000"));
    assert!(build_error("euler", plain(), 1001, None).starts_with("steps: 1001 is not in 1..=1000"));
    assert!(build_error("lcm", plain(), 51, None).starts_with("steps: 51 is more than the 50 of 50"));
    assert!(
        build_error("ddim", json!({"steps_offset": 1}), 1000, None)
            .starts_with("steps: timestep 1000 is outside")
    );
    for strength in [-0.01, 1.01, f64::NAN] {
        assert!(build_error("ddim", plain(), 4, Some(strength)).starts_with("strength: "));
        assert!(build_error("lcm", plain(), 4, Some(strength)).starts_with("strength: "));
    }
    let error = build_error("ddim", plain(), 4, Some(0.24));
    assert_eq!(error, "strength: 0.24 of 4 steps leaves none to run; raise it to 0.25 or more");
}

#[test]
fn a_step_keeps_the_dtype_of_the_sample_and_computes_in_f32() {
    let config = config_of(&json!({"_class_name": "DDIMScheduler"}));
    for name in NAMES {
        let mut source = PerImage::new(&[1]);
        let exact = source.draw_shape(&SHAPE, &Device::Cpu).unwrap();
        let sample = exact.to_dtype(DType::BF16).unwrap();
        let mut schedule = build(name, &config, 4, None).unwrap();
        let input = schedule.scale_model_input(0, &sample).unwrap();
        let next = schedule.step(0, &input, &sample, &mut source).unwrap();
        assert_eq!((input.dtype(), next.dtype()), (DType::BF16, DType::BF16), "{name}");
    }
}

/// A source that counts its draws.
struct Counted(PerImage, usize);

impl NoiseSource for Counted {
    fn draw(&mut self, like: &Tensor) -> Result<Tensor> {
        self.1 += 1;
        self.0.draw(like)
    }
}

#[test]
fn only_stochastic_schedules_draw_noise_and_lcm_not_at_its_last_step() {
    let config = config_of(&json!({"_class_name": "DDIMScheduler"}));
    for name in NAMES {
        let mut source = Counted(PerImage::new(&[1]), 0);
        let mut sample = Tensor::ones(&SHAPE, DType::F32, &Device::Cpu).unwrap();
        let mut schedule = build(name, &config, 4, None).unwrap();
        for i in 0..4 {
            sample = schedule.step(i, &sample.clone(), &sample, &mut source).unwrap();
        }
        let expected = match name {
            "euler_ancestral" => 4,
            "lcm" => 3,
            _ => 0,
        };
        assert_eq!(source.1, expected, "{name}");
    }
}

#[test]
fn an_image_in_a_batch_steps_as_it_would_alone() {
    let config = config_of(&json!({"_class_name": "DDIMScheduler", "clip_sample": false}));
    for name in NAMES {
        let walk = |seeds: &[u64]| {
            let mut source = PerImage::new(seeds);
            let mut sample = source.draw_shape(&[seeds.len(), 4, 4, 4], &Device::Cpu).unwrap();
            let mut schedule = build(name, &config, 5, None).unwrap();
            for i in 0..5 {
                let output = (&sample * 0.5).unwrap();
                sample = schedule.step(i, &output, &sample, &mut source).unwrap();
            }
            sample
        };
        let (batch, alone) = (walk(&[8, 9]), walk(&[9]));
        assert_eq!(values(&batch.get(1).unwrap()), values(&alone), "{name}");
    }
}
