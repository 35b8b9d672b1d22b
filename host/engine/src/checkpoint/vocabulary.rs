//! CLIP's vocabulary, for checkpoints without one: all of these families were trained with it, and single files leave it
//! out. Embedded as merges (`clip/README.md`), from which the words follow; goes out as the files that a folder has.

use std::collections::BTreeMap;

use serde_json::json;

/// As transformers writes it: a header, then two parts on each line.
pub(super) const MERGES: &str = include_str!("clip/merges.txt");
/// Marks the end of a word.
const END: &str = "</w>";
const SPECIAL: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];

/// `vocab.json`: every byte, every byte that ends a word, every merge, and the two words around a text.
pub(super) fn vocabulary() -> Vec<u8> {
    let bytes: Vec<String> = bytes().map(String::from).collect();
    let ends = bytes.iter().map(|letter| format!("{letter}{END}"));
    let merges = MERGES.lines().skip(1).map(|line| line.replace(' ', ""));
    let words = bytes.iter().cloned().chain(ends).chain(merges).chain(SPECIAL.map(String::from));
    let ids: BTreeMap<String, usize> = words.enumerate().map(|(id, word)| (word, id)).collect();
    json!(ids).to_string().into_bytes()
}

/// The letter that stands for each byte, in the order of their ids: printable ones stand for themselves, the others for
/// letters from 256 on (OpenAI's `bytes_to_unicode`).
fn bytes() -> impl Iterator<Item = char> {
    let printable = || ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ');
    let others = (0..=255u8).filter(move |byte| !printable().any(|letter| letter == char::from(*byte)));
    printable().chain((256..).zip(others).filter_map(|(code, _)| char::from_u32(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_has_the_ids_of_clip() {
        let ids: BTreeMap<String, usize> = serde_json::from_slice(&vocabulary()).unwrap();
        assert_eq!(ids.len(), 49_408);
        // from the vocab.json that is published with the model
        for (word, id) in [
            ("!", 0),
            ("<|startoftext|>", 49_406),
            ("<|endoftext|>", 49_407),
            ("cat</w>", 2_368),
            ("a</w>", 320),
        ] {
            assert_eq!(ids[word], id, "{word}");
        }
    }
}
