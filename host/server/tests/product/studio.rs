//! The studio of the built-in manifest: spoken commands in two languages, whose pictures stay whose they are, and are still
//! there after the process was killed.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::client::{Answer, send};
use crate::form::{Part, form};
use crate::host::{Host, JSON, STREAM};

const STUDIO: &str = "/studio/kuvagen";
/// Twelve steps of the manifest's own would be shown; these tests are about other things.
const MODE: (&str, &str) = ("mode", "local_fast");

fn recording(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file: PathBuf = root.join("../../examples/voice-loop/recordings").join(name).with_extension("wav");
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// One who keeps a cookie.
struct Browser {
    edge: SocketAddr,
    agent: &'static str,
    cookie: RefCell<String>,
}

impl Browser {
    fn of(host: &Host, agent: &'static str) -> Browser {
        Browser { edge: host.edge, agent, cookie: RefCell::default() }
    }

    async fn send(&self, mut request: Request<Full<Bytes>>) -> Answer {
        let headers = request.headers_mut();
        headers.insert("user-agent", self.agent.parse().unwrap());
        let cookie = self.cookie.borrow().clone();
        if !cookie.is_empty() {
            headers.insert("cookie", cookie.parse().unwrap());
        }
        let answer = send(self.edge, request).await;
        if let Some(set) = answer.headers.get("set-cookie") {
            let set = set.to_str().unwrap();
            assert!(
                set.contains("; Path=/studio/; ") && set.contains("HttpOnly") && set.contains("SameSite=Lax")
            );
            self.cookie.replace(set.split(';').next().unwrap().to_owned());
        }
        answer
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        let request =
            Request::builder().method(method).uri(format!("{STUDIO}/{path}")).header("host", "test");
        self.send(request.body(Full::default()).unwrap()).await
    }

    async fn command(&self, accept: &str, what: Part<'_>) -> Answer {
        let parts = [what, (MODE.0, None, MODE.1.as_bytes())];
        self.send(form(&format!("{STUDIO}/process_command"), &[("accept", accept)], &parts)).await
    }

    /// Says a recording, and gives every event.
    async fn say(&self, name: &str) -> Vec<(String, Value)> {
        let audio = recording(name);
        let answer = self.command(STREAM, ("audio", Some("command.wav"), &audio)).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
        let frames = answer.text().split_terminator("\n\n").filter_map(|frame| frame.split_once('\n'));
        frames.map(|(name, data)| (name[7..].to_owned(), serde_json::from_str(&data[6..]).unwrap())).collect()
    }

    /// Writes a command, and gives what came of it.
    async fn write(&self, text: &str) -> Value {
        let answer = self.command(JSON, ("text", None, text.as_bytes())).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
        answer.json()
    }
}

fn find<'a>(events: &'a [(String, Value)], name: &str) -> &'a Value {
    let found = events.iter().find(|(known, _)| known == name);
    &found.unwrap_or_else(|| panic!("no `{name}` in {events:?}")).1
}

fn is_webp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes[8..].starts_with(b"WEBP")
}

/// README lines: "Create a new image", "Make it look like nighttime", "Go back to the previous image"; English and Finnish.
#[tokio::test]
async fn spoken_commands_make_change_and_take_back_pictures_in_english_and_finnish() {
    let host = Host::start().await;
    for (language, [create, edit, undo]) in
        [("en", ["en-create", "en-night", "en-back"]), ("fi", ["fi-luo", "fi-yo", "fi-palaa"])]
    {
        let browser = Browser::of(&host, language);
        let made = browser.say(create).await;
        assert_eq!(find(&made, "transcript")["language"], language);
        let understood =
            json!({"action": "create", "prompt": "a red circle on a blue background", "target": ""});
        assert_eq!(*find(&made, "understood"), understood);
        assert!(find(&made, "preview")["image"].as_str().unwrap().starts_with("data:image/png;base64,"));
        assert_eq!(find(&made, "progress")["steps"], 12);
        let first = &find(&made, "done")["image"];
        let changed = browser.say(edit).await;
        let second = &find(&changed, "done")["image"];
        assert_eq!((&second["parent"], &second["model"]), (&first["name"], &json!("atelier-nano-edit")));
        let back = browser.say(undo).await;
        assert_eq!(find(&back, "done")["current"], first["name"]);
        let gallery = browser.ask("GET", "gallery").await.json();
        assert_eq!((&gallery["images"][0], &gallery["images"][1]), (second, first));
        for place in ["url", "thumbnail"] {
            let file = browser.ask("GET", second[place].as_str().unwrap()).await;
            assert!(is_webp(&file.body), "{place}");
        }
    }
}

/// README lines: "No mixing of data between users", "Gallery and tree view work with user-specific data".
#[tokio::test]
async fn two_visitors_of_one_address_see_nothing_of_each_other() {
    let host = Host::start().await;
    let (mine, other) = (Browser::of(&host, "mine"), Browser::of(&host, "other"));
    let name =
        mine.write("create a red circle on a blue background").await["current"].as_str().unwrap().to_owned();
    assert_eq!(other.ask("GET", "gallery").await.json(), json!({"images": [], "current": null}));
    for (method, path) in [
        ("GET", format!("images/{name}")),
        ("GET", format!("images/thumbnails/{name}")),
        ("DELETE", format!("api/images/{name}")),
    ] {
        assert_eq!(other.ask(method, &path).await.status.as_u16(), 404, "{method} {path}");
    }
    assert_eq!(mine.ask("DELETE", &format!("api/images/{name}")).await.status.as_u16(), 204);
    assert_eq!(mine.ask("GET", &format!("images/{name}")).await.status.as_u16(), 404);
}

/// A form that another page sends for its visitor would log that visitor out, or in as somebody else.
#[tokio::test]
async fn a_page_of_another_site_changes_nothing_for_its_visitor() {
    let host = Host::start().await;
    for (name, value, status) in [
        ("origin", "http://test", 200),
        ("origin", "http://evil.test", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "same-origin", 200),
        ("sec-fetch-site", "cross-site", 403),
    ] {
        let request =
            Request::post(format!("{STUDIO}/api/logout")).header("host", "test").header(name, value);
        let answer = send(host.edge, request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {value}: {}", answer.text());
        assert_eq!(answer.headers.contains_key("set-cookie"), status == 200, "{name}: {value}");
    }
}

/// The same host again, after it was given no time for anything.
async fn killed_and_started(mut host: Host) -> Host {
    host.signal("KILL");
    host.end().await;
    let folder = std::mem::replace(&mut host.folder, tempfile::tempdir().unwrap());
    Host::with(folder, None).await
}

/// README line: "User's images persist across sessions".
#[tokio::test]
async fn pictures_are_there_after_a_restart_even_one_that_nobody_asked_for() {
    let host = Host::start().await;
    let browser = Browser::of(&host, "mine");
    browser.write("create a red circle on a blue background").await;
    let before = browser.ask("GET", "gallery").await;
    let host = killed_and_started(host).await;
    let browser = Browser { edge: host.edge, ..browser };
    let after = browser.ask("GET", "gallery").await;
    assert_eq!(after.json(), before.json());
    let file = after.json()["images"][0]["url"].as_str().unwrap().to_owned();
    assert!(is_webp(&browser.ask("GET", &file).await.body));
    assert_eq!(browser.ask("GET", "api/session_info").await.json()["image_count"], 1);
}
