//! What a client that asked for an event stream is told while it waits. Other clients are told nothing.

use atelier_kit::host::Event;
use atelier_kit::http::BodyWriter;
use atelier_kit::intent::Intention;
use atelier_kit::speech::SpeechEvent;
use atelier_kit::sse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

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

    /// Sends what was said, and in which language where that was recognised.
    pub(crate) async fn heard(&mut self, text: &str, language: Option<&str>) {
        self.send("transcript", &json!({"text": text, "language": language})).await;
    }

    /// Sends what is asked for.
    pub(crate) async fn understood(&mut self, intention: &Intention) {
        let Intention { action, target, prompt } = intention;
        let data = json!({"action": action.name(), "prompt": prompt, "target": target});
        self.send("understood", &data).await;
    }

    /// Sends that a recording waits for its turn. How far it is heard is told by the transcript soon enough.
    pub(crate) async fn hearing(&mut self, event: SpeechEvent) {
        if let SpeechEvent::Queued { position, eta_ms } = event {
            self.queued(position, eta_ms).await;
        }
    }

    /// Sends how far a picture is. A model that is not in memory yet is loaded when its job starts.
    pub(crate) async fn painting(&mut self, event: Event, unloaded: Option<&str>) {
        match event {
            Event::Queued { position, eta_ms } => self.queued(position, eta_ms).await,
            Event::Started => {
                if let Some(model) = unloaded {
                    self.send("loading", &json!({"model": model})).await;
                }
            }
            Event::Step { step, total, .. } => {
                let percent = u64::from(step) * 100 / u64::from(total.max(1));
                self.send("progress", &json!({"step": step, "steps": total, "percent": percent})).await;
            }
            Event::Preview { step, png, .. } => {
                let image = format!("data:image/png;base64,{}", STANDARD.encode(png));
                self.send("preview", &json!({"step": step, "image": image})).await;
            }
        }
    }

    async fn queued(&mut self, position: u32, eta_ms: Option<u64>) {
        self.send("queued", &json!({"position": position, "eta_ms": eta_ms})).await;
    }

    /// Sends an event.
    pub(crate) async fn send(&mut self, name: &str, data: &Value) {
        if let Some(writer) = &mut self.0 {
            sse::send(writer, name, data).await;
        }
    }
}
