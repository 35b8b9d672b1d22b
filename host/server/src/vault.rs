//! What operators changed while the host ran, on disk: uploaded components, which version of a route serves, keys made and
//! revoked. Everything is sealed under a secret of the folder (see `SealedFiles`), since it decides which code runs and who
//! may ask: a file that was not written here is not believed, and the host does not start on half of its rules.
//!
//! The folder is made with the first change. One process writes to it at a time; others may read. Everything blocks.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use atelier_store::SealedFiles;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Held by the process that writes.
const LOCK_FILE: &str = "lock";

/// Why something is not kept, or not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    /// There is no folder to keep anything in.
    #[error("nothing can be changed at run time: store.data-dir is \"off\"; name a folder there")]
    Off,
    /// Another process writes to the folder.
    #[error("{}: another host keeps its changes there; give each its own store.data-dir", dir.display())]
    Taken {
        /// The folder.
        dir: PathBuf,
    },
    /// The file system refused.
    #[error("{0} (store.data-dir)")]
    Store(#[from] atelier_store::Error),
    /// A file is there that this host did not write.
    #[error("{}: not as this host wrote it; put the file back, or remove it to go by the manifest alone", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
    },
}

/// The folder.
#[derive(Debug)]
pub(crate) struct Vault {
    dir: Option<PathBuf>,
    writer: Mutex<Option<Arc<Writer>>>,
}

struct Writer {
    files: SealedFiles,
    _lock: File,
}

impl Vault {
    pub(crate) fn new(dir: Option<PathBuf>) -> Self {
        Self { dir, writer: Mutex::default() }
    }

    /// The folder, unless there is none to be.
    pub(crate) fn dir(&self) -> Result<&Path, VaultError> {
        self.dir.as_deref().ok_or(VaultError::Off)
    }

    /// Whether anything was ever kept.
    pub(crate) fn is_used(&self) -> bool {
        self.dir.as_ref().is_some_and(|dir| dir.is_dir())
    }

    /// The document of this name; its default when there is none.
    pub(crate) fn load<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, VaultError> {
        let Some(files) = self.reader()? else { return Ok(T::default()) };
        let broken = || VaultError::Broken { path: self.dir.iter().collect::<PathBuf>().join(name) };
        match files.get(name)? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|_| broken()),
            None if files.contains(name)? => Err(broken()),
            None => Ok(T::default()),
        }
    }

    /// Replaces the document of this name.
    pub(crate) fn save(&self, name: &str, document: &impl Serialize) -> Result<(), VaultError> {
        let bytes = serde_json::to_vec(document).unwrap_or_default();
        Ok(self.writer()?.files.put(name, &bytes)?)
    }

    /// An uploaded component of so many bytes; `None` when it is gone or was changed.
    pub(crate) fn component(&self, digest: &str, bytes: u64) -> Result<Option<Vec<u8>>, VaultError> {
        match self.reader()? {
            Some(files) => Ok(files.get_within(&file_of(digest), bytes)?),
            None => Ok(None),
        }
    }

    /// Keeps an uploaded component under its digest.
    pub(crate) fn keep_component(&self, digest: &str, bytes: &[u8]) -> Result<(), VaultError> {
        Ok(self.writer()?.files.put(&file_of(digest), bytes)?)
    }

    /// Forgets an uploaded component.
    pub(crate) fn forget_component(&self, digest: &str) -> Result<(), VaultError> {
        Ok(self.writer()?.files.remove(&file_of(digest))?)
    }

    /// Makes sure that this process may write.
    pub(crate) fn claim(&self) -> Result<(), VaultError> {
        self.writer().map(drop)
    }

    fn reader(&self) -> Result<Option<SealedFiles>, VaultError> {
        match &self.dir {
            Some(dir) if dir.is_dir() => Ok(Some(SealedFiles::open(dir)?)),
            _ => Ok(None),
        }
    }

    fn writer(&self) -> Result<Arc<Writer>, VaultError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = &*writer {
            return Ok(writer.clone());
        }
        let dir = self.dir()?;
        let files = SealedFiles::open(dir)?;
        let path = dir.join(LOCK_FILE);
        let refused = |source| atelier_store::Error::Io { action: "lock", path: path.clone(), source };
        let lock = File::create(&path).map_err(refused)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => VaultError::Taken { dir: dir.to_owned() },
            TryLockError::Error(error) => VaultError::Store(refused(error)),
        })?;
        let opened = Arc::new(Writer { files, _lock: lock });
        *writer = Some(opened.clone());
        Ok(opened)
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

fn file_of(digest: &str) -> String {
    format!("component-{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_before_the_first_change_and_everything_is_there_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::new(Some(folder.path().join("data")));
        assert!(vault.load::<Vec<u64>>("numbers").unwrap().is_empty());
        assert!(!vault.is_used() && vault.component("a", 4).unwrap().is_none());
        vault.save("numbers", &[1, 2]).unwrap();
        vault.keep_component("a", b"code").unwrap();
        let again = Vault::new(Some(folder.path().join("data")));
        assert_eq!(again.load::<Vec<u64>>("numbers").unwrap(), [1, 2]);
        assert_eq!(again.component("a", 4).unwrap().as_deref(), Some(&b"code"[..]));
        vault.forget_component("a").unwrap();
        assert!(vault.component("a", 4).unwrap().is_none());
    }

    #[test]
    fn a_document_that_somebody_else_wrote_is_an_error_and_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::new(Some(folder.path().into()));
        vault.save("keys", &[1]).unwrap();
        std::fs::write(folder.path().join("keys"), "[]").unwrap();
        let error = vault.load::<Vec<u64>>("keys").unwrap_err();
        assert!(error.to_string().contains("keys: not as this host wrote it"), "{error}");
    }

    #[test]
    fn a_second_writer_is_refused_and_told_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Vault::new(Some(folder.path().into())), Vault::new(Some(folder.path().into())));
        one.claim().unwrap();
        let error = other.save("keys", &[1]).unwrap_err();
        assert!(matches!(error, VaultError::Taken { .. }) && error.to_string().contains("store.data-dir"));
        assert!(matches!(Vault::new(None).claim(), Err(VaultError::Off)));
    }
}
