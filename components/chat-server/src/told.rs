//! What a client is told while its picture is made: one event for everything that happens, and at the end the picture or an
//! error. Dropping the stream drops the job, which ends it before its next step.

use atelier_kit::fastapi::Failure;
use atelier_kit::host::{Event, Job};
use atelier_kit::http::{BodyWriter, Reply};
use atelier_kit::sse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::api::Capable;
use crate::draw::{Begun, called};

/// The event stream of a job.
pub(crate) fn stream<H: Capable>(host: H, begun: Begun<H::Job>) -> Reply {
    let producer = |writer: BodyWriter| async move {
        let work = follow(&host, begun, writer.clone());
        sse::keeping_alive(writer, || host.sleep_ms(sse::KEEP_ALIVE_MS), work).await;
    };
    Reply::Stream(sse::head(), Box::new(|writer| Box::pin(producer(writer))))
}

async fn follow<H: Capable>(host: &H, mut begun: Begun<H::Job>, mut writer: BodyWriter) {
    while let Some(event) = begun.job.next_event().await {
        tell(&mut writer, &happened(event, &begun)).await;
    }
    // the stream has begun with status 200, so a failure can only be told as an event
    let last = match finish(host, begun).await {
        Ok(result) => result,
        Err(failure) => json!({"type": "error", "status": failure.status(), "detail": failure.detail()}),
    };
    tell(&mut writer, &last).await;
}

/// Sends an event under its type, which its data repeats for clients that read the data alone.
async fn tell(writer: &mut BodyWriter, data: &Value) {
    let name = data["type"].as_str().unwrap_or("message");
    sse::send(writer, name, data).await;
}

/// An event of the job in the service's words.
fn happened<J>(event: Event, begun: &Begun<J>) -> Value {
    match event {
        Event::Queued { position, eta_ms } => {
            json!({"type": "queued", "position": position, "eta_ms": eta_ms})
        }
        Event::Started => {
            let name = begun.request.model_name;
            json!({"type": "started", "model_name": name, "loading": !begun.model.loaded})
        }
        Event::Step { step, total, elapsed_ms } => {
            let percent = u64::from(step) * 100 / u64::from(total.max(1));
            json!({"type": "progress", "step": step, "total": total, "percent": percent, "elapsed_ms": elapsed_ms})
        }
        Event::Preview { step, png, .. } => {
            json!({"type": "preview", "step": step, "image": STANDARD.encode(png), "content_type": "image/png"})
        }
    }
}

/// The picture, and what gives it again.
async fn finish<H: Capable>(host: &H, begun: Begun<H::Job>) -> Result<Value, Failure> {
    let Begun { job, request, mut notes, .. } = begun;
    let outcome = job.outcome().await.map_err(|error| Failure::of_job(error, called))?;
    notes.extend(outcome.notes);
    let first = outcome.pictures.into_iter().next();
    let (picture, seed) = first.ok_or_else(|| Failure::backend("the model gave no picture"))?;
    let png = host.png(&picture).await.map_err(|error| Failure::of_picture(error, "image"))?;
    Ok(json!({
        "type": "result",
        "image": STANDARD.encode(png),
        "content_type": "image/png",
        "seed": seed,
        "size": outcome.size.to_string(),
        "model": outcome.model,
        "notes": notes,
        "request": request.again(seed),
    }))
}
