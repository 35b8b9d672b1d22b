//! Commands: what each action does with the pictures so far, the forms of an answer, and every way in which it fails.

use atelier_kit::host::{Choice, GenerationError, Size, StageError};
use atelier_kit::http::Headers;
use atelier_kit::intent::Action;
use atelier_kit::speech::Transcript;
use atelier_kit::{Request, Response};
use serde_json::{Value, json};

use crate::fake::{Fake, LISTEN, Script, intention, painter, post};

const AUDIO: (&str, &str) = ("audio", "sound");
/// "png 128x128", which the fake says of every picture of that size, in base64.
const DRAWN: &str = "cG5nIDEyOHgxMjg=";

fn asking(action: Action, target: &str, prompt: &str) -> Fake {
    Script { intention: Ok(intention(action, target, prompt)), ..Script::default() }.host()
}

fn written(text: &'static str) -> (&'static str, &'static str) {
    ("command", text)
}

fn accepting(kind: &str, parts: &[(&str, &str)]) -> Request {
    let request = post(LISTEN, parts);
    let accept = ("accept", kind);
    let headers: Headers = request.headers.iter().chain([accept]).collect();
    Request { headers, ..request }
}

/// Status, code and answer of what must be an error.
fn error(host: &Fake, parts: &[(&str, &str)]) -> (u16, String, Value) {
    let (status, answer) = host.post_json(LISTEN, parts);
    assert!(status >= 400, "{answer}");
    (status, answer["error"]["code"].as_str().unwrap_or_default().to_owned(), answer)
}

#[test]
fn a_spoken_command_makes_a_picture() {
    let host = Script::default().host();
    let (status, mut answer) = host.post_json(LISTEN, &[AUDIO, ("seed", "5"), ("steps", "3")]);
    let timings = answer["timings"].take();
    let text = "Punainen vene. Se\n\nkulkee --> pois.";
    assert_eq!(
        (status, answer),
        (
            200,
            json!({
                "transcript": text,
                "language": "fi",
                "intent": {"action": "create", "target": "", "prompt": "a red boat"},
                "picture": DRAWN,
                "pictures_left": 0,
                "model": "nano",
                "seed": 5,
                "notes": ["a note"],
                "timings": null,
            })
        )
    );
    assert!(["speech_ms", "intent_ms", "picture_ms"].iter().all(|key| timings[*key].is_u64()), "{timings}");
    let record = host.record.borrow();
    let (order, changed) = &record.orders[0];
    assert_eq!((order.prompt.as_str(), order.seed, order.steps), ("a red boat", Some(5), Some(3)));
    assert_eq!((order.count, order.size, changed), (1, None, &None));
    assert_eq!((record.commands[0].as_str(), record.speech[0].model.as_str()), (text, "ear"));
}

#[test]
fn a_written_command_is_an_equal_path() {
    let host = Script::default().host();
    let (status, answer) = host.post_json(LISTEN, &[written("luo vene")]);
    assert_eq!((status, &answer["transcript"], &answer["language"]), (200, &json!("luo vene"), &json!(null)));
    assert_eq!(host.record.borrow().commands, ["luo vene"]);
    assert!(host.record.borrow().speech.is_empty());
}

#[test]
fn an_edit_changes_the_last_picture_on_a_model_that_edits() {
    let host = asking(Action::Edit, "the boat", "make the boat green");
    let pictures = [AUDIO, ("picture", "odd"), ("picture", "second")];
    let (status, answer) = host.post_json(LISTEN, &pictures);
    assert_eq!((status, &answer["model"], &answer["pictures_left"]), (200, &json!("nano-edit"), &json!(2)));
    assert_eq!(answer["intent"]["target"], "the boat");
    let record = host.record.borrow();
    let (order, changed) = &record.orders[0];
    assert_eq!((order.size, *changed), (None, Some(Size { width: 128, height: 128 })));
}

#[test]
fn a_picture_that_the_model_cannot_draw_is_scaled_and_a_note_says_so() {
    let host = asking(Action::Edit, "", "make it night");
    let (_, answer) = host.post_json(LISTEN, &[AUDIO, ("picture", "odd")]);
    assert_eq!(answer["notes"][1], "the picture was scaled from 10x20 to 128x128 for nano-edit");
    assert_eq!(host.record.borrow().orders[0].0.size, Some(Size { width: 128, height: 128 }));
}

