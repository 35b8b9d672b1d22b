//! Visitors who stay connected, by socket.io at the path that the original's clients know: each of them is in a room with whoever else
//! shows the same cookie, hears there what every command of this visitor comes to, whichever way that was sent, and may send
//! commands in writing. A visitor without a cookie hears nothing until it comes again with one.

use atelier_kit::channels::{Client, Event, Peer, Welcome, room};
use atelier_kit::http::Request;
use serde_json::{Value, json};

use crate::api::Studio;
use crate::command::Command;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::studio;
use crate::visitor::{Visitor, own_cookie};

/// The event by which a command comes, named after its path.
const COMMAND: &str = "process_command";
/// The headers that tell visitors apart.
const TELLING: [&str; 3] = ["cookie", "x-forwarded-for", "user-agent"];
/// How much of one of them is kept with a connection.
const KEPT_BYTES: usize = 1_024;

/// Lets a visitor in.
pub async fn welcome(host: impl Studio, client: Client) -> Result<Welcome, String> {
    let request = client.request();
    let visitor = visitor(&host, &request).await.map_err(Failure::into_text)?;
    let rooms = visitor.is_known().then(|| visitor.owner.clone());
    Ok(Welcome { rooms: rooms.into_iter().collect(), events: Vec::new(), note: note(&request) })
}

/// Works on a command in writing; what comes of it is the acknowledgement, and everybody in the room hears it as well.
pub async fn receive(host: impl Studio, peer: Peer, event: Event) -> Result<Value, String> {
    if event.name != COMMAND {
        return Err(format!("there is no event `{}`; send `{COMMAND}`", event.name));
    }
    let done = async {
        let visitor = visitor(&host, &noted(&peer.note)).await?;
        if !visitor.is_known() {
            let text = "the visitor's cookie is wanted: load the page first, and connect with its cookie";
            return Err(Failure::new(403, "no_cookie", text));
        }
        let command = Command::written(event.payload.to_string().as_bytes())?;
        let settings = Settings::read(&host)?;
        work(&host, &visitor, &settings, command, Progress::silent()).await
    };
    done.await.map_err(Failure::into_text)
}

/// Does what a command asks for, and tells what happens: to the client that sent it, and to the visitor's room if anybody is there.
pub(crate) async fn work(
    host: &impl Studio,
    visitor: &Visitor,
    settings: &Settings,
    command: Command,
    progress: Progress,
) -> Result<Value, Failure> {
    let accepted = json!({"mode": command.mode.name()});
    let listeners = host.publish(&visitor.owner, "accepted", &accepted).await;
    let mut progress = match listeners {
        // previews that nobody sees are not made
        0 => progress,
        _ => progress.and_to(room(host.clone(), &visitor.owner)),
    };
    let done = studio::work(host, visitor, settings, command, &mut progress).await;
    match &done {
        Ok(done) => progress.send("done", done).await,
        Err(failure) => progress.send("error", &failure.event()).await,
    }
    done
}

async fn visitor(host: &impl Studio, request: &Request) -> Result<Visitor, Failure> {
    Visitor::of(host, request, &Settings::read(host)?).await
}

/// What tells the visitor apart, as it comes back with everything that it sends. Of all cookies only our own is kept.
fn note(request: &Request) -> String {
    let header = |name: &str| {
        let value = match name {
            "cookie" => own_cookie(request).map(str::to_owned),
            name => request.headers.get(name).map(str::to_owned),
        };
        value.map(|value| value.chars().take(KEPT_BYTES / 4).collect::<String>())
    };
    let pairs: Vec<(&str, Option<String>)> = TELLING.map(|name| (name, header(name))).to_vec();
    Value::from_iter(pairs.into_iter().map(|(name, value)| (name, value.map_or(Value::Null, Value::from))))
        .to_string()
}

/// The request that a note was made of, as far as it matters.
fn noted(note: &str) -> Request {
    let note: Value = serde_json::from_str(note).unwrap_or_default();
    let header = |name: &'static str| Some((name, note[name].as_str()?.to_owned()));
    Request { headers: TELLING.into_iter().filter_map(header).collect(), ..Request::default() }
}
