//! A client's request on its way to a component and back: checks what the client sent, finds the route, sees who asks and
//! whether there is an allowance left, hands the request to the route's deployment, and turns every failure into an answer.
//! Nothing is allocated for a component before that. Never looks into a body.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Uri, Version};
use hyper::body::Incoming;

use crate::channels::{Reception, Visit};
use crate::client::{self, Network};
use crate::config::Server;
use crate::failure::Refusal;
use crate::http::{Access, Answer, Broken, Held, Pace, RequestBody, Service, Verdict, boxed};
use crate::live::{Live, Slot};
use crate::metrics::Counts;
use crate::router::{Found, below};
use crate::telemetry::Tracer;
use crate::tenants::Member;
use crate::versions::Watched;

const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Where clients' requests go.
#[derive(Clone)]
pub(crate) struct Edge {
    live: Arc<Live>,
    limits: HeadLimits,
    body_pace: Pace,
    trusted_proxies: Arc<[Network]>,
    counts: Arc<Counts>,
    tracer: Tracer,
    reception: Reception,
}

#[derive(Clone, Copy)]
struct HeadLimits {
    header_bytes: usize,
    max_headers: usize,
    url_bytes: usize,
}

impl Edge {
    pub(crate) fn new(live: Arc<Live>, server: &Server, tracer: Tracer, reception: Reception) -> Self {
        let &Server { header_bytes, max_headers, url_bytes, .. } = server;
        let limits = HeadLimits { header_bytes, max_headers, url_bytes };
        let (counts, body_pace) = (live.counts.clone(), Pace::of_bodies(server));
        let trusted_proxies = server.trusted_proxies.clone().into();
        Self { live, limits, body_pace, trusted_proxies, counts, tracer, reception }
    }

    async fn through(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        access: &mut Access,
    ) -> Result<Answer, Refusal> {
        let host = host(&request)?;
        check_coding(&request)?;
        let table = self.live.table();
        let slot = match table.router.find(host, request.method(), request.uri().path()) {
            Found::Route(index) => table.slots.get(index).ok_or(Refusal::NoRoute)?,
            Found::OtherMethods(allowed) => return Err(Refusal::Method(allowed)),
            Found::Nothing => return Err(Refusal::NoRoute),
        };
        access.routed(slot.tally.clone());
        let caller = table.tenants.admit(&slot.route, request.headers_mut())?;
        access.charged(&caller.member.tenant.id, caller.member.counts.clone(), caller.key.clone());
        if !caller.may_enter {
            // another tenant's route is no more than a path without one
            return Err(Refusal::NoRoute);
        }
        if slot.gate.is_closed() {
            return Err(Refusal::Closed { route: slot.route.name.clone() });
        }
        if slot.route.grants.client_address {
            client::tell(request.headers_mut(), peer, &self.trusted_proxies);
        }
        let begun = caller.member.begin()?;
        if let Some(deployed) = &slot.deployment {
            access.handed_to(deployed.deployment.component());
        }
        let request = mounted(request, &slot.route.path)?;
        if let Some(channels) = &slot.route.channels
            && let Some(kind) = channels.kind(request.uri().path())
        {
            // whoever stays is bounded there; the way in is a request like any other
            let address = client::address(request.headers(), peer.ip(), &self.trusted_proxies);
            let visit = Visit::new(slot, channels, &caller, address);
            return self.reception.receive(kind, request, visit).await;
        }
        let answer = self.hand_over(request, slot, &caller.member).await?;
        Ok(answer.map(|body| boxed(Held::new(body, begun))))
    }

    async fn hand_over(
        &self,
        request: Request<Incoming>,
        slot: &Slot,
        member: &Member,
    ) -> Result<Answer, Refusal> {
        let Some(deployed) = &slot.deployment else { return Err(not_deployed(slot)) };
        let verdict = Verdict::default();
        let request = request.map(|body| RequestBody::new(body, self.body_pace, verdict.clone()));
        let result = deployed.deployment.handle_for(&member.runtime, request).await;
        if let Some(trial) = &deployed.trial {
            trial.count(result.as_ref().err(), &deployed.deployment);
        }
        match verdict.broken() {
            Some(Broken::Stalled) => Err(Refusal::BodyStalled { limit: self.body_pace.silence }),
            Some(Broken::Slow) => Err(Refusal::BodySlow { limit: self.body_pace.bytes_per_second }),
            Some(Broken::Gone) => Err(Refusal::BadRequest("the request's body is broken or incomplete")),
            None => match &deployed.trial {
                Some(trial) => {
                    result.map(|answer| answer.map(|body| boxed(Watched::new(body, trial.clone()))))
                }
                None => result.map(|answer| answer.map(boxed)),
            }
            .map_err(Refusal::Failed),
        }
    }
}

