//! [`Copies`] on the bindings.

use super::Granted;
use crate::bindings::atelier::host::copies;
use crate::copies::{Copies, CopyError, ObjectCopy, Service, ServiceState};

impl Copies for Granted {
    async fn services(&self) -> Vec<Service> {
        let service = |found: copies::Service| Service {
            id: found.id,
            kind: found.kind,
            state: match found.state {
                copies::ServiceState::Unknown => ServiceState::Unknown,
                copies::ServiceState::Connected => ServiceState::Connected,
                copies::ServiceState::Degraded => ServiceState::Degraded,
            },
            waiting: found.waiting,
            reason: found.reason,
        };
        copies::services().await.into_iter().map(service).collect()
    }

    async fn object_copy(
        &self,
        container: &str,
        name: &str,
        wait_ms: u32,
    ) -> Result<Option<ObjectCopy>, CopyError> {
        let found = copies::object(container.to_owned(), name.to_owned(), wait_ms).await.map_err(error)?;
        Ok(found.map(|copy| ObjectCopy { url: copy.url, is_there: copy.is_there }))
    }
}

fn error(error: copies::Error) -> CopyError {
    match error {
        copies::Error::AccessDenied(text) => CopyError::Denied(text),
        copies::Error::NotFound => CopyError::NotFound,
        copies::Error::Invalid(text) | copies::Error::Failed(text) => CopyError::Failed(text),
    }
}
