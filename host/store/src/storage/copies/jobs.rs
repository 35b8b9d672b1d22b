//! Jobs that are copied to one Redis server: which are behind (`dirty.rs`), and their way there. How a job reads to others is for
//! the caller to say, who takes jobs ([`JobCopy::next`]), renders them and gives them back ([`JobCopy::write`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redb::ReadTransaction;
use tokio::time::{Instant, sleep_until};

use super::config::{JobStream, RedisCopy, filled};
use super::dirty::Dirty;
use super::redis::{Hash, Redis};
use super::service::{Service, ask};
use super::stream::{Entry, JobTurn};
use crate::Error;
use crate::storage::Shared;
use crate::storage::jobs::each_after;

/// Between two copies of a job of which nothing changed but how far it is: four a second.
const REPORTS: Duration = Duration::from_millis(250);
/// Jobs that are written at a time.
const BATCH: usize = 16;
/// Jobs that are gone through at a time.
const PAGE: usize = 256;
/// A look at the server when nothing goes there.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// The jobs that go to one server.
pub(super) struct Jobs {
    service: Arc<Service>,
    redis: Redis,
    config: RedisCopy,
    dirty: Dirty,
    /// Jobs that were taken and are not written yet.
    taken: AtomicU64,
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPlace {
    /// Whose it is.
    pub owner: Arc<str>,
    /// The route at which it was submitted.
    pub route: Arc<str>,
    /// Its name.
    pub id: Arc<str>,
}

/// How a job reads to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// Names and values.
    pub fields: Vec<(String, String)>,
    /// How it stands, for those who follow that.
    pub turn: JobTurn,
    /// How long it is to be there if nothing more happens.
    pub ttl: Duration,
}

impl Jobs {
    /// Reads the configuration; asks nobody anything.
    pub(super) fn open(service: Service, config: &RedisCopy) -> Result<Self, String> {
        let redis = Redis::open(config)?;
        Ok(Self {
            service: Arc::new(service),
            redis,
            config: config.clone(),
            dirty: Dirty::new(),
            taken: AtomicU64::new(0),
        })
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    pub(super) fn waiting(&self) -> u64 {
        self.dirty.len() + self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, owner: &str, route: &str, id: &str) {
        self.note_after(owner, route, id, Duration::ZERO);
    }

    pub(super) fn note_report(&self, owner: &str, route: &str, id: &str) {
        self.note_after(owner, route, id, REPORTS);
    }

    fn note_after(&self, owner: &str, route: &str, id: &str, after: Duration) {
        if self.takes(route) {
            let place = JobPlace { owner: owner.into(), route: route.into(), id: id.into() };
            self.dirty.note(place, after);
        }
    }

    fn takes(&self, route: &str) -> bool {
        self.config.routes.iter().any(|listed| listed == route)
    }

    /// Asks the server how it fares, where nothing was heard of it for so long.
    pub(super) async fn ask(self: Arc<Self>, believed: Duration, limit: Duration) {
        ask(&self.service, believed, limit, self.redis.ping()).await;
    }

    /// Goes through some of the jobs that may be behind. Whether there was anything to go through.
    async fn look_for_more(&self, shared: &Shared) -> Result<bool, Error> {
        let Some(from) = self.dirty.cursor() else { return Ok(false) };
        let after = from.clone();
        let look = move |index: &ReadTransaction| each_after(index, &after, PAGE);
        let found = shared.index.read(look).await?;
        let last = found.last().map(|place| place.id.to_string());
        for place in found.into_iter().filter(|place| self.takes(&place.route)) {
            self.dirty.note(place, Duration::ZERO);
        }
        self.dirty.advance(&from, last);
        Ok(true)
    }

    fn hash(&self, place: &JobPlace, view: Option<&JobView>) -> Hash {
        let JobPlace { owner, route, id } = place;
        let values = [("id", &**id), ("tenant", owner), ("route", route)];
        let key = filled(&self.config.key, &values);
        let [id, tenant, route] = values;
        let names = [id, tenant, route, ("key", &key)];
        let channel = self.config.channel.as_ref().map(|channel| filled(channel, &names));
        let fields = view.map(|view| view.fields.clone()).unwrap_or_default();
        let ttl = view.map_or(Duration::ZERO, |view| view.ttl);
        let mut hash = Hash { key: key.clone(), fields, ttl, channel, entry: None };
        let stream = self.config.stream.as_ref();
        hash.entry = stream.map(|JobStream { name, length }| {
            let stream = (filled(name, &[tenant, route]), *length);
            Entry::new(stream, id.1, &names, view.map(|view| &view.turn), hash.life())
        });
        hash
    }
}

/// The jobs that one server is told of, for the one who works that off.
pub struct JobCopy {
    shared: Arc<Shared>,
    jobs: Arc<Jobs>,
}

impl JobCopy {
    pub(super) fn new(shared: Arc<Shared>, jobs: Arc<Jobs>) -> Self {
        Self { shared, jobs }
    }

