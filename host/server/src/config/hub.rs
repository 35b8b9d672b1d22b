//! `hub:owner/name`: what a manifest and a command name of the model hub: a repository, perhaps at a revision, perhaps one file
//! of it. Asks nobody whether there is such a thing.

use std::fmt;

/// A repository of the model hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HubRepo {
    /// Who publishes it.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// A branch, tag or commit; the main branch when `None`.
    pub revision: Option<String>,
}

/// A model of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSource {
    /// Where it is.
    pub repo: HubRepo,
    /// The one file that it is; else the repository's own layout tells.
    pub file: Option<String>,
}

/// A part of a path that stays where it is.
fn is_plain(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed)
}

impl HubRepo {
    /// Reads `hub:owner/name` or `hub:owner/name@revision`; the error says what is wanted.
    pub fn parse(text: &str) -> Result<HubRepo, String> {
        let wrong = || format!("wants hub:owner/name or hub:owner/name@revision, not `{text}`");
        let repo = text.strip_prefix("hub:").ok_or_else(wrong)?;
        let (repo, revision) = match repo.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision.to_owned())),
            None => (repo, None),
        };
        let (owner, name) = repo.split_once('/').ok_or_else(wrong)?;
        // a revision may hold slashes, as in refs/pr/1, but must not climb
        let climbs = |revision: &String| revision.is_empty() || !revision.split('/').all(is_plain);
        if !is_plain(owner) || !is_plain(name) || revision.as_ref().is_some_and(climbs) {
            return Err(wrong());
        }
        Ok(HubRepo { owner: owner.into(), name: name.into(), revision })
    }
}

impl HubSource {
    /// Reads what [`HubRepo::parse`] reads, or the same followed by `:file`; the error says what is wanted.
    pub fn parse(text: &str) -> Result<HubSource, String> {
        let place = text.strip_prefix("hub:").and_then(|rest| rest.find(':')).map(|at| at + "hub:".len());
        let Some(place) = place else { return Ok(HubSource { repo: HubRepo::parse(text)?, file: None }) };
        let (repo, file) = (HubRepo::parse(&text[..place])?, &text[place + 1..]);
        // in the repository's root or in one of its folders: nothing lies deeper in the cache
        let is_path = file.split('/').count() <= 2 && file.split('/').all(is_plain);
        if !is_path || !(file.ends_with(".gguf") || file.ends_with(".safetensors")) {
            return Err(format!("wants a .gguf or .safetensors file behind hub:{repo}:, not `{file}`"));
        }
        Ok(HubSource { repo, file: Some(file.into()) })
    }
}

impl fmt::Display for HubRepo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

impl fmt::Display for HubSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repo)?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, ":{file}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_repository_is_named_behind_it() {
        for text in ["hub:a/b", "hub:a/b@refs/pr/1", "hub:a/b:c.Q4_K_M.gguf", "hub:a/b@v1:d/c.safetensors"] {
            let source = HubSource::parse(text).unwrap();
            assert_eq!(format!("hub:{source}"), text);
            assert_eq!(source.file.is_some(), text.ends_with(".gguf") || text.ends_with(".safetensors"));
        }
        for wrong in ["a/b:c.gguf", "hub:a:c.gguf", "hub:a/b:", "hub:a/b:c.bin", "hub:a/b:../c.gguf"] {
            assert!(HubSource::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["hub:a/b:/c.gguf", "hub:a/b:d/e/c.gguf", "hub:a/b:.c.gguf", "hub:a/b:c d.gguf"] {
            assert!(HubSource::parse(wrong).unwrap_err().contains(".gguf"), "{wrong}");
        }
    }
}