impl Service for Edge {
    async fn answer(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let checked = self.limits.check(&request);
        let mut access = Access::begin(&mut request, peer, &self.tracer);
        access.routed(self.counts.unrouted.clone());
        let result = match checked {
            Ok(()) => self.through(request, peer, &mut access).await,
            Err(refusal) => Err(refusal),
        };
        let answer = result.unwrap_or_else(|refusal| {
            self.counts.refusals.count(refusal.code());
            access.refused(refusal.code());
            if let Some(internal) = refusal.internal() {
                let (id, code) = (access.id(), refusal.code());
                match refusal.status().is_server_error() {
                    true => tracing::error!(id, code, "{internal}"),
                    false => tracing::info!(id, code, "{internal}"),
                }
            }
            refusal.response().map(boxed)
        });
        access.finish(answer)
    }
}

impl HeadLimits {
    fn check(&self, request: &Request<Incoming>) -> Result<(), Refusal> {
        let url = request.uri().path_and_query().map_or(0, |url| url.as_str().len());
        if url > self.url_bytes {
            return Err(Refusal::Url { limit: self.url_bytes });
        }
        let headers = request.headers();
        if headers.len() > self.max_headers {
            let what = format!("there are more than {} headers (server.max-headers)", self.max_headers);
            return Err(Refusal::Headers { what });
        }
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > self.header_bytes {
            let what =
                format!("the headers are longer than {} bytes (server.header-bytes)", self.header_bytes);
            return Err(Refusal::Headers { what });
        }
        Ok(())
    }
}

/// The request as a component sees it that is mounted at `prefix`.
fn mounted<B>(mut request: Request<B>, prefix: &str) -> Result<Request<B>, Refusal> {
    // what a client says here would be believed; only the manifest knows
    request.headers_mut().remove(FORWARDED_PREFIX);
    if prefix == "/" {
        return Ok(request);
    }
    let wrong = "the path cannot be understood";
    let prefix_value = HeaderValue::from_str(prefix).map_err(|_| Refusal::BadRequest(wrong))?;
    request.headers_mut().insert(FORWARDED_PREFIX, prefix_value);
    let mut parts = request.uri().clone().into_parts();
    let target = parts.path_and_query.as_ref().map_or("/", PathAndQuery::as_str);
    let target = below(prefix, target).parse().map_err(|_| Refusal::BadRequest(wrong))?;
    parts.path_and_query = Some(target);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Refusal::BadRequest(wrong))?;
    Ok(request)
}

/// The host that the client means: the target's own, else the `host` header, of which HTTP/1.1 wants exactly one.
fn host(request: &Request<Incoming>) -> Result<Option<&str>, Refusal> {
    let mut headers = request.headers().get_all(HOST).iter();
    let header = headers.next();
    if headers.next().is_some() {
        return Err(Refusal::BadRequest("there is more than one `host` header"));
    }
    if header.is_none() && request.version() == Version::HTTP_11 {
        return Err(Refusal::BadRequest("there is no `host` header"));
    }
    let header = match header.map(|value| value.to_str()) {
        Some(Err(_)) => return Err(Refusal::BadRequest("the `host` header is not text")),
        Some(Ok(host)) => Some(host),
        None => None,
    };
    Ok(request.uri().authority().map(|authority| authority.as_str()).or(header))
}

/// Chunks are taken off on the way, anything else would reach the handler as if it were the body itself.
fn check_coding<B>(request: &Request<B>) -> Result<(), Refusal> {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    let is_plain = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if is_plain && codings.next().is_none() { Ok(()) } else { Err(Refusal::Coding) }
}

fn not_deployed(slot: &Slot) -> Refusal {
    let public =
        slot.problem.as_ref().filter(|problem| problem.is_public).map(|problem| problem.text.clone());
    Refusal::NotDeployed { route: slot.route.name.clone(), public }
}
