//! Downloads what is wanted of repositories into the shared cache. Large files are fetched here, in pieces that survive an
//! interruption, and stored under the SHA-256 of what arrived, which is the name the cache gives them; the hf-hub crate
//! then adds the small files, the snapshot's links and, last of all, the branch's name. So a half-pulled repository is
//! never found by that name, and a file that arrived damaged is fetched again rather than used.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt};
use hf_hub::repository::RepoTreeEntry;
use sha2::{Digest, Sha256};

use super::{Cached, Hub, HubError, Wanted, needed};
use crate::config::HubRepo;

/// Files in flight at a time.
const PARALLEL: usize = 4;

/// How far a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are here.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// What was pulled of one repository.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Pulled {
    /// The repository.
    pub repo: String,
    /// The folder of its files.
    pub folder: PathBuf,
    /// The commit.
    pub commit: String,
    /// How many files were needed.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// A file that the hub keeps apart from the repository's history, as it does with weights.
struct Large<'a> {
    path: &'a str,
    size: u64,
}

/// What is to be fetched of one repository.
struct Plan<'a> {
    repo: &'a HubRepo,
    commit: String,
    /// Path, size, and whether it is a large one.
    files: Vec<(String, u64, bool)>,
}

impl Plan<'_> {
    fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, size, _)| size).sum()
    }
}

struct Tally<'a> {
    done: AtomicU64,
    total: u64,
    tell: &'a (dyn Fn(Progress) + Sync),
}

impl Tally<'_> {
    fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.tell)(Progress { done, total: self.total });
    }
}

impl Hub {
    /// Brings what is wanted into the cache, continuing where an earlier pull stopped. Answers in the order of `wanted`.
    pub async fn pull(
        &self,
        wanted: &[Wanted],
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<Vec<Pulled>, HubError> {
        let mut pulled = Vec::with_capacity(wanted.len());
        if self.offline {
            for wanted in wanted {
                pulled.push(self.pulled_before(wanted).await?);
            }
            return Ok(pulled);
        }
        // everything is looked up before anything large is fetched: a repository that is closed says so at once
        let mut plans = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            plans.push(self.plan(wanted).await?);
        }
        let total = plans.iter().map(Plan::bytes).sum();
        let tally = Tally { done: AtomicU64::new(0), total, tell };
        for plan in &plans {
            pulled.push(self.carry_out(plan, &tally).await?);
        }
        tell(Progress { done: total, total });
        Ok(pulled)
    }

    async fn plan<'a>(&self, wanted: &'a Wanted) -> Result<Plan<'a>, HubError> {
        let repo = &wanted.repo;
        let commit = self.commit(repo).await?;
        let tree = self.tree(repo, &commit).await?;
        let paths: Vec<&str> = tree.iter().map(|(path, ..)| path.as_str()).collect();
        let unusable = |text| HubError::Unusable { repo: repo.clone(), text };
        let chosen = needed::choose(&paths, &wanted.files).map_err(unusable)?;
        let files = tree.iter().filter(|(path, ..)| chosen.contains(&path.as_str())).cloned().collect();
        Ok(Plan { repo, commit, files })
    }

    async fn carry_out(&self, plan: &Plan<'_>, tally: &Tally<'_>) -> Result<Pulled, HubError> {
        let Plan { repo, commit, files } = plan;
        let large = files.iter().filter(|(_, _, is_large)| *is_large);
        let large = large.map(|(path, size, _)| Large { path, size: *size });
        let fetched = futures::stream::iter(large).map(|file| self.fetch(repo, commit, file, tally));
        let sums: Vec<(String, String)> = fetched.buffer_unordered(PARALLEL).try_collect().await?;
        let folder = self.link(plan).await?;
        verify(repo, &folder, &sums)?;
        // the small files were not counted one by one
        tally.add(files.iter().filter(|(_, _, is_large)| !is_large).map(|(_, size, _)| size).sum());
        Ok(Pulled {
            repo: repo.to_string(),
            folder,
            commit: commit.clone(),
            files: files.len(),
            bytes: plan.bytes(),
        })
    }

    /// What the cache has, when nothing may be downloaded.
    async fn pulled_before(&self, wanted: &Wanted) -> Result<Pulled, HubError> {
        let offline = || HubError::Offline { repo: wanted.repo.clone(), cache: self.cache_dir().into() };
        let Cached { folder, files, bytes } = self.cached(wanted).await.ok_or_else(offline)?;
        let commit = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Pulled { repo: wanted.repo.to_string(), folder, commit, files, bytes })
    }

    async fn commit(&self, repo: &HubRepo) -> Result<String, HubError> {
        let revision = repo.revision.clone().unwrap_or_else(|| "main".into());
        let info = self.repository(repo).info().revision(revision).send().await;
        let sha = info.map_err(|source| HubError::of(repo, source))?.sha;
        sha.ok_or_else(|| HubError::Unusable { repo: repo.clone(), text: "has no commit yet".into() })
    }

    /// Every file's path and size, and whether it is a large one.
    async fn tree(&self, repo: &HubRepo, commit: &str) -> Result<Vec<(String, u64, bool)>, HubError> {
        let of = |source| HubError::of(repo, source);
        let repository = self.repository(repo);
        let listing = repository.list_tree().revision(commit).recursive(true).send().map_err(of)?;
        let entries: Vec<RepoTreeEntry> = listing.try_collect().await.map_err(of)?;
        let file = |entry| match entry {
            RepoTreeEntry::File { path, size, lfs, xet_hash, .. } => {
                Some((path, size, lfs.is_some() || xet_hash.is_some()))
            }
            RepoTreeEntry::Directory { .. } => None,
        };
        Ok(entries.into_iter().filter_map(file).collect())
    }

    /// Fetches one large file unless the snapshot has it; answers its path and SHA-256.
    async fn fetch(
        &self,
        repo: &HubRepo,
        commit: &str,
        file: Large<'_>,
        tally: &Tally<'_>,
    ) -> Result<(String, String), HubError> {
        let folder = self.cache_dir().join(format!("models--{}--{}", repo.owner, repo.name));
        let linked = folder.join("snapshots").join(commit).join(file.path);
        if let Some(name) = std::fs::read_link(&linked).ok().filter(|_| linked.is_file()) {
            tally.add(file.size);
            let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok((file.path.into(), name));
        }
        let partial =
            folder.join("blobs").join(format!("{commit}-{}.incomplete", file.path.replace('/', "--")));
        let mut download = Download::open(&partial, file.size, tally)?;
        self.stream(repo, commit, &file, &mut download, tally).await?;
        let sum = download.finish(&folder.join("blobs"))?;
        Ok((file.path.into(), sum))
    }

    async fn stream(
        &self,
        repo: &HubRepo,
        commit: &str,
        file: &Large<'_>,
        download: &mut Download,
        tally: &Tally<'_>,
    ) -> Result<(), HubError> {
        if download.length >= file.size {
            return Ok(());
        }
        let of = |source| HubError::of(repo, source);
        let repository = self.repository(repo);
        let call = repository.download_file_stream().filename(file.path).revision(commit);
        let (_, mut pieces) = call.range(download.length..file.size).send().await.map_err(of)?;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(of)?;
            download.write(&piece)?;
            tally.add(piece.len() as u64);
        }
        // a hub that ignores the range sends the whole file again
        if download.length != file.size {
            download.discard()?;
            return Err(HubError::Damaged { repo: repo.clone(), file: file.path.into() });
        }
        Ok(())
    }

    /// The small files, the snapshot and the name of the branch; the large files are found by their sums.
    async fn link(&self, plan: &Plan<'_>) -> Result<PathBuf, HubError> {
        let Plan { repo, commit, files } = plan;
        let repo: &HubRepo = repo;
        let revision = repo.revision.clone().unwrap_or_else(|| "main".into());
        let patterns = files.iter().map(|(path, ..)| path.clone()).collect();
        let repository = self.repository(repo);
        let call = repository.snapshot_download().revision(revision).allow_patterns(patterns);
        let folder = call.send().await.map_err(|source| HubError::of(repo, source))?;
        // the branch may have moved since; the next pull takes the rest
        let moved = !folder.ends_with(commit);
        if moved {
            return Err(HubError::Unusable {
                repo: repo.clone(),
                text: "changed during the pull; pull again".into(),
            });
        }
        Ok(folder)
    }
}

