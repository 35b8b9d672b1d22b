//! T5's tokenizer: text to ids by a unigram model (transformers' `T5Tokenizer`), from `tokenizer_2/tokenizer.json` or
//! `tokenizer_2/spiece.model`.
//!
//! Must give the ids that transformers gives. So of either file the pieces and the rules for characters are taken, as
//! transformers 5 does, they become the tokenizer that it builds of them, and the same Rust library runs it. Whatever else
//! a `tokenizer.json` wants of that library stays outside: some of it takes for ever, some of it panics.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Precompiled;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{AddedToken, Tokenizer};

use super::charsmap;
use super::sentencepiece::{self, MAX_PIECES, SentencePiece};
use crate::files::ModelFiles;
use crate::{Error, Result};

const JSON: &str = "tokenizer_2/tokenizer.json";
const SENTENCEPIECE: &str = "tokenizer_2/spiece.model";
const EOS: &str = "</s>";
const PAD: &str = "<pad>";
/// Tokens beyond those of the file that T5 was trained with, `<extra_id_99>` first.
const EXTRA_IDS: usize = 100;

/// A tokenizer and the ids that end and fill a sequence.
#[derive(Debug)]
pub struct T5Tokenizer {
    tokenizer: Tokenizer,
    eos: u32,
    pad: u32,
}

impl T5Tokenizer {
    /// Reads `tokenizer_2/`.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Malformed`] name the file; the latter also for a special token that it lacks.
    #[doc(hidden)]
    pub fn open(files: &ModelFiles) -> Result<Self> {
        let name = if files.contains(JSON) { JSON } else { SENTENCEPIECE };
        let bytes = files.bytes(name)?;
        let model = if name == JSON { from_json(&bytes) } else { sentencepiece::parse(&bytes) };
        let tokenizer = model
            .and_then(build)
            .map_err(|reason| files.malformed(name, format!("not a T5 vocabulary: {reason}")))?;
        let id = |token| {
            tokenizer.token_to_id(token).ok_or_else(|| files.malformed(name, format!("no `{token}`")))
        };
        Ok(Self { eos: id(EOS)?, pad: id(PAD)?, tokenizer })
    }

    /// The ids of a text, its end included.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, false);
        let reason =
            |error| Error::Invalid { field: "prompt", reason: format!("cannot be tokenized: {error}") };
        Ok([encoding.map_err(reason)?.get_ids(), &[self.eos]].concat())
    }

    /// The ids of a text, filled up to `length`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a longer text: what would be cut off would be dropped in silence.
    pub fn row(&self, text: &str, length: usize) -> Result<Vec<u32>> {
        let mut ids = self.ids(text)?;
        if ids.len() > length {
            let reason =
                format!("is {} tokens long; this model reads {}; shorten it", ids.len() - 1, length - 1);
            return Err(Error::Invalid { field: "prompt", reason });
        }
        ids.resize(length, self.pad);
        Ok(ids)
    }

    /// One more than the highest id: the rows that the encoder's table must have at least.
    pub(crate) fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab(true).values().max().map_or(0, |id| *id as usize + 1)
    }
}

/// What matters of a `tokenizer.json`.
#[derive(Deserialize)]
struct File {
    model: Model,
    #[serde(default)]
    normalizer: Value,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    unk_id: usize,
    vocab: Vec<(String, f64)>,
}

fn from_json(bytes: &[u8]) -> std::result::Result<SentencePiece, String> {
    let File { model, normalizer } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let Model { kind, unk_id: unknown, vocab: pieces } = model;
    if kind != "Unigram" || pieces.len() > MAX_PIECES || unknown >= pieces.len() {
        let count = pieces.len();
        return Err(format!("a {kind} model of {count} pieces whose unk_id is {unknown}; a Unigram is read"));
    }
    if let Some((piece, score)) = pieces.iter().find(|(_, score)| !score.is_finite()) {
        return Err(format!("piece `{piece}` has the score {score}"));
    }
    Ok(SentencePiece { pieces, unknown, charsmap: charsmap::of_json(&normalizer)? })
}

