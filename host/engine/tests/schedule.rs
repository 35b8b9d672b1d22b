//! Schedules: against diffusers (`schedule/golden.rs`), by name, what they refuse, and what holds for every one.

#[path = "schedule/golden.rs"]
mod golden;
#[path = "schedule/named.rs"]
mod named;
#[path = "schedule/refused.rs"]
mod refused;

use std::path::Path;

use atelier_engine::Result;
use atelier_engine::noise::{NoiseSource, PerImage};
use atelier_engine::schedule::{ScheduleConfig, build, names, names_for};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};

const SHAPE: [usize; 4] = [1, 4, 4, 4];

fn config_of(value: &Value) -> ScheduleConfig {
    ScheduleConfig::from_json(&value.to_string(), Path::new("scheduler_config.json")).unwrap()
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

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect()
}

#[test]
fn a_flow_always_leaves_a_step_of_a_picture_unless_its_strength_is_0() {
    let config = config_of(&json!({"_class_name": "FlowMatchEulerDiscreteScheduler"}));
    let run = |strength| build("flow_match_euler", &config, 4, Some(strength));
    assert_eq!(run(0.3).unwrap().timesteps().len(), 2);
    assert_eq!(run(0.01).unwrap().timesteps().len(), 1);
    assert!(run(0.0).err().unwrap().to_string().starts_with("strength: 0 of 4 steps leaves none to run"));
}

#[test]
fn looking_ahead_is_told_as_more_timesteps() {
    let prk = json!({"_class_name": "PNDMScheduler"});
    let plms = json!({"_class_name": "PNDMScheduler", "skip_prk_steps": true});
    for (name, config, calls) in [
        ("heun", &plms, 19),
        ("dpmpp_2s_ancestral", &plms, 19),
        ("pndm", &plms, 11),
        ("pndm", &prk, 19),
        ("dpmpp_2s", &plms, 10),
    ] {
        let schedule = build(name, &config_of(config), 10, None).unwrap();
        assert_eq!(schedule.timesteps().len(), calls, "{name}");
    }
}

#[test]
fn a_step_keeps_the_dtype_of_the_sample_and_computes_in_f32() {
    for (name, config) in every_name() {
        let mut source = PerImage::new(&[1]);
        let exact = source.draw_shape(&SHAPE, &Device::Cpu).unwrap();
        let sample = exact.to_dtype(DType::BF16).unwrap();
        let mut schedule = build(&name, &config, 4, None).unwrap();
        let input = schedule.scale_model_input(0, &sample).unwrap();
        let next = schedule.step(0, &input, &sample, &mut source).unwrap();
        assert_eq!((input.dtype(), next.dtype()), (DType::BF16, DType::BF16), "{name}");
    }
}

/// Every name with a config that it fits.
fn every_name() -> Vec<(String, ScheduleConfig)> {
    let classes = ["PNDMScheduler", "EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler"];
    let of_class = |class| {
        let config = config_of(&json!({"_class_name": class, "clip_sample": false, "skip_prk_steps": true}));
        names_for(&config).into_iter().map(move |name| (name, config.clone()))
    };
    let all: Vec<_> = classes.into_iter().flat_map(of_class).collect();
    assert_eq!(all.len(), names().len());
    all
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
fn stochastic_schedules_draw_noise_as_often_as_diffusers() {
    for (name, config) in every_name() {
        let mut source = Counted(PerImage::new(&[1]), 0);
        let mut sample = Tensor::ones(&SHAPE, DType::F32, &Device::Cpu).unwrap();
        let mut schedule = build(&name, &config, 4, None).unwrap();
        for i in 0..schedule.timesteps().len() {
            sample = schedule.step(i, &sample.clone(), &sample, &mut source).unwrap();
        }
        let every_step = ["euler_ancestral", "sde"].iter().any(|part| name.contains(part));
        let expected = match name.as_str() {
            // at timestep 0, where this spacing ends, there is nothing to draw
            "ddpm" => 3,
            "ddpm_trailing" | "ddpm_sgm_uniform" => 4,
            "lcm" | "tcd" => 3,
            name if name.starts_with("dpmpp_2s_ancestral") => 3,
            _ if every_step => 4,
            _ => 0,
        };
        assert_eq!(source.1, expected, "{name}");
    }
}

#[test]
fn an_image_in_a_batch_steps_as_it_would_alone() {
    for (name, config) in every_name() {
        let walk = |seeds: &[u64]| {
            let mut source = PerImage::new(seeds);
            let mut sample = source.draw_shape(&[seeds.len(), 4, 4, 4], &Device::Cpu).unwrap();
            let mut schedule = build(&name, &config, 5, None).unwrap();
            for i in 0..schedule.timesteps().len() {
                let output = (&sample * 0.5).unwrap();
                sample = schedule.step(i, &output, &sample, &mut source).unwrap();
            }
            sample
        };
        let (batch, alone) = (walk(&[8, 9]), walk(&[9]));
        assert_eq!(values(&batch.get(1).unwrap()), values(&alone), "{name}");
    }
}
