//! A language model of full size (Llama 3.2 1B, random weights) in blocks of four and of eight bits: how many tokens a second
//! it reads and writes, beside llama.cpp in the same run; and how many it writes of four texts side by side, beside one. The
//! ratios come last; over 1 we are faster, or four are done sooner together than one after another.
//!
//!     ATELIER_PYTHON=/path/to/python ATELIER_FULL_SIZE_DIR=/big/disk cargo bench -p atelier-engine --bench converse [KIND]...
//!
//! Makes the models in that folder when they are not there: 0.9 and 1.3 GB. The Python needs gguf, numpy and
//! llama-cpp-python, which is compiled for this processor when it is installed; without them this says so and fails.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use atelier_engine::ModelFiles;
use atelier_engine::models::llama::{LlamaNetwork, Text, likeliest};
use candle_core::Device;
use serde::Deserialize;

const KINDS: [&str; 2] = ["q4_k", "q8_0"];
const PYTHON: &str = "ATELIER_PYTHON";
const DIR: &str = "ATELIER_FULL_SIZE_DIR";
/// Tokens that are read at once, and written one after another, as in `converse.py`.
const READ: usize = 512;
const WRITTEN: usize = 64;
/// Texts side by side, as many as the manifest's default lets there be.
const TOGETHER: usize = 4;

type Error = Box<dyn std::error::Error>;

/// Seconds.
#[derive(Debug, Deserialize)]
struct Taken {
    read: f64,
    write: f64,
}

fn main() -> ExitCode {
    let kinds: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match compare(&kinds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("converse: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(kinds: &[String]) -> Result<(), Error> {
    let root = std::env::var_os(DIR).map(PathBuf::from);
    let root = root.ok_or(format!("set {DIR} to a folder with room for 2.2 GB"))?;
    let wanted = |kind: &&str| kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind);
    let mut ratios = Vec::new();
    for kind in KINDS.into_iter().filter(wanted) {
        let file = root.join(format!("llama-1b-{kind}.gguf"));
        if !file.is_file() {
            script("make", &file, kind)?;
        }
        let theirs: Taken = serde_json::from_str(&script("run", &file, kind)?)?;
        let (ours, together) = measure(&file)?;
        for (side, Taken { read, write }) in [("atelier", &ours), ("llama.cpp", &theirs)] {
            let (read, write) = (READ as f64 / read, WRITTEN as f64 / write);
            println!("{kind} {side:<10} reads {read:>7.1} tokens/s  writes {write:>6.1} tokens/s");
        }
        let all = (TOGETHER * WRITTEN) as f64 / together;
        println!("{kind} {TOGETHER} texts    write {all:>6.1} tokens/s in sum");
        let (read, write) = (theirs.read / ours.read, theirs.write / ours.write);
        let together = TOGETHER as f64 * ours.write / together;
        ratios.push(format!("{kind}: reading {read:.2}x, writing {write:.2}x of llama.cpp"));
        ratios.push(format!("{kind}: {TOGETHER} texts at once {together:.2}x of one, in sum"));
    }
    println!("{}", ratios.join("\n"));
    Ok(())
}

/// One call of `converse.py`; its last line.
fn script(verb: &str, file: &Path, kind: &str) -> Result<String, Error> {
    let python = std::env::var(PYTHON).unwrap_or_else(|_| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/converse.py");
    let output = Command::new(&python).arg(script).arg(verb).arg(file).arg(kind).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{python} {script} {verb}: {said}\n{PYTHON} names the Python to use").into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().last().unwrap_or_default().to_owned())
}

/// What one text takes, and what writing several at once does, in seconds.
fn measure(file: &Path) -> Result<(Taken, f64), Error> {
    let network = LlamaNetwork::open(&ModelFiles::single_file(file, None), &Device::Cpu)?;
    let tokens: Vec<u32> = (0..READ + WRITTEN).map(|index| (7 + 31 * index % 1000) as u32).collect();
    // warms up
    network.logits(&network.extend(&mut network.text(READ)?, &tokens[..READ])?)?;
    let mut text = network.text(READ + WRITTEN)?;
    let began = Instant::now();
    likeliest(&network.logits(&network.extend(&mut text, &tokens[..READ])?)?)?;
    let read = began.elapsed().as_secs_f64();
    let began = Instant::now();
    for token in &tokens[READ..] {
        // the token that a reply would go on with is found, as in earnest
        likeliest(&network.logits(&network.extend(&mut text, &[*token])?)?)?;
    }
    let write = began.elapsed().as_secs_f64();
    Ok((Taken { read, write }, measure_together(&network, &tokens)?))
}

/// Texts that begin with what one of them read, and write by themselves.
fn measure_together(network: &LlamaNetwork, tokens: &[u32]) -> Result<f64, Error> {
    let mut first = network.text(READ)?;
    network.extend(&mut first, &tokens[..READ])?;
    let beginning = first.beginning(READ)?;
    let begin = |_| -> Result<Text, Error> {
        let mut text = network.text(READ + WRITTEN)?;
        text.begin_with(&beginning, READ)?;
        Ok(text)
    };
    let mut texts = (0..TOGETHER).map(begin).collect::<Result<Vec<_>, _>>()?;
    let mut texts: Vec<&mut Text> = texts.iter_mut().collect();
    let began = Instant::now();
    for token in &tokens[READ..] {
        let logits = network.extend_each(&mut texts, &[*token; TOGETHER])?;
        for row in 0..TOGETHER {
            likeliest(&logits.narrow(0, row, 1)?)?;
        }
    }
    Ok(began.elapsed().as_secs_f64())
}
