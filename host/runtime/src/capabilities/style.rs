//! `style`: runs the route's style plugins, each on what the one before it made, and believes nothing of an answer that breaks a
//! rule of `wit/style.wit`.

use atelier_inference::MAX_PROMPT_BYTES;
use wasmtime::Result;

use super::{Access, Capabilities, caller};
use crate::bindings::style::{Error, Host, HostWithStore, Prompt};
use crate::bindings::styler::exports::atelier::host::style as plugin;
use crate::sandbox::Sandbox;

impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn style(access: &Access, mut prompt: Prompt) -> Result<std::result::Result<Prompt, Error>> {
        let caller = caller(access).await;
        let plugins = &caller.route.stages.style;
        if plugins.is_empty() {
            let route = &caller.route.name;
            return Ok(Err(Error::NotConfigured(format!(
                "route `{route}` has no style plugin; add one to its `style`"
            ))));
        }
        for plugin in plugins {
            let was_blank = is_blank(&prompt.text);
            prompt = match caller.style(plugin, prompt.into()).await {
                Ok(Ok(styled)) => match check(&styled, was_blank) {
                    Ok(()) => styled.into(),
                    Err(rule) => return Ok(Err(Error::Failed(caller.broke(plugin, &rule)))),
                },
                Ok(Err(error)) => return Ok(Err(error.into())),
                Err(failure) => return Ok(Err(Error::Failed(plugin.broken(&failure)))),
            };
        }
        Ok(Ok(prompt))
    }
}

/// The rule that an answer breaks, if it breaks one. A plugin that leaves a blank prompt as it is breaks none.
fn check(styled: &plugin::Prompt, was_blank: bool) -> std::result::Result<(), String> {
    if is_blank(&styled.text) && !was_blank {
        return Err("`text` is not blank".into());
    }
    within("text", &styled.text)?;
    styled.negative.as_deref().map_or(Ok(()), |negative| within("negative", negative))
}

/// Longer prompts are for no model: they would be refused later, as if the user had written them.
fn within(field: &str, text: &str) -> std::result::Result<(), String> {
    let fits = text.len() <= MAX_PROMPT_BYTES;
    if fits { Ok(()) } else { Err(format!("`{field}` has at most {MAX_PROMPT_BYTES} bytes")) }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

impl From<Prompt> for plugin::Prompt {
    fn from(prompt: Prompt) -> Self {
        Self { text: prompt.text, negative: prompt.negative, model: prompt.model }
    }
}

impl From<plugin::Prompt> for Prompt {
    fn from(prompt: plugin::Prompt) -> Self {
        Self { text: prompt.text, negative: prompt.negative, model: prompt.model }
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
