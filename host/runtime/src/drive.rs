//! Runs a guest to its end or to its limit. The deadline is polled beside the guest's store, never by it: a guest that
//! spins, sleeps or hangs in a host call is stopped all the same, by dropping its store.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use futures::channel::oneshot;
use wasmtime::AsContextMut;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{Prepared, ProxyPre, Request, Response};

use crate::Failure;
use crate::runtime::Host;
use crate::sandbox::{Meter, Route, Sandbox};

/// Where the response goes, as soon as its head is known.
pub(crate) type Answer = oneshot::Sender<wasmtime::Result<Response>>;

/// Everything that a request runs with.
pub(crate) struct Call {
    pub(crate) host: Arc<Host>,
    pub(crate) route: Arc<Route>,
    pub(crate) meter: Arc<Meter>,
}

impl Call {
    pub(crate) fn store(&self) -> wasmtime::Store<Sandbox> {
        Sandbox::store(&self.host.engine, self.host.clone(), self.route.clone(), self.meter.clone())
    }
}

/// Lets a fresh instance handle one request and whatever it goes on doing after its response.
pub(crate) async fn serve(
    call: Call,
    pre: Arc<ProxyPre<Sandbox>>,
    request: Request,
    answer: Answer,
) -> Result<(), Failure> {
    let mut store = call.store();
    let work = async {
        let proxy = pre.instantiate_async(&mut store).await?;
        let run = store.run_concurrent(async |accessor| {
            let prepared = accessor.with(|mut store| {
                Prepared::new(store.as_context_mut(), &proxy, request, Sandbox::http, answer)
            })?;
            prepared.run(accessor, pending()).await?;
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            wasmtime::error::Ok(())
        });
        run.await?
    };
    limited(&call.meter, work).await
}

/// Polls a guest's work in slices that its meter counts, until it ends or its deadline comes.
pub(crate) async fn limited<R>(
    meter: &Meter,
    work: impl Future<Output = wasmtime::Result<R>>,
) -> Result<R, Failure> {
    let mut work = pin!(work);
    let sliced = poll_fn(|cx| {
        let _slice = meter.slice();
        work.as_mut().poll(cx)
    });
    tokio::select! {
        biased;
        result = sliced => result.map_err(|error| meter.judge(&error)),
        failure = meter.deadline() => Err(failure),
    }
}
