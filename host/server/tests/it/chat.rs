//! `atelier chat`: a language model from the hub to a reply. Its weights are random, so that what it says means nothing; that
//! it is the same each time, and fits what was asked for, does. Last, the embedded model, whose replies mean something.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{atelier, run, text, with_manifest};
use crate::hub::{Repository, Standin};

const NANO: &str = "[[model]]\nid = \"atelier-nano\"\nsource = \"builtin:atelier-nano\"\n";

/// The engine's small Llama, as a folder and as a file.
fn llama(form: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/golden/language/llama").join(form)
}

/// A manifest with a model that replies.
fn talking() -> TempDir {
    let file = llama("gguf/tiny.gguf");
    with_manifest(&format!("{NANO}[[model]]\nid = \"words\"\nsource = {file:?}\n"))
}

#[track_caller]
fn failed(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    text(&output.stderr)
}

#[track_caller]
fn said(folder: &TempDir, arguments: &[&str]) -> String {
    let output = run(folder.path(), &[&["chat"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[track_caller]
fn told(folder: &TempDir, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(folder, &[arguments, &["--json"]].concat())).unwrap()
}

/// Pulls from a stand-in with one repository, by the manifest's name; then the file names of what came.
async fn pulled(folder: &TempDir, files: Repository, name: &str) -> Vec<String> {
    let (endpoint, _) = Standin::with([("owner/words".to_owned(), files)]).start().await;
    let mut command = atelier(folder.path());
    command.args(["models", "pull", name, "--json"]).env("HF_ENDPOINT", endpoint);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let pulled: Value = serde_json::from_slice(&output.stdout).unwrap();
    let entries = std::fs::read_dir(pulled["folder"].as_str().unwrap()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_language_model_is_pulled_from_the_hub_and_replies_offline() {
    let mut files = Repository::new();
    for entry in std::fs::read_dir(llama("published")).unwrap().map(Result::unwrap) {
        files.insert(entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap());
    }
    let taken: Vec<String> = files.keys().cloned().collect();
    for decoy in ["README.md", "original/consolidated.00.pth", "consolidated.safetensors", "words.gguf"] {
        files.insert(decoy.into(), b"for other programs".to_vec());
    }
    let folder = with_manifest("[[model]]\nid = \"words\"\nsource = \"hub:owner/words\"\n");
    let absent = run(folder.path(), &["chat", "hello", "--model", "words"]);
    assert!(failed(&absent, 1).contains("atelier models pull words"), "{}", text(&absent.stderr));
    assert_eq!(pulled(&folder, files, "owner/words").await, taken);
    let answer = told(&folder, &["hello", "--max-tokens", "4"]);
    assert_eq!(answer["model"], "words");
    assert!(answer["usage"]["prompt_tokens"].as_u64() > Some(0), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_gguf_file_of_a_repository_is_a_model() {
    let tiny = std::fs::read(llama("gguf/tiny.gguf")).unwrap();
    let other = ("other.gguf".to_owned(), b"not this one".to_vec());
    let files = [("tiny.gguf".to_owned(), tiny), other].into();
    let folder = with_manifest("[[model]]\nid = \"words\"\nsource = \"hub:owner/words:tiny.gguf\"\n");
    assert_eq!(pulled(&folder, files, "words").await, ["tiny.gguf"]);
    let answer = told(&folder, &["hello", "--max-tokens", "4"]);
    assert_eq!(answer["model"], "words");
    let listed = run(folder.path(), &["models", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert!(listed[0]["memory_bytes"].as_u64() > Some(0), "{listed}");
}

#[test]
fn a_reply_is_the_same_for_its_seed_and_no_longer_than_it_may_be() {
    let folder = talking();
    let ask = |more: &[&str]| said(&folder, &[&["hello", "--max-tokens", "12"], more].concat());
    assert_eq!(ask(&["--seed", "7"]), ask(&["--seed", "7"]));
    assert_eq!(ask(&["--temperature", "0", "--seed", "1"]), ask(&["--temperature", "0", "--seed", "2"]));
    let answer = told(&folder, &["hello", "--max-tokens", "12", "--seed", "7", "--system", "be brief"]);
    assert!(answer["usage"]["reply_tokens"].as_u64() <= Some(12), "{answer}");
    assert_eq!((&answer["seed"], &answer["model"]), (&7.into(), &"words".into()));
    let plain = told(&folder, &["hello", "--max-tokens", "12", "--seed", "7"]);
    assert!(answer["usage"]["prompt_tokens"].as_u64() > plain["usage"]["prompt_tokens"].as_u64());
}

#[test]
fn a_reply_fits_the_schema_that_it_is_held_to() {
    let folder = talking();
    let schema = r#"{"type": "object", "additionalProperties": false, "required": ["intent", "sure"],
        "properties": {"intent": {"enum": ["create", "edit", "undo", "none"]}, "sure": {"type": "boolean"}}}"#;
    std::fs::write(folder.path().join("intent.json"), schema).unwrap();
    for seed in ["1", "2", "3"] {
        let reply = said(&folder, &["make it night", "--schema", "intent.json", "--seed", seed]);
        let reply: Value = serde_json::from_str(&reply).unwrap();
        let intent = reply["intent"].as_str().unwrap();
        assert!(
            ["create", "edit", "undo", "none"].contains(&intent) && reply["sure"].is_boolean(),
            "{reply}"
        );
        assert_eq!(reply.as_object().unwrap().len(), 2, "{reply}");
    }
}

#[test]
fn lines_of_standard_input_are_one_conversation() {
    let folder = talking();
    let mut command = atelier(folder.path());
    let command = command.args(["chat", "--json", "--max-tokens", "4", "--system", "be brief"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n\nand then?\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let replies: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(replies.len(), 2, "an empty line asks nothing");
    let tokens = |reply: &Value, kind: &str| reply["usage"][kind].as_u64().unwrap();
    assert!(tokens(&replies[1], "prompt_tokens") > tokens(&replies[0], "prompt_tokens"), "{replies:?}");
    assert_eq!(tokens(&replies[0], "cached_tokens"), 0);
    assert!(tokens(&replies[1], "cached_tokens") > 0, "the conversation's beginning is not read again");
}

#[test]
fn what_cannot_be_replied_to_says_why() {
    let folder = talking();
    std::fs::write(folder.path().join("wrong.json"), r#"{"type": "string", "pattern": "a*"}"#).unwrap();
    let refused = |arguments: &[&str], code: i32, named: &str| {
        let output = run(folder.path(), &[&["chat", "hello"], arguments].concat());
        assert!(failed(&output, code).contains(named), "{}", text(&output.stderr));
    };
    refused(&["--temperature", "3"], 1, "temperature: 3");
    refused(&["--max-tokens", "0"], 1, "max-tokens");
    refused(&["--schema", "nowhere.json"], 1, "nowhere.json");
    refused(&["--schema", "wrong.json"], 1, "`pattern`");
    refused(&["--model", "nobody"], 2, "names no model `nobody`");
    refused(&["--model", "atelier-nano"], 1, "makes pictures, not replies");
    let output = run(folder.path(), &["generate", "a boat", "--model", "words"]);
    assert!(failed(&output, 1).contains("makes replies, not pictures"));
    let mute = with_manifest(NANO);
    let output = run(mute.path(), &["chat", "hello"]);
    assert!(failed(&output, 2).contains("names no model that makes replies"), "{}", text(&output.stderr));
}

/// What the plugin `intent-language` tells a model, and the embedded one learned; the engine's fixture has it, and the schema.
fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/golden/word/golden.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_embedded_word_understands_commands_and_enriches_prompts() {
    let golden = golden();
    let folder = with_manifest("[[model]]\nid = \"word\"\nsource = \"builtin:atelier-nano-word\"\n");
    std::fs::write(folder.path().join("intent.json"), golden["schema"].as_str().unwrap()).unwrap();
    let system = |task: &str| golden["system"][task].as_str().unwrap().to_owned();
    let intent = system("intent");
    let greedy = ["--temperature", "0", "--max-tokens", "160"];
    for example in golden["examples"].as_array().unwrap() {
        let (command, meant) = (example[0].as_str().unwrap(), example[1].as_str().unwrap());
        let asked = [command, "--system", &intent, "--schema", "intent.json"];
        assert_eq!(said(&folder, &[&asked, &greedy[..]].concat()).trim_end(), meant, "{command}");
    }
    let asked = ["a boat", "--system", &system("enhance")];
    let richer = said(&folder, &[&asked, &greedy[..]].concat());
    assert!(richer.contains(" boat, on the sea, on a sunny day"), "{richer}");
}
