//! What the manifest says of a provider: `base-url`, `api-key` and the keys of its `config`.

use crate::Error;

/// The settings, as the host hands them over.
#[derive(Clone, Default)]
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// From all pairs.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// A setting; set to nothing is not set.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// The server's address, without a slash at its end.
    ///
    /// # Errors
    /// [`Error::Other`] where there is none: the host's mistake.
    pub fn base_url(&self) -> Result<&str, Error> {
        let url = self.get("base-url").ok_or_else(|| Error::Other("`base-url` is not set".into()))?;
        Ok(url.trim_end_matches('/'))
    }

    /// The key, where there is one.
    pub fn api_key(&self) -> Option<&str> {
        self.get("api-key")
    }

    /// Which of the names that a setting may have; the first when it is not set.
    ///
    /// # Errors
    /// [`Error::Other`] lists the names.
    pub fn one_of<T: Copy>(&self, key: &str, names: &[(&str, T)]) -> Result<T, Error> {
        let (wanted, first) = (self.get(key), names.first());
        let found = match wanted {
            Some(name) => names.iter().find(|(known, _)| *known == name),
            None => first,
        };
        found.map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<&str> =
                names.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
            Error::Other(format!("`config.{key}` of the provider wants one of {}", known.join(", ")))
        })
    }

    /// Refuses settings that nobody reads.
    ///
    /// # Errors
    /// [`Error::Other`] names the first of them, and those that are known.
    pub fn only(&self, known: &[&str]) -> Result<(), Error> {
        let own = ["base-url", "api-key"];
        let is_known = |key: &str| own.contains(&key) || known.contains(&key);
        match self.0.iter().find(|(key, _)| !is_known(key)) {
            Some((key, _)) if known.is_empty() => {
                Err(Error::Other(format!("`config.{key}` of the provider is unknown; it has no settings")))
            }
            Some((key, _)) => Err(Error::Other(format!(
                "`config.{key}` of the provider is unknown; known: {}",
                known.join(", ")
            ))),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Settings {
    /// The names alone: one of the values is a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::new(pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())))
    }

    #[test]
    fn settings_are_read_by_name_and_strangers_are_refused() {
        let found = settings(&[("base-url", "http://a/v1/"), ("api-key", " "), ("dialect", "b")]);
        assert_eq!((found.base_url(), found.api_key()), (Ok("http://a/v1"), None));
        assert_eq!(found.one_of("dialect", &[("a", 1), ("b", 2)]), Ok(2));
        assert_eq!(found.one_of("other", &[("a", 1), ("b", 2)]), Ok(1));
        let error = found.one_of("dialect", &[("a", 1), ("c", 2)]).unwrap_err();
        assert_eq!(error, Error::Other("`config.dialect` of the provider wants one of a, c".into()));
        assert!(found.only(&["dialect"]).is_ok() && found.only(&["x"]).is_err() && found.only(&[]).is_err());
    }

    #[test]
    fn a_key_is_not_part_of_what_is_printed() {
        assert_eq!(format!("{:?}", settings(&[("api-key", "sk-secret")])), "[\"api-key\"]");
    }
}
