//! One job for a model that is served elsewhere, from its place in the line to its end: attempts, pauses between them, and
//! the model that works instead. Nothing is asked again once text was told: whoever listens cannot take it back. What the job is
//! about is not known here (`wanted.rs`).

use std::sync::Arc;
use std::time::Duration;

use atelier_inference::{
    Circle, Errand, Error, Event, Job, JobId, ModelId, Outcome, Result, Ticket, Timings,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::Provided;
use super::attempt::Answer;
use super::trouble::Trouble;
use super::wanted::{Order, Wanted};
use crate::admission::Place;
use crate::context::Scope;
use crate::runtime::Host;
use crate::{Exceeded, Failure, Tenant, Work};

/// The first pause before another attempt; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Who asks what.
pub(crate) struct Asking {
    pub(crate) host: Arc<Host>,
    pub(crate) tenant: Arc<Tenant>,
    /// The route's name: what is read for it is used again for no other.
    pub(crate) route: Arc<str>,
    pub(crate) scope: Scope,
    pub(crate) wanted: Wanted,
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
        let mut told = Told { errand: &errand, text: String::new() };
        let result = tokio::select! {
            biased;
            () = errand.unwanted() => Err(Error::Cancelled),
            result = self.run(model.clone(), &errand, &mut told) => result,
        };
        let is_silent = told.text.is_empty();
        model.metrics.ended(&result, began.elapsed());
        match &result {
            Err(Error::Unavailable { .. } | Error::TimedOut(_) | Error::Overloaded { .. }) if is_silent => {
                self.tenant.quota.refund(self.work);
            }
            // tokens are settled by whoever reads the outcome
            Err(Error::Invalid { .. }) => self.tenant.quota.refund(Work { tokens: 0, ..self.work }),
            _ => {}
        }
        errand.end(result);
    }

    /// What the model makes, or the first of its fallbacks that can.
    async fn run(&self, first: Arc<Provided>, errand: &Errand, told: &mut Told<'_>) -> Result<Outcome> {
        let (mut model, mut notes, mut before) = (first, Vec::new(), None);
        loop {
            let mut trouble = match self.answer(&model, errand, told).await {
                Ok(outcome) => return Ok(noted(outcome, notes)),
                Err(trouble) => trouble,
            };
            if let Some(before) = before.take() {
                trouble.error = instead(before, model.info.id(), trouble.error);
            }
            let Some(fallback) = model.fallback.as_ref().filter(|_| trouble.is_passed_on && told.is_empty())
            else {
                return Err(trouble.error);
            };
            model.provider.metrics.fallbacks.count();
            let (id, done) = (self.scope.context().id(), self.wanted.done());
            tracing::warn!(id, model = %model.info.id(), "`{fallback}` is asked instead: {}", trouble.error);
            notes.push(format!("{}; `{fallback}` {done} instead", trouble.error));
            match self.host.provided(fallback) {
                Some(next) => (model, before) = (next.clone(), Some(trouble.error)),
                None => {
                    let made = self.own(fallback, errand).await;
                    let made = made.map_err(|error| instead(trouble.error, fallback, error));
                    return made.map(|outcome| noted(outcome, notes));
                }
            }
        }
    }

    /// What a model of this host makes.
    async fn own(&self, fallback: &ModelId, errand: &Errand) -> Result<Outcome> {
        let scheduler = &self.host.scheduler;
        let circle = Circle::new(&self.tenant.id, &self.route);
        let (order, work) = self.wanted.own(scheduler.catalog().get(fallback)?, circle)?;
        let over = |Exceeded { reason, retry_after }| Error::Overloaded { reason, retry_after };
        self.tenant.quota.charge(work).map_err(over)?;
        let job = Job::new(order).for_tenant(self.tenant.id.clone(), self.tenant.priority);
        let mut ticket = scheduler.submit(job).inspect_err(|_| self.tenant.quota.refund(work))?;
        while let Some(event) = ticket.events.next().await {
            errand.tell(event);
        }
        ticket.finish().await
    }

    /// What one model makes that is served elsewhere, within its provider's time.
    async fn answer(
        &self,
        model: &Arc<Provided>,
        errand: &Errand,
        told: &mut Told<'_>,
    ) -> std::result::Result<Outcome, Trouble> {
        let began = Instant::now();
        let deadline = began + model.provider.limits.timeout;
        errand.tell(Event::Queued { position: 0, eta: None });
        let _place = self.place(model, deadline).await?;
        let queue = began.elapsed();
        model.metrics.queue_wait.record(queue);
        errand.tell(Event::Started);
        // within its place: so many are held in memory as files, and no more
        let order = self.wanted.order(self, model).await?;
        let answer = self.attempts(model, &order, deadline, told).await?;
        let (product, notes) = order.settle(self, model, answer, &told.text).await?;
        order.heard(&product).into_iter().for_each(|heard| errand.tell(Event::Heard(heard)));
        let timings = Timings { queue, load: Duration::ZERO, run: began.elapsed().saturating_sub(queue) };
        Ok(Outcome { model: model.info.id().clone(), product, notes, timings })
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

    /// Asks until there is an answer, or another attempt makes no sense.
    async fn attempts(
        &self,
        model: &Provided,
        order: &Order,
        deadline: Instant,
        told: &mut Told<'_>,
    ) -> std::result::Result<Answer, Trouble> {
        let provider = &model.provider;
        let mut pause = FIRST_PAUSE;
        for left in (0..=provider.limits.retries).rev() {
            let attempt = provider.circuit.begin().map_err(|rest| provider.left_alone(model, rest))?;
            let tried = timeout_at(deadline, model.attempt(self, order, &mut |event| told.tell(event))).await;
            let tried = tried.unwrap_or_else(|_| Err(Trouble::late(model)));
            let trouble = match tried {
                Ok(answer) => {
                    attempt.answered();
                    provider.metrics.attempts.count("answered");
                    return Ok(answer);
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
            tracing::warn!(id, provider = %provider.id, code = trouble.kind, "no answer: {}", trouble.error);
            let wait = trouble.retry_after().unwrap_or(Duration::ZERO).max(spread(pause));
            let is_in_time = Instant::now() + wait < deadline;
            if left == 0 || !trouble.may_pass || !told.is_empty() || !is_in_time {
                return Err(trouble);
            }
            provider.metrics.retries.count();
            sleep(wait).await;
            pause *= 2;
        }
        // the last attempt above returns
        Err(Trouble::late(model))
    }
}

/// What was told so far that cannot be taken back: text. An unfinished picture is followed by another.
struct Told<'a> {
    errand: &'a Errand,
    text: String,
}

impl Told<'_> {
    fn tell(&mut self, event: Event) {
        if let Event::Said { text } = &event {
            self.text.push_str(text);
        }
        self.errand.tell(event);
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// Why there is nothing of two models. What the second one cannot do is no fault of a request that was the first one's.
fn instead(first: Error, second: &ModelId, why: Error) -> Error {
    let Error::Invalid { field, reason } = why else { return why };
    let cannot = format!("`{second}` cannot do it instead: {field}: {reason}");
    match first {
        Error::Unavailable { reason, retry_after } => {
            Error::Unavailable { reason: format!("{reason}; {cannot}"), retry_after }
        }
        Error::TimedOut(text) => Error::TimedOut(format!("{text}; {cannot}")),
        first => first,
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