#[test]
fn undoing_gives_the_picture_before_the_last_as_it_was_sent() {
    let host = asking(Action::Undo, "", "");
    let first = "\u{89}PNG";
    // a text cannot hold the signature's first byte, so it is put there afterwards
    let mut request = accepting("image/png", &[AUDIO, ("picture", first), ("picture", "second")]);
    let at = request.body.windows(5).position(|bytes| bytes == first.as_bytes()).expect("the picture");
    request.body.splice(at..at + 5, *b"\x89PNG\r\n\x1a\n");
    let response = host.answer(request);
    assert_eq!(response.body, b"\x89PNG\r\n\x1a\n");
    assert_eq!(response.headers.get("x-atelier-pictures-left"), Some("1"));
    let (_, answer) = host.post_json(LISTEN, &[AUDIO, ("picture", "webp"), ("picture", "second")]);
    assert_eq!(
        (&answer["picture"], &answer["model"], &answer["pictures_left"]),
        (&json!(DRAWN), &json!(null), &json!(1))
    );
    assert!(host.record.borrow().orders.is_empty());
}

#[test]
fn a_command_that_asks_for_nothing_gives_no_picture() {
    let host = asking(Action::None, "", "");
    let (status, answer) = host.post_json(LISTEN, &[written("what time is it"), ("picture", "one")]);
    assert_eq!((status, &answer["picture"], &answer["pictures_left"]), (200, &json!(null), &json!(1)));
    let response = host.answer(accepting("image/png", &[written("what time is it")]));
    let answer: Value = serde_json::from_slice(&response.body).expect("json");
    assert_eq!((response.status, &answer["error"]["code"]), (422, &json!("no_picture")));
    assert_eq!(
        (&answer["transcript"], &answer["intent"]["action"]),
        (&json!("what time is it"), &json!("none"))
    );
}

#[test]
fn only_a_new_picture_is_enhanced_and_only_when_asked() {
    let host = Script::default().host();
    let (_, answer) = host.post_json(LISTEN, &[AUDIO, ("enhance", "true")]);
    assert_eq!(answer["enhanced_prompt"], "a red boat for nano");
    assert_eq!(host.record.borrow().orders[0].0.prompt, "a red boat for nano");
    let style = Err(StageError::NotConfigured("add `style` to route \"a\"".into()));
    let host = Script { style, ..Script::default() }.host();
    assert_eq!(host.post_json(LISTEN, &[AUDIO]).0, 200);
    let (status, _, answer) = error(&host, &[AUDIO, ("enhance", "yes")]);
    assert!(status == 502 && answer["error"]["message"].to_string().contains("add `style`"), "{answer}");
}

#[test]
fn the_select_stage_chooses_among_the_models_that_can() {
    let models =
        vec![painter("nano", true, false), painter("nano-edit", false, true), painter("both", true, true)];
    let select = Ok(Choice { model: "both".into(), reason: "it fits".into() });
    let host = Script { models, select, ..Script::default() }.host();
    assert_eq!(host.post_json(LISTEN, &[AUDIO]).1["model"], "both");
    let (hints, candidates) = host.record.borrow().hints[0].clone();
    assert_eq!((hints.prompt.as_str(), hints.has_source), ("a red boat", false));
    assert_eq!(candidates, ["nano", "both"]);
    let select = Ok(Choice { model: "nano-edit".into(), reason: "it is mine".into() });
    let (status, _, _) = error(&Script { select, ..Script::default() }.host(), &[AUDIO]);
    assert_eq!(status, 502);
}

#[test]
fn a_client_that_takes_png_gets_the_file_and_the_rest_in_headers() {
    let host = asking(Action::Edit, "", "make it night");
    let parts = [written("tee siitä yö"), ("picture", "one"), ("seed", "3")];
    let Response { status, headers, body } = host.answer(accepting("image/png", &parts));
    assert_eq!((status, body.as_slice()), (200, &b"png 128x128"[..]));
    let header = |name: &str| headers.get(&format!("x-atelier-{name}")).map(str::to_owned);
    assert_eq!(header("transcript").as_deref(), Some("tee siit%C3%A4 y%C3%B6"));
    assert_eq!(header("prompt").as_deref(), Some("make it night"));
    assert_eq!((header("seed").as_deref(), header("target")), (Some("3"), None));
    assert_eq!((header("model").as_deref(), header("action").as_deref()), (Some("nano-edit"), Some("edit")));
}

