//! A chat: everybody in a room hears what is said there, and `draw` lets the room watch a picture come about. Clients connect by
//! socket.io, by a WebSocket or by server-sent events, and never notice how the others do; `POST /{room}` says something without
//! staying. Nothing is kept in the component's memory: each call is made in an instance of its own, and what it has to know of a
//! client is the client's note.

wit_bindgen::generate!({ path: "../../wit", world: "atelier:host/channel-handler", generate_all });

use atelier::host::channels;
use atelier::host::generation::{Event as Progress, Request as Order, text_to_image};
use atelier::host::images::{Encoding, Format};
use exports::atelier::host::channel_receiver::{Client, Event, Guest as Receiver, Peer, Welcome};
use exports::wasi::http0_3_0::handler::Guest;
use wasi::http0_3_0::types::{ErrorCode, Fields, Method, Request, Response};

struct Chat;

impl Receiver for Chat {
    /// The room is the query's `room`; without one, nobody comes in.
    async fn connect(client: Client) -> Result<Welcome, String> {
        let query = client.path.split_once('?').map_or("", |(_, query)| query);
        let room = query.split('&').find_map(|pair| pair.strip_prefix("room=")).unwrap_or_default();
        if room.is_empty() {
            return Err("say which room: ?room=kitchen".into());
        }
        let welcome = Event { name: "welcome".into(), payload: format!("{room:?}") };
        Ok(Welcome { rooms: vec![room.into()], events: vec![welcome], note: room.into() })
    }

    async fn receive(peer: Peer, event: Event) -> Result<Option<String>, String> {
        let room = peer.note;
        match event.name.as_str() {
            "say" => tell(&room, "said", event.payload).await.map(|heard| Some(heard.to_string())),
            "draw" => draw(&room, event.payload).await.map(|()| None),
            other => Err(format!("there is no event `{other}`; send `say` or `draw`")),
        }
    }

    async fn disconnect(peer: Peer) {
        // the room may be empty by now
        let _ = tell(&peer.note, "left", format!("{:?}", peer.id)).await;
    }
}

impl Guest for Chat {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let room = path.trim_start_matches('/').to_owned();
        if !matches!(request.get_method(), Method::Post) {
            return Ok(respond(405, "POST what is to be said to /{room}\n".into()));
        }
        let (_done, outcome) = wit_future::new(|| Ok(()));
        let (body, _trailers) = Request::consume_body(request, outcome);
        let said = String::from_utf8_lossy(&body.collect().await).into_owned();
        Ok(match tell(&room, "said", said).await {
            Ok(heard) => respond(200, format!("{heard} heard it\n")),
            Err(why) => respond(422, why + "\n"),
        })
    }
}

/// How many hear it. What is sent is JSON text.
async fn tell(room: &str, event: &str, payload: String) -> Result<u32, String> {
    let sent = channels::publish(room.into(), event.into(), payload).await;
    sent.map_err(|error| error.to_string())
}

/// Draws for a whole room, which watches.
async fn draw(room: &str, prompt: String) -> Result<(), String> {
    let job = text_to_image(order(prompt.trim_matches('"').into()), Vec::new()).await;
    let job = job.map_err(|error| error.to_string())?;
    let mut events = job.events();
    while let Some(event) = events.next().await {
        if let Progress::Step(step) = event {
            tell(room, "step", format!("[{}, {}]", step.step, step.total)).await?;
        }
    }
    let outcome = job.outcome().await.map_err(|error| error.to_string())?;
    let picture = outcome.pictures.into_iter().next().ok_or("there is no picture")?;
    let png = Encoding { format: Format::Png, quality: None, parameters: true };
    let bytes = picture.image.encode(png).await.map_err(|error| error.to_string())?;
    tell(room, "drawn", format!("{{\"seed\": \"{}\", \"bytes\": {}}}", picture.seed, bytes.len())).await?;
    Ok(())
}

fn order(prompt: String) -> Order {
    Order {
        model: "atelier-nano".into(),
        prompt,
        negative_prompt: None,
        size: None,
        steps: Some(4),
        guidance: None,
        seed: Some(7),
        count: 1,
        schedule: None,
        clip_skip: None,
        guidance_rescale: None,
        emphasis: None,
        seed_profile: None,
        decoder: None,
        adapters: Vec::new(),
        framing: None,
        refine: None,
        step_cache: None,
        preview_every: None,
    }
}

fn respond(status: u16, text: String) -> Response {
    let (mut body, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(contents), no_trailers);
    // each of them is a status
    let _ = response.set_status_code(status);
    wit_bindgen::spawn_local(async move {
        body.write_all(text.into_bytes()).await;
        drop(trailers);
    });
    response
}

export!(Chat);
