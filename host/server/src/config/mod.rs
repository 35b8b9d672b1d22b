//! The configuration: `atelier.toml`, overridden by variables `ATELIER__SECTION__KEY`, checked as a whole. Everyone else
//! receives [`Config`] and never sees text. Says nothing of how the values are used.
//!
//! `raw.rs` reads tables that know their places, `template.rs` is texts with variables, `check.rs` gives them meaning, `types.rs` is the
//! result, `model.rs` reads models, `provider.rs` who serves them elsewhere, `hub.rs` the names of the hub's, `copies.rs` what is copied
//! where, `tenant.rs`, `signing.rs`, `webhooks.rs`, `channels.rs`, `release.rs` (versions) and `reuse.rs` (instances) are for what
//! they are named after, `problem.rs` is what is wrong with it.

mod channels;
mod check;
mod copies;
mod elsewhere;
mod hub;
mod model;
mod problem;
mod provider;
mod raw;
mod release;
mod reuse;
mod shown;
mod signing;
mod template;
mod tenant;
mod types;
mod webhooks;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use channels::Channels;
pub(crate) use check::is_name;
pub use copies::{RedisKeys, S3Keys, StoreCopy};
pub use elsewhere::{Offer, Product};
pub use hub::{HubRepo, HubSource};
pub use model::Prediction;
pub use problem::{ConfigError, Place, Problem};
pub(crate) use provider::origin_of;
pub use provider::{Provider, ProviderGrants, ProviderSource};
pub use release::{Probe, Trial};
pub use signing::{PublicKey, Signing, SigningKey};
pub use template::Template;
pub(crate) use tenant::MAX_KEYS;
pub use tenant::{Access, ApiKey, Quotas, Tenant};
pub use types::{
    CodeSource, Config, Engine, Grants, Limits, Log, LogFormat, Manifest, Model, ModelSource, Route, Server,
    Store, Telemetry, Tls,
};
pub use webhooks::Webhooks;

pub use crate::keys::KeyHash;
use crate::router::Router;

/// The manifest that is taken when nothing names one.
pub const FILE_NAME: &str = "atelier.toml";

/// What is inside the binary, by name, for `builtin:` references.
#[derive(Debug, Clone, Default)]
pub struct Builtins {
    /// Components and plugins.
    pub components: Vec<&'static str>,
    /// Models.
    pub models: Vec<&'static str>,
    /// The manifest that runs when there is no file.
    pub manifest: &'static str,
}

/// The variables of the process that matter here, taken once, so that tests can give their own.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    /// `ATELIER__…`, each of which overrides a key.
    pub overrides: BTreeMap<String, String>,
    /// Where compiled components are kept when the manifest names no place.
    pub cache_dir: Option<PathBuf>,
    /// `ATELIER_CONFIG`
    pub config: Option<PathBuf>,
    /// `NOTIFY_SOCKET`, where a service manager listens.
    pub notify_socket: Option<OsString>,
    /// The file of this binary, which compiles components in processes of their own; in this process when `None`.
    pub binary: Option<PathBuf>,
}

impl Variables {
    /// Takes the process's own. A variable that is not UTF-8 overrides nothing and is left out.
    pub fn of_process() -> Self {
        let overrides = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(raw::PREFIX))?;
            Some((name, value.into_string().ok()?))
        });
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache")));
        Self {
            overrides: overrides.collect(),
            cache_dir: cache.map(|cache| cache.join("atelier")),
            config: path("ATELIER_CONFIG"),
            notify_socket: path("NOTIFY_SOCKET").map(PathBuf::into_os_string),
            binary: Some(binary()),
        }
    }
}

/// On Linux the file that runs, even when another has taken its name since. A place that cannot be told is a name that
/// cannot be started: then components are not compiled, instead of being compiled without limits.
fn binary() -> PathBuf {
    if cfg!(target_os = "linux") {
        return "/proc/self/exe".into();
    }
    std::env::current_exe().unwrap_or_else(|_| "atelier".into())
}

impl Config {
    /// Loads `file`, or the manifest that `$ATELIER_CONFIG` names, or `./atelier.toml`, or the embedded one.
    pub fn load(
        file: Option<&Path>,
        variables: &Variables,
        builtins: &Builtins,
    ) -> Result<Config, ConfigError> {
        let beside = Path::new(FILE_NAME);
        let named = file.or(variables.config.as_deref());
        match named.or_else(|| beside.is_file().then_some(beside)) {
            Some(path) => Self::load_file(path, variables, builtins),
            None => Self::parse(builtins.manifest, "embedded manifest", Path::new(""), variables, builtins),
        }
    }

    fn load_file(path: &Path, variables: &Variables, builtins: &Builtins) -> Result<Config, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError::new(&shown, vec![check::whole_file(format!("cannot be read: {error}"))])
        })?;
        let base = path.parent().unwrap_or(Path::new(""));
        let config = Self::parse(&text, &shown, base, variables, builtins)?;
        Ok(Config { manifest: Manifest::File(path.to_path_buf()), ..config })
    }

    /// Checks a manifest's text. `shown` names it in problems; relative paths start from `base`.
    pub fn parse(
        text: &str,
        shown: &str,
        base: &Path,
        variables: &Variables,
        builtins: &Builtins,
    ) -> Result<Config, ConfigError> {
        let document = raw::Document::parse(text, &variables.overrides);
        let context = check::Context { base, builtins, default_cache: variables.cache_dir.clone() };
        let config = check::config(&document, &context);
        match document.finish() {
            problems if problems.is_empty() => Ok(config),
            problems => Err(ConfigError::new(shown, problems)),
        }
    }

    /// The manifest's form of the whole configuration, defaults included and secrets masked.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

impl Route {
    /// What the component gets as configuration: the process's variables that `env` names, then `config`, which wins.
    pub fn component_config(
        &self,
        process: impl Iterator<Item = (OsString, OsString)>,
    ) -> Vec<(String, String)> {
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let named = |(name, _): &(String, String)| self.env.iter().any(|pattern| matches(pattern, name));
        let mut all: BTreeMap<String, String> = process.filter_map(text).filter(named).collect();
        all.extend(self.config.iter().cloned());
        all.into_iter().collect()
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

/// Why `new` cannot stand beside `others`, if it cannot.
fn router_problem(others: &[Route], new: &Route) -> Option<String> {
    let other = others.iter().find(|other| Router::conflict(other, new))?;
    let text =
        format!("answers the same host, path and methods as route `{}`; change one of the two", other.name);
    Some(text)
}
