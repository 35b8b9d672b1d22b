//! What can go wrong between a model's files and its pixels. Every variant names the place, so that the message alone
//! is enough to act on. Translated once, in `engine`, into `atelier_inference::Error`: a fault of the request stays
//! one, everything else becomes a failure whose text is for the operator.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of loading or running a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the model cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file, or its name inside an embedded model.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the model does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file, or its name inside an embedded model.
        path: PathBuf,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A model cannot be used.
    /// The id is put around the cause by `engine`, because only it knows under which name a folder is served.
    #[error("model `{id}`: {source}")]
    Model {
        /// Its name in requests.
        id: String,
        /// Why not.
        source: Box<Error>,
    },
    /// A configuration asks for something that this build does not implement.
    #[error("{what} `{value}` is not supported; supported: {supported}")]
    Unsupported {
        /// The kind of thing, such as `scheduler`.
        what: &'static str,
        /// What was asked for.
        value: String,
        /// What there is.
        supported: &'static str,
    },
    /// A value of a request does not fit the model.
    #[error("{field}: {reason}")]
    Invalid {
        /// The request's field.
        field: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The device cannot be used.
    #[error("device {name}: {reason}")]
    Device {
        /// As in the configuration.
        name: String,
        /// Why not.
        reason: String,
    },
    /// Numbers went out of range (NaN or infinite) while running.
    #[error("{op} gave values that are not finite")]
    NotFinite {
        /// Where.
        op: &'static str,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
