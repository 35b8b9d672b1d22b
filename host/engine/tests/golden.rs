//! The pipelines against diffusers, stage by stage, for every fixture folder (`golden/make_*.py` make them, a family each;
//! `ATELIER_GOLDEN_DIR` names others). Each stage is fed with what diffusers fed it, so that a failure names the stage;
//! the last tests run everything together from the seed.

#[path = "golden/bf16.rs"]
mod bf16;
#[path = "golden/fixture.rs"]
mod fixture;
#[path = "golden/worst.rs"]
mod worst;

use atelier_engine::models::unet::{Added, Input, UNet};
use atelier_engine::models::vae::Vae;
use atelier_engine::pipeline::rows;
use atelier_engine::schedule;
use atelier_inference::{Engine, Precision, StepState};
use candle_core::{Device, Tensor};
use worst::Worst;

const TABLES: f64 = 1e-6;
const ENCODERS: f64 = 1e-5;
const DENOISER: f64 = 1e-4;
const IMAGE: f64 = 2e-3;
/// Within a run, where each step starts from our own last one: rounding adds up, most where the first noise level is
/// 4096 and a prediction's last bit is multiplied by it.
const RUN: f64 = 1e-3;

#[test]
fn every_text_becomes_the_ids_of_transformers() {
    for fixture in fixture::all() {
        let tokenizer = fixture.tokenizer();
        for text in &fixture.texts {
            let ids =
                [&[tokenizer.bos], tokenizer.ids(&text.text).unwrap().as_slice(), &[tokenizer.eos]].concat();
            assert_eq!(ids, text.ids, "{}: {:?}", fixture.name, text.text);
        }
    }
}

#[test]
fn prompts_are_cut_and_padded_into_the_expected_rows() {
    for fixture in fixture::all() {
        let tokenizer = fixture.tokenizer();
        for (name, case) in fixture.cases.iter().filter(|(name, _)| fixture.has(name, "ids")) {
            let rows = rows(&tokenizer, &case.prompt, case.emphasis).unwrap();
            let ids: Vec<_> = rows.into_iter().map(|row| row.ids).collect();
            assert_eq!(ids, fixture.ids(name), "{}/{name}", fixture.name);
        }
    }
}

#[test]
fn conditioning_equals_what_reaches_the_denoiser_in_diffusers() {
    let (mut states, mut pooled) = (Worst::new("states", ENCODERS), Worst::new("pooled", ENCODERS));
    for fixture in fixture::all() {
        for (name, case) in &fixture.cases {
            let denoise = fixture.denoise(name, case);
            let conditioning = denoise.conditioning();
            let (images, rows) = (case.seeds.len(), fixture.expected(name, "context"));
            // one row for all images (FLUX), or one per image and branch: negative and prompt, or prompt and twice the negative
            let (prompt, negative) = match rows.dim(0).unwrap() / images {
                0 | 1 => (0, None),
                2 => (images, Some(0)),
                _ => (0, Some(images)),
            };
            assert_eq!(negative.is_some(), conditioning.negative.is_some(), "{}/{name}", fixture.name);
            let texts =
                [(Some(&conditioning.prompt), Some(prompt)), (conditioning.negative.as_ref(), negative)];
            for (text, row) in texts.into_iter().filter_map(|(text, row)| text.zip(row)) {
                let place = || format!("{}/{name}/{row}", fixture.name);
                states.compare(place(), &text.states, &rows.narrow(0, row, 1).unwrap());
                if let Some(found) = &text.pooled {
                    pooled.compare(
                        place(),
                        found,
                        &fixture.expected(name, "pooled").narrow(0, row, 1).unwrap(),
                    );
                }
            }
        }
    }
}

#[test]
fn timesteps_and_sigmas_equal_diffusers() {
    let mut worst = Worst::new("tables", TABLES);
    for fixture in fixture::all() {
        for (name, case) in &fixture.cases {
            let place = |stage| format!("{}/{name}/{stage}", fixture.name);
            let denoise = fixture.denoise(name, case);
            let schedule = denoise.schedule();
            worst.compare_tables(place("timesteps"), schedule.timesteps(), &fixture.table(name, "timesteps"));
            if let (Some(sigmas), true) = (schedule.sigmas(), fixture.has(name, "sigmas")) {
                worst.compare_tables(place("sigmas"), sigmas, &fixture.table(name, "sigmas"));
            }
        }
    }
}

#[test]
fn first_latents_equal_diffusers() {
    let mut worst = Worst::new("first latents", DENOISER);
    for fixture in fixture::all() {
        for (name, case) in &fixture.cases {
            let expected = fixture.expected(name, "latents").get(0).unwrap();
            worst.compare_scaled(
                format!("{}/{name}", fixture.name),
                fixture.denoise(name, case).latents(),
                &expected,
            );
        }
    }
}

