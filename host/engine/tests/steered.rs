//! Pictures drawn under ControlNets against diffusers, from the seed to the picture (`golden/make_steered.py` makes the
//! values; `ATELIER_GOLDEN_DIR` names others).

#[path = "golden/beside.rs"]
#[expect(dead_code, reason = "tables are compared by other golden tests")]
mod beside;
#[path = "golden/drawn.rs"]
mod drawn;
#[path = "golden/worst.rs"]
mod worst;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use atelier_engine::Extras;
use atelier_engine::pipeline::{Denoise, Pipeline};
use atelier_inference::{Control, Engine, ImageOrder, ImageRequest, Pixels, Precision};
use beside::{Beside, files, root};
use candle_core::Device;
use drawn::{CONTROLS, Case, engine, extras, info, job};
use worst::Worst;

const RUN: f64 = 1e-3;
const IMAGE: f64 = 2e-3;
const MODELS: [&str; 3] = ["sd1", "inpaint", "xl"];

#[test]
fn pictures_under_controls_equal_diffusers_step_by_step() {
    let mut latents = Worst::new("latents under controls", RUN);
    let mut predictions = Worst::new("denoiser under controls", RUN);
    let mut image = Worst::new("picture under controls", IMAGE);
    for model in MODELS {
        let golden = Beside::<Case>::open(model, "steered");
        let pipeline = Pipeline::open(&files(model), &extras(model), &Device::Cpu, Precision::F32).unwrap();
        let (pipeline, info) = (Arc::new(pipeline), info(model));
        for (name, case) in &golden.cases {
            println!("{model}/{name}");
            let mut denoise = Denoise::new(pipeline.clone(), &job(&golden, name, case, &info)).unwrap();
            golden.follow(&mut denoise, (name, ""), (&mut latents, &mut predictions));
            let place = format!("{model}/{name}");
            image.compare(place, &denoise.decode().unwrap(), &golden.expected(name, "image"));
        }
    }
}

fn fixture(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures").join(model)
}

#[test]
fn controls_are_listed_and_counted_and_those_of_another_model_are_refused_at_the_start() {
    let with = info("sd1");
    assert_eq!(with.image().unwrap().controls, CONTROLS);
    let without = engine(files("sd1"), Extras::default()).unwrap().models().remove(0);
    let bytes = |id: &str| {
        let file = root().join("sd1/controls").join(id).join("diffusion_pytorch_model.safetensors");
        std::fs::metadata(file).unwrap().len()
    };
    let (more, on_disk) =
        (with.card().memory_bytes - without.card().memory_bytes, bytes("edges") + bytes("depth"));
    assert!(more < on_disk && more > on_disk / 2, "{more} of {on_disk} bytes, headers included");
    let of_xl = fixture("xl/controls/edges");
    let wrong = Extras { controls: vec![("edges".into(), of_xl)], ..Extras::default() };
    let error = engine(files("sd1"), wrong).err().unwrap();
    assert!(error.contains("model `tiny`") && error.contains("config.json"), "{error}");
    assert!(error.contains("the model that it is for has"), "{error}");
    let gone = Extras { controls: vec![("edges".into(), fixture("nowhere"))], ..Extras::default() };
    let error = engine(files("sd1"), gone).err().unwrap();
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn a_control_that_acts_in_no_step_or_has_no_weight_changes_nothing() {
    let model = info("sd1");
    let pipeline =
        Arc::new(Pipeline::open(&files("sd1"), &extras("sd1"), &Device::Cpu, Precision::F32).unwrap());
    let picture = Pixels::new(16, 16, vec![200; 16 * 16 * 4]).unwrap();
    let drawn = |controls: Vec<Control>| {
        let request = ImageRequest {
            prompt: "a cat".into(),
            seed: Some(1),
            steps: Some(3),
            controls,
            ..ImageRequest::default()
        };
        let job = ImageOrder::new(request, &model).unwrap();
        let mut denoise = Denoise::new(pipeline.clone(), &job).unwrap();
        while denoise.step().unwrap() {}
        denoise.pictures().unwrap().remove(0)
    };
    let control = || Control::new("edges", picture.clone());
    let plain = drawn(Vec::new());
    assert_ne!(drawn(vec![control()]), plain);
    assert_eq!(drawn(vec![Control { start: 0.4, end: 0.5, ..control() }]), plain);
    assert_eq!(drawn(vec![Control { scale: 0.0, ..control() }]), plain);
}
