//! Whose is what, over all services of `examples/five-systems` at once: two tenants, and two visitors of one tenant, try every
//! id of the other by every method. What they are told is what anybody is told of an id that never was.

use std::cell::RefCell;
use std::path::Path;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::client::{Answer, send};
use crate::form::{Part, form};
use crate::host::{Host, JSON};
use crate::tenants::{Key, key, tenant};

const STUDIO: &str = "/voice-studio/kuvagen";
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// One who asks: with a tenant's key, and the cookie of a browser.
struct Person<'a> {
    host: &'a Host,
    key: &'a Key,
    cookie: RefCell<String>,
}

impl<'a> Person<'a> {
    fn new(host: &'a Host, key: &'a Key) -> Self {
        Person { host, key, cookie: RefCell::default() }
    }

    async fn send(&self, mut request: Request<Full<Bytes>>) -> Answer {
        let headers = request.headers_mut();
        headers.insert("authorization", format!("Bearer {}", self.key.text).parse().unwrap());
        if !self.cookie.borrow().is_empty() {
            headers.insert("cookie", self.cookie.borrow().parse().unwrap());
        }
        let answer = send(self.host.edge, request).await;
        if let Some(set) = answer.headers.get("set-cookie") {
            self.cookie.replace(set.to_str().unwrap().split(';').next().unwrap().to_owned());
        }
        answer
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header("host", "test");
        self.send(request.body(Full::default()).unwrap()).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        let request = Request::post(path).header("host", "test").header("content-type", JSON);
        self.send(request.body(Full::from(body.to_string())).unwrap()).await
    }

    async fn form(&self, path: &str, parts: &[Part<'_>]) -> Answer {
        self.send(form(path, &[("accept", JSON)], parts)).await
    }

    /// What a service made when it was asked to.
    async fn made(&self, answer: Answer) -> Value {
        assert!(answer.status.is_success(), "{}", answer.text());
        answer.json()
    }
}

/// To whom an id belongs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Owner {
    Tenant,
    Visitor,
}

/// A place at which an id is tried.
#[derive(Debug)]
enum Door {
    /// In the path: before and after it.
    Path(&'static str, &'static str),
    /// In a field of a JSON body.
    Json(&'static str, &'static str),
    /// In the field of a form that asks for a change of it.
    Form(&'static str, &'static str),
}

/// An id, and where it is tried.
struct Thing {
    owner: Owner,
    id: String,
    /// One of the same form that never was.
    absent: String,
    doors: Vec<Door>,
}

impl Door {
    /// Tries an id in every way; each answer without the id.
    async fn tried(&self, person: &Person<'_>, id: &str) -> Vec<(String, u16, String)> {
        let mut told = Vec::new();
        let mut note = |way: &str, answer: Answer| {
            let text = String::from_utf8_lossy(&answer.body).replace(id, "ID");
            told.push((way.to_owned(), answer.status.as_u16(), text));
        };
        match self {
            Door::Path(before, after) => {
                for method in METHODS {
                    note(method, person.ask(method, &format!("{before}{id}{after}")).await);
                }
            }
            Door::Json(path, field) => note("JSON", person.post(path, json!({ *field: id })).await),
            Door::Form(path, field) => {
                let parts = [(*field, None, id.as_bytes()), ("text", None, b"make it night".as_slice())];
                note("form", person.form(path, &parts).await);
            }
        }
        told
    }
}

