//! What a backend answers, held against what it may answer. Everything is bounded, nothing of it is followed, and what cannot be
//! used is an error that names the field.

use atelier_kit::host::Event;
use atelier_kit::intent::{Action, Intention};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Snag;
use crate::failure::Failure;
use crate::hear::Heard;
use crate::modes::Mode;

/// Bounds of texts, in characters: those of a command and of `intent.intention`, and room to spare for the rest.
const TEXT: usize = 16_384;
const PROMPT: usize = 1_000;
const TARGET: usize = 100;
const STYLED: usize = 8_192;
const NAME: usize = 200;
const NOTE: usize = 500;
const NOTES: usize = 16;
/// The most bytes of a picture's file and of a preview's.
const PICTURE_BYTES: usize = 20 << 20;
const PREVIEW_BYTES: usize = 4 << 20;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What a backend can do.
pub(crate) struct Offer {
    /// The modes that it has models for.
    pub(crate) modes: Vec<Mode>,
}

/// How a task stands, as far as it is told on.
#[derive(Default)]
pub(super) struct Told {
    position: Option<(u32, Option<u64>)>,
    step: Option<(u32, u32)>,
    preview: Option<(u32, Vec<u8>)>,
    pub(super) end: Option<End>,
}

/// How a task ended.
pub(super) enum End {
    Completed(Value),
    Failed(Failure),
}

/// A picture that was made, and how it came about.
pub(super) struct Found {
    pub(super) file: Vec<u8>,
    pub(super) seed: u64,
    pub(super) model: String,
    pub(super) prompt: String,
    pub(super) mode: Mode,
    pub(super) notes: Vec<String>,
}

/// An answer's JSON object. One that is no answer of such a server means that there is none.
pub(super) fn value(status: u16, body: &[u8]) -> Result<Value, Snag> {
    let value = serde_json::from_slice::<Value>(body).ok().filter(Value::is_object);
    match (status, value) {
        (200, Some(value)) => Ok(value),
        (200, None) => Err(Snag::Gone("what answers there is no such server".into())),
        (401 | 403, _) => Err(Snag::Gone("it does not accept the key; set BACKEND_API_KEY".into())),
        (_, Some(value)) => Err(match (text(&value, "code", NAME), value["detail"].as_str()) {
            // it lacks the endpoint, or has forgotten the task
            (Some("not_found" | "method_not_allowed"), _) | (None, _) | (_, None) => status_only(status),
            (Some(code), Some(detail)) => Snag::Failed(Failure::of_code(code, detail)),
        }),
        (_, None) => Err(status_only(status)),
    }
}

fn status_only(status: u16) -> Snag {
    Snag::Gone(format!("it answered with status {status}"))
}

/// A field that is not what it has to be.
pub(super) fn lie(field: &str) -> Snag {
    let text = format!("the backend's answer cannot be used: there is no usable `{field}` in it");
    Snag::Failed(Failure::backend(text))
}

pub(super) fn offer(answer: &Value) -> Result<Offer, Snag> {
    let modes = answer["modes"].as_object().ok_or_else(|| lie("modes"))?;
    let has = |mode: &Mode| modes.get(mode.name()).is_some_and(|mode| mode["available"] == Value::Bool(true));
    Ok(Offer { modes: [Mode::LocalFast, Mode::LocalQuality].into_iter().filter(has).collect() })
}

pub(super) fn heard(answer: &Value) -> Result<Heard, Snag> {
    let said = text(answer, "text", TEXT).ok_or_else(|| lie("text"))?;
    let language = match &answer["language"] {
        Value::Null => None,
        Value::String(code) if is_code(code) => Some(code.clone()),
        _ => return Err(lie("language")),
    };
    let seconds =
        answer["duration"].as_f64().filter(|seconds| *seconds >= 0.0).ok_or_else(|| lie("duration"))?;
    let model = text(answer, "model", NAME).ok_or_else(|| lie("model"))?.to_owned();
    Ok(Heard { text: said.trim().to_owned(), language, seconds, model })
}

fn is_code(code: &str) -> bool {
    (2..=8).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-')
}

/// What the host demands of its own `intent` plugins (`wit/intent.wit`).
pub(super) fn intention(answer: &Value) -> Result<Intention, Snag> {
    let action = match answer["action"].as_str() {
        Some("create") => Action::Create,
        Some("edit") => Action::Edit,
        Some("undo") => Action::Undo,
        Some("none") => Action::None,
        _ => return Err(lie("action")),
    };
    let line = |key, most| text(answer, key, most).filter(|text| !text.chars().any(char::is_control));
    let prompt = line("prompt", PROMPT).ok_or_else(|| lie("prompt"))?;
    if matches!(action, Action::Create | Action::Edit) == prompt.trim().is_empty() {
        return Err(lie("prompt"));
    }
    let target = line("target", TARGET).filter(|target| action == Action::Edit || target.is_empty());
    let target = target.ok_or_else(|| lie("target"))?.to_owned();
    Ok(Intention { action, target, prompt: prompt.to_owned() })
}

