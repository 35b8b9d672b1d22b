//! Builds the first-party guests for wasm32-wasip2 and writes the list of everything that is embedded.
//!
//! The guests are built by a nested cargo in a target folder of its own, `<target>/guests`, so that it never waits for
//! the lock of the cargo that runs this script. Nothing here decides what a guest is: `GUESTS` does.

#![expect(clippy::print_stdout, reason = "a build script speaks to cargo on its standard output")]

mod guests;
mod models;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Name, package folder. One namespace for components and plugins.
const GUESTS: &[(&str, &str)] = &[
    ("prompt-assist", "components/prompt-assist"),
    ("voice", "components/voice"),
    ("chat-server", "components/chat-server"),
    ("speech-saas", "components/speech-saas"),
    ("generation-server", "components/generation-server"),
    ("voice-studio", "components/voice-studio"),
    ("media", "components/media"),
    ("intent-language", "plugins/intent-language"),
    ("style-illustrator", "plugins/style-illustrator"),
    ("style-enhance", "plugins/style-enhance"),
    ("select-capable", "plugins/select-capable"),
    ("finish-fit", "plugins/finish-fit"),
    ("provider-openai", "plugins/provider-openai"),
    ("provider-ollama", "plugins/provider-ollama"),
    ("provider-gemini", "plugins/provider-gemini"),
];

/// What else the guests are made of.
const SHARED: &[&str] =
    &["components/kit", "plugins/kit", "plugins/provider-kit", "wit", "Cargo.lock", "Cargo.toml"];

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let root = here.join("../..").canonicalize()?;
    for path in GUESTS.iter().map(|(_, folder)| *folder).chain(SHARED.iter().copied()) {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo::rerun-if-changed={}", here.join("models").display());
    let built = guests::build(&root, &out, GUESTS)?;
    let list = [guests::list(&built, &out)?, models::list(&here.join("models"))?].concat();
    replace(&out.join("embedded.rs"), list.as_bytes())
}

/// Writes a file unless it already has the content, so that nothing is compiled again for nothing.
fn replace(path: &Path, content: &[u8]) -> Result<(), Box<dyn Error>> {
    if fs::read(path).is_ok_and(|known| known == content) {
        return Ok(());
    }
    Ok(fs::write(path, content)?)
}
