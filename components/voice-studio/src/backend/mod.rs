//! The backend server's endpoints: recordings to text, commands to intentions, and pictures that are queued as background jobs.
//! Whoever reaches them has no limit of pictures, so a route has them only where its configuration says so (`serve`).
//!
//! Knows nothing of visitors, galleries and accounts: whose a task is, the host knows by its tenant.

mod keep;
mod lease;
pub(crate) mod openapi;
mod report;
mod requests;
pub(crate) mod tasks;

use atelier_kit::http::{Request, Response};
use serde_json::{Value, json};

use crate::api::Studio;
use crate::failure::Failure;
use crate::hear;
use crate::modes::{self, Mode};
use crate::progress::Progress;
use crate::settings::Settings;
use requests::{Command, Look, Picture, Recording};

/// The modes that a backend works in.
pub(crate) const MODES: [Mode; 2] = [Mode::LocalFast, Mode::LocalQuality];

/// An endpoint, by its path.
#[derive(Clone, Copy)]
pub(crate) enum Endpoint<'a> {
    Health,
    Transcribe,
    Llm,
    Generate,
    Edit,
    Task(&'a str),
}

impl<'a> Endpoint<'a> {
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/health" => Self::Health,
            "/transcribe" => Self::Transcribe,
            "/llm" => Self::Llm,
            "/generate_image" => Self::Generate,
            "/edit_image" => Self::Edit,
            _ => Self::Task(
                path.strip_prefix("/task_status/").filter(|id| !id.is_empty() && !id.contains('/'))?,
            ),
        })
    }

    fn methods(self) -> &'static str {
        match self {
            Self::Health => "GET, HEAD",
            Self::Task(_) => "GET, HEAD, DELETE",
            Self::Transcribe | Self::Llm | Self::Generate | Self::Edit => "POST",
        }
    }
}

/// Answers a request to an endpoint.
pub(crate) async fn answer(
    host: &impl Studio,
    endpoint: Endpoint<'_>,
    request: Request,
) -> Result<Response, Failure> {
    let allow = endpoint.methods();
    if !allow.split(", ").any(|method| method == request.method) {
        return Err(Failure::wrong_method(&request.method, allow));
    }
    let settings = Settings::read(host)?;
    let value = match endpoint {
        Endpoint::Health => health(host, &settings).await,
        Endpoint::Transcribe => transcribe(host, &settings, Recording::parse(request).await?).await?,
        Endpoint::Llm => understand(host, Command::parse(request).await?).await?,
        Endpoint::Generate | Endpoint::Edit => {
            let picture = Picture::parse(request, matches!(endpoint, Endpoint::Edit)).await?;
            tasks::submit(host, &settings, picture).await?
        }
        Endpoint::Task(id) if request.method == "DELETE" => tasks::cancel(host, id).await?,
        Endpoint::Task(id) => tasks::standing(host, id, Look::parse(&request)?).await?,
    };
    Ok(Response::json(200, &value))
}

/// What there is to work with.
async fn health(host: &impl Studio, settings: &Settings) -> Value {
    let mut known = modes::check(host, settings).await;
    let modes = MODES.map(|mode| (mode.name().to_owned(), known["modes"][mode.name()].take()));
    let is_healthy = modes.iter().any(|(_, mode)| mode["available"] == json!(true));
    let transcription = match hear::listener(host, settings).await {
        Ok(model) => json!({"available": true, "model": model}),
        Err(failure) => json!({"available": false, "reason": failure.text()}),
    };
    json!({
        "status": if is_healthy { "healthy" } else { "degraded" },
        "modes": modes.into_iter().collect::<serde_json::Map<_, _>>(),
        "transcription": transcription,
    })
}

async fn transcribe(host: &impl Studio, settings: &Settings, recording: Recording) -> Result<Value, Failure> {
    let Recording { audio, language } = recording;
    let heard = hear::hear(host, settings, audio, language, &mut Progress::silent()).await?;
    let hear::Heard { text, language, seconds, model } = heard;
    Ok(json!({"text": text, "language": language, "duration": seconds, "model": model}))
}

async fn understand(host: &impl Studio, Command { text }: Command) -> Result<Value, Failure> {
    let found = host.interpret(text).await?;
    Ok(json!({"action": found.action.name(), "target": found.target, "prompt": found.prompt}))
}
