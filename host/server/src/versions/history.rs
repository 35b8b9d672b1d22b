//! What became of a route's versions: numbers, who brought them, what they were replaced for. A history is a bounded list;
//! it decides nothing but which of its entries goes first.
//!
//! A version is the whole set of a route's components at one moment: what the manifest names, with uploads in some of
//! the places. Exactly one serves.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use atelier_runtime::Deployment;
use serde::{Deserialize, Serialize};

use super::Place;
use crate::signing::Signature;

/// The host itself, where a version was brought by nobody.
pub(crate) const HOST: &str = "host";

/// What a version is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It was uploaded and would serve, and waits to be promoted.
    Staged,
    /// Requests that begin meet it.
    Serving,
    /// It was replaced, and requests that began with it still run. Seen, never kept.
    Draining,
    /// It served, until another one replaced it.
    Retired,
    /// It served, and was taken back.
    RolledBack,
    /// It did not load, or did not answer its probe.
    Refused,
}

/// Where a version came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    /// From what the manifest names.
    Manifest,
    /// By upload.
    Upload,
}

/// An uploaded component that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// BLAKE3, in hexadecimal.
    pub(crate) digest: String,
    pub(crate) bytes: u64,
    /// What it was uploaded with, whether anybody asked for it then or not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) signature: Option<Signature>,
}

/// Uploads by the places in which they stand.
pub(crate) type Uploads = BTreeMap<Place, Kept>;

/// One entry of a history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Version {
    /// Grows within its route, and is never given twice.
    pub(crate) id: u64,
    pub(crate) state: State,
    pub(crate) source: Source,
    /// Where the uploaded component stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Place>,
    /// BLAKE3 over all of its components, as the status shows it; of the upload alone when that was refused.
    pub(crate) digest: String,
    /// Key's name of who uploaded it; `host` when nobody did.
    pub(crate) by: String,
    /// Milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// When it last began to serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) served_ms: Option<u64>,
    /// Why it is refused, rolled back or retired, when there is more to say than that another one came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Every upload of the set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub(crate) uploads: Uploads,
}

/// What an upload stands instead of. The upload falls when this changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Base {
    /// As the manifest names it.
    pub(crate) source: String,
    /// BLAKE3 of its bytes.
    pub(crate) digest: String,
}

/// A route's versions, the oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct History {
    last_id: u64,
    /// Whether the route takes no requests.
    pub(crate) closed: bool,
    /// What the serving uploads stand instead of.
    pub(crate) bases: BTreeMap<Place, Base>,
    versions: Vec<Version>,
    /// Deployments that may still have requests.
    #[serde(skip)]
    deployments: Vec<(u64, Weak<Deployment>)>,
}

/// A version that is about to be noted.
#[derive(Debug, Clone)]
pub(crate) struct New {
    pub(crate) source: Source,
    pub(crate) place: Option<Place>,
    pub(crate) digest: String,
    pub(crate) by: String,
    pub(crate) uploads: Uploads,
}

impl New {
    /// Of what the manifest names.
    pub(crate) fn of_manifest(digest: &str, uploads: Uploads) -> Self {
        let (by, digest) = (HOST.to_owned(), digest.to_owned());
        Self { source: Source::Manifest, place: None, digest, by, uploads }
    }
}

