//! The guest's side of a job, alike whatever it makes: a handle that names it, cancels it, gives out its events once and its
//! end once. How these look to the guest is its capability's business.

use std::sync::Arc;

use atelier_inference::{Event as HostEvent, Outcome as HostOutcome};
use wasmtime::Result;
use wasmtime::component::{Access as StoreAccess, Lift, Lower, Resource, StreamReader};

use super::events::Events;
use super::{Running, asked_twice};
use crate::bindings::generation::Error;
use crate::capabilities::{Access, Capabilities};
use crate::sandbox::{Meter, Sandbox};

/// What is behind a guest's handle: the job, and the facts with which its outcome is told.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Handle<F> {
    facts: F,
    running: Running,
}

/// A job's end, with whom it is to be told to.
pub(in crate::capabilities) struct Ended<F> {
    pub(in crate::capabilities) facts: F,
    pub(in crate::capabilities) meter: Arc<Meter>,
    pub(in crate::capabilities) result: atelier_inference::Result<HostOutcome>,
}

impl<F> Handle<F> {
    pub(in crate::capabilities) fn new(facts: F, running: Running) -> Self {
        Self { facts, running }
    }

    pub(in crate::capabilities) fn id(&self) -> String {
        self.running.id.to_string()
    }

    pub(in crate::capabilities) fn cancel(&self) {
        self.running.guard.cancel();
    }
}

/// Gives a started job to the guest.
pub(in crate::capabilities) fn keep<F: Send + 'static>(
    access: &Access,
    started: std::result::Result<Handle<F>, Error>,
) -> Result<std::result::Result<Resource<Handle<F>>, Error>> {
    match started {
        Ok(job) => Ok(Ok(access.with(|mut store| store.get().table.push(job))?)),
        Err(error) => Ok(Err(error)),
    }
}

/// The job's events, translated; a second stream ends at once.
pub(in crate::capabilities) fn events<F, T, E>(
    mut store: StoreAccess<'_, Sandbox, Capabilities>,
    job: Resource<Handle<F>>,
    translate: impl Fn(HostEvent) -> E + Send + 'static,
) -> Result<StreamReader<T>>
where
    F: Send + 'static,
    T: Lift + Lower + Send + Sync + 'static,
    E: Future<Output = Option<T>> + Send + 'static,
{
    let meter = store.get().meter().clone();
    match store.get().table.get_mut(&job)?.running.events.take() {
        Some(reader) => StreamReader::new(&mut store, Events::follow(reader, meter, translate)),
        None => StreamReader::new(&mut store, std::iter::empty()),
    }
}

/// Waits for the job's end; asked for a second time it is an error.
pub(in crate::capabilities) async fn outcome<F: Clone + Send + 'static>(
    access: &Access,
    job: Resource<Handle<F>>,
) -> Result<std::result::Result<Ended<F>, Error>> {
    let (end, facts, meter) = access.with(|mut store| {
        let meter = store.get().meter().clone();
        let job = store.get().table.get_mut(&job)?;
        Ok::<_, wasmtime::Error>((job.running.take_end(), job.facts.clone(), meter))
    })?;
    let Some(end) = end else { return Ok(Err(asked_twice())) };
    let result = end.come(&meter).await;
    Ok(Ok(Ended { facts, meter, result }))
}