#[test]
fn the_denoiser_equals_diffusers_at_every_step() {
    let mut worst = Worst::new("denoiser", DENOISER);
    for fixture in fixture::all().into_iter().filter(|fixture| !fixture.is_flux()) {
        let unet = UNet::open(&fixture.files, &Device::Cpu, Precision::F32).unwrap();
        let config = atelier_engine::pipeline::schedule_config(&fixture.files).unwrap();
        for (name, case) in &fixture.cases {
            let schedule = schedule::build(&case.schedule, &config, case.steps, case.strength).unwrap();
            let (inputs, outputs) = (fixture.expected(name, "inputs"), fixture.expected(name, "outputs"));
            let context = fixture.expected(name, "context");
            let added = fixture.has(name, "pooled").then(|| {
                let (pooled, numbers) = (fixture.expected(name, "pooled"), fixture.expected(name, "numbers"));
                Added { pooled, numbers }
            });
            let full =
                |value: f64| Tensor::full(value as f32, context.dim(0).unwrap(), &Device::Cpu).unwrap();
            let guidance = full(case.guidance);
            for (step, timestep) in schedule.timesteps().iter().enumerate() {
                let input = Input {
                    x: &inputs.get(step).unwrap(),
                    timesteps: &full(*timestep),
                    context: &context,
                    guidance: unet.takes_guidance().then_some(&guidance),
                    added: added.as_ref(),
                };
                let out = unet.forward(&input).unwrap();
                worst.compare(format!("{}/{name}/{step}", fixture.name), &out, &outputs.get(step).unwrap());
            }
        }
    }
}

#[test]
fn decoded_pictures_equal_diffusers() {
    let mut worst = Worst::new("decoder", IMAGE);
    for fixture in fixture::all() {
        let vae = Vae::open(&fixture.files, "vae", &Device::Cpu).unwrap();
        for name in fixture.cases.keys() {
            let latents = fixture.expected(name, "latents");
            let last = latents.get(latents.dim(0).unwrap() - 1).unwrap();
            let expected = fixture.expected(name, "image");
            worst.compare(format!("{}/{name}", fixture.name), &vae.decode(&last).unwrap(), &expected);
        }
    }
}

#[test]
fn pictures_decoded_in_tiles_equal_diffusers() {
    let mut worst = Worst::new("tiled decoder", IMAGE);
    let mut fixtures = fixture::all();
    fixtures.retain(|fixture| fixture.has("tiled", "image"));
    assert!(!fixtures.is_empty(), "no fixture has tiles");
    for fixture in fixtures {
        let vae = Vae::open(&fixture.files, "vae", &Device::Cpu).unwrap();
        let (latents, expected) = (fixture.expected("tiled", "latents"), fixture.expected("tiled", "image"));
        worst.compare(fixture.name, &vae.decode_tiled(&latents).unwrap(), &expected);
    }
}

#[test]
fn whole_runs_equal_diffusers_from_the_seed_to_the_picture() {
    let mut predictions = Worst::new("denoiser in a whole run", RUN);
    let mut latents = Worst::new("latents in a whole run", RUN);
    let mut image = Worst::new("picture of a whole run", IMAGE);
    for fixture in fixture::all() {
        // adapters are put on by the engine's run, which is compared below
        for (name, case) in fixture.cases.iter().filter(|(_, case)| case.adapters.is_empty()) {
            let mut denoise = fixture.denoise(name, case);
            let (expected, outputs) = (fixture.expected(name, "latents"), fixture.expected(name, "outputs"));
            for step in 0.. {
                let place = || format!("{}/{name}/{step}", fixture.name);
                latents.compare_scaled(place(), denoise.latents(), &expected.get(step).unwrap());
                if !denoise.step().unwrap() {
                    break;
                }
                let parts = Tensor::cat(denoise.predictions(), 0).unwrap();
                predictions.compare(place(), &parts, &outputs.get(step).unwrap());
            }
            image.compare(
                format!("{}/{name}", fixture.name),
                &denoise.decode().unwrap(),
                &fixture.expected(name, "image"),
            );
        }
    }
}

#[test]
fn the_engine_gives_the_bytes_of_diffusers_within_one() {
    for fixture in fixture::all() {
        let mut engine = fixture.engine();
        for (name, case) in &fixture.cases {
            let job = fixture.job(name, case);
            engine.load(&job.model.card.id).unwrap();
            let mut run = engine.begin(&job.clone().into()).unwrap();
            let finished = loop {
                if let StepState::Done(finished) = run.next_step().unwrap() {
                    break finished;
                }
            };
            let expected = fixture.expected(name, "pixels"); // (images, h, w, 3)
            for (index, picture) in finished.pictures().iter().enumerate() {
                let theirs = expected.get(index).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let ours = picture.rgba().chunks_exact(4).flat_map(|pixel| &pixel[..3]);
                let worst = ours
                    .zip(&theirs)
                    .map(|(ours, theirs)| (f32::from(*ours) - theirs).abs())
                    .fold(0.0, f32::max);
                assert!(worst <= 1.0, "{}/{name}: picture {index} is off by {worst} of 255", fixture.name);
            }
        }
    }
}

#[test]
fn an_image_of_a_batch_is_the_single_image_of_its_seed_to_the_bit() {
    for fixture in fixture::all() {
        for (name, case) in fixture.cases.iter().filter(|(_, case)| case.seeds.len() > 1) {
            let finish = |case: &fixture::Case| {
                let mut denoise = fixture.denoise(name, case);
                while denoise.step().unwrap() {}
                (denoise.latents().clone(), denoise.pictures().unwrap())
            };
            let (together, pictures) = finish(case);
            for (index, seed) in case.seeds.iter().enumerate() {
                let (alone, picture) = finish(&fixture::Case { seeds: vec![*seed], ..case.clone() });
                let of = |x: &Tensor, index| {
                    x.get(index).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
                };
                assert_eq!(of(&together, index), of(&alone, 0), "{}/{name}/{index}", fixture.name);
                assert_eq!(pictures[index], picture[0]);
            }
        }
    }
}
