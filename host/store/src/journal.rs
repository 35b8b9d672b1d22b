//! Lines that are only ever added to, within a bound on the disk: when a file is full it becomes the newest of the older
//! ones, and the oldest goes. A line is on the disk when `append` returns.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// Files, the one that is written included. Losing the oldest loses a quarter.
const FILES: u64 = 4;

/// A journal in files `NAME`, `NAME.1` (newer) to `NAME.3` (older), private to this user.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file_bytes: u64,
}

impl Journal {
    /// A journal that takes at most `bytes` on the disk. Touches nothing until the first line.
    pub fn new(path: impl Into<PathBuf>, bytes: u64) -> Self {
        Self { path: path.into(), file_bytes: bytes / FILES }
    }

    /// Adds a line, which must not contain a line break. Not for two threads at a time.
    pub fn append(&self, line: &str) -> Result<(), Error> {
        let written = || -> std::io::Result<()> {
            let length = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
            if length > 0 && length + line.len() as u64 + 1 > self.file_bytes {
                self.turn()?;
            }
            let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_data()
        };
        written().map_err(Error::io("write", &self.path))
    }

    /// The newest lines, the newest first. A line that a crash cut short is left out by its reader, not here.
    pub fn newest(&self, limit: usize) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        for age in 0..FILES {
            let path = self.file(age);
            let left = limit - lines.len();
            if left == 0 {
                break;
            }
            lines.extend(last_lines(&path, left).map_err(Error::io("read", &path))?);
        }
        Ok(lines)
    }

    /// Makes every file one turn older.
    fn turn(&self) -> std::io::Result<()> {
        for age in (0..FILES - 1).rev() {
            match fs::rename(self.file(age), self.file(age + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn file(&self, age: u64) -> PathBuf {
        if age == 0 {
            return self.path.clone();
        }
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{age}"));
        name.into()
    }
}

/// The last lines of a file, the last first; none of a file that is not there.
fn last_lines(path: &Path, limit: usize) -> std::io::Result<Vec<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut last = VecDeque::with_capacity(limit.min(1_024));
    for line in BufReader::new(file).split(b'\n') {
        if last.len() == limit {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line?).into_owned());
    }
    Ok(last.into_iter().rev().collect())
}