/// A picture in the studio: a visitor's.
async fn picture(ann: &Person<'_>) -> Thing {
    let parts: [Part<'_>; 2] =
        [("text", None, b"create a red circle on a blue background"), ("mode", None, b"local_fast")];
    let made = ann.form(&format!("{STUDIO}/process_command"), &parts).await;
    let id = ann.made(made).await["current"].as_str().unwrap().to_owned();
    Thing {
        owner: Owner::Visitor,
        absent: id.replace(&id[9..15], "000000"),
        id,
        doors: vec![
            Door::Path("/voice-studio/kuvagen/images/", ""),
            Door::Path("/voice-studio/kuvagen/images/", "?download"),
            Door::Path("/voice-studio/kuvagen/images/thumbnails/", ""),
            Door::Path("/voice-studio/kuvagen/api/images/", ""),
            Door::Json("/voice-studio/kuvagen/api/current", "image"),
            Door::Form("/voice-studio/kuvagen/process_command", "image"),
        ],
    }
}

/// A picture in the history of the speech-to-image backend: a tenant's.
async fn entry(ann: &Person<'_>) -> Thing {
    let made = ann.post("/speech-saas/generate-image", json!({"prompt": "a fantasy castle"})).await;
    let id = ann.made(made).await["filename"].as_str().unwrap().to_owned();
    Thing {
        owner: Owner::Tenant,
        absent: id.replace("000001", "999999"),
        id,
        doors: vec![Door::Path("/speech-saas/images/", "")],
    }
}

/// A picture that the studio's backend draws in its own time: a tenant's.
async fn task(ann: &Person<'_>) -> Thing {
    let asked = json!({"prompt": "a red circle", "mode": "local_fast"});
    let made = ann.post("/voice-studio-backend/generate_image", asked).await;
    queued(
        ann.made(made).await["task_id"].as_str().unwrap(),
        vec![Door::Path("/voice-studio-backend/task_status/", "")],
    )
}

/// A task of the generation server: a tenant's.
async fn session(ann: &Person<'_>) -> Thing {
    let asked = json!({"prompt": "a red boat", "num_inference_steps": 2});
    let made = ann.post("/generation-server/api/flux/t2i", asked).await;
    queued(
        ann.made(made).await["session_id"].as_str().unwrap(),
        vec![
            Door::Path("/generation-server/api/", "/status"),
            Door::Path("/generation-server/api/", "/image"),
            Door::Path("/generation-server/api/", ""),
        ],
    )
}

fn queued(id: &str, doors: Vec<Door>) -> Thing {
    let absent = format!("{}0000", &id[..id.len() - 4]);
    Thing { owner: Owner::Tenant, id: id.to_owned(), absent, doors }
}

async fn host(tenants: &[String]) -> Host {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/five-systems");
    let manifest = std::fs::read_to_string(folder.join("atelier.toml")).unwrap();
    let manifest = manifest.replace("\ncomponent = ", "\naccess = \"key\"\ncomponent = ");
    let manifest = manifest.replace("-steps=12", "-steps=2").replace("STEPS = \"20\"", "STEPS = \"2\"");
    Host::with(tempfile::tempdir().unwrap(), Some(&[&[manifest], tenants].concat().concat())).await
}

#[tokio::test]
async fn of_anothers_ids_nobody_learns_anything_by_any_method() {
    let keys = [key("ann", "laptop"), key("bob", "phone")];
    let host = host(&[tenant("ann", &[&keys[0]], ""), tenant("bob", &[&keys[1]], "")]).await;
    let ann = Person::new(&host, &keys[0]);
    let things = [picture(&ann).await, entry(&ann).await, task(&ann).await, session(&ann).await];
    let strangers = [
        ("another tenant", Person::new(&host, &keys[1]), true),
        ("another visitor of the tenant", Person::new(&host, &keys[0]), false),
    ];
    let mut tried = 0;
    for (who, stranger, is_other_tenant) in &strangers {
        let apart = |thing: &&Thing| *is_other_tenant || thing.owner == Owner::Visitor;
        for thing in things.iter().filter(apart) {
            for door in &thing.doors {
                let of_it = door.tried(stranger, &thing.id).await;
                assert_eq!(of_it, door.tried(stranger, &thing.absent).await, "{who} at {door:?}");
                for (way, status, text) in &of_it {
                    assert!([404, 405].contains(status), "{who} by {way} at {door:?}: {status} {text}");
                }
                assert!(of_it.iter().any(|(_, status, _)| *status == 404), "{who} at {door:?}: {of_it:?}");
                tried += of_it.len();
            }
        }
    }
    println!("{tried} attempts told nothing");
    for Thing { id, doors, .. } in &things {
        let Some(Door::Path(before, after)) = doors.first() else { panic!("no path to {id}") };
        assert_eq!(
            ann.ask("GET", &format!("{before}{id}{after}")).await.status.as_u16(),
            200,
            "{id} is still there"
        );
    }
}
