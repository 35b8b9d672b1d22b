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
    ["key", "token", "secret", "password", "credential"].iter().any(|word| key.contains(word))
}

pub(super) fn masked<S: Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let show = |(key, value): &(String, String)| {
        let value = if is_secret(key) { MASK.to_owned() } else { without_credentials(value) };
        (key.clone(), value)
    };
    pairs.iter().map(show).collect::<BTreeMap<_, _>>().serialize(serializer)
}

/// `scheme://user:password@host` without what stands before the `@`.
pub(super) fn without_credentials(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((credentials, _)) => format!("{scheme}://{MASK}{}", &rest[credentials.len()..]),
        None => value.to_owned(),
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
        assert!(is_secret("OPENAI_API_KEY") && is_secret("s3-secret") && !is_secret("style"));
        assert_eq!(without_credentials("redis://me:pass@cache:6379/0"), "redis://********@cache:6379/0");
        assert_eq!(without_credentials("https://example.org/a@b"), "https://example.org/a@b");
    }
}
