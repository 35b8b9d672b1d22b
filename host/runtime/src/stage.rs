//! Plugins at work: each call gets a store of its own, its own CPU time and memory, and what is left of the caller's time.
//! It runs as a task of its own, so that its computing is neither charged to the handler nor able to hold the handler up. Whatever a
//! plugin does wrong becomes a value for the handler.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::Failure;
use crate::bindings::finisher::exports::atelier::host::finish;
use crate::bindings::interpreter::exports::atelier::host::intent;
use crate::bindings::selector::exports::atelier::host::select;
use crate::bindings::styler::exports::atelier::host::style;
use crate::bindings::{
    finisher::FinisherPre, interpreter::InterpreterPre, selector::SelectorPre, styler::StylerPre, types,
};
use crate::capabilities::Image;
use crate::compute::Stop;
use crate::context::OpenSpan;
use crate::drive::{Call, limited};
use crate::metrics::{ComponentMetrics, count};
use crate::runtime::Host;
use crate::sandbox::{Meter, Route, Sandbox};

/// A linked plugin.
pub(crate) struct Plugin<P> {
    who: Arc<Who>,
    pre: P,
}

/// The names that people know a plugin by, and where it is counted.
struct Who {
    /// As in the manifest, for operators: their disk's folders are nobody else's business.
    name: String,
    /// What clients may read: of a path the file's name alone.
    shown: String,
    metrics: Arc<ComponentMetrics>,
}

impl<P> Plugin<P> {
    pub(crate) fn new(name: &str, pre: P, metrics: Arc<ComponentMetrics>) -> Arc<Self> {
        let who = Who { name: name.into(), shown: shown(name).into(), metrics };
        Arc::new(Self { who: Arc::new(who), pre })
    }

    /// The name that clients may read.
    pub(crate) fn shown(&self) -> &str {
        &self.who.shown
    }

    /// What a handler may tell its client about a plugin that failed.
    pub(crate) fn broken(&self, failure: &Failure) -> String {
        self.who.broken(failure)
    }
}

impl Who {
    fn broken(&self, failure: &Failure) -> String {
        let name = &self.shown;
        match failure {
            Failure::Cpu { limit, .. } => {
                format!(
                    "the plugin `{name}` used more than its CPU time of {} ms (limits.cpu-ms)",
                    limit.as_millis()
                )
            }
            Failure::Wall { .. } => format!("the plugin `{name}` did not finish in time (limits.wall-ms)"),
            Failure::CapabilityWait { .. } => {
                format!("the plugin `{name}` waited too long for the host (limits.capability-wait-ms)")
            }
            Failure::Memory { limit, .. } => {
                format!("the plugin `{name}` needed more than {limit} bytes of memory (limits.memory-bytes)")
            }
            Failure::Resource { what, limit, key, .. } => {
                format!("the plugin `{name}` needed more than {limit} {what} ({key})")
            }
            Failure::Saturated { .. } | Failure::Share { .. } => {
                format!("the plugin `{name}` had no turn: too many others wait")
            }
            _ => format!("the plugin `{name}` stopped with an error"),
        }
    }

    /// The same for the log, with what the plugin or wasmtime said.
    fn broken_in_full(&self, failure: &Failure) -> String {
        let broken = self.broken(failure);
        match failure.detail() {
            Some(detail) => format!("{broken}: {detail}"),
            None => broken,
        }
    }
}

