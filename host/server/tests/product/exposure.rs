//! What strangers find on a host that nobody has configured with care: nothing of its insides, and no secret anywhere.

use http::StatusCode;
use serde_json::json;

use crate::client::{get, with_method};
use crate::host::{GENERATIONS, Host, JSON, atelier, guest};

/// Planted where secrets stand; found nowhere.
const CANARIES: [&str; 3] = ["canary-in-config", "canary-in-variable", "canary-in-origin"];

/// Where other hosts show their insides.
const INSIDES: [&str; 14] = [
    "/metrics",
    "/status",
    "/tenants",
    "/config",
    "/keys",
    "/admin",
    "/debug",
    "/debug/pprof/heap",
    "/.env",
    "/atelier.toml",
    "/components",
    "/plugins",
    "/cleanup",
    "/..%2fatelier.toml",
];

fn manifest() -> String {
    let [config, _, origin] = CANARIES;
    format!(
        "[[route]]\nname = \"a\"\npath = \"/a\"\ncomponent = \"guest.wasm\"\nenv = [\"CANARY_*\"]\n\
         config = {{ api-key = \"{config}\", backend = \"redis://me:{origin}@cache:6379\" }}\n"
    )
}

#[tokio::test]
async fn by_default_strangers_reach_the_routes_and_nothing_else() {
    let host = Host::start().await;
    for path in INSIDES {
        let answer = get(host.edge, path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", String::from_utf8_lossy(&answer.body));
    }
    let shown = atelier(host.folder.path()).args(["config", "--print", "--json"]).output().unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    for address in ["listen", "admin"] {
        let address = shown["server"][address].as_str().unwrap();
        assert!(address.starts_with("127.0.0.1:"), "{address} is open to other machines by default");
    }
}

#[tokio::test]
async fn nothing_on_the_operators_address_changes_anything() {
    let host = Host::start().await;
    for path in INSIDES {
        for method in [http::Method::POST, http::Method::PUT, http::Method::DELETE] {
            let answer = with_method(host.admin, method.clone(), path).await;
            assert!(answer.status.is_client_error(), "{method} {path}: {}", answer.status);
        }
    }
}

#[tokio::test]
async fn no_secret_of_a_route_is_shown_to_anybody() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("guest.wasm"), guest("plain2")).unwrap();
    let host = Host::told(folder, Some(&manifest()), |command| {
        command.env("CANARY_TOKEN", CANARIES[1]);
    })
    .await;
    for path in ["/a", "/a/trap", "/a/echo", "/nowhere"] {
        get(host.edge, path).await;
    }
    host.post(GENERATIONS, JSON, json!({ "prompt": "a cat" })).await;
    let mut pages = vec![("log".to_owned(), host.log())];
    for path in ["/status", "/metrics", "/tenants", "/version", "/health", "/ready"] {
        pages.push((path.to_owned(), get(host.admin, path).await.text().to_owned()));
    }
    for path in ["/a/echo", "/a/trap"] {
        pages.push((path.to_owned(), get(host.edge, path).await.text().to_owned()));
    }
    let shown = atelier(host.folder.path()).args(["config", "--print"]).output().unwrap();
    pages.push(("config --print".to_owned(), String::from_utf8(shown.stdout).unwrap()));
    for (page, text) in &pages {
        assert!(!text.is_empty(), "{page} is empty");
        for canary in CANARIES {
            assert!(!text.contains(canary), "{page} shows {canary}:\n{text}");
        }
    }
}
