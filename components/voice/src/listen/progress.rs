//! What a client that asked for an event stream is told while it waits. Other clients are told nothing.

use atelier_kit::host::Event;
use atelier_kit::http::BodyWriter;
use atelier_kit::intent::Intention;
use atelier_kit::speech::SpeechEvent;
use atelier_kit::sse;
use serde_json::{Value, json};

use super::answer;
use super::converse::Said;

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

    /// Sends what was said.
    pub(crate) async fn heard(&mut self, said: &Said) {
        self.send("heard", &answer::said(said)).await;
    }

    /// Sends what is asked for.
    pub(crate) async fn understood(&mut self, intention: &Intention) {
        self.send("intent", &answer::intent(intention)).await;
    }

    /// Sends how far a recording has been heard, in seconds.
    pub(crate) async fn hearing(&mut self, event: SpeechEvent) {
        match event {
            SpeechEvent::Queued { position, eta_ms } => self.queued("speech", position, eta_ms).await,
            SpeechEvent::Started => {}
            SpeechEvent::Heard { heard_seconds, total_seconds, .. } => {
                let data = json!({"stage": "speech", "done": heard_seconds, "total": total_seconds});
                self.send("progress", &data).await;
            }
        }
    }

    /// Sends how far a picture is, in steps.
    pub(crate) async fn painting(&mut self, event: Event) {
        match event {
            Event::Queued { position, eta_ms } => self.queued("picture", position, eta_ms).await,
            // none are asked for
            Event::Started | Event::Preview { .. } => {}
            Event::Step { step, total, .. } => {
                self.send("progress", &json!({"stage": "picture", "done": step, "total": total})).await;
            }
        }
    }

    async fn queued(&mut self, stage: &str, position: u32, eta_ms: Option<u64>) {
        self.send("progress", &json!({"stage": stage, "position": position, "eta_ms": eta_ms})).await;
    }

    /// Sends an event.
    pub(crate) async fn send(&mut self, name: &str, data: &Value) {
        if let Some(writer) = &mut self.0 {
            sse::send(writer, name, data).await;
        }
    }
}
