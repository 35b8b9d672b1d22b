//! `intent`: lets the route's intent plugin read a command, and believes nothing of its answer that breaks a rule of
//! `wit/intent.wit`.

use wasmtime::Result;

use super::{Access, Capabilities, caller};
use crate::bindings::intent::{Action, Error, Host, HostWithStore, Intention};
use crate::bindings::interpreter::exports::atelier::host::intent as plugin;
use crate::sandbox::Sandbox;

/// Most characters of what an edit changes.
const TARGET_CHARS: usize = 100;
/// Most characters of a prompt.
const PROMPT_CHARS: usize = 1_000;

impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn interpret(access: &Access, command: String) -> Result<std::result::Result<Intention, Error>> {
        let caller = caller(access).await;
        let Some(plugin) = &caller.route.stages.intent else {
            let route = &caller.route.name;
            return Ok(Err(Error::NotConfigured(format!(
                "route `{route}` has no intent plugin; add one as its `intent`"
            ))));
        };
        Ok(match caller.interpret(plugin, command).await {
            Ok(Ok(said)) => {
                let intention = Intention::from(said);
                let broken = |rule: String| Error::Failed(caller.broke(plugin, &rule));
                check(&intention).map_err(broken).map(|()| intention)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(failure) => Err(Error::Failed(plugin.broken(&failure))),
        })
    }
}

/// The rule that an intention breaks, if it breaks one. The text shows nothing of the intention: it is not to be believed.
fn check(intention: &Intention) -> std::result::Result<(), String> {
    let Intention { action, target, prompt } = intention;
    let (has_target, has_prompt) = match action {
        Action::Create => (false, true),
        Action::Edit => (true, true),
        Action::Undo | Action::None => (false, false),
    };
    let name = name(*action);
    if !has_target && !target.is_empty() {
        return Err(format!("`target` is empty for `{name}`"));
    }
    if has_prompt && prompt.trim().is_empty() {
        return Err(format!("`prompt` is not empty for `{name}`"));
    }
    if !has_prompt && !prompt.is_empty() {
        return Err(format!("`prompt` is empty for `{name}`"));
    }
    line("target", target, TARGET_CHARS)?;
    line("prompt", prompt, PROMPT_CHARS)
}

fn line(field: &str, text: &str, most: usize) -> std::result::Result<(), String> {
    if text.chars().count() > most {
        return Err(format!("`{field}` has at most {most} characters"));
    }
    if text.chars().any(is_break) {
        return Err(format!("`{field}` is one line without control characters"));
    }
    Ok(())
}

/// Whether a character ends a line or controls what shows it: such are in no answer's header and in no log line.
fn is_break(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

fn name(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Edit => "edit",
        Action::Undo => "undo",
        Action::None => "none",
    }
}

impl From<plugin::Intention> for Intention {
    fn from(intention: plugin::Intention) -> Self {
        let action = match intention.action {
            plugin::Action::Create => Action::Create,
            plugin::Action::Edit => Action::Edit,
            plugin::Action::Undo => Action::Undo,
            plugin::Action::None => Action::None,
        };
        Self { action, target: intention.target, prompt: intention.prompt }
    }
}

impl From<plugin::Error> for Error {
    fn from(error: plugin::Error) -> Self {
        match error {
            plugin::Error::Refused(text) => Error::Refused(text),
            plugin::Error::NotConfigured(text) => Error::NotConfigured(text),
            plugin::Error::Failed(text) => Error::Failed(text),
        }
    }
}
