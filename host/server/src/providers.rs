//! From `[[provider]]` to what the runtime takes: the plugin's bytes, the key out of the process's variables, the servers
//! that may be asked. A key goes from here to the runtime and nowhere else.

use atelier_inference::{Features, ModelId};
use atelier_runtime::{Code, Limits, Makes, Origin, ProvidedSpec, ProviderSpec, Secret};

use crate::config::{CodeSource, Config, Model, ModelSource, Offer, Product, Provider, Signing, origin_of};
use crate::deploy;

/// Providers that can be set up, and models of those that cannot be.
pub(crate) struct Resolved {
    pub(crate) specs: Vec<ProviderSpec>,
    /// Each with what brings it.
    pub(crate) missing: Vec<(ModelId, String)>,
}

/// The providers of these models. The text says whose plugin cannot be read, and why.
pub(crate) fn resolve(
    config: &Config,
    models: &[Model],
    builtin: fn(&str) -> Option<&'static [u8]>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Resolved, String> {
    let (mut specs, mut missing) = (Vec::new(), Vec::new());
    for provider in &config.providers {
        let served: Vec<ProvidedSpec> = models.iter().filter_map(|model| served(provider, model)).collect();
        if served.is_empty() {
            continue;
        }
        let named = provider.api_key_env.as_deref();
        let key = named.and_then(&variable).and_then(|text| Secret::new(&text));
        if let (Some(name), None) = (named, &key) {
            let fix = format!("set the variable {name} (api-key-env of provider `{}`)", provider.id);
            missing.extend(served.into_iter().map(|model| (model.id, fix.clone())));
            continue;
        }
        specs.push(spec(provider, key, served, builtin, &config.signing)?);
    }
    Ok(Resolved { specs, missing })
}

fn spec(
    provider: &Provider,
    key: Option<Secret>,
    models: Vec<ProvidedSpec>,
    builtin: fn(&str) -> Option<&'static [u8]>,
    signing: &Signing,
) -> Result<ProviderSpec, String> {
    let origins = |texts: &[String]| -> Vec<Origin> {
        texts.iter().filter_map(|text| Origin::parse(text).ok()).collect()
    };
    let own = origin_of(&provider.base_url).into_iter();
    Ok(ProviderSpec {
        id: provider.id.clone(),
        plugin: plugin(provider, builtin, signing)?,
        base_url: provider.base_url.clone(),
        key,
        config: provider.config.clone(),
        outbound: own.chain(origins(&provider.grants.outbound)).collect(),
        outbound_private: origins(&provider.grants.outbound_private),
        limits: provider.limits.clone(),
        models,
    })
}

fn plugin(
    provider: &Provider,
    builtin: fn(&str) -> Option<&'static [u8]>,
    signing: &Signing,
) -> Result<Code, String> {
    let bytes = match &provider.plugin {
        CodeSource::Builtin(name) => builtin(name).map(Into::into).ok_or("is not in this binary".to_owned()),
        CodeSource::File(path) => {
            deploy::read(path, Limits::default().component_bytes, signing).map(Into::into)
        }
    };
    let title = || format!("plugin `{}` of provider `{}`", provider.plugin, provider.id);
    let bytes = bytes.map_err(|why| format!("{}: {why}", title()))?;
    Ok(Code { name: provider.plugin.to_string(), bytes })
}

/// The model, if it is one of the provider's.
fn served(provider: &Provider, model: &Model) -> Option<ProvidedSpec> {
    let ModelSource::Provider(source) = &model.source else { return None };
    let offer = model.offer.as_ref().filter(|_| source.provider == provider.id)?;
    Some(ProvidedSpec {
        id: model.id.clone(),
        name: source.name.clone(),
        description: model.description.clone(),
        makes: makes(offer),
        fallback: model.fallback.clone(),
    })
}

fn makes(offer: &Offer) -> Makes {
    match offer.makes {
        Product::Replies => Makes::Replies { context_length: offer.context_length.unwrap_or(u32::MAX) },
        Product::Pictures => {
            let (features, sizes) = (offer.can.unwrap_or(Features::NONE), offer.sizes.clone());
            Makes::Pictures { features, sizes }
        }
        Product::Transcripts => Makes::Transcripts,
    }
}
