//! A GGUF file's vocabulary, as llama.cpp's converter writes it below `tokenizer.ggml.`.

use std::collections::BTreeMap;

use super::patterns::Pattern;
use super::vocabulary::{Added, Kind, MAX_WORDS, Prefix, Vocabulary};
use crate::weights::Metadata;
use crate::{Error, Result};

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const MERGES: &str = "tokenizer.ggml.merges";
const SCORES: &str = "tokenizer.ggml.scores";
/// Longest piece that is cut into pairs; longer ones are runs of spaces, which have shorter runs in them.
const MAX_PIECE_LETTERS: usize = 64;

/// llama.cpp's types of tokens.
const UNKNOWN: f64 = 2.0;
const CONTROL: f64 = 3.0;
const USER_DEFINED: f64 = 4.0;

/// Reads and checks what is there.
///
/// # Errors
/// [`Error::Malformed`] and [`Error::Unsupported`] name the key.
pub(super) fn read(metadata: &Metadata) -> Result<Vocabulary> {
    let tokens = metadata.needed(TOKENS, metadata.texts(TOKENS)?)?;
    let types = metadata.numbers(TYPES)?.unwrap_or_default();
    if tokens.len() > MAX_WORDS || !types.is_empty() && types.len() != tokens.len() {
        let (tokens, types) = (tokens.len(), types.len());
        return Err(metadata.malformed(format!("{tokens} of `{TOKENS}` with {types} of `{TYPES}`")));
    }
    let kind_of = |id: usize| types.get(id).copied().unwrap_or(1.0);
    let mut words = BTreeMap::new();
    let mut added = Vec::new();
    for (text, id) in tokens.iter().zip(0u32..) {
        let kind = kind_of(id as usize);
        if [CONTROL, USER_DEFINED].contains(&kind) {
            let is_special = kind == CONTROL;
            added.push(Added { id, text: text.clone(), is_special, takes_before: false, takes_after: false });
        }
        // fillers may be alike; the first is the one that text becomes
        words.entry(text.clone()).or_insert(id);
    }
    let unknown = (0..tokens.len()).find(|id| kind_of(*id) == UNKNOWN).map(|id| tokens[id].clone());
    let id =
        |key: &str| Ok::<_, Error>(metadata.count(&format!("tokenizer.ggml.{key}"))?.map(|id| id as u32));
    let ends = [id("eos_token_id")?, id("eot_token_id")?, id("eom_token_id")?];
    let model = metadata.needed(MODEL, metadata.text(MODEL)?)?;
    let (merges, kind) = match model {
        "gpt2" => (merges(metadata)?, bytes(metadata)?),
        "llama" => {
            take_space_after(metadata, &mut added)?;
            (merges_of_scores(metadata, tokens, types, &words)?, pieces(metadata, unknown)?)
        }
        other => {
            let value = other.into();
            return Err(Error::Unsupported { what: MODEL, value, supported: "gpt2 and llama" });
        }
    };
    let ends = ends.into_iter().flatten().collect();
    Ok(Vocabulary { words, merges, added, kind, begin: id("bos_token_id")?, ends })
}

fn bytes(metadata: &Metadata) -> Result<Kind> {
    let name = metadata.needed(PRE, metadata.text(PRE)?)?;
    let pattern = Pattern::named(name).ok_or_else(|| Error::Unsupported {
        what: PRE,
        value: name.into(),
        supported: "gpt-2, llama-bpe, qwen2, gpt-4o, tekken and dbrx",
    })?;
    Ok(Kind::Bytes {
        pattern,
        is_composed: pattern == Pattern::Qwen2,
        takes_whole_words: [Pattern::Llama3, Pattern::Tekken].contains(&pattern),
    })
}

fn pieces(metadata: &Metadata, unknown: Option<String>) -> Result<Kind> {
    let is_put = metadata.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    Ok(Kind::Pieces { prefix: if is_put { Prefix::Each } else { Prefix::Never }, unknown })
}

/// Phi 3's special tokens take the space after them, which its files do not say; llama.cpp knows it by heart.
fn take_space_after(metadata: &Metadata, added: &mut [Added]) -> Result<()> {
    if metadata.text("general.architecture")? == Some("phi3") {
        let special = added.iter_mut().filter(|token| token.is_special && token.text.starts_with("<|"));
        special.for_each(|token| token.takes_after = true);
    }
    Ok(())
}

fn merges(metadata: &Metadata) -> Result<Vec<(String, String)>> {
    let list = metadata.needed(MERGES, metadata.texts(MERGES)?)?;
    let pair = |(index, text): (usize, &String)| {
        let (first, second) = text.split_once(' ').ok_or_else(|| {
            metadata.malformed(format!("`{MERGES}`[{index}] has no space between two words"))
        })?;
        Ok((first.into(), second.into()))
    };
    list.iter().enumerate().map(pair).collect()
}

/// Every pair of pieces that makes a piece, the best piece first: what SentencePiece does by scores, as transformers writes
/// it down (`generate_merges`).
fn merges_of_scores(
    metadata: &Metadata,
    tokens: &[String],
    types: &[f64],
    words: &BTreeMap<String, u32>,
) -> Result<Vec<(String, String)>> {
    let scores = metadata.needed(SCORES, metadata.numbers(SCORES)?)?;
    if scores.len() != tokens.len() || scores.iter().any(|score| !score.is_finite()) {
        return Err(metadata.malformed(format!("`{SCORES}` is to hold a number for each of `{TOKENS}`")));
    }
    let mut found = Vec::new();
    for (id, piece) in tokens.iter().enumerate() {
        let is_plain = types.get(id).is_none_or(|kind| *kind == 1.0);
        if !is_plain || piece.chars().nth(MAX_PIECE_LETTERS).is_some() {
            continue;
        }
        for (at, _) in piece.char_indices().skip(1) {
            let (first, second) = piece.split_at(at);
            if let (Some(left), Some(right)) = (words.get(first), words.get(second)) {
                found.push((scores[id], first.chars().count(), second.chars().count(), *left, *right));
            }
        }
    }
    found.sort_by(|one, other| {
        let order = other.0.total_cmp(&one.0).then(other.1.cmp(&one.1)).then(other.2.cmp(&one.2));
        order.then((one.3, one.4).cmp(&(other.3, other.4)))
    });
    let text = |id: u32| tokens[id as usize].clone();
    Ok(found.into_iter().map(|(.., left, right)| (text(left), text(right))).collect())
}
