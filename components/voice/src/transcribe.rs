//! From a form to what is said in its recording. Everything that can be refused is refused before an answer begins, so that
//! faults of a streamed one have their own status as well.

use atelier_kit::host::GenerationError;
use atelier_kit::http::{Reply, Request};
use atelier_kit::speech::{SpeechOrder, Task, Transcription as _};

use crate::api::Ears;
use crate::failure::Failure;
use crate::transcription::Transcription;
use crate::{models, told, written};

/// Answers `POST /v1/audio/transcriptions` and `/v1/audio/translations`.
pub(crate) async fn answer(host: impl Ears, request: Request, task: Task) -> Result<Reply, Failure> {
    let request = Transcription::parse(request, task).await?;
    let Transcription { file, model, order, format, times, is_streamed } = request;
    let order = SpeechOrder { model: models::listener(&host, model.as_deref()).await?, ..order };
    let recording = host.recording(file).await.map_err(|error| Failure::of_recording(error, "file"))?;
    let job = host.transcribe(order, &recording).await.map_err(of_file)?;
    // the job has the samples
    drop(recording);
    if is_streamed {
        return Ok(told::as_it_comes(host, job));
    }
    let transcript = job.outcome().await?;
    Ok(written::response(&transcript, task, format, times).into())
}

/// What the host calls audio is this form's file.
fn of_file(error: GenerationError) -> Failure {
    match error {
        GenerationError::Invalid { field, reason } if field == "audio" => {
            GenerationError::Invalid { field: "file".into(), reason }.into()
        }
        error => error.into(),
    }
}
