//! What a provider has to say of its server: how to ask, how to read a streamed reply, how to read a refusal. Every answer
//! is a plain value, so that a provider is tested without a server and without wasm.

use crate::{Answer, Ask, End, Error, Framing, Part, Request, Settings};

/// A server's protocol.
pub trait Protocol: Sized {
    /// What reads one reply.
    type Events: Events;

    /// How its streams are framed.
    const FRAMING: Framing;

    /// Takes the settings of the manifest.
    ///
    /// # Errors
    /// [`Error::Other`] names the setting that cannot be used.
    fn configure(settings: &Settings) -> Result<Self, Error>;

    /// What to send for a request.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what the server's interface has no place for.
    fn ask(&self, request: &Request) -> Result<Ask, Error>;

    /// What reads the reply to it.
    fn events(&self, request: &Request) -> Self::Events;

    /// What an answer means that is no stream of events: an error of the server, mostly.
    fn refusal(&self, answer: &Answer) -> Error;
}

/// Reads one reply, event by event.
pub trait Events {
    /// The data of one event; what it says is added to `parts`. Nothing comes after an end.
    ///
    /// # Errors
    /// What the event says went wrong, or that it makes no sense.
    fn event(&mut self, data: &str, parts: &mut Vec<Part>) -> Result<(), Error>;

    /// The answer is over: the end, if the events before said that the reply was whole.
    fn close(&mut self) -> Option<End>;
}
