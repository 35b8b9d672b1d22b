//! `select`: lets the route's select plugin choose among the candidates, and believes no choice that breaks a rule of
//! `wit/select.wit`.

use wasmtime::Result;

use super::{Access, Capabilities, caller};
use crate::bindings::select::{Choice, Error, Hints, Host, HostWithStore};
use crate::bindings::selector::exports::atelier::host::select as plugin;
use crate::bindings::types::ModelInfo;
use crate::sandbox::Sandbox;

/// Most bytes of why a model was chosen.
const REASON_BYTES: usize = 4_096;

impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn select(
        access: &Access,
        hints: Hints,
        candidates: Vec<ModelInfo>,
    ) -> Result<std::result::Result<Choice, Error>> {
        let caller = caller(access).await;
        let Some(plugin) = &caller.route.stages.select else {
            let route = &caller.route.name;
            return Ok(Err(Error::NotConfigured(format!(
                "route `{route}` has no select plugin; add one as its `select`"
            ))));
        };
        let known: Vec<String> = candidates.iter().map(|model| model.id.clone()).collect();
        Ok(match caller.select(plugin, hints.into(), candidates).await {
            Ok(Ok(choice)) => match check(&choice, &known) {
                Ok(()) => Ok(choice.into()),
                Err(rule) => Err(Error::Failed(caller.broke(plugin, &rule))),
            },
            Ok(Err(error)) => Err(error.into()),
            Err(failure) => Err(Error::Failed(plugin.broken(&failure))),
        })
    }
}

/// The rule that a choice breaks, if it breaks one.
fn check(choice: &plugin::Choice, known: &[String]) -> std::result::Result<(), String> {
    if !known.contains(&choice.model) {
        return Err("`model` is the id of a candidate".into());
    }
    let fits = choice.reason.len() <= REASON_BYTES;
    if fits { Ok(()) } else { Err(format!("`reason` has at most {REASON_BYTES} bytes")) }
}

impl From<Hints> for plugin::Hints {
    fn from(hints: Hints) -> Self {
        Self { prompt: hints.prompt, size: hints.size, has_source: hints.has_source, wanted: hints.wanted }
    }
}

impl From<plugin::Choice> for Choice {
    fn from(choice: plugin::Choice) -> Self {
        Self { model: choice.model, reason: choice.reason }
    }
}

impl From<plugin::Error> for Error {
    fn from(error: plugin::Error) -> Self {
        match error {
            plugin::Error::NoMatch(text) => Error::NoMatch(text),
            plugin::Error::NotConfigured(text) => Error::NotConfigured(text),
            plugin::Error::Failed(text) => Error::Failed(text),
        }
    }
}
