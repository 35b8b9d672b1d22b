//! Background jobs as plain types behind one trait, beside [`crate::Host`]: what a handler submits, how it looks at that, and
//! what it is given to work off. The fields mean what `wit/jobs.wit` says of the items of the same name. Needs `grants.jobs`.
//!
//! A handler writes two functions besides its endpoints: one that works a [`Job`] off, and one that says how a [`Standing`] reads
//! as JSON, which its own endpoint for the status calls as well. `wasm::work` and `wasm::describe` join them to the exports.

/// Which jobs of a tenant go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// After the others.
    Low,
    /// As most.
    #[default]
    Normal,
    /// Before the others.
    High,
}

/// Work to be done later (`jobs.submission`); what is `None` is as the host says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/jobs.wit")]
pub struct Submission {
    pub kind: String,
    pub payload: Vec<u8>,
    pub key: Option<String>,
    pub priority: Priority,
    pub start_within_seconds: Option<u32>,
    pub keep_seconds: Option<u32>,
    pub attempts: Option<u32>,
    pub webhook: Option<Webhook>,
    pub cache: Option<Cache>,
}

/// That the result of the same work will do (`jobs.cache`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/jobs.wit")]
pub struct Cache {
    pub seconds: u32,
    pub models: Vec<String>,
}

/// Who is told of a job (`jobs.webhook`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/jobs.wit")]
pub struct Webhook {
    pub url: String,
    pub occasions: Vec<Occasion>,
}

/// What a webhook may be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The job is worked on for the first time.
    Begun,
    /// It is completed, failed or cancelled.
    Ended,
}

impl Webhook {
    /// Tells an address of the job's end.
    pub fn of_end(url: &str) -> Self {
        Self { url: url.into(), occasions: vec![Occasion::Ended] }
    }
}

impl Submission {
    /// Work of a kind, and nothing said of how it is treated.
    pub fn new(kind: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind: kind.into(), payload: payload.into(), ..Self::default() }
    }
}

/// A job that is kept (`jobs.receipt`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/jobs.wit")]
pub struct Receipt {
    pub id: String,
    pub existed: bool,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It waits.
    #[default]
    Pending,
    /// It is being worked on.
    Processing,
    /// It has a result.
    Completed,
    /// It has none.
    Failed,
    /// It was called off.
    Cancelled,
}

impl State {
    /// Whether nothing more happens to the job.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// What is known of a job (`jobs.standing`). Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/jobs.wit")]
pub struct Standing {
    pub id: String,
    pub kind: String,
    pub state: State,
    pub progress: u8,
    pub message: String,
    pub cached: bool,
    pub result: Option<Vec<u8>>,
    pub error: Option<String>,
    pub attempts: u32,
    pub position: Option<u32>,
    pub eta_seconds: Option<u32>,
    pub submitted: u64,
    pub started: Option<u64>,
    pub ended: Option<u64>,
}

/// A part of the list of jobs (`jobs.page`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/jobs.wit")]
pub struct Page {
    pub jobs: Vec<Standing>,
    pub next: Option<String>,
}

/// Why the host does not do what was asked (`jobs.error`). The texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobsError {
    /// A field is wrong; the text names it.
    Invalid(String),
    /// The idempotency key was used for another job.
    KeyUsed(String),
    /// A quota; the text names it.
    Full(String),
    /// There is no such job, or it is somebody else's.
    NotFound,
    /// Only a runner reports.
    NotRunning,
    /// Anything else.
    Failed(String),
}

/// What is wrong with one of the jobs that were submitted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong<'a> {
    /// The job's place among them, from 0.
    pub job: usize,
    /// The submission's field, in the words of `wit/jobs.wit`.
    pub field: &'a str,
    /// Why, and what would be right.
    pub why: &'a str,
}

impl JobsError {
    /// Takes apart what the host says of a job's field: "`FIELD` of job PLACE: WHY". None for every other error.
    pub fn wrong(&self) -> Option<Wrong<'_>> {
        let Self::Invalid(text) = self else { return None };
        let (field, rest) = text.strip_prefix('`')?.split_once("` of job ")?;
        let (job, why) = rest.split_once(": ")?;
        Some(Wrong { job: job.parse().ok()?, field, why })
    }
}

/// A job, begun (`job-runner.job`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented in wit/jobs.wit")]
pub struct Job {
    pub id: String,
    pub kind: String,
    pub payload: Vec<u8>,
    pub attempt: u32,
}

/// Why a job was not done (`job-runner.failure`). The texts are shown to whoever asks how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobFailure {
    /// It cannot be done.
    Permanent(String),
    /// It may work later.
    Temporary(String),
}

/// Everything that a handler with background jobs asks of its host.
#[expect(async_fn_in_trait, reason = "guests run on one thread")]
pub trait Jobs {
    /// Keeps jobs, 1 to 100, all of them or none.
    async fn submit(&self, submissions: Vec<Submission>) -> Result<Vec<Receipt>, JobsError>;
    /// How a job stands.
    async fn status(&self, id: &str) -> Result<Standing, JobsError>;
    /// The jobs that are known, the newest first and without their results: 1 to 100 at a time, from the newest or after what
    /// the last page says.
    async fn list(&self, after: Option<String>, count: u32) -> Result<Page, JobsError>;
    /// Calls a job off, and says how it stands then.
    async fn cancel(&self, id: &str) -> Result<Standing, JobsError>;
    /// Says how far the job is that is being worked on, 0 to 100, and in words.
    async fn report(&self, progress: u8, message: &str) -> Result<(), JobsError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_says_of_a_jobs_field_is_taken_apart_and_nothing_else_is() {
        let told = |text: &str| JobsError::Invalid(text.into());
        let wrong = Wrong { job: 12, field: "webhook", why: "`http://a`: no public address" };
        assert_eq!(told("`webhook` of job 12: `http://a`: no public address").wrong(), Some(wrong));
        for other in
            ["", "`webhook`", "`webhook` of job : x", "`webhook` of job -1: x", "webhook of job 1: x"]
        {
            assert_eq!(told(other).wrong(), None, "{other}");
        }
        assert_eq!(JobsError::Full("`webhook` of job 1: x".into()).wrong(), None);
    }
}
