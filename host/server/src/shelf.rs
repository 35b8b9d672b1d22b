//! The place for what components keep: opened when the first route is deployed that may keep something, so that a host whose
//! routes keep nothing makes no folder and holds no lock.

use std::path::PathBuf;

use atelier_store::{CopyConfig, CopyTarget, JobStream, RedisCopy, S3Copy, Secret, Storage, StorageConfig};
use tokio::sync::OnceCell;

use crate::config::{self, StoreCopy, Template};

/// Below `store.data-dir`.
const FOLDER: &str = "storage";
/// Of a bucket, where the manifest does not say.
const REGION: &str = "us-east-1";

/// The folder, open or not yet.
pub(crate) struct Shelf {
    dir: Option<PathBuf>,
    config: StorageConfig,
    open: OnceCell<Storage>,
}

impl Shelf {
    /// With the process's variables where the manifest leaves places for them. The text says which key lacks one.
    pub(crate) fn new(
        store: &config::Store,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let filled =
            |template: &Template| template.filled(&variable).map_err(|why| format!("store.values: {why}"));
        let config = StorageConfig {
            value_bytes: store.value_bytes,
            object_bytes: store.object_bytes,
            webhooks: store.webhooks,
            redis: store.values.as_ref().map(filled).transpose()?,
            copies: store.copies.iter().map(|copy| resolve(copy, &variable)).collect::<Result<_, _>>()?,
        };
        let dir = store.data_dir.as_ref().map(|dir| dir.join(FOLDER));
        Ok(Self { dir, config, open: OnceCell::new() })
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

/// A copy with its addresses and secrets.
fn resolve(copy: &StoreCopy, variable: impl Fn(&str) -> Option<String>) -> Result<CopyConfig, String> {
    let StoreCopy { id, jobs, containers, tenant, to, key, redis, s3 } = copy;
    let filled = |what: &str, template: &Template| {
        template.filled(&variable).map_err(|why| format!("store.copy.{id}.{what}: {why}"))
    };
    let secret = |name: &Option<String>| {
        let value = name.as_ref().and_then(|name| variable(name));
        value.filter(|value| !value.is_empty()).map(Secret)
    };
    let to = filled("to", to)?;
    let Some(bucket) = to.strip_prefix("s3://") else {
        let target = RedisCopy {
            url: Secret(to),
            password: secret(&redis.password_env),
            key: key.clone(),
            channel: redis.channel.clone(),
            stream: redis
                .stream
                .clone()
                .zip(redis.stream_length)
                .map(|(name, length)| JobStream { name, length }),
            routes: jobs.clone(),
        };
        return Ok(CopyConfig { id: id.clone(), to: CopyTarget::Jobs(target) });
    };
    let region = s3.region.as_ref().map(|region| filled("region", region)).transpose()?;
    let endpoint = s3.endpoint.as_ref().map(|endpoint| filled("endpoint", endpoint)).transpose()?;
    let bucket = bucket.trim_end_matches('/');
    if bucket.is_empty() || bucket.contains('/') {
        return Err(format!(
            "store.copy.{id}.to: wants a bucket alone, s3://BUCKET; a folder belongs into `key`"
        ));
    }
    let access = secret(&s3.access_key_id_env).zip(secret(&s3.secret_access_key_env));
    let target = S3Copy {
        bucket: bucket.to_owned(),
        region: region.unwrap_or_else(|| REGION.to_owned()),
        endpoint: endpoint.filter(|endpoint| !endpoint.is_empty()),
        access: access.map(|(Secret(id), secret)| (id, secret)),
        session: secret(&s3.session_token_env),
        key: key.clone(),
        containers: containers.clone(),
        tenant: tenant.as_ref().map(|tenant| tenant.as_str().to_owned()),
        read: s3.read,
    };
    Ok(CopyConfig { id: id.clone(), to: CopyTarget::Objects(target) })
}
