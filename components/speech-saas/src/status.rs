//! `GET /status` and `GET /health`: how the machine, the models, the queue and the storage fare. A part that cannot be asked says so
//! in its place, and the others still answer.

use atelier_kit::host::Model;
use atelier_kit::http::Response;
use atelier_kit::machine::Figures;
use serde_json::{Value, json};

use crate::api::Capable;
use crate::failure::Failure;
use crate::history;
use crate::settings::Settings;

/// Answers `GET /status`.
pub(crate) async fn answer(host: &impl Capable) -> Result<Response, Failure> {
    let usage = host.usage().await.map_err(|error| error.0);
    let failed = |text: &str| json!({"error": text});
    let (system, generation) = match &usage {
        Ok(usage) => (system(usage), generation(usage)),
        Err(text) => (failed(text), failed(text)),
    };
    let settings = Settings::read(host);
    let images = match (history::all(host).await, &settings) {
        (Ok(entries), Ok(settings)) => json!({
            "count": entries.len(),
            "bytes": entries.iter().map(|entry| entry.bytes).sum::<u64>(),
            "max": settings.max_images,
            "retention_hours": settings.retention_seconds as f64 / 3_600.0,
        }),
        (Err(failure), _) => failed(failure.text()),
        (_, Err(failure)) => failed(failure.text()),
    };
    let speech: Vec<_> = host.speech_models().await.into_iter().map(|model| model.id).collect();
    let models: Vec<_> = host.models().await.iter().map(model).collect();
    let is_whole = [&system, &images].iter().all(|part| part.get("error").is_none());
    let answer = json!({
        "status": if is_whole { "running" } else { "degraded" },
        "timestamp": host.unix_seconds(),
        "system": system,
        "generation": generation,
        "models": {"image": models, "speech": speech},
        "images": images,
    });
    Ok(Response::json(200, &answer).with("cache-control", "no-store"))
}

/// Answers `GET /health`: 200 where the service can do its work, 503 where it cannot.
pub(crate) async fn health(host: &impl Capable) -> Response {
    let checks = json!({
        "image_models": host.models().await.iter().any(|model| model.text_to_image),
        "speech_models": !host.speech_models().await.is_empty(),
        "storage": history::all(host).await.is_ok(),
        "configuration": Settings::read(host).is_ok(),
    });
    let is_healthy =
        checks.as_object().is_some_and(|checks| checks.values().all(|check| *check == json!(true)));
    let (status, word) = if is_healthy { (200, "healthy") } else { (503, "unhealthy") };
    let answer = json!({"status": word, "timestamp": host.unix_seconds(), "checks": checks});
    Response::json(status, &answer).with("cache-control", "no-store")
}

fn system(usage: &Figures) -> Value {
    let used = usage.memory_total_bytes.saturating_sub(usage.memory_available_bytes);
    let percent = |part: u64, whole: u64| (part as f64 / whole.max(1) as f64 * 1_000.0).round() / 10.0;
    let disk = usage.disk_total_bytes.zip(usage.disk_free_bytes).map(|(total, free)| {
        let used = total.saturating_sub(free);
        json!({"total_bytes": total, "free_bytes": free, "percent": percent(used, total)})
    });
    json!({
        "cpu": {"percent": usage.cpu_percent, "cores": usage.cores},
        "memory": {
            "total_bytes": usage.memory_total_bytes,
            "available_bytes": usage.memory_available_bytes,
            "percent": percent(used, usage.memory_total_bytes),
            "process_bytes": usage.host_memory_bytes,
        },
        "disk": disk,
    })
}

fn generation(usage: &Figures) -> Value {
    let state = if usage.jobs_running > 0 { "working" } else { "idle" };
    json!({"state": state, "running": usage.jobs_running, "waiting": usage.jobs_waiting})
}

fn model(model: &Model) -> Value {
    json!({
        "id": model.id,
        "loaded": model.loaded,
        "memory_bytes": model.memory_bytes,
        "device": model.device,
        "description": model.description,
    })
}
