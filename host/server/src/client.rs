//! Where a request comes from, for the components that may know: the address of the connection, or what a proxy that the
//! operator trusts says in `x-forwarded-for`. Nobody else's word counts.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// An address, or all whose first bits are the same: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let shared = |first: u128, other: u128, width: u32| {
            let rest = width.saturating_sub(u32::from(self.bits));
            // a shift by the whole width is not one
            rest >= width || first >> rest == other >> rest
        };
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(other)) => {
                shared(first.to_bits().into(), other.to_bits().into(), 32)
            }
            (IpAddr::V6(first), IpAddr::V6(other)) => shared(first.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (first, bits) = text.split_once('/').map_or((text, None), |(first, bits)| (first, Some(bits)));
        let first = first.parse::<IpAddr>().map_err(|_| ())?.to_canonical();
        let width = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), |bits| bits.parse().map_err(|_| ()))?;
        if bits > width { Err(()) } else { Ok(Self { first, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// Writes the client's address into the headers that a component will see, in place of all that they say about it.
pub(crate) fn tell(headers: &mut HeaderMap, peer: SocketAddr, trusted: &[Network]) {
    let address = address(headers, peer.ip(), trusted);
    for name in [&FORWARDED, &REAL_IP] {
        headers.remove(name);
    }
    // an address is visible ASCII
    if let Ok(value) = HeaderValue::from_str(&address.to_string()) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// The last of those who passed the request on that is no proxy of ours. Each proxy adds the address from which it got the
/// request at the end, so everything before the first stranger's, seen from the end, is the stranger's own word.
pub(crate) fn address(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let lists = headers.get_all(FORWARDED_FOR).iter().rev().map(|value| value.to_str().unwrap_or_default());
    let mut passed_on = lists.flat_map(|list| list.rsplit(',')).map(|text| text.trim().parse::<IpAddr>());
    let mut client = peer.to_canonical();
    while is_trusted(client) {
        match passed_on.next() {
            Some(Ok(before)) => client = before.to_canonical(),
            // what a proxy did not write as an address leads no further
            Some(Err(_)) | None => break,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn told(peer: &str, said: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        said.iter().for_each(|said| {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(said).unwrap());
        });
        headers.insert(REAL_IP, HeaderValue::from_static("6.6.6.6"));
        headers.insert(FORWARDED, HeaderValue::from_static("for=6.6.6.6"));
        tell(&mut headers, SocketAddr::new(peer.parse().unwrap(), 1234), &networks(trusted));
        assert!(!headers.contains_key(REAL_IP) && !headers.contains_key(FORWARDED));
        assert_eq!(headers.get_all(FORWARDED_FOR).iter().count(), 1);
        headers[FORWARDED_FOR].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_strangers_word_does_not_count() {
        assert_eq!(told("192.0.2.1", &["6.6.6.6"], &[]), "192.0.2.1");
        assert_eq!(told("::ffff:192.0.2.1", &["6.6.6.6"], &["10.0.0.0/8"]), "192.0.2.1");
        assert_eq!(told("10.0.0.1", &["6.6.6.6, 198.51.100.7"], &["10.0.0.0/8"]), "198.51.100.7");
    }

    #[test]
    fn proxies_behind_each_other_are_looked_through() {
        let ours = ["10.0.0.0/8", "fd00::/8"];
        assert_eq!(told("10.0.0.1", &["198.51.100.7, fd00::2", "10.9.9.9"], &ours), "198.51.100.7");
        assert_eq!(told("10.0.0.1", &[], &ours), "10.0.0.1");
        assert_eq!(told("10.0.0.1", &["unknown"], &ours), "10.0.0.1");
    }

    #[test]
    fn a_network_is_an_address_and_the_bits_that_count() {
        for (text, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("10.0.0.0/8", "10.255.1.1", "11.0.0.0"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ] {
            let [network] = networks(&[text])[..] else { panic!("{text}") };
            assert!(network.contains(inside.parse().unwrap()), "{text}");
            assert!(!network.contains(outside.parse().unwrap()), "{text}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0.0/x", "proxy.internal", "::/129"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
