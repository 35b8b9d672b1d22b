//! `channels`: lets a handler send to clients that stay connected to its route. What a guest names is checked here; who is
//! connected is the server's affair (`channels.rs`).

use wasmtime::Result;

use super::{Access, Capabilities, caller};
use crate::bindings::channels::{Error, Host, HostWithStore};
use crate::channels::{MAX_ROOMS, check_name, check_payload};
use crate::sandbox::Sandbox;
use crate::stage::Caller;
use crate::{ChannelError, ChannelEvent, ChannelRealm, Channels};

impl Host for Sandbox {}

impl HostWithStore<Sandbox> for Capabilities {
    async fn publish(
        access: &Access,
        room: String,
        event: String,
        payload: String,
    ) -> Result<std::result::Result<u32, Error>> {
        let caller = caller(access).await;
        let checked = check_name("a room", &room).map_err(Error::Invalid);
        let event = checked.and_then(|()| fit(&caller, event, payload));
        // where no server is, nobody is in any room
        let sent = |event| asked(&caller, |all, realm| Ok(all.publish(realm, &room, event))).or(Ok(0));
        Ok(event.and_then(sent))
    }

    async fn send(
        access: &Access,
        client: String,
        event: String,
        payload: String,
    ) -> Result<std::result::Result<(), Error>> {
        let caller = caller(access).await;
        let event = fit(&caller, event, payload);
        Ok(event.and_then(|event| asked(&caller, |all, realm| all.send(realm, &client, event))))
    }

    async fn join(access: &Access, client: String, room: String) -> Result<std::result::Result<(), Error>> {
        let caller = caller(access).await;
        let checked = check_name("a room", &room).map_err(Error::Invalid);
        Ok(checked.and_then(|()| asked(&caller, |all, realm| all.join(realm, &client, &room, MAX_ROOMS))))
    }

    async fn leave(access: &Access, client: String, room: String) -> Result<std::result::Result<(), Error>> {
        let caller = caller(access).await;
        Ok(asked(&caller, |all, realm| all.leave(realm, &client, &room)))
    }

    async fn close(access: &Access, client: String) -> Result<std::result::Result<(), Error>> {
        let caller = caller(access).await;
        Ok(asked(&caller, |all, realm| all.close(realm, &client)))
    }
}

/// An event that may be sent.
fn fit(caller: &Caller, name: String, payload: String) -> std::result::Result<ChannelEvent, Error> {
    let limit = caller.route.channel_message_bytes;
    let checked = check_name("an event", &name);
    checked.and_then(|()| check_payload("a payload", &payload, limit)).map_err(Error::Invalid)?;
    Ok(ChannelEvent { name, payload })
}

/// Asks for something in the realm of whoever asks. Where no server is, nobody is connected.
fn asked<R>(
    caller: &Caller,
    ask: impl FnOnce(&dyn Channels, &ChannelRealm) -> std::result::Result<R, ChannelError>,
) -> std::result::Result<R, Error> {
    let realm = ChannelRealm { route: caller.route.name.clone(), tenant: caller.meter.tenant().id.clone() };
    let channels = caller.host.channels.get().ok_or(Error::NotFound)?;
    ask(channels.as_ref(), &realm).map_err(|error| match error {
        ChannelError::Invalid(text) => Error::Invalid(text),
        ChannelError::NotFound => Error::NotFound,
    })
}
