//! A server as manifests and guests name it: scheme, host and port. Two spellings of one server are equal; whether a
//! server may be reached is decided elsewhere.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;
use http::uri::Scheme;

/// A server: scheme, host and port, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    pub(super) scheme: &'static str,
    pub(super) host: Host,
    pub(super) port: u16,
}

/// What stands between scheme and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Host {
    /// To be resolved; in lower case.
    Name(String),
    /// The address itself.
    Address(IpAddr),
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
        if uri.host().is_some_and(is_odd_address) {
            return Err(fail("its host is an address in an unusual form"));
        }
        Self::of(&uri).ok_or_else(|| fail("it needs http:// or https:// and a host"))
    }

    /// The server that a request goes to; `None` when the request names none, or names it in a way in which no grant
    /// can.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let (scheme, default_port) = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => ("http", 80),
            Some(scheme) if *scheme == Scheme::HTTPS => ("https", 443),
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host();
        // a port that is there but is no number is not the default one
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            // this also leaves out user names
            None if authority.as_str() == host => default_port,
            None => return None,
        };
        if authority.as_str().contains('@') || is_odd_address(host) {
            return None;
        }
        Some(Self { scheme, host: Host::of(host)?, port })
    }

    /// Whether TLS is spoken with it.
    pub fn is_encrypted(&self) -> bool {
        self.scheme == "https"
    }

    /// Whether it is named by its very address.
    pub fn is_address(&self) -> bool {
        matches!(self.host, Host::Address(_))
    }

    /// As the header `host` wants it.
    pub(super) fn authority(&self) -> String {
        match (self.scheme, self.port) {
            ("http", 80) | ("https", 443) => self.host.to_string(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Host {
    fn of(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            return address.parse::<Ipv6Addr>().ok().map(|address| Host::Address(address.into()));
        }
        let name = || (!text.is_empty()).then(|| Host::Name(text.to_ascii_lowercase()));
        text.parse().ok().map(Host::Address).or_else(name)
    }
}

/// Whether the system's resolver would take a host for an address that is not written as one: `2130706433`, `0x7f.1`,
/// `127.1`. Names never end in a number.
fn is_odd_address(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let number = last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    !last.is_empty() && number && host.parse::<IpAddr>().is_err()
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
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
        assert_eq!(origin("http://[::1]:80"), origin("http://[0:0::1]"));
        assert_eq!(origin("http://[::1]:81").to_string(), "http://[::1]:81");
        assert_ne!(origin("http://[::ffff:127.0.0.1]"), origin("http://127.0.0.1"));
    }

    #[test]
    fn the_host_header_names_a_port_only_where_it_is_unusual() {
        let authority = |text| Origin::parse(text).unwrap().authority();
        assert_eq!(authority("https://a.b:443"), "a.b");
        assert_eq!(authority("http://a.b:443"), "a.b:443");
        assert_eq!(authority("http://[::1]"), "[::1]");
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        let texts = ["", "a.b", "ftp://a.b", "http://a.b/path", "http://a.b?q", "http://u:p@a.b", "http://"];
        for text in texts.into_iter().chain(["http://a:x", "http://u@127.0.0.1", "http://[::1", "http://[a]"])
        {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_in_disguise_is_no_name() {
        for host in ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1.", "1.2.3.4.5"] {
            let error = Origin::parse(&format!("http://{host}")).unwrap_err();
            assert_eq!(error.why, "its host is an address in an unusual form", "{host}");
            assert_eq!(Origin::of(&Uri::try_from(format!("http://{host}/")).unwrap()), None, "{host}");
        }
        for host in ["a1", "v1.example", "0x7f.example", "1password.com", "localhost."] {
            assert!(Origin::parse(&format!("http://{host}")).is_ok(), "{host}");
        }
    }
}
