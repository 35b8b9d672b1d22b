//! `POST /transcribe-audio`: a form with a recording, and what is said in it.

use atelier_kit::fields::{Field, Table, Text};
use atelier_kit::http::{Request, Response};
use atelier_kit::multipart::Form;
use atelier_kit::speech::{SpeechOrder, Transcription as _};
use serde_json::json;

use crate::api::Capable;
use crate::failure::Failure;

/// The form's part that is a file, under either name.
pub(crate) const FILES: &[&str] = &["audio", "file"];

static LANGUAGE: Field<Text> = Field::optional(
    "language",
    Text { min: 1, max: 40 },
    "The language of the audio, by its English name or its code; recognised when left out.",
);

/// The form's fields, besides the file.
pub(crate) const TRANSCRIPTION: Table = &[&LANGUAGE];

/// Answers with the text, once the whole recording is heard.
pub(crate) async fn answer(host: &impl Capable, request: Request) -> Result<Response, Failure> {
    let (audio, language) = parse(request).await?;
    let none = "no model of speech is granted to this route: add its id to `grants.models`";
    let model = host.speech_models().await.into_iter().next().ok_or_else(|| Failure::backend(none))?.id;
    let recording = host.recording(audio).await?;
    let order = SpeechOrder { model, language, ..SpeechOrder::default() };
    let job = host.transcribe(order, &recording).await?;
    // the job has the samples
    drop(recording);
    let heard = job.outcome().await?;
    Ok(Response::json(
        200,
        &json!({
            "success": true,
            "text": heard.text.trim(),
            "language": heard.language.map(|language| language.code),
            "duration": heard.seconds,
            "notes": heard.notes,
        }),
    ))
}

/// The recording as it was sent, and the language that was named.
async fn parse(request: Request) -> Result<(Vec<u8>, Option<String>), Failure> {
    let mut form = Form::read(request, FILES).await.map_err(Failure::invalid)?.without_empty_texts();
    let mut files = [form.files("audio"), form.files("file")].concat();
    let mut reader = form.reader(TRANSCRIPTION, FILES);
    let language = reader.option(&LANGUAGE);
    match files.len() {
        0 => reader.missing("audio", "a recording, as a file of the form"),
        1 => {}
        count => reader.fault_of("audio", format!("there are {count} recordings; send one as `audio`")),
    }
    let audio = files.pop().unwrap_or_default();
    let is_empty = audio.is_empty();
    let parsed = reader.finish((audio, language)).map_err(Failure::invalid)?;
    if is_empty { Err(Failure::invalid("`audio` is empty; send a recording")) } else { Ok(parsed) }
}