/// What of a plugin's name is for clients. Names of builtins and uploads have no folders and stay as they are.
fn shown(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// A route's plugins by stage, in order.
#[derive(Default)]
pub(crate) struct Stages {
    pub(crate) intent: Option<Arc<Plugin<InterpreterPre<Sandbox>>>>,
    pub(crate) style: Vec<Arc<Plugin<StylerPre<Sandbox>>>>,
    pub(crate) select: Option<Arc<Plugin<SelectorPre<Sandbox>>>>,
    pub(crate) finish: Vec<Arc<Plugin<FinisherPre<Sandbox>>>>,
}

/// On whose behalf a plugin is called.
pub(crate) struct Caller {
    pub(crate) host: Arc<Host>,
    pub(crate) route: Arc<Route>,
    pub(crate) meter: Arc<Meter>,
}

impl Caller {
    /// What a plugin runs with, and the span of that.
    fn begin<P>(&self, plugin: &Plugin<P>, stage: &'static str) -> (Call, OpenSpan) {
        let mut span = self.meter.scope().open(stage);
        span.set("atelier.plugin", || plugin.who.name.as_str());
        let meter = Arc::new(self.meter.child(plugin.who.metrics.clone(), span.scope()));
        (Call { host: self.host.clone(), route: self.route.clone(), meter }, span)
    }

    /// Says what a command asks for.
    pub(crate) async fn interpret(
        &self,
        plugin: &Arc<Plugin<InterpreterPre<Sandbox>>>,
        command: String,
    ) -> Result<Result<intent::Intention, intent::Error>, Failure> {
        let (call, span) = self.begin(plugin, "plugin.intent");
        let plugin = plugin.clone();
        self.apart(span, plugin.who.clone(), async move {
            let (mut store, meter) = (call.store(), call.meter.clone());
            let work = async move {
                let interpreter = meter.instantiate(plugin.pre.instantiate_async(&mut store)).await?;
                let run = async |accessor: &_| {
                    interpreter.atelier_host_intent().call_interpret(accessor, command).await
                };
                store.run_concurrent(run).await?
            };
            limited(call, work).await
        })
        .await
    }

    /// Rewrites a prompt.
    pub(crate) async fn style(
        &self,
        plugin: &Arc<Plugin<StylerPre<Sandbox>>>,
        prompt: style::Prompt,
    ) -> Result<Result<style::Prompt, style::Error>, Failure> {
        let (call, span) = self.begin(plugin, "plugin.style");
        let plugin = plugin.clone();
        self.apart(span, plugin.who.clone(), async move {
            let (mut store, meter) = (call.store(), call.meter.clone());
            let work = async move {
                let styler = meter.instantiate(plugin.pre.instantiate_async(&mut store)).await?;
                let run = async |accessor: &_| styler.atelier_host_style().call_style(accessor, prompt).await;
                store.run_concurrent(run).await?
            };
            limited(call, work).await
        })
        .await
    }

    /// Chooses a model.
    pub(crate) async fn select(
        &self,
        plugin: &Arc<Plugin<SelectorPre<Sandbox>>>,
        hints: select::Hints,
        candidates: Vec<types::ModelInfo>,
    ) -> Result<Result<select::Choice, select::Error>, Failure> {
        let (call, span) = self.begin(plugin, "plugin.select");
        let plugin = plugin.clone();
        self.apart(span, plugin.who.clone(), async move {
            let (mut store, meter) = (call.store(), call.meter.clone());
            let work = async move {
                let selector = meter.instantiate(plugin.pre.instantiate_async(&mut store)).await?;
                let run = async |accessor: &_| {
                    selector.atelier_host_select().call_select(accessor, hints, candidates).await
                };
                store.run_concurrent(run).await?
            };
            limited(call, work).await
        })
        .await
    }

    /// Works on a picture, which moves into the plugin's store and back.
    pub(crate) async fn finish(
        &self,
        plugin: &Arc<Plugin<FinisherPre<Sandbox>>>,
        picture: Image,
        context: finish::Context,
    ) -> Result<Result<Image, finish::Error>, Failure> {
        let (call, span) = self.begin(plugin, "plugin.finish");
        let plugin = plugin.clone();
        self.apart(span, plugin.who.clone(), async move {
            let (mut store, meter, route) = (call.store(), call.meter.clone(), call.meter.route());
            let work = async move {
                let picture: Resource<Image> = store.data_mut().table.push(picture)?;
                let finisher = meter.instantiate(plugin.pre.instantiate_async(&mut store)).await?;
                let run = async |accessor: &_| {
                    finisher.atelier_host_finish().call_finish(accessor, picture, context).await
                };
                let finished = store.run_concurrent(run).await??;
                let finished = finished.map(|picture| store.data_mut().table.delete(picture));
                wasmtime::error::Ok(finished.map(Result::ok))
            };
            let finished = limited(call, work).await?;
            let lost = || Failure::Trap { route, detail: "the picture it returned is gone".into() };
            match finished {
                Ok(picture) => picture.map(Ok).ok_or_else(lost),
                Err(error) => Ok(Err(error)),
            }
        })
        .await
    }

    /// Runs a plugin as a task of its own, which ends when nobody waits for it. The caller waits in a capability.
    async fn apart<R: Send + 'static>(
        &self,
        span: OpenSpan,
        plugin: Arc<Who>,
        work: impl Future<Output = Result<R, Failure>> + Send + 'static,
    ) -> Result<R, Failure> {
        self.meter.while_wanted(self.in_turn(span, plugin, work)).await
    }

    async fn in_turn<R: Send + 'static>(
        &self,
        mut span: OpenSpan,
        plugin: Arc<Who>,
        work: impl Future<Output = Result<R, Failure>> + Send + 'static,
    ) -> Result<R, Failure> {
        count(&self.host.metrics.plugin_calls);
        let _wait = self.meter.wait();
        let _place = self.host.plugin_places.enter(self.meter.tenant()).await?;
        let result = task(work).await;
        span.settle(&result);
        if let Err(failure) = &result {
            self.note(&plugin, failure, &plugin.broken_in_full(failure));
        }
        result
    }

    /// What a handler may tell its client about a plugin whose answer breaks a rule of its interface. To the operator, and to
    /// the trial of a new version, that is a failure like a trap.
    pub(crate) fn broke<P>(&self, plugin: &Plugin<P>, rule: &str) -> String {
        let told = format!("the plugin `{}` broke a rule: {rule}", plugin.shown());
        let failure = Failure::Trap { route: self.route.name.to_string(), detail: rule.into() };
        self.note(&plugin.who, &failure, &told);
        told
    }

    /// Counts a plugin's failure and logs it.
    fn note(&self, plugin: &Who, failure: &Failure, told: &str) {
        let (id, code) = (self.meter.context().id(), failure.code());
        count(&self.host.metrics.plugin_failures);
        self.route.metrics.failures.count(code);
        plugin.metrics.failures.count(code);
        if failure.is_guests_own() {
            count(&self.route.plugin_failures);
        }
        tracing::warn!(id, code, route = %self.route.name, plugin = %plugin.name, "a plugin failed: {told}");
    }
}

/// Spawns, waits, and stops the task when the wait is given up.
pub(crate) async fn task<R: Send + 'static>(
    work: impl Future<Output = Result<R, Failure>> + Send + 'static,
) -> Result<R, Failure> {
    let task = tokio::spawn(work);
    let _stop = Stop(task.abort_handle());
    task.await.unwrap_or_else(|error| Err(Failure::host(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_path_only_the_files_name_is_shown() {
        for (name, text) in [
            ("/srv/atelier/plugins/ink.wasm", "ink.wasm"),
            ("plugins/ink.wasm", "ink.wasm"),
            ("ink.wasm", "ink.wasm"),
            ("builtin:style-enhance", "builtin:style-enhance"),
            ("upload 0123456789ab as style.0", "upload 0123456789ab as style.0"),
        ] {
            assert_eq!(shown(name), text);
        }
    }
}
