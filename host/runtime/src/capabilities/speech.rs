//! `speech`: turns a guest's request into a job of the scheduler, and the job's events and end into the guest's stream and
//! transcript.

mod convert;

use std::sync::Arc;

use atelier_inference::{
    Error as HostError, Event as HostEvent, Outcome as HostOutcome, Product, SpeechModel as HostModel,
    SpeechOrder,
};
use wasmtime::Result;
use wasmtime::component::{Access as StoreAccess, Resource, StreamReader};

use super::audio::Sound;
use super::job::{self, Ended, Handle};
use super::{Access, Capabilities, caller};
use crate::Work;
use crate::bindings::generation::{Error, Invalid};
use crate::bindings::speech::{
    Event, Host, HostTranscription, HostTranscriptionWithStore, HostWithStore, Request, SpeechModel,
    Transcript,
};
use crate::sandbox::Sandbox;
use crate::stage::Caller;

/// What is behind a guest's handle: the model, and how long the recording is.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub type RunningTranscription = Handle<(Arc<HostModel>, f64)>;

impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn models(access: &Access) -> Result<Vec<SpeechModel>> {
        let caller = caller(access).await;
        let (scheduler, grants) = (&caller.host.scheduler, &caller.route.grants.models);
        let granted = |model: &&Arc<HostModel>| grants.contains(&model.card.id);
        let describe = |model: &Arc<HostModel>| convert::describe(model, scheduler.is_loaded(&model.card.id));
        Ok(scheduler.catalog().speech_models().filter(granted).map(describe).collect())
    }

    async fn transcribe(
        access: &Access,
        request: Request,
        recording: Resource<Sound>,
    ) -> Result<std::result::Result<Resource<RunningTranscription>, Error>> {
        let caller = caller(access).await;
        let samples = access
            .with(|mut store| Ok::<_, wasmtime::Error>(store.get().table.get(&recording)?.samples.clone()))?;
        job::keep(access, start(&caller, request, samples))
    }
}

fn start(
    caller: &Caller,
    request: Request,
    samples: Arc<[f32]>,
) -> std::result::Result<RunningTranscription, Error> {
    let held = job::hold(caller)?;
    let info = job::granted(caller, &request.model)?;
    let order = SpeechOrder::new(samples, request.into(), &info)?;
    let (model, seconds) = (order.model.clone(), order.seconds());
    let mut span = caller.meter.scope().open("job");
    span.set("atelier.model", || model.card.id.as_str());
    span.set("atelier.audio_seconds", || seconds.ceil() as u64);
    let work = Work { audio_seconds: seconds.ceil() as u64, ..Work::default() };
    let running = job::submit(caller, order, work, held, span).map_err(about_audio)?;
    Ok(Handle::new((model, seconds), running))
}

/// Where a job does not fit the memory, what a caller can change of it is the audio.
fn about_audio(error: HostError) -> Error {
    match error {
        HostError::TooLarge { .. } => {
            Error::InvalidRequest(Invalid { field: "audio".into(), reason: error.to_string() })
        }
        error => error.into(),
    }
}

impl HostTranscription for Sandbox {
    fn id(&mut self, job: Resource<RunningTranscription>) -> Result<String> {
        Ok(self.table.get(&job)?.id())
    }

    fn cancel(&mut self, job: Resource<RunningTranscription>) -> Result<()> {
        self.table.get(&job)?.cancel();
        Ok(())
    }

    fn drop(&mut self, job: Resource<RunningTranscription>) -> Result<()> {
        self.table.delete(job)?;
        Ok(())
    }
}

impl HostTranscriptionWithStore<Sandbox> for Capabilities {
    fn events(
        store: StoreAccess<'_, Sandbox, Self>,
        job: Resource<RunningTranscription>,
    ) -> Result<StreamReader<Event>> {
        job::events(store, job, translate)
    }

    async fn outcome(
        access: &Access,
        job: Resource<RunningTranscription>,
    ) -> Result<std::result::Result<Transcript, Error>> {
        let ((model, seconds), result) = match job::outcome(access, job).await? {
            Ok(Ended { facts, result, .. }) => (facts, result),
            Err(error) => return Ok(Err(error)),
        };
        Ok(match result {
            Ok(HostOutcome { product: Product::Transcript(transcript), notes, timings, .. }) => {
                Ok(Transcript {
                    text: transcript.text,
                    language: transcript.language.map(Into::into),
                    segments: transcript.segments.into_iter().map(Into::into).collect(),
                    seconds,
                    model: model.card.id.to_string(),
                    notes,
                    timings: timings.into(),
                })
            }
            Ok(_) => Err(Error::Failed("the job made something else than a transcript".into())),
            Err(error) => Err(about_audio(error)),
        })
    }
}

/// The guest's form of an event.
async fn translate(event: HostEvent) -> Option<Event> {
    match event {
        HostEvent::Queued { position, eta } => Some(Event::Queued(job::queued(position, eta))),
        HostEvent::Started => Some(Event::Started),
        HostEvent::Heard(delta) => Some(Event::Heard(delta.into())),
        // no such events come of speech
        HostEvent::Step { .. } | HostEvent::Preview(_) | HostEvent::Said { .. } => None,
    }
}
