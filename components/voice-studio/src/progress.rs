//! What a client that asked for an event stream is told while it waits. Other clients are told nothing. Whoever draws tells a
//! [`Follow`], and need not know who that is: a client, or whoever asks how a task stands (`backend::report`).

use atelier_kit::host::Event;
use atelier_kit::intent::Intention;
use atelier_kit::speech::SpeechEvent;
pub(crate) use atelier_kit::sse::Progress;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// Who is told how a picture comes along.
pub(crate) trait Follow {
    /// Whether anybody listens: what nobody follows is not made.
    fn is_followed(&self) -> bool;
    /// How far a picture is. A model that is not in memory yet is loaded when its job starts.
    async fn painting(&mut self, event: Event, unloaded: Option<&str>);
}

/// What this handler tells besides.
pub(crate) trait Tell {
    /// Sends what was said, and in which language where that was recognised.
    async fn heard(&mut self, text: &str, language: Option<&str>);
    /// Sends what is asked for.
    async fn understood(&mut self, intention: &Intention);
    /// Sends that a recording waits for its turn. How far it is heard is told by the transcript soon enough.
    async fn hearing(&mut self, event: SpeechEvent);
}

impl Tell for Progress {
    async fn heard(&mut self, text: &str, language: Option<&str>) {
        self.send("transcript", &json!({"text": text, "language": language})).await;
    }

    async fn understood(&mut self, intention: &Intention) {
        let Intention { action, target, prompt } = intention;
        let data = json!({"action": action.name(), "prompt": prompt, "target": target});
        self.send("understood", &data).await;
    }

    async fn hearing(&mut self, event: SpeechEvent) {
        if let SpeechEvent::Queued { position, eta_ms } = event {
            queued(self, position, eta_ms).await;
        }
    }
}

impl Follow for Progress {
    fn is_followed(&self) -> bool {
        // the kit's own of this name
        Progress::is_followed(self)
    }

    async fn painting(&mut self, event: Event, unloaded: Option<&str>) {
        match event {
            Event::Queued { position, eta_ms } => queued(self, position, eta_ms).await,
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
}

async fn queued(progress: &mut Progress, position: u32, eta_ms: Option<u64>) {
    progress.send("queued", &json!({"position": position, "eta_ms": eta_ms})).await;
}
