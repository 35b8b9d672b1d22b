//! The shape of the repository, checked: the top level, the arrows between crates, the size of files and functions, and
//! that every folder that people open says what it is for. Reads text only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const TOP_LEVEL: [&str; 8] =
    ["Cargo.toml", "Cargo.lock", "README.md", "host", "components", "wit", "plugins", "examples"];
const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 70;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// Files of the repository below `folder` whose name ends in `suffix`, build output left out.
fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir()
            && !name.starts_with('.')
            && !["target", "node_modules", "deps"].contains(&name.as_str())
        {
            found.extend(files(&path, suffix));
        } else if path.is_file() && name.ends_with(suffix) {
            found.push(path);
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn assert_none(what: &str, problems: Vec<String>) {
    assert!(problems.is_empty(), "{what}:\n  {}", problems.join("\n  "));
}

/// Length of every function of a rustfmt-formatted file: from its `fn` line to the closing brace at the same indent.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let is_fn = code.split_whitespace().take(6).any(|word| word == "fn") && !code.starts_with("//");
        if !is_fn || code.contains("= fn") {
            continue;
        }
        let close = format!("{}}}", &line[..line.len() - code.len()]);
        let one_line = code.ends_with('}') || code.ends_with(';');
        let body =
            lines[start..].iter().position(|line| *line == close || line.ends_with(';') && *line == code);
        if let (false, Some(length)) = (one_line, body) {
            found.push((code.to_string(), length + 1));
        }
    }
    found
}

#[test]
fn the_top_level_is_exact() {
    let allowed: BTreeSet<&str> = TOP_LEVEL.into();
    let names = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // what builds and the README's commands leave there; git ignores it as well
    let is_left = |name: &str| name == "target" || name.ends_with(".png");
    let extra =
        names.filter(|name| !name.starts_with('.') && !is_left(name) && !allowed.contains(name.as_str()));
    assert_none("not allowed at the top level", extra.collect());
}

#[test]
fn only_the_crate_that_owns_a_foreign_world_depends_on_it() {
    let owners: [(&str, &[&str]); 8] = [
        ("candle", &["host/engine"]),
        ("wasmtime", &["host/runtime"]),
        ("wit-bindgen", &["components/", "plugins/", "examples/", "host/runtime/tests"]),
        ("redb", &["host/store"]),
        ("redis", &["host/store"]),
        ("object_store", &["host/store"]),
        ("hf-hub", &["host/server"]),
        ("atelier-engine", &["host/engine", "host/server"]),
    ];
    let mut problems = Vec::new();
    for path in files(&root(), "Cargo.toml").into_iter().filter(|path| *path != root().join("Cargo.toml")) {
        let place = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        for line in read(&path).lines() {
            let name = line.split([' ', '=', '.']).next().unwrap_or_default();
            for (world, allowed) in &owners {
                if name.starts_with(world) && !allowed.iter().any(|owner| place.starts_with(owner)) {
                    problems.push(format!("{place} depends on {name}"));
                }
            }
        }
    }
    assert_none("arrows that the architecture forbids", problems);
}

#[test]
fn guests_never_depend_on_host_crates() {
    let guests = ["components", "plugins"].map(|folder| files(&root().join(folder), "Cargo.toml")).concat();
    let host = |line: &str| line.starts_with("atelier-") && !line.starts_with("atelier-kit");
    let bad = guests.iter().filter(|path| read(path).lines().any(host));
    assert_none("guests that depend on the host", bad.map(|path| path.display().to_string()).collect());
}

#[test]
fn only_the_composition_root_names_engine_and_bundle() {
    let source = files(&root().join("host/server/src"), ".rs");
    let others = source.iter().filter(|path| !path.ends_with("app.rs"));
    let bad = others
        .filter(|path| ["atelier_engine", "atelier_bundle"].iter().any(|name| read(path).contains(name)));
    assert_none(
        "files besides app.rs that name engine or bundle",
        bad.map(|path| path.display().to_string()).collect(),
    );
}

#[test]
fn files_and_functions_stay_within_their_limits() {
    let mut problems = Vec::new();
    let mut lengths = Vec::new();
    for path in files(&root(), ".rs") {
        let text = read(&path);
        let lines = text.lines().count();
        if lines > MAX_FILE_LINES {
            problems.push(format!("{} has {lines} lines", path.display()));
        }
        for (name, length) in functions(&text) {
            lengths.push(length);
            if length > MAX_FUNCTION_LINES {
                problems.push(format!("{}: {name} has {length} lines", path.display()));
            }
        }
    }
    assert_none("too long", problems);
    lengths.sort_unstable();
    let at = |share: f64| lengths[((lengths.len() - 1) as f64 * share) as usize];
    println!("{} functions: median {} lines, 90 % within {}", lengths.len(), at(0.5), at(0.9));
    assert!(at(0.5) <= 10 && at(0.9) <= 35, "functions grew: median {}, 90 % within {}", at(0.5), at(0.9));
}

#[test]
fn every_module_says_what_it_owns() {
    let sources = ["host", "components", "plugins"].map(|folder| files(&root().join(folder), ".rs")).concat();
    let bad = sources.iter().filter(|path| !read(path).starts_with("//!"));
    assert_none("no //! header", bad.map(|path| path.display().to_string()).collect());
}

#[test]
fn every_component_plugin_and_example_has_a_readme() {
    let folders = ["components", "plugins", "examples"].map(|name| fs::read_dir(root().join(name)).unwrap());
    let folders =
        folders.into_iter().flatten().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let bad = folders.filter(|path| !path.join("README.md").is_file());
    assert_none("no README.md", bad.map(|path| path.display().to_string()).collect());
}

#[test]
fn every_wit_item_is_documented() {
    let mut problems = Vec::new();
    for path in fs::read_dir(root().join("wit")).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|extension| extension != "wit") {
            continue;
        }
        let text = read(&path);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate().skip(1) {
            let names_something =
                line.ends_with('{') || line.contains(": func") || line.contains(": async func");
            let documented = lines[index - 1].starts_with("///");
            if names_something && !line.starts_with("use ") && !line.starts_with("//") && !documented {
                problems.push(format!("{}:{}: {line}", path.display(), index + 1));
            }
        }
    }
    assert_none("no /// above", problems);
}
