//! One attempt: a plugin in a store of its own, which asks its server, and what it says. Whatever the plugin does, this ends
//! with an end or a [`Trouble`].

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use atelier_inference::ProvidedOrder;
use tokio::sync::{Notify, oneshot};
use wasmtime::StoreContextMut;
use wasmtime::component::{Source, StreamConsumer, StreamResult};

use super::trouble::Trouble;
use super::{Asking, Provided, convert};
use crate::Failure;
use crate::bindings::provider::ProviderPre;
use crate::bindings::provider::exports::atelier::host::provider_language as wit;
use crate::drive::{Call, limited};
use crate::sandbox::{Meter, Sandbox};
use crate::stage::task;

/// Longest reply in bytes: more than the longest context that is sold.
const MAX_REPLY_BYTES: usize = 4 << 20;
/// Parts that are taken over at a time.
const PARTS: usize = 64;

/// How a reply ended, as the plugin says.
type Ended = Result<wit::End, Broken>;

/// Why it did not.
enum Broken {
    /// The plugin says.
    Reported(wit::Error),
    /// It says too much.
    TooLong,
    /// It closed its stream without a word.
    Silent,
}

impl Provided {
    /// Asks once. What is said comes through `tell`, in order.
    pub(super) async fn attempt(
        &self,
        asking: &Asking,
        order: &ProvidedOrder,
        tell: &mut (dyn FnMut(String) + Send),
    ) -> Result<wit::End, Trouble> {
        let mut span = asking.scope.open("provider");
        span.set("atelier.provider", || self.provider.id.as_str());
        let provider = &self.provider;
        let place = asking.host.plugin_places.enter(&asking.tenant).await;
        let _place = place.map_err(|failure| Trouble::stopped(self, &failure))?;
        let (route, tenant) = (provider.route.clone(), asking.tenant.clone());
        let meter = Meter::new(route.clone(), tenant, provider.component.clone(), span.scope());
        let call = Call { host: asking.host.clone(), route, meter: Arc::new(meter) };
        let said = Arc::<Said>::default();
        let request = convert::request(order, &self.name);
        let mut run = pin!(task(run(call.clone(), provider.pre.clone(), request, said.clone())));
        let ended = loop {
            let ended = tokio::select! {
                biased;
                () = said.more.notified() => None,
                ended = &mut run => Some(ended),
            };
            let text = said.take();
            if !text.is_empty() {
                tell(text);
            }
            if let Some(ended) = ended {
                break ended;
            }
        };
        let ended = self.judge(ended, &call.meter);
        if let Err(trouble) = &ended {
            span.fail(trouble.kind);
        }
        ended
    }

    fn judge(&self, ended: Result<Ended, Failure>, meter: &Meter) -> Result<wit::End, Trouble> {
        match ended {
            Ok(Ok(end)) => Ok(end),
            Ok(Err(Broken::Reported(error))) => Err(Trouble::reported(self, error)),
            Ok(Err(Broken::TooLong)) => {
                Err(Trouble::malformed(self, &format!("its reply has more than {MAX_REPLY_BYTES} bytes")))
            }
            Ok(Err(Broken::Silent)) => Err(Trouble::malformed(self, "its reply broke off")),
            Err(failure) => {
                meter.count_failure(&failure);
                let (id, code) = (meter.context().id(), failure.code());
                tracing::warn!(id, code, provider = %self.provider.id, "a provider's plugin failed: {}", failure.internal());
                Err(Trouble::stopped(self, &failure))
            }
        }
    }
}

async fn run(
    call: Call,
    pre: ProviderPre<Sandbox>,
    request: wit::Request,
    said: Arc<Said>,
) -> Result<Ended, Failure> {
    let (mut store, meter) = (call.store(), call.meter.clone());
    let work = async move {
        let plugin = meter.instantiate(pre.instantiate_async(&mut store)).await?;
        let run = async |accessor: &wasmtime::component::Accessor<Sandbox>| {
            let chat = plugin.atelier_host_provider_language().call_chat(accessor, request);
            let stream = match chat.await? {
                Ok(stream) => stream,
                Err(error) => return wasmtime::error::Ok(Err(Broken::Reported(error))),
            };
            let (ended, end) = oneshot::channel();
            let parts = Parts { said, bytes: 0, ended: Some(ended) };
            accessor.with(|store| stream.pipe(store, parts))?;
            Ok(end.await.unwrap_or(Err(Broken::Silent)))
        };
        store.run_concurrent(run).await?
    };
    limited(call, work).await
}

/// Text of a reply that waits to be told: no more than a reply may have.
#[derive(Default)]
struct Said {
    text: Mutex<String>,
    more: Notify,
}

impl Said {
    fn add(&self, text: &str) {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        self.more.notify_one();
    }

    fn take(&self) -> String {
        std::mem::take(&mut self.text.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes a reply's parts over.
struct Parts {
    said: Arc<Said>,
    bytes: usize,
    ended: Option<oneshot::Sender<Ended>>,
}

impl Parts {
    /// Whether more is wanted.
    fn take(&mut self, part: wit::Part) -> bool {
        let ended = match part {
            wit::Part::Said(text) => {
                self.bytes = self.bytes.saturating_add(text.len());
                if self.bytes <= MAX_REPLY_BYTES {
                    self.said.add(&text);
                    return true;
                }
                Err(Broken::TooLong)
            }
            wit::Part::End(end) => Ok(end),
            wit::Part::Failed(error) => Err(Broken::Reported(error)),
        };
        if let Some(sender) = self.ended.take() {
            drop(sender.send(ended));
        }
        false
    }
}

impl StreamConsumer<Sandbox> for Parts {
    type Item = wit::Part;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, Sandbox>,
        mut source: Source<'_, wit::Part>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut parts = Vec::with_capacity(PARTS);
        source.read(store, &mut parts)?;
        if parts.is_empty() && finish {
            return Poll::Ready(Ok(StreamResult::Cancelled));
        }
        let is_wanted = parts.into_iter().all(|part| self.take(part));
        Poll::Ready(Ok(if is_wanted { StreamResult::Completed } else { StreamResult::Dropped }))
    }
}
