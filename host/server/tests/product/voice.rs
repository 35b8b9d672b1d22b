//! The voice loop with the embedded models, offline: what voices that no training heard say is heard, understood and drawn,
//! without a server and over HTTP, in English and Finnish. The pictures are those of the same words by any other way.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Answer, send};
use crate::form::form;
use crate::host::{Host, PNG, atelier};

const CREATE: &str = "a red circle on a blue background";
const EDIT: &str = "make it night";
const SEED: &str = "5";
/// Few: these tests compare bytes, not beauty.
const STEPS: &str = "3";

/// Recordings and what is said in them: each language creates, edits and takes back.
const SAID: [(&str, [(&str, &str); 3]); 2] = [
    (
        "en",
        [
            ("en-create", "create a red circle on a blue background"),
            ("en-night", "make it night"),
            ("en-back", "go back to the previous image"),
        ],
    ),
    (
        "fi",
        [
            ("fi-luo", "luo punainen ympyrä siniselle taustalle"),
            ("fi-yo", "tee siitä yö"),
            ("fi-palaa", "palaa edelliseen kuvaan"),
        ],
    ),
];

fn recording(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("../../examples/voice-loop/recordings").join(name).with_extension("wav")
}

/// What the binary says in a folder.
fn run(folder: &TempDir, arguments: &[&str]) -> String {
    let output = atelier(folder.path()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn file(folder: &TempDir, name: &str) -> Vec<u8> {
    std::fs::read(folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What the three commands must be understood as.
fn intents() -> [Value; 3] {
    [
        json!({"action": "create", "target": "", "prompt": CREATE}),
        json!({"action": "edit", "target": "", "prompt": EDIT}),
        json!({"action": "undo", "target": "", "prompt": ""}),
    ]
}

/// The two pictures as the verb that draws makes them of the same words.
fn drawn(folder: &TempDir) -> [Vec<u8>; 2] {
    let wishes = ["--seed", SEED, "--steps", STEPS, "-o"];
    run(folder, &[&["generate", CREATE], &wishes[..], &["circle.png"]].concat());
    let edit = ["generate", EDIT, "--model", "atelier-nano-edit", "--image", "circle.png"];
    run(folder, &[&edit[..], &wishes[..], &["night.png"]].concat());
    [file(folder, "circle.png"), file(folder, "night.png")]
}

#[test]
fn spoken_commands_make_change_and_take_back_a_picture_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let [circle, night] = drawn(&folder);
    for (language, said) in SAID {
        let recordings = said.map(|(name, _)| recording(name).display().to_string());
        let [first, second, third] = recordings.each_ref().map(String::as_str);
        let wishes = ["--seed", SEED, "--steps", STEPS, "-o", "loop.png", "--json"];
        let told = run(&folder, &[&["listen", first, second, third], &wishes[..]].concat());
        let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for ((answer, (_, text)), intent) in told.iter().zip(said).zip(intents()) {
            let expected = (&json!(text), &json!(language), &intent);
            assert_eq!((&answer["transcript"], &answer["language"], &answer["intent"]), expected);
        }
        assert_eq!(told.len(), 3);
        assert!(
            file(&folder, "loop-1.png") == circle,
            "{language}: the first is another picture than generate's"
        );
        assert!(
            file(&folder, "loop-2.png") == night,
            "{language}: the second is another picture than generate's"
        );
        assert!(file(&folder, "loop-3.png") == circle, "{language}: taking back gives another picture");
    }
}

/// Asks the route of the built-in manifest, as a browser sends a form.
async fn listen(host: &Host, name: &str, pictures: &[&[u8]]) -> Answer {
    let audio = std::fs::read(recording(name)).unwrap();
    let mut parts = vec![
        ("seed", None, SEED.as_bytes()),
        ("steps", None, STEPS.as_bytes()),
        ("audio", Some(name), &audio),
    ];
    parts.extend(pictures.iter().map(|png| ("picture", Some("a.png"), *png)));
    let answer = send(host.edge, form("/voice/listen", &[("accept", PNG)], &parts)).await;
    assert_eq!(answer.status.as_u16(), 200, "{name}: {}", String::from_utf8_lossy(&answer.body));
    answer
}

#[tokio::test]
async fn the_same_commands_over_http_give_the_same_pictures() {
    let host = Host::start().await;
    let [circle, night] = drawn(&host.folder);
    for (language, [create, edit, undo]) in SAID {
        let first = listen(&host, create.0, &[]).await;
        assert_eq!(first.headers["x-atelier-action"], "create");
        assert_eq!(first.headers["x-atelier-prompt"], CREATE);
        let second = listen(&host, edit.0, &[&first.body]).await;
        assert_eq!(second.headers["x-atelier-pictures-left"], "1");
        let third = listen(&host, undo.0, &[&first.body, &second.body]).await;
        assert_eq!(third.headers["x-atelier-language"], language);
        assert!(first.body == circle && second.body == night && third.body == circle, "{language}");
    }
}
