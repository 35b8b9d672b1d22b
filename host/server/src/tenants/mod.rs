//! Tenants at the door: who asks, by which key, for whose route, and whether there is an allowance left. A directory is
//! made from one manifest and never edited; a reload makes another one, which takes the accounts over.
//!
//! `keys.rs` (beside this folder) reads keys, `account.rs` counts, `rate.rs` is the limiter. Nothing here waits, and
//! nothing here knows what a request is for.

mod account;
mod rate;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use atelier_inference::metrics::Labelled;
use atelier_inference::{Priority, TenantId};
use atelier_runtime::{Share, Tenant as RuntimeTenant};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::config::{Access, Quotas, Route, Tenant};
use crate::failure::Refusal;
use crate::keys::{Key, KeyHash, NoKey, PREFIX};
use crate::metrics::TenantCounts;
use account::{Account, Purse};
pub(crate) use account::{Begun, OverQuota, Usage};
pub(crate) use rate::Rate;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// All tenants of a manifest, and all keys.
pub(crate) struct Directory {
    members: BTreeMap<TenantId, Arc<Member>>,
    /// By the first bytes of their hashes.
    keys: HashMap<[u8; 8], Vec<Entry>>,
    /// On whose account requests run that belong to nobody.
    nobody: Arc<Member>,
}

/// A tenant as requests meet it.
pub(crate) struct Member {
    /// As in the manifest.
    pub(crate) tenant: Tenant,
    /// As the runtime sees it.
    pub(crate) runtime: Arc<RuntimeTenant>,
    /// What monitoring sees.
    pub(crate) counts: Arc<TenantCounts>,
    purse: Purse,
}

struct Entry {
    hash: KeyHash,
    name: Arc<str>,
    member: Arc<Member>,
}

/// Who asks.
pub(crate) struct Caller {
    /// Whose account it goes to.
    pub(crate) member: Arc<Member>,
    /// The key's name, where a key was wanted.
    pub(crate) key: Option<Arc<str>>,
    /// What is kept of that key.
    pub(crate) hash: Option<KeyHash>,
    /// Whether the route exists for this caller.
    pub(crate) may_enter: bool,
}

/// Why a key opens nothing. The log tells the reasons apart, the client does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There is none.
    Missing,
    /// There are several.
    Several,
    /// It is no key of this host's form.
    Form,
    /// It has a slip: its checksum does not fit.
    Mistyped,
    /// Nobody has it, or nobody has it any more.
    Unknown,
}

impl Denied {
    /// For the log.
    pub(crate) fn internal(self) -> &'static str {
        match self {
            Denied::Missing => "there is no key",
            Denied::Several => "there is more than one key",
            Denied::Form => "that is no key of this host",
            Denied::Mistyped => "the key is mistyped: its checksum does not fit",
            Denied::Unknown => "the key is unknown or was revoked",
        }
    }
}

impl From<NoKey> for Denied {
    fn from(why: NoKey) -> Self {
        match why {
            NoKey::Form => Denied::Form,
            NoKey::Checksum => Denied::Mistyped,
        }
    }
}

impl Directory {
    /// The tenants of a manifest with the accounts of the one before.
    pub(crate) fn new(
        tenants: &[Tenant],
        routes: &[Route],
        before: Option<&Directory>,
        counts: &Labelled<TenantCounts>,
    ) -> Self {
        let owned = |id: &TenantId| tenants.iter().any(|tenant| tenant.id == *id);
        let nobody = TenantId::default();
        let is_open = |route: &Route| route.tenant.is_none() && route.access == Access::Open;
        // nobody has a share where nobody can come from
        let extra = u32::from(!owned(&nobody) && (tenants.is_empty() || routes.iter().any(is_open)));
        let total = tenants.iter().map(|tenant| tenant.share).sum::<u32>() + extra;
        let member = |tenant: &Tenant| Arc::new(Member::new(tenant.clone(), total, before, counts));
        let members: BTreeMap<TenantId, Arc<Member>> =
            tenants.iter().map(|tenant| (tenant.id.clone(), member(tenant))).collect();
        let mut keys: HashMap<[u8; 8], Vec<Entry>> = HashMap::new();
        for member in members.values() {
            for key in &member.tenant.keys {
                let entry = Entry { hash: key.hash, name: key.name.as_str().into(), member: member.clone() };
                keys.entry(key.hash.bucket()).or_default().push(entry);
            }
        }
        let nobody = members.get(&nobody).cloned().unwrap_or_else(|| member(&unowned()));
        warn_of_closed_routes(&members, routes);
        Self { members, keys, nobody }
    }

    /// Who asks for a route. Takes the key out of the headers, so that no component ever sees one.
    pub(crate) fn admit(&self, route: &Route, headers: &mut HeaderMap) -> Result<Caller, Refusal> {
        let found = take_key(headers, route.access);
        if route.access == Access::Open {
            let member = self.of_open(route).clone();
            return Ok(Caller { member, key: None, hash: None, may_enter: true });
        }
        let entry = found.and_then(|key| self.entry(key.hash())).map_err(Refusal::Unauthorized)?;
        let may_enter = route.tenant.as_ref().is_none_or(|owner| *owner == entry.member.tenant.id);
        let (member, key) = (entry.member.clone(), Some(entry.name.clone()));
        Ok(Caller { member, key, hash: Some(entry.hash), may_enter })
    }

