//! Brings the copies of objects up to date, some at a time, for as long as it runs. What fails is tried again, later each time;
//! while the server is degraded one object at a time goes there, which shows when it is back.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redb::ReadTransaction;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::behind::{self, Name};
use super::config::{S3Copy, filled};
use super::s3::{Fault, S3};
use super::service::{Service, ask, pause};
use crate::Error;
use crate::storage::Shared;
use crate::storage::index::OBJECTS;

/// Copies under way at a time.
const AT_ONCE: usize = 4;
/// Names that are looked up at a time.
const PAGE: usize = 64;
/// A look at what is behind when nobody tells of it, and at the server when nothing goes there.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// What is behind is counted for those who only look: that takes time by its number.
const COUNT_AGAIN: Duration = Duration::from_secs(5);
/// Objects that failed and are remembered for it; the others are only tried sooner.
const REMEMBERED: usize = 10_000;
/// Longest key in S3.
const KEY_BYTES: usize = 1_024;
/// How often a file that went away while its object was looked up is looked up again.
const FOLLOW_AGAIN: usize = 8;

/// The objects that go to one bucket.
pub(in crate::storage) struct Uploads {
    pub(super) service: Arc<Service>,
    pub(super) s3: S3,
    config: S3Copy,
    target: String,
    wake: Notify,
    /// Counts what was tried.
    ended: watch::Sender<u64>,
    /// Copies that were behind when that was last counted.
    counted: AtomicU64,
}

/// What is up next, and what is not.
#[derive(Default)]
struct Line {
    names: VecDeque<Name>,
    /// After which name the next page begins.
    last: Option<Name>,
    running: HashSet<Name>,
    /// Failures in a row, and not before when.
    failed: HashMap<Name, (u32, Instant)>,
}

/// An object as it was when it was looked at.
struct Seen {
    note: u64,
    /// None where it was deleted.
    file: Option<(std::fs::File, u64)>,
}

impl Uploads {
    /// Reads the configuration; asks nobody anything.
    pub(super) fn open(service: Service, config: &S3Copy) -> Result<Self, String> {
        let S3Copy { bucket, region, endpoint, key, containers, tenant, .. } = config;
        // what makes copies other ones; keys of access do not
        let target = format!("{bucket} {region} {endpoint:?} {key} {containers:?} {tenant:?}");
        let (wake, ended, counted) = (Notify::new(), watch::Sender::new(0), AtomicU64::new(0));
        let s3 = S3::open(config)?;
        Ok(Self { service: Arc::new(service), s3, config: config.clone(), target, wake, ended, counted })
    }

    pub(super) fn id(&self) -> &str {
        self.service.id()
    }

    /// Where copies go, in a form that can be compared.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    /// Whether objects are read there that are not here.
    pub(super) fn reads(&self) -> bool {
        self.config.read
    }

    /// Whether an object is copied. One whose key no address can say is not.
    pub(super) fn takes(&self, owner: &str, container: &str, name: &str) -> bool {
        let is_theirs = self.config.tenant.as_deref().is_none_or(|tenant| tenant == owner);
        let is_listed = self.config.containers.iter().any(|listed| listed == container);
        is_theirs && is_listed && {
            let key = self.key((owner, container, name));
            let is_step = |part: &str| part == "." || part == "..";
            key.len() <= KEY_BYTES && !key.starts_with('/') && !key.split('/').any(is_step)
        }
    }

    pub(super) fn url(&self, owner: &str, container: &str, name: &str) -> String {
        self.s3.url(&self.key((owner, container, name)))
    }

