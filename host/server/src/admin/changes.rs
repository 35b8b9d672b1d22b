//! What operators change. Each answers with what is so afterwards, or with why nothing changed.

use atelier_inference::{ModelId, TenantId};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::View;
use super::fault::Fault;
use super::operations::{Asked, Call};
use crate::http::{RequestBody, Verdict};
use crate::signing::{SIGNATURE_HEADER, Signature};
use crate::versions::{Place, Target, Upload};

const WASM: &str = "application/wasm";
const PLACES: &str = "component, intent, style.0, select, finish.0 and so on";
const TARGETS: &str = "previous, manifest or a version's number";

/// A request's body.
pub(super) struct Given {
    bytes: Bytes,
    /// Of an upload, if it has one.
    signature: Option<Signature>,
    /// Given back when the component serves or was refused: until then it is in memory.
    _place: Option<OwnedSemaphorePermit>,
}

impl View {
    /// The request's body: a component for an upload, nothing for everything else. Read at most as far as the route's
    /// limit, and by few at a time.
    pub(super) async fn body(&self, asked: &Asked, request: Request<Incoming>) -> Result<Given, Fault> {
        if asked.operation.call != Call::Upload {
            let nothing = Given { bytes: Bytes::new(), signature: None, _place: None };
            return if request.body().is_end_stream() { Ok(nothing) } else { Err(Fault::Body) };
        }
        let route = asked.segment("route");
        let slot = self.slot(route).ok_or_else(|| crate::versions::Fault::NoRoute(route.to_owned()))?;
        if request.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != WASM) {
            return Err(Fault::ContentType);
        }
        let signature = signature(request.headers())?;
        let limit = crate::deploy::limits(&slot.wanted.limits).component_bytes;
        let too_large = || Fault::TooLarge { route: route.to_owned(), limit };
        let length =
            request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > limit as u64) {
            return Err(too_large());
        }
        let _place = Some(self.uploads.clone().try_acquire_owned().map_err(|_| Fault::Busy)?);
        let verdict = Verdict::default();
        let body = RequestBody::new(request.into_body(), self.body_pace, verdict.clone());
        match Limited::new(body, limit).collect().await {
            Ok(whole) => Ok(Given { bytes: whole.to_bytes(), signature, _place }),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(_) => Err(Fault::Upload(verdict.broken().unwrap_or(crate::http::Broken::Gone))),
        }
    }

    /// Does what is asked for, on behalf of `by`.
    pub(super) async fn change(&self, asked: &Asked, body: Given, by: &str) -> Result<Value, Fault> {
        let route = asked.segment("route");
        match asked.operation.call {
            Call::Upload => {
                let place: Place = asked.parsed("place", PLACES)?;
                let promote: bool = asked.parsed("promote", "true or false")?;
                let (bytes, signature) = (body.bytes.clone(), body.signature);
                let upload = Upload { place, bytes, signature, by: by.into(), promote };
                Ok(json!(self.versions.upload(route, upload).await?))
            }
            Call::Promote => {
                let text = asked.segment("version");
                let version = text.parse().map_err(|_| {
                    Fault::Parameter(format!("a version is named by its number, not by `{text}`"))
                })?;
                Ok(json!(self.versions.promote(route, version).await?))
            }
            Call::Rollback => {
                let target: Target = asked.parsed("to", TARGETS)?;
                Ok(json!(self.versions.rollback(route, target, by).await?))
            }
            Call::Drain | Call::Resume => {
                self.versions.set_closed(route, asked.operation.call == Call::Drain).await?;
                self.route(route)
            }
            Call::MintKey => {
                let (tenant, name) = (tenant(asked)?, asked.given("name").map(str::to_owned));
                let (key, name) = self.roster.mint(&tenant, name, by).await?;
                Ok(json!({ "tenant": tenant, "name": name, "key": key.reveal() }))
            }
            Call::RevokeKey => {
                let (tenant, name) = (tenant(asked)?, asked.segment("key"));
                self.roster.revoke(&tenant, name).await?;
                Ok(json!({ "tenant": tenant, "name": name, "revoked": true }))
            }
            Call::LoadModel | Call::UnloadModel | Call::PinModel | Call::UnpinModel => {
                self.change_model(asked.operation.call, asked.segment("model")).await
            }
            Call::CancelJob => {
                let job = asked.segment("job");
                match self.scheduler.cancel(job, None) {
                    true => Ok(json!({ "id": job, "cancelled": true })),
                    false => Err(Fault::NoJob(job.to_owned())),
                }
            }
            _ => Err(Fault::Internal),
        }
    }

    /// The model as it is then. Until the process ends: after that the manifest's `pin` and `preload` count again.
    async fn change_model(&self, call: Call, id: &str) -> Result<Value, Fault> {
        let model = ModelId::new(id);
        if let Some((_, fix)) = self.missing.iter().find(|(missing, _)| *missing == model) {
            return Err(Fault::MissingModel { id: id.to_owned(), fix: fix.clone() });
        }
        match call {
            Call::LoadModel => self.scheduler.load(&model).await?,
            Call::UnloadModel => self.scheduler.unload(&model).await?,
            Call::PinModel => self.scheduler.pin(&model)?,
            Call::UnpinModel => self.scheduler.unpin(&model)?,
            _ => return Err(Fault::Internal),
        }
        self.model(id)
    }
}

/// The signature that an upload brings, if it does.
fn signature(headers: &HeaderMap) -> Result<Option<Signature>, Fault> {
    let mut given = headers.get_all(SIGNATURE_HEADER).iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(None),
        (Some(text), None) => {
            let text = text.to_str().map_err(|_| Fault::Signature("is not base64"))?;
            text.parse().map(Some).map_err(Fault::Signature)
        }
        (Some(_), Some(_)) => Err(Fault::Signature("is given twice")),
    }
}

fn tenant(asked: &Asked) -> Result<TenantId, Fault> {
    let id = asked.segment("tenant");
    TenantId::new(id).ok_or_else(|| Fault::NoTenant(id.to_owned()))
}
