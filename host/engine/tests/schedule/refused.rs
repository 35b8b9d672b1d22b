//! What is refused, and that the message names it.

use std::path::Path;

use atelier_engine::schedule::ScheduleConfig;
use serde_json::{Value, json};

use super::build_error;

fn refusal(value: Value) -> String {
    let path = Path::new("scheduler_config.json");
    ScheduleConfig::from_json(&value.to_string(), path).unwrap_err().to_string()
}

#[test]
fn settings_that_are_unknown_or_not_implemented_are_refused_by_key() {
    for (key, value) in [
        ("thresholding", json!(true)),
        ("use_flow_sigmas", json!(true)),
        ("use_dynamic_shifting", json!(true)),
        ("shift_terminal", json!(0.1)),
        ("invert_sigmas", json!(true)),
        ("interpolation_type", json!("log_linear")),
        ("variance_type", json!("learned_range")),
        ("rho", json!(7.0)),
        ("shift", json!(3.0)),
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
        ("timestep_type", json!("odd")),
    ] {
        let error = refusal(json!({"_class_name": "DDIMScheduler", key: value}));
        assert!(error.starts_with(&format!("scheduler_config.json: `{key}`")), "{error}");
    }
    for (class, key, value) in [
        ("EDMEulerScheduler", "sigma_data", json!(0.0)),
        ("EDMEulerScheduler", "rho", json!(-7.0)),
        ("EDMEulerScheduler", "sigma_schedule", json!("even")),
        ("FlowMatchEulerDiscreteScheduler", "shift", json!(0.0)),
        ("FlowMatchEulerDiscreteScheduler", "shift_terminal", json!(1.0)),
        ("FlowMatchEulerDiscreteScheduler", "time_shift_type", json!("square")),
    ] {
        let error = refusal(json!({"_class_name": class, key: value}));
        assert!(error.starts_with(&format!("scheduler_config.json: `{key}`")), "{error}");
    }
    let two = refusal(json!({"_class_name": "A", "use_karras_sigmas": true, "use_beta_sigmas": true}));
    assert!(two.contains("`use_beta_sigmas` is true beside another of its kind"), "{two}");
    let bounds = refusal(json!({"_class_name": "A", "sigma_min": 2.0, "sigma_max": 1.0}));
    assert!(bounds.contains("`sigma_min` must be below `sigma_max`"), "{bounds}");
    let lengths = json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": true,
        "base_image_seq_len": 4096});
    assert!(refusal(lengths).contains("`base_image_seq_len` must be below `max_image_seq_len`"));
    assert!(refusal(json!({})).contains("`_class_name` is missing"));
}

#[test]
fn solver_variants_that_no_name_promises_are_refused_when_built() {
    for (name, settings, start) in [
        (
            "dpmpp_2m",
            json!({"algorithm_type": "dpmsolver"}),
            "scheduler setting `algorithm_type = dpmsolver`",
        ),
        ("dpmpp_2m_sde", json!({"solver_type": "euler"}), "scheduler setting `solver_type = euler"),
        ("dpmpp_2m_karras", json!({"solver_order": 3}), "scheduler setting `solver_order = 3"),
        ("dpmpp_sde", json!({"solver_order": 3}), "scheduler setting `solver_order = 3"),
        ("unipc", json!({"solver_order": 4}), "scheduler setting `solver_order = 4"),
        ("unipc", json!({"lower_order_final": false}), "scheduler setting `lower_order_final = false"),
        (
            "unipc",
            json!({"predict_x0": false}),
            "scheduler setting `final_sigmas_type = zero with predict_x0",
        ),
        ("lcm", json!({"original_inference_steps": 0}), "scheduler setting `original_inference_steps = 0"),
        ("tcd", json!({"original_inference_steps": 0}), "scheduler setting `original_inference_steps = 0"),
        (
            "euler_ancestral",
            json!({"prediction_type": "sample"}),
            "scheduler setting `prediction_type = sample",
        ),
        ("pndm", json!({"prediction_type": "sample"}), "scheduler setting `prediction_type = sample"),
        (
            "edm_euler",
            json!({"_class_name": "EDMEulerScheduler", "prediction_type": "sample"}),
            "scheduler setting `prediction_type = sample",
        ),
        (
            "edm_euler",
            json!({"_class_name": "EDMEulerScheduler", "sigma_min": 90.0}),
            "scheduler setting `sigma_min = 90, sigma_max = 80` is not",
        ),
        (
            "heun_karras",
            json!({"rescale_betas_zero_snr": true}),
            "scheduler setting `rescale_betas_zero_snr = true with heun_karras` is not supported; supported: ddim",
        ),
        (
            "unipc",
            json!({"timestep_type": "continuous", "prediction_type": "v_prediction"}),
            "scheduler setting `timestep_type = continuous with unipc` is not supported; supported: euler",
        ),
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
fn runge_kutta_steps_are_refused_where_they_cannot_be_whole() {
    let error = |steps, strength| build_error("pndm", json!({}), steps, strength);
    assert!(error(3, None).starts_with("steps: pndm takes 4 or more"));
    assert!(error(10, Some(0.5)).starts_with("strength: pndm runs whole"));
}

#[test]
fn a_picture_of_unknown_size_cannot_be_shifted_by_its_size() {
    let settings = json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": true});
    let error = build_error("flow_match_euler", settings, 4, None);
    assert!(error.starts_with("scheduler setting `use_dynamic_shifting = true without a picture"), "{error}");
}
