//! `GET /`: whether the service can do its work, and whether Redis and S3 can be reached, to which the host copies what other programs
//! read. Without them the work goes on, so that the status is 200 all the same.

use atelier_kit::Copies;
use atelier_kit::copies::{Service, ServiceState};
use atelier_kit::http::Response;
use serde_json::json;

use crate::openapi::TITLE;

/// Answers with the health.
pub(crate) async fn answer(host: &impl Copies) -> Response {
    let services = host.services().await;
    let is_healthy = services.iter().all(|service| service.state == ServiceState::Connected);
    let waiting: u64 = services.iter().map(|service| service.waiting).sum();
    let answer = json!({
        "status": if is_healthy { "healthy" } else { "degraded" },
        "service": TITLE,
        "redis": connection(&services, "redis"),
        "s3": connection(&services, "s3"),
        "waiting": waiting,
    });
    Response::json(200, &answer).with("cache-control", "no-store")
}

/// Whether all servers of a kind can be reached. One that nobody could ask yet counts as one that cannot.
fn connection(services: &[Service], kind: &str) -> &'static str {
    let mut of_kind = services.iter().filter(|service| service.kind == kind).peekable();
    match (of_kind.peek().is_none(), of_kind.all(|service| service.state == ServiceState::Connected)) {
        (true, _) => "not configured",
        (_, true) => "connected",
        (_, false) => "disconnected",
    }
}
