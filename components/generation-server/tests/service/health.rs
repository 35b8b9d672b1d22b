//! `GET /`: how Redis and S3 fare.

use atelier_kit::copies::{Service, ServiceState};
use atelier_kit::fake::Script;
use serde_json::{Value, json};

use crate::{flux, read};

fn service(kind: &str, state: ServiceState) -> Service {
    Service { id: kind.into(), kind: kind.into(), state, waiting: 2, reason: None }
}

fn health(services: Vec<Service>) -> Value {
    let (status, answer) = read(&Script { services, ..flux() }.host(), "/");
    assert_eq!(status, 200);
    answer
}

/// README line: "Returns server status and Redis connection status."
#[test]
fn the_health_says_whether_redis_is_connected() {
    use ServiceState::{Connected, Degraded, Unknown};
    let expected = json!({
        "status": "healthy", "service": "Image/Video Generation Server", "redis": "connected", "s3": "connected",
        "waiting": 4
    });
    assert_eq!(health(vec![service("redis", Connected), service("s3", Connected)]), expected);
    for (redis, s3, words) in [
        (Degraded, Connected, ["degraded", "disconnected", "connected"]),
        (Connected, Degraded, ["degraded", "connected", "disconnected"]),
        (Unknown, Connected, ["degraded", "disconnected", "connected"]),
    ] {
        let found = health(vec![service("redis", redis), service("s3", s3)]);
        assert_eq!([&found["status"], &found["redis"], &found["s3"]], words, "{found}");
    }
}

#[test]
fn what_is_not_configured_is_no_fault() {
    let found = health(Vec::new());
    assert_eq!(
        [&found["status"], &found["redis"], &found["s3"]],
        ["healthy", "not configured", "not configured"]
    );
}
