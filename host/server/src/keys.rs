//! API keys: made, read, hashed, compared. `atl_<whose>_<secret>_<checksum>`: a prefix by which scanners find leaked keys,
//! whose it is for people who sort them, a secret of 166 random bits, and a CRC-32 by which a slip of the hand is told from
//! a key that was revoked. The host keeps hashes only; a secret of that size needs no slow hash and no salt.
//!
//! Owns the only type that holds a key. It cannot be printed, and is dropped where it was checked.

use std::fmt;
use std::str::FromStr;

use rand::distr::{Alphanumeric, SampleString};
use serde::{Serialize, Serializer};

/// What every key begins with.
pub(crate) const PREFIX: &str = "atl_";
/// Letters and digits of the secret: 62^28 is over 2^166.
const SECRET_CHARS: usize = 28;
/// Letters and digits that hold 32 bits.
const CHECKSUM_CHARS: usize = 6;
/// Of a tenant's id, as much goes into its keys.
const WHOSE_CHARS: usize = 16;
/// Longer than any key.
const MAX_KEY_BYTES: usize = 64;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key that is well formed. Whether it opens anything is the directory's business.
pub(crate) struct Key(String);

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// It has another form.
    Form,
    /// It has the form of a key and a character is wrong.
    Checksum,
}

/// What the manifest has instead of a key: its BLAKE3, in 64 hexadecimal digits. Compares in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(blake3::Hash);

impl Key {
    /// A new key that nobody can guess.
    pub(crate) fn mint(whose: &str) -> Key {
        let whose: String = whose.chars().take(WHOSE_CHARS).map(|c| if c == '_' { '-' } else { c }).collect();
        let secret = Alphanumeric.sample_string(&mut rand::rng(), SECRET_CHARS);
        let body = format!("{PREFIX}{whose}_{secret}");
        let checksum = checksum(&body);
        Key(format!("{body}_{checksum}"))
    }

    /// Takes a text that has the form of a key.
    pub(crate) fn parse(text: &str) -> Result<Key, NoKey> {
        let (body, given) = text.rsplit_once('_').ok_or(NoKey::Form)?;
        let (whose, secret) =
            body.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(NoKey::Form)?;
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_key = text.len() <= MAX_KEY_BYTES
            && !whose.is_empty()
            && plain(&whose.replace('-', ""))
            && (secret.len(), given.len()) == (SECRET_CHARS, CHECKSUM_CHARS)
            && plain(secret)
            && plain(given);
        match (is_key, given == checksum(body)) {
            (true, true) => Ok(Key(text.to_owned())),
            (true, false) => Err(NoKey::Checksum),
            (false, _) => Err(NoKey::Form),
        }
    }

    /// What is compared and kept.
    pub(crate) fn hash(&self) -> KeyHash {
        KeyHash(blake3::hash(self.0.as_bytes()))
    }

    /// The key itself, for the one moment at which it is shown.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().copied().map(char::from).collect()
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(********)")
    }
}

impl KeyHash {
    /// The first bytes, by which a table is searched: they tell nothing of the key, and the rest is compared in constant
    /// time.
    pub(crate) fn bucket(&self) -> [u8; 8] {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.as_bytes()[..8]);
        first
    }
}

impl FromStr for KeyHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "wants 64 hexadecimal digits";
        blake3::Hash::from_hex(text).map(KeyHash).map_err(|_| wrong)
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.to_hex())
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

impl Serialize for KeyHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_again_and_no_two_are_equal() {
        let (one, other) = (Key::mint("team_7"), Key::mint("team_7"));
        assert!(one.reveal().starts_with("atl_team-7_"), "{}", one.reveal());
        assert_eq!(Key::parse(one.reveal()).unwrap().hash(), one.hash());
        assert_ne!(one.hash(), other.hash());
        assert_eq!(one.hash().to_string().parse(), Ok(one.hash()));
    }

    #[test]
    fn the_longest_tenant_id_gives_a_key_that_is_read_again() {
        assert!(Key::parse(Key::mint(&"a_-9".repeat(16)).reveal()).is_ok());
    }

    #[test]
    fn a_slip_of_the_hand_is_told_from_another_text() {
        let key = Key::mint("a").reveal().to_owned();
        for at in PREFIX.len()..key.len() {
            let mut slip = key.clone().into_bytes();
            slip[at] = match slip[at] {
                b'_' => continue,
                b'x' => b'y',
                _ => b'x',
            };
            let slip = String::from_utf8(slip).unwrap();
            assert_eq!(Key::parse(&slip).unwrap_err(), NoKey::Checksum, "{at}");
        }
        let long = format!("{key}{key}");
        for text in ["", "atl_", "sk-abc", "atl_a_b_c", "atl_ä_b_c", &key[1..], &key[..key.len() - 1], &long]
        {
            assert_eq!(Key::parse(text).unwrap_err(), NoKey::Form, "{text}");
        }
    }

    #[test]
    fn a_key_does_not_print_itself() {
        let key = Key::mint("a");
        assert!(!format!("{key:?}").contains(key.reveal()));
    }

    #[test]
    fn a_hash_is_64_digits() {
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65)] {
            assert!(text.parse::<KeyHash>().is_err(), "{text}");
        }
        assert!("a".repeat(64).parse::<KeyHash>().is_ok());
    }
}
