//! `[signing]`: whose components are believed. What a signature is, `signing.rs` of the crate knows.

use std::collections::BTreeSet;

use serde::Serialize;

use super::check::is_name;
use super::raw::{Found, Table};
pub use crate::signing::PublicKey;

const MAX_KEYS: usize = 64;

/// `[signing]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Signing {
    /// Whether every component from a file must be signed; else only a signature that is there must be right.
    pub required: bool,
    /// The keys that count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<SigningKey>,
}

/// A key that signs components, by its public half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SigningKey {
    /// Its name in messages.
    pub name: String,
    /// Its public half.
    pub public_key: PublicKey,
}

impl Signing {
    /// Whether anybody looks at signatures.
    pub fn is_asked(&self) -> bool {
        self.required || !self.keys.is_empty()
    }
}

/// A section that stands there means it: signatures are required unless it says otherwise.
pub(super) fn signing(table: Table<'_>) -> Signing {
    let required = table.boolean("required").unwrap_or(table.is_given());
    let (tables, mut seen) = (table.tables("keys"), Seen::default());
    if required && tables.is_empty() {
        let fix = "without one no component's file is believed; `atelier component key new` makes one";
        table.missing("keys", fix);
    }
    if tables.len() > MAX_KEYS {
        table.problem(table.at(), format!("has {} keys; at most {MAX_KEYS}", tables.len()));
    }
    let mut keys = Vec::new();
    for table in tables {
        keys.extend(key(&table, &mut seen));
        table.finish();
    }
    table.finish();
    Signing { required, keys }
}

#[derive(Default)]
struct Seen {
    names: BTreeSet<String>,
    keys: BTreeSet<PublicKey>,
}

fn key(table: &Table<'_>, seen: &mut Seen) -> Option<SigningKey> {
    let wanted = "an Ed25519 public key as `atelier component key new` or `openssl pkey -pubout` prints it";
    let (name, public_key) = (table.text("name"), table.parsed("public-key", wanted));
    if name.is_none() {
        table.missing("name", "give the key a name by which messages call it");
    }
    if public_key.is_none() {
        table.missing("public-key", "`atelier component key new` prints it");
    }
    let (Found { value: name, at }, Found { value: public_key, at: key_at }) = (name?, public_key?);
    if !is_name(&name) {
        table.problem(&at, format!("wants up to 64 letters, digits, `-`, `_` and `.`, not `{name}`"));
    } else if !seen.names.insert(name.clone()) {
        table.problem(&at, format!("there is a key `{name}` already; give this one another name"));
    }
    if !seen.keys.insert(public_key) {
        table.problem(&key_at, "is listed already under another name; keep one of the two");
    }
    Some(SigningKey { name, public_key })
}
