//! The product as a stranger meets it: the real binary, the built-in manifest, the embedded model. One binary, so that
//! it links once; every test starts a host of its own on free ports.

mod admin;
mod apart;
mod bombs;
mod channels;
mod chat_server;
#[path = "../it/client.rs"]
#[allow(dead_code, reason = "the client is shared with the other test binary, which uses all of it")]
mod client;
mod collector;
mod compiling;
mod copies;
mod exposure;
mod fire;
mod floods;
mod form;
mod generation_server;
mod host;
mod hostile;
mod jobs;
mod limits;
mod logs;
mod messages;
mod neighbours;
mod operating;
mod operator;
mod pictures;
mod rates;
mod rollout;
mod servers;
mod signing;
mod speech_saas;
mod stopping;
mod storage;
mod streaming;
mod studio;
mod studio_backend;
mod studio_channel;
mod swapping;
mod tenants;
mod traces;
mod understanding;
mod voice;
mod webhooks;
mod wire;
