//! From a command to the next picture: hear, understand, then draw, change or go back. Dropping the future at any point
//! drops the job that it waits for, which ends it before its next step.

use std::time::Instant;

use atelier_kit::intent::{Action, Intention};
use atelier_kit::speech::{Language, SpeechOrder, Transcription as _};

use super::command::{Command, Source};
use super::painter::{self, Painted};
use super::progress::{Progress, Tell};
use crate::api::Ears;
use crate::failure::Failure;
use crate::models;

/// What a PNG file begins with (RFC 2083, section 3.1).
const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answered {
    pub(crate) said: Said,
    pub(crate) intention: Intention,
    /// None where the command asks for none.
    pub(crate) picture: Option<Painted>,
    /// How many of the pictures that were sent still stand, from the oldest.
    pub(crate) pictures_left: usize,
    pub(crate) notes: Vec<String>,
    pub(crate) timings: Timings,
}

/// What was said or written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    /// Of a recording.
    pub(crate) language: Option<Language>,
}

/// Milliseconds that the parts took, waiting included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timings {
    pub(crate) speech_ms: u64,
    pub(crate) intent_ms: u64,
    pub(crate) picture_ms: u64,
}

/// Does everything that a command asks for.
pub(crate) async fn converse(
    host: &impl Ears,
    command: Command,
    progress: &mut Progress,
) -> Result<Answered, Failure> {
    let Command { source, language, wish } = command;
    let mut timings = Timings::default();
    let begun = Instant::now();
    let (said, mut notes) = hear(host, source, language, progress).await?;
    timings.speech_ms = elapsed_ms(begun);
    progress.heard(&said).await;
    let begun = Instant::now();
    let intention =
        host.interpret(said.text.clone()).await.map_err(|error| Failure::of_intent(error, &said.text))?;
    timings.intent_ms = elapsed_ms(begun);
    progress.understood(&intention).await;
    let begun = Instant::now();
    let pictures = wish.pictures.len();
    let picture = match intention.action {
        Action::Create => Some(painter::create(host, &wish, &intention.prompt, progress).await),
        Action::Edit => Some(painter::edit(host, &wish, &intention.prompt, progress).await),
        Action::Undo => Some(before(host, &wish.pictures).await),
        Action::None => None,
    };
    // whoever is told of a failure here is told as well what led to it
    let picture = picture.transpose().map_err(|failure| failure.after(&said.text, &intention))?;
    timings.picture_ms = elapsed_ms(begun);
    notes.extend(picture.iter().flat_map(|picture| picture.notes.clone()));
    let pictures_left = if intention.action == Action::Undo { pictures.saturating_sub(1) } else { pictures };
    Ok(Answered { said, intention, picture, pictures_left, notes, timings })
}

/// What is said in the recording, or written, and what a user should know of it.
async fn hear(
    host: &impl Ears,
    source: Source,
    language: Option<String>,
    progress: &mut Progress,
) -> Result<(Said, Vec<String>), Failure> {
    let bytes = match source {
        Source::Written(text) => return Ok((Said { text, language: None }, Vec::new())),
        Source::Audio(bytes) => bytes,
    };
    let model = models::listener(host, None).await?;
    let recording = host.recording(bytes).await.map_err(|error| Failure::of_recording(error, "audio"))?;
    let order = SpeechOrder { model, language, ..SpeechOrder::default() };
    let mut job = host.transcribe(order, &recording).await?;
    // events of a job that nobody follows are not read; its outcome does not wait for them
    if progress.is_followed() {
        while let Some(event) = job.next_event().await {
            progress.hearing(event).await;
        }
    }
    let transcript = job.outcome().await?;
    match transcript.text.trim() {
        "" => Err(Failure::impossible("no_speech", "nothing is said in `audio`; record the command again")
            .about("audio")),
        text => Ok((Said { text: text.to_owned(), language: transcript.language }, transcript.notes)),
    }
}

/// The picture before the present one: the client's own, which is decoded so that what is called a picture is one. A PNG
/// file comes back as it was sent.
async fn before(host: &impl Ears, pictures: &[Vec<u8>]) -> Result<Painted, Failure> {
    let Some([before, _]) = pictures.last_chunk::<2>() else {
        let text =
            "there is no picture before the present one: send those so far as `picture`, the oldest first";
        return Err(Failure::impossible("nothing_to_undo", text).about("picture"));
    };
    let decoded = host.decode(before.clone()).await.map_err(|error| Failure::of_picture(error, "picture"))?;
    let png = match before.starts_with(PNG_SIGNATURE) {
        true => before.clone(),
        false => host.png(&decoded).await.map_err(|error| Failure::of_picture(error, "picture"))?,
    };
    Ok(Painted { png, ..Painted::default() })
}

fn elapsed_ms(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
