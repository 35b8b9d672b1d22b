//! `finish`: passes a picture through the route's finish plugins. What they return inherits the picture's parameters,
//! with a note of who changed it.

use std::sync::Arc;

use atelier_inference::{Parameters, Picture};
use wasmtime::Result;
use wasmtime::component::Resource;

use super::{Access, Capabilities, Image, caller};
use crate::bindings::finish::{Context, Error, Host, HostWithStore};
use crate::bindings::finisher::exports::atelier::host::finish as plugin;
use crate::sandbox::{Meter, Sandbox};

impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn finish(
        access: &Access,
        picture: Resource<Image>,
        context: Context,
    ) -> Result<std::result::Result<Resource<Image>, Error>> {
        let caller = caller(access).await;
        let mut image = access.with(|mut store| store.get().table.delete(picture))?;
        let plugins = &caller.route.stages.finish;
        if plugins.is_empty() {
            let route = &caller.route.name;
            return Ok(Err(Error::NotConfigured(format!(
                "route `{route}` has no finish plugin; add one to its `finish`"
            ))));
        }
        for plugin in plugins {
            let before = image.picture().clone();
            let finished = match caller.finish(plugin, image, context.clone().into()).await {
                Ok(Ok(finished)) => inherit(before, finished.picture(), plugin.shown(), &caller.meter),
                Ok(Err(error)) => Err(error.into()),
                Err(failure) => Err(Error::Failed(plugin.broken(&failure))),
            };
            image = match finished {
                Ok(image) => image,
                Err(error) => return Ok(Err(error)),
            };
        }
        let image = access.with(|mut store| store.get().table.push(image))?;
        Ok(Ok(image))
    }
}

/// The finished pixels with the parameters of the picture that they come from, charged to the handler.
fn inherit(
    before: Picture,
    finished: &Picture,
    plugin: &str,
    meter: &Meter,
) -> std::result::Result<Image, Error> {
    let untouched = std::ptr::eq(before.pixels.rgba(), finished.pixels.rgba());
    let parameters = match before.parameters {
        Some(parameters) if !untouched => Some(Arc::new(noted(&parameters, plugin))),
        parameters => parameters,
    };
    let picture = Picture { pixels: finished.pixels.clone(), parameters };
    Image::charged(picture, meter).map_err(Error::Failed)
}

fn noted(parameters: &Parameters, plugin: &str) -> Parameters {
    let mut parameters = parameters.clone();
    parameters.notes.push(format!("finish: {plugin}"));
    parameters
}

impl From<Context> for plugin::Context {
    fn from(context: Context) -> Self {
        Self { prompt: context.prompt, target: context.target }
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