impl History {
    /// A number for a version in the making.
    pub(crate) fn reserve(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Notes a version that waits to serve.
    pub(crate) fn note(&mut self, id: u64, new: New) {
        let New { source, place, digest, by, uploads } = new;
        let (state, at_ms, served_ms, reason) = (State::Staged, now_ms(), None, None);
        self.versions.push(Version {
            id,
            state,
            source,
            place,
            digest,
            by,
            at_ms,
            served_ms,
            reason,
            uploads,
        });
    }

    /// Notes a version that will not serve, and why. What repeats itself is noted once.
    pub(crate) fn refuse(&mut self, id: u64, new: New, reason: &str) {
        let same = |old: &Version| {
            (old.source, &old.digest, old.state) == (new.source, &new.digest, State::Refused)
                && old.reason.as_deref() == Some(reason)
        };
        if self.versions.iter().any(same) {
            return;
        }
        // its bytes are not kept
        self.note(id, New { uploads: Uploads::new(), ..new });
        if let Some(version) = self.versions.last_mut() {
            (version.state, version.reason) = (State::Refused, Some(reason.to_owned()));
        }
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// The version that requests meet.
    pub(crate) fn serving(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.state == State::Serving)
    }

    /// The version that served before the one that serves now, and was not taken back.
    pub(crate) fn previous(&self) -> Option<&Version> {
        let served = self.versions.iter().filter(|version| version.state == State::Retired);
        served.max_by_key(|version| (version.served_ms, version.id))
    }

    /// The newest version of the manifest's components alone with this digest.
    pub(crate) fn of_manifest(&self, digest: &str) -> Option<&Version> {
        let is_it = |version: &&Version| {
            version.uploads.is_empty() && version.digest == digest && version.state != State::Refused
        };
        self.versions.iter().rev().find(is_it)
    }

    /// A version that serves or waits with exactly these uploads.
    pub(crate) fn of_uploads(&self, uploads: &Uploads) -> Option<&Version> {
        let is_it = |version: &&Version| {
            version.uploads == *uploads && matches!(version.state, State::Serving | State::Staged)
        };
        self.versions.iter().rev().find(is_it)
    }

    /// Requests that begin from now on meet this version; the one before becomes `left`, for a reason.
    pub(crate) fn serve(&mut self, id: u64, left: State, reason: Option<String>) {
        for version in &mut self.versions {
            if version.id == id {
                (version.state, version.served_ms, version.reason) = (State::Serving, Some(now_ms()), None);
            } else if version.state == State::Serving {
                (version.state, version.reason) = (left, reason.clone());
            }
        }
    }

    /// Remembers a version's deployment for as long as it has requests.
    pub(crate) fn runs(&mut self, id: u64, deployment: &Arc<Deployment>) {
        self.deployments.retain(|(_, deployment)| deployment.strong_count() > 0);
        self.deployments.push((id, Arc::downgrade(deployment)));
        if let Some(version) = self.versions.iter_mut().find(|version| version.id == id) {
            version.digest = deployment.code_digest().to_owned();
        }
    }

    /// Takes a version out of the list.
    pub(crate) fn forget(&mut self, id: u64) {
        self.versions.retain(|version| version.id != id);
    }

    /// Versions go until `limit` are left: first what was refused, then what served, then what waits, and of each the
    /// oldest. The one that serves stays, the one before it, `kept`, and what was uploaded last.
    pub(crate) fn trim(&mut self, limit: usize, kept: Option<u64>) {
        while self.versions.len() > limit {
            let (previous, newest) = (self.previous().map(|version| version.id), self.last_id);
            let may_go = |version: &Version| match version.state {
                State::Serving => false,
                State::Staged if version.id == newest => false,
                _ => ![kept, previous].contains(&Some(version.id)),
            };
            // broken uploads push out neither what worked nor what waits
            let rank = |version: &Version| match version.state {
                State::Refused if version.id != newest => 0,
                State::Staged => 2,
                _ => 1,
            };
            let candidates = self.versions.iter().enumerate().filter(|(_, version)| may_go(version));
            // of equals the first, which is the oldest
            let gone = candidates.min_by_key(|(_, version)| rank(version)).map(|(at, _)| at);
            let Some(gone) = gone else { return };
            self.versions.remove(gone);
        }
    }

    /// Every version with its state as it is seen, the newest first.
    pub(crate) fn versions(&self) -> impl Iterator<Item = Version> {
        let runs = |id: u64| {
            let of_it = self.deployments.iter().filter(|(of, _)| *of == id);
            of_it
                .filter_map(|(_, deployment)| deployment.upgrade())
                .any(|deployment| deployment.in_flight() > 0)
        };
        self.versions.iter().rev().cloned().map(move |mut version| {
            if matches!(version.state, State::Retired | State::RolledBack) && runs(version.id) {
                version.state = State::Draining;
            }
            version
        })
    }

    /// Every upload that a version needs.
    pub(crate) fn uploads(&self) -> impl Iterator<Item = &Kept> {
        self.versions.iter().flat_map(|version| version.uploads.values())
    }

    /// The version whose uploads would be missed least: how much they would be, when it came, and its number. Of what
    /// served the oldest, then of what waits, then the one that served before; never the one that serves, or `kept`.
    pub(crate) fn oldest_upload(&self, kept: Option<u64>) -> Option<(u8, u64, u64)> {
        let previous = self.previous().map(|version| version.id);
        let may_go = |version: &&Version| {
            !version.uploads.is_empty() && version.state != State::Serving && Some(version.id) != kept
        };
        let missed = |version: &Version| match version.state {
            _ if Some(version.id) == previous => 2,
            State::Staged => 1,
            _ => 0,
        };
        let candidates = self.versions.iter().filter(may_go);
        candidates.map(|version| (missed(version), version.at_ms, version.id)).min()
    }
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(history: &mut History, digest: &str) -> u64 {
        let kept = Kept { digest: digest.into(), bytes: 10, signature: None };
        let uploads = [(Place::Component, kept)].into();
        let place = Some(Place::Component);
        let id = history.reserve();
        history
            .note(id, New { source: Source::Upload, place, digest: digest.into(), by: "me".into(), uploads });
        id
    }

    fn serve(history: &mut History, id: u64) {
        history.serve(id, State::Retired, None);
    }

    fn states(history: &History) -> Vec<(u64, State)> {
        history.versions().map(|version| (version.id, version.state)).collect()
    }

    #[test]
    fn exactly_one_version_serves_and_the_one_before_it_is_known() {
        let mut history = History::default();
        let ids: Vec<u64> = ["a", "b", "c"].iter().map(|digest| upload(&mut history, digest)).collect();
        assert!(history.serving().is_none() && history.previous().is_none());
        ids.iter().for_each(|id| serve(&mut history, *id));
        assert_eq!(states(&history), [(3, State::Serving), (2, State::Retired), (1, State::Retired)]);
        history.serve(2, State::RolledBack, Some("it trapped".into()));
        assert_eq!(states(&history), [(3, State::RolledBack), (2, State::Serving), (1, State::Retired)]);
        assert_eq!(history.previous().unwrap().id, 1, "what was taken back is not gone back to");
    }

    #[test]
    fn the_oldest_version_goes_first_and_the_serving_one_never() {
        let mut history = History::default();
        let first = upload(&mut history, "first");
        serve(&mut history, first);
        let second = upload(&mut history, "second");
        for n in 0..10 {
            upload(&mut history, &n.to_string());
            history.trim(4, Some(second));
        }
        let ids: Vec<u64> = history.versions().map(|version| version.id).collect();
        assert_eq!(ids, [12, 11, second, first]);
        assert_eq!(upload(&mut history, "new"), 13, "no number is given twice");
    }

    /// A refused upload of its own, as `versions/change.rs` notes one.
    fn refuse(history: &mut History, digest: &str) -> u64 {
        let (place, by, uploads) = (Some(Place::Component), "me".to_owned(), Uploads::new());
        let id = history.reserve();
        let new = New { source: Source::Upload, place, digest: digest.into(), by, uploads };
        history.refuse(id, new, "is cut short");
        id
    }

    #[test]
    fn broken_uploads_push_out_neither_what_worked_nor_what_waits() {
        let mut history = History::default();
        let ids = ["previous", "serving", "staged"].map(|digest| upload(&mut history, digest));
        let [previous, serving, staged] = ids;
        serve(&mut history, previous);
        serve(&mut history, serving);
        let mut last = 0;
        for n in 0..20 {
            last = refuse(&mut history, &n.to_string());
            history.trim(5, None);
        }
        let is = states(&history);
        assert_eq!(is.len(), 5, "{is:?}");
        assert_eq!(is[0], (last, State::Refused), "the newest refusal is seen");
        assert_eq!(is[2..], [(staged, State::Staged), (serving, State::Serving), (previous, State::Retired)]);
        history.trim(1, None);
        assert_eq!(states(&history), [(serving, State::Serving), (previous, State::Retired)]);
    }

    #[test]
    fn what_waits_is_pushed_out_by_uploads_alone_and_the_newest_never() {
        let mut history = History::default();
        let previous = upload(&mut history, "previous");
        serve(&mut history, previous);
        let serving = upload(&mut history, "serving");
        serve(&mut history, serving);
        let waits = upload(&mut history, "waits");
        let newest = upload(&mut history, "newest");
        history.trim(3, Some(previous));
        let ids: Vec<u64> = history.versions().map(|version| version.id).collect();
        assert_eq!(ids, [newest, serving, previous], "not {waits}");
        let room = |history: &History| history.oldest_upload(None).map(|(_, _, id)| id);
        assert_eq!(room(&history), Some(newest), "what one could go back to goes after what waits");
        history.forget(newest);
        assert_eq!(room(&history), Some(previous));
        history.forget(previous);
        assert_eq!(room(&history), None, "what serves never makes room");
    }

    #[test]
    fn a_refusal_that_repeats_itself_is_noted_once_and_keeps_no_bytes() {
        let mut history = History::default();
        for _ in 0..3 {
            let kept = Kept { digest: "broken".into(), bytes: 10, signature: None };
            let uploads = [(Place::Component, kept)].into();
            let (place, by) = (Some(Place::Component), "me".to_owned());
            let new = New { source: Source::Upload, place, digest: "broken".into(), by, uploads };
            let id = history.reserve();
            history.refuse(id, new, "is cut short");
        }
        assert_eq!(states(&history), [(1, State::Refused)]);
        assert_eq!(history.uploads().count(), 0);
    }
}
