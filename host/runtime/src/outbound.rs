//! Requests that guests send: only to granted servers, with the host's patience at most. The host follows no redirects;
//! a guest that does so comes through here again with each hop.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, default_send_request};

use crate::sandbox::Route;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
const BETWEEN_BYTES_TIMEOUT: Duration = Duration::from_secs(15);

/// A server: scheme, host and port, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: &'static str,
    host: String,
    port: u16,
}

/// Why a text names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no origin: {why}; write it like https://api.example.com or http://127.0.0.1:8080")]
pub struct OriginError {
    /// The text.
    pub text: String,
    /// What is wrong.
    pub why: &'static str,
}

impl Origin {
    /// Reads `scheme://host[:port]`. The port defaults to the scheme's.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let fail = |why| OriginError { text: text.into(), why };
        let uri = Uri::from_str(text).map_err(|_| fail("it is no URL"))?;
        if uri.query().is_some() || !matches!(uri.path(), "" | "/") {
            return Err(fail("it has a path or a query"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(fail("it has a user name"));
        }
        Self::of(&uri).ok_or_else(|| fail("it needs http:// or https:// and a host"))
    }

    fn of(uri: &Uri) -> Option<Self> {
        let (scheme, default_port) = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => ("http", 80),
            Some(scheme) if *scheme == Scheme::HTTPS => ("https", 443),
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().to_ascii_lowercase();
        // a port that is there but is no number is not the default one
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(&authority.host().to_string()) => default_port,
            None => return None,
        };
        (!host.is_empty()).then_some(Self { scheme, host, port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

/// The hook through which every request of a guest goes, of `wasi:http` 0.2 and 0.3 alike.
pub(crate) struct Outbound {
    route: Arc<Route>,
}

impl Outbound {
    pub(crate) fn new(route: Arc<Route>) -> Self {
        Self { route }
    }

    fn is_granted(&self, uri: &Uri) -> bool {
        let granted = Origin::of(uri).is_some_and(|origin| self.route.grants.outbound.contains(&origin));
        if !granted {
            let to = format!(
                "{}://{}",
                uri.scheme_str().unwrap_or(""),
                uri.authority().map_or("", |a| a.as_str())
            );
            let to = to.escape_debug().to_string();
            tracing::warn!(route = %self.route.name, to, "outbound request refused; to allow it, add the server to grants.outbound of the route");
        }
        granted
    }
}

/// What `WasiHttpHooks::send_request` answers with.
type Sent = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        if !self.is_granted(request.uri()) {
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        }
        let options = clamp(options.unwrap_or_default());
        Box::new(async move {
            let (response, io) = default_send_request(request, Some(options)).await?;
            let io: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(io);
            Ok((response.map(BodyExt::boxed_unsync), io))
        })
    }
}

/// A guest may be less patient than the host, never more.
fn clamp(options: RequestOptions) -> RequestOptions {
    let at_most =
        |wanted: Option<Duration>, limit: Duration| Some(wanted.map_or(limit, |wanted| wanted.min(limit)));
    RequestOptions {
        connect_timeout: at_most(options.connect_timeout, CONNECT_TIMEOUT),
        first_byte_timeout: at_most(options.first_byte_timeout, FIRST_BYTE_TIMEOUT),
        between_bytes_timeout: at_most(options.between_bytes_timeout, BETWEEN_BYTES_TIMEOUT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_whatever_the_spelling() {
        let origin = |text| Origin::parse(text).unwrap();
        assert_eq!(origin("https://API.example.com"), origin("https://api.example.com:443/"));
        assert_eq!(origin("http://127.0.0.1:8080").to_string(), "http://127.0.0.1:8080");
        assert_ne!(origin("http://a.b"), origin("https://a.b"));
        assert_ne!(origin("http://a.b"), origin("http://a.b:81"));
        assert_eq!(origin("http://[::1]:80"), origin("http://[::1]"));
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        for text in [
            "",
            "a.b",
            "ftp://a.b",
            "http://a.b/path",
            "http://a.b?q",
            "http://u:p@a.b",
            "http://",
            "http://a:x",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_guest_may_only_lower_timeouts() {
        let asked = RequestOptions {
            connect_timeout: Some(Duration::from_secs(1)),
            first_byte_timeout: Some(Duration::from_secs(600)),
            between_bytes_timeout: None,
        };
        let clamped = clamp(asked);
        assert_eq!(clamped.connect_timeout, Some(Duration::from_secs(1)));
        assert_eq!(clamped.first_byte_timeout, Some(FIRST_BYTE_TIMEOUT));
        assert_eq!(clamped.between_bytes_timeout, Some(BETWEEN_BYTES_TIMEOUT));
    }
}
