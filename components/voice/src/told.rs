//! A transcription as it comes: OpenAI's events `transcript.text.delta` and, at the end, `transcript.text.done`. Dropping the
//! stream drops the job.

use atelier_kit::http::{BodyWriter, Reply};
use atelier_kit::speech::{SpeechEvent, Transcription};
use atelier_kit::sse;
use serde_json::json;

use crate::api::Ears;
use crate::failure::Failure;

const DELTA: &str = "transcript.text.delta";
const DONE: &str = "transcript.text.done";

/// The event stream of a job.
pub(crate) fn as_it_comes<H: Ears>(host: H, job: H::Transcription) -> Reply {
    let producer = |writer: BodyWriter| async move {
        sse::keeping_alive(writer.clone(), || host.sleep_ms(sse::KEEP_ALIVE_MS), follow(job, writer)).await;
    };
    Reply::Stream(sse::head(), Box::new(|writer| Box::pin(producer(writer))))
}

async fn follow(mut job: impl Transcription, mut writer: BodyWriter) {
    let mut has_begun = false;
    while let Some(event) = job.next_event().await {
        let SpeechEvent::Heard { text, .. } = event else { continue };
        // the space before the first word is none of the text's, as in the whole answer
        let text = if has_begun { text.as_str() } else { text.trim_start() };
        if !text.is_empty() {
            has_begun = true;
            sse::send(&mut writer, DELTA, &json!({"type": DELTA, "delta": text})).await;
        }
    }
    match job.outcome().await {
        Ok(transcript) => {
            sse::send(&mut writer, DONE, &json!({"type": DONE, "text": transcript.text.trim()})).await;
        }
        // the stream has begun with status 200, so a failure can only be told as an event
        Err(error) => sse::send(&mut writer, "error", &Failure::from(error).body()).await,
    }
}
