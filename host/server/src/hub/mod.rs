//! Models from the model hub: where their files lie in the cache that every tool of that world shares, and how they get
//! there. Follows the conventions HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH and HF_ENDPOINT through the hf-hub
//! crate; HF_HUB_OFFLINE, which the crate ignores, and HUGGINGFACE_TOKEN itself. Serving only ever looks into the cache; nothing but
//! `atelier models pull` downloads. Knows no model's meaning beyond which files a pipeline reads (`needed.rs`).

mod needed;
mod pull;

use std::path::{Path, PathBuf};

use hf_hub::{HFClient, HFError, HFRepository, RepoTypeModel};

use crate::config::{HubRepo, HubSource};

pub use needed::Files;
pub use pull::{Progress, Pulled};

/// A connection to the hub's cache and, when asked to pull, to the hub.
pub struct Hub {
    client: HFClient,
    offline: bool,
}

/// What is wanted of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The repository.
    pub repo: HubRepo,
    /// Which of its files.
    pub files: Files,
}

impl Wanted {
    /// All that a pipeline reads.
    pub fn pipeline(repo: HubRepo) -> Self {
        Self { repo, files: Files::Pipeline { without: Vec::new() } }
    }

    /// All that a model of the hub is.
    pub fn of(source: HubSource) -> Self {
        match source.file {
            Some(file) => Self { repo: source.repo, files: Files::Named(vec![file]) },
            None => Self::pipeline(source.repo),
        }
    }
}

/// What is in the cache of what is wanted of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// The folder in which the files have their names.
    pub folder: PathBuf,
    /// How many there are.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// What to use in place of the environment's values.
#[derive(Debug, Clone, Default)]
pub struct HubOptions {
    /// The hub's address.
    pub endpoint: Option<String>,
    /// The cache.
    pub cache_dir: Option<PathBuf>,
    /// Refuse to download.
    pub offline: bool,
    /// Who asks.
    pub token: Option<String>,
}

/// Where the hub's own libraries look for a token.
const TOKENS: [&str; 2] = ["HF_TOKEN", "HF_TOKEN_PATH"];
/// Where the voice-guided system had its token: read when there is none in the former.
const OTHER_TOKEN: &str = "HUGGINGFACE_TOKEN";

/// Why a model's files are not there.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Nothing may be downloaded.
    #[error("hub:{repo} is not in {}, and HF_HUB_OFFLINE is set; unset it to download", cache.display())]
    Offline {
        /// What was asked for.
        repo: HubRepo,
        /// Where it was looked for.
        cache: PathBuf,
    },
    /// The hub wants to know who asks.
    #[error(
        "hub:{repo} is for those who signed in and accepted its terms: accept them at https://huggingface.co/{}/{}, then \
         put a token that may read it into HF_TOKEN ({text})",
        repo.owner, repo.name
    )]
    Denied {
        /// What was asked for.
        repo: HubRepo,
        /// The hub's words.
        text: String,
    },
    /// The repository holds nothing that an engine could load.
    #[error("hub:{repo} {text}")]
    Unusable {
        /// What was asked for.
        repo: HubRepo,
        /// What is missing.
        text: String,
    },
    /// What arrived is not what the hub announced.
    #[error("{file} of hub:{repo} arrived damaged; pull again")]
    Damaged {
        /// What was asked for.
        repo: HubRepo,
        /// The file.
        file: String,
    },
    /// A file of the cache cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Anything else that the hub or the way to it said.
    #[error("{what}: {source}")]
    Hub {
        /// What was asked for.
        what: String,
        /// Why not.
        source: Box<HFError>,
    },
}

impl Hub {
    /// As the environment says.
    pub fn of_process() -> Result<Hub, HubError> {
        let is_on =
            |value: String| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on");
        let offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(is_on);
        let has_token = TOKENS.iter().any(|name| std::env::var_os(name).is_some());
        let other = std::env::var(OTHER_TOKEN).ok().filter(|token| !has_token && !token.is_empty());
        Self::new(HubOptions { offline, token: other, ..HubOptions::default() })
    }

    /// With some of the environment's values replaced.
    pub fn new(options: HubOptions) -> Result<Hub, HubError> {
        let mut builder = HFClient::builder().user_agent(concat!("atelier/", env!("CARGO_PKG_VERSION")));
        if let Some(endpoint) = options.endpoint {
            builder = builder.endpoint(endpoint);
        }
        if let Some(cache_dir) = options.cache_dir {
            builder = builder.cache_dir(cache_dir);
        }
        if let Some(token) = options.token {
            builder = builder.token(token);
        }
        let client = builder.build().map_err(|source| HubError::Hub {
            what: "cannot set up the hub's client".into(),
            source: source.into(),
        })?;
        Ok(Hub { client, offline: options.offline })
    }

    /// The cache's folder.
    pub fn cache_dir(&self) -> &Path {
        self.client.cache_dir()
    }

    /// What is wanted of a repository, when the cache holds it all. Asks nobody.
    pub async fn cached(&self, wanted: &Wanted) -> Option<Cached> {
        let repository = self.repository(&wanted.repo);
        let call = repository.snapshot_download().maybe_revision(wanted.repo.revision.clone());
        let folder = call.local_files_only(true).send().await.ok()?;
        needed::present(&folder, &wanted.files).map(|(files, bytes)| Cached { folder, files, bytes })
    }

    fn repository(&self, repo: &HubRepo) -> HFRepository<RepoTypeModel> {
        self.client.model(&repo.owner, &repo.name)
    }
}

impl HubError {
    fn of(repo: &HubRepo, source: HFError) -> Self {
        match source {
            HFError::AuthRequired { .. } | HFError::Forbidden { .. } => {
                HubError::Denied { repo: repo.clone(), text: source.to_string() }
            }
            source => HubError::Hub { what: format!("hub:{repo}"), source: source.into() },
        }
    }
}
