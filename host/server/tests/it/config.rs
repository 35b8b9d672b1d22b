//! Manifests and what is said about them, word by word. Each file of `config/valid` loads and prints as its `.out`; each
//! of `config/invalid` is refused with its `.err`. Lines `# variable NAME=value` stand for the process's environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use atelier::config::{Builtins, Config, ConfigError, Variables};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

fn builtins() -> Builtins {
    Builtins {
        components: vec!["prompt-assist", "style-illustrator"],
        models: vec!["atelier-nano"],
        manifest: "",
    }
}

fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = fs::read_to_string(path).unwrap();
    let variable = |line: &str| {
        let (name, value) = line.strip_prefix("# variable ")?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    let overrides: BTreeMap<String, String> = text.lines().filter_map(variable).collect();
    let variables = Variables { overrides, cache_dir: Some("cache".into()), ..Variables::default() };
    let shown = path.file_name().unwrap().to_string_lossy();
    // relative on purpose: the expected texts must not know where the repository is
    Config::parse(&text, &shown, Path::new("tests/config/files"), &variables, &builtins())
}

/// Every manifest of a folder with what it gives, against the file of the same name that ends in `suffix`.
fn check(kind: &str, suffix: &str, give: impl Fn(&Path) -> String) {
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(folder().join(kind)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let (given, expected) = (give(&path), path.with_extension(suffix));
        if std::env::var_os("ATELIER_BLESS").is_some() {
            fs::write(&expected, &given).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(given, expected, "{}; set ATELIER_BLESS=1 to take it over", path.display());
        seen += 1;
    }
    assert!(seen > 0, "no manifests in {kind}");
}

#[test]
fn a_valid_manifest_loads_and_prints_itself_with_its_defaults_and_without_its_secrets() {
    check("valid", "out", |path| load(path).unwrap().to_toml().unwrap());
}

#[test]
fn every_problem_of_an_invalid_manifest_is_named_with_its_line_its_key_and_the_fix() {
    check("invalid", "err", |path| format!("{}\n", load(path).unwrap_err()));
}

#[test]
fn what_is_printed_loads_again_as_the_same_configuration() {
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    for name in ["valid/whole.toml", "valid/providers.toml"] {
        let first = load(&folder().join(name)).unwrap();
        let printed = first.to_toml().unwrap();
        let variables = Variables::default();
        let second = Config::parse(&printed, "printed", Path::new(""), &variables, &builtins()).unwrap();
        let unmasked = |mut config: Config| {
            config.routes.iter_mut().for_each(|route| route.config.clear());
            config.providers.iter_mut().for_each(|provider| provider.config.clear());
            config
        };
        assert_eq!(unmasked(first), unmasked(second), "{name}");
    }
}

#[test]
fn a_component_gets_the_variables_that_its_route_names_and_no_others() {
    let first = load(&folder().join("valid/whole.toml")).unwrap();
    let process = ["REDIS_HOST=cache", "REDIS=no", "HOME=/root", "TASK_TTL=60", "style=from outside"];
    let process = process.iter().map(|pair| pair.split_once('=').unwrap()).map(|(a, b)| (a.into(), b.into()));
    let given = first.routes[0].component_config(process);
    let names: Vec<&str> = given.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["REDIS_HOST", "TASK_TTL", "api-key", "rounds", "style"]);
    assert!(given.contains(&("style".into(), "calm".into())), "the manifest's own value wins: {given:?}");
}
