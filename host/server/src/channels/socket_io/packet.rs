//! Packets of socket.io's protocol, version 5 (github.com/socketio/socket.io-protocol), inside engine.io's messages. There is one
//! namespace, `/`, and no binary attachments: what events carry is JSON.

use atelier_runtime::ChannelEvent;

use super::super::json::{elements, quoted, string};

/// The only namespace.
pub(super) const MAIN: &str = "/";

/// A packet of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// It wants into a namespace.
    Connect { namespace: &'a str, auth: Option<&'a str> },
    /// It leaves.
    Disconnect,
    /// Something happened, and perhaps it wants to know that this arrived.
    Event { id: Option<u64>, event: ChannelEvent },
    /// It answers what nobody asked.
    Acknowledgement,
    /// It has attachments.
    Binary,
}

/// Reads a packet; none where it is not one.
pub(super) fn parse(text: &str) -> Option<Packet<'_>> {
    let (kind, rest) = text.split_at_checked(1)?;
    if matches!(kind, "5" | "6") {
        return Some(Packet::Binary);
    }
    let (namespace, rest) = match rest.starts_with('/') {
        true => rest.split_once(',').unwrap_or((rest, "")),
        false => (MAIN, rest),
    };
    // what belongs to a path with a query is the path's
    let namespace = namespace.split('?').next().unwrap_or(MAIN);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (id, body) = rest.split_at_checked(digits)?;
    match kind {
        "0" => Some(Packet::Connect { namespace, auth: auth(rest)? }),
        "1" => Some(Packet::Disconnect),
        "2" => {
            let id = if id.is_empty() { None } else { Some(id.parse().ok()?) };
            Some(Packet::Event { id, event: event(body)? })
        }
        "3" => Some(Packet::Acknowledgement),
        _ => None,
    }
}

/// What a client says of itself: an object, if anything.
fn auth(text: &str) -> Option<Option<&str>> {
    let text = text.trim();
    match text {
        "" => Some(None),
        _ => super::super::json::members(text).map(|_| Some(text)),
    }
}

/// An event's name and what it carries: its one argument, or a list of all where there are several.
fn event(body: &str) -> Option<ChannelEvent> {
    let elements = elements(body)?;
    let (name, arguments) = elements.split_first()?;
    let payload = match arguments {
        [] => "null".to_owned(),
        [one] => (*one).to_owned(),
        several => format!("[{}]", several.join(",")),
    };
    Some(ChannelEvent { name: string(name)?, payload })
}

/// A client is in, under this name.
pub(super) fn connected(id: &str) -> String {
    format!("0{{\"sid\":{}}}", quoted(id))
}

/// A client is not let into a namespace.
pub(super) fn refused(namespace: &str, why: &str) -> String {
    let namespace = if namespace == MAIN { String::new() } else { format!("{namespace},") };
    format!("4{namespace}{{\"message\":{}}}", quoted(why))
}

/// Something happened.
pub(super) fn told(event: &ChannelEvent) -> String {
    format!("2[{},{}]", quoted(&event.name), event.payload)
}

/// An event arrived, and this is what came of it.
pub(super) fn acknowledged(id: u64, payload: &str) -> String {
    format!("3{id}[{payload}]")
}

/// The client may not stay.
pub(super) fn disconnected() -> String {
    "1".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, payload: &str) -> ChannelEvent {
        ChannelEvent { name: name.into(), payload: payload.into() }
    }

    #[test]
    fn packets_are_read_as_the_protocol_writes_them() {
        let connect = |namespace, auth| Packet::Connect { namespace, auth };
        let cases = [
            ("0", connect("/", None)),
            ("0{\"token\":\"a\"}", connect("/", Some("{\"token\":\"a\"}"))),
            ("0/admin,", connect("/admin", None)),
            ("0/admin", connect("/admin", None)),
            ("0/admin?a=b,{\"x\":1}", connect("/admin", Some("{\"x\":1}"))),
            ("1", Packet::Disconnect),
            ("2[\"hello\",1]", Packet::Event { id: None, event: said("hello", "1") }),
            ("212[\"hello\"]", Packet::Event { id: Some(12), event: said("hello", "null") }),
            (
                "2[\"hello\",{\"a\":1},[2]]",
                Packet::Event { id: None, event: said("hello", "[{\"a\":1},[2]]") },
            ),
            ("37[\"ok\"]", Packet::Acknowledgement),
            ("51-[\"hello\",{\"_placeholder\":true,\"num\":0}]", Packet::Binary),
            ("520000-[", Packet::Binary),
        ];
        for (text, packet) in cases {
            assert_eq!(parse(text), Some(packet), "{text}");
        }
    }

    #[test]
    fn what_is_no_packet_is_none() {
        for text in
            ["", "7", "2", "2[]", "2[1]", "2{}", "2[\"a\"", "0[1]", "0{", "é", "299999999999999999999[\"a\"]"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn packets_are_written_as_clients_read_them() {
        assert_eq!(connected("a-b"), r#"0{"sid":"a-b"}"#);
        assert_eq!(refused("/", "no \"x\""), r#"4{"message":"no \"x\""}"#);
        assert_eq!(refused("/admin", "no"), r#"4/admin,{"message":"no"}"#);
        assert_eq!(told(&said("a", "{\"b\":[1]}")), r#"2["a",{"b":[1]}]"#);
        assert_eq!(acknowledged(7, "null"), "37[null]");
    }
}
