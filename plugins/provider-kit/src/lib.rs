//! What providers of models have in common. A provider says what its protocol is ([`Protocol`]), in plain values
//! that are tested natively; this crate reads its settings, sends what it asks, cuts what comes into events, and exports it
//! (`wasm`). One whose server has models of pictures or of speech says that as well ([`Draws`], [`Listens`]). It knows no server's
//! protocol.

mod encoded;
mod form;
mod framing;
mod http;
mod pictures;
mod protocol;
mod refusal;
mod reply;
mod settings;
mod speech;
mod values;

#[cfg(target_arch = "wasm32")]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
pub mod wasm;

pub use encoded::{decoded, encoded};
pub use form::Form;
pub use framing::Framing;
pub use http::{Answer, Ask};
pub use pictures::{Drawn, Draws, PictureRequest, PictureTask};
pub use protocol::{Events, Protocol};
pub use refusal::{by_status, shown};
pub use reply::Following;
pub use settings::Settings;
pub use speech::{Certainty, Listens, Segment, SpeechRequest, Timestamps, Transcript, Word};
pub use values::{End, Error, Finish, Part, Request, Role, Turn, Usage};
