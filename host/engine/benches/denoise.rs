//! One denoise step with classifier-free guidance (batch 2) of a Stable Diffusion 1.5 denoiser with random weights, on
//! the CPU, beside the same step in diffusers on torch in the same run, and a step that takes over what lies below the
//! first skip (DeepCache, branch 0). The ratios come last; over 1 we are faster.
//!
//!     ATELIER_PYTHON=/path/to/python cargo bench -p atelier-engine --bench denoise
//!
//! Needs a Python with torch and diffusers (`tests/golden/requirements.txt`); without one it says so and fails.

use std::process::{Command, ExitCode};
use std::time::Instant;

use atelier_engine::ModelFiles;
use atelier_engine::models::unet::{Deep, Input, UNet, UNetConfig};
use atelier_engine::weights::Builder;
use candle_core::{Device, Shape, Tensor};

const CONFIG: &[u8] = br#"{"cross_attention_dim": 768, "sample_size": 64}"#;
const FILES: &[(&str, &[u8])] = &[("unet/config.json", CONFIG)];
const SIDES: [usize; 2] = [256, 512];
const RUNS: usize = 3;
const INTERVALS: [usize; 2] = [2, 3];
const PYTHON: &str = "ATELIER_PYTHON";

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("denoise: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<(), Error> {
    // first, so that a missing peer is known before the long part
    let peer = torch_is_there()?;
    let config = UNetConfig::read(&ModelFiles::embedded(FILES))?;
    // small ones around zero: the time does not depend on them as long as nothing overflows
    let random = |name: &str, shape: &Shape| uniform(shape.clone(), name.len() as u32, 0.02);
    let weights = Builder::from_fn(&Device::Cpu, random);
    let unet = UNet::load(&config, weights)?;
    let mut ours = Vec::new();
    for side in SIDES {
        // the first run warms up, and is the whole pass that the shortened ones take over from
        let mut deep = Deep::new(usize::MAX, 0);
        step(&unet, side, Some(&mut deep))?;
        let whole = best_of(|| step(&unet, side, None))?;
        println!("{side:>4} px  atelier              f32   {whole:>7.3} s");
        let shortened = best_of(|| step(&unet, side, Some(&mut deep)))?;
        println!("{side:>4} px  atelier, shortened   f32   {shortened:>7.3} s");
        ours.push((whole, shortened));
    }
    drop(unet);
    compare(&peer, &ours)
}

fn best_of(mut step: impl FnMut() -> Result<f64, Error>) -> Result<f64, Error> {
    let times = (0..RUNS).map(|_| step()).collect::<Result<Vec<_>, _>>()?;
    Ok(times.into_iter().fold(f64::INFINITY, f64::min))
}

fn step(unet: &UNet, side: usize, deep: Option<&mut Deep>) -> Result<f64, Error> {
    let latents = uniform((2, 4, side / 8, side / 8).into(), 1, 1.0)?;
    let context = uniform((2, 77, 768).into(), 2, 1.0)?;
    let timesteps = Tensor::full(500f32, 2, &Device::Cpu)?;
    let began = Instant::now();
    let input = Input { x: &latents, timesteps: &timesteps, context: &context, guidance: None, added: None };
    unet.forward_with(&input, None, deep)?;
    Ok(began.elapsed().as_secs_f64())
}

fn torch_is_there() -> Result<String, Error> {
    let python = std::env::var(PYTHON).unwrap_or_else(|_| "python3".into());
    let tried = Command::new(&python).args(["-c", "import torch, diffusers"]).output();
    match tried {
        Ok(output) if output.status.success() => Ok(python),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or_default();
            Err(format!("{python} has no torch and diffusers ({last}); set {PYTHON} to one that has").into())
        }
        Err(error) => {
            Err(format!("cannot run {python} ({error}); set {PYTHON} to a Python with torch").into())
        }
    }
}

fn compare(python: &str, ours: &[(f64, f64)]) -> Result<(), Error> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/denoise_torch.py");
    let output = Command::new(python).arg(script).args(SIDES.map(|side| side.to_string())).output()?;
    if !output.status.success() {
        return Err(format!("{script} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let theirs: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let mut ratios = Vec::new();
    for (side, (ours, shortened)) in SIDES.iter().zip(ours) {
        for interval in INTERVALS {
            let mean = (ours + (interval - 1) as f64 * shortened) / interval as f64;
            ratios.push(format!("{side} px: {:.2}x with deep:{interval}", ours / mean));
        }
        for precision in ["f32", "bf16"] {
            let seconds = theirs["seconds"][side.to_string()][precision].as_f64();
            let seconds = seconds.ok_or(format!("{script} gave no time for {side} px in {precision}"))?;
            println!(
                "{side:>4} px  torch {:<14} {precision:<5} {seconds:>7.3} s",
                theirs["torch"].as_str().unwrap_or("")
            );
            ratios.push(format!("{side} px: {:.2}x torch {precision}", seconds / ours));
        }
    }
    println!("{}", ratios.join("\n"));
    if theirs["bf16_kernels"] == false {
        println!("torch has no bf16 kernels for this processor: its bf16 is slower than its f32");
    }
    Ok(())
}

fn uniform(shape: Shape, seed: u32, scale: f32) -> candle_core::Result<Tensor> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * scale
    };
    let values: Vec<f32> = (0..shape.elem_count()).map(|_| next()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}
