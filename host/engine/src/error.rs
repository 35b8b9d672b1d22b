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
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
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
    /// The device does not compute in this precision.
    #[error("engine.precision {name}: {reason}")]
    Precision {
        /// As in the configuration.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A job came for a model that is not in memory.
    #[error("model `{id}` is not loaded")]
    NotLoaded {
        /// Its name in requests.
        id: String,
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

/// How CUDA and its libraries name an allocation that failed. candle passes their errors on as text.
const OUT_OF_MEMORY: [&str; 3] =
    ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED", "CURAND_STATUS_ALLOCATION_FAILED"];

impl Error {
    /// Whether the device had no memory left. In main memory this is never seen: there the system ends the process, which
    /// is why the budget is kept.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        let text = self.to_string();
        OUT_OF_MEMORY.iter().any(|name| text.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use atelier_inference as inference;

    use super::*;

    #[test]
    fn a_failed_allocation_is_told_from_other_failures_wherever_it_happened() {
        let tensor = |text: &str| Error::Tensor(candle_core::Error::Msg(text.into()));
        let driver = || tensor(r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#);
        let loading = Error::Model { id: "large".into(), source: Box::new(driver()) };
        for error in [driver(), loading, tensor("CublasError(CUBLAS_STATUS_ALLOC_FAILED)")] {
            let text = error.to_string();
            assert_eq!(inference::Error::from(error), inference::Error::OutOfMemory(text));
        }
        let other = tensor(r#"DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access")"#);
        assert!(matches!(inference::Error::from(other), inference::Error::Failed(_)));
    }
}
