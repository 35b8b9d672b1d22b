//! What the files of a tokenizer say, in one form: words, pairs that are merged, tokens that are found before text is cut.
//! Checked once, here, whatever file it comes from.

use std::collections::BTreeMap;

use super::patterns::Pattern;
use crate::tokenizer::byte_level::byte;
use crate::tokenizer::vocabulary::MAX_ADDED_BYTES;

/// Most ids; Gemma 3 has 262,145.
pub(super) const MAX_WORDS: usize = 1 << 19;
/// Most tokens that are found before text is cut; Gemma 3 has 6,415.
pub(super) const MAX_ADDED: usize = 1 << 14;
/// What stands for a space in pieces.
pub(super) const SPACE: char = '▁';
/// What a file says, checked.
pub(super) struct Vocabulary {
    pub(super) words: BTreeMap<String, u32>,
    /// Pairs of words, those that are merged first before others.
    pub(super) merges: Vec<(String, String)>,
    /// Found before text is cut.
    pub(super) added: Vec<Added>,
    pub(super) kind: Kind,
    /// Ids that begin a text, and that end one.
    pub(super) begin: Option<u32>,
    pub(super) ends: Vec<u32>,
}

/// A token that is found before text is cut.
#[derive(Debug, Clone)]
pub(super) struct Added {
    pub(super) id: u32,
    pub(super) text: String,
    /// Whether it has a meaning beside its text.
    pub(super) is_special: bool,
    /// Whether it takes the white space before it, and after it.
    pub(super) takes_before: bool,
    pub(super) takes_after: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Words over bytes.
    Bytes { pattern: Pattern, is_composed: bool, takes_whole_words: bool },
    /// Pieces over characters.
    Pieces { prefix: Prefix, unknown: Option<String> },
}

/// Where a space is put before text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    Never,
    /// At the beginning of all, unless there is one.
    First,
    /// At the beginning, and after each added token.
    Each,
}

impl Vocabulary {
    /// What holds whatever the file's form: ids are small and words are known.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        let (words, merges, added) = (self.words.len(), self.merges.len(), self.added.len());
        // a piece can be made of many pairs
        if words == 0 || words > MAX_WORDS || merges > 8 * MAX_WORDS || added > MAX_ADDED {
            return Err(format!("{words} words, {merges} merges and {added} added tokens make no sense"));
        }
        let wrong = self.words.iter().find(|(_, id)| **id as usize >= MAX_WORDS);
        if let Some((word, id)) = wrong {
            return Err(format!("`{word}` has the id {id}; ids below {MAX_WORDS} make sense"));
        }
        let wrong = |token: &&Added| token.id as usize >= MAX_WORDS || token.text.len() > MAX_ADDED_BYTES;
        if let Some(Added { id, text, .. }) = self.added.iter().find(wrong) {
            return Err(format!(
                "added token `{text}` has the id {id}, or more than {MAX_ADDED_BYTES} bytes"
            ));
        }
        let known = |word: &str| self.words.contains_key(word);
        let wrong = self
            .merges
            .iter()
            .find(|(first, second)| !known(first) || !known(second) || !known(&format!("{first}{second}")));
        match wrong {
            Some((first, second)) => {
                Err(format!("`{first} {second}` is no pair of known words that makes a known word"))
            }
            None => Ok(()),
        }
    }

    /// What each id adds to a text.
    pub(super) fn bytes(&self) -> Vec<Option<Vec<u8>>> {
        let ids = self.words.values().copied().chain(self.added.iter().map(|token| token.id));
        let mut bytes = vec![None; ids.max().map_or(0, |id| id as usize + 1)];
        for (word, id) in &self.words {
            bytes[*id as usize] = match &self.kind {
                Kind::Bytes { .. } => Some(word.chars().filter_map(byte).collect()),
                Kind::Pieces { unknown, .. } if unknown.as_ref() == Some(word) => None,
                Kind::Pieces { .. } => Some(piece_bytes(word)),
            };
        }
        for token in &self.added {
            bytes[token.id as usize] = (!token.is_special).then(|| token.text.clone().into_bytes());
        }
        bytes
    }
}

/// `<0x0A>` is a byte, and everything else text.
fn piece_bytes(piece: &str) -> Vec<u8> {
    let hexadecimal = piece.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    match hexadecimal
        .filter(|digits| digits.len() == 2)
        .and_then(|digits| u8::from_str_radix(digits, 16).ok())
    {
        Some(byte) => vec![byte],
        None => piece.replace(SPACE, " ").into_bytes(),
    }
}
