//! `[[provider]]`: a plugin, the server that it speaks to, and what its calls may take; and which models of the manifest are
//! served there. Reads no variable of the process: the key's is named here and looked up when the host starts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use atelier_inference::ModelId;
use atelier_runtime::{Origin, ProviderLimits};
use serde::{Serialize, Serializer};

use super::check::{self, Context, hint, name};
use super::raw::{Found, Table};
use super::shown::{is_default, masked};
use super::types::{CodeSource, Model, ModelSource};

const HOUR_MS: u64 = 3_600_000;

/// `[[provider]]`
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Provider {
    /// Its name, as models name it.
    pub id: String,
    /// The plugin.
    #[serde(serialize_with = "super::shown::displayed")]
    pub plugin: CodeSource,
    /// The server's address, with the path under which its interface is.
    pub base_url: String,
    /// The variable of the process with the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// What its calls may take.
    #[serde(flatten, serialize_with = "limits_as_keys")]
    pub limits: ProviderLimits,
    /// Servers besides that of the address.
    #[serde(skip_serializing_if = "is_default")]
    pub grants: ProviderGrants,
    /// What else its plugin reads.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "masked")]
    pub config: Vec<(String, String)>,
}

/// `grants` of a provider.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProviderGrants {
    /// Origins, such as `https://api.example.org`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<String>,
    /// Origins whose names may lead to this machine or its own network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outbound_private: Vec<String>,
}

/// A model at a provider, as `source` names it: `provider:openai/gpt-4o-mini`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSource {
    /// The provider.
    pub provider: String,
    /// The model's name there.
    pub name: String,
}

impl ProviderSource {
    /// Reads what follows `provider:`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let odd = |c: char| c.is_control() || c.is_whitespace();
        match text.split_once('/') {
            Some((provider, name)) if check::is_name(provider) && !name.is_empty() && !name.contains(odd) => {
                Ok(Self { provider: provider.into(), name: name.into() })
            }
            _ => Err(format!(
                "`provider:{text}` names no model; write provider:<id of a [[provider]]>/<the model's name there>"
            )),
        }
    }
}

pub(super) fn providers(tables: Vec<Table<'_>>, context: &Context<'_>) -> Vec<Provider> {
    let mut seen = BTreeSet::new();
    let mut providers = Vec::new();
    for mut table in tables {
        let id = name(&mut table, "provider", "id", &mut seen);
        providers.extend(provider(&table, id, context));
        table.finish();
    }
    providers
}

fn provider(table: &Table<'_>, id: Option<String>, context: &Context<'_>) -> Option<Provider> {
    let plugin = table.text("plugin").map(|found| check::code(table, &found, context));
    if plugin.is_none() {
        table.missing("plugin", "write plugin = \"builtin:provider-openai\" or a .wasm file");
    }
    let grants = grants(table);
    let key = key(table);
    let base_url = base_url(table, key.is_some(), &grants);
    let (limits, config) = (limits(table), table.text_table("config"));
    for own in ["base-url", "api-key"] {
        if config.iter().any(|(key, _)| key == own) {
            let text = format!(
                "`config.{own}` is no setting of a plugin; write `base-url` or `api-key-env` beside it"
            );
            table.problem(table.at(), text);
        }
    }
    // with a wrong plugin it still exists for the models that name it; the problem keeps it from being used
    let plugin = plugin.flatten().unwrap_or(CodeSource::File(PathBuf::new()));
    Some(Provider { id: id?, plugin, base_url: base_url?, api_key_env: key, grants, limits, config })
}

fn key(table: &Table<'_>) -> Option<String> {
    let found = table.text("api-key-env")?;
    if !is_variable(&found.value) {
        // not repeated: whoever mistakes it may have written the key itself
        table.problem(
            &found.at,
            "wants the name of a variable such as \"OPENAI_API_KEY\", and never the key itself",
        );
    }
    Some(found.value)
}

