//! A provider's API key: handed to its plugin, and taken out of everything that comes back.

use std::fmt;
use std::sync::Arc;

/// What stands where a key stood.
const HIDDEN: &str = "[key]";

/// A key. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes any text; spaces around it are no part of it. Nothing where nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The key itself, for the plugin alone.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// A text without the key.
    pub(crate) fn scrub(&self, text: &str) -> String {
        text.replace(&*self.0, HIDDEN)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_neither_printed_nor_left_in_a_text() {
        let secret = Secret::new(" sk-1\n").unwrap();
        assert_eq!(format!("{secret:?}"), "[key]");
        assert_eq!(secret.scrub("no sk-1, not sk-1x"), "no [key], not [key]x");
        assert_eq!(Secret::new(" \n"), None);
    }
}
