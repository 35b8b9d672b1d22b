//! Stable Diffusion 1.5 and XL and FLUX.1 schnell of full size, with random weights: how long they load, what a step at
//! 512 x 512 takes and how much memory the process has at its widest, beside diffusers on torch in the same run. Pictures are
//! held against diffusers' where both compute in f32. The ratios come last; over 1 we are faster, or smaller.
//!
//!     ATELIER_PYTHON=/path/to/python ATELIER_FULL_SIZE_DIR=/big/disk cargo bench -p atelier-engine --bench full_size [NAME]...
//!
//! Makes the models in that folder when they are not there: 2.1, 7.0 and 9.6 GB. Each side runs in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use atelier_engine::{CandleEngine, DeviceChoice, EngineConfig, Extras, ModelFiles, ModelSpec};
use atelier_inference::{Engine, ImageOrder, ImageRequest, Pixels, Size, StepState};
use candle_core::Device;
use serde::{Deserialize, Serialize};

const NAMES: [&str; 3] = ["sd15", "sdxl", "flux"];
const PYTHON: &str = "ATELIER_PYTHON";
const DIR: &str = "ATELIER_FULL_SIZE_DIR";
/// Tells the process that measures one model.
const ONE: &str = "--one";
const SIDE: u32 = 512;
/// What is asked, as in `full_size.py`.
const PROMPT: &str = "a photo of a cat";
/// Of FLUX one step is enough: each takes minutes on a processor.
const STEPS: u32 = 2;
const FLUX_STEPS: u32 = 1;
const GUIDANCE: f64 = 5.0;

type Error = Box<dyn std::error::Error>;

/// What a run took, in seconds and bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Taken {
    load: f64,
    step: f64,
    peak: f64,
    /// What the engine said that model and run would take.
    #[serde(default)]
    said: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let done = match arguments.as_slice() {
        [one, folder] if one == ONE => measure(Path::new(folder)),
        names => compare(names),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("full_size: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(names: &[String]) -> Result<(), Error> {
    let root = std::env::var_os(DIR).map(PathBuf::from);
    let root = root.ok_or(format!("set {DIR} to a folder with room for 19 GB"))?;
    let wanted = |name: &&str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let mut ratios = Vec::new();
    for name in NAMES.into_iter().filter(wanted) {
        let folder = root.join(name);
        if !folder.is_dir() {
            script("make", &root, name)?;
        }
        let theirs: Taken = serde_json::from_str(&script("run", &root, name)?)?;
        let mut own = Command::new(std::env::current_exe()?);
        let ours: Taken = serde_json::from_str(&output(own.arg(ONE).arg(&folder))?)?;
        for (side, taken) in [("atelier", &ours), ("torch", &theirs)] {
            let Taken { load, step, peak, .. } = taken;
            println!(
                "{name:>5} {side:<8} load {load:>7.2} s  step {step:>8.2} s  peak {:>6.2} GB",
                peak / 1e9
            );
        }
        println!("{name:>5} said by the engine: {:.2} GB for the model and its run", ours.said / 1e9);
        let (time, memory) = (theirs.step / ours.step, theirs.peak / ours.peak);
        ratios.push(format!("{name}: a step {time:.2}x, memory {memory:.2}x of torch"));
    }
    println!("{}", ratios.join("\n"));
    Ok(())
}

/// One call of `full_size.py`; its last line.
fn script(verb: &str, root: &Path, name: &str) -> Result<String, Error> {
    let python = std::env::var(PYTHON).unwrap_or_else(|_| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/full_size.py");
    let said = output(Command::new(&python).arg(script).arg(verb).arg(root).arg(name))
        .map_err(|error| format!("{error}; {PYTHON} names a Python with tests/golden/requirements.txt"))?;
    Ok(said.lines().last().unwrap_or_default().to_owned())
}

fn output(command: &mut Command) -> Result<String, Error> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The run of one model, in this process.
fn measure(folder: &Path) -> Result<(), Error> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let spec = ModelSpec {
        id: name.clone(),
        source: "random weights".into(),
        files: ModelFiles::folder(folder),
        description: None,
        extras: Extras::default(),
    };
    let began = Instant::now();
    let mut engine = CandleEngine::new(EngineConfig {
        device: DeviceChoice::Cpu,
        models: vec![spec],
        ..EngineConfig::default()
    })?;
    let info = engine.models().remove(0);
    let is_flux = name == "flux";
    let request = ImageRequest {
        prompt: PROMPT.into(),
        size: Some(Size { width: SIDE, height: SIDE }),
        steps: Some(if is_flux { FLUX_STEPS } else { STEPS }),
        guidance: Some(if is_flux { 0.0 } else { GUIDANCE }),
        schedule: (!is_flux).then(|| "ddim".into()),
        seed: Some(0),
        ..ImageRequest::default()
    };
    let job = ImageOrder::new(request, &info)?;
    let said = (info.card().memory_bytes + engine.estimate()(&job.clone().into())) as f64;
    engine.load(info.id())?;
    let load = began.elapsed().as_secs_f64();
    let (pictures, step) = run(&mut engine, &job)?;
    let peak = peak_bytes()?;
    if !is_flux {
        equals_diffusers(folder, &pictures)?;
    }
    println!("{}", serde_json::to_string(&Taken { load, step, peak, said })?);
    Ok(())
}

/// The pictures, and the fastest step.
fn run(engine: &mut CandleEngine, job: &ImageOrder) -> Result<(Vec<Pixels>, f64), Error> {
    let mut run = engine.begin(&job.clone().into())?;
    let mut fastest = f64::INFINITY;
    loop {
        let began = Instant::now();
        match run.next_step()? {
            StepState::Step { .. } => fastest = fastest.min(began.elapsed().as_secs_f64()),
            StepState::Done(finished) => return Ok((finished.pictures().to_vec(), fastest)),
            StepState::HandOver | StepState::Heard(_) | StepState::Said(_) => {
                return Err("nobody takes over".into());
            }
        }
    }
}

/// Within one of 255, as the smaller pipelines of `tests/golden.rs`.
fn equals_diffusers(folder: &Path, pictures: &[Pixels]) -> Result<(), Error> {
    let tensors = candle_core::safetensors::load(folder.join("golden.safetensors"), &Device::Cpu)?;
    let pixels = tensors.get("t2i/pixels").ok_or("diffusers left no picture")?;
    let theirs = pixels.flatten_all()?.to_vec1::<u8>()?;
    let ours =
        pictures.iter().flat_map(|picture| picture.rgba().chunks_exact(4)).flat_map(|pixel| &pixel[..3]);
    let worst = ours.zip(&theirs).map(|(ours, theirs)| ours.abs_diff(*theirs)).max();
    match worst {
        Some(worst) if worst <= 1 => Ok(()),
        worst => Err(format!("{}: the picture is off by {worst:?} of 255", folder.display()).into()),
    }
}

fn peak_bytes() -> Result<f64, Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: f64 = line.ok_or("the kernel tells no peak")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024.0)
}
