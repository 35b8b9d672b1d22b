//! Models behind Google's Gemini interface: of language (`streamGenerateContent`), and, within one whole answer
//! (`generateContent`), of pictures and of speech. `ask.rs` writes requests, `events.rs` reads replies, `refusal.rs` errors of every
//! kind; pictures and speech have a file each. The key goes in a header: an address is written into logs on its way.

mod ask;
mod events;
mod pictures;
mod refusal;
mod speech;
mod whole;

#[cfg(target_arch = "wasm32")]
mod glue;

use provider_kit::{Answer, Ask, Error, Framing, Protocol, Request, Settings};

use events::Candidates;

/// The protocol, with what the manifest says.
pub struct Gemini {
    api_key: Option<String>,
}

impl Protocol for Gemini {
    type Events = Candidates;

    const FRAMING: Framing = Framing::Events;

    fn configure(settings: &Settings) -> Result<Self, Error> {
        settings.only(&[])?;
        Ok(Self { api_key: settings.api_key().map(Into::into) })
    }

    fn ask(&self, request: &Request) -> Result<Ask, Error> {
        let path = format!("{}:streamGenerateContent?alt=sse", ask::path(&request.model)?);
        Ok(Ask::json(path, self.headers(), &ask::body(request)?))
    }

    fn events(&self, _: &Request) -> Candidates {
        Candidates::default()
    }

    fn refusal(&self, answer: &Answer) -> Error {
        refusal::of_answer(answer)
    }
}

impl Gemini {
    fn headers(&self) -> Vec<(&'static str, String)> {
        self.api_key.iter().map(|key| ("x-goog-api-key", key.clone())).collect()
    }
}
