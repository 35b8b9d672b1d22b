//! How values of the configuration are shown: in the manifest's own form, and nothing that is secret.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// What a value is shown as when its name says that it is a secret.
const MASK: &str = "********";

/// Whether a configuration key names something that must not be shown.
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let words = [
        "key",
        "token",
        "secret",
        "credential",
        "cookie",
        "private",
        "signature",
        "pwd",
        "passw",
        "passphrase",
        "passcode",
    ];
    // the number of `passes` is none
    let is_pass = || key.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part.ends_with("pass"));
    words.iter().any(|word| key.contains(word)) || is_pass() || is_auth(&key)
}

/// Whether a name in lower case speaks of `auth`, and not of an `author` or an `authority`.
fn is_auth(key: &str) -> bool {
    let is_it = |rest: &str| match rest.strip_prefix("author") {
        Some(more) => more.starts_with("iz") || more.starts_with("is"),
        None => true,
    };
    key.match_indices("auth").any(|(at, _)| is_it(&key[at..]))
}

pub(super) fn masked<S: Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let show = |(key, value): &(String, String)| {
        let value = if is_secret(key) { MASK.to_owned() } else { without_credentials(value) };
        (key.clone(), value)
    };
    pairs.iter().map(show).collect::<BTreeMap<_, _>>().serialize(serializer)
}

/// `scheme://user:password@host/path?query` without what stands before the `@`, and without the query, where signed
/// addresses have their tokens.
pub(super) fn without_credentials(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    let (credentials, rest) = match authority.rsplit_once('@') {
        Some((credentials, _)) => (MASK, &rest[credentials.len()..]),
        None => ("", rest),
    };
    match rest.split_once('?') {
        Some((before, _)) => format!("{scheme}://{credentials}{before}?{MASK}"),
        None => format!("{scheme}://{credentials}{rest}"),
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(super) fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_millis() as u64)
}

pub(super) fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

pub(super) fn seconds_if_any<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs()).serialize(serializer)
}

pub(super) fn address_or_off<S: Serializer>(
    address: &Option<SocketAddr>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&address.map_or("off".to_owned(), |address| address.to_string()))
}

pub(super) fn path_or_off<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => path.serialize(serializer),
        None => serializer.serialize_str("off"),
    }
}

pub(super) fn displayed<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(super) fn maybe_displayed<T: fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.as_ref().map(ToString::to_string).serialize(serializer)
}

pub(super) fn all_displayed<T: fmt::Display, S: Serializer>(
    values: &[T],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

#[cfg(test)]
mod tests {
    use super::{is_secret, without_credentials};

    #[test]
    fn secrets_are_told_by_their_names_and_credentials_by_their_place() {
        for secret in [
            "OPENAI_API_KEY",
            "s3-secret",
            "auth",
            "Authorization",
            "basic_auth",
            "session-cookie",
            "passphrase",
            "DB_PASS",
            "SMTP_PASSWORD",
            "pwd",
            "private-pem",
            "url-signature",
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        for harmless in ["style", "author", "authority", "authors", "passes", "compare"] {
            assert!(!is_secret(harmless), "{harmless}");
        }
        assert_eq!(without_credentials("redis://me:pass@cache:6379/0"), "redis://********@cache:6379/0");
        assert_eq!(without_credentials("https://example.org/a@b"), "https://example.org/a@b");
        assert_eq!(
            without_credentials("https://example.org/a?sig=hidden&b=1"),
            "https://example.org/a?********"
        );
        assert_eq!(
            without_credentials("https://me:pass@example.org?t=x"),
            "https://********@example.org?********"
        );
        assert_eq!(without_credentials("redis://:p?ss@cache"), "redis://********@cache");
        assert_eq!(without_credentials("is it red?"), "is it red?");
    }
}
