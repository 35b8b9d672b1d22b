//! Lists the files of every folder under `models/`, whatever is there.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The list of models and their files as Rust.
pub(crate) fn list(folder: &Path) -> Result<String, Box<dyn Error>> {
    let mut text = String::from("pub(crate) const MODELS: &[(&str, crate::ModelFiles)] = &[\n");
    for model in visible(folder)?.into_iter().filter(|path| path.is_dir()) {
        text.push_str(&format!("    ({:?}, &[\n", name(&model)));
        for file in files(&model)? {
            let path = file.strip_prefix(&model)?.to_string_lossy().replace('\\', "/");
            text.push_str(&format!("        ({path:?}, include_bytes!({file:?})),\n"));
        }
        text.push_str("    ]),\n");
    }
    Ok(text + "];\n")
}

/// Every file below a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for path in visible(folder)? {
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

fn visible(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| !name(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
