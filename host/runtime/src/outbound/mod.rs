//! Requests that guests send: only to granted servers, only to addresses that these may have, so many and so much, with
//! the route's patience at most. The host follows no redirects; a guest that does so comes through here with each hop.
//!
//! `origin.rs` names servers, `address.rs` judges addresses, `network.rs` resolves and connects, `exchange.rs` speaks
//! HTTP, `tally.rs` counts, `refusal.rs` says why not. Messages of the host's own, which webhooks wait for, go the same way
//! (`post.rs`).

mod address;
mod exchange;
mod network;
mod origin;
mod post;
mod refusal;
mod tally;

use std::sync::Arc;

use http::{Method, Uri};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::metrics::count;
use crate::runtime::Host;
use crate::sandbox::{Meter, Route};

use exchange::{Patience, Sent};
pub(crate) use network::Network;
use network::Trust;
pub use origin::{Origin, OriginError};
pub use post::{Answered, Post, PostError};
use refusal::{Failed, Refusal};
use tally::Tally;

/// Longest part of a server's name that the log repeats.
const SHOWN_CHARS: usize = 200;

/// The hook through which every request of a guest goes, of `wasi:http` 0.2 and 0.3 alike.
pub(crate) struct Outbound {
    host: Arc<Host>,
    route: Arc<Route>,
    meter: Arc<Meter>,
    /// Made with the first request: most guests send none.
    tally: Option<Arc<Tally>>,
}

impl Outbound {
    pub(crate) fn new(host: Arc<Host>, route: Arc<Route>, meter: Arc<Meter>) -> Self {
        Self { host, route, meter, tally: None }
    }

    fn tally(&mut self) -> Arc<Tally> {
        let route = &self.route;
        let context = self.meter.scope().context();
        let make = || Tally::new(route.name.clone(), route.metrics.clone(), context.clone(), &route.limits);
        let make = || Arc::new(make());
        self.tally.get_or_insert_with(make).clone()
    }

    /// Where a request may go, as far as it can be told without resolving a name.
    fn admit(&self, method: &Method, uri: &Uri) -> Result<(Origin, Trust), Refusal> {
        if *method == Method::CONNECT {
            return Err(Refusal::Tunnel);
        }
        if uri.path_and_query().is_some_and(|path| !path.as_str().starts_with('/')) {
            return Err(Refusal::Path);
        }
        let origin = Origin::of(uri);
        let trusted = origin.and_then(|origin| Some((self.trust(&origin)?, origin)));
        trusted.map(|(trust, origin)| (origin, trust)).ok_or_else(|| Refusal::NotGranted(shown(uri)))
    }

    fn trust(&self, origin: &Origin) -> Option<Trust> {
        let grants = &self.route.grants;
        if !grants.outbound_private.contains(origin) && !grants.outbound.contains(origin) {
            return None;
        }
        Some(match origin.host {
            origin::Host::Address(_) => Trust::Literal,
            origin::Host::Name(_) if grants.outbound_private.contains(origin) => Trust::Private,
            origin::Host::Name(_) => Trust::Public,
        })
    }
}

fn shown(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let server = uri.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{server}").chars().take(SHOWN_CHARS).collect()
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        mut request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let tally = self.tally();
        let admitted = tally.begin().and_then(|()| self.admit(request.method(), request.uri()));
        let patience = Patience::new(options, &self.route.limits);
        let (host, meter) = (self.host.clone(), self.meter.clone());
        let mut span = meter.scope().open_client("outbound");
        span.set("http.request.method", || request.method().as_str());
        // whatever the guest says of it: the server learns which request of ours it answers
        span.scope().write(request.headers_mut());
        let request_of = meter.clone();
        let sent = async move {
            let metrics = host.metrics.clone();
            count(&metrics.outbound_requests);
            let work = async {
                let (origin, trust) = admitted?;
                span.set("server.address", || origin.authority());
                exchanged(&host.network, &origin, trust, request, patience, tally.clone(), meter).await
            };
            let sent = work.await;
            match &sent {
                Ok((answer, _)) => {
                    span.set("http.response.status_code", || u64::from(answer.status().as_u16()));
                }
                Err(Failed::Refused(refusal)) => span.fail(refusal.kind()),
                Err(Failed::Broken(_)) => span.fail("broken"),
            }
            sent.map_err(|failed| match failed {
                Failed::Refused(refusal) => {
                    count(&metrics.outbound_refused);
                    tally.refuse(&refusal);
                    refusal.error()
                }
                Failed::Broken(error) => error,
            })
        };
        Box::new(async move { request_of.while_wanted(sent).await })
    }
}

async fn exchanged(
    network: &Network,
    origin: &Origin,
    trust: Trust,
    mut request: http::Request<WasiBody>,
    patience: Patience,
    tally: Arc<Tally>,
    meter: Arc<Meter>,
) -> Result<Sent, Failed> {
    // waiting for a server is not the guest's own time
    let _wait = meter.wait();
    exchange::address(&mut request, &origin.authority())?;
    let stream = network.connect(origin, trust, patience.connect).await?;
    Ok(exchange::send(stream, request, patience, tally, meter).await?)
}
