//! Stages: plugins in their own sandboxes.

use std::time::Duration;

use atelier_runtime::{Code, Limits, RouteSpec};

use crate::kit::{Logs, ask, deploy, guest, studio};

fn with_plugins() -> RouteSpec {
    RouteSpec {
        intent: Some(guest("interpreter")),
        style: vec![guest("styler"), guest("styler")],
        select: Some(guest("selector")),
        finish: vec![guest("finisher")],
        ..studio()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn style_plugins_run_in_order_each_on_what_the_one_before_made() {
    let route = deploy(with_plugins()).await;
    assert_eq!(ask(&route, "/style", "cat").await.unwrap(), "cat, in ink, in ink");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_without_a_plugin_says_which_key_to_add() {
    let route = deploy(studio()).await;
    for (path, key) in
        [("/intent", "`intent`"), ("/style", "`style`"), ("/select", "`select`"), ("/finish", "`finish`")]
    {
        let answer = ask(&route, path, "cat").await.unwrap();
        assert!(
            answer.contains("NotConfigured") && answer.contains(key) && answer.contains("/test"),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_refuses_traps_spins_or_bursts_is_a_value_for_the_handler() {
    let limits = Limits { cpu: Duration::from_millis(100), memory_bytes: 16 << 20, ..Limits::default() };
    let route = deploy(RouteSpec { limits, ..with_plugins() }).await;
    let expected = [
        ("refuse", "Refused", "no style for this"),
        ("trap", "Failed", "`styler.wasm` stopped with an error"),
        ("spin", "Failed", "CPU time of 100 ms (limits.cpu-ms)"),
        ("grow", "Failed", "limits.memory-bytes"),
    ];
    for (prompt, case, text) in expected {
        let answer = ask(&route, "/style", prompt).await.unwrap();
        assert!(answer.contains(case) && answer.contains(text), "{prompt}: {answer}");
    }
    assert_eq!(route.plugin_failures(), 3, "a refusal is none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intention_that_keeps_to_the_rules_reaches_the_handler_as_it_is() {
    let route = deploy(with_plugins()).await;
    let long = format!("create||{}", "ä".repeat(1_000));
    let named = format!("edit|{}|make it night", "ä".repeat(100));
    for (said, action) in [
        ("create||a red circle", "Create"),
        ("edit|the circle|make the circle green", "Edit"),
        ("edit||make it night", "Edit"),
        ("undo", "Undo"),
        ("none", "None"),
        (&long, "Create"),
        (&named, "Edit"),
    ] {
        let mut parts = said.splitn(3, '|').skip(1).map(|part| format!(" [{part}]"));
        let rest = [parts.next(), parts.next()].map(|part| part.unwrap_or(" []".into())).concat();
        assert_eq!(ask(&route, "/intent", said).await.unwrap(), format!("Action::{action}{rest}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intention_that_breaks_a_rule_is_not_believed_and_the_rule_is_named() {
    let route = deploy(with_plugins()).await;
    let (long, wide) = (format!("edit||{}", "x".repeat(1_001)), format!("edit|{}|a", "x".repeat(101)));
    for (said, rule) in [
        ("create||", "`prompt` is not empty for `create`"),
        ("edit|the circle| \u{3000}", "`prompt` is not empty for `edit`"),
        ("create|the circle|a circle", "`target` is empty for `create`"),
        ("undo||again", "`prompt` is empty for `undo`"),
        ("undo|it|", "`target` is empty for `undo`"),
        ("none||what time is it", "`prompt` is empty for `none`"),
        (&long, "`prompt` has at most 1000 characters"),
        (&wide, "`target` has at most 100 characters"),
        ("create||a\r\nset-cookie: b", "`prompt` is one line without control characters"),
        ("edit|a\u{2028}b|c", "`target` is one line without control characters"),
        ("create||a\u{0}b", "`prompt` is one line"),
        ("create||a\u{9b}b", "`prompt` is one line"),
    ] {
        let answer = ask(&route, "/intent", said).await.unwrap();
        let told = format!("the plugin `interpreter.wasm` broke a rule: {rule}");
        assert!(answer.starts_with("Error::Failed") && answer.contains(&told), "{said}: {answer}");
    }
    assert_eq!(route.plugin_failures(), 12, "an answer that is not believed is a failure");
    assert!(ask(&route, "/intent", "refuse").await.unwrap().contains("Refused"));
    assert!(ask(&route, "/intent", "trap").await.unwrap().contains("`interpreter.wasm` stopped"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_choice_that_is_no_candidate_is_refused() {
    let route = deploy(with_plugins()).await;
    assert_eq!(ask(&route, "/select", "").await.unwrap(), "fake: it was first");
    let answer = ask(&route, "/select", "another").await.unwrap();
    assert!(answer.contains("Failed") && answer.contains("`model` is the id of a candidate"), "{answer}");
    assert_eq!(route.plugin_failures(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_style_that_breaks_a_rule_is_not_believed_and_the_rule_is_named() {
    let route = deploy(RouteSpec { style: vec![guest("styler")], ..with_plugins() }).await;
    for (prompt, rule) in [
        ("blank", "`text` is not blank"),
        ("text 32769", "`text` has at most 32768 bytes"),
        ("text 5000000", "`text` has at most 32768 bytes"),
        ("negative 32769", "`negative` has at most 32768 bytes"),
    ] {
        let answer = ask(&route, "/style", prompt).await.unwrap();
        let told = format!("the plugin `styler.wasm` broke a rule: {rule}");
        assert!(answer.contains("Failed") && answer.contains(&told), "{prompt}: {answer}");
    }
    assert_eq!(route.plugin_failures(), 4);
    assert_eq!(ask(&route, "/style", "text 32768").await.unwrap().len(), 32_768);
    assert_eq!(ask(&route, "/style", "negative 32768").await.unwrap(), "negative 32768");
    assert_eq!(ask(&route, "/style", "").await.unwrap(), ", in ink");
    assert_eq!(route.plugin_failures(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reason_that_is_too_long_is_refused_with_its_choice() {
    let route = deploy(with_plugins()).await;
    let answer = ask(&route, "/select", "reason 4097").await.unwrap();
    assert!(answer.contains("broke a rule: `reason` has at most 4096 bytes"), "{answer}");
    assert_eq!(ask(&route, "/select", "reason 4096").await.unwrap().len(), "fake: ".len() + 4_096);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_the_plugin_that_failed_and_says_why() {
    let logs = Logs::of("/broken-plugins");
    let spec = RouteSpec {
        route: "/broken-plugins".into(),
        intent: Some(on_disk("interpreter")),
        style: vec![on_disk("styler")],
        select: Some(on_disk("selector")),
        ..studio()
    };
    let route = deploy(spec).await;
    for (path, text, name, told) in [
        ("/style", "trap", "styler", ["the plugin `styler.wasm` stopped with an error: ", "unreachable"]),
        (
            "/intent",
            "create||",
            "interpreter",
            ["the plugin `interpreter.wasm` broke a rule", "`prompt` is not empty"],
        ),
        (
            "/select",
            "another",
            "selector",
            ["the plugin `selector.wasm` broke a rule", "`model` is the id of a candidate"],
        ),
    ] {
        let before = route.plugin_failures();
        ask(&route, path, text).await.unwrap();
        let lines = logs.of_plugin(&format!("/srv/secret/{name}.wasm"));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(told.iter().all(|part| line.contains(*part)) && !line.contains("the handler"), "{line}");
        assert_eq!(route.plugin_failures(), before + 1);
    }
}

/// A guest that lies in a folder of the server's.
fn on_disk(name: &str) -> Code {
    Code { name: format!("/srv/secret/{name}.wasm"), ..guest(name) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_folder_of_the_servers_disk_is_shown_to_clients() {
    let route = deploy(RouteSpec {
        intent: Some(on_disk("interpreter")),
        style: vec![on_disk("styler")],
        select: Some(on_disk("selector")),
        finish: vec![on_disk("finisher")],
        ..studio()
    })
    .await;
    for (path, text, name) in [
        ("/intent", "trap", "`interpreter.wasm`"),
        ("/intent", "create||", "`interpreter.wasm`"),
        ("/style", "trap", "`styler.wasm`"),
        ("/select", "another", "`selector.wasm`"),
        ("/finish", "trap", "`finisher.wasm`"),
        ("/finish", "invert", "finish: finisher.wasm"),
    ] {
        let answer = ask(&route, path, text).await.unwrap();
        assert!(answer.contains(name) && !answer.contains("/srv"), "{path} {text}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_picture_inherits_its_parameters_with_a_note_of_who_changed_it() {
    let route = deploy(with_plugins()).await;
    let answer = ask(&route, "/finish", "invert").await.unwrap();
    assert!(answer.starts_with("same false inverted true"), "{answer}");
    assert!(answer.contains(r#""seed":7"#) && answer.contains("finish: finisher.wasm"), "{answer}");
    let kept = ask(&route, "/finish", "keep").await.unwrap();
    assert!(kept.starts_with("same true") && !kept.contains("finish: "), "{kept}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finish_plugin_that_fails_is_a_value_for_the_handler() {
    let route = deploy(with_plugins()).await;
    assert!(ask(&route, "/finish", "refuse").await.unwrap().contains("Refused"));
    assert!(ask(&route, "/finish", "trap").await.unwrap().contains("`finisher.wasm` stopped"));
}
