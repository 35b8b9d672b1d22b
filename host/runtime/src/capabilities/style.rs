//! `style`: runs the route's style plugins, each on what the one before it made.

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
            prompt = match caller.style(plugin, prompt.into()).await {
                Ok(Ok(prompt)) => prompt.into(),
                Ok(Err(error)) => return Ok(Err(error.into())),
                Err(failure) => return Ok(Err(Error::Failed(plugin.broken(&failure)))),
            };
        }
        Ok(Ok(prompt))
    }
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
