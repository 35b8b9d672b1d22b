//! Visitors who stay connected: what their rooms hear of their commands, and commands that come over the connection.

use serde_json::json;

use crate::fake::{Fake, Script};

fn host() -> Fake {
    Script { listeners: 1, ..Script::default() }.host()
}

/// Events that a room was sent since the last look, and whether all were for it.
fn heard(host: &Fake, room: &str) -> Vec<String> {
    let published = std::mem::take(&mut host.record.borrow_mut().published);
    assert!(published.iter().all(|(to, ..)| to == room), "{published:?}");
    published.into_iter().map(|(_, event, _)| event).collect()
}

const TOLD: [&str; 9] = [
    "accepted",
    "transcript",
    "understood",
    "queued",
    "loading",
    "progress",
    "progress",
    "preview",
    "progress",
];

#[test]
fn a_visitors_room_hears_every_step_of_every_command_whichever_way_it_came() {
    let host = host();
    let browser = host.browser();
    assert_eq!(browser.connect().expect("a welcome").rooms, Vec::<String>::new(), "no cookie, no room");
    browser.command("create a red boat");
    host.record.borrow_mut().published.clear();
    let welcome = browser.connect().expect("a welcome");
    let [room] = &welcome.rooms[..] else { panic!("{welcome:?}") };
    let whole: Vec<&str> = TOLD.into_iter().chain(["done"]).collect();
    // as JSON, as an event stream, and over the connection
    browser.command("create a red boat");
    assert_eq!(heard(&host, room), whole);
    let events = browser.events(&[("text", "create a red boat")]);
    assert_eq!(events.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), whole[1..]);
    assert_eq!(heard(&host, room), whole);
    let done = browser.send(&welcome, "process_command", json!({"text": "create a red boat"})).expect("done");
    assert_eq!(done["image"]["prompt"], "a red boat");
    assert_eq!(heard(&host, room), whole);
    browser.command("nonsense");
    assert_eq!(heard(&host, room), ["accepted", "transcript", "error"]);
}

#[test]
fn where_nobody_listens_nothing_more_is_told_and_no_preview_is_made() {
    let host = Script::default().host();
    let browser = host.browser();
    browser.command("create a red boat");
    let record = host.record.borrow();
    assert_eq!(record.published.len(), 1);
    assert_eq!(
        (record.published[0].1.as_str(), &record.published[0].2),
        ("accepted", &json!({"mode": "local_fast"}))
    );
    assert_eq!(record.orders[0].0.preview_every, None);
}

#[test]
fn a_command_over_the_connection_is_refused_as_one_in_a_form_is() {
    let host = host();
    let (browser, stranger) = (host.browser(), host.browser());
    browser.command("create a red boat");
    let welcome = browser.connect().expect("a welcome");
    for (name, payload, why) in [
        ("other", json!({}), "there is no event `other`"),
        ("process_command", json!({}), "a command is wanted"),
        ("process_command", json!({"text": "create", "mode": "slow"}), "`mode`"),
        ("process_command", json!({"text": "create", "words": 1}), "`words`"),
        ("process_command", json!([1]), "object"),
    ] {
        let refused = browser.send(&welcome, name, payload.clone()).expect_err(name);
        assert!(refused.contains(why), "{payload}: {refused}");
    }
    let unknown = stranger.connect().expect("a welcome");
    let refused = stranger.send(&unknown, "process_command", json!({"text": "create a red boat"}));
    assert!(refused.expect_err("no cookie").contains("cookie"));
    // a cookie that somebody else signed is none
    stranger.cookie.replace(Some("voice_studio=00ff.00ff".into()));
    assert_eq!(stranger.connect().expect("a welcome").rooms, Vec::<String>::new());
}
