//! The nested cargo: where it builds, what it must not inherit, and what to do when its target is missing.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const TARGET: &str = "wasm32-wasip2";

/// Variables of cargo's that are the user's and not this build's: where packages come from, and how output looks.
const KEPT: &[&str] = &[
    "CARGO_HOME",
    "CARGO_NET",
    "CARGO_HTTP",
    "CARGO_REGISTR",
    "CARGO_SOURCE",
    "CARGO_TERM",
    "CARGO_INSTALL_ROOT",
];

/// What else describes the outer build and would change the guests.
const DROPPED: &[&str] = &[
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "MAKEFLAGS",
    "MFLAGS",
    "OUT_DIR",
    "TARGET",
];

/// Builds every guest and gives names and files.
pub(crate) fn build(
    root: &Path,
    out: &Path,
    guests: &[(&'static str, &str)],
) -> Result<Vec<(&'static str, PathBuf)>, Box<dyn Error>> {
    ensure_target()?;
    let profile = profile();
    let folder = target_folder(out).join("guests");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root)
        .args(["build", "--profile", profile, "--target", TARGET, "--target-dir"])
        .arg(&folder);
    for (name, _) in guests {
        command.args(["--package", name]);
    }
    forget_outer_build(&mut command);
    if !command.status()?.success() {
        return Err(format!("the guests did not build; run this to see why:\n{command:?}").into());
    }
    let file =
        |name: &str| folder.join(TARGET).join(profile).join(format!("{}.wasm", name.replace('-', "_")));
    Ok(guests.iter().map(|(name, _)| (*name, file(name))).collect())
}

/// Small guests for a host that is optimised, guests that are soon built for one that is not.
fn profile() -> &'static str {
    match env::var("OPT_LEVEL").as_deref() {
        Ok("0") => "guest-quick",
        _ => "guest",
    }
}

/// Copies the components beside the list, so that the list stays true until the next run, and writes the list.
pub(crate) fn list(built: &[(&str, PathBuf)], out: &Path) -> Result<String, Box<dyn Error>> {
    let mut text = String::from("pub(crate) const COMPONENTS: &[(&str, &[u8])] = &[\n");
    for (name, file) in built {
        let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let copy = out.join(format!("{name}.wasm"));
        crate::replace(&copy, &bytes)?;
        text.push_str(&format!("    ({name:?}, include_bytes!({copy:?})),\n"));
    }
    Ok(text + "];\n")
}

fn forget_outer_build(command: &mut Command) {
    let is_kept = |name: &str| KEPT.iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        if DROPPED.contains(&name) || (name.starts_with("CARGO") && !is_kept(name)) {
            command.env_remove(name);
        }
    }
}

/// The folder that cargo marks as its target folder, above the script's own.
fn target_folder(out: &Path) -> PathBuf {
    let marked = out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    marked.unwrap_or(out).to_path_buf()
}

/// Looks for the target's standard library, and asks rustup for it when it is not there.
fn ensure_target() -> Result<(), Box<dyn Error>> {
    if has_target() {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    if added.is_ok_and(|status| status.success()) && has_target() {
        return Ok(());
    }
    Err(format!("the compiler has no {TARGET}; add it with `rustup target add {TARGET}`").into())
}

fn has_target() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let folder = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    !folder.trim().is_empty() && Path::new(folder.trim()).is_dir()
}