/// A task's name, which goes into an address.
pub(super) fn task_id(answer: &Value) -> Result<String, Snag> {
    let id = text(answer, "task_id", NAME).filter(|id| !id.is_empty());
    let is_plain = |id: &&str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    id.filter(is_plain).map(str::to_owned).ok_or_else(|| lie("task_id"))
}

pub(super) fn told(answer: &Value) -> Result<Told, Snag> {
    let number = |key: &str| answer[key].as_u64().and_then(|number| u32::try_from(number).ok());
    let mut told = Told::default();
    match answer["status"].as_str() {
        Some("queued") => {
            let position = number("position").ok_or_else(|| lie("position"))?;
            told.position = Some((position, number("eta_seconds").map(|seconds| u64::from(seconds) * 1_000)));
        }
        Some("processing") => {}
        Some("completed") => told.end = Some(End::Completed(answer["result"].clone())),
        Some("failed" | "cancelled") => {
            let error = &answer["error"];
            let (code, message) = (text(error, "code", NAME), error["message"].as_str());
            let (Some(code), Some(message)) = (code, message) else { return Err(lie("error")) };
            told.end = Some(End::Failed(Failure::of_code(code, message)));
        }
        _ => return Err(lie("status")),
    }
    let steps = number("step").zip(number("steps")).filter(|(step, steps)| step <= steps);
    told.step = steps.filter(|(step, _)| *step > 0);
    if let Some(preview) = answer["preview"].as_str() {
        let step = number("preview_step").ok_or_else(|| lie("preview_step"))?;
        let png = file(preview, "data:image/png;base64,", PREVIEW_BYTES).filter(|png| png.starts_with(PNG));
        told.preview = Some((step, png.ok_or_else(|| lie("preview"))?));
    }
    Ok(told)
}

impl Told {
    /// The step of the preview that is known, or 0.
    pub(super) fn preview_step(&self) -> u32 {
        self.preview.as_ref().map_or(0, |(step, _)| *step)
    }

    /// The step that a picture ends with.
    pub(super) fn last_step(&self) -> Event {
        let total = self.step.map_or(1, |(_, total)| total);
        Event::Step { step: total, total, elapsed_ms: 0 }
    }

    /// What is new since.
    pub(super) fn events_after(&self, known: &Self) -> Vec<Event> {
        let queued = self.position.filter(|position| known.position != Some(*position));
        let queued = queued.map(|(position, eta_ms)| Event::Queued { position, eta_ms });
        let step = self.step.filter(|step| known.step != Some(*step));
        let step = step.map(|(step, total)| Event::Step { step, total, elapsed_ms: 0 });
        let preview = self.preview.as_ref().filter(|(step, _)| *step > known.preview_step());
        let preview = preview.map(|(step, png)| Event::Preview { index: 0, step: *step, png: png.clone() });
        queued.into_iter().chain(step).chain(preview).collect()
    }

    /// What is known with it. The bytes of a preview that was told are of no use any more.
    pub(super) fn after(self, known: Self) -> Self {
        let step = self.preview_step().max(known.preview_step());
        Self { preview: Some((step, Vec::new())), step: self.step.or(known.step), ..self }
    }
}

pub(super) fn result(result: &Value) -> Result<Found, Snag> {
    let image = result["image"].as_str().ok_or_else(|| lie("image"))?;
    let (_, data) = image.split_once(',').ok_or_else(|| lie("image"))?;
    let file = file(data, "", PICTURE_BYTES).ok_or_else(|| lie("image"))?;
    let notes = result["notes"].as_array().ok_or_else(|| lie("notes"))?;
    let notes = notes.iter().take(NOTES).filter_map(Value::as_str);
    let shown = |note: &str| note.chars().filter(|c| !c.is_control()).take(NOTE).collect();
    let mode = result["mode"].as_str().and_then(Mode::named).ok_or_else(|| lie("mode"))?;
    Ok(Found {
        file,
        seed: result["seed"].as_u64().ok_or_else(|| lie("seed"))?,
        model: text(result, "model", NAME).ok_or_else(|| lie("model"))?.to_owned(),
        prompt: text(result, "prompt", STYLED).ok_or_else(|| lie("prompt"))?.to_owned(),
        mode,
        notes: notes.map(shown).collect(),
    })
}

/// A text of at most so many characters.
fn text<'a>(value: &'a Value, key: &str, most: usize) -> Option<&'a str> {
    value[key].as_str().filter(|text| text.chars().count() <= most)
}

/// The bytes behind a prefix, in base64.
fn file(text: &str, prefix: &str, most: usize) -> Option<Vec<u8>> {
    let data = text.strip_prefix(prefix).filter(|data| data.len() / 4 * 3 <= most)?;
    STANDARD.decode(data).ok()
}

#[cfg(test)]
mod tests;
