//! Writing a recording down with a model of this host. Which model is the configuration's affair; what is done with the text is
//! the caller's.

use atelier_kit::Speech;
use atelier_kit::speech::{SpeechOrder, Transcription as _};

use crate::failure::Failure;
use crate::progress::{Progress, Tell};
use crate::settings::Settings;

/// What was said in a recording; nothing, where nothing was heard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Heard {
    pub(crate) text: String,
    /// A code such as `en`, where it is known.
    pub(crate) language: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) model: String,
}

/// Writes a recording down, in a language that is given or recognised.
pub(crate) async fn hear(
    host: &impl Speech,
    settings: &Settings,
    bytes: Vec<u8>,
    language: Option<String>,
    progress: &mut Progress,
) -> Result<Heard, Failure> {
    let recording = host.recording(bytes).await?;
    let model = listener(host, settings).await?;
    write_down(host, model, &recording, language, progress).await
}

/// The same with a mode's own model, or else with that of every mode; what a user should know then.
pub(crate) async fn hear_with(
    host: &impl Speech,
    settings: &Settings,
    wanted: &str,
    (bytes, language): (Vec<u8>, Option<String>),
    progress: &mut Progress,
) -> Result<(Heard, Option<String>), Failure> {
    let recording = host.recording(bytes).await?;
    let is_there = host.speech_models().await.iter().any(|model| model.id == wanted);
    let model = if is_there { wanted.to_owned() } else { listener(host, settings).await? };
    let note = (!is_there).then(|| format!("{model} listened: {wanted} is not to be had"));
    Ok((write_down(host, model, &recording, language, progress).await?, note))
}

async fn write_down<H: Speech>(
    host: &H,
    model: String,
    recording: &H::Recording,
    language: Option<String>,
    progress: &mut Progress,
) -> Result<Heard, Failure> {
    let mut job =
        host.transcribe(SpeechOrder { model, language, ..SpeechOrder::default() }, recording).await?;
    // events of a job that nobody follows are not read; its outcome does not wait for them
    if progress.is_followed() {
        while let Some(event) = job.next_event().await {
            progress.hearing(event).await;
        }
    }
    let found = job.outcome().await?;
    let language = found.language.map(|language| language.code);
    Ok(Heard { text: found.text.trim().to_owned(), language, seconds: found.seconds, model: found.model })
}

/// The model that listens: the size that the configuration names, or the route's first.
pub(crate) async fn listener(host: &impl Speech, settings: &Settings) -> Result<String, Failure> {
    let ids: Vec<_> = host.speech_models().await.into_iter().map(|model| model.id).collect();
    let Some(size) = &settings.listener else {
        let text = "no model of speech is granted to this route: add its id to `grants.models`";
        return ids.into_iter().next().ok_or_else(|| Failure::backend(text));
    };
    let is_meant = |id: &String| id == size || id.ends_with(&format!("-{size}"));
    ids.iter().find(|id| is_meant(id)).cloned().ok_or_else(|| {
        let known = ids.join(", ");
        Failure::backend(format!(
            "LOCAL_MODEL_SIZE `{size}` is no model of speech of this route; it has: {known}"
        ))
    })
}