/// Whether a text is the name of a variable of the process.
pub(super) fn is_variable(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty() && text.bytes().all(allowed) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// The server's address. A key goes over an encrypted connection, or stays within one's own network.
fn base_url(table: &Table<'_>, has_key: bool, grants: &ProviderGrants) -> Option<String> {
    let Some(Found { value: url, at }) = table.text("base-url") else {
        table.missing("base-url", "write base-url = \"https://api.openai.com/v1\" or another address");
        return None;
    };
    let Some(origin) = origin_of(&url) else {
        // not repeated: it may hold a password
        table.problem(&at, "wants an http or https address without user, query or fragment, such as \"https://api.openai.com/v1\"");
        return Some(url);
    };
    let private: Vec<Origin> =
        grants.outbound_private.iter().filter_map(|text| Origin::parse(text).ok()).collect();
    if has_key && !origin.is_encrypted() && !origin.is_address() && !private.contains(&origin) {
        let text = "would send the key unencrypted; write https, or add the server to `grants.outbound-private` if it is your own";
        table.problem(&at, text);
    }
    Some(url)
}

/// The server of an address, if it is one.
pub(crate) fn origin_of(url: &str) -> Option<Origin> {
    let uri: http::Uri = url.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let path = uri.path();
    let is_plain = uri.query().is_none() && !url.contains('#') && !path.split('/').any(|part| part == "..");
    is_plain.then(|| Origin::parse(&format!("{scheme}://{authority}")).ok()).flatten()
}

fn grants(provider: &Table<'_>) -> ProviderGrants {
    let table = provider.table("grants");
    let origin = |found: Found<String>| {
        if let Err(text) = check::check_origin(&found.value) {
            table.problem(&found.at, text);
        }
        found.value
    };
    let outbound = table.texts("outbound").into_iter().map(origin).collect();
    let outbound_private = table.texts("outbound-private").into_iter().map(origin).collect();
    table.finish();
    ProviderGrants { outbound, outbound_private }
}

fn limits(table: &Table<'_>) -> ProviderLimits {
    let default = ProviderLimits::default();
    let millis = |key, default| table.number(key, 1..=HOUR_MS).map_or(default, Duration::from_millis);
    let count = |key, default, range| table.number(key, range).unwrap_or(u64::from(default)) as u32;
    ProviderLimits {
        calls: count("calls", default.calls, 1..=1_000),
        waiting: table.number("waiting", 0..=10_000).map_or(default.waiting, |count| count as usize),
        timeout: millis("timeout-ms", default.timeout),
        connect: millis("connect-ms", default.connect),
        first_byte: millis("first-byte-ms", default.first_byte),
        between_bytes: millis("between-bytes-ms", default.between_bytes),
        retries: count("retries", default.retries, 0..=10),
        circuit_failures: count("circuit-failures", default.circuit_failures, 1..=1_000),
        circuit: millis("circuit-ms", default.circuit),
    }
}

/// Checks what models say of providers and of each other, once all of them are known.
pub(super) fn check_models(asked: &[Asked<'_>], models: &[Model], providers: &[Provider]) {
    let known: Vec<&str> = providers.iter().map(|provider| provider.id.as_str()).collect();
    for Asked { table, fallback, id } in asked {
        let Some(model) = models.iter().find(|model| Some(&model.id) == id.as_ref()) else { continue };
        if let ModelSource::Provider(source) = &model.source
            && !known.contains(&source.provider.as_str())
        {
            let hint = hint(&source.provider, &known, "add a [[provider]] of that id");
            table.problem(table.at(), format!("there is no provider `{}`; {hint}", source.provider));
        }
        if let Some(found) = fallback {
            check_fallback(table, found, model, models);
        }
    }
}

/// A model's table, while the others are not known yet.
pub(super) struct Asked<'a> {
    pub(super) table: Table<'a>,
    pub(super) id: Option<ModelId>,
    pub(super) fallback: Option<Found<String>>,
}

/// A chain of fallbacks ends: at a model of this host, or at one without a fallback.
fn check_fallback(table: &Table<'_>, found: &Found<String>, model: &Model, models: &[Model]) {
    if !matches!(model.source, ModelSource::Provider(_)) {
        table.problem(
            &found.at,
            "is for models of a provider: one whose files are here does not fail to be there",
        );
        return;
    }
    let known: Vec<&str> = models.iter().map(|model| model.id.as_str()).collect();
    if !known.contains(&found.value.as_str()) {
        let hint = hint(&found.value, &known, "add a [[model]] of that id");
        table.problem(&found.at, format!("there is no model `{}`; {hint}", found.value));
        return;
    }
    let makes = |model: &Model| model.offer.as_ref().map(|offer| offer.makes);
    let other = models.iter().find(|other| other.id.as_str() == found.value).and_then(makes);
    if let (Some(own), Some(other)) = (makes(model), other)
        && own != other
    {
        let text = format!("`{}` makes {other}, not {own}; name another", found.value);
        table.problem(&found.at, text);
    }
    let next =
        |id: &ModelId| models.iter().find(|model| model.id == *id).and_then(|model| model.fallback.clone());
    let (mut seen, mut at) = (vec![model.id.clone()], next(&model.id));
    while let Some(id) = at {
        if seen.contains(&id) {
            let names: Vec<&str> = seen.iter().chain([&id]).map(ModelId::as_str).collect();
            table.problem(
                &found.at,
                format!("leads in a circle: {}; leave one of them out", names.join(" → ")),
            );
            return;
        }
        at = next(&id);
        seen.push(id);
    }
}

fn limits_as_keys<S: Serializer>(limits: &ProviderLimits, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let ProviderLimits {
        calls,
        waiting,
        timeout,
        connect,
        first_byte,
        between_bytes,
        retries,
        circuit_failures,
        circuit,
    } = limits;
    let millis = |duration: &Duration| duration.as_millis() as u64;
    let mut map = serializer.serialize_map(None)?;
    for (key, value) in [
        ("calls", u64::from(*calls)),
        ("waiting", *waiting as u64),
        ("timeout-ms", millis(timeout)),
        ("connect-ms", millis(connect)),
        ("first-byte-ms", millis(first_byte)),
        ("between-bytes-ms", millis(between_bytes)),
        ("retries", u64::from(*retries)),
        ("circuit-failures", u64::from(*circuit_failures)),
        ("circuit-ms", millis(circuit)),
    ] {
        map.serialize_entry(key, &value)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_at_its_provider_may_hold_slashes_and_colons() {
        let parse = |text: &str| ProviderSource::parse(text).map(|source| (source.provider, source.name));
        assert_eq!(parse("local/qwen2.5:7b"), Ok(("local".into(), "qwen2.5:7b".into())));
        assert_eq!(parse("vllm/meta-llama/Llama-3"), Ok(("vllm".into(), "meta-llama/Llama-3".into())));
        for bad in ["", "a", "a/", "/b", "a b/c", "a/b c"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_has_a_server_and_nothing_that_hides() {
        let origin = |url| origin_of(url).map(|origin| origin.to_string());
        assert_eq!(origin("https://api.example.com/v1").as_deref(), Some("https://api.example.com:443"));
        assert_eq!(origin("http://127.0.0.1:8080").as_deref(), Some("http://127.0.0.1:8080"));
        for bad in [
            "api.example.com",
            "ftp://a.b",
            "https://u:p@a.b/v1",
            "https://a.b/v1?key=1",
            "https://a.b/#x",
            "https://a.b/../x",
        ] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }
}
