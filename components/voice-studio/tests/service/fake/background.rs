//! Background jobs of the fake, which a test begins and ends, and the server that it asks: a second fake, or a script.

use std::collections::VecDeque;
use std::pin::Pin;

use atelier_kit::fake::whole;
use atelier_kit::host::{Call, CallError};
use atelier_kit::http::{Reply, Request};
use atelier_kit::jobs::{
    Job as BackgroundJob, JobFailure, Jobs, JobsError, Page, Receipt, Standing, State, Submission,
};
use serde_json::Value;

use super::{Fake, json};

/// The server that a fake asks.
pub(crate) enum Elsewhere {
    Nobody,
    Host(Box<Fake>),
    /// Answers in their order, and nobody after them; status 0 is silence.
    Says(VecDeque<(u16, Value)>),
}

impl Fake {
    /// The same, which asks another.
    pub(crate) fn asking(self, elsewhere: Elsewhere) -> Self {
        self.elsewhere.replace(elsewhere);
        self
    }

    /// Begins the background job that waits longest.
    pub(crate) fn begin(&self) -> Option<BackgroundJob> {
        let mut record = self.jobs.record.borrow_mut();
        let index = record.background.standings.iter().position(|job| job.state == State::Pending)?;
        let submission = record.background.submissions[index].clone();
        let standing = &mut record.background.standings[index];
        standing.state = State::Processing;
        standing.attempts += 1;
        let (id, attempt) = (standing.id.clone(), standing.attempts);
        Some(BackgroundJob { id, kind: submission.kind, payload: submission.payload, attempt })
    }

    /// Ends one, as the host does.
    pub(crate) fn end(&self, id: &str, outcome: Result<Vec<u8>, JobFailure>) {
        let mut record = self.jobs.record.borrow_mut();
        let standing = record.background.standings.iter_mut().find(|job| job.id == id).expect("known");
        // one that was called off stays so
        if standing.state.is_end() {
            return;
        }
        (standing.state, standing.result, standing.error) = match outcome {
            Ok(result) => (State::Completed, Some(result), None),
            Err(JobFailure::Temporary(why)) if standing.attempts < 3 => (State::Pending, None, Some(why)),
            Err(JobFailure::Temporary(why) | JobFailure::Permanent(why)) => (State::Failed, None, Some(why)),
        };
    }

    /// Works all background jobs off.
    pub(crate) async fn work_off(&self) {
        while let Some(job) = self.begin() {
            let id = job.id.clone();
            self.end(&id, voice_studio::api::run(self.clone(), job).await);
        }
    }

    /// Asks for something without a cookie.
    pub(crate) async fn ask(&self, request: Request) -> (u16, Value) {
        json(&whole(voice_studio::api::handle(self.clone(), Ok(request)).await))
    }
}

impl Jobs for Fake {
    async fn submit(&self, submissions: Vec<Submission>) -> Result<Vec<Receipt>, JobsError> {
        let receipts = self.jobs.submit(submissions).await;
        if self.begins.get() {
            self.begin();
        }
        receipts
    }

    async fn status(&self, id: &str) -> Result<Standing, JobsError> {
        let mut standing = self.jobs.status(id).await?;
        let record = self.jobs.record.borrow();
        let before = record.background.standings.iter().take_while(|job| job.id != id);
        let waiting = before.filter(|job| job.state == State::Pending).count();
        standing.position = (standing.state == State::Pending).then_some(waiting as u32);
        Ok(standing)
    }

    async fn list(&self, after: Option<String>, count: u32) -> Result<Page, JobsError> {
        self.jobs.list(after, count).await
    }

    async fn cancel(&self, id: &str) -> Result<Standing, JobsError> {
        self.jobs.cancel(id).await
    }

    /// Of the job that is being worked on: there is one at a time.
    async fn report(&self, progress: u8, message: &str) -> Result<(), JobsError> {
        let mut record = self.jobs.record.borrow_mut();
        let begun = record.background.standings.iter_mut().find(|job| job.state == State::Processing);
        let standing = begun.ok_or(JobsError::NotRunning)?;
        (standing.progress, standing.message) = (progress, message.to_owned());
        Ok(())
    }
}

/// What the other server says.
pub(super) async fn ask(host: &Fake, call: Call) -> Result<(u16, Vec<u8>), CallError> {
    let nobody = || CallError("the connection was refused: is the server running?".into());
    let other = match &mut *host.elsewhere.borrow_mut() {
        Elsewhere::Nobody => return Err(nobody()),
        Elsewhere::Says(answers) => {
            let (status, answer) = answers.pop_front().ok_or_else(nobody)?;
            if status == 0 {
                return Err(CallError("the server took longer than 30000 ms".into()));
            }
            return Ok((status, answer.to_string().into_bytes()));
        }
        Elsewhere::Host(other) => other.clone(),
    };
    let target = call.url.strip_prefix("http://gpu:8000").expect("the configured address");
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let (path, query) = (path.to_owned(), query.map(str::to_owned));
    let request = Request {
        method: call.method.into(),
        path,
        query,
        headers: call.headers,
        body: call.body,
        ..Request::default()
    };
    let reply: Pin<Box<dyn Future<Output = Reply>>> =
        Box::pin(voice_studio::api::handle(*other, Ok(request)));
    let response = whole(reply.await);
    Ok((response.status, response.body))
}
