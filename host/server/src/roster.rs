//! Who may ask: the manifest's tenants, with the keys that operators make and revoke while the host runs. Keys are kept
//! as hashes; the key itself is handed out once and forgotten. A key of the manifest can be revoked as well: its hash
//! opens nothing any more, whatever the manifest says.
//!
//! Changes come from two sides, the manifest (`reload.rs`) and operators (`admin/`); each makes a new directory of
//! tenants and swaps one pointer, so that the next request already meets it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atelier_inference::{Scheduler, Share, TenantId};
use serde::{Deserialize, Serialize};

use crate::config::{ApiKey, MAX_KEYS, Route, Tenant, is_name};
use crate::keys::Key;
use crate::live::Live;
use crate::vault::{Vault, VaultError};
use crate::versions::{apart, now_ms};

/// The document that survives restarts.
const DOCUMENT: &str = "keys";
/// Keys of the manifest that are revoked without being taken out of it.
const MAX_REVOKED: usize = 4_096;
/// Of a new key's hash, as much goes into its name.
const NAME_CHARS: usize = 6;

/// Why no key was made or revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFault {
    /// The manifest names no such tenant.
    #[error("there is no tenant `{0}`; add a [[tenant]] of that id to the manifest")]
    NoTenant(TenantId),
    /// The name cannot stand in a log.
    #[error("a key's name has up to 64 letters, digits, `-`, `_` and `.`, not `{0}`")]
    Name(String),
    /// The tenant has a key of this name.
    #[error("tenant `{tenant}` has a key `{name}` already; give this one another name, or revoke that one")]
    Taken {
        /// The tenant.
        tenant: TenantId,
        /// The name.
        name: String,
    },
    /// The tenant has no key of this name.
    #[error("tenant `{tenant}` has no key `{name}`")]
    NoKey {
        /// The tenant.
        tenant: TenantId,
        /// The name.
        name: String,
    },
    /// The tenant has as many keys as it may.
    #[error("tenant `{0}` has {MAX_KEYS} keys, as many as it may; revoke one")]
    Full(TenantId),
    /// Too many revoked keys still stand in the manifest.
    #[error("{MAX_REVOKED} revoked keys still stand in the manifest; take them out of it")]
    FullOfRevoked,
    /// It was revoked, and comes back with the next start.
    #[error("the key opens nothing now, but will again after a restart: {0}")]
    NotKept(VaultError),
    /// Nothing can be kept.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Tenants and keys.
pub(crate) struct Roster {
    live: Arc<Live>,
    scheduler: Scheduler,
    vault: Arc<Vault>,
    state: Mutex<State>,
    /// Held while a key is made or revoked and written down.
    change: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// As the manifest has them.
    tenants: Vec<Tenant>,
    routes: Vec<Route>,
    keys: Keys,
}

/// What operators changed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Keys {
    /// By tenant.
    minted: BTreeMap<String, Vec<Minted>>,
    /// Hashes of the manifest's keys.
    revoked: BTreeSet<String>,
}

/// A key that was made while the host ran.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Minted {
    name: String,
    hash: String,
    by: String,
    at_ms: u64,
}

/// A key as operators see it.
#[derive(Debug, Serialize)]
pub(crate) struct KeyView {
    name: String,
    /// `manifest` or `minted`.
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
}

impl Roster {
    /// With the keys that the vault remembers; nobody is let in yet.
    pub(crate) fn open(live: Arc<Live>, scheduler: Scheduler, vault: Arc<Vault>) -> Result<Self, VaultError> {
        let keys = vault.load(DOCUMENT)?;
        let state = Mutex::new(State { keys, ..State::default() });
        Ok(Self { live, scheduler, vault, state, change: tokio::sync::Mutex::default() })
    }

    /// Lets the manifest's tenants in, with their shares of the queue.
    pub(crate) fn set(&self, tenants: &[Tenant], routes: &[Route]) {
        let mut state = self.state();
        (state.tenants, state.routes) = (tenants.to_vec(), routes.to_vec());
        self.live.swap_tenants(&state.admitted(), routes);
        let share = |tenant: &Tenant| {
            let weight = NonZeroU32::new(tenant.share).unwrap_or(NonZeroU32::MIN);
            (tenant.id.clone(), Share::of(weight))
        };
        self.scheduler.set_shares(tenants.iter().map(share).collect());
    }