/// Where the hub names a large file by its SHA-256, as it does, that must be the sum of what arrived.
fn verify(repo: &HubRepo, folder: &Path, sums: &[(String, String)]) -> Result<(), HubError> {
    for (path, sum) in sums {
        let link = folder.join(path);
        let target = std::fs::read_link(&link).unwrap_or_default();
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_sum = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_sum && name != *sum {
            // neither what arrived here nor what the snapshot points at is what was announced: both go, so that the
            // next pull starts clean
            let blobs = folder.join("../../blobs");
            for path in [link, blobs.join(&name), blobs.join(sum)] {
                let _ = std::fs::remove_file(path);
            }
            return Err(HubError::Damaged { repo: repo.clone(), file: path.clone() });
        }
    }
    Ok(())
}

/// A file that grows, with the sum of what it holds. Locked, so that two pulls do not write into one.
struct Download {
    path: PathBuf,
    file: File,
    sum: Sha256,
    length: u64,
}

impl Download {
    fn open(path: &Path, size: u64, tally: &Tally<'_>) -> Result<Self, HubError> {
        let open = || {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
            let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
            file.try_lock().map_err(|_| io::Error::other("another pull is writing this file"))?;
            if file.metadata()?.len() > size {
                file.set_len(0)?;
            }
            let mut download = Self { path: path.into(), file, sum: Sha256::new(), length: 0 };
            download.take_in()?;
            Ok(download)
        };
        let download: Self = open().map_err(|source| HubError::File { path: path.into(), source })?;
        tally.add(download.length);
        Ok(download)
    }

    /// Sums what an earlier pull left.
    fn take_in(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            match self.file.read(&mut buffer)? {
                0 => return Ok(()),
                count => self.sum.update(&buffer[..count]),
            }
            self.length = self.file.metadata()?.len();
        }
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), HubError> {
        self.sum.update(piece);
        self.length += piece.len() as u64;
        self.file.write_all(piece).map_err(|source| HubError::File { path: self.path.clone(), source })
    }

    fn discard(&self) -> Result<(), HubError> {
        std::fs::remove_file(&self.path).map_err(|source| HubError::File { path: self.path.clone(), source })
    }

    /// Gives the whole file its name in the cache, which is its sum.
    fn finish(self, blobs: &Path) -> Result<String, HubError> {
        let sum: String = self.sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let renamed = self.file.sync_all().and_then(|()| std::fs::rename(&self.path, blobs.join(&sum)));
        renamed.map_err(|source| HubError::File { path: self.path, source })?;
        Ok(sum)
    }
}