#[test]
fn a_follower_is_told_everything_and_gets_the_answer_last() {
    let told = Script::default().host().stream(accepting("text/event-stream", &[AUDIO]));
    let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["progress", "progress", "progress", "heard", "intent", "progress", "progress", "picture"];
    assert_eq!(names, expected);
    assert_eq!(told[0].1, json!({"stage": "speech", "position": 1, "eta_ms": null}));
    assert_eq!(told[1].1, json!({"stage": "speech", "done": 1.5, "total": 3_662.0}));
    assert_eq!(told[3].1["language"], "fi");
    assert_eq!(told[4].1, json!({"action": "create", "target": "", "prompt": "a red boat"}));
    assert_eq!(told[6].1, json!({"stage": "picture", "done": 2, "total": 2}));
    assert_eq!(told[7].1["picture"], DRAWN);
    let told = asking(Action::Edit, "", "make it night").stream(accepting("text/event-stream", &[AUDIO]));
    let (name, data) = told.last().expect("an end");
    assert_eq!((name.as_str(), &data["error"]["code"]), ("error", &json!("nothing_to_edit")));
}

#[test]
fn what_cannot_be_done_is_a_422_that_says_what_was_understood() {
    let edit = asking(Action::Edit, "", "make it night");
    let (status, code, answer) = error(&edit, &[written("make it night")]);
    assert_eq!((status, code.as_str()), (422, "nothing_to_edit"));
    assert_eq!(
        (&answer["transcript"], &answer["intent"]["action"]),
        (&json!("make it night"), &json!("edit"))
    );
    let undo = asking(Action::Undo, "", "");
    for pictures in [vec![], vec![("picture", "one")]] {
        let (status, code, _) = error(&undo, &[vec![written("undo")], pictures].concat());
        assert_eq!((status, code.as_str()), (422, "nothing_to_undo"));
    }
    let silence = Transcript { text: " ".into(), ..Transcript::default() };
    let host = Script { heard: Ok(silence), ..Script::default() }.host();
    let (status, code, _) = error(&host, &[AUDIO]);
    assert_eq!((status, code.as_str()), (422, "no_speech"));
}

#[test]
fn an_intent_stage_that_is_missing_or_broken_is_a_502() {
    let missing = Err(StageError::NotConfigured("add `intent` to route \"a\"".into()));
    let host = Script { intention: missing, ..Script::default() }.host();
    let (status, code, answer) = error(&host, &[AUDIO]);
    assert_eq!((status, code.as_str()), (502, "intent_not_configured"));
    assert!(
        answer["error"]["message"].to_string().contains("add `intent`") && answer["transcript"].is_string()
    );
    let broken = Err(StageError::Failed("the plugin trapped".into()));
    assert_eq!(error(&Script { intention: broken, ..Script::default() }.host(), &[AUDIO]).0, 502);
    let refused = Err(StageError::Refused("the command is too long".into()));
    assert_eq!(error(&Script { intention: refused, ..Script::default() }.host(), &[AUDIO]).0, 400);
}

#[test]
fn a_form_that_is_wrong_is_a_400_that_names_the_field() {
    let host = Script::default().host();
    let many: Vec<_> = std::iter::repeat_n(("picture", "one"), 65).chain([AUDIO]).collect();
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[], "audio"),
        (&[AUDIO, AUDIO], "audio"),
        (&[AUDIO, ("command", "luo vene")], "audio"),
        (&[("command", "")], "command"),
        (&[("command", "luo vene"), ("language", "fi")], "language"),
        (&[AUDIO, ("seed", "-1")], "seed"),
        (&[AUDIO, ("guidance", "3")], "guidance"),
        (&many, "picture"),
    ];
    for (parts, field) in cases {
        let (status, _, answer) = error(&host, parts);
        assert_eq!((status, &answer["error"]["param"]), (400, &json!(field)), "{answer}");
    }
    let broken = [("audio", "noise")];
    assert_eq!(error(&host, &broken).2["error"]["param"], "audio");
    let edit = asking(Action::Edit, "", "make it night");
    let (_, code, answer) = error(&edit, &[AUDIO, ("picture", "bomb")]);
    assert_eq!((code.as_str(), &answer["error"]["param"]), ("invalid_file", &json!("picture")));
    assert!(host.record.borrow().orders.is_empty());
}

#[test]
fn a_job_that_is_not_taken_and_a_model_that_is_not_granted_are_told_apart() {
    let full = GenerationError::Overloaded { reason: "the queue is full".into(), retry_after_ms: 1500 };
    let host = Script { refuse: Some(full), ..Script::default() }.host();
    let response = host.answer(post(LISTEN, &[written("luo vene")]));
    assert_eq!((response.status, response.headers.get("retry-after")), (429, Some("2")));
    let host = Script { models: vec![painter("nano-edit", false, true)], ..Script::default() }.host();
    let (status, _, answer) = error(&host, &[written("luo vene")]);
    assert!(status == 502 && answer["error"]["message"].to_string().contains("grants.models"), "{answer}");
}
