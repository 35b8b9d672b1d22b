//! One denoise step with classifier-free guidance (batch 2) of a Stable Diffusion 1.5 denoiser with random weights, on
//! the CPU, in f32 and, where the processor has it, in bf16, beside the same steps in diffusers on torch in the same run, and
//! a step that takes over what lies below the first skip (DeepCache, branch 0). The ratios come last; over 1 we are faster.
//!
//!     ATELIER_PYTHON=/path/to/python cargo bench -p atelier-engine --bench denoise
//!
//! Needs a Python with torch and diffusers (`tests/golden/requirements.txt`); without one it says so and fails. On a machine
//! that does other work meanwhile, ATELIER_CLOCK=cpu measures both sides in CPU time for each thread.

use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::time::Instant;

use atelier_engine::ModelFiles;
use atelier_engine::kernels::have_bf16;
use atelier_engine::models::unet::{Deep, Input, UNet, UNetConfig};
use atelier_engine::weights::Builder;
use atelier_inference::Precision;
use candle_core::{Device, Shape, Tensor};

const CONFIG: &[u8] = br#"{"cross_attention_dim": 768, "sample_size": 64}"#;
const FILES: &[(&str, &[u8])] = &[("unet/config.json", CONFIG)];
const SIDES: [usize; 2] = [256, 512];
const RUNS: usize = 3;
const INTERVALS: [usize; 2] = [2, 3];
const PYTHON: &str = "ATELIER_PYTHON";
const CLOCK: &str = "ATELIER_CLOCK";

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
    let mut ours = Vec::new();
    for precision in [Some(Precision::F32), have_bf16().then_some(Precision::Bf16)].into_iter().flatten() {
        let weights = Builder::from_fn(&Device::Cpu, random).in_precision(precision);
        let unet = UNet::load(&config, weights)?;
        for side in SIDES {
            ours.push(measure(&unet, side, precision)?);
        }
    }
    if !have_bf16() {
        println!("this processor has no AVX512-BF16: no bf16 of ours");
    }
    compare(&peer, &ours)
}

/// Seconds of ours.
struct Ours {
    side: usize,
    precision: Precision,
    whole: f64,
    shortened: f64,
}

fn measure(unet: &UNet, side: usize, precision: Precision) -> Result<Ours, Error> {
    // the first run warms up, and is the whole pass that the shortened ones take over from
    let mut deep = Deep::new(usize::MAX, 0);
    step(unet, side, Some(&mut deep))?;
    let whole = best_of(|| step(unet, side, None))?;
    println!("{side:>4} px  atelier              {precision:<5} {whole:>7.3} s");
    let shortened = best_of(|| step(unet, side, Some(&mut deep)))?;
    println!("{side:>4} px  atelier, shortened   {precision:<5} {shortened:>7.3} s");
    Ok(Ours { side, precision, whole, shortened })
}

fn best_of(mut step: impl FnMut() -> Result<f64, Error>) -> Result<f64, Error> {
    let times = (0..RUNS).map(|_| step()).collect::<Result<Vec<_>, _>>()?;
    Ok(times.into_iter().fold(f64::INFINITY, f64::min))
}

fn step(unet: &UNet, side: usize, deep: Option<&mut Deep>) -> Result<f64, Error> {
    let latents = uniform((2, 4, side / 8, side / 8).into(), 1, 1.0)?;
    let context = uniform((2, 77, 768).into(), 2, 1.0)?;
    let timesteps = Tensor::full(500f32, 2, &Device::Cpu)?;
    let began = now()?;
    let input = Input { x: &latents, timesteps: &timesteps, context: &context, guidance: None, added: None };
    unet.forward_with(&input, None, deep)?;
    Ok(now()? - began)
}

/// Seconds by the clock on the wall since the first call, or those that each thread was given of the CPU.
fn now() -> Result<f64, Error> {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    if std::env::var_os(CLOCK).is_none_or(|clock| clock != "cpu") {
        return Ok(BEGAN.get_or_init(Instant::now).elapsed().as_secs_f64());
    }
    let text = std::fs::read_to_string("/proc/self/stat")?;
    // behind the program's name, which may hold anything: of the user, and of the system for it, in hundredths
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks = fields.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0 / rayon::current_num_threads() as f64)
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

fn compare(python: &str, ours: &[Ours]) -> Result<(), Error> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/denoise_torch.py");
    let output = Command::new(python).arg(script).args(SIDES.map(|side| side.to_string())).output()?;
    if !output.status.success() {
        return Err(format!("{script} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let theirs: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let mut ratios = Vec::new();
    for Ours { side, precision, whole, shortened } in ours {
        for interval in INTERVALS {
            let mean = (whole + (interval - 1) as f64 * shortened) / interval as f64;
            ratios.push(format!("{side} px in {precision}: {:.2}x with deep:{interval}", whole / mean));
        }
        for other in ["f32", "bf16"] {
            let seconds = theirs["seconds"][side.to_string()][other].as_f64();
            let seconds = seconds.ok_or(format!("{script} gave no time for {side} px in {other}"))?;
            if *precision == Precision::F32 {
                let torch = theirs["torch"].as_str().unwrap_or_default();
                println!("{side:>4} px  torch {torch:<14} {other:<5} {seconds:>7.3} s");
            }
            ratios.push(format!("{side} px in {precision}: {:.2}x torch {other}", seconds / whole));
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
