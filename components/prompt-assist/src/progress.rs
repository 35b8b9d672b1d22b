//! What a client that asked for an event stream is told while it waits. Other clients are told nothing.

use atelier_kit::host;
pub(crate) use atelier_kit::sse::Progress;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// How many previews a picture gets.
/// Enough to see a picture form; each one costs a decode that the job waits for.
const PREVIEWS: u32 = 4;

/// What this handler tells.
pub(crate) trait Tell {
    /// After how many steps each preview is wanted.
    fn preview_every(&self, steps: u32) -> Option<u32>;
    /// Sends what happened to the job.
    async fn job(&mut self, event: host::Event);
}

impl Tell for Progress {
    fn preview_every(&self, steps: u32) -> Option<u32> {
        self.is_followed().then(|| (steps / PREVIEWS).max(1))
    }

    async fn job(&mut self, event: host::Event) {
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
}

fn preview(index: u32, step: u32, png: &[u8]) -> Value {
    json!({
        "index": index,
        "step": step,
        "base64_encoded_image": STANDARD.encode(png),
        "content_type": "image/png",
    })
}