    pub(super) fn key(&self, (owner, container, name): (&str, &str, &str)) -> String {
        filled(&self.config.key, &[("tenant", owner), ("container", container), ("name", name)])
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Told whenever something was tried.
    pub(super) fn ended(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// How many objects' copies are behind; as many as before where the disk fails, which says so itself.
    pub(super) async fn count(&self, shared: &Shared) -> u64 {
        let id = self.id().to_owned();
        if let Ok(count) = shared.index.read(move |index| behind::count(index, &id)).await {
            self.counted.store(count, Ordering::Relaxed);
        }
        self.counted()
    }

    /// As many as there were when that was last counted.
    pub(super) fn counted(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }

    /// Whether the copy of an object is as the object is; `None` where there is no object.
    pub(super) async fn is_there(
        &self,
        shared: &Shared,
        (owner, container, name): (&str, &str, &str),
    ) -> Result<Option<bool>, Error> {
        let id = self.id().to_owned();
        let name = (owner.to_owned(), container.to_owned(), name.to_owned());
        let look = move |index: &ReadTransaction| {
            let name = as_ref(&name);
            let objects = index.open_table(OBJECTS).map_err(Error::index("read"))?;
            let is_object = objects.get(name).map_err(Error::index("read"))?.is_some();
            let is_behind = behind::noted(index, &id, name)?.is_some();
            Ok(is_object.then_some(!is_behind))
        };
        shared.index.read(look).await
    }

    /// Asks the server how it fares, where nothing was heard of it for so long. A key that may write and not look is no fault
    /// where writing works.
    pub(super) async fn ask(self: Arc<Self>, believed: Duration, limit: Duration) {
        let question = async {
            self.s3.look().await.or_else(|fault| match fault.status {
                Some(http::StatusCode::FORBIDDEN) if self.service.is_writing() => Ok(()),
                _ => Err(fault.reason),
            })
        };
        ask(&self.service, believed, limit, question).await;
    }

    /// Copies until it is dropped.
    pub(super) async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        let (mut line, mut running) = (Line::default(), JoinSet::new());
        let mut counted: Option<Instant> = None;
        loop {
            if counted.is_none_or(|counted| counted.elapsed() >= COUNT_AGAIN) {
                self.count(&shared).await;
                counted = Some(Instant::now());
            }
            // the disk says so itself where it fails; what is behind is found again
            let _ = self.begin(&shared, &mut line, &mut running).await;
            let until = self.service.pause().or(line.soonest()).unwrap_or(Instant::now() + LOOK_AGAIN);
            tokio::select! {
                Some(ended) = running.join_next() => {
                    if let Ok((name, is_done)) = ended {
                        line.ended(name, is_done);
                    }
                    self.ended.send_modify(|ended| *ended += 1);
                }
                () = self.wake.notified() => {}
                () = self.service.is_back.notified() => line.failed.clear(),
                () = sleep_until(until) => {
                    if running.is_empty() && self.service.is_silent(LOOK_AGAIN) {
                        self.clone().ask(LOOK_AGAIN, LOOK_AGAIN).await;
                    }
                }
            }
        }
    }

    /// Begins what there is a place for.
    async fn begin(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        line: &mut Line,
        running: &mut JoinSet<(Name, bool)>,
    ) -> Result<(), Error> {
        let places = if self.service.is_degraded() { 1 } else { AT_ONCE };
        while running.len() < places && self.service.pause().is_none() {
            let Some(name) = line.next(shared, self.id()).await? else { return Ok(()) };
            let (this, shared) = (self.clone(), shared.clone());
            line.running.insert(name.clone());
            running.spawn(async move {
                let is_done = this.bring(&shared, &name).await;
                (name, is_done)
            });
        }
        Ok(())
    }

    /// Brings one copy up to date; whether it is.
    async fn bring(&self, shared: &Shared, name: &Name) -> bool {
        let Ok(seen) = self.see(shared, name).await else { return false };
        let Some(Seen { note, file }) = seen else { return true };
        match self.send(name, file).await {
            Ok(()) => self.service.wrote(1),
            Err(fault) => {
                self.service.failed(fault.reason);
                return false;
            }
        }
        let (id, name) = (self.id().to_owned(), name.clone());
        let settle = move |index: &redb::WriteTransaction| behind::settle(index, &id, as_ref(&name), note);
        // where the disk fails the copy is made once more
        shared.index.write(settle).await.is_ok()
    }

    async fn send(&self, name: &Name, file: Option<(std::fs::File, u64)>) -> Result<(), Fault> {
        let key = self.key(as_ref(name));
        match file {
            Some((file, bytes)) => self.s3.put(&key, tokio::fs::File::from_std(file), bytes).await,
            None => self.s3.delete(&key).await,
        }
    }

    /// The object, if its copy is behind still.
    async fn see(&self, shared: &Shared, name: &Name) -> Result<Option<Seen>, Error> {
        for _ in 0..FOLLOW_AGAIN {
            let (id, name, files) = (self.id().to_owned(), name.clone(), shared.files.clone());
            let look = move |index: &ReadTransaction| {
                let Some(note) = behind::noted(index, &id, as_ref(&name))? else { return Ok(Some(None)) };
                let objects = index.open_table(OBJECTS).map_err(Error::index("read"))?;
                let object = objects.get(as_ref(&name)).map_err(Error::index("read"))?;
                let Some((number, bytes, _)) = object.map(|object| object.value()) else {
                    return Ok(Some(Some(Seen { note, file: None })));
                };
                // one that went away meanwhile was replaced or deleted
                let file = files.read(number)?;
                Ok(file.map(|file| Some(Seen { note, file: Some((file, bytes)) })))
            };
            if let Some(seen) = shared.index.read(look).await? {
                return Ok(seen);
            }
        }
        Err(Error::Index { action: "follow", why: "an object's file is not there".into() })
    }
}

impl Line {
    /// The next object that may be tried now.
    async fn next(&mut self, shared: &Shared, id: &str) -> Result<Option<Name>, Error> {
        let now = Instant::now();
        // from where it stands to the end, and once from the beginning
        let mut is_second_round = self.last.is_none();
        loop {
            while let Some(name) = self.names.pop_front() {
                let is_paused = self.failed.get(&name).is_some_and(|(_, until)| *until > now);
                if !is_paused && !self.running.contains(&name) {
                    return Ok(Some(name));
                }
            }
            let (copy, last) = (id.to_owned(), self.last.take());
            let page = move |index: &ReadTransaction| behind::page(index, &copy, last.as_ref(), PAGE);
            self.names = shared.index.read(page).await?.into();
            self.last = self.names.back().cloned();
            if self.names.is_empty() {
                if is_second_round {
                    return Ok(None);
                }
                is_second_round = true;
            }
        }
    }

    /// When something that failed may be tried again.
    fn soonest(&self) -> Option<Instant> {
        self.failed.values().map(|(_, until)| *until).filter(|until| *until > Instant::now()).min()
    }

    fn ended(&mut self, name: Name, is_done: bool) {
        self.running.remove(&name);
        if is_done {
            self.failed.remove(&name);
            return;
        }
        if self.failed.len() >= REMEMBERED {
            self.failed.clear();
        }
        let (failures, until) = self.failed.entry(name).or_insert((0, Instant::now()));
        *failures = failures.saturating_add(1);
        *until = Instant::now() + pause(*failures);
    }
}

fn as_ref((owner, container, name): &Name) -> (&str, &str, &str) {
    (owner, container, name)
}
