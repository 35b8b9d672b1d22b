//! What the server asks for when it sets providers up: plain values, already resolved from the manifest.

use std::time::Duration;

use atelier_inference::{Features, ModelId, Size};

use super::Secret;
use crate::{Code, Origin};

/// A provider: a plugin, the server that it speaks to, and the models there.
#[derive(Debug, Clone)]
pub struct ProviderSpec {
    /// Its name, as in the manifest.
    pub id: String,
    /// The plugin.
    pub plugin: Code,
    /// The server's address, with the path under which its interface is (`base-url`).
    pub base_url: String,
    /// The key that the server wants, if it wants one.
    pub key: Option<Secret>,
    /// What else the plugin reads through `wasi:config`.
    pub config: Vec<(String, String)>,
    /// Servers that it may send requests to, that of `base_url` among them.
    pub outbound: Vec<Origin>,
    /// Those of them that may be on this machine or its own network by their names.
    pub outbound_private: Vec<Origin>,
    /// How much, how often, how long.
    pub limits: ProviderLimits,
    /// Its models.
    pub models: Vec<ProvidedSpec>,
}

/// What calls of one provider may take. Each is the key of the same name of `[[provider]]`, with `-` for `_` and the unit at
/// the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderLimits {
    /// Calls at a time (`calls`).
    pub calls: u32,
    /// Calls that wait, of each tenant (`waiting`).
    pub waiting: usize,
    /// From a call's beginning to its end, waiting and further attempts included (`timeout-ms`).
    pub timeout: Duration,
    /// For a connection (`connect-ms`).
    pub connect: Duration,
    /// For the server to begin its answer (`first-byte-ms`).
    pub first_byte: Duration,
    /// Between two pieces of an answer (`between-bytes-ms`).
    pub between_bytes: Duration,
    /// Further attempts, where nothing was said yet and another may help (`retries`).
    pub retries: u32,
    /// After so many failed attempts in a row the server is not asked for a while (`circuit-failures`).
    pub circuit_failures: u32,
    /// For so long (`circuit-ms`).
    pub circuit: Duration,
}

impl Default for ProviderLimits {
    fn default() -> Self {
        Self {
            calls: 8,
            waiting: 32,
            timeout: Duration::from_secs(120),
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(60),
            between_bytes: Duration::from_secs(30),
            retries: 2,
            circuit_failures: 5,
            circuit: Duration::from_secs(10),
        }
    }
}

/// A model of a provider.
#[derive(Debug, Clone)]
pub struct ProvidedSpec {
    /// Its name in requests.
    pub id: ModelId,
    /// Its name at the server.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// What it makes.
    pub makes: Makes,
    /// The model that does the work when this one is not to be had.
    pub fallback: Option<ModelId>,
}

/// What a model of a provider makes, with what nobody but the manifest knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Makes {
    /// Replies to conversations.
    Replies {
        /// Tokens that it holds: those of the conversation and of the reply together.
        context_length: u32,
    },
    /// Pictures.
    Pictures {
        /// What it can be asked to do.
        features: Features,
        /// Their sizes, the first of them unless another is asked for; every size where there are none.
        sizes: Vec<Size>,
    },
    /// Text from speech.
    Transcripts,
}

impl Makes {
    /// In one word, as in the manifest.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Replies { .. } => "replies",
            Self::Pictures { .. } => "pictures",
            Self::Transcripts => "transcripts",
        }
    }
}
