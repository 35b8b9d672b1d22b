//! Where a picture is: an object of the container that the manifest's `[[store.copy]]` sends to S3, under the original's name; and the
//! copy's address, where there is one.

use atelier_kit::copies::{Service, ServiceState};
use atelier_kit::time::Moment;

use crate::api::Capable;

/// The container of the pictures.
pub(crate) const CONTAINER: &str = "generations";

/// How long a task waits for its copy. Longer ones come while nobody waits: the host tries until they are there.
const WAIT_MS: u32 = 15_000;

/// A picture's name: when it was asked for, and the task's id.
pub(crate) fn name(submitted_ms: u64, id: &str) -> String {
    let asked = Moment::from_unix(submitted_ms / 1_000).compact().replace('-', "_");
    format!("{asked}_{id}.png")
}

/// Where the copy of a picture is, once it is there, and whether one is still to come.
pub(crate) async fn copied(host: &impl Capable, object: &str) -> (Option<String>, bool) {
    // who knows that nobody is there does not hold up the other tasks
    let is_away = |service: &Service| service.kind == "s3" && service.state == ServiceState::Degraded;
    let wait_ms = if host.services().await.iter().any(is_away) { 0 } else { WAIT_MS };
    match host.object_copy(CONTAINER, object, wait_ms).await {
        Ok(Some(copy)) if copy.is_there => (Some(copy.url), false),
        Ok(None) => (None, false),
        // it is kept all the same, and the copy comes by itself
        Ok(Some(_)) | Err(_) => (None, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// README line: ".../generations/20250104_120530_550e8400-e29b-41d4-a716-446655440000.png".
    #[test]
    fn a_name_is_as_the_original_has_it() {
        let id = "550e8400-e29b-41d4-a716-446655440000";
        let expected = "20250104_120530_550e8400-e29b-41d4-a716-446655440000.png";
        assert_eq!(name(1_735_992_330_999, id), expected);
    }
}
