//! Clients that stay connected, as components meet them: who is let in and with what, what their events come to, what is sent, and
//! where the bounds are. Sockets are tested in the server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atelier_inference::TenantId;
use atelier_runtime::{
    ChannelClient, ChannelError, ChannelEvent, ChannelKind, ChannelPeer, ChannelRealm, ChannelWelcome,
    Channels, Deployment, Failure, Grants, Limits, LoadProblem, RouteSpec, RuntimeConfig, Tenant,
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

use crate::kit::{guest, runtime_with, scheduler, spec, within};

const MESSAGE_BYTES: usize = 1_024;

/// Writes down what a component wants to be sent; knows one client, `ann` of the tenant `a`.
#[derive(Default)]
struct Notebook(Mutex<Vec<String>>);

impl Notebook {
    fn note(&self, realm: &ChannelRealm, client: &str, what: String) -> Result<(), ChannelError> {
        if (realm.tenant.as_str(), client) != ("a", "ann") {
            return Err(ChannelError::NotFound);
        }
        self.0.lock().unwrap().push(what);
        Ok(())
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Channels for Notebook {
    fn publish(&self, realm: &ChannelRealm, room: &str, event: ChannelEvent) -> u32 {
        let ChannelRealm { route, tenant } = realm;
        let line = format!("{route} {tenant} {room}: {} {}", event.name, event.payload);
        self.0.lock().unwrap().push(line);
        7
    }

    fn send(&self, realm: &ChannelRealm, client: &str, event: ChannelEvent) -> Result<(), ChannelError> {
        self.note(realm, client, format!("{client}: {} {}", event.name, event.payload))
    }

    fn join(&self, realm: &ChannelRealm, client: &str, room: &str, most: usize) -> Result<(), ChannelError> {
        self.note(realm, client, format!("{client} into {room}, one of {most}"))
    }

    fn leave(&self, realm: &ChannelRealm, client: &str, room: &str) -> Result<(), ChannelError> {
        self.note(realm, client, format!("{client} out of {room}"))
    }

    fn close(&self, realm: &ChannelRealm, client: &str) -> Result<(), ChannelError> {
        self.note(realm, client, format!("{client} closed"))
    }
}

struct Place {
    route: Arc<Deployment>,
    notebook: Arc<Notebook>,
}

impl Place {
    async fn with(limits: Limits) -> Self {
        let runtime = runtime_with(RuntimeConfig::default(), scheduler(Duration::ZERO));
        let notebook = Arc::<Notebook>::default();
        runtime.connect_channels(notebook.clone());
        let route = runtime.deploy(RouteSpec { limits, ..receiver() }).await.unwrap();
        Self { route, notebook }
    }

    async fn connect(&self, query: &str) -> Result<Result<ChannelWelcome, String>, Failure> {
        let client = ChannelClient {
            id: "ann".into(),
            kind: ChannelKind::WebSocket,
            path: format!("/ws?{query}"),
            headers: vec![("cookie".into(), "me".into())],
            auth: Some("[1]".into()),
        };
        within(self.route.connect(&tenant("a"), Arc::default(), client)).await
    }

    async fn receive(&self, name: &str, payload: &str) -> Result<Result<Option<String>, String>, Failure> {
        let peer = ChannelPeer { id: "ann".into(), note: "us".into() };
        let event = ChannelEvent { name: name.into(), payload: payload.into() };
        within(self.route.receive(&tenant("a"), Arc::default(), peer, event)).await
    }

    /// What a line in a request's body is answered.
    async fn tell(&self, whose: &str, line: &str) -> String {
        let body = Full::new(Bytes::from(line.to_owned()));
        let request = Request::post("http://test.invalid/").body(body).unwrap();
        let answer = within(self.route.handle_for(&tenant(whose), request)).await.unwrap();
        let text = within(answer.into_body().collect()).await.unwrap().to_bytes();
        String::from_utf8(text.to_vec()).unwrap()
    }
}

fn receiver() -> RouteSpec {
    RouteSpec {
        grants: Grants { channels: true, ..Grants::default() },
        channel_message_bytes: Some(MESSAGE_BYTES),
        ..spec(guest("receiver"))
    }
}

fn tenant(id: &str) -> Arc<Tenant> {
    Arc::new(Tenant { id: TenantId::new(id).unwrap(), ..Tenant::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_let_in_with_its_rooms_events_and_note_or_told_why_not() {
    let place = Place::with(Limits::default()).await;
    let welcome = place.connect("room=us&room=all&note=n&hello=1").await.unwrap().unwrap();
    assert_eq!((welcome.rooms, welcome.note.as_str()), (vec!["us".to_owned(), "all".into()], "n"));
    let hello = &welcome.events[0];
    let said =
        r#"{"kind": "Websocket", "path": "/ws", "cookie": "me", "address": "-", "key": "-", "auth": [1]}"#;
    assert_eq!((hello.name.as_str(), hello.payload.as_str()), ("hello", said));
    assert_eq!(place.connect("refuse=full").await.unwrap(), Err("full".into()));
    assert!(place.route.receives());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_answered_and_what_it_leads_to_is_sent_in_the_clients_own_realm() {
    let place = Place::with(Limits::default()).await;
    assert_eq!(place.receive("echo", "{\"a\": 1}").await.unwrap(), Ok(Some("{\"a\": 1}".into())));
    assert_eq!(place.receive("who", "1").await.unwrap(), Ok(Some("\"ann us\"".into())));
    assert_eq!(place.receive("other", "1").await.unwrap(), Ok(None));
    assert_eq!(place.receive("fail", "no").await.unwrap(), Err("no".into()));
    assert_eq!(place.receive("say", "[2]").await.unwrap(), Ok(Some("7".into())));
    assert_eq!(place.receive("enter", "\"there\"").await.unwrap(), Ok(None));
    let peer = ChannelPeer { id: "ann".into(), note: "us".into() };
    within(place.route.disconnect(&tenant("a"), Arc::default(), peer)).await.unwrap();
    let expected = ["/test a us: said [2]", "ann into there, one of 32", "/test a watchers: gone \"ann us\""];
    assert_eq!(place.notebook.take(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_sends_to_rooms_and_clients_of_its_own_tenant() {
    let place = Place::with(Limits::default()).await;
    assert_eq!(place.tell("b", "publish us news {\"x\": [1, 2]}").await, "7");
    for (line, answer) in [
        ("send ann news 1", "sent"),
        ("join ann us", "in"),
        ("leave ann us", "out"),
        ("close ann", "closed"),
        ("send bob news 1", "error: not found"),
    ] {
        assert_eq!(place.tell("a", line).await, answer, "{line}");
        assert_eq!(place.tell("b", line).await, "error: not found", "{line}");
    }
    let expected = [
        "/test b us: news {\"x\": [1, 2]}",
        "ann: news 1",
        "ann into us, one of 32",
        "ann out of us",
        "ann closed",
    ];
    assert_eq!(place.notebook.take(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_the_rules_of_the_interface_is_refused_by_name() {
    let place = Place::with(Limits::default()).await;
    let long = "n".repeat(129);
    for (line, why) in [
        (format!("publish {long} news 1"), "the name of a room has 1 to 128 bytes"),
        (format!("join ann {long}"), "the name of a room"),
        (format!("send ann {long} 1"), "the name of an event"),
        ("publish us \u{7} 1".into(), "no control characters"),
        ("publish us news no".into(), "a payload is no JSON"),
        (format!("large us {}", MESSAGE_BYTES + 1), "1025 bytes; at most 1024 (channels.message-bytes"),
    ] {
        let answer = place.tell("a", &line).await;
        assert!(answer.starts_with("error: invalid: ") && answer.contains(why), "{answer}");
    }
    assert_eq!(place.tell("a", &format!("large us {MESSAGE_BYTES}")).await, "7");
    for query in ["rooms=33", "events=17", "long-note=4097", "payload=no", &format!("room={long}")] {
        let failure = place.connect(query).await.expect_err(query);
        assert_eq!(failure.code(), "no_response", "{query}");
    }
    assert!(place.connect("rooms=32&events=16&long-note=4096").await.unwrap().is_ok());
    assert_eq!(place.receive("no-json", "1").await.unwrap_err().code(), "no_response");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_traps_or_takes_too_long_is_that_clients_alone() {
    let limits = Limits { wall: Duration::from_millis(100), ..Limits::default() };
    let place = Place::with(limits).await;
    assert_eq!(place.connect("trap=1").await.unwrap_err().code(), "guest_trap");
    assert_eq!(place.receive("trap", "1").await.unwrap_err().code(), "guest_trap");
    assert_eq!(place.receive("wait", "60000").await.unwrap_err().code(), "wall_limit");
    assert_eq!(place.receive("echo", "1").await.unwrap(), Ok(Some("1".into())));
    crate::kit::until(|| place.route.in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_receives_nobody_and_a_route_without_the_grant_do_not_load() {
    let runtime = runtime_with(RuntimeConfig::default(), scheduler(Duration::ZERO));
    let problems = |spec| async { runtime.deploy(spec).await.unwrap_err().problems };
    let found = problems(RouteSpec { grants: Grants::default(), ..receiver() }).await;
    assert!(matches!(&found[..], [LoadProblem::NotGranted { key: "grants.channels", .. }]), "{found:?}");
    let deaf = RouteSpec { channel_message_bytes: Some(1), ..spec(guest("plain3")) };
    let found = problems(deaf).await;
    assert!(matches!(&found[..], [LoadProblem::NoReceiver { .. }]), "{found:?}");
    assert!(found[0].to_string().contains("channel-handler"));
    // without a server, nobody is connected
    let route = runtime.deploy(receiver()).await.unwrap();
    let alone = Place { route, notebook: Arc::default() };
    assert_eq!(alone.tell("a", "publish us news 1").await, "0");
    assert_eq!(alone.tell("a", "send ann news 1").await, "error: not found");
}
