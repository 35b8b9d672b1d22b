//! SentencePiece's compiled rules for normalising text, checked before the library that runs them sees them: it follows
//! their offsets without asking, and a wrong one would end the thread in the middle of a request.
//!
//! The form is that of `spm_precompiled`: the length of a trie, the trie in words of 32 bits (a double array whose units
//! hold a label, an offset and whether a rule ends there), then all replacements, each ended by a zero byte.

use base64::Engine;
use serde_json::Value;

/// The rules of a `tokenizer.json`'s `normalizer`, which is they or a list with them; none where there are none.
pub(super) fn of_json(normalizer: &Value) -> Result<Vec<u8>, String> {
    let steps = normalizer.get("normalizers").and_then(Value::as_array);
    let steps = steps.map_or(std::slice::from_ref(normalizer), Vec::as_slice);
    let rules = steps.iter().find_map(|step| step.get("precompiled_charsmap")?.as_str());
    let decoded = base64::engine::general_purpose::STANDARD.decode(rules.unwrap_or_default());
    decoded.map_err(|error| format!("precompiled_charsmap: {error}"))
}

/// Walks every state of the trie that a text can lead to.
pub(super) fn check(rules: &[u8]) -> Result<(), String> {
    let damaged = || "precompiled_charsmap is damaged".to_string();
    let trie = Trie::read(rules).ok_or_else(damaged)?;
    let mut seen = vec![false; trie.units.len() + 256];
    let mut left = vec![trie.root().ok_or_else(damaged)?];
    while let Some(state) = left.pop() {
        // a state that is no unit itself still lies in the block of the units behind it
        if seen.get(state).is_some_and(|seen| *seen) {
            continue;
        }
        if let Some(seen) = seen.get_mut(state) {
            *seen = true;
        }
        for byte in 1..=255 {
            left.extend(trie.next(state, byte).ok_or_else(damaged)?);
        }
    }
    Ok(())
}

struct Trie<'a> {
    units: Vec<usize>,
    replacements: &'a str,
}

impl<'a> Trie<'a> {
    fn read(rules: &'a [u8]) -> Option<Self> {
        let (length, rest) = rules.split_first_chunk::<4>()?;
        let words = u32::from_le_bytes(*length) as usize / 4;
        let (units, rest) = rest.split_at_checked(words * 4)?;
        let units = units.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit) as usize).collect();
        Some(Self { units, replacements: std::str::from_utf8(rest).ok()? })
    }

    fn root(&self) -> Option<usize> {
        self.units.first().map(|unit| offset(*unit))
    }

    /// Where a byte leads: nowhere (an empty list), or to another state; `None` where following it would fail.
    fn next(&self, state: usize, byte: usize) -> Option<Option<usize>> {
        let unit = *self.units.get(state ^ byte)?;
        if unit & (1 << 31 | 0xff) != byte {
            return Some(None);
        }
        let next = state ^ byte ^ offset(unit);
        let is_end = unit >> 8 & 1 == 1;
        if is_end {
            let start = *self.units.get(next)? & ((1 << 31) - 1);
            self.replacements.is_char_boundary(start).then_some(())?;
        }
        Some(Some(next))
    }
}

/// As Darts-clone packs it: far offsets in steps of 256.
fn offset(unit: usize) -> usize {
    (unit >> 10) << ((unit & (1 << 9)) >> 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trie with the one rule "a" to "bc", as Darts-clone lays it out in one block of 256 units.
    fn rules() -> Vec<u8> {
        let mut units = vec![0u32; 512];
        let leaf = 256; // the state behind "a"
        units[0] = 0; // the root's offset is 0
        units[97] = 97 | 1 << 8 | ((97 ^ leaf) << 10);
        units[leaf as usize] = 1 << 31;
        let words: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        [&(words.len() as u32).to_le_bytes(), words.as_slice(), b"bc\0"].concat()
    }

    #[test]
    fn sound_rules_pass_and_run() {
        check(&rules()).unwrap();
        let library = tokenizers::normalizers::Precompiled::from(&rules()).unwrap();
        assert_eq!(library.normalize_string("xaz"), "xbcz");
    }

    #[test]
    fn offsets_outside_of_the_trie_or_the_replacements_are_found() {
        let damage = |unit: usize, value: u32| {
            let mut rules = rules();
            rules[4 + 4 * unit..][..4].copy_from_slice(&value.to_le_bytes());
            rules
        };
        for damaged in
            [damage(0, 1 << 20), damage(97, 97 | 1 << 20), damage(256, 4), vec![], vec![9, 0, 0, 0]]
        {
            assert!(check(&damaged).is_err());
        }
    }

    #[test]
    fn rules_are_found_alone_and_in_a_list() {
        let step = serde_json::json!({"type": "Precompiled", "precompiled_charsmap": "AAEC"});
        let list = serde_json::json!({"type": "Sequence", "normalizers": [{"type": "Strip"}, step]});
        for normalizer in [step, list] {
            assert_eq!(of_json(&normalizer).unwrap(), [0, 1, 2]);
        }
        assert!(of_json(&Value::Null).unwrap().is_empty());
    }
}
