//! The thin side that faces the host: the exports, and nothing else.

#![allow(unsafe_code, missing_docs, reason = "the export macro generates it")]

use provider_kit::wasm::Provider;

use crate::Gemini;

type Plugin = Provider<Gemini>;

provider_kit::bindings::export!(Plugin);
provider_kit::bindings::pictures::export!(Plugin);
provider_kit::bindings::speech::export!(Plugin);
