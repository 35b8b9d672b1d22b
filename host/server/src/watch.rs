//! Which files have changed and are whole again. The system's events say at once when a writer closes a file or renames
//! one into place; a look at size and time every two seconds finds what events miss (network and container file systems)
//! and then wants the same picture twice. So a file that is still being written is never reported.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Between two looks without an event.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What can be seen of a file without reading it; `None` of a file that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: u64,
}

#[derive(Debug, Default)]
struct File {
    /// As it was when it was last reported, or first watched.
    known: Option<Stamp>,
    /// As it was at the last look.
    last: Option<Stamp>,
}

/// Watches a set of files.
pub(crate) struct Watch {
    files: BTreeMap<PathBuf, File>,
    events: Arc<Events>,
    /// None where the system gives no events; looking still works.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

/// Files that a writer has just completed, by absolute path.
#[derive(Default)]
struct Events {
    completed: Mutex<BTreeSet<PathBuf>>,
    arrived: Notify,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let events = Arc::new(Events::default());
        let told = events.clone();
        let watcher = notify::recommended_watcher(move |event| told.note(event));
        if let Err(error) = &watcher {
            tracing::warn!(
                "the system tells of no file changes ({error}); looking every {LOOK_EVERY:?} instead"
            );
        }
        Self { files: BTreeMap::new(), events, watcher: watcher.ok(), folders: BTreeSet::new() }
    }

    /// Watches exactly these files from now on; those that were watched already keep what is known of them.
    pub(crate) fn set(&mut self, files: BTreeSet<PathBuf>) {
        self.files.retain(|path, _| files.contains(path));
        for path in files {
            let folder = folder(&path);
            if let (Some(watcher), true) = (&mut self.watcher, self.folders.insert(folder.clone())) {
                // the folder and not the file: editors and deploys put a new file in the old one's place
                if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
                    tracing::warn!("changes below {} are seen only by looking: {error}", folder.display());
                }
            }
            let stamp = Stamp::of(&path);
            self.files.entry(path).or_insert(File { known: stamp, last: stamp });
        }
    }

    /// Waits until some of the files have changed and are whole.
    pub(crate) async fn changed(&mut self) -> BTreeSet<PathBuf> {
        loop {
            // either way, look: an event says when, not what
            let _ = tokio::time::timeout(LOOK_EVERY, self.events.arrived.notified()).await;
            let due = self.look();
            if !due.is_empty() {
                return due;
            }
        }
    }

    fn look(&mut self) -> BTreeSet<PathBuf> {
        let completed =
            std::mem::take(&mut *self.events.completed.lock().unwrap_or_else(PoisonError::into_inner));
        let is_due = |(path, file): (&PathBuf, &mut File)| {
            let now = Stamp::of(path);
            let whole = now == file.last || completed.contains(&absolute(path));
            file.last = now;
            // a file that is gone is on its way out or about to be replaced: what was loaded stays
            let due = now.is_some() && now != file.known && whole;
            if due {
                file.known = now;
            }
            due.then(|| path.clone())
        };
        self.files.iter_mut().filter_map(is_due).collect()
    }
}

impl Events {
    fn note(&self, event: notify::Result<notify::Event>) {
        let Ok(event) = event else { return };
        let completes = matches!(
            event.kind,
            EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Modify(ModifyKind::Name(_))
        );
        if completes {
            self.completed.lock().unwrap_or_else(PoisonError::into_inner).extend(event.paths);
            self.arrived.notify_one();
        }
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some(Stamp {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(&metadata),
        })
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn folder(path: &Path) -> PathBuf {
    absolute(path).parent().unwrap_or(Path::new("/")).to_path_buf()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    /// A watch of one file that gets no events, so that each look is the test's own.
    fn deaf(path: &Path) -> Watch {
        let mut watch = Watch { watcher: None, ..Watch::new() };
        watch.set([path.to_path_buf()].into());
        watch
    }

    #[test]
    fn a_file_that_still_grows_is_not_reported_until_two_looks_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        fs::write(&path, "first").unwrap();
        let mut watch = deaf(&path);
        assert!(watch.look().is_empty());
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b" half").unwrap();
        assert!(watch.look().is_empty());
        file.write_all(b" whole").unwrap();
        assert!(watch.look().is_empty());
        assert_eq!(watch.look().len(), 1);
        assert!(watch.look().is_empty(), "reported once");
    }

    #[test]
    fn a_file_that_vanishes_is_nothing_to_load() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        fs::write(&path, "first").unwrap();
        let mut watch = deaf(&path);
        fs::remove_file(&path).unwrap();
        assert!(watch.look().is_empty() && watch.look().is_empty());
        fs::write(&path, "other").unwrap();
        assert!(watch.look().is_empty());
        assert_eq!(watch.look().len(), 1);
    }

    #[tokio::test]
    async fn a_closed_or_renamed_file_is_reported_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        fs::write(&path, "first").unwrap();
        let mut watch = Watch::new();
        watch.set([path.clone()].into());
        fs::write(&path, "second time").unwrap();
        assert_eq!(watch.changed().await, [path.clone()].into());
        let other = folder.path().join("b.tmp");
        fs::write(&other, "third").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(watch.changed().await, [path].into());
    }
}
