//! A Whisper in the shape of large-v3-turbo with random weights: how long it takes to hear a window of 30 s, and to write 100
//! tokens after it, beside CTranslate2, the engine of faster-whisper, in the same run. The ratios come last; over 1 we are faster.
//!
//!     ATELIER_PYTHON=/path/to/python ATELIER_FULL_SIZE_DIR=/big/disk cargo bench -p atelier-engine --bench transcribe
//!
//! Makes the model in that folder when it is not there: 1.6 GB in each side's form. The Python needs torch, transformers and
//! faster-whisper; without them this says so and fails.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use atelier_engine::ModelFiles;
use atelier_engine::models::llama::likeliest;
use atelier_engine::models::whisper::WhisperNetwork;
use candle_core::{Device, Tensor};
use serde::Deserialize;

/// What the peer multiplies.
const KINDS: [&str; 2] = ["f32", "int8"];
const PYTHON: &str = "ATELIER_PYTHON";
const DIR: &str = "ATELIER_FULL_SIZE_DIR";
/// Tokens that are written, as in `transcribe.py`.
const TOKENS: usize = 100;
/// The beginning of a transcription without times.
const PROMPT: [u32; 4] = [50_258, 50_259, 50_360, 50_364];
const SECONDS: f64 = 30.0;

type Error = Box<dyn std::error::Error>;

/// Seconds.
#[derive(Debug, Deserialize)]
struct Taken {
    hear: f64,
    write: f64,
}

impl Taken {
    fn whole(&self) -> f64 {
        self.hear + self.write
    }
}

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("transcribe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(), Error> {
    let root = std::env::var_os(DIR).map(PathBuf::from);
    let folder = root.ok_or(format!("set {DIR} to a folder with room for 3.3 GB"))?.join("whisper-turbo");
    if !folder.is_dir() {
        script(&["make"], &folder)?;
    }
    // first, so that a missing peer is known before the long part
    let theirs =
        KINDS.iter().map(|kind| Ok((*kind, serde_json::from_str(&script(&["run", kind], &folder)?)?)));
    let theirs = theirs.collect::<Result<Vec<(&str, Taken)>, Error>>()?;
    let ours = measure(&folder)?;
    show("atelier f32", &ours);
    let mut ratios = Vec::new();
    for (kind, taken) in &theirs {
        show(&format!("faster-whisper {kind}"), taken);
        let (hear, write) = (taken.hear / ours.hear, taken.write / ours.write);
        let whole = taken.whole() / ours.whole();
        ratios.push(format!(
            "{kind}: hearing {hear:.2}x, writing {write:.2}x, both {whole:.2}x of faster-whisper"
        ));
    }
    println!("{}", ratios.join("\n"));
    Ok(())
}

fn show(side: &str, taken: &Taken) {
    let Taken { hear, write } = taken;
    let times = SECONDS / taken.whole();
    println!(
        "{side:<20} hears in {hear:>6.2} s  writes in {write:>6.2} s  {times:>6.2} times as fast as speech"
    );
}

/// One call of `transcribe.py`; its last line.
fn script(verb: &[&str], folder: &Path) -> Result<String, Error> {
    let python = std::env::var(PYTHON).unwrap_or_else(|_| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/transcribe.py");
    let output = Command::new(&python).arg(script).arg(verb[0]).arg(folder).args(&verb[1..]).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{python} {script} {}: {said}\n{PYTHON} names the Python to use", verb[0]).into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().last().unwrap_or_default().to_owned())
}

fn measure(folder: &Path) -> Result<Taken, Error> {
    let network = WhisperNetwork::open(&ModelFiles::folder(folder), &Device::Cpu)?;
    let (frames, bands) = (network.config().frames(), network.config().num_mel_bins);
    let window = Tensor::randn(0f32, 1.0, (1, frames, bands), &Device::Cpu)?;
    once(&network, &window)?;
    once(&network, &window)
}

fn once(network: &WhisperNetwork, window: &Tensor) -> Result<Taken, Error> {
    let began = Instant::now();
    let heard = network.hear(&network.encode(window)?)?;
    let hear = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut texts = network.texts(1)?;
    let states = network.extend(&mut texts, &[&PROMPT], &heard)?;
    let mut token = likeliest(&network.logits(&states.narrow(1, PROMPT.len() - 1, 1)?)?)?;
    for _ in 1..TOKENS {
        let states = network.extend(&mut texts, &[&[token]], &heard)?;
        token = likeliest(&network.logits(&states)?)?;
    }
    Ok(Taken { hear, write: began.elapsed().as_secs_f64() })
}