    /// Makes a key for a tenant; a name is made up when none is given. It opens once it is on the disk.
    pub(crate) async fn mint(
        &self,
        tenant: &TenantId,
        name: Option<String>,
        by: &str,
    ) -> Result<(Key, String), KeyFault> {
        let _turn = self.change.lock().await;
        let key = Key::mint(tenant.as_str());
        let hash = key.hash().to_string();
        let name = name.unwrap_or_else(|| format!("key-{}", &hash[..NAME_CHARS]));
        if !is_name(&name) {
            return Err(KeyFault::Name(name));
        }
        let keys = {
            let state = self.state();
            let held = state.keys_of(tenant).ok_or_else(|| KeyFault::NoTenant(tenant.clone()))?;
            if held.iter().any(|held| held.name == name) {
                return Err(KeyFault::Taken { tenant: tenant.clone(), name });
            }
            if held.len() >= MAX_KEYS {
                return Err(KeyFault::Full(tenant.clone()));
            }
            let mut keys = state.keys.clone();
            let minted = Minted { name: name.clone(), hash, by: by.into(), at_ms: now_ms() };
            keys.minted.entry(tenant.to_string()).or_default().push(minted);
            keys
        };
        self.keep(&keys).await?;
        self.apply(keys);
        Ok((key, name))
    }

    /// Revokes a key. It opens nothing any more, even when that cannot be written down.
    pub(crate) async fn revoke(&self, tenant: &TenantId, name: &str) -> Result<(), KeyFault> {
        let _turn = self.change.lock().await;
        let keys = {
            let state = self.state();
            let held = state.keys_of(tenant).ok_or_else(|| KeyFault::NoTenant(tenant.clone()))?;
            let key = held.iter().find(|held| held.name == name);
            let key = key.ok_or_else(|| KeyFault::NoKey { tenant: tenant.clone(), name: name.into() })?;
            let mut keys = state.keys.clone();
            let minted = keys.minted.entry(tenant.to_string()).or_default();
            let before = minted.len();
            let hash = key.hash.to_string();
            minted.retain(|minted| minted.hash != hash);
            if minted.len() == before {
                keys.revoked.insert(hash);
            }
            if keys.revoked.len() > MAX_REVOKED {
                return Err(KeyFault::FullOfRevoked);
            }
            keys.minted.retain(|_, minted| !minted.is_empty());
            keys
        };
        self.apply(keys.clone());
        self.keep(&keys).await.map_err(KeyFault::NotKept)
    }

    /// A tenant's keys without their hashes.
    pub(crate) fn keys(&self, tenant: &TenantId) -> Vec<KeyView> {
        let state = self.state();
        let minted = state.keys.minted.get(tenant.as_str()).map(Vec::as_slice).unwrap_or_default();
        let view = |key: ApiKey| {
            let hash = key.hash.to_string();
            let minted = minted.iter().find(|minted| minted.hash == hash);
            let (by, at_ms) = (minted.map(|minted| minted.by.clone()), minted.map(|minted| minted.at_ms));
            let source = if minted.is_some() { "minted" } else { "manifest" };
            KeyView { name: key.name, source, by, at_ms }
        };
        state.keys_of(tenant).unwrap_or_default().into_iter().map(view).collect()
    }

    fn apply(&self, keys: Keys) {
        let mut state = self.state();
        state.keys = keys;
        self.live.swap_tenants(&state.admitted(), &state.routes);
    }

    async fn keep(&self, keys: &Keys) -> Result<(), VaultError> {
        let keys = keys.clone();
        apart(&self.vault, move |vault| vault.save(DOCUMENT, &keys)).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The manifest's tenants with the keys that open now.
    fn admitted(&self) -> Vec<Tenant> {
        let with_keys = |tenant: &Tenant| {
            let keys = self.keys_of(&tenant.id).unwrap_or_default();
            Tenant { keys, ..tenant.clone() }
        };
        self.tenants.iter().map(with_keys).collect()
    }

    /// The keys that open for a tenant; `None` when the manifest names no such tenant.
    fn keys_of(&self, id: &TenantId) -> Option<Vec<ApiKey>> {
        let tenant = self.tenants.iter().find(|tenant| tenant.id == *id)?;
        let opens = |key: &&ApiKey| !self.keys.revoked.contains(&key.hash.to_string());
        let mut keys: Vec<ApiKey> = tenant.keys.iter().filter(opens).cloned().collect();
        for Minted { name, hash, .. } in self.keys.minted.get(id.as_str()).into_iter().flatten() {
            // the manifest may have taken the name since; its key is the one that people see there
            let is_free = keys.iter().all(|key| key.name != *name);
            let name = if is_free { name.clone() } else { format!("{name}.minted") };
            keys.extend(hash.parse().ok().map(|hash| ApiKey { name, hash }));
        }
        Some(keys)
    }
}
