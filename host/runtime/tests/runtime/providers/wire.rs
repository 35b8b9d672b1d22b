//! What a server may do, with the plugins that are shipped.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use atelier_inference::chat::{Finish, Usage};
use atelier_inference::{ChatRequest, Error, ModelId};
use atelier_runtime::{Code, ProviderLimits, ProviderSpec, Runtime};
use tokio::net::TcpListener;

use super::standin::{Script, Standin};
use super::{KEY, ask, ended, fail, model, provider, reply, request, runtime, shipped};
use crate::kit::{until, within};

/// A whole reply of OpenAI's, `Hyvää yötä 🌙`.
const CHUNKS: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n\
    : keep-alive\n\n\
    data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hyvää \"},\"finish_reason\":null}]}\n\n\
    data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"yötä 🌙\"},\"finish_reason\":null}]}\n\n\
    data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\n\
    data: [DONE]\n\n";
/// Its beginning.
const FIRST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hyvää \"}}]}\n\n";
const ERROR: &str =
    "{\"error\":{\"message\":\"it broke\",\"type\":\"server_error\",\"param\":null,\"code\":null}}";

fn openai() -> Code {
    static CODE: OnceLock<Code> = OnceLock::new();
    CODE.get_or_init(|| shipped("provider-openai")).clone()
}

fn limits() -> ProviderLimits {
    ProviderLimits { retries: 2, circuit_failures: 100, ..ProviderLimits::default() }
}

/// A server that answers by these scripts, and a runtime with its model `far`.
async fn served(scripts: Vec<Script>, limits: ProviderLimits) -> (Standin, Runtime) {
    let server = Standin::open(scripts).await;
    let spec = ProviderSpec { limits, ..provider(openai(), &server.at("/v1")) };
    let runtime = runtime(vec![spec]).await;
    (server, runtime)
}

