//! How a background job reads to those who look at it from elsewhere: as its component says (`job-view`), in a store of its own on
//! the account of the job's tenant, or else as the host does. Who is told, and when, is the server's affair.

use std::sync::Arc;

use atelier_store::JobStatus;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::bindings::jobs::{Standing, State};
use crate::bindings::viewer::ViewerPre;
use crate::capabilities::standing;
use crate::context::{RequestContext, Scope};
use crate::drive::{Call, limited};
use crate::in_flight::InFlight;
use crate::sandbox::{Meter, Sandbox};
use crate::stage::task;
use crate::{Deployment, Failure, Tenant};

/// Longest text of how a job reads.
const VIEW_BYTES: usize = 65_536;

impl Deployment {
    /// How a job of this tenant at this route reads elsewhere: a JSON object of at most 64 KiB. What a component says that is none,
    /// or how it failed to say anything, is in the log, and the host says it instead.
    pub async fn describe(self: &Arc<Self>, tenant: &Arc<Tenant>, status: JobStatus) -> String {
        let standing = standing(&self.route, status);
        let Some(viewer) = self.viewer.clone() else { return plain(&standing) };
        let why = match self.described(viewer, tenant, standing.clone()).await {
            Ok(Ok(text)) if is_view(&text) => return text,
            Ok(Ok(text)) => format!("{} bytes that are no JSON object of {VIEW_BYTES} at most", text.len()),
            Ok(Err(why)) => why,
            Err(failure) => {
                self.count_failure(&failure);
                failure.internal()
            }
        };
        tracing::warn!(
            id = standing.id,
            route = self.route(),
            "how a job reads is not said (job-view): {why}"
        );
        plain(&standing)
    }

    /// Lets the component say it, within the limits of a request.
    async fn described(
        self: &Arc<Self>,
        viewer: ViewerPre<Sandbox>,
        tenant: &Arc<Tenant>,
        standing: Standing,
    ) -> Result<Result<String, String>, Failure> {
        let scope = Scope::of(RequestContext::new(&standing.id, None));
        let place = self.place(tenant, &scope).await;
        let mut span = scope.open("job.view");
        span.set("atelier.component", || self.component().as_ref());
        let meter = Meter::new(self.route.clone(), tenant.clone(), self.metrics.clone(), span.scope());
        let call = Call { host: self.host.clone(), route: self.route.clone(), meter: Arc::new(meter) };
        let counted = InFlight::new(self.clone());
        let work = async move {
            let (mut store, instance) = (call.store(), call.meter.clone());
            let work = async move {
                let viewer = instance.instantiate(viewer.instantiate_async(&mut store)).await?;
                let say = async |accessor: &_| {
                    viewer.atelier_host_job_view().call_describe(accessor, standing).await
                };
                store.run_concurrent(say).await?
            };
            let result = limited(call, work).await;
            span.settle(&result);
            drop((place, counted));
            result
        };
        task(work).await
    }
}

fn is_view(text: &str) -> bool {
    text.len() <= VIEW_BYTES && serde_json::from_str::<Map<String, Value>>(text).is_ok()
}

/// A job's fields as they are. A result that leaves no room for the rest is named by its length.
fn plain(standing: &Standing) -> String {
    let text = standing.result.as_deref().and_then(|result| std::str::from_utf8(result).ok());
    let mut view = json!({
        "id": standing.id,
        "kind": standing.kind,
        "state": name(standing.state),
        "progress": standing.progress,
        "message": standing.message,
        "cached": standing.cached,
        "result": text,
        "error": standing.error,
        "attempts": standing.attempts,
        "position": standing.position,
        "eta_seconds": standing.eta_seconds,
        "submitted": standing.submitted,
        "started": standing.started,
        "ended": standing.ended,
    });
    let Some(result) = &standing.result else { return view.to_string() };
    if result.len() <= VIEW_BYTES {
        let mut whole = view.clone();
        if text.is_none() {
            whole["result_base64"] = STANDARD.encode(result).into();
        }
        let whole = whole.to_string();
        if whole.len() <= VIEW_BYTES {
            return whole;
        }
    }
    view["result"] = Value::Null;
    view["result_bytes"] = result.len().into();
    view.to_string()
}

fn name(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Processing => "processing",
        State::Completed => "completed",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(result: Vec<u8>) -> Value {
        let standing = Standing {
            id: "1".into(),
            kind: "paint".into(),
            state: State::Completed,
            progress: 100,
            message: "\u{1}".repeat(1_024),
            cached: false,
            result: Some(result),
            error: Some("\u{1}".repeat(4_096)),
            attempts: 1,
            position: None,
            eta_seconds: None,
            submitted: 1,
            started: Some(2),
            ended: Some(3),
        };
        let text = plain(&standing);
        assert!(is_view(&text), "{} bytes", text.len());
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_result_is_text_where_it_is_and_base64_where_it_is_not() {
        let text = made(b"https://example.com/1.png".to_vec());
        assert_eq!(text["result"], "https://example.com/1.png");
        assert_eq!((&text["state"], &text["ended"]), (&"completed".into(), &3.into()));
        assert!(text.get("result_base64").is_none() && text.get("result_bytes").is_none());
        let bytes = made(vec![0xff, 0xd8]);
        assert_eq!((&bytes["result"], &bytes["result_base64"]), (&Value::Null, &"/9g=".into()));
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_length() {
        for result in [vec![1; 40_000], vec![0xff; 65_536], vec![b'x'; 1_048_576]] {
            let (bytes, view) = (result.len(), made(result));
            assert_eq!((&view["result"], &view["result_bytes"]), (&Value::Null, &bytes.into()));
            assert!(view.get("result_base64").is_none());
        }
    }

    #[test]
    fn only_an_object_of_so_many_bytes_is_a_view() {
        for text in ["{}", " {\"a\": [1]}\n"] {
            assert!(is_view(text), "{text}");
        }
        for text in ["", "[]", "null", "\"{}\"", "{", "{}{}", "{\"a\": 01}"] {
            assert!(!is_view(text), "{text}");
        }
        let padded = |bytes: usize| format!("{{{}}}", " ".repeat(bytes - 2));
        assert!(is_view(&padded(VIEW_BYTES)) && !is_view(&padded(VIEW_BYTES + 1)));
    }
}
