//! The thin side that faces the host: the export, and nothing else.

#![allow(unsafe_code, missing_docs, reason = "the export macro generates it")]

use provider_kit::wasm::Provider;

use crate::Ollama;

type Plugin = Provider<Ollama>;

provider_kit::bindings::export!(Plugin);
