//! The binary as people and scripts use it: output, errors, exit codes.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use atelier::catalog;

use crate::catalog::standin;
use crate::client::get;
use crate::house::{folder, handler, manifest, route};
use crate::hub::{Standin, TOKEN};

/// The binary in a folder, with none of the tester's own environment that it would read.
pub(crate) fn atelier(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atelier"));
    let own = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("ATELIER") || name.starts_with("HF_")
    });
    own.for_each(|name| {
        command.env_remove(name);
    });
    command.current_dir(folder).env("HF_HOME", folder.join("hf")).env("HOME", folder);
    command
}

pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    atelier(folder).args(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

pub(crate) fn with_manifest(text: &str) -> TempDir {
    let folder = folder();
    std::fs::write(folder.path().join("atelier.toml"), text).unwrap();
    folder
}

#[test]
fn a_valid_configuration_is_checked_and_printed() {
    let folder = with_manifest(&manifest("", &route("a", "/a", "config = { api-key = \"hidden\" }")));
    let checked = run(folder.path(), &["config"]);
    assert!(checked.status.success());
    assert_eq!(text(&checked.stdout), "atelier.toml is valid (routes: 1, models: 1)\n");
    let printed = run(folder.path(), &["config", "--print"]);
    let printed = text(&printed.stdout);
    assert!(printed.contains("api-key = \"********\"") && !printed.contains("hidden"), "{printed}");
    let json = run(folder.path(), &["config", "--print", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["route"][0]["component"], "a.wasm");
}

#[test]
fn a_wrong_configuration_or_argument_ends_with_2_and_one_line_per_problem() {
    let folder = with_manifest("[server]\nlissten = \"x\"\nmax-connections = \"many\"\n");
    let output = run(folder.path(), &["config"]);
    assert_eq!(output.status.code(), Some(2));
    let errors: Vec<&str> = text(&output.stderr).lines().collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(errors[0], "error: atelier.toml:2: server.lissten: unknown key; did you mean `listen`?");
    assert_eq!(run(folder.path(), &["dance"]).status.code(), Some(2));
    let nowhere = run(folder.path(), &["config", "--config", "nowhere.toml"]);
    assert_eq!(nowhere.status.code(), Some(2));
    let error = text(&nowhere.stderr);
    assert!(error.starts_with("error: nowhere.toml: cannot be read: "), "{error}");
}

#[test]
fn a_variable_overrides_and_the_environment_names_the_manifest() {
    let folder = with_manifest("");
    std::fs::write(folder.path().join("other.toml"), "[engine]\nqueue-depth = 5\n").unwrap();
    let output = atelier(folder.path())
        .args(["config", "--print"])
        .env("ATELIER_CONFIG", "other.toml")
        .env("ATELIER__SERVER__LISTEN", "127.0.0.1:7777")
        .output()
        .unwrap();
    let printed = text(&output.stdout);
    assert!(
        printed.contains("listen = \"127.0.0.1:7777\"") && printed.contains("queue-depth = 5"),
        "{printed}"
    );
}

#[test]
fn without_any_file_the_embedded_manifest_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["config"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("the embedded default is valid"));
}

#[test]
fn a_route_is_told_without_serving() {
    let folder = with_manifest(&manifest("", &route("a", "/a", "methods = [\"GET\"]")));
    let found = run(folder.path(), &["route", "GET", "/a/b"]);
    assert_eq!(text(&found.stdout), "a (/a): a.wasm\n");
    let other = run(folder.path(), &["route", "POST", "/a"]);
    assert_eq!((other.status.code(), text(&other.stderr)), (Some(1), "error: /a takes GET, not POST\n"));
    assert_eq!(run(folder.path(), &["route", "GET", "/b"]).status.code(), Some(1));
}

#[test]
fn a_component_and_a_picture_are_told_apart_by_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x"), handler()).unwrap();
    let output = run(folder.path(), &["inspect", "x", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["kind"], "handler-p3");
    assert!(
        json["imports"]
            .as_array()
            .unwrap()
            .iter()
            .any(|name| name.as_str().unwrap().starts_with("atelier:host/"))
    );
    let builtin = run(folder.path(), &["inspect", "builtin:prompt-assist"]);
    assert!(text(&builtin.stdout).starts_with("builtin:prompt-assist is a request handler (wasi:http 0.3)"));
    std::fs::write(folder.path().join("y"), "text").unwrap();
    assert_eq!(run(folder.path(), &["inspect", "y"]).status.code(), Some(2));
}

#[test]
fn a_component_is_called_what_it_is_and_which_version_it_was_built_for() {
    let folder = tempfile::tempdir().unwrap();
    let shown = |export: &str| {
        let wat = format!(r#"(component (instance $a) (export "{export}" (instance $a)))"#);
        std::fs::write(folder.path().join("z"), wat::parse_str(wat).unwrap()).unwrap();
        text(&run(folder.path(), &["inspect", "z"]).stdout).to_owned()
    };
    let own = shown("atelier:host/intent@0.1.0");
    assert!(own.starts_with("z is an intent plugin") && !own.contains("built for"), "{own}");
    let other = shown("atelier:host/intent@0.2.0");
    assert!(other.starts_with("z is a component of unknown kind"), "{other}");
    assert!(other.contains("atelier:host 0.2.0; this host has 0.1.0"), "{other}");
}

#[test]
fn models_that_are_not_here_name_the_command_that_brings_them() {
    let models = "[[model]]\nid = \"big\"\nsource = \"hub:owner/tiny\"\n";
    let folder = with_manifest(&manifest("", models));
    let output = run(folder.path(), &["models", "list"]);
    let listed = text(&output.stdout);
    assert!(listed.contains("not here: run `atelier models pull big`"), "{listed}{}", text(&output.stderr));
    assert!(!listed.contains('\x1b'), "no colour into a pipe");
    let asked = run(folder.path(), &["generate", "a boat", "--model", "big"]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(text(&asked.stderr).contains("atelier models pull big"), "{}", text(&asked.stderr));
}

#[test]
fn a_single_file_is_listed_with_what_is_wrong_with_it_and_written_only_where_nothing_is_lost() {
    let models = "[[model]]\nid = \"one\"\nsource = \"one.safetensors\"\n\
                  [[model]]\nid = \"nano\"\nsource = \"builtin:atelier-nano\"\n";
    let folder = folder();
    std::fs::write(folder.path().join("one.safetensors"), b"\x02\0\0\0\0\0\0\0{}").unwrap();
    std::fs::write(folder.path().join("atelier.toml"), manifest("", models)).unwrap();
    let listed = run(folder.path(), &["models", "list"]);
    let why = "one.safetensors: no tensor below `model.diffusion_model.`";
    assert!(text(&listed.stdout).contains(why), "{}", text(&listed.stdout));
    let export = |id: &str, file: &str| run(folder.path(), &["models", "export", id, file]);
    let lost = export("nano", "nano.safetensors");
    assert_eq!(lost.status.code(), Some(1));
    assert!(text(&lost.stderr).contains("has no place in a single file"), "{}", text(&lost.stderr));
    assert!(!folder.path().join("nano.safetensors").exists());
    for (id, file, wrong) in [
        ("nano", "one.safetensors", "one.safetensors is there already"),
        ("nonna", "new.safetensors", "names no model `nonna`; known: fake, one, nano"),
    ] {
        let refused = export(id, file);
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused.stderr).contains(wrong), "{}", text(&refused.stderr));
    }
}

#[test]
fn a_folder_of_flux_is_listed_paints_and_says_what_it_cannot() {
    // the engine's own tiny stand-ins: one with Black Forest Labs' file, one with GGUF files
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/golden/fixtures");
    let model = |id: &str| format!("[[model]]\nid = \"{id}\"\nsource = {:?}\n", fixtures.join(id));
    let folder = with_manifest(&(model("flux-schnell") + &model("flux-q8")));
    let listed = run(folder.path(), &["models", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    for (index, id) in ["flux-schnell", "flux-q8"].into_iter().enumerate() {
        assert_eq!(
            (&listed[index]["id"], &listed[index]["problem"]),
            (&id.into(), &Value::Null),
            "{listed:#}"
        );
        let arguments = [
            "generate",
            "a red boat",
            "--model",
            id,
            "--steps",
            "2",
            "--seed",
            "1",
            "-o",
            "boat.png",
            "--json",
        ];
        let painted = run(folder.path(), &arguments);
        assert!(painted.status.success(), "{}", text(&painted.stderr));
        let told: Value = serde_json::from_slice(&painted.stdout).unwrap();
        assert_eq!((&told["model"], &told["schedule"]), (&id.into(), &"flow_match_euler".into()), "{told:#}");
        let png = std::fs::read(folder.path().join("boat.png")).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        let refused = run(folder.path(), &["generate", "a red boat", "--model", id, "--negative", "rain"]);
        assert!(!refused.status.success());
        assert!(text(&refused.stderr).contains("negative-prompt"), "{}", text(&refused.stderr));
    }
}

#[test]
fn the_list_of_models_tells_what_they_take_of_the_memory_and_how_they_are_kept() {
    let nano = |id: &str, keep: &str| {
        format!("[[model]]\nid = \"{id}\"\nsource = \"builtin:atelier-nano\"\n{keep}\n")
    };
    let models = nano("kept", "pin = true\npreload = true") + &nano("idle", "idle-unload-s = 60");
    let folder = with_manifest(&manifest("", &models));
    let listed = run(folder.path(), &["models", "list"]);
    let listed = text(&listed.stdout);
    let of =
        |id: &str| listed.lines().find(|line| line.starts_with(id)).unwrap_or_else(|| panic!("{listed}"));
    assert!(of("kept").ends_with("MB in memory, preloaded, pinned"), "{listed}");
    assert!(of("idle").ends_with("MB in memory, unloaded after 60 idle seconds"), "{listed}");
    assert!(
        of("fake").contains("not usable: model `fake`: cannot read"),
        "an empty folder is no model: {listed}"
    );
    let json = run(folder.path(), &["models", "list", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(json[1]["memory_bytes"].as_u64().unwrap() > 20_000_000, "{json:#}");
    assert_eq!(
        (&json[1]["pin"], &json[1]["problem"], &json[2]["idle_unload_s"]),
        (&true.into(), &Value::Null, &60.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_pulled_by_its_id_into_the_usual_cache() {
    let (endpoint, _) = Standin::new().start().await;
    let models = "[[model]]\nid = \"big\"\nsource = \"hub:owner/tiny\"\n";
    let folder = with_manifest(&manifest("", models));
    let mut command = atelier(folder.path());
    command.args(["models", "pull", "big", "--json"]).env("HF_ENDPOINT", endpoint);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let pulled: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(pulled["folder"].as_str().unwrap().contains("hf/hub/models--owner--tiny/snapshots/"), "{pulled}");
    let listed = run(folder.path(), &["models", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed[1]["id"], &listed[1]["available"]), (&"big".into(), &true.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_model_is_pulled_by_its_name_alone_and_listed_with_what_is_here_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let listed = run(folder.path(), &["models", "catalog"]);
    let line = |output: &Output, name: &str| {
        let listed = text(&output.stdout);
        let start = format!("{name} ");
        listed.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{listed}")).to_owned()
    };
    let lightning = line(&listed, "sdxl-lightning");
    for part in ["1024x1024", " 4 ", "euler_trailing", "6.9 GB", "openrail++"] {
        assert!(lightning.contains(part), "{lightning}");
    }
    assert!(lightning.ends_with("no") && line(&listed, "cosxl-edit").ends_with("asks for a token"));
    let (endpoint, _) = standin(catalog::find("lcm-lora-sd15").unwrap()).start().await;
    let mut command = atelier(folder.path());
    command.args(["models", "pull", "lcm-lora-sd15"]).env("HF_ENDPOINT", endpoint);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in [
        "hub:stable-diffusion-v1-5/stable-diffusion-v1-5@451f4fe1",
        "hub:latent-consistency/lcm-lora-sdv1-5 is here: 1 files",
        "[[model]] with id = \"lcm-lora-sd15\"",
    ] {
        assert!(text(&output.stdout).contains(part), "{}", text(&output.stdout));
    }
    let listed = run(folder.path(), &["models", "catalog"]);
    assert!(line(&listed, "lcm-lora-sd15").ends_with("0.0 GB"), "the stand-ins are tiny");
    let json = run(folder.path(), &["models", "catalog", "--json"]);
    let json: Vec<Value> = serde_json::from_slice(&json.stdout).unwrap();
    let available = |row: &&Value| row["available"] == true;
    let names: Vec<_> = json.iter().filter(available).map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["sd15", "lcm-lora-sd15"], "the base is one as well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_with_terms_says_where_to_accept_them_and_an_unknown_one_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, _) = standin(catalog::find("cosxl-edit").unwrap()).closed().start().await;
    let mut command = atelier(folder.path());
    command.args(["models", "pull", "cosxl-edit"]).env("HF_ENDPOINT", &endpoint);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(
        error.contains("https://huggingface.co/stabilityai/cosxl") && error.contains("HF_TOKEN"),
        "{error}"
    );
    // the name that the voice-guided system has for the token counts where the hub's own is not set
    for (variables, code) in [
        (&[("HUGGINGFACE_TOKEN", TOKEN)][..], 0),
        (&[("HUGGINGFACE_TOKEN", TOKEN), ("HF_TOKEN", "hf_other")], 1),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let mut command = atelier(folder.path());
        command.args(["models", "pull", "cosxl-edit"]).env("HF_ENDPOINT", &endpoint);
        command.env("HF_HOME", cache.path()).envs(variables.iter().copied());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{variables:?}: {}", text(&output.stderr));
    }
    let unknown = run(folder.path(), &["models", "pull", "sdxl-lightnin"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("`atelier models catalog`"), "{}", text(&unknown.stderr));
}

#[test]
fn an_output_that_names_no_format_is_refused_before_anything_is_loaded() {
    let folder = with_manifest("");
    let output = run(folder.path(), &["generate", "a boat", "-o", "boat"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--format"), "{}", text(&output.stderr));
    assert_eq!(run(folder.path(), &["generate", "a boat", "--size", "big"]).status.code(), Some(2));
}

/// Ends the process when the test ends by a panic.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_serves_until_it_is_told_to_stop_and_then_ends_well() {
    // no models: loading an engine is another test's matter
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let folder = with_manifest(&format!("[store]\ncache-dir = {cache:?}\n"));
    let mut command = atelier(folder.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--json"]);
    let mut child = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut output = BufReader::new(child.0.stdout.take().unwrap());
    let mut printed = String::new();
    while serde_json::from_str::<Value>(&printed).is_err() {
        if output.read_line(&mut printed).unwrap() == 0 {
            let mut errors = String::new();
            child.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            panic!("it did not start: {errors}");
        }
    }
    let addresses: Value = serde_json::from_str(&printed).unwrap();
    let admin = addresses["admin"].as_str().unwrap().parse().unwrap();
    assert_eq!(get(admin, "/health").await.status, 200);
    assert_eq!(get(addresses["listen"].as_str().unwrap().parse().unwrap(), "/").await.status, 404);
    assert!(Command::new("kill").args(["-TERM", &child.0.id().to_string()]).status().unwrap().success());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn an_address_in_use_is_named_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = with_manifest("");
    let output = run(folder.path(), &["serve", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.starts_with(&format!("error: cannot listen on {address} (server.listen)")), "{error}");
}
