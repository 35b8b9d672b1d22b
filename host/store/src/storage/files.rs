//! The files of objects, by number: `drafts/NUMBER` while one is written, `objects/XX/NUMBER` from then on, XX being its last
//! two digits. A number is used once: its upper half is how often the folder was opened before. Everything here blocks.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Space;
use crate::Error;

/// Bits of a number below the generation's.
const COUNTER_BITS: u32 = 32;

#[derive(Clone)]
pub(super) struct Files(Arc<Folder>);

struct Folder {
    drafts: PathBuf,
    objects: PathBuf,
    generation: u64,
    next: AtomicU64,
}

impl Files {
    /// Removes what was being written when the folder was last used.
    pub(super) fn open(dir: &Path, generation: u64) -> Result<Self, Error> {
        let (drafts, objects) = (dir.join("drafts"), dir.join("objects"));
        private_folder(&drafts)?;
        private_folder(&objects)?;
        for entry in fs::read_dir(&drafts).map_err(Error::io("read", &drafts))? {
            remove(&entry.map_err(Error::io("read", &drafts))?.path())?;
        }
        let next = AtomicU64::new(0);
        Ok(Self(Arc::new(Folder { drafts, objects, generation, next })))
    }

    /// A new file and its number.
    pub(super) fn draft(&self) -> Result<(u64, File), Error> {
        let counter = self.0.next.fetch_add(1, Ordering::Relaxed) & ((1 << COUNTER_BITS) - 1);
        let number = self.0.generation << COUNTER_BITS | counter;
        let path = self.draft_path(number);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        Ok((number, file.map_err(Error::io("write", &path))?))
    }

    /// Makes a draft that was written an object's file. It is on the disk under its name when this returns.
    pub(super) fn keep(&self, number: u64, file: &File) -> Result<(), Error> {
        let (draft, path) = (self.draft_path(number), self.path(number));
        file.sync_all().map_err(Error::io("write", &draft))?;
        let folder = path.parent().unwrap_or(&self.0.objects);
        if !folder.is_dir() {
            private_folder(folder)?;
            sync_folder(&self.0.objects)?;
        }
        fs::rename(&draft, &path).map_err(Error::io("write", &path))?;
        sync_folder(folder)
    }

    /// An object's file; none when the last object that it was is gone.
    pub(super) fn read(&self, number: u64) -> Result<Option<File>, Error> {
        let path = self.path(number);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    pub(super) fn space(&self) -> Result<Space, Error> {
        let disk = rustix::fs::statvfs(&self.0.objects);
        let disk = disk.map_err(|error| Error::io("measure the disk of", &self.0.objects)(error.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(Space { total: bytes(disk.f_blocks), free: bytes(disk.f_bavail) })
    }

    pub(super) fn remove(&self, number: u64) -> Result<(), Error> {
        remove(&self.path(number))
    }

    pub(super) fn remove_draft(&self, number: u64) -> Result<(), Error> {
        remove(&self.draft_path(number))
    }

    /// The numbers of all files that were there before the folder was opened this time.
    pub(super) fn older(&self) -> impl Iterator<Item = u64> + '_ {
        let folders = fs::read_dir(&self.0.objects).into_iter().flatten().flatten();
        let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
        let number = |file: fs::DirEntry| u64::from_str_radix(file.file_name().to_str()?, 16).ok();
        files.filter_map(number).filter(|number| number >> COUNTER_BITS < self.0.generation)
    }

    fn draft_path(&self, number: u64) -> PathBuf {
        self.0.drafts.join(format!("{number:016x}"))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.0.objects.join(format!("{:02x}", number & 0xff)).join(format!("{number:016x}"))
    }
}

/// A folder that nobody else may enter, made where it is missing.
pub(super) fn private_folder(dir: &Path) -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir).map_err(Error::io("create the folder", dir))
}

/// What a folder lists is on the disk when this returns.
fn sync_folder(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("write", dir))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
