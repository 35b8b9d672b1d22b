//! One job for a model that is served elsewhere, from its place in the line to its end: attempts, pauses between them, and
//! the model that replies instead. Nothing is asked again once text was told: whoever listens cannot take it back.

use std::sync::Arc;
use std::time::Duration;

use atelier_inference::{
    ChatOrder, ChatRequest, Circle, Errand, Error, Event, Job, JobId, ModelId, ModelInfo, Outcome, Product,
    ProvidedOrder, Reply, Result, Ticket, Timings,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::trouble::{Trouble, shown};
use super::{Provided, convert};
use crate::admission::Place;
use crate::bindings::provider::exports::atelier::host::provider_language as wit;
use crate::context::Scope;
use crate::runtime::Host;
use crate::{Failure, Tenant, Work};

/// The first pause before another attempt; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Bytes that a token stands for, about, where a server does not count.
const BYTES_A_TOKEN: usize = 4;
/// Most notes of a plugin that are passed on.
const MAX_NOTES: usize = 8;

/// Who asks what.
pub(crate) struct Asking {
    pub(crate) host: Arc<Host>,
    pub(crate) tenant: Arc<Tenant>,
    /// The route's name: what is read for it is used again for no other.
    pub(crate) route: Arc<str>,
    pub(crate) scope: Scope,
    pub(crate) request: ChatRequest,
    /// What the tenant was charged with, and gets back where nothing came of it.
    pub(crate) work: Work,
}

impl Asking {
    /// Begins the job; it ends when it is done, or with its ticket.
    pub(crate) fn begin(self, model: Arc<Provided>) -> Ticket {
        let (ticket, errand) = Errand::begin(JobId::mint());
        tokio::spawn(self.see_to(model, errand));
        ticket
    }

    async fn see_to(self, model: Arc<Provided>, errand: Errand) {
        let began = Instant::now();
        let mut said = Said { errand: &errand, text: String::new() };
        let result = tokio::select! {
            biased;
            () = errand.unwanted() => Err(Error::Cancelled),
            result = self.run(model.clone(), &errand, &mut said) => result,
        };
        let is_silent = said.text.is_empty();
        model.metrics.ended(&result, began.elapsed());
        if let Err(Error::Unavailable { .. } | Error::TimedOut(_) | Error::Overloaded { .. }) = &result
            && is_silent
        {
            self.tenant.quota.refund(self.work);
        }
        errand.end(result);
    }

    /// The model's reply, or that of the first of its fallbacks that has one.
    async fn run(&self, first: Arc<Provided>, errand: &Errand, said: &mut Said<'_>) -> Result<Outcome> {
        let (mut model, mut notes) = (first, Vec::new());
        loop {
            let trouble = match self.reply(&model, errand, said).await {
                Ok(outcome) => return Ok(noted(outcome, notes)),
                Err(trouble) => trouble,
            };
            let Some(fallback) = model.fallback.as_ref().filter(|_| trouble.is_passed_on && said.is_empty())
            else {
                return Err(trouble.error);
            };
            model.provider.metrics.fallbacks.count();
            let id = self.scope.context().id();
            tracing::warn!(id, model = %model.info.card.id, "`{fallback}` replies instead: {}", trouble.error);
            notes.push(format!("{}; `{fallback}` replied instead", trouble.error));
            match self.host.provided(fallback) {
                Some(next) => model = next.clone(),
                None => return self.own(fallback, errand).await.map(|outcome| noted(outcome, notes)),
            }
        }
    }

    /// The reply of a model of this host.
    async fn own(&self, model: &ModelId, errand: &Errand) -> Result<Outcome> {
        let scheduler = &self.host.scheduler;
        let order = ChatOrder::new(self.request.clone(), scheduler.catalog().get(model)?)?;
        let order = order.within(Circle::new(&self.tenant.id, &self.route));
        let job = Job::new(order).for_tenant(self.tenant.id.clone(), self.tenant.priority);
        let mut ticket = scheduler.submit(job)?;
        while let Some(event) = ticket.events.next().await {
            errand.tell(event);
        }
        ticket.finish().await
    }

    /// The reply of one model that is served elsewhere, within its provider's time.
    async fn reply(
        &self,
        model: &Arc<Provided>,
        errand: &Errand,
        said: &mut Said<'_>,
    ) -> std::result::Result<Outcome, Trouble> {
        let info = ModelInfo::Language(model.info.clone());
        let order = ProvidedOrder::new(self.request.clone(), &info).map_err(Trouble::refused)?;
        let began = Instant::now();
        let deadline = began + model.provider.limits.timeout;
        errand.tell(Event::Queued { position: 0, eta: None });
        let _place = self.place(model, deadline).await?;
        let queue = began.elapsed();
        model.metrics.queue_wait.record(queue);
        errand.tell(Event::Started);
        let end = self.attempts(model, &order, deadline, said).await?;
        let (reply, notes) = self.settled(model, &order, end, &said.text)?;
        let timings = Timings { queue, load: Duration::ZERO, run: began.elapsed().saturating_sub(queue) };
        Ok(Outcome { model: model.info.card.id.clone(), product: Product::Reply(reply), notes, timings })
    }

    /// A place among the provider's calls.
    async fn place(&self, model: &Provided, deadline: Instant) -> std::result::Result<Place, Trouble> {
        let provider = &model.provider;
        let entered = timeout_at(deadline, provider.door.enter(&self.tenant)).await;
        let entered = entered.map_err(|_| Trouble::refused(provider.full(Duration::from_secs(1))))?;
        entered.map_err(|failure| match failure {
            Failure::Saturated { retry_after, .. } | Failure::Share { retry_after, .. } => {
                Trouble::refused(provider.full(retry_after))
            }
            other => Trouble::stopped(model, &other),
        })
    }

    /// Asks until there is a reply, or another attempt makes no sense.
    async fn attempts(
        &self,
        model: &Provided,
        order: &ProvidedOrder,
        deadline: Instant,
        said: &mut Said<'_>,
    ) -> std::result::Result<wit::End, Trouble> {
        let provider = &model.provider;
        let mut pause = FIRST_PAUSE;
        for left in (0..=provider.limits.retries).rev() {
            let attempt = provider.circuit.begin().map_err(|rest| provider.left_alone(model, rest))?;
            let tried = timeout_at(deadline, model.attempt(self, order, &mut |text| said.tell(text))).await;
            let tried = tried.unwrap_or_else(|_| Err(Trouble::late(model)));
            let trouble = match tried {
                Ok(end) => {
                    attempt.answered();
                    provider.metrics.attempts.count("answered");
                    return Ok(end);
                }
                Err(trouble) if trouble.is_silence => {
                    attempt.failed();
                    trouble
                }
                Err(trouble) => {
                    attempt.answered();
                    trouble
                }
            };
            provider.metrics.attempts.count(trouble.kind);
            let id = self.scope.context().id();
            tracing::warn!(id, provider = %provider.id, code = trouble.kind, "no reply: {}", trouble.error);
            let wait = trouble.retry_after().unwrap_or(Duration::ZERO).max(spread(pause));
            let is_in_time = Instant::now() + wait < deadline;
            if left == 0 || !trouble.may_pass || !said.is_empty() || !is_in_time {
                return Err(trouble);
            }
            provider.metrics.retries.count();
            sleep(wait).await;
            pause *= 2;
        }
        // the last attempt above returns
        Err(Trouble::late(model))
    }

    /// What is told of a whole reply, if it is what was asked for.
    fn settled(
        &self,
        model: &Provided,
        order: &ProvidedOrder,
        end: wit::End,
        text: &str,
    ) -> std::result::Result<(Reply, Vec<String>), Trouble> {
        let finish = convert::finish(end.finish);
        if finish != atelier_inference::chat::Finish::Length {
            let misfit = |what: String| {
                Trouble::malformed(model, &format!("its reply does not fit the schema: {what}"))
            };
            order.check_fit(text).map_err(misfit)?;
        }
        let mut notes: Vec<String> =
            end.notes.iter().take(MAX_NOTES).map(|note| shown(model, note)).collect();
        let usage = end.usage.map(convert::usage).unwrap_or_else(|| {
            notes.push(
                "the server did not count tokens; they are guessed from the length of the texts".into(),
            );
            guessed(order, text)
        });
        model.provider.metrics.read.add(u64::from(usage.prompt_tokens));
        model.provider.metrics.written.add(u64::from(usage.reply_tokens));
        let seed = order.options.seed.unwrap_or_else(|| {
            notes.push("the seed is the server's own, and not told: 0 stands for it".into());
            0
        });
        Ok((Reply { text: text.to_owned(), finish, usage, seed }, notes))
    }
}

/// What was told so far.
struct Said<'a> {
    errand: &'a Errand,
    text: String,
}

impl Said<'_> {
    fn tell(&mut self, text: String) {
        self.text.push_str(&text);
        self.errand.tell(Event::Said { text });
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

fn noted(outcome: Outcome, before: Vec<String>) -> Outcome {
    let notes = before.into_iter().chain(outcome.notes).collect();
    Outcome { notes, ..outcome }
}

/// Half of a pause, and a part of the other half: those who failed together do not come back together.
fn spread(pause: Duration) -> Duration {
    pause / 2 + pause.mul_f64(rand::random::<f64>() / 2.0)
}

fn guessed(order: &ProvidedOrder, text: &str) -> atelier_inference::chat::Usage {
    let tokens = |bytes: usize| u32::try_from(bytes.div_ceil(BYTES_A_TOKEN)).unwrap_or(u32::MAX);
    let read = order.turns.iter().map(|turn| turn.text.len()).sum();
    atelier_inference::chat::Usage {
        prompt_tokens: tokens(read),
        cached_tokens: 0,
        reply_tokens: tokens(text.len()),
    }
}
