//! Which objects' copies are behind: a row for each, written in the transaction that changes the object, and taken out when the
//! copy is as the object was when it was looked at, unless the object has changed since. So a copy is made at least once, and the
//! last one is of what is there.

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use super::upload::Uploads;
use crate::Error;
use crate::storage::index::OBJECTS;

/// Copy, owner, container, object: how often that was noted since the copy was last up to date.
const BEHIND: TableDefinition<'_, (&str, &str, &str, &str), u64> = TableDefinition::new("copies behind");
/// Copy: where it went when the folder was last opened.
const TARGETS: TableDefinition<'_, &str, &str> = TableDefinition::new("copies to");

/// Owner, container, object.
pub(super) type Name = (String, String, String);
type NameRef<'a> = (&'a str, &'a str, &'a str);

fn row<'a>(id: &'a str, (owner, container, name): NameRef<'a>) -> (&'a str, &'a str, &'a str, &'a str) {
    (id, owner, container, name)
}

/// Notes that the copy of an object is behind.
pub(super) fn note(index: &WriteTransaction, id: &str, name: NameRef<'_>) -> Result<(), Error> {
    let mut behind = index.open_table(BEHIND).map_err(Error::index("write"))?;
    let last = behind.get(row(id, name)).map_err(Error::index("read"))?.map(|last| last.value());
    let note = last.map_or(0, |last| last.wrapping_add(1));
    behind.insert(row(id, name), note).map_err(Error::index("write"))?;
    Ok(())
}

/// The note about an object, if its copy is behind.
pub(super) fn noted(index: &ReadTransaction, id: &str, name: NameRef<'_>) -> Result<Option<u64>, Error> {
    let behind = index.open_table(BEHIND).map_err(Error::index("read"))?;
    Ok(behind.get(row(id, name)).map_err(Error::index("read"))?.map(|note| note.value()))
}

/// The copy is as the object was at the time of this note.
pub(super) fn settle(index: &WriteTransaction, id: &str, name: NameRef<'_>, note: u64) -> Result<(), Error> {
    let mut behind = index.open_table(BEHIND).map_err(Error::index("write"))?;
    let last = behind.get(row(id, name)).map_err(Error::index("read"))?.map(|last| last.value());
    if last == Some(note) {
        behind.remove(row(id, name)).map_err(Error::index("write"))?;
    }
    Ok(())
}

/// So many objects whose copies are behind: those after one, or the first.
pub(super) fn page(
    index: &ReadTransaction,
    id: &str,
    after: Option<&Name>,
    count: usize,
) -> Result<Vec<Name>, Error> {
    let behind = index.open_table(BEHIND).map_err(Error::index("read"))?;
    let start = after.map_or(("", "", ""), |(owner, container, name)| (owner, container, name));
    let mut names = Vec::new();
    for entry in behind.range(row(id, start)..).map_err(Error::index("read"))? {
        let (at, _) = entry.map_err(Error::index("read"))?;
        let (copy, owner, container, name) = at.value();
        if copy != id || names.len() == count {
            break;
        }
        if (owner, container, name) != start {
            names.push((owner.to_owned(), container.to_owned(), name.to_owned()));
        }
    }
    Ok(names)
}

/// How many copies are behind.
pub(super) fn count(index: &ReadTransaction, id: &str) -> Result<u64, Error> {
    let behind = index.open_table(BEHIND).map_err(Error::index("read"))?;
    let mut count = 0;
    for entry in behind.range(row(id, ("", "", ""))..).map_err(Error::index("read"))? {
        if entry.map_err(Error::index("read"))?.0.value().0 != id {
            break;
        }
        count += 1;
    }
    Ok(count)
}

/// Forgets copies that are not configured any more, and notes every object of those that are new or go elsewhere than before.
pub(super) fn recover(index: &WriteTransaction, copies: &[&Uploads]) -> Result<(), Error> {
    let mut targets = index.open_table(TARGETS).map_err(Error::index("write"))?;
    let mut known = Vec::new();
    for entry in targets.iter().map_err(Error::index("read"))? {
        let (id, target) = entry.map_err(Error::index("read"))?;
        known.push((id.value().to_owned(), target.value().to_owned()));
    }
    for (id, target) in &known {
        if !copies.iter().any(|copy| copy.id() == id && copy.target() == target) {
            targets.remove(id.as_str()).map_err(Error::index("write"))?;
            forget(index, id)?;
        }
    }
    for copy in copies {
        let is_known = known.iter().any(|(id, target)| copy.id() == id && copy.target() == target);
        if !is_known {
            targets.insert(copy.id(), copy.target()).map_err(Error::index("write"))?;
            note_all(index, copy)?;
        }
    }
    Ok(())
}

fn forget(index: &WriteTransaction, id: &str) -> Result<(), Error> {
    let mut behind = index.open_table(BEHIND).map_err(Error::index("write"))?;
    let is_of_others = |(copy, ..): (&str, &str, &str, &str), _| copy != id;
    behind.retain(is_of_others).map_err(Error::index("write"))
}

fn note_all(index: &WriteTransaction, copy: &Uploads) -> Result<(), Error> {
    let objects = index.open_table(OBJECTS).map_err(Error::index("read"))?;
    for entry in objects.iter().map_err(Error::index("read"))? {
        let (at, _) = entry.map_err(Error::index("read"))?;
        let (owner, container, name) = at.value();
        if copy.takes(owner, container, name) {
            note(index, copy.id(), (owner, container, name))?;
        }
    }
    Ok(())
}

/// Readers may come before the first write.
pub(in crate::storage) fn make_tables(transaction: &WriteTransaction) -> Result<(), redb::TableError> {
    transaction.open_table(BEHIND)?;
    transaction.open_table(TARGETS)?;
    Ok(())
}
