//! Which names there are, which of them a model is offered, and what they say beside its file.

use std::path::Path;

use atelier_engine::schedule::{ScheduleConfig, build, names, names_for};
use serde_json::{Value, json};

use super::{build_error, config_of, over};

/// A published config of each kind: SD 1.5, SDXL base, a DPM-Solver one as Python writes it, an LCM, a stochastic
/// DPM-Solver, Playground 2.5, FLUX.1 dev.
const PUBLISHED: [(&str, &str); 7] = [
    (
        "pndm",
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
    (
        "dpmpp_2m_sde_karras",
        r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "steps_offset": 1, "timestep_spacing": "leading",
        "use_karras_sigmas": true}"#,
    ),
    (
        "edm_dpmpp_2m",
        r#"{"_class_name": "EDMDPMSolverMultistepScheduler", "_diffusers_version": "0.27.0.dev0",
        "algorithm_type": "dpmsolver++", "dynamic_thresholding_ratio": 0.995, "euler_at_final": false,
        "final_sigmas_type": "zero", "lower_order_final": true, "num_train_timesteps": 1000,
        "prediction_type": "epsilon", "rho": 7.0, "sample_max_value": 1.0, "sigma_data": 0.5, "sigma_max": 80.0,
        "sigma_min": 0.002, "solver_order": 2, "solver_type": "midpoint", "thresholding": false}"#,
    ),
    (
        "flow_match_euler",
        r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.30.0.dev0",
        "base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096, "max_shift": 1.15,
        "num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": true}"#,
    ),
];

#[test]
fn published_configs_name_their_own_schedule_and_build_every_other_that_fits() {
    for (name, text) in PUBLISHED {
        let config = ScheduleConfig::from_json(text, Path::new("scheduler_config.json")).unwrap();
        assert_eq!(config.default_name().unwrap(), name);
        let names = names_for(&config);
        assert!(names.contains(&name.to_owned()), "{names:?}");
        let config = config.for_image_tokens(4096);
        for other in names {
            assert!(build(&other, &config, 4, None).unwrap().timesteps().len() >= 4, "{name} as {other}");
        }
    }
}

#[test]
fn models_are_offered_the_names_that_fit_them() {
    let of = |config: Value| names_for(&config_of(&config));
    let all = of(json!({"_class_name": "PNDMScheduler", "skip_prk_steps": true}));
    let other_families =
        names().into_iter().filter(|name| name.starts_with("edm") || name.starts_with("flow"));
    assert_eq!(all.len() + other_families.count(), names().len());
    let edm = of(json!({"_class_name": "EDMEulerScheduler"}));
    assert_eq!(edm, ["edm_euler", "edm_dpmpp_2m", "edm_dpmpp_2m_sde"]);
    let flow = of(json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": true}));
    let endings = ["", "_karras", "_exponential", "_beta"];
    assert_eq!(flow, endings.map(|ending| format!("flow_match_euler{ending}")));
    let zero_snr = json!({"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": true,
        "prediction_type": "v_prediction", "timestep_spacing": "trailing"});
    let zero_snr = of(zero_snr);
    assert!(zero_snr.contains(&"euler_karras".to_owned()) && !zero_snr.contains(&"heun".to_owned()));
    let sample = of(json!({"_class_name": "DDIMScheduler", "prediction_type": "sample"}));
    assert!(sample.contains(&"heun".to_owned()) && !sample.contains(&"pndm".to_owned()));
}

#[test]
fn names_of_another_family_are_refused_naming_both() {
    for (class, name, start) in [
        (
            "EulerDiscreteScheduler",
            "flow_match_euler",
            "scheduler `flow_match_euler on a model of EulerDiscreteScheduler` is not supported; supported: ddim",
        ),
        (
            "EulerDiscreteScheduler",
            "edm_euler",
            "scheduler `edm_euler on a model of EulerDiscreteScheduler` is not supported; supported: ddim",
        ),
        (
            "EDMEulerScheduler",
            "euler",
            "scheduler `euler on a model of EDMEulerScheduler` is not supported; supported: edm_euler",
        ),
        (
            "FlowMatchEulerDiscreteScheduler",
            "unipc_karras",
            "scheduler `unipc_karras on a model of FlowMatchEulerDiscreteScheduler` is not supported; supported: flow",
        ),
    ] {
        let error = build_error(name, json!({"_class_name": class}), 4, None);
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn names_are_taken_to_the_letter() {
    for name in
        ["Euler", "euler_", "euler_karras_", "euler__karras", "lcm_karras", "ddim_beta", "dpmpp_3m", ""]
    {
        let error = build_error(name, json!({}), 4, None);
        assert!(
            error.starts_with(&format!("scheduler `{name}` is not supported; supported: ddim")),
            "{error}"
        );
    }
}

#[test]
fn a_name_says_how_its_levels_are_spaced_whatever_the_file_says() {
    let built = |name: &str, settings: Value| {
        let config = config_of(&over(&json!({"_class_name": "EulerDiscreteScheduler"}), &settings));
        build(name, &config, 6, None).unwrap().sigmas().unwrap().to_vec()
    };
    let (plain, karras) = (built("euler", json!({})), built("euler_karras", json!({})));
    assert_ne!(plain, karras);
    assert_eq!(built("euler", json!({"use_karras_sigmas": true})), plain);
    assert_eq!(built("euler_karras", json!({"use_beta_sigmas": true})), karras);
    let own = config_of(&json!({"_class_name": "EulerDiscreteScheduler", "use_beta_sigmas": true}));
    assert_eq!(own.default_name().unwrap(), "euler_beta");
    // what the class does not know is no part of its name
    let ancestral = json!({"_class_name": "EulerAncestralDiscreteScheduler", "use_karras_sigmas": true});
    assert_eq!(config_of(&ancestral).default_name().unwrap(), "euler_ancestral");
}

#[test]
fn a_stand_in_for_the_models_own_scheduler_says_so() {
    let sde = config_of(&json!({"_class_name": "DPMSolverSDEScheduler", "use_karras_sigmas": true}));
    assert_eq!(sde.default_name().unwrap(), "dpmpp_sde_karras");
    assert!(sde.default_note().unwrap().contains("dpmpp_sde runs in its place"));
    assert_eq!(config_of(&json!({"_class_name": "EulerDiscreteScheduler"})).default_note(), None);
}

#[test]
fn a_class_without_a_schedule_is_refused_by_name() {
    let error =
        config_of(&json!({"_class_name": "KDPM2DiscreteScheduler"})).default_name().unwrap_err().to_string();
    assert!(error.starts_with("scheduler class `KDPM2DiscreteScheduler` is not supported"), "{error}");
}
