//! Why bytes could not be kept. Bytes that are missing or were tampered with are not errors: they read as absent.
//!
//! Errors of [`crate::Storage`] are of two sorts: those that a caller can act on, whose text is safe to show to anybody, and
//! those of the disk, which are the operator's ([`Error::is_operators`]).

use std::io;
use std::path::{Path, PathBuf};

/// Why bytes could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was tried, such as `create the folder`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file that holds the secret has another length than a secret.
    #[error("{}: not a key of {expected} bytes; remove the file and the ones beside it to start anew", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// The length that it should have.
        expected: usize,
    },
    /// A key holds other characters than ASCII letters, digits, `-` and `_`, or is empty or too long.
    #[error("`{0}` is no key: use 1 to 128 of a-z, A-Z, 0-9, - and _")]
    InvalidName(String),
    /// Another process has the folder.
    #[error("{}: another process keeps its buckets and containers there; give each host its own store.data-dir", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// The index could not be read or written.
    #[error("cannot {action} the index of buckets and containers: {why}")]
    Index {
        /// What was tried, such as `write`.
        action: &'static str,
        /// In the database's words.
        why: String,
    },
    /// A name is empty, or longer than names may be.
    #[error("a {what} has {bytes} bytes; it must have 1 to {limit}")]
    NameLength {
        /// What was named, such as `key`.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest.
        limit: usize,
    },
    /// A value or an object is larger than one may be.
    #[error("{what} of more than {limit} bytes is not kept ({key})")]
    TooLarge {
        /// What it is, such as `a value`.
        what: &'static str,
        /// The largest.
        limit: u64,
        /// The configuration key of the limit.
        key: &'static str,
    },
    /// The server that has the values does not answer, or answers with an error.
    #[error("the server of store.values: {0}")]
    Remote(String),
    /// A copy is configured in a way that cannot be.
    #[error("store.copy.{id}: {why}")]
    Copy {
        /// The copy.
        id: String,
        /// What is wrong; no address and no secret.
        why: String,
    },
    /// The server of a copy in which objects are read cannot be asked for one that is not here. Not an error for the operator
    /// alone: whoever asks learns that nobody knows whether there is such an object.
    #[error("the object is not here, and the copy `{id}` cannot be asked for it: {why}; try again later")]
    Away {
        /// The copy.
        id: String,
        /// What became of it; no address and no secret.
        why: String,
    },
    /// The owner keeps as much as it may.
    #[error(
        "there is no room: of the {limit} bytes that may be kept (tenant.quotas.stored-bytes) {used} are in use"
    )]
    Full {
        /// What may be kept, of all buckets and containers together.
        limit: u64,
        /// What is kept or being written.
        used: u64,
    },
    /// Too many keys were named at once, or their values are too large to be answered at once.
    #[error("{0}; ask for fewer at a time")]
    TooMany(String),
    /// What is to be counted up is no number, or would become too large for one.
    #[error("the value of key `{0}` is not a whole number that can be counted up by that much in 64 bits")]
    NoNumber(String),
    /// There is no such container.
    #[error("there is no container `{0}`; create it first")]
    NoContainer(String),
    /// There is one already.
    #[error("there is a container `{0}` already")]
    ContainerExists(String),
    /// There is no such object.
    #[error("there is no object `{object}` in container `{container}`")]
    NoObject {
        /// The container.
        container: String,
        /// The object.
        object: String,
    },
    /// A part of an object was asked for that it does not have.
    #[error("bytes {start} to {end} are no part of an object of {size}")]
    Range {
        /// The first.
        start: u64,
        /// The last.
        end: u64,
        /// What there is.
        size: u64,
    },
    /// As many jobs of the owner wait as may.
    #[error(
        "{limit} jobs may wait at a time (tenant.quotas.waiting-jobs), and no more than that; try again later"
    )]
    Waiting {
        /// How many may.
        limit: u64,
    },
    /// As many messages to the owner's webhooks wait as may.
    #[error(
        "{limit} messages to webhooks may wait (store.webhooks), and as many do: their receivers do not answer"
    )]
    Untold {
        /// How many may.
        limit: u64,
    },
    /// No page of a list said that the next one begins there.
    #[error("`{0}` is not where a page ends; begin without it")]
    NoPage(String),
    /// The key is another job's.
    #[error("the idempotency key `{0}` was used for another job; a new job needs a new key")]
    KeyUsed(String),
    /// The storage is gone: the host ends.
    #[error("the storage is closed")]
    Closed,
}

impl Error {
    /// Whether the operator has to do something about it. The text of such an error may name files and is not for anybody else.
    pub fn is_operators(&self) -> bool {
        matches!(
            self,
            Self::Io { .. }
                | Self::BadKey { .. }
                | Self::InUse { .. }
                | Self::Index { .. }
                | Self::Remote(_)
                | Self::Copy { .. }
                | Self::Closed
        )
    }

    /// The kind of error in one word, for counting.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } | Self::BadKey { .. } => "disk",
            Self::Index { .. } | Self::InUse { .. } | Self::Closed => "index",
            Self::Remote(_) | Self::Copy { .. } | Self::Away { .. } => "remote",
            Self::InvalidName(_) | Self::NameLength { .. } => "name",
            Self::TooLarge { .. } | Self::TooMany(_) => "size",
            Self::Full { .. } | Self::Waiting { .. } | Self::Untold { .. } => "quota",
            Self::KeyUsed(_) => "key",
            Self::NoPage(_) => "page",
            Self::NoNumber(_) => "number",
            Self::NoContainer(_) | Self::NoObject { .. } | Self::ContainerExists(_) => "absent_or_present",
            Self::Range { .. } => "range",
        }
    }

    pub(crate) fn values_over(limit: u64) -> Error {
        Error::TooMany(format!("these values have more than {limit} bytes"))
    }

    pub(crate) fn index<E: Into<redb::Error>>(action: &'static str) -> impl FnOnce(E) -> Error {
        move |error| Error::Index { action, why: error.into().to_string() }
    }

    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
        move |source| Error::Io { action, path: path.to_owned(), source }
    }
}
