//! Background jobs of a fake: kept in its record, under ids in order, and worked off by nobody. A test works them off itself, and
//! writes down in the record how they stand then.

use super::Fake;
use crate::jobs::{Jobs, JobsError, Page, Receipt, Standing, State, Submission};

/// What was submitted to a fake, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Submitted {
    /// Jobs, in order, those of refused batches left out.
    pub submissions: Vec<Submission>,
    /// How each of them stands: at the same place, with the time of the record in seconds.
    pub standings: Vec<Standing>,
    /// What runners reported.
    pub reports: Vec<(u8, String)>,
}

impl Submitted {
    fn keep(&mut self, submission: Submission, now: u64) -> Result<Receipt, JobsError> {
        let is_same_key = |other: &Submission| other.key.is_some() && other.key == submission.key;
        if let Some(index) = self.submissions.iter().position(is_same_key) {
            let other = &self.submissions[index];
            if (&other.kind, &other.payload) != (&submission.kind, &submission.payload) {
                return Err(JobsError::KeyUsed("the key was used for another job".into()));
            }
            return Ok(Receipt { id: self.standings[index].id.clone(), existed: true });
        }
        // of the host's shape, and known to tests: the first is ...001
        let id = format!("00000000-0000-4000-8000-{:012}", self.submissions.len() + 1);
        let (kind, submitted) = (submission.kind.clone(), now * 1_000);
        self.standings.push(Standing { id: id.clone(), kind, submitted, ..Standing::default() });
        self.submissions.push(submission);
        Ok(Receipt { id, existed: false })
    }

    fn of(&mut self, id: &str) -> Result<&mut Standing, JobsError> {
        self.standings.iter_mut().find(|standing| standing.id == id).ok_or(JobsError::NotFound)
    }
}

impl Jobs for Fake {
    async fn submit(&self, submissions: Vec<Submission>) -> Result<Vec<Receipt>, JobsError> {
        self.script.jobs.clone()?;
        let mut record = self.record.borrow_mut();
        // of a batch that is refused nothing is kept
        let (now, mut kept) = (record.unix_seconds, record.background.clone());
        let receipts = submissions.into_iter().map(|submission| kept.keep(submission, now));
        let receipts = receipts.collect::<Result<_, _>>()?;
        record.background = kept;
        Ok(receipts)
    }

    async fn status(&self, id: &str) -> Result<Standing, JobsError> {
        self.record.borrow_mut().background.of(id).cloned()
    }

    /// Where a page goes on is said by how many are left.
    async fn list(&self, after: Option<String>, count: u32) -> Result<Page, JobsError> {
        let known = self.record.borrow().background.standings.clone();
        let end = after.map_or(Ok(known.len()), |left| left.parse());
        let end = end.map_err(|_| JobsError::Invalid("no page ends there".into()))?.min(known.len());
        let begin = end.saturating_sub(count as usize);
        let jobs =
            known[begin..end].iter().rev().map(|standing| Standing { result: None, ..standing.clone() });
        Ok(Page { jobs: jobs.collect(), next: (begin > 0).then(|| begin.to_string()) })
    }

    async fn cancel(&self, id: &str) -> Result<Standing, JobsError> {
        let mut record = self.record.borrow_mut();
        let standing = record.background.of(id)?;
        if !standing.state.is_end() {
            standing.state = State::Cancelled;
        }
        Ok(standing.clone())
    }

    async fn report(&self, progress: u8, message: &str) -> Result<(), JobsError> {
        self.record.borrow_mut().background.reports.push((progress, message.to_owned()));
        Ok(())
    }
}
