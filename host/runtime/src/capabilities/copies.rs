//! `copies`: what other programs may read of what the tenant keeps, and how their servers fare. Who copies is the store's and the
//! server's affair; a guest looks.

use std::time::Duration;

use atelier_store::{Error as StoreError, ServiceState as State, ServiceStatus};
use wasmtime::Result;

use super::storage::told;
use super::{Access, Capabilities, caller};
use crate::bindings::copies::{Error, Host, HostWithStore, ObjectCopy, Service, ServiceState};
use crate::sandbox::Sandbox;
use crate::stage::Caller;

/// Longest that a guest waits for one copy, in milliseconds.
const MOST_WAIT: u32 = 60_000;

impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn services(access: &Access) -> Result<Vec<Service>> {
        let caller = caller(access).await;
        // granted, or the handler had not been loaded
        let Some(storage) = caller.host.storage.get() else { return Ok(Vec::new()) };
        let (_wait, _span) = (caller.meter.wait(), caller.meter.scope().open("copies.services"));
        let copies = storage.copies();
        let services = caller.meter.while_wanted(copies.fare(&caller.route.grants.copies)).await;
        Ok(services.into_iter().map(seen).collect())
    }

    async fn object(
        access: &Access,
        container: String,
        name: String,
        wait_ms: u32,
    ) -> Result<std::result::Result<Option<ObjectCopy>, Error>> {
        if wait_ms > MOST_WAIT {
            return Ok(Err(Error::Invalid(format!("`wait-ms` is 0 to {MOST_WAIT}, not {wait_ms}"))));
        }
        let caller = caller(access).await;
        let wait = Duration::from_millis(wait_ms.into());
        Ok(caller.meter.while_wanted(find(&caller, &container, &name, wait)).await)
    }
}

/// Where the copy of an object is, if its container is granted.
async fn find(
    caller: &Caller,
    container: &str,
    name: &str,
    wait: Duration,
) -> std::result::Result<Option<ObjectCopy>, Error> {
    let grants = &caller.route.grants;
    if !grants.containers.iter().any(|granted| granted == container) {
        caller.meter.deny("storage_not_granted");
        let text = format!(
            "route `{}` has no grant for container `{container}`; add it to `grants.containers` of the route",
            caller.route.name
        );
        return Err(Error::AccessDenied(text));
    }
    let Some(storage) = caller.host.storage.get() else {
        return Err(Error::Failed("there is no place to keep anything (store.data-dir)".into()));
    };
    let (_wait, _span) = (caller.meter.wait(), caller.meter.scope().open("copies.object"));
    let owner = caller.meter.owner();
    match storage.copies().object(&owner, container, name, &grants.copies, wait).await {
        Ok(copy) => Ok(copy.map(|copy| ObjectCopy { url: copy.url, is_there: copy.is_there })),
        Err(StoreError::NoObject { .. }) => Err(Error::NotFound),
        Err(error) => Err(Error::Failed(told(&caller.meter, &error))),
    }
}

fn seen(status: ServiceStatus) -> Service {
    Service {
        id: status.id,
        kind: status.kind.to_owned(),
        state: match status.state {
            State::Unknown => ServiceState::Unknown,
            State::Connected => ServiceState::Connected,
            State::Degraded => ServiceState::Degraded,
        },
        waiting: status.waiting,
        reason: status.reason,
    }
}
