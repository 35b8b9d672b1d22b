//! `language`: turns a guest's conversation into a job of the scheduler, and the job's events and end into the guest's stream
//! and reply.

mod convert;

use std::sync::Arc;

use atelier_inference::{
    ChatOrder, ChatRequest, Circle, Error as HostError, Event as HostEvent, LanguageModel as HostModel,
    Outcome as HostOutcome, Product, ProvidedOrder, Turn,
};
use wasmtime::Result;
use wasmtime::component::{Access as StoreAccess, Resource, StreamReader};

use super::job::{self, Ended, Handle};
use super::{Access, Capabilities, caller};
use crate::Work;
use crate::bindings::generation::{Error, Invalid};
use crate::bindings::language::{
    Event, Host, HostCompletion, HostCompletionWithStore, HostWithStore, LanguageModel, Reply, Request,
};
use crate::context::OpenSpan;
use crate::provider::Wanted;
use crate::sandbox::Sandbox;
use crate::stage::Caller;

/// Tokens around a turn, and those that a model's own template adds, at most: what is charged for them before they are counted.
const TURN_TOKENS: u64 = 16;

/// What is behind a guest's handle: the model.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub type RunningCompletion = Handle<Arc<HostModel>>;

impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn models(access: &Access) -> Result<Vec<LanguageModel>> {
        let caller = caller(access).await;
        let (scheduler, grants) = (&caller.host.scheduler, &caller.route.grants.models);
        let granted = |model: &&Arc<HostModel>| grants.contains(&model.card.id);
        let describe = |model: &Arc<HostModel>| convert::describe(model, scheduler.is_loaded(&model.card.id));
        let own = scheduler.catalog().language_models().filter(granted).map(describe);
        let elsewhere = caller.host.all_provided().iter();
        let elsewhere = elsewhere.filter_map(|model| model.info.language().ok()).filter(granted);
        // there is nothing to load
        Ok(own.chain(elsewhere.map(|model| convert::describe(model, true))).collect())
    }

    async fn chat(
        access: &Access,
        request: Request,
    ) -> Result<std::result::Result<Resource<RunningCompletion>, Error>> {
        let caller = caller(access).await;
        job::keep(access, start(&caller, request))
    }
}

fn start(caller: &Caller, request: Request) -> std::result::Result<RunningCompletion, Error> {
    let held = job::hold(caller)?;
    let info = job::granted(caller, &request.model)?;
    let request = ChatRequest::from(request);
    let Some(provided) = caller.host.provided(info.id()) else {
        let circle = Circle::new(&caller.meter.tenant().id, &caller.route.name);
        let order = ChatOrder::new(request, &info)?.within(circle);
        let (model, count) = (order.model.clone(), order.options.max_tokens);
        let (span, work) = prepared(caller, &model, &order.turns, count)?;
        return begun(caller, model, count, || job::submit(caller, order, work, held, span));
    };
    let order = ProvidedOrder::new(request.clone(), &info)?;
    let (model, count) = (order.model.clone(), order.options.max_tokens);
    let (span, work) = prepared(caller, &model, &order.turns, count)?;
    let wanted = Wanted::Reply(request);
    begun(caller, model, count, || job::ask(caller, provided, wanted, work, held, span))
}

/// Takes a request's tokens, and says what is written down of its job: a span, and what it is charged with.
fn prepared(
    caller: &Caller,
    model: &HostModel,
    turns: &[Turn],
    count: u32,
) -> std::result::Result<(OpenSpan, Work), Error> {
    let mut span = caller.meter.scope().open("job");
    span.set("atelier.model", || model.card.id.as_str());
    span.set("atelier.turns", || turns.len() as u64);
    span.set("atelier.max_tokens", || u64::from(count));
    take_tokens(caller, count)?;
    Ok((span, Work { tokens: most_tokens(turns, count), ..Work::default() }))
}

/// Hands the guest a job that began; gives back its tokens where it did not.
fn begun(
    caller: &Caller,
    model: Arc<HostModel>,
    count: u32,
    begin: impl FnOnce() -> std::result::Result<job::Running, HostError>,
) -> std::result::Result<RunningCompletion, Error> {
    let running =
        begin().inspect_err(|_| caller.meter.give_back_tokens(u64::from(count))).map_err(about_turns)?;
    Ok(Handle::new(model, running))
}

fn take_tokens(caller: &Caller, count: u32) -> std::result::Result<(), Error> {
    caller.meter.take_tokens(u64::from(count)).map_err(|limit| {
        let reason =
            format!("{count} more than this request may still have written: {limit} in all (limits.tokens)");
        Error::InvalidRequest(Invalid { field: "max-tokens".into(), reason })
    })
}

/// What a job is charged with until it is known what it used: a token stands for a byte at least.
fn most_tokens(turns: &[Turn], count: u32) -> u64 {
    let turn = |text: &str| text.len() as u64 + TURN_TOKENS;
    let read: u64 = turns.iter().map(|said| turn(&said.text)).sum();
    read + u64::from(count)
}

/// Where a job does not fit the memory, what a caller can change of it is the conversation.
fn about_turns(error: HostError) -> Error {
    match error {
        HostError::TooLarge { .. } => {
            Error::InvalidRequest(Invalid { field: "turns".into(), reason: error.to_string() })
        }
        error => error.into(),
    }
}

impl HostCompletion for Sandbox {
    fn id(&mut self, job: Resource<RunningCompletion>) -> Result<String> {
        Ok(self.table.get(&job)?.id())
    }

    fn cancel(&mut self, job: Resource<RunningCompletion>) -> Result<()> {
        self.table.get(&job)?.cancel();
        Ok(())
    }

    fn drop(&mut self, job: Resource<RunningCompletion>) -> Result<()> {
        self.table.delete(job)?;
        Ok(())
    }
}

impl HostCompletionWithStore<Sandbox> for Capabilities {
    fn events(
        store: StoreAccess<'_, Sandbox, Self>,
        job: Resource<RunningCompletion>,
    ) -> Result<StreamReader<Event>> {
        job::events(store, job, translate)
    }

    async fn outcome(
        access: &Access,
        job: Resource<RunningCompletion>,
    ) -> Result<std::result::Result<Reply, Error>> {
        let result = match job::outcome(access, job).await? {
            Ok(Ended { result, .. }) => result,
            Err(error) => return Ok(Err(error)),
        };
        Ok(match result {
            Ok(HostOutcome { model, product: Product::Reply(reply), notes, timings }) => Ok(Reply {
                text: reply.text,
                finish: reply.finish.into(),
                usage: reply.usage.into(),
                seed: reply.seed,
                model: model.to_string(),
                notes,
                timings: timings.into(),
            }),
            Ok(_) => Err(Error::Failed("the job made something else than a reply".into())),
            Err(error) => Err(about_turns(error)),
        })
    }
}

/// The guest's form of an event.
async fn translate(event: HostEvent) -> Option<Event> {
    match event {
        HostEvent::Queued { position, eta } => Some(Event::Queued(job::queued(position, eta))),
        HostEvent::Started => Some(Event::Started),
        HostEvent::Said { text } => Some(Event::Said(text)),
        // no such events come of a chat
        HostEvent::Step { .. } | HostEvent::Preview(_) | HostEvent::Heard(_) => None,
    }
}