    /// The copy's name.
    pub fn id(&self) -> &str {
        self.jobs.service.id()
    }

    /// Jobs whose copies are behind: waits until there are some and the server is to be tried. Whoever takes them writes them.
    pub async fn next(&self) -> Vec<JobPlace> {
        self.jobs.taken.store(0, Ordering::Relaxed);
        loop {
            // where the disk fails it says so itself; the next look finds the same
            let found = self.jobs.look_for_more(&self.shared).await.unwrap_or(false);
            let pause = self.jobs.service.pause();
            // one shows whether it is back
            let most = if self.jobs.service.is_degraded() { 1 } else { BATCH };
            let taken = if pause.is_none() { self.jobs.dirty.take(most) } else { Vec::new() };
            if !taken.is_empty() {
                self.jobs.taken.store(taken.len() as u64, Ordering::Relaxed);
                return taken;
            }
            if found && pause.is_none() {
                continue;
            }
            let until = pause.or(self.jobs.dirty.due());
            self.wait(until.unwrap_or(Instant::now() + LOOK_AGAIN)).await;
        }
    }

    async fn wait(&self, until: Instant) {
        tokio::select! {
            () = self.jobs.dirty.wake.notified() => {}
            () = self.jobs.service.is_back.notified() => {}
            () = sleep_until(until.min(Instant::now() + LOOK_AGAIN)) => {
                if self.jobs.service.is_silent(LOOK_AGAIN) {
                    self.jobs.clone().ask(LOOK_AGAIN, LOOK_AGAIN).await;
                }
            }
        }
    }

    /// Writes jobs as they read now; those without a view are removed. Where the server fails, all of them are behind again.
    pub async fn write(&self, jobs: Vec<(JobPlace, Option<JobView>)>) {
        let hash = |(place, view): &(JobPlace, Option<JobView>)| self.jobs.hash(place, view.as_ref());
        let hashes: Vec<Hash> = jobs.iter().map(hash).collect();
        match self.jobs.redis.write(&hashes).await {
            Ok(()) => self.jobs.service.wrote(hashes.len() as u64),
            Err(reason) => {
                self.jobs.service.failed(reason);
                self.put_back(jobs.into_iter().map(|(place, _)| place), Duration::ZERO);
            }
        }
        // counted twice for a moment rather than not at all
        self.jobs.taken.store(0, Ordering::Relaxed);
    }

    /// Leaves jobs behind for so long: they could not be rendered or written.
    pub fn put_back(&self, jobs: impl IntoIterator<Item = JobPlace>, after: Duration) {
        jobs.into_iter().for_each(|place| self.jobs.dirty.note(place, after));
    }
}

impl std::fmt::Debug for JobCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobCopy").field("id", &self.id()).finish_non_exhaustive()
    }
}
