//! Files of objects that nobody has: their process ended between the file and the index. They take room and nothing else, so
//! that a thread looks for them while the host serves, and only among those of earlier openings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::files::Files;
use super::index::{FILES, Index, IndexFile};
use crate::Error;

/// Files that are looked up at a time. Between two such pieces the sweep can be stopped.
const PIECE: usize = 256;

/// A sweep under way; stopped when dropped, so that nothing holds the folder any more.
pub(super) struct Sweep {
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sweep {
    pub(super) fn start(index: &Index, files: &Files) -> Self {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (index, files, stop) = (index.file().clone(), files.clone(), is_stopped.clone());
        let thread = std::thread::Builder::new().name("store-sweep".into()).spawn(move || {
            let mut older = files.older().peekable();
            while older.peek().is_some() && !stop.load(Ordering::Relaxed) {
                let piece: Vec<u64> = older.by_ref().take(PIECE).collect();
                // what cannot be looked up or removed now is found again at the next start
                for number in unowned(&index, piece).unwrap_or_default() {
                    let _ = files.remove(number);
                }
            }
        });
        // without a thread they stay until the next start
        Self { is_stopped, thread: thread.ok() }
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // a thread that panicked has said so
            let _ = thread.join();
        }
    }
}

fn unowned(index: &IndexFile, numbers: Vec<u64>) -> Result<Vec<u64>, Error> {
    index.look(|index| {
        let table = index.open_table(FILES).map_err(Error::index("read"))?;
        let mut unowned = Vec::new();
        for number in numbers {
            if table.get(number).map_err(Error::index("read"))?.is_none() {
                unowned.push(number);
            }
        }
        Ok(unowned)
    })
}
