//! Why bytes could not be kept. Bytes that are missing or were tampered with are not errors: they read as absent.

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
}

impl Error {
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
        move |source| Error::Io { action, path: path.to_owned(), source }
    }
}
