//! Models of other servers, as people meet them: on the command line, in the lists of operators, in what is counted. What
//! servers may do is tested in the runtime.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{atelier, text, with_manifest};
use crate::client::get;
use crate::house::{House, folder, manifest, route};

const KEY: &str = "sk-of-a-test";

/// A server of OpenAI's interface that says `hello` to whoever has the key.
fn standin() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let mut bytes = [0; 16_384];
            let count = socket.read(&mut bytes).unwrap_or(0);
            let head = String::from_utf8_lossy(&bytes[..count]).to_lowercase();
            let reply = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
            let answer = match head.contains(&format!("authorization: bearer {KEY}")) {
                true => format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{reply}"
                ),
                false => "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".into(),
            };
            let _ = socket.write_all(answer.as_bytes());
        }
    });
    port
}

fn providers(port: u16, variable: &str) -> String {
    format!(
        "[[provider]]\nid = \"cloud\"\nplugin = \"builtin:provider-openai\"\nbase-url = \"http://127.0.0.1:{port}/v1\"\n\
         api-key-env = \"{variable}\"\nretries = 0\n\
         [[provider]]\nid = \"dead\"\nplugin = \"builtin:provider-ollama\"\nbase-url = \"http://127.0.0.1:9\"\nretries = 0\n\
         [[model]]\nid = \"far\"\nsource = \"provider:cloud/gpt\"\n\
         [[model]]\nid = \"absent\"\nsource = \"provider:dead/llama3.2:1b\"\nfallback = \"far\"\n\
         [[model]]\nid = \"brush\"\nsource = \"provider:cloud/dall-e-3\"\nmakes = \"pictures\"\n\
         [[model]]\nid = \"ear\"\nsource = \"provider:cloud/whisper-1\"\nmakes = \"transcripts\"\n"
    )
}

fn chat(folder: &TempDir, arguments: &[&str], key: Option<&str>) -> (bool, String, String) {
    let mut command = atelier(folder.path());
    command.args(["chat", "hi"]).args(arguments).env_remove("TEST_KEY");
    command.envs(key.map(|key| ("TEST_KEY", key)));
    let output = command.output().unwrap();
    let shown = [text(&output.stdout), text(&output.stderr)].map(str::to_owned);
    assert!(!shown.concat().contains(KEY), "{shown:?}");
    let [out, err] = shown;
    (output.status.success(), out, err)
}

#[test]
fn atelier_chat_asks_a_provider_and_its_fallback() {
    let folder = with_manifest(&manifest("", &providers(standin(), "TEST_KEY")));
    let (is_ok, out, err) = chat(&folder, &["--model", "far"], Some(KEY));
    assert!(is_ok && out == "hello\n", "{out}{err}");
    let (is_ok, out, err) = chat(&folder, &["--model", "absent", "--json"], Some(KEY));
    let answer: Value = serde_json::from_str(&out).unwrap_or_default();
    assert!(is_ok && answer["text"] == "hello" && answer["model"] == "far", "{out}{err}");
    assert!(answer["notes"].to_string().contains("`far` replied instead"), "{answer}");
    let (is_ok, _, err) = chat(&folder, &["--model", "far"], Some("wrong"));
    assert!(!is_ok && err.contains("does not accept the key"), "{err}");
    let (is_ok, _, err) = chat(&folder, &["--model", "far"], None);
    assert!(!is_ok && err.contains("set the variable TEST_KEY"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_such_models_among_the_others() {
    // whatever its value is, it is a key that nobody is sent
    let routes = [providers(9, "PATH"), route("a", "/", "")].concat();
    let house = House::open(folder(), &manifest("", &routes)).await;
    let models = get(house.admin, "/v1/models").await.json();
    let known = models["models"].as_array().unwrap();
    let kind = |id: &str| known.iter().find(|model| model["id"] == id).unwrap()["kind"].clone();
    assert_eq!([kind("far"), kind("brush"), kind("ear")], ["language", "image", "speech"]);
    let far = known.iter().find(|model| model["id"] == "far").unwrap().clone();
    assert_eq!((&far["state"], &far["provider"]), (&"elsewhere".into(), &"cloud".into()), "{models}");
    assert_eq!(far["source"], "provider:cloud/gpt");
    let status = house.status().await;
    assert_eq!(status["providers"][1]["id"], "dead", "{status}");
    let page = get(house.admin, "/metrics").await;
    let page = page.text();
    assert!(page.contains("atelier_provider_left_alone{provider=\"cloud\"} 0"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_key_a_model_is_not_here() {
    let routes = [providers(9, "TEST_KEY_THAT_NOBODY_SETS"), route("a", "/", "")].concat();
    let house = House::open(folder(), &manifest("", &routes)).await;
    let models = get(house.admin, "/v1/models").await.json();
    let far = models["models"].as_array().unwrap().iter().find(|model| model["id"] == "far").unwrap().clone();
    assert_eq!(far["state"], "missing", "{models}");
    assert!(far["fix"].as_str().unwrap().contains("TEST_KEY_THAT_NOBODY_SETS"), "{far}");
}
