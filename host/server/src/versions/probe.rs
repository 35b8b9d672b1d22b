//! One request that a new version must answer as the manifest says, before any client meets it.

use std::sync::Arc;

use atelier_runtime::Deployment;
use bytes::Bytes;
use http::Request;
use http::header::{HOST, USER_AGENT};
use http_body_util::{BodyExt, Empty};

use crate::config::Probe;

/// Asks, and reads the answer to its end; the error says what came instead of it.
pub(super) async fn probe(deployment: &Arc<Deployment>, probe: &Probe) -> Result<(), String> {
    let asked = tokio::time::timeout(probe.timeout, answer(deployment, probe));
    let result = asked.await.unwrap_or_else(|_| {
        Err(format!("no whole answer within {} ms (probe.timeout-ms)", probe.timeout.as_millis()))
    });
    result.map_err(|why| format!("the probe GET {} failed: {why}", probe.path))
}

async fn answer(deployment: &Arc<Deployment>, probe: &Probe) -> Result<(), String> {
    let request = Request::get(&probe.path).header(HOST, "localhost").header(USER_AGENT, "atelier-probe");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let answer = deployment.handle(request).await.map_err(|failure| failure.public())?;
    if answer.status() != probe.status {
        return Err(format!(
            "it was answered {}, not {} (probe.status)",
            answer.status(),
            probe.status.as_u16()
        ));
    }
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|failure| failure.public())?;
    }
    Ok(())
}
