//! What an owner keeps, and whether more fits. The sum of what is kept lies in the index and changes with it, in the same
//! transaction; what is being written into objects that nobody has yet is counted in memory, and gone with the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::Owner;
use super::index::USED;
use crate::Error;

/// How a change changes the sum, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Change {
    pub(super) more: u64,
    pub(super) less: u64,
}

/// Adds a change to what the owner keeps, or says that there is no room: whoever takes less than before always may. Of what
/// all drafts hold and the owner keeps elsewhere (`beside`), the caller leaves out its own.
pub(super) fn charge(
    transaction: &WriteTransaction,
    owner: &Owner,
    change: Change,
    beside: u64,
) -> Result<(), Error> {
    let mut table = transaction.open_table(USED).map_err(Error::index("write"))?;
    let used = table.get(&*owner.id).map_err(Error::index("read"))?.map_or(0, |used| used.value());
    let sum = used.saturating_add(change.more).saturating_sub(change.less);
    if let Some(limit) = owner.limit
        && sum > used
        && sum.saturating_add(beside) > limit
    {
        return Err(Error::Full { limit, used: used.saturating_add(beside) });
    }
    table.insert(&*owner.id, sum).map_err(Error::index("write"))?;
    Ok(())
}

/// What an owner keeps.
pub(super) fn used(index: &ReadTransaction, id: &str) -> Result<u64, Error> {
    let table = index.open_table(USED).map_err(Error::index("read"))?;
    Ok(table.get(id).map_err(Error::index("read"))?.map_or(0, |used| used.value()))
}

/// Bytes of objects that are being written, by owner.
#[derive(Default)]
pub(super) struct Drafted(Mutex<HashMap<Arc<str>, u64>>);

impl Drafted {
    pub(super) fn of(&self, owner: &Owner) -> u64 {
        self.sums().get(&owner.id).copied().unwrap_or(0)
    }

    /// Takes so many bytes more, if they fit beside the `used` ones that were kept when the object was begun.
    pub(super) fn take(&self, owner: &Owner, used: u64, more: u64) -> Result<(), Error> {
        let mut sums = self.sums();
        let sum = sums.entry(owner.id.clone()).or_default();
        let all = used.saturating_add(*sum);
        match owner.limit {
            Some(limit) if all.saturating_add(more) > limit => Err(Error::Full { limit, used: all }),
            _ => {
                *sum = sum.saturating_add(more);
                Ok(())
            }
        }
    }

    pub(super) fn give_back(&self, owner: &Owner, bytes: u64) {
        let mut sums = self.sums();
        if let Some(sum) = sums.get_mut(&owner.id) {
            *sum = sum.saturating_sub(bytes);
            if *sum == 0 {
                sums.remove(&owner.id);
            }
        }
    }

    fn sums(&self) -> MutexGuard<'_, HashMap<Arc<str>, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