/// What `T5Tokenizer` of transformers builds, part by part.
fn build(model: SentencePiece) -> std::result::Result<Tokenizer, String> {
    let text = |error: Box<dyn std::error::Error + Send + Sync>| error.to_string();
    let SentencePiece { mut pieces, unknown, charsmap } = model;
    let mut special = vec![EOS.to_string(), PAD.to_string()];
    // the library would give new ids to those that are missing
    if let Some(missing) = special.iter().find(|token| !pieces.iter().any(|(piece, _)| piece == *token)) {
        return Err(format!("special token `{missing}` is not in it"));
    }
    special.extend(pieces.get(unknown).map(|(piece, _)| piece.clone()));
    for index in (0..EXTRA_IDS).rev() {
        let extra = format!("<extra_id_{index}>");
        // `tokenizer.json` has them, `spiece.model` has not
        if !pieces.iter().rev().any(|(piece, _)| *piece == extra) {
            pieces.push((extra.clone(), 0.0));
        }
        special.push(extra);
    }
    let mut tokenizer = Tokenizer::new(Unigram::from(pieces, Some(unknown), false).map_err(text)?);
    if !charsmap.is_empty() {
        charsmap::check(&charsmap)?;
        let normalizer = Precompiled::from(&charsmap).map_err(|error| error.to_string())?;
        tokenizer.with_normalizer(Some(normalizer)).map_err(text)?;
    }
    let words = Sequence::new(vec![
        PreTokenizerWrapper::WhitespaceSplit(WhitespaceSplit),
        PreTokenizerWrapper::Metaspace(Metaspace::new('▁', PrependScheme::Always, true)),
    ]);
    tokenizer.with_pre_tokenizer(Some(words));
    let special: Vec<_> = special.into_iter().map(|token| AddedToken::from(token, true)).collect();
    tokenizer.add_special_tokens(special).map_err(text)?;
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(json: &str) -> Result<T5Tokenizer> {
        let json: &'static [u8] = json.to_string().into_bytes().leak();
        T5Tokenizer::open(&ModelFiles::embedded(vec![(JSON, json)].leak()))
    }

    #[test]
    fn text_becomes_pieces_and_an_end_and_special_tokens_stay_whole() {
        let tokenizer = open(
            r#"{"model": {"type": "Unigram", "unk_id": 2,
                "vocab": [["<pad>", 0], ["</s>", 0], ["<unk>", 0], ["\u2581a", -1], ["b", -2]]}}"#,
        )
        .unwrap();
        assert_eq!(tokenizer.ids("a  ab?").unwrap(), [3, 3, 4, 2, 1]);
        assert_eq!(tokenizer.ids("</s><extra_id_99>").unwrap(), [1, 5, 1]);
        assert_eq!(tokenizer.row("a", 4).unwrap(), [3, 1, 0, 0]);
        assert_eq!(tokenizer.vocabulary(), 5 + EXTRA_IDS);
    }

    #[test]
    fn damaged_vocabularies_are_refused_with_the_files_name() {
        for (json, named) in [
            (r#"{"model": {"type": "BPE", "unk_id": 0, "vocab": [["a", 0]]}}"#, "BPE"),
            (r#"{"model": {"type": "Unigram", "unk_id": 1, "vocab": [["a", 0]]}}"#, "unk_id is 1"),
            (r#"{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0]]}}"#, "`</s>`"),
            (
                r#"{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 1e999]]}}"#,
                "number out of range",
            ),
            (
                r#"{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["</s>", 0], ["<pad>", 0]]},
                    "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}"#,
                "precompiled_charsmap is damaged",
            ),
        ] {
            let error = open(json).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("tokenizer_2/tokenizer.json"), "{json}: {error}");
        }
    }
}
