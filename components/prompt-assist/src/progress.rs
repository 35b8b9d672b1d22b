//! What a client that asked for an event stream is told while it waits. Other clients are told nothing.

use atelier_kit::http::BodyWriter;
use atelier_kit::{host, sse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// How many previews a picture gets.
/// Enough to see a picture form; each one costs a decode that the job waits for.
const PREVIEWS: u32 = 4;

/// Where events go, if anywhere.
pub(crate) struct Progress(Option<BodyWriter>);

impl Progress {
    /// Tells nobody.
    pub(crate) fn silent() -> Self {
        Self(None)
    }

    /// Tells the client at the other end of a body.
    pub(crate) fn to(writer: BodyWriter) -> Self {
        Self(Some(writer))
    }

    /// Whether anybody listens.
    pub(crate) fn is_followed(&self) -> bool {
        self.0.is_some()
    }

    /// After how many steps each preview is wanted.
    pub(crate) fn preview_every(&self, steps: u32) -> Option<u32> {
        self.is_followed().then(|| (steps / PREVIEWS).max(1))
    }

    /// Sends what happened to the job.
    pub(crate) async fn job(&mut self, event: host::Event) {
        let (name, data) = match event {
            host::Event::Queued { position, eta_ms } => {
                ("queued", json!({"position": position, "eta_ms": eta_ms}))
            }
            host::Event::Started => ("started", json!({})),
            host::Event::Step { step, total, elapsed_ms } => {
                ("step", json!({"step": step, "total": total, "elapsed_ms": elapsed_ms}))
            }
            host::Event::Preview { index, step, png } => ("preview", preview(index, step, &png)),
        };
        self.send(name, &data).await;
    }

    /// Sends an event.
    pub(crate) async fn send(&mut self, name: &str, data: &Value) {
        if let Some(writer) = &mut self.0 {
            sse::send(writer, name, data).await;
        }
    }
}

fn preview(index: u32, step: u32, png: &[u8]) -> Value {
    json!({
        "index": index,
        "step": step,
        "base64_encoded_image": STANDARD.encode(png),
        "content_type": "image/png",
    })
}
