//! The index: one redb file, read by many and written by one thread, which puts what waits into one transaction: whoever
//! writes beside others waits for the disk once. An order that is refused leaves no trace in the transaction of the others;
//! where the disk fails, all of them fail.
//!
//! After an error of the disk redb wants to be opened anew. That is done before the next write, so that a full disk which has
//! room again needs no restart.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use tokio::sync::{mpsc, oneshot};

use super::{copies, jobs};
use crate::Error;

/// Owner, bucket, key.
pub(super) const VALUES: TableDefinition<'_, (&str, &str, &str), &[u8]> = TableDefinition::new("values");
/// Owner, container: seconds since 1970 when it was created.
pub(super) const CONTAINERS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("containers");
/// Owner, container, name: the file's number, its size, seconds since 1970 when it was written.
pub(super) const OBJECTS: TableDefinition<'_, (&str, &str, &str), (u64, u64, u64)> =
    TableDefinition::new("objects");
/// A file's number: how many objects it is.
pub(super) const FILES: TableDefinition<'_, u64, u64> = TableDefinition::new("files");
/// Owner: bytes.
pub(super) const USED: TableDefinition<'_, &str, u64> = TableDefinition::new("used");
/// Numbers of the folder itself.
const FOLDER: TableDefinition<'_, &str, u64> = TableDefinition::new("folder");

const FILE: &str = "index.redb";
/// Of pages in memory. The database's own default is a GiB.
const CACHE_BYTES: usize = 32 << 20;
/// Orders of one transaction, and orders that wait: whoever comes then waits to be let in.
const BATCH: usize = 128;

/// The index of one folder. The last to let go closes it.
pub(super) struct Index {
    file: Arc<IndexFile>,
    orders: Option<mpsc::Sender<Box<dyn Order>>>,
    writer: Option<JoinHandle<()>>,
}

/// The database, which may be between two openings.
pub(super) struct IndexFile {
    path: PathBuf,
    database: RwLock<Option<Database>>,
}

impl Index {
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let database = open(&path)?;
        let file = Arc::new(IndexFile { path, database: RwLock::new(Some(database)) });
        let (orders, receiver) = mpsc::channel(BATCH);
        let writing = file.clone();
        let writer = std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            write_all(&writing, receiver);
        });
        let writer = writer.map_err(Error::io("start a thread for", &file.path))?;
        Ok(Self { file, orders: Some(orders), writer: Some(writer) })
    }

    /// One more than the last opening got; makes the tables where there are none, and lets whoever has to put something in
    /// order after the last opening. Blocks, and comes before any other write.
    pub(super) fn next_generation(
        &self,
        recover: impl FnOnce(&WriteTransaction) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        self.file.within(|database| {
            let transaction = database.begin_write().map_err(Error::index("write"))?;
            make_tables(&transaction).map_err(Error::index("make the tables of"))?;
            recover(&transaction)?;
            let number = {
                let mut folder = transaction.open_table(FOLDER).map_err(Error::index("write"))?;
                let last = folder.get("generation").map_err(Error::index("read"))?.map(|last| last.value());
                let number = last.unwrap_or(0) + 1;
                folder.insert("generation", number).map_err(Error::index("write"))?;
                number
            };
            transaction.commit().map_err(Error::index("write"))?;
            Ok(number)
        })
    }

    /// The database, for a thread that may block.
    pub(super) fn file(&self) -> &Arc<IndexFile> {
        &self.file
    }

    /// Looks something up, as things are at one moment.
    pub(super) async fn read<R: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || file.look(work)).await.map_err(|_| Error::Closed)?
    }

    /// Changes something; it is on the disk when this returns. Where `work` refuses, it must not have changed anything.
    pub(super) async fn write<R: Send + 'static>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let (reply, answer) = oneshot::channel();
        let task = Task { work: Some(work), outcome: None, reply };
        let orders = self.orders.as_ref().ok_or(Error::Closed)?;
        orders.send(Box::new(task)).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

