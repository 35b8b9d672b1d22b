//! Private files that are authenticated when read: a folder of mode 0700 with files of mode 0600, each sealed with a
//! keyed BLAKE3 under a secret that never leaves the folder. Whoever can write another file into the folder, but cannot
//! read the secret, cannot make bytes that are believed.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::Error;

const SECRET_FILE: &str = "secret.key";
const SECRET_BYTES: usize = 32;
const SEAL_BYTES: usize = blake3::OUT_LEN;
const MAX_KEY_CHARS: usize = 128;

/// A folder of sealed files. Many processes may share one.
pub struct SealedFiles {
    dir: PathBuf,
    secret: [u8; SECRET_BYTES],
}

impl SealedFiles {
    /// Opens the folder, making it and its secret where they are missing. A folder that others may enter is closed to
    /// them.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = dir.into();
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&dir).map_err(Error::io("create the folder", &dir))?;
        fs::set_permissions(&dir, Permissions::from_mode(0o700))
            .map_err(Error::io("make the folder private", &dir))?;
        let secret = open_secret(&dir)?;
        Ok(Self { dir, secret })
    }

    /// The bytes kept under `key`; `None` when there are none, or when their seal is wrong.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.get_within(key, u64::MAX)
    }

    /// The same, where at most `limit` bytes were put: what is longer is somebody else's, and is not read.
    pub fn get_within(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(key)?;
        let mut sealed = match read_within(&path, limit.saturating_add(SEAL_BYTES as u64)) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let Some((seal, bytes)) = sealed.split_first_chunk::<SEAL_BYTES>() else { return Ok(None) };
        // blake3::Hash compares in constant time
        if self.seal(key, bytes) != blake3::Hash::from_bytes(*seal) {
            return Ok(None);
        }
        sealed.drain(..SEAL_BYTES);
        Ok(Some(sealed))
    }

    /// Keeps bytes under `key`. A reader sees the old bytes or the new ones, never a part.
    pub fn put(&self, key: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(key)?;
        let seal = self.seal(key, bytes);
        let written = draft(&self.dir, &[seal.as_bytes(), bytes])
            .and_then(|draft| draft.persist(&path).map_err(|failed| failed.error));
        written.map(drop).map_err(Error::io("write", &path))
    }

    /// Forgets what is kept under `key`. That there is nothing is no error.
    pub fn remove(&self, key: &str) -> Result<(), Error> {
        let path = self.path(key)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Whether a file lies under `key`, whatever its seal says.
    pub fn contains(&self, key: &str) -> Result<bool, Error> {
        Ok(self.path(key)?.exists())
    }

    /// The key is sealed with the bytes: a file cannot be passed off as another one.
    fn seal(&self, key: &str, bytes: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(key.as_bytes()).update(&[0]).update(bytes).finalize()
    }

    fn path(&self, key: &str) -> Result<PathBuf, Error> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if key.is_empty() || key.len() > MAX_KEY_CHARS || !key.chars().all(is_plain) {
            return Err(Error::InvalidName(key.into()));
        }
        Ok(self.dir.join(key))
    }
}

/// A file's bytes; `None` of one that has more than `limit`, or gets them while it is read.
fn read_within(path: &Path, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > limit {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// A file with these parts, on disk, that nobody sees yet: private, under a name that no other writer has, and gone
/// when dropped unless it is given a name.
fn draft(dir: &Path, parts: &[&[u8]]) -> std::io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(dir)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.as_file().sync_all()?;
    Ok(file)
}

/// Reads the folder's secret, or makes it. Of several threads and processes that come at the same moment, all get the
/// same one: a secret appears under its name only when it is whole, and never replaces another.
fn open_secret(dir: &Path) -> Result<[u8; SECRET_BYTES], Error> {
    let path = dir.join(SECRET_FILE);
    if !path.exists() {
        let mut secret = [0; SECRET_BYTES];
        let made = File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut secret))
            .and_then(|()| draft(dir, &[&secret]))
            .and_then(|draft| draft.persist_noclobber(&path).map_err(|failed| failed.error));
        match made {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::io("create the key", &path)(error));
            }
            _ => {}
        }
    }
    read_secret(&path)
}

fn read_secret(path: &Path) -> Result<[u8; SECRET_BYTES], Error> {
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .map_err(Error::io("make the key private", path))?;
    let secret = fs::read(path).map_err(Error::io("read the key", path))?;
    secret.try_into().map_err(|_| Error::BadKey { path: path.into(), expected: SECRET_BYTES })
}
