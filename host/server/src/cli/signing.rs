//! `atelier component key new`, `sign` and `verify`: what whoever builds components does with them before a host that wants
//! signatures takes them. Never prints a secret key, and never writes over one.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::json;

use super::{Common, Usage};
use crate::config::{Signing, SigningKey};
use crate::signing::{self, PublicKey, SecretKey, signature_of};
use crate::terminal::{Style, Terminal};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Keys that sign components.
    #[command(subcommand)]
    Key(KeyVerb),
    /// Sign a component: writes FILE.sig beside it.
    Sign {
        /// The component.
        file: PathBuf,
        /// The key, in PKCS #8 PEM form.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check a component's signature against the manifest's keys.
    Verify {
        /// The component.
        file: PathBuf,
        /// A public key to check against, instead of the manifest's.
        #[arg(long, value_name = "KEY")]
        public_key: Option<PublicKey>,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum KeyVerb {
    /// Make a key.
    New {
        /// What messages call the key.
        #[arg(long, default_value = "signing-key")]
        name: String,
        /// Where the key is kept; NAME.pem when left out.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Key(KeyVerb::New { name, out, json }) => new_key(&Terminal::of_process(json), &name, out),
        Verb::Sign { file, key, json } => sign(&Terminal::of_process(json), &file, &key),
        Verb::Verify { file, public_key, common } => verify(&file, public_key, &common),
    }
}

fn new_key(terminal: &Terminal, name: &str, out: Option<PathBuf>) -> anyhow::Result<()> {
    if !crate::config::is_name(name) {
        let text = format!("--name wants up to 64 letters, digits, `-`, `_` and `.`, not `{name}`");
        return Err(Usage(text).into());
    }
    let path = out.unwrap_or_else(|| format!("{name}.pem").into());
    let (key, pem) = SecretKey::generate()?;
    write_secret(&path, &pem).with_context(|| path.display().to_string())?;
    let line = format!("{{ name = \"{name}\", public-key = \"{}\" }}", key.public());
    if terminal.json {
        terminal.json(&json!({ "key": path, "public_key": key.public(), "manifest": line }));
        return Ok(());
    }
    terminal.field("key", path.display());
    terminal.field("", terminal.paint(Style::Faint, "keep it secret: whoever has it signs in your name"));
    terminal.field("manifest", line);
    terminal.field("", terminal.paint(Style::Faint, "goes into `keys` of [signing]"));
    Ok(())
}

/// A file that only its owner reads, where there was none.
fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

fn sign(terminal: &Terminal, file: &Path, key: &Path) -> anyhow::Result<()> {
    let pem = std::fs::read(key).with_context(|| key.display().to_string())?;
    let secret = SecretKey::from_pem(&pem).with_context(|| key.display().to_string())?;
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    // what no host could load needs no signature: most likely another file was meant
    atelier_runtime::inspect(&bytes).with_context(|| file.display().to_string())?;
    let signature = signature_of(file);
    std::fs::write(&signature, secret.sign(&bytes)).with_context(|| signature.display().to_string())?;
    if terminal.json {
        terminal.json(&json!({ "signature": signature, "public_key": secret.public() }));
        return Ok(());
    }
    terminal.field("signature", signature.display());
    terminal.field("public key", secret.public());
    Ok(())
}

fn verify(file: &Path, public_key: Option<PublicKey>, common: &Common) -> anyhow::Result<()> {
    let keys = match public_key {
        Some(public_key) => vec![SigningKey { name: "--public-key".into(), public_key }],
        None => {
            let config = common.load()?;
            if config.signing.keys.is_empty() {
                bail!("{} has no signing.keys; add them, or give --public-key", config.manifest);
            }
            config.signing.keys
        }
    };
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let signing = Signing { required: true, keys };
    let by = signing::check_file(&signing, file, &bytes).with_context(|| file.display().to_string())?;
    let by = by.unwrap_or_default();
    let terminal = common.terminal();
    if terminal.json {
        terminal.json(&json!({ "file": file, "signed_by": by }));
        return Ok(());
    }
    terminal.line(format_args!("{} was signed by `{by}`", terminal.paint(Style::Good, file.display())));
    Ok(())
}
