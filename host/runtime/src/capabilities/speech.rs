//! `speech`: turns a guest's request into a job of the scheduler, and the job's events and end into the guest's stream and
//! transcript.

mod convert;

use std::sync::Arc;

use atelier_inference::{
    Error as HostError, Event as HostEvent, Outcome as HostOutcome, Product, ProvidedSpeechOrder,
    SpeechModel as HostModel, SpeechOptions, SpeechOrder,
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
use crate::provider::Wanted;
use crate::sandbox::Sandbox;
use crate::stage::Caller;

/// What is behind a guest's handle: how long the recording is.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub type RunningTranscription = Handle<f64>;

impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn models(access: &Access) -> Result<Vec<SpeechModel>> {
        let caller = caller(access).await;
        let (scheduler, grants) = (&caller.host.scheduler, &caller.route.grants.models);
        let granted = |model: &&Arc<HostModel>| grants.contains(&model.card.id);
        let describe = |model: &Arc<HostModel>| convert::describe(model, scheduler.is_loaded(&model.card.id));
        let own = scheduler.catalog().speech_models().filter(granted).map(describe);
        let elsewhere = caller.host.all_provided().iter();
        let elsewhere = elsewhere.filter_map(|model| model.info.speech().ok()).filter(granted);
        // there is nothing to load
        Ok(own.chain(elsewhere.map(|model| convert::describe(model, true))).collect())
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
    let options = SpeechOptions::from(request);
    let provided = caller.host.provided(info.id());
    let order = match provided {
        Some(_) => ProvidedSpeechOrder::new(samples.clone(), options.clone(), &info)?.order,
        None => SpeechOrder::new(samples.clone(), options.clone(), &info)?,
    };
    let (model, seconds) = (order.model.clone(), order.seconds());
    let mut span = caller.meter.scope().open("job");
    span.set("atelier.model", || model.card.id.as_str());
    span.set("atelier.audio_seconds", || seconds.ceil() as u64);
    let work = Work { audio_seconds: seconds.ceil() as u64, ..Work::default() };
    let running = match provided {
        Some(provided) => {
            let wanted = Wanted::Transcript(samples, Box::new(options));
            job::ask(caller, provided, wanted, work, held, span)
        }
        None => job::submit(caller, order, work, held, span),
    };
    let running = running.map_err(about_audio)?;
    Ok(Handle::new(seconds, running))
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
        let (seconds, result) = match job::outcome(access, job).await? {
            Ok(Ended { facts, result, .. }) => (facts, result),
            Err(error) => return Ok(Err(error)),
        };
        Ok(match result {
            Ok(HostOutcome { model, product: Product::Transcript(transcript), notes, timings }) => {
                Ok(Transcript {
                    text: transcript.text,
                    language: transcript.language.map(Into::into),
                    segments: transcript.segments.into_iter().map(Into::into).collect(),
                    seconds,
                    model: model.to_string(),
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
