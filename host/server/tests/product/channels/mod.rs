//! Clients that stay connected, of every kind, at a real host: what they and the component hear of each other, whose they are, and
//! what becomes of them when the component, the route, the key or the host changes. The guest does what queries, events and the lines
//! of a request's body say.

pub(crate) mod clients;
mod hostile;

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use self::clients::{Listener, Poller, SocketIo, Talker};
use crate::client::{DEADLINE, send};
use crate::host::{Host, guest, replaced};
use crate::operator::{Operator, live};
use crate::tenants::{Key, key, route, tenant};

pub(super) const GRANTS: &str = "grants = { channels = true, client-address = true }";
pub(super) const CHANNELS: &str =
    "channels = { socket-io = \"/socket.io\", websocket = \"/ws\", events = \"/events\"";

/// One open route at `/r`; more about its channels, and about the server.
pub(super) async fn host_with(channels: &str, server: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("guest.wasm"), guest("receiver")).unwrap();
    let manifest =
        format!("[server]\n{server}\n{}", route("r", &format!("{GRANTS}\n{CHANNELS}{channels} }}")));
    Host::with(folder, Some(&manifest)).await
}

pub(super) async fn host() -> Host {
    host_with("", "").await
}

/// What a line in a request's body is answered.
pub(super) async fn tell_as(host: &Host, path: &str, key: Option<&Key>, line: &str) -> String {
    let mut request = Request::post(path).header("host", "test");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {}", key.text));
    }
    let answer = send(host.edge, request.body(line.to_owned().into()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.text().to_owned()
}

pub(super) async fn tell(host: &Host, line: &str) -> String {
    tell_as(host, "/r", None, line).await
}

/// Waits until so many are in a room.
pub(super) async fn until_there(host: &Host, room: &str, count: &str) {
    let end = Instant::now() + DEADLINE;
    while tell(host, &format!("publish {room} look 0")).await != count {
        assert!(Instant::now() < end, "never {count} in {room}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn clients_of_every_kind_are_in_one_room_and_hear_the_same() {
    let host = host().await;
    let mut listener = Listener::open(host.edge, "/r/events?room=us", &[]).await.unwrap();
    let mut talker = Talker::open(host.edge, "/r/ws?room=us&note=us", &[]).await.unwrap();
    let (mut socket, _) = SocketIo::open(host.edge, "/r/socket.io?room=us", &[]).await.unwrap();
    let mut poller = Poller::open(host.edge, "/r/socket.io").await.unwrap();
    assert!(poller.connect().await.starts_with("40{\"sid\""));
    assert_eq!(tell(&host, "publish us news {\"n\": [1, 2.50]}").await, "3");
    assert_eq!(listener.hear().await.unwrap(), ("1".into(), "news".into(), json!({"n": [1, 2.50]})));
    assert_eq!(talker.0.hear().await.unwrap(), r#"{"event":"news","data":{"n": [1, 2.50]}}"#);
    assert_eq!(socket.hear().await.unwrap(), r#"42["news",{"n": [1, 2.50]}]"#);
    // what one says reaches the others, and how many that were is the answer
    assert_eq!(talker.ask("say", json!("hello")).await, json!({"event": "said", "data": "hello"}));
    assert_eq!(talker.hear().await, json!({"id": 1, "data": 3}));
    assert_eq!(socket.hear().await.unwrap(), r#"42["said","hello"]"#);
    assert_eq!(listener.hear().await.unwrap().1, "said");
    socket.0.say(r#"427["echo",{"a":1}]"#).await;
    assert_eq!(socket.hear().await.unwrap(), r#"437[{"a":1}]"#);
    poller.post(r#"423["enter","us"]"#).await.unwrap();
    assert_eq!(poller.hear().await, "433[null]");
    assert_eq!(tell(&host, "publish us again 1").await, "4");
    assert_eq!(poller.hear().await, r#"42["again",1]"#);
}

#[tokio::test]
async fn a_component_sees_who_comes_and_no_key_and_is_told_who_goes() {
    let host = host().await;
    let cookie = [("cookie", "me=1"), ("authorization", "Bearer atl_a_b_c"), ("x-forwarded-for", "6.6.6.6")];
    let mut watcher = Talker::open(host.edge, "/r/ws?room=watchers", &[]).await.unwrap();
    let expected = |kind: &str, path: &str, auth: Value| json!({"kind": kind, "path": path, "cookie": "me=1", "address": "127.0.0.1", "key": "-", "auth": auth});
    let mut listener = Listener::open(host.edge, "/r/events?hello=1&note=l", &cookie).await.unwrap();
    assert_eq!(listener.hear().await.unwrap().2, expected("ServerSentEvents", "/events", Value::Null));
    assert_eq!(listener.headers["content-type"], "text/event-stream");
    let mut talker = Talker::open(host.edge, "/r/ws?hello=1&note=t", &cookie).await.unwrap();
    assert_eq!(talker.hear().await["data"], expected("Websocket", "/ws", Value::Null));
    let who = talker.ask("who", Value::Null).await["data"].as_str().unwrap().to_owned();
    assert!(who.ends_with(" t") && who.len() == 22, "{who}");
    let (mut socket, answer) =
        SocketIo::open(host.edge, "/r/socket.io?hello=1&note=s", &cookie).await.unwrap();
    let id = answer.strip_prefix("40{\"sid\":\"").unwrap().trim_end_matches("\"}").to_owned();
    let hello: Value = serde_json::from_str(&socket.hear().await.unwrap()[2..]).unwrap();
    assert_eq!(hello[1], expected("SocketIo", "/socket.io/", json!({"token": "t"})));
    drop((listener, talker));
    let mut gone = [watcher.hear().await, watcher.hear().await].map(|event| event["data"].to_string());
    gone.sort_by_key(|text| text.ends_with("t\""));
    assert!(gone[0].ends_with(" l\"") && gone[1].ends_with(" t\""), "{gone:?}");
    assert_eq!(tell(&host, &format!("send {id} news 1")).await, "sent");
    assert_eq!(socket.hear().await.unwrap(), r#"42["news",1]"#);
    assert_eq!(tell(&host, &format!("close {id}")).await, "closed");
    assert_eq!(socket.ended().await.first().map(String::as_str), Some("41"));
    assert!(watcher.hear().await["data"].to_string().ends_with(" s\""));
    assert_eq!(tell(&host, &format!("send {id} news 1")).await, "error: not found");
}

#[tokio::test]
async fn whoever_is_not_let_in_is_told_why_as_by_any_other_answer() {
    let host = host().await;
    for (query, status, code) in [("refuse=full", 403, "not_welcome"), ("trap=1", 502, "guest_trap")] {
        let listener = Listener::open(host.edge, &format!("/r/events?{query}"), &[]).await.err().unwrap();
        assert_eq!((listener.status.as_u16(), listener.code().as_str()), (status, code));
        let talker = Talker::open(host.edge, &format!("/r/ws?{query}"), &[]).await.err().unwrap();
        assert_eq!((talker.status.as_u16(), talker.code().as_str()), (status, code));
        let (_, answer) = SocketIo::open(host.edge, &format!("/r/socket.io?{query}"), &[]).await.unwrap();
        assert!(answer.starts_with("44{\"message\":\""), "{answer}");
    }
    // a path for WebSockets says so, and paths beside those of the channels are the handler's
    let answer = clients::get(host.edge, "/r/ws").await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::UPGRADE_REQUIRED, "upgrade_required"));
    assert_eq!(answer.headers["upgrade"], "websocket");
    assert_eq!(tell_as(&host, "/r/ws2", None, "publish us news 1").await, "0");
    let mut talker = Talker::open(host.edge, "/r/ws", &[]).await.unwrap();
    assert_eq!(talker.ask("fail", json!("no")).await, json!({"id": 1, "error": "\"no\""}));
    let trapped = talker.ask("trap", Value::Null).await;
    assert!(trapped["error"].as_str().unwrap().contains("route `r`"), "{trapped}");
    assert_eq!(talker.ask("echo", json!(2)).await, json!({"id": 1, "data": 2}));
}

#[tokio::test]
async fn pages_of_other_sites_connect_only_where_the_manifest_names_them() {
    let host = host_with(", origins = [\"https://app.example.org\"]", "").await;
    let own = format!("http://{}", host.edge);
    for (origin, may) in [
        (own.as_str(), true),
        ("https://app.example.org", true),
        ("https://evil.test", false),
        ("null", false),
    ] {
        let headers = [("origin", origin)];
        assert_eq!(Talker::open(host.edge, "/r/ws", &headers).await.is_ok(), may, "{origin}");
        assert_eq!(SocketIo::open(host.edge, "/r/socket.io", &headers).await.is_ok(), may, "{origin}");
        match Listener::open(host.edge, "/r/events", &headers).await {
            Ok(listener) => {
                let told = listener
                    .headers
                    .get("access-control-allow-origin")
                    .map(|origin| origin.to_str().unwrap());
                assert_eq!((may, told), (true, (origin != own).then_some(origin)));
            }
            Err(answer) => assert_eq!((may, answer.code().as_str()), (false, "origin")),
        }
    }
}

#[tokio::test]
async fn tenants_have_rooms_of_their_own_and_a_revoked_key_is_heard_no_more() {
    let (a, b) = (key("a", "laptop"), key("b", "phone"));
    let channels = format!("access = \"key\"\n{GRANTS}\n{CHANNELS} }}");
    let routes = [tenant("a", &[&a], ""), tenant("b", &[&b], ""), live(&channels)].concat();
    let operator = Operator::with(&guest("receiver"), "", &routes).await;
    let host = &operator.host;
    let bearer = |key: &Key| format!("Bearer {}", key.text);
    let (of_a, of_b) = (bearer(&a), bearer(&b));
    let refused = Talker::open(host.edge, "/ws", &[]).await.err().unwrap();
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let mut mine = Talker::open(host.edge, "/ws?room=us", &[("authorization", &of_a)]).await.unwrap();
    let mut listener = Listener::open(host.edge, "/events?room=us", &[("x-api-key", &a.text)]).await.unwrap();
    let (mut socket, _) =
        SocketIo::open(host.edge, "/socket.io?room=us", &[("authorization", &of_a)]).await.unwrap();
    let mut theirs = Talker::open(host.edge, "/ws?room=us", &[("authorization", &of_b)]).await.unwrap();
    assert_eq!(tell_as(host, "/", Some(&b), "publish us news 1").await, "1");
    assert_eq!(theirs.hear().await["data"], 1);
    assert_eq!(tell_as(host, "/", Some(&a), "publish us news 2").await, "3");
    assert_eq!(mine.hear().await["data"], 2);
    // a session of another tenant is none
    let poller = Poller::open(host.edge, "/socket.io").await.err().unwrap();
    assert_eq!(poller.status, StatusCode::UNAUTHORIZED);
    let revoked = operator.ask(Method::DELETE, "/v1/tenants/a/keys/laptop").await;
    assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.text());
    let since = Instant::now();
    assert_eq!(mine.0.ended().await, Some(1008));
    assert_eq!(listener.hear().await.map(|event| event.2), Some(json!(2)));
    assert_eq!(listener.hear().await, None);
    assert_eq!(socket.ended().await, ["42[\"news\",2]", "41"]);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert_eq!(tell_as(host, "/", Some(&b), "publish us news 3").await, "1");
    assert_eq!(theirs.hear().await["data"], 3);
}

#[tokio::test]
async fn clients_stay_when_the_component_is_swapped_and_go_with_their_route() {
    let host = host().await;
    let mut talker = Talker::open(host.edge, "/r/ws?room=us&note=us", &[]).await.unwrap();
    let (mut socket, _) = SocketIo::open(host.edge, "/r/socket.io?room=us", &[]).await.unwrap();
    assert_eq!(talker.ask("fail", json!(1)).await["error"], "1");
    host.put("guest.wasm", &replaced(&guest("receiver"), b"what is `", b"WHAT IS `"));
    let end = Instant::now() + DEADLINE;
    while !tell(&host, "?").await.starts_with("WHAT") {
        assert!(Instant::now() < end, "never swapped");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(talker.ask("say", json!(2)).await["event"], "said");
    assert_eq!(talker.hear().await["data"], 2);
    assert_eq!(socket.hear().await.unwrap(), "42[\"said\",2]");
    let other = route("s", &format!("{GRANTS}\n{CHANNELS} }}"));
    host.put("atelier.toml", other.as_bytes());
    assert_eq!(talker.0.ended().await, Some(1008));
    assert_eq!(socket.ended().await, ["41"]);
}

#[tokio::test]
async fn a_host_that_stops_sends_its_clients_away() {
    let mut host = host().await;
    let mut talker = Talker::open(host.edge, "/r/ws?room=us", &[]).await.unwrap();
    let mut listener = Listener::open(host.edge, "/r/events?room=us", &[]).await.unwrap();
    let (mut socket, _) = SocketIo::open(host.edge, "/r/socket.io?room=us", &[]).await.unwrap();
    let mut poller = Poller::open(host.edge, "/r/socket.io").await.unwrap();
    poller.connect().await;
    let polling = tokio::spawn(async move { poller.poll().await });
    until_there(&host, "us", "3").await;
    let since = Instant::now();
    host.signal("TERM");
    assert_eq!(talker.0.ended().await, Some(1001));
    while listener.hear().await.is_some() {}
    // socket.io's clients come back by themselves after this, to another host
    assert!(socket.ended().await.iter().all(|text| text != "41"));
    let last = polling.await.unwrap();
    assert_eq!(last.status, StatusCode::OK);
    assert_eq!(host.end().await.code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
}
