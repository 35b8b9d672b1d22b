//! Changes of many routes at a time: each is served as soon as it is ready, and the newest change of a route wins.

use http::StatusCode;
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use crate::client::{DEADLINE, get};
use crate::host::{Host, example, guest, replaced};

const HELLO: &str = "hello from wasi:http 0.2";

fn hello(digit: u8) -> Vec<u8> {
    let text = format!("hello from wasi:http 0.{digit}");
    replaced(&example("any-component/hello-0.2", "hello_02.wasm"), HELLO.as_bytes(), text.as_bytes())
}

/// Two routes. A version of `slow` that sleeps at `/sleep` is being made for as long as its probe waits.
fn manifest(timeout: Duration) -> String {
    let (path, timeout) = ("/sleep", timeout.as_millis());
    format!(
        "[[route]]\nname = \"slow\"\npath = \"/slow\"\ncomponent = \"slow.wasm\"\nprobe = {{ path = \"{path}\", timeout-ms = \
         {timeout} }}\nlimits = {{ wall-ms = 600000 }}\n{}",
        route("other", "/")
    )
}

fn route(name: &str, path: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\npath = \"{path}\"\ncomponent = \"other.wasm\"\n")
}

async fn host(timeout: Duration) -> Host {
    let folder = tempfile::tempdir().unwrap();
    for name in ["slow.wasm", "other.wasm"] {
        std::fs::write(folder.path().join(name), hello(2)).unwrap();
    }
    Host::with(folder, Some(&manifest(timeout))).await
}

/// Returns once a path is answered so.
async fn until_answered(host: &Host, path: &str, digit: u8) {
    let (expected, end) = (format!("hello from wasi:http 0.{digit}\n"), Instant::now() + DEADLINE);
    loop {
        let answer = get(host.edge, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        if answer.text() == expected {
            return;
        }
        assert!(Instant::now() < end, "{path} still answers {}", answer.text());
        sleep(Duration::from_millis(20)).await;
    }
}

fn reloads(status: &Value) -> u64 {
    status["reload"]["reloads"].as_u64().unwrap()
}

#[tokio::test]
async fn a_route_is_served_as_soon_as_it_is_ready_though_another_is_still_being_made() {
    let timeout = Duration::from_secs(600);
    let host = host(timeout).await;
    host.put("slow.wasm", &guest("plain2"));
    host.put("other.wasm", &hello(5));
    until_answered(&host, "/", 5).await;
    // a later change, while the first is not wholly taken up
    host.put("other.wasm", &hello(6));
    until_answered(&host, "/", 6).await;
    assert_eq!(reloads(&host.status().await), 0, "the slow one is still being made");
    assert_eq!(get(host.edge, "/slow").await.text().trim(), HELLO);
    // routes that come, move and go
    let moved = manifest(timeout).replace("path = \"/\"", "path = \"/elsewhere\"");
    host.put("atelier.toml", (moved + &route("new", "/")).as_bytes());
    host.until("moved", |status| status["routes"].as_array().unwrap().len() == 3).await;
    for path in ["/", "/elsewhere"] {
        until_answered(&host, path, 6).await;
    }
    assert_eq!(get(host.edge, "/slow").await.text().trim(), HELLO);
    host.put("atelier.toml", route("new", "/").as_bytes());
    host.until("gone", |status| status["routes"].as_array().unwrap().len() == 1).await;
    until_answered(&host, "/slow", 6).await;
}

#[tokio::test]
async fn the_newest_change_of_a_route_wins_though_an_older_one_was_slow() {
    let host = host(Duration::from_secs(3)).await;
    host.put("slow.wasm", &guest("plain2"));
    host.until("seen", |status| status["reload"]["last"].is_u64()).await;
    host.put("slow.wasm", &hello(7));
    until_answered(&host, "/slow", 7).await;
    let status = host.until("taken up", |status| reloads(status) == 2).await;
    assert_eq!(status["reload"]["failures"], 1, "{status:#}");
    assert!(status["routes"][0]["error"].is_null(), "{status:#}");
}
