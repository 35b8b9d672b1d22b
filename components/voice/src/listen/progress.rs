//! What a client that asked for an event stream is told while it waits. Other clients are told nothing.

use atelier_kit::host::Event;
use atelier_kit::intent::Intention;
use atelier_kit::speech::SpeechEvent;
pub(crate) use atelier_kit::sse::Progress;
use serde_json::json;

use super::answer;
use super::converse::Said;

/// What this handler tells.
pub(crate) trait Tell {
    /// Sends what was said.
    async fn heard(&mut self, said: &Said);
    /// Sends what is asked for.
    async fn understood(&mut self, intention: &Intention);
    /// Sends how far a recording has been heard, in seconds.
    async fn hearing(&mut self, event: SpeechEvent);
    /// Sends how far a picture is, in steps.
    async fn painting(&mut self, event: Event);
}

impl Tell for Progress {
    async fn heard(&mut self, said: &Said) {
        self.send("heard", &answer::said(said)).await;
    }

    async fn understood(&mut self, intention: &Intention) {
        self.send("intent", &answer::intent(intention)).await;
    }

    async fn hearing(&mut self, event: SpeechEvent) {
        match event {
            SpeechEvent::Queued { position, eta_ms } => queued(self, "speech", position, eta_ms).await,
            SpeechEvent::Started => {}
            SpeechEvent::Heard { heard_seconds, total_seconds, .. } => {
                let data = json!({"stage": "speech", "done": heard_seconds, "total": total_seconds});
                self.send("progress", &data).await;
            }
        }
    }

    async fn painting(&mut self, event: Event) {
        match event {
            Event::Queued { position, eta_ms } => queued(self, "picture", position, eta_ms).await,
            // none are asked for
            Event::Started | Event::Preview { .. } => {}
            Event::Step { step, total, .. } => {
                self.send("progress", &json!({"stage": "picture", "done": step, "total": total})).await;
            }
        }
    }
}

async fn queued(progress: &mut Progress, stage: &str, position: u32, eta_ms: Option<u64>) {
    progress.send("progress", &json!({"stage": stage, "position": position, "eta_ms": eta_ms})).await;
}
