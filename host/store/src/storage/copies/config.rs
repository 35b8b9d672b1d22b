//! What is copied where, resolved from the manifest and the process's environment by whoever opens the folder.

/// What must not be shown: a password, a key, an address that may hold one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(
    /// The text itself.
    pub String,
);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyConfig {
    /// Its name, under which it is known from one start to the next.
    pub id: String,
    /// What goes where.
    pub to: CopyTarget,
}

/// What goes where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyTarget {
    /// Jobs, each as a hash in Redis.
    Jobs(RedisCopy),
    /// Objects, each as one in a bucket of S3.
    Objects(S3Copy),
}

/// Jobs as hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisCopy {
    /// The server's address, such as `redis://127.0.0.1:6379/0`.
    pub url: Secret,
    /// Its password, in place of one in the address.
    pub password: Option<Secret>,
    /// The hash's key, with `{id}`, and `{tenant}` and `{route}` where wanted.
    pub key: String,
    /// The channel on which the key is published with every change, if it is; the same, or `{key}` for the key itself.
    pub channel: Option<String>,
    /// The stream to which each turn of a job is added, if one is.
    pub stream: Option<JobStream>,
    /// The routes whose jobs are copied.
    pub routes: Vec<String>,
}

/// A stream in which other programs follow jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStream {
    /// Its key, with `{tenant}` and `{route}` where wanted.
    pub name: String,
    /// How many entries it has; Redis lets go of older ones some at a time.
    pub length: u64,
}

/// Objects as objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Copy {
    /// The bucket's name.
    pub bucket: String,
    /// Where it is, such as `us-east-1`.
    pub region: String,
    /// A server other than Amazon's, as `http://` or `https://`; the bucket's name is then part of the path.
    pub endpoint: Option<String>,
    /// Id and secret of the access key; requests are not signed without.
    pub access: Option<(String, Secret)>,
    /// What temporary keys come with.
    pub session: Option<Secret>,
    /// The object's key, with `{name}`, and `{tenant}` and `{container}` where wanted.
    pub key: String,
    /// The containers whose objects are copied.
    pub containers: Vec<String>,
    /// Whose objects are copied; everybody's when `None`.
    pub tenant: Option<String>,
    /// Whether objects are read there that are not here.
    pub read: bool,
}

/// Fills in a key's template.
pub(super) fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let mut key = String::with_capacity(template.len() + 64);
    let mut rest = template;
    // one pass: what stands in a value is never taken for a place to fill
    while let Some(start) = rest.find('{') {
        key.push_str(&rest[..start]);
        let place = &rest[start + 1..];
        let value = place.find('}').and_then(|end| {
            let value = values.iter().find(|(name, _)| *name == &place[..end])?.1;
            Some((value, &place[end + 1..]))
        });
        let (value, after) = value.unwrap_or(("{", place));
        key.push_str(value);
        rest = after;
    }
    key.push_str(rest);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_once_and_braces_of_others_stay() {
        let fill = |template| filled(template, &[("id", "1{tenant}"), ("tenant", "a")]);
        assert_eq!(fill("task:{id}"), "task:1{tenant}");
        assert_eq!(fill("{{tenant}}:{id}:{other}{"), "{a}:1{tenant}:{other}{");
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert!(!format!("{:?}", Secret("hunter2".into())).contains("hunter2"));
    }
}
