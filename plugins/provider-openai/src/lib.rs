//! Models behind OpenAI's interface. Those of language are chat completions as OpenAI serves them, or llama.cpp's server, or vLLM:
//! what the three take besides is told by their dialect. `ask.rs` writes requests, `events.rs` reads replies, `refusal.rs` errors of
//! every kind; pictures and speech have a file each.

mod ask;
mod dialect;
mod events;
mod pictures;
mod refusal;
mod speech;

#[cfg(target_arch = "wasm32")]
mod glue;

use provider_kit::{Answer, Ask, Error, Framing, Protocol, Request, Settings};

use dialect::Dialect;
use events::Chunks;

/// The protocol, with what the manifest says.
pub struct OpenAi {
    dialect: Dialect,
    api_key: Option<String>,
    /// Whether llama.cpp may use again what it read for others.
    cache_prompt: bool,
}

impl Protocol for OpenAi {
    type Events = Chunks;

    const FRAMING: Framing = Framing::Events;

    fn configure(settings: &Settings) -> Result<Self, Error> {
        settings.only(&["dialect", "cache-prompt"])?;
        let dialect = settings.one_of("dialect", &Dialect::NAMES)?;
        let cache_prompt = settings.one_of("cache-prompt", &[("false", false), ("true", true)])?;
        if cache_prompt && dialect != Dialect::LlamaCpp {
            return Err(Error::Other("`config.cache-prompt` is for `config.dialect` llama.cpp".into()));
        }
        Ok(Self { dialect, api_key: settings.api_key().map(Into::into), cache_prompt })
    }

    fn ask(&self, request: &Request) -> Result<Ask, Error> {
        let body = ask::body(request, self.dialect, self.cache_prompt)?;
        Ok(Ask::json("/chat/completions", self.headers(), &body))
    }

    fn events(&self, _: &Request) -> Chunks {
        Chunks::default()
    }

    fn refusal(&self, answer: &Answer) -> Error {
        refusal::of_answer(answer)
    }
}

impl OpenAi {
    fn headers(&self) -> Vec<(&'static str, String)> {
        self.api_key.iter().map(|key| ("authorization", format!("Bearer {key}"))).collect()
    }
}