    /// Whether who came to a route as this tenant, by a key where one was wanted, could come again.
    pub(crate) fn still_admits(&self, route: &Route, tenant: &TenantId, key: Option<KeyHash>) -> bool {
        if route.access == Access::Open {
            return self.of_open(route).tenant.id == *tenant;
        }
        let member = key.and_then(|key| self.entry(key).ok()).map(|entry| &entry.member);
        let is_owner = route.tenant.as_ref().is_none_or(|owner| owner == tenant);
        is_owner && member.is_some_and(|member| member.tenant.id == *tenant)
    }

    /// On whose account requests to an open route run.
    fn of_open(&self, route: &Route) -> &Arc<Member> {
        route.tenant.as_ref().and_then(|owner| self.members.get(owner)).unwrap_or(&self.nobody)
    }

    /// Every tenant that is configured, and nobody.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        let nobody = (!self.members.contains_key(&self.nobody.tenant.id)).then_some(&self.nobody);
        self.members.values().chain(nobody)
    }

    /// A tenant that is configured, or nobody.
    pub(crate) fn find(&self, id: &TenantId) -> Option<&Arc<Member>> {
        self.members.get(id).or_else(|| (self.nobody.tenant.id == *id).then_some(&self.nobody))
    }

    /// The same by its name, for what the store keeps under one.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Member>> {
        self.find(&TenantId::new(name)?).cloned()
    }

    fn entry(&self, hash: KeyHash) -> Result<&Entry, Denied> {
        let bucket = self.keys.get(&hash.bucket()).ok_or(Denied::Unknown)?;
        bucket.iter().find(|entry| entry.hash == hash).ok_or(Denied::Unknown)
    }
}

impl Member {
    fn new(tenant: Tenant, total: u32, before: Option<&Directory>, counts: &Labelled<TenantCounts>) -> Self {
        let counts = counts.get(tenant.id.as_str());
        let before = before.and_then(|before| before.find(&tenant.id));
        let account = before.map(|before| before.purse.account().clone());
        let account = account.unwrap_or_else(|| Arc::new(Account::new(counts.clone())));
        let purse = Purse::new(tenant.id.clone(), tenant.quotas.clone(), account);
        let runtime = Arc::new(RuntimeTenant {
            id: tenant.id.clone(),
            share: Share { own: tenant.share, total },
            priority: tenant.priority,
            quota: Arc::new(purse.clone()),
            consumption: counts.consumption.clone(),
        });
        Self { tenant, runtime, counts, purse }
    }

    /// Lets a request begin, or says which quota it meets.
    pub(crate) fn begin(&self) -> Result<Begun, Refusal> {
        self.purse.begin().map_err(Refusal::OverQuota)
    }

    /// What it has used.
    pub(crate) fn usage(&self) -> Usage {
        self.purse.account().usage()
    }
}

/// The tenant of requests that belong to nobody, where the manifest names none of that id.
fn unowned() -> Tenant {
    Tenant {
        id: TenantId::default(),
        share: 1,
        priority: Priority::default(),
        quotas: Quotas::default(),
        keys: Vec::new(),
    }
}

/// A route that wants a key which nobody has is closed; that may be meant, and is said.
fn warn_of_closed_routes(members: &BTreeMap<TenantId, Arc<Member>>, routes: &[Route]) {
    for route in routes.iter().filter(|route| route.access == Access::Key) {
        let may = |(id, _): &(&TenantId, _)| route.tenant.as_ref().is_none_or(|owner| owner == *id);
        let mut keys = members.iter().filter(may).flat_map(|(_, member)| &member.tenant.keys);
        if keys.next().is_none() {
            tracing::warn!(route = route.name, "closed: it wants a key, and no tenant that may ask has one");
        }
    }
}

/// The one key that a request carries. Keys leave the headers whatever the route is; where a key is wanted, so does
/// everything that stands in its place.
fn take_key(headers: &mut HeaderMap, access: Access) -> Result<Key, Denied> {
    let mut found = Vec::new();
    for name in [AUTHORIZATION, API_KEY] {
        let values: Vec<HeaderValue> = headers.get_all(&name).iter().cloned().collect();
        let is_ours = |value: &HeaderValue| credential(value).is_some_and(|text| text.starts_with(PREFIX));
        if values.is_empty() || (access == Access::Open && !values.iter().any(is_ours)) {
            continue;
        }
        headers.remove(&name);
        found.extend(values);
    }
    let text = match found.as_slice() {
        [] => return Err(Denied::Missing),
        [one] => credential(one).ok_or(Denied::Form)?,
        _ => return Err(Denied::Several),
    };
    Key::parse(text).map_err(Denied::from)
}

/// What stands behind `Bearer`, or the whole value.
pub(crate) fn credential(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?.trim();
    match text.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => Some(rest.trim()),
        _ => Some(text),
    }
}

#[cfg(test)]
mod tests;
