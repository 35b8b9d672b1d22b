//! Why a request of a guest is not sent. The guest gets the error of `wasi:http` that comes closest; the log gets the
//! reason with the manifest key that would change it.

use std::net::IpAddr;

use wasmtime_wasi_http::Error;

/// Why a request is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("`{0}` is not granted; to allow it, add it to `grants.outbound`")]
    NotGranted(String),
    #[error(
        "`{server}` has the address {address}, which is {what}; to allow it, add the server to `grants.outbound-private`"
    )]
    Private { server: String, address: IpAddr, what: &'static str },
    #[error(
        "`{server}` has the address {address}, which is {what}; only the address itself in `grants.outbound` would allow it"
    )]
    Never { server: String, address: IpAddr, what: &'static str },
    #[error("`{server}` has the address {address}, where this host itself listens; nothing allows that")]
    Own { server: String, address: IpAddr },
    #[error("its path does not begin with `/`")]
    Path,
    #[error("its method is CONNECT, which would open a tunnel; nothing allows that")]
    Tunnel,
    #[error("it is one more than {0} (`limits.outbound-requests`)")]
    TooMany(u32),
    #[error("its bodies are longer than what is left of {0} bytes (`limits.outbound-bytes`)")]
    TooLong(u64),
}

impl Refusal {
    /// A stable word for what is counted.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Refusal::NotGranted(_) => "outbound_not_granted",
            Refusal::Private { .. } | Refusal::Never { .. } | Refusal::Own { .. } => "outbound_address",
            Refusal::Path | Refusal::Tunnel => "outbound_form",
            Refusal::TooMany(_) => "outbound_requests",
            Refusal::TooLong(_) => "outbound_bytes",
        }
    }

    /// What the guest gets.
    pub(super) fn error(&self) -> Error {
        match self {
            Refusal::NotGranted(_) => Error::HttpRequestDenied,
            Refusal::Private { .. } | Refusal::Never { .. } | Refusal::Own { .. } => {
                Error::DestinationIpProhibited
            }
            Refusal::Path => Error::HttpRequestUriInvalid,
            Refusal::Tunnel => Error::HttpRequestMethodInvalid,
            Refusal::TooMany(_) => Error::ConnectionLimitReached,
            Refusal::TooLong(limit) => Error::HttpRequestBodySize(Some(*limit)),
        }
    }
}

/// Why a request has no response.
#[derive(Debug)]
pub(super) enum Failed {
    /// The host did not want to send it.
    Refused(Refusal),
    /// It could not be sent, or was not answered.
    Broken(Error),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Failed::Refused(refusal)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Broken(error)
    }
}
