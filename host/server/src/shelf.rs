//! The place for what components keep: opened when the first route is deployed that may keep something, so that a host whose
//! routes keep nothing makes no folder and holds no lock.

use std::path::PathBuf;

use atelier_store::{Storage, StorageConfig};
use tokio::sync::OnceCell;

use crate::config;

/// Below `store.data-dir`.
const FOLDER: &str = "storage";

/// The folder, open or not yet.
pub(crate) struct Shelf {
    dir: Option<PathBuf>,
    config: StorageConfig,
    open: OnceCell<Storage>,
}

impl Shelf {
    pub(crate) fn new(store: &config::Store) -> Self {
        let config = StorageConfig {
            value_bytes: store.value_bytes,
            object_bytes: store.object_bytes,
            redis: store.values.clone(),
        };
        Self { dir: store.data_dir.as_ref().map(|dir| dir.join(FOLDER)), config, open: OnceCell::new() }
    }

    /// What is there, opened by whoever comes first. The text says why it cannot be, and is for operators; who comes next
    /// tries again.
    pub(crate) async fn get(&self) -> Result<Storage, String> {
        let dir =
            self.dir.clone().ok_or("nothing can be kept: store.data-dir is \"off\"; name a folder there")?;
        let config = self.config.clone();
        let open = || async move {
            let opened = tokio::task::spawn_blocking(move || Storage::open(&dir, config)).await;
            let opened = opened.unwrap_or(Err(atelier_store::Error::Closed));
            opened.map_err(|error| format!("{error} (store.data-dir)"))
        };
        self.open.get_or_try_init(open).await.cloned()
    }
}
