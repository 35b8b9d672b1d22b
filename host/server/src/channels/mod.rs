//! Clients that stay connected: their sockets, who is in which room, and the way of what they send to the component of their route.
//! A component names rooms and clients; it never sees a socket.
//!
//! `reception.rs` lets clients in: it looks at where they come from (`origin.rs`) and whether there is a seat (`seats.rs`), asks the
//! component (`desk.rs`), and hands them to `sse.rs`, `websocket.rs` (over `upgrade.rs`) or `socket_io/`, each of which knows one way
//! to be connected. `client.rs` is one who is connected, `clients.rs` all of them with their rooms, `post.rs` carries what a client sends
//! to the component, one after the other. `keeper.rs` ends those whose route or key is gone, and everybody when the host stops;
//! `json.rs` takes messages apart without touching what they carry.
//!
//! Events come from the runtime as names and JSON text and leave as frames. Nothing here knows wasm, or what events mean.

mod client;
mod clients;
mod desk;
mod json;
mod keeper;
mod origin;
mod post;
mod reception;
mod seats;
mod socket_io;
mod sse;
mod upgrade;
mod websocket;

pub(crate) use clients::Clients;
pub(crate) use keeper::keep;
pub(crate) use reception::{Reception, Visit};
