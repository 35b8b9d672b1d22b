//! What `keyvalue/` and `blobstore/` share: whose things a guest reaches, whether its route grants them, how long it waits for
//! them, and what it is told when they fail. These interfaces are synchronous: a guest that waits for the disk holds up the
//! others of its instance, as with every call of WASI 0.2.

use std::future::Future;

use atelier_store::{Error as StoreError, Owner, Storage};

use crate::sandbox::{Meter, Sandbox};

/// What a guest hears of an error that is the operator's.
const FAILED: &str = "the host's storage failed; its log says why";

/// Why a guest does not get what it named.
pub(super) enum Refused {
    /// The route does not grant it; the text names the key.
    NotGranted(String),
    /// There is no place to keep anything.
    NoStorage,
}

impl Sandbox {
    /// Where the tenant's things are for which the guest works, when its route grants this one.
    pub(super) fn place(
        &self,
        kind: &'static str,
        key: &'static str,
        granted: &[String],
        name: &str,
    ) -> Result<(Storage, Owner), Refused> {
        if !granted.iter().any(|granted| granted == name) {
            self.meter().deny("storage_not_granted");
            let route = &self.route.name;
            let text =
                format!("route `{route}` has no grant for {kind} `{name}`; add it to `{key}` of the route");
            return Err(Refused::NotGranted(text));
        }
        let storage = self.host.storage.get().ok_or(Refused::NoStorage)?;
        Ok((storage.clone(), self.owner()))
    }

    /// The tenant on whose account the guest works.
    pub(super) fn owner(&self) -> Owner {
        self.meter().owner()
    }

    /// Work that the guest waits for, under a name. It is not the guest's own time. (Borrowed for writing, like wherever a
    /// sandbox is borrowed across an await: it may change its thread, but two threads may not share it.)
    pub(super) async fn wait_for<R>(&mut self, name: &'static str, work: impl Future<Output = R>) -> R {
        let meter = self.meter().clone();
        let (_wait, _span) = (meter.wait(), meter.scope().open(name));
        work.await
    }
}

impl Refused {
    pub(super) fn into_text(self) -> String {
        match self {
            Refused::NotGranted(text) => text,
            Refused::NoStorage => FAILED.into(),
        }
    }
}

/// What a guest is told. What is the operator's goes to the log, once for each request.
pub(super) fn told(meter: &Meter, error: &StoreError) -> String {
    if error.is_operators() {
        if meter.is_first_storage_failure() {
            let (id, route) = (meter.context().id(), meter.route());
            tracing::error!(id, route, "a component's storage failed: {error}");
        }
        return FAILED.into();
    }
    if matches!(error, StoreError::Full { .. }) {
        meter.deny("stored_bytes");
    }
    error.to_string()
}