async fn fails_once(script: Script, limits: ProviderLimits) -> (Standin, Error) {
    let (server, runtime) = served(vec![script], limits).await;
    let error = fail(&runtime, "hello").await;
    (server, error)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_reply_arrives_whole_however_it_is_cut() {
    let crlf = CHUNKS.replace('\n', "\r\n");
    let scripts = vec![
        Script::events(CHUNKS),
        Script::stream("text/event-stream; charset=utf-8").byte_by_byte(CHUNKS),
        Script::stream("text/event-stream").byte_by_byte(&crlf),
    ];
    let (server, runtime) = served(scripts, limits()).await;
    for _ in 0..3 {
        let (reply, outcome) = reply(&runtime, request("hello")).await;
        assert_eq!((reply.text.as_str(), reply.finish), ("Hyvää yötä 🌙", Finish::End));
        assert_eq!(reply.usage, Usage { prompt_tokens: 9, cached_tokens: 0, reply_tokens: 4 });
        assert_eq!(outcome.model.as_str(), "far");
    }
    let sent = server.requests().concat().to_ascii_lowercase();
    assert!(sent.contains("post /v1/chat/completions http/1.1"), "{sent}");
    assert!(sent.contains(&format!("authorization: bearer {KEY}")), "{sent}");
    assert!(sent.contains("accept-encoding: identity") && !sent.contains("gzip"), "{sent}");
    assert!(sent.contains("\"model\":\"gpt\"") && sent.contains("\"stream\":true"), "{sent}");
    assert!(!sent.contains("temperature"), "what was not asked is the server's to choose: {sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stumbles_is_asked_again_when_it_wants_to_be() {
    let scripts = vec![
        Script::error("500 Internal Server Error", "", ERROR),
        Script::error("429 Too Many Requests", "retry-after: 1\r\n", ERROR),
        Script::events(CHUNKS),
    ];
    let (server, runtime) = served(scripts, limits()).await;
    let began = Instant::now();
    reply(&runtime, request("hello")).await;
    assert_eq!((server.requests().len(), runtime.providers()[0].retries), (3, 2));
    assert!(began.elapsed() >= Duration::from_secs(1), "it was asked before it wanted to be");
    let scripts = vec![Script::error("503 Service Unavailable", "retry-after: 3600\r\n", ERROR)];
    let (server, runtime) = served(scripts, limits()).await;
    let error = fail(&runtime, "hello").await;
    assert!(matches!(error, Error::Unavailable { retry_after: Some(_), .. }), "{error:?}");
    assert_eq!(server.requests().len(), 1, "an hour is longer than the call has");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_again_once_text_was_told() {
    let middle = format!("{FIRST}data: {ERROR}\n\n");
    for script in [
        Script::events(FIRST).reset(),
        Script::events(FIRST),
        Script::events(&middle),
        Script::events(&format!("{FIRST}data: {{\"choices\":\n\n")),
    ] {
        let (server, runtime) = served(vec![script, Script::events(CHUNKS)], limits()).await;
        let (told, outcome) = ask(&runtime, request("hello")).await;
        assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
        assert!(told == "Hyvää " || told.is_empty() && server.requests().len() > 1, "{told}");
        assert_eq!(server.requests().len(), 1, "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_keeps_everybody_waiting_is_given_up_in_time() {
    let soon = Duration::from_millis(300);
    let patient = ProviderLimits { first_byte: soon, between_bytes: soon, ..limits() };
    for script in [
        Script::silence().hold(),
        Script::events(FIRST).hold(),
        Script::events("").wait(Duration::from_millis(100)).then(FIRST).hold(),
    ] {
        let (server, error) = fails_once(script, patient.clone()).await;
        assert!(matches!(error, Error::TimedOut(_)), "{error:?}");
        until(|| server.left() == 1).await;
        assert_eq!(server.requests().len(), 1, "time that is over does not come back");
    }
    let short = ProviderLimits { timeout: soon, ..limits() };
    let drip = (0..100)
        .fold(Script::events(""), |script, _| script.then(": drip\n\n").wait(Duration::from_millis(50)));
    let began = Instant::now();
    let (_, error) = fails_once(drip, short).await;
    assert!(matches!(error, Error::TimedOut(_)) && began.elapsed() < Duration::from_secs(20), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_server_is_an_error_or_another_models_reply() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let spec = || ProviderSpec { limits: limits(), ..provider(openai(), &format!("http://{dead}/v1")) };
    let alone = runtime(vec![spec()]).await;
    let error = fail(&alone, "hello").await;
    assert!(matches!(&error, Error::Unavailable { reason, .. } if reason.contains("refused")), "{error:?}");
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    let models = vec![model("far", Some("echo"))];
    let backed = runtime(vec![ProviderSpec { models, ..spec() }]).await;
    let (reply, outcome) = reply(&backed, request("hello")).await;
    assert_eq!((reply.text.as_str(), outcome.model.as_str()), ("you said: hello", "echo"));
    assert_eq!(ended(&backed, "unavailable"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_goes_to_its_server_and_nowhere_else() {
    let echo = format!(
        "{{\"error\":{{\"message\":\"Incorrect API key provided: {KEY}\",\"code\":\"invalid_api_key\"}}}}"
    );
    let (server, error) = fails_once(Script::error("401 Unauthorized", "", &echo), limits()).await;
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(server.requests().len(), 1, "a key does not get better by trying");
    let echo = format!(
        "{{\"error\":{{\"message\":\"no model for {KEY}\",\"type\":\"invalid_request_error\",\"code\":null}}}}"
    );
    // `fail` looks for the key
    fails_once(Script::error("400 Bad Request", "", &echo), limits()).await;
    let other = Standin::open(vec![Script::events(CHUNKS)]).await;
    let elsewhere = format!("location: {}\r\n", other.at("/v1/chat/completions"));
    for status in ["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let (_, error) = fails_once(Script::whole(status, &elsewhere, ""), limits()).await;
        assert!(error.to_string().contains("base-url"), "{error}");
    }
    assert_eq!(other.requests(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_reply_is_said_to_be_none() {
    for (script, named) in [
        (Script::whole("200 OK", "content-type: text/html\r\n", "<html>"), "text/html"),
        (Script::whole("200 OK", "content-type: application/json\r\n", "{}"), "no stream"),
        (
            Script::whole(
                "200 OK",
                "content-type: text/event-stream\r\ncontent-encoding: gzip\r\n",
                "\u{1f}",
            ),
            "compressed",
        ),
        (Script::events("data: {\"choices\":[\n\n"), "no JSON"),
        (Script::events("data: {\"choices\":[{\"finish_reason\":\"tool_calls\"}]}\n\n"), "tool_calls"),
        (Script::stream("text/event-stream").endlessly("data: x"), "more than"),
        (Script::silence().then("SSH-2.0-OpenSSH_9.6\r\n"), "HTTP"),
    ] {
        let limits = ProviderLimits { retries: 0, ..limits() };
        let (_, error) = fails_once(script, limits).await;
        let is_typed = matches!(error, Error::Unavailable { .. });
        assert!(is_typed && error.to_string().contains(named), "{named}: {error:?}");
    }
    let long =
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "word ".repeat(2_000));
    let (server, error) = fails_once(Script::stream("text/event-stream").endlessly(&long), limits()).await;
    assert!(error.to_string().contains("more than"), "{error}");
    until(|| server.left() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_takes_the_connection_along() {
    let (server, runtime) = served(vec![Script::events(FIRST).hold()], limits()).await;
    let mut ticket = runtime.chat(request("hello"), &ModelId::new("far")).unwrap();
    while let Some(event) = within(ticket.events.next()).await {
        if matches!(event, atelier_inference::Event::Said { .. }) {
            break;
        }
    }
    assert_eq!(server.left(), 0);
    drop(ticket);
    until(|| server.left() == 1).await;
    until(|| runtime.providers()[0].running == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_sent_and_held_to() {
    let schema = Some(r#"{"enum":["create","edit"]}"#.to_owned());
    let said = |text: &str| {
        let text = text.replace('"', "\\\"");
        Script::events(&format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n"
        ))
    };
    let (server, runtime) = served(vec![said("\"edit\""), said("undo")], limits()).await;
    let asked = || ChatRequest { schema: schema.clone(), ..request("hello") };
    assert_eq!(reply(&runtime, asked()).await.0.text, "\"edit\"");
    assert!(server.requests()[0].contains("\"json_schema\""), "{:?}", server.requests());
    let error = ask(&runtime, asked()).await.1.unwrap_err();
    assert!(error.to_string().contains("does not fit the schema"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_has_no_place_for_is_refused_before_it_is_asked() {
    let (server, runtime) = served(vec![Script::events(CHUNKS)], limits()).await;
    let field = async |request: ChatRequest| match ask(&runtime, request).await.1 {
        Err(Error::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(ChatRequest { top_k: Some(40), ..request("hello") }).await, "top-k");
    assert_eq!(field(ChatRequest { min_p: Some(0.1), ..request("hello") }).await, "min-p");
    assert_eq!(field(ChatRequest { seed: Some(u64::MAX), ..request("hello") }).await, "seed");
    assert!(server.requests().is_empty());
    let config = vec![("dialect".into(), "llama.cpp".into())];
    let local = runtime_of(ProviderSpec { config, ..provider(openai(), &server.at("/v1")) }).await;
    reply(&local, ChatRequest { top_k: Some(40), ..request("hello") }).await;
    assert!(server.requests()[0].contains("\"top_k\":40"), "{:?}", server.requests());
}

async fn runtime_of(spec: ProviderSpec) -> Runtime {
    runtime(vec![spec]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ollama_and_gemini_are_spoken_to_in_their_own_words() {
    let lines = "{\"message\":{\"content\":\"Hyvää \"},\"done\":false}\n{\"message\":{\"content\":\"yötä 🌙\"},\"done\":false}\n\
        {\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":9,\"eval_count\":4}\n";
    let events = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hyvää \"}]}}]}\r\n\r\n\
        data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"yötä 🌙\"}]},\"finishReason\":\"STOP\"}],\
        \"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":4}}\r\n\r\n";
    let gemini_error = "{\"error\":{\"code\":503,\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}";
    for (plugin, base, stream, text, sent, error) in [
        ("provider-ollama", "", "application/x-ndjson", lines, "POST /api/chat ", "{\"error\":\"busy\"}"),
        (
            "provider-gemini",
            "/v1beta",
            "text/event-stream",
            events,
            "POST /v1beta/models/gpt:streamGenerateContent?alt=sse ",
            gemini_error,
        ),
    ] {
        let scripts = vec![
            Script::error("503 Service Unavailable", "", error),
            Script::stream(stream).byte_by_byte(text),
            Script::stream(stream).then(&text[..text.find("Hyv").unwrap()]).reset(),
        ];
        let server = Standin::open(scripts).await;
        let spec = ProviderSpec {
            limits: ProviderLimits { retries: 1, ..limits() },
            ..provider(shipped(plugin), &server.at(base))
        };
        let runtime = runtime(vec![spec]).await;
        let (reply, _) = reply(&runtime, request("hello")).await;
        assert_eq!(reply.text, "Hyvää yötä 🌙", "{plugin}");
        assert_eq!(reply.usage, Usage { prompt_tokens: 9, cached_tokens: 0, reply_tokens: 4 });
        let requests = server.requests();
        assert!(requests.len() == 2 && requests[0].starts_with(sent), "{plugin}: {requests:?}");
        assert!(requests[0].contains(KEY) && !requests[0].lines().next().unwrap().contains(KEY));
        assert!(matches!(fail(&runtime, "hello").await, Error::Unavailable { .. }), "{plugin}");
    }
}