impl Drop for Index {
    /// What was ordered is written, and the file is free when this returns.
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(writer) = self.writer.take() {
            // a thread that panicked has said so
            let _ = writer.join();
        }
    }
}

impl IndexFile {
    /// Looks something up on this thread.
    pub(super) fn look<R>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.within(|database| work(&database.begin_read().map_err(Error::index("read"))?))
    }

    fn within<R>(&self, work: impl FnOnce(&Database) -> Result<R, Error>) -> Result<R, Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        match &*database {
            Some(database) => work(database),
            None => {
                Err(Error::Index { action: "open", why: "it is not usable since the disk failed".into() })
            }
        }
    }

    /// Runs all orders and writes what they changed. The text says why nothing was written.
    fn commit(&self, batch: &mut [Box<dyn Order>]) -> Result<(), Error> {
        self.within(|database| {
            let transaction = database.begin_write().map_err(Error::index("write"))?;
            for order in batch {
                order.run(&transaction)?;
            }
            transaction.commit().map_err(Error::index("write"))
        })
    }

    /// Closes and opens the file. Waits for whoever reads.
    fn reopen(&self) -> Result<(), Error> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        drop(database.take());
        *database = Some(open(&self.path)?);
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, Error> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(Error::io("open", path))?;
    let opened = Builder::new().set_cache_size(CACHE_BYTES).create_file(file);
    opened.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => {
            Error::InUse { dir: path.parent().unwrap_or(path).to_path_buf() }
        }
        error => Error::index("open")(error),
    })
}

/// Readers may come before the first write.
fn make_tables(transaction: &WriteTransaction) -> Result<(), redb::TableError> {
    transaction.open_table(VALUES)?;
    transaction.open_table(CONTAINERS)?;
    transaction.open_table(OBJECTS)?;
    transaction.open_table(FILES)?;
    transaction.open_table(USED)?;
    jobs::make_tables(transaction)?;
    copies::make_tables(transaction)
}

/// Something to change, and somebody who waits for it.
trait Order: Send {
    /// Changes it within the transaction. An error says that the transaction is lost; a refusal is none.
    fn run(&mut self, transaction: &WriteTransaction) -> Result<(), Error>;

    /// Tells whoever waits. `lost` says why nothing was written.
    fn settle(self: Box<Self>, lost: Option<&str>);
}

struct Task<R, F> {
    work: Option<F>,
    outcome: Option<Result<R, Error>>,
    reply: oneshot::Sender<Result<R, Error>>,
}

impl<R: Send, F: FnOnce(&WriteTransaction) -> Result<R, Error> + Send> Order for Task<R, F> {
    fn run(&mut self, transaction: &WriteTransaction) -> Result<(), Error> {
        match self.work.take().map(|work| work(transaction)) {
            Some(Err(error @ Error::Index { .. })) => Err(error),
            outcome => {
                self.outcome = outcome;
                Ok(())
            }
        }
    }

    fn settle(self: Box<Self>, lost: Option<&str>) {
        let outcome = match (lost, self.outcome) {
            (None, Some(outcome)) => outcome,
            (lost, _) => Err(Error::Index { action: "write", why: lost.unwrap_or("it ended").to_owned() }),
        };
        // whoever asked may have gone
        let _ = self.reply.send(outcome);
    }
}

/// The life of the thread that writes.
fn write_all(file: &IndexFile, mut orders: mpsc::Receiver<Box<dyn Order>>) {
    let mut is_sound = true;
    while let Some(first) = orders.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = orders.try_recv()
        {
            batch.push(next);
        }
        let ready = if is_sound { Ok(()) } else { file.reopen() };
        let written = ready.and_then(|()| file.commit(&mut batch));
        is_sound = written.is_ok();
        let lost = written.err().map(|error| error.to_string());
        batch.into_iter().for_each(|order| order.settle(lost.as_deref()));
    }
}
