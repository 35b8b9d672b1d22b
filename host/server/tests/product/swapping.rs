//! Components of strangers, and components that are replaced while clients ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use crate::client;
use crate::client::get;
use crate::host::{Host, JSON, example, replaced, request};

const CLIENTS: usize = 8;
const SWAPS: usize = 20;
const ENHANCE: &str = "/v1/prompts/enhance";

fn route(name: &str, path: &str, component: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\npath = \"{path}\"\ncomponent = \"{component}\"\n")
}

#[tokio::test]
async fn components_written_for_other_hosts_serve_unmodified() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p2.wasm"), example("any-component/hello-0.2", "hello_02.wasm"))
        .unwrap();
    std::fs::write(folder.path().join("p3.wasm"), example("any-component/hello-0.3", "hello_03.wasm"))
        .unwrap();
    let routes = route("p2", "/p2", "p2.wasm") + &route("p3", "/p3", "p3.wasm");
    let host = Host::with(folder, Some(&routes)).await;
    assert_eq!(get(host.edge, "/p2").await.text(), "hello from wasi:http 0.2\n");
    assert_eq!(get(host.edge, "/p3").await.text(), "hello from wasi:http 0.3\n");
}

/// Clients that ask until told to stop; answers how many requests failed, and every text that was answered.
struct Crowd {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<String>>,
}

impl Crowd {
    fn start(host: &Host) -> Crowd {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (edge, stop) = (host.edge, stop.clone());
            clients.spawn(async move {
                let mut texts = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let answer =
                        client::send(edge, request(ENHANCE, JSON, &json!({ "prompt": "a cat" }))).await;
                    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
                    texts.push(answer.json()["enhanced_prompt"].as_str().unwrap().to_owned());
                }
                texts
            });
        }
        Crowd { stop, clients }
    }

    async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await.concat()
    }
}

async fn enhanced(host: &Host) -> String {
    let answer = host.post(ENHANCE, JSON, json!({ "prompt": "a cat" })).await;
    answer.json()["enhanced_prompt"].as_str().unwrap_or_default().to_owned()
}

async fn until_enhanced(host: &Host, wanted: &str) {
    for _ in 0..1_000 {
        if enhanced(host).await == wanted {
            return;
        }
    }
    panic!("never answered {wanted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_a_plugin_under_load_loses_no_request_and_takes_effect_without_a_restart() {
    let storybook = example("style-plugin", "style_storybook.wasm");
    // the same length, another word: a different plugin that is as valid
    let oilpaint = replaced(&storybook, b"watercolor", b"oil colors");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("style.wasm"), &storybook).unwrap();
    let manifest = "[[model]]\nid = \"atelier-nano\"\nsource = \"builtin:atelier-nano\"\n".to_owned()
        + &route("assist", "/", "builtin:prompt-assist")
        + "style = [\"style.wasm\"]\n[route.grants]\nmodels = [\"atelier-nano\"]\noutbound = [\"http://127.0.0.1:1\"]\n";
    let host = Host::with(folder, Some(&manifest)).await;
    let crowd = Crowd::start(&host);
    for swap in 0..SWAPS {
        let (plugin, word) =
            if swap % 2 == 0 { (&oilpaint, "oil colors") } else { (&storybook, "watercolor") };
        host.put("style.wasm", plugin);
        until_enhanced(&host, &format!("a cat, in {word}")).await;
    }
    broken_files_change_nothing(&host, &storybook).await;
    let texts = crowd.stop().await;
    assert!(
        texts.iter().all(|text| ["a cat, in watercolor", "a cat, in oil colors"].contains(&text.as_str()))
    );
    println!("{} requests by {CLIENTS} clients over {SWAPS} swaps, 0 failed", texts.len());
}

async fn broken_files_change_nothing(host: &Host, plugin: &[u8]) {
    // written in place and cut short, as a careless copy does
    std::fs::write(host.folder.path().join("style.wasm"), &plugin[..plugin.len() / 2]).unwrap();
    host.until("told of the truncated file", |status| status["routes"][0]["error"].is_string()).await;
    assert_eq!(enhanced(host).await, "a cat, in watercolor");
    host.put("style.wasm", plugin);
    host.until("whole again", |status| status["routes"][0]["error"].is_null()).await;
    // a handler is no style plugin
    host.put("style.wasm", &example("any-component/hello-0.3", "hello_03.wasm"));
    let status =
        host.until("told of the wrong component", |status| status["routes"][0]["error"].is_string()).await;
    assert!(status["routes"][0]["error"].as_str().unwrap().contains("style"), "{status:#}");
    assert_eq!(enhanced(host).await, "a cat, in watercolor");
}

#[tokio::test]
async fn a_handler_that_asks_for_more_than_its_grants_leaves_the_old_one_answering() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("live.wasm"), example("any-component/hello-0.2", "hello_02.wasm"))
        .unwrap();
    let host = Host::with(folder, Some(&route("live", "/", "live.wasm"))).await;
    host.put("live.wasm", atelier::app::builtin_component("prompt-assist").unwrap());
    let status =
        host.until("told of the missing grant", |status| status["routes"][0]["error"].is_string()).await;
    let error = status["routes"][0]["error"].as_str().unwrap();
    assert!(error.contains("grants."), "{error}");
    assert_eq!(get(host.edge, "/").await.text(), "hello from wasi:http 0.2\n");
}
