//! Models that are served elsewhere: what a plugin may do to the host (`scripted.rs`, with a plugin that asks nobody; of pictures and
//! speech in `pictures.rs` and `transcripts.rs`), and what a server may do to it (`wire.rs`, and `files.rs` for pictures and
//! recordings, with the plugins that are shipped and servers that speak their protocols, well and badly).

mod files;
mod pictures;
mod scripted;
mod standin;
mod transcripts;
mod wire;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use atelier_inference::chat::Role;
use atelier_inference::fake::FakeEngine;
use atelier_inference::{
    ChatRequest, Error, Event, Features, ModelId, Outcome, Pixels, Product, QueueConfig, Reply, Scheduler,
    Size, Turn,
};
use atelier_runtime::{
    Code, Makes, Origin, ProvidedSpec, ProviderLimits, ProviderSpec, Runtime, RuntimeConfig, Secret,
};

use crate::kit::{runtime_with, within};

/// The key of every provider here; nothing but a server's request may show it.
const KEY: &str = "sk-tests-0123456789";

/// A plugin that is shipped, built as it is for the bundle.
fn shipped(name: &str) -> Code {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("guests");
    let status = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .current_dir(&root)
        .args(["build", "--quiet", "--profile", "guest", "--target", "wasm32-wasip2", "--package", name])
        .arg("--target-dir")
        .arg(&target)
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .expect("cargo starts");
    assert!(status.success(), "{name} did not build; is the target wasm32-wasip2 installed?");
    let file = target.join("wasm32-wasip2/guest").join(format!("{}.wasm", name.replace('-', "_")));
    Code { name: name.into(), bytes: std::fs::read(file).unwrap().into() }
}

/// A provider at an address with one model, `far`, that has no fallback and is not asked twice.
fn provider(plugin: Code, base_url: &str) -> ProviderSpec {
    let origin = base_url.split('/').take(3).collect::<Vec<_>>().join("/");
    ProviderSpec {
        id: "cloud".into(),
        plugin,
        base_url: base_url.into(),
        key: Secret::new(KEY),
        config: Vec::new(),
        outbound: vec![Origin::parse(&origin).unwrap()],
        outbound_private: Vec::new(),
        limits: ProviderLimits { retries: 0, circuit_failures: 100, ..ProviderLimits::default() },
        models: vec![model("far", None)],
    }
}

fn model(id: &str, fallback: Option<&str>) -> ProvidedSpec {
    ProvidedSpec {
        id: ModelId::new(id),
        name: "gpt".into(),
        description: String::new(),
        makes: Makes::Replies { context_length: 4_096 },
        fallback: fallback.map(ModelId::new),
    }
}

/// A runtime with models of its own, `fake`, `echo` and `ear`, and these providers.
async fn runtime(providers: Vec<ProviderSpec>) -> Runtime {
    let engine =
        FakeEngine { step: Duration::ZERO, talkers: &["echo"], listeners: &["ear"], ..FakeEngine::default() };
    let scheduler = Scheduler::start(Box::new(engine), QueueConfig::default()).unwrap();
    let runtime = runtime_with(RuntimeConfig::default(), scheduler);
    runtime.provide(providers).await.unwrap();
    runtime
}

fn request(text: &str) -> ChatRequest {
    ChatRequest { turns: vec![Turn { role: Role::User, text: text.into() }], ..ChatRequest::default() }
}

/// What was told on the way, and the end.
async fn ask(runtime: &Runtime, request: ChatRequest) -> (String, Result<Outcome, Error>) {
    let mut ticket = match runtime.chat(request, &ModelId::new("far")) {
        Ok(ticket) => ticket,
        Err(error) => return (String::new(), Err(error)),
    };
    let mut told = String::new();
    while let Some(event) = within(ticket.events.next()).await {
        if let Event::Said { text } = event {
            told.push_str(&text);
        }
    }
    (told, within(ticket.finish()).await)
}

/// The reply; whatever was told on the way is its text.
async fn reply(runtime: &Runtime, request: ChatRequest) -> (Reply, Outcome) {
    let (told, outcome) = ask(runtime, request).await;
    let outcome = outcome.unwrap_or_else(|error| panic!("{error}"));
    let Product::Reply(reply) = outcome.product.clone() else { panic!("{outcome:?}") };
    assert_eq!(told, reply.text);
    (reply, outcome)
}

/// Why there is no reply.
async fn fail(runtime: &Runtime, text: &str) -> Error {
    let error = ask(runtime, request(text)).await.1.expect_err("there should be no reply");
    assert!(!error.to_string().contains(KEY), "{error}");
    error
}

/// How often attempts ended so.
fn ended(runtime: &Runtime, how: &str) -> u64 {
    let status = runtime.providers();
    let attempts = status.iter().flat_map(|provider| &provider.attempts);
    attempts.filter(|(known, _)| *known == how).map(|(_, count)| count).sum()
}

/// A file that the tests' decoder reads as a white picture of 16x16.
const FILE: [u8; 2] = [b'p', 16];

/// A picture of one colour.
fn flat(width: u32, height: u32) -> Pixels {
    Pixels::new(width, height, [200, 40, 20, 255].repeat((width * height) as usize)).unwrap()
}

/// A model of pictures of 16x16 and 24x16.
fn painter(id: &str, fallback: Option<&str>) -> ProvidedSpec {
    let features = Features { text_to_image: true, edit: true, inpaint: true, ..Features::NONE };
    let sizes = vec![Size { width: 16, height: 16 }, Size { width: 24, height: 16 }];
    ProvidedSpec { makes: Makes::Pictures { features, sizes }, ..model(id, fallback) }
}

/// A model that writes down speech.
fn listener(id: &str, fallback: Option<&str>) -> ProvidedSpec {
    ProvidedSpec { makes: Makes::Transcripts, ..model(id, fallback) }
}
