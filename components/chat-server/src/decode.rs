//! `POST /audio/decode`: a form with a recording, and what is said in it.

use atelier_kit::fastapi::Failure;
use atelier_kit::fields::{Field, Table, Text};
use atelier_kit::http::{Reply, Request, Response};
use atelier_kit::multipart::Form;
use atelier_kit::speech::{SpeechOrder, Transcription as _};
use serde_json::json;

use crate::api::Capable;
use crate::models;

/// The form's part that is a file.
pub(crate) const FILES: &[&str] = &["file"];

static LANGUAGE: Field<Text> = Field::optional(
    "language",
    Text { min: 1, max: 40 },
    "The language of the audio, by its English name or its code, such as \"english\" or \"fr\"; recognised when left out.",
);

/// The form's fields, besides the file.
pub(crate) const DECODING: Table = &[&LANGUAGE];

/// Answers with the text, once the whole recording is heard.
pub(crate) async fn answer(host: &impl Capable, request: Request) -> Result<Reply, Failure> {
    let (file, language) = parse(request).await?;
    let model = models::listener(host).await?;
    let recording = host.recording(file).await.map_err(|error| Failure::of_recording(error, "file"))?;
    let sent = json!({"language": language});
    let order = SpeechOrder { model, language, ..SpeechOrder::default() };
    let refused = |error| Failure::of_job(error, called).repeating(&sent);
    let job = host.transcribe(order, &recording).await.map_err(refused)?;
    // the job has the samples
    drop(recording);
    let heard = job.outcome().await.map_err(|error| Failure::of_job(error, called))?;
    let answer = json!({
        "text": heard.text.trim(),
        "language": heard.language.map(|language| language.code),
        "duration": heard.seconds,
        "model": heard.model,
        "notes": heard.notes,
    });
    Ok(Response::json(200, &answer).into())
}

/// The recording as it was sent, and the language that was named.
async fn parse(request: Request) -> Result<(Vec<u8>, Option<String>), Failure> {
    let mut form = Form::read(request, FILES).await.map_err(Failure::unreadable)?.without_empty_texts();
    let mut files = form.files("file");
    let mut reader = form.reader(DECODING, FILES);
    let language = reader.option(&LANGUAGE);
    match files.len() {
        0 => reader.missing("file", "a recording, as a file of the form"),
        1 => {}
        count => reader.fault_of("file", format!("`file` is given {count} times; send one recording")),
    }
    let file = files.pop().unwrap_or_default();
    let (file, language) = reader.check((file, language))?;
    match file.is_empty() {
        true => Err(Failure::new(400, "`file` is empty; send a recording")),
        false => Ok((file, language)),
    }
}

/// What the host calls audio is this form's file.
fn called(field: &str) -> String {
    if field == "audio" { "file".into() } else { field.replace('-', "_") }
}
