//! Which addresses a guest's request may go to: the public ones, and of the rest only what an operator granted. Judges
//! numbers; where they come from and what was granted is the caller's knowledge.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address is from the public internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Anybody's.
    Public,
    /// Of this machine or its own network; a named server may be granted there. With a word for what it is.
    Private(&'static str),
    /// No name should ever lead there.
    Never(&'static str),
}

/// Judges an address. Forms that carry another address inside are judged by that one.
pub(super) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => of_v6(address),
    }
}

fn of_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        [0, ..] => Reach::Never("the unspecified address"),
        [127, ..] => Reach::Private("this machine's own"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Reach::Private("of a private network"),
        // clouds' metadata servers that stand among private or public addresses
        [100, 100, 100, 200] | [168, 63, 129, 16] => Reach::Never("a cloud's metadata server"),
        [100, 64..=127, ..] => Reach::Private("of a carrier's shared network"),
        [169, 254, ..] => Reach::Never("link-local, where clouds keep their credentials"),
        [192, 0, 0, _] | [192, 88, 99, _] => Reach::Never("reserved for protocols"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Reach::Never("reserved for documentation"),
        [198, 18..=19, ..] => Reach::Never("reserved for benchmarks"),
        [224..=239, ..] => Reach::Never("a multicast group"),
        [240..=255, ..] => Reach::Never("reserved"),
        _ => Reach::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Reach {
    if let Some(inner) = address.to_ipv4_mapped() {
        return of_v4(inner);
    }
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Reach::Never("the unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Private("this machine's own"),
        // how networks without IPv4 reach servers that have nothing else
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of_v4(embedded(high, low)),
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            Reach::Never("a cloud's metadata server")
        }
        [0xfc00..=0xfdff, ..] => Reach::Private("of a private network"),
        [0xfe80..=0xfebf, ..] => Reach::Never("link-local"),
        [0xff00..=0xffff, ..] => Reach::Never("a multicast group"),
        // 6to4 and Teredo carry IPv4 addresses through anybody's relays; the rest of 2001::/23 is for protocols
        [0x2002, ..] | [0x2001, 0..=0x1ff, ..] => Reach::Never("reserved for protocols"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Reach::Never("reserved for documentation"),
        // all that was ever given out as public; the rest is IPv4-compatible, local or unassigned
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Never("not a public one"),
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Reach {
        reach(text.parse().unwrap())
    }

    #[test]
    fn public_addresses_are_public_whatever_carries_them() {
        for text in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "192.0.1.1", "223.255.255.255", "2606:4700::1111"]
        {
            assert_eq!(judge(text), Reach::Public, "{text}");
        }
        for text in ["::ffff:1.1.1.1", "64:ff9b::1.1.1.1"] {
            assert_eq!(judge(text), Reach::Public, "{text}");
        }
    }

    #[test]
    fn what_is_private_is_so_in_every_form() {
        let addresses =
            ["127.0.0.1", "127.255.255.255", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1"];
        for text in addresses.into_iter().chain(["100.64.0.1", "100.127.255.255"]) {
            for form in [text.to_owned(), format!("::ffff:{text}"), format!("64:ff9b::{text}")] {
                assert!(matches!(judge(&form), Reach::Private(_)), "{form}: {:?}", judge(&form));
            }
        }
        for text in ["::1", "fc00::1", "fd12:3456::1"] {
            assert!(matches!(judge(text), Reach::Private(_)), "{text}");
        }
    }

    #[test]
    fn no_name_leads_to_metadata_multicast_or_nowhere() {
        let v4 = [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
        ];
        for text in v4.into_iter().chain([
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
        ]) {
            for form in [text.to_owned(), format!("::ffff:{text}"), format!("64:ff9b::{text}")] {
                assert!(matches!(judge(&form), Reach::Never(_)), "{form}: {:?}", judge(&form));
            }
        }
        let v6 =
            ["::", "::127.0.0.1", "::10.0.0.1", "fe80::1", "fec0::1", "ff02::1", "2002:7f00:1::", "2001::1"];
        for text in v6.into_iter().chain([
            "2001:db8::1",
            "3fff::1",
            "64:ff9b:1::1",
            "100::1",
            "4000::1",
            "fd00:ec2::254",
        ]) {
            assert!(matches!(judge(text), Reach::Never(_)), "{text}: {:?}", judge(text));
        }
    }
}
