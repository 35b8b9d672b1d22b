//! A log file that stays small: when it is full or old it becomes `NAME.1`, what was that becomes `NAME.2`, and so on; the
//! oldest goes. On disk there are never more than `keep` + 1 files of `max-bytes` each. Runs on the log's own thread, so it
//! may block. (tracing-appender's own files rotate by time alone, so nothing bounds them.)

use std::ffi::OsString;
use std::fs::{File, OpenOptions, create_dir_all, rename};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::UNWRITTEN;
use crate::config::Log;

/// Between two complaints about a disk that takes nothing.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// The file and those that it was.
pub(super) struct RotatingFile {
    path: PathBuf,
    max_bytes: u64,
    max_age: Duration,
    keep: usize,
    /// None after a rotation that failed half-way.
    file: Option<File>,
    bytes: u64,
    since: SystemTime,
    complained: Option<Instant>,
}

impl RotatingFile {
    /// Goes on with the file where it ends.
    pub(super) fn open(path: &Path, log: &Log) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            create_dir_all(folder)?;
        }
        let mut file = Self {
            path: path.to_path_buf(),
            max_bytes: log.max_bytes,
            max_age: log.max_age,
            keep: log.keep,
            file: None,
            bytes: 0,
            since: SystemTime::now(),
            complained: None,
        };
        file.reopen()?;
        Ok(file)
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        let metadata = file.metadata()?;
        self.bytes = metadata.len();
        // file systems that do not know when a file was made know when it was written last
        self.since = match self.bytes {
            0 => SystemTime::now(),
            _ => metadata.created().or_else(|_| metadata.modified()).unwrap_or_else(|_| SystemTime::now()),
        };
        self.file = Some(file);
        Ok(())
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let is_old = self.since.elapsed().is_ok_and(|age| age >= self.max_age);
        let is_full = self.bytes + line.len() as u64 > self.max_bytes;
        if self.file.is_none() || (self.bytes > 0 && (is_old || is_full)) {
            self.rotate()?;
        }
        let Some(file) = &mut self.file else { return Err(ErrorKind::NotFound.into()) };
        self.bytes += line.len() as u64;
        file.write_all(line)
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        for number in (0..self.keep).rev() {
            moved(&self.numbered(number), &self.numbered(number + 1))?;
        }
        if self.keep == 0 {
            std::fs::remove_file(&self.path).or_else(missing_is_fine)?;
        }
        self.reopen()
    }

    /// The file itself is number 0.
    fn numbered(&self, number: usize) -> PathBuf {
        if number == 0 {
            return self.path.clone();
        }
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }

    fn complain(&mut self, error: &io::Error) {
        UNWRITTEN.fetch_add(1, Ordering::Relaxed);
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            // the log itself is what does not work, and standard error may not either
            let _ = writeln!(io::stderr(), "{}: log lines are lost (log.file): {error}", self.path.display());
        }
    }
}

fn moved(from: &Path, to: &Path) -> io::Result<()> {
    rename(from, to).or_else(missing_is_fine)
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

impl Write for RotatingFile {
    /// Takes whole lines, and always all of them: whoever logs cannot do anything about a full disk.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // no line alone is longer than a file may be
        let whole = usize::try_from(self.max_bytes).unwrap_or(usize::MAX);
        let kept = &line[..line.len().min(whole)];
        if let Err(error) = self.put(kept) {
            self.complain(&error);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{read, read_dir, read_to_string};

    use super::*;

    fn log(max_bytes: u64, keep: usize) -> Log {
        Log { file: None, max_bytes, max_age: Duration::from_secs(3_600), keep }
    }

    fn write(file: &mut RotatingFile, lines: std::ops::Range<usize>) {
        for number in lines {
            // ten bytes each
            file.write_all(format!("line {number:04}\n").as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_full_file_gives_way_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/host.log");
        let mut file = RotatingFile::open(&path, &log(40, 2)).unwrap();
        write(&mut file, 0..18);
        let sizes: Vec<usize> = ["host.log", "host.log.1", "host.log.2"]
            .map(|name| read(path.with_file_name(name)).unwrap().len())
            .into();
        assert_eq!(sizes, [20, 40, 40]);
        assert_eq!(read_dir(path.parent().unwrap()).unwrap().count(), 3, "no other file is left");
        assert!(read_to_string(path.with_file_name("host.log.1")).unwrap().starts_with("line 0012\n"));
        assert!(read_to_string(&path).unwrap().ends_with("line 0017\n"));
    }

    #[test]
    fn a_host_that_starts_again_goes_on_in_the_same_file_and_within_the_same_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.log");
        write(&mut RotatingFile::open(&path, &log(40, 1)).unwrap(), 0..3);
        write(&mut RotatingFile::open(&path, &log(40, 1)).unwrap(), 3..5);
        assert_eq!(read_to_string(&path).unwrap(), "line 0004\n");
        assert_eq!(read(folder.path().join("host.log.1")).unwrap().len(), 40);
    }

    #[test]
    fn an_old_file_gives_way_and_without_any_to_keep_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.log");
        let mut file = RotatingFile::open(&path, &log(1_000, 0)).unwrap();
        write(&mut file, 0..2);
        file.since = SystemTime::now() - Duration::from_secs(3_601);
        write(&mut file, 2..3);
        assert_eq!(read_to_string(&path).unwrap(), "line 0002\n");
        assert_eq!(read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_line_longer_than_a_file_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.log");
        RotatingFile::open(&path, &log(40, 1)).unwrap().write_all(&[b'x'; 100]).unwrap();
        assert_eq!(read(&path).unwrap().len(), 40);
    }

    #[test]
    fn lines_that_no_disk_takes_are_counted_and_later_ones_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/host.log");
        let mut file = RotatingFile::open(&path, &log(20, 1)).unwrap();
        write(&mut file, 0..2);
        // a folder where a file should go: the rotation fails half-way
        std::fs::create_dir_all(path.with_file_name("host.log.1").join("in-the-way")).unwrap();
        let before = UNWRITTEN.load(Ordering::Relaxed);
        write(&mut file, 2..4);
        assert!(UNWRITTEN.load(Ordering::Relaxed) >= before + 2);
        std::fs::remove_dir_all(path.with_file_name("host.log.1")).unwrap();
        write(&mut file, 4..5);
        assert_eq!(read_to_string(&path).unwrap(), "line 0004\n");
    }
}
