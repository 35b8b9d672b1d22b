//! One attempt: a plugin in a store of its own, which asks its server, and what it says. Whatever the plugin does, this ends
//! with an [`Answer`] or a [`Trouble`].

use std::pin::{Pin, pin};
use std::sync::Arc;

use atelier_inference::{Event, Preview};
use wasmtime::Store;
use wasmtime::component::Accessor;

use super::parts::{Said, follow};
use super::trouble::Trouble;
use super::wanted::Order;
use super::{Asking, Provided, Served, pictures};
use crate::Failure;
use crate::bindings::picture_provider::exports::atelier::host::provider_images;
use crate::bindings::provider::atelier::host::provider_types::Error as Reported;
use crate::bindings::provider::exports::atelier::host::provider_language;
use crate::bindings::speech_provider::exports::atelier::host::provider_speech;
use crate::drive::{Call, limited};
use crate::sandbox::{Meter, Sandbox};
use crate::stage::task;

/// What a server gave, whole.
pub(super) enum Answer {
    Reply(provider_language::End),
    /// Files, as they came.
    Pictures(Vec<Vec<u8>>, provider_images::End),
    Transcript(provider_speech::Transcript),
}

/// How an attempt ended, as the plugin says.
pub(super) type Ended = Result<Answer, Broken>;

/// Why there is no answer.
pub(super) enum Broken {
    /// The plugin says.
    Reported(Reported),
    /// It says more than so many bytes.
    TooLong(usize),
    /// It closed its stream without a word.
    Silent,
    /// It has no such interface, which was looked for when it was loaded.
    Absent,
}

impl Provided {
    /// Asks once. What is told on the way comes through `tell`, in order.
    pub(super) async fn attempt(
        &self,
        asking: &Asking,
        order: &Order,
        tell: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Answer, Trouble> {
        let mut span = asking.scope.open("provider");
        span.set("atelier.provider", || self.provider.id.as_str());
        let provider = &self.provider;
        let place = asking.host.plugin_places.enter(&asking.tenant).await;
        let _place = place.map_err(|failure| Trouble::stopped(self, &failure))?;
        let (route, tenant) = (provider.route.clone(), asking.tenant.clone());
        let meter = Meter::new(route.clone(), tenant, provider.component.clone(), span.scope());
        let call = Call { host: asking.host.clone(), route, meter: Arc::new(meter) };
        let said = Arc::<Said>::default();
        let mut run = pin!(task(run(call.clone(), provider.served.clone(), order, said.clone())));
        let mut previews = 0;
        let ended = loop {
            let ended = tokio::select! {
                biased;
                () = said.more.notified() => None,
                ended = &mut run => Some(ended),
            };
            let (text, preview) = said.take();
            if !text.is_empty() {
                tell(Event::Said { text });
            }
            // one that cannot be read is one that nobody misses
            if let Some(file) = preview
                && let Ok(pixels) = pictures::decoded(asking, &span.scope(), file).await
            {
                previews += 1;
                tell(Event::Preview(Preview { index: 0, step: previews, pixels }));
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

    fn judge(&self, ended: Result<Ended, Failure>, meter: &Meter) -> Result<Answer, Trouble> {
        match ended {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Broken::Reported(error))) => Err(Trouble::reported(self, error)),
            Ok(Err(Broken::TooLong(limit))) => {
                Err(Trouble::malformed(self, &format!("its reply has more than {limit} bytes")))
            }
            Ok(Err(Broken::Silent)) => Err(Trouble::malformed(self, "its reply broke off")),
            Ok(Err(Broken::Absent)) => Err(Trouble::malformed(self, "its plugin knows no such models")),
            Err(failure) => {
                meter.count_failure(&failure);
                let (id, code) = (meter.context().id(), failure.code());
                tracing::warn!(id, code, provider = %self.provider.id, "a provider's plugin failed: {}", failure.internal());
                Err(Trouble::stopped(self, &failure))
            }
        }
    }
}

/// Calls the plugin in a store of its own, within its limits.
fn run(
    call: Call,
    served: Served,
    order: &Order,
    said: Arc<Said>,
) -> Pin<Box<dyn Future<Output = Result<Ended, Failure>> + Send>> {
    let (store, meter) = (call.store(), call.meter.clone());
    match order {
        Order::Reply(_, request) => {
            let work = reply(store, meter, served, request.clone(), said);
            Box::pin(limited(call, work))
        }
        Order::Pictures(_, request) => {
            let work = draw(store, meter, served, request.clone(), said);
            Box::pin(limited(call, work))
        }
        Order::Transcript(_, request) => {
            Box::pin(limited(call, listen(store, meter, served, request.clone())))
        }
    }
}

async fn reply(
    mut store: Store<Sandbox>,
    meter: Arc<Meter>,
    served: Served,
    request: provider_language::Request,
    said: Arc<Said>,
) -> wasmtime::Result<Ended> {
    let Some(pre) = served.replies else { return Ok(Err(Broken::Absent)) };
    let plugin = meter.instantiate(pre.instantiate_async(&mut store)).await?;
    let run = async |accessor: &Accessor<Sandbox>| {
        let called = plugin.atelier_host_provider_language().call_chat(accessor, request).await?;
        follow(accessor, called, said).await
    };
    store.run_concurrent(run).await?
}

async fn draw(
    mut store: Store<Sandbox>,
    meter: Arc<Meter>,
    served: Served,
    request: provider_images::Request,
    said: Arc<Said>,
) -> wasmtime::Result<Ended> {
    let Some(pre) = served.pictures else { return Ok(Err(Broken::Absent)) };
    let plugin = meter.instantiate(pre.instantiate_async(&mut store)).await?;
    let run = async |accessor: &Accessor<Sandbox>| {
        let called = plugin.atelier_host_provider_images().call_generate(accessor, request).await?;
        follow(accessor, called, said).await
    };
    store.run_concurrent(run).await?
}

async fn listen(
    mut store: Store<Sandbox>,
    meter: Arc<Meter>,
    served: Served,
    request: provider_speech::Request,
) -> wasmtime::Result<Ended> {
    let Some(pre) = served.transcripts else { return Ok(Err(Broken::Absent)) };
    let plugin = meter.instantiate(pre.instantiate_async(&mut store)).await?;
    let run = async |accessor: &Accessor<Sandbox>| {
        let called = plugin.atelier_host_provider_speech().call_transcribe(accessor, request).await?;
        wasmtime::error::Ok(called.map(Answer::Transcript).map_err(Broken::Reported))
    };
    store.run_concurrent(run).await?
}
