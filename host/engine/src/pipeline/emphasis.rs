//! Emphasis within a prompt, in the syntax that Stable Diffusion web UI (A1111) made common: `(more)`, `[less]`,
//! `(this much:1.3)`, a backslash before a bracket that is meant, and `BREAK` for a new chunk. What a weight does to the
//! text's states is one of three rules. Without a rule a prompt is plain text, as in diffusers.
//!
//! Reference: `parse_prompt_attention` and `sd_emphasis.py` of the web UI; `encode_token_weights` of ComfyUI.

use atelier_inference::Emphasis;
use candle_core::Tensor;

use crate::Result;

/// Of one round bracket; a square one divides by it.
const STEP: f32 = 1.1;
const BREAK: &str = "BREAK";

/// A stretch of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// Text, and how much it weighs.
    Text(String, f32),
    /// The next piece begins a chunk.
    Break,
}

/// A prompt's pieces, in order. Neighbours of equal weight are one piece, because texts are tokenized piece by piece.
pub(super) fn pieces(prompt: &str, emphasis: Emphasis) -> Vec<Piece> {
    match emphasis {
        Emphasis::None => vec![Piece::Text(prompt.into(), 1.0)],
        Emphasis::A1111 | Emphasis::A1111NoNorm | Emphasis::Comfy => Parser::default().parse(prompt),
    }
}

#[derive(Default)]
struct Parser {
    pieces: Vec<Piece>,
    /// Where the open brackets began, round and square.
    round: Vec<usize>,
    square: Vec<usize>,
}

impl Parser {
    fn parse(mut self, prompt: &str) -> Vec<Piece> {
        let mut rest = prompt;
        while let Some(first) = rest.chars().next() {
            rest = self.token(first, rest);
        }
        // what is never closed reaches to the end
        for start in std::mem::take(&mut self.round) {
            self.multiply(start, STEP);
        }
        for start in std::mem::take(&mut self.square) {
            self.multiply(start, 1.0 / STEP);
        }
        self.merged()
    }

    /// Takes one token off the front; answers what is left.
    fn token<'a>(&mut self, first: char, rest: &'a str) -> &'a str {
        let after = &rest[first.len_utf8()..];
        match first {
            '\\' => {
                let meant = after.chars().next().filter(|letter| "()[]\\".contains(*letter));
                let length = meant.map_or(0, char::len_utf8);
                self.push(&after[..length]);
                return &after[length..];
            }
            '(' => self.round.push(self.pieces.len()),
            '[' => self.square.push(self.pieces.len()),
            ')' if !self.round.is_empty() => self.close_round(STEP),
            ']' if !self.square.is_empty() => {
                let start = self.square.pop().unwrap_or_default();
                self.multiply(start, 1.0 / STEP);
            }
            ':' => match weight(after).filter(|_| !self.round.is_empty()) {
                Some((weight, left)) => {
                    self.close_round(weight);
                    return left;
                }
                None => self.push(":"),
            },
            ')' | ']' => self.push(&rest[..1]),
            _ => {
                let end = rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len());
                self.text(&rest[..end]);
                return &rest[end..];
            }
        }
        after
    }

    fn close_round(&mut self, weight: f32) {
        let start = self.round.pop().unwrap_or_default();
        self.multiply(start, weight);
    }

    /// Text without brackets, which may hold the word that begins a chunk.
    fn text(&mut self, text: &str) {
        let mut left = text;
        while let Some((before, after)) = split_at_break(left) {
            self.push(before);
            self.pieces.push(Piece::Break);
            left = after;
        }
        self.push(left);
    }

    fn push(&mut self, text: &str) {
        self.pieces.push(Piece::Text(text.into(), 1.0));
    }

    fn multiply(&mut self, start: usize, by: f32) {
        for piece in &mut self.pieces[start..] {
            if let Piece::Text(_, weight) = piece {
                *weight *= by;
            }
        }
    }

    fn merged(self) -> Vec<Piece> {
        let mut merged: Vec<Piece> = Vec::new();
        for piece in self.pieces {
            match (merged.last_mut(), piece) {
                (Some(Piece::Text(text, weight)), Piece::Text(more, same)) if *weight == same => {
                    text.push_str(&more)
                }
                (_, piece) => merged.push(piece),
            }
        }
        merged
    }
}

/// `1.3)` and what follows: the end of an emphasis that says how much.
fn weight(text: &str) -> Option<(f32, &str)> {
    let (number, left) = text.split_once(')')?;
    let is_number = number.starts_with(|letter: char| "+-.0123456789".contains(letter));
    let weight: f32 = number.parse().ok().filter(|_| is_number)?;
    weight.is_finite().then_some((weight, left))
}

/// Before and after the word, which stands alone; the space around it goes with it.
fn split_at_break(text: &str) -> Option<(&str, &str)> {
    let alone = |(at, _): &(usize, &str)| {
        let word = |letter: char| letter.is_alphanumeric() || letter == '_';
        !text[..*at].ends_with(word) && !text[at + BREAK.len()..].starts_with(word)
    };
    let (at, _) = text.match_indices(BREAK).find(alone)?;
    Some((text[..at].trim_end(), text[at + BREAK.len()..].trim_start()))
}

/// What weights do to states (chunks, tokens, width); `weights` are one per token, chunk after chunk. `empty` are the
/// states of a chunk without text: (1, tokens, width).
pub(super) fn apply(
    emphasis: Emphasis,
    states: &Tensor,
    weights: &[f32],
    empty: impl FnOnce() -> Result<Tensor>,
) -> Result<Tensor> {
    if weights.iter().all(|weight| *weight == 1.0) {
        return Ok(states.clone());
    }
    let (chunks, tokens, _) = states.dims3()?;
    let weights = Tensor::from_slice(weights, (chunks, tokens, 1), states.device())?;
    match emphasis {
        Emphasis::None => Ok(states.clone()),
        Emphasis::A1111NoNorm => Ok(states.broadcast_mul(&weights)?),
        Emphasis::A1111 => {
            let weighted = states.broadcast_mul(&weights)?;
            // each chunk keeps its own mean
            let mean = |x: &Tensor| x.mean_keepdim((1, 2));
            Ok(weighted.broadcast_mul(&(mean(states)? / mean(&weighted)?)?)?)
        }
        Emphasis::Comfy => {
            let empty = empty()?.broadcast_as(states.shape())?;
            Ok(((states - &empty)?.broadcast_mul(&weights)? + empty)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn parsed(prompt: &str) -> Vec<(String, f32)> {
        let text = |piece| match piece {
            Piece::Text(text, weight) => (text, (weight * 1e4).round() / 1e4),
            Piece::Break => ("|".into(), 0.0),
        };
        pieces(prompt, Emphasis::A1111).into_iter().map(text).collect()
    }

    fn expected(list: &[(&str, f32)]) -> Vec<(String, f32)> {
        list.iter().map(|(text, weight)| (text.to_string(), *weight)).collect()
    }

    #[test]
    fn brackets_weigh_as_in_the_web_ui() {
        for (prompt, list) in [
            ("normal text", [("normal text", 1.0)].as_slice()),
            ("an (important) word", &[("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
            ("(unbalanced", &[("unbalanced", 1.1)]),
            (r"\(literal\]", &[("(literal]", 1.0)]),
            ("(unnecessary)(parens)", &[("unnecessaryparens", 1.1)]),
            ("a (b:1.5:2) c", &[("a ", 1.0), ("b:1.5", 2.0), (" c", 1.0)]),
            ("ratio 16:9) and ]", &[("ratio 16:9) and ]", 1.0)]),
            ("(zero:0) (minus:-0.5)", &[("zero", 0.0), (" ", 1.0), ("minus", -0.5)]),
            (
                "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
                &[
                    ("a ", 1.0),
                    ("house", 1.573),
                    (" ", 1.1),
                    ("on", 1.0),
                    (" a ", 1.1),
                    ("hill", 0.55),
                    (", sun, ", 1.1),
                    ("sky", 1.4641),
                    (".", 1.1),
                ],
            ),
        ] {
            assert_eq!(parsed(prompt), expected(list), "{prompt}");
        }
    }

    #[test]
    fn a_break_begins_a_chunk_and_a_word_that_holds_it_does_not() {
        assert_eq!(parsed("red BREAK blue"), expected(&[("red", 1.0), ("|", 0.0), ("blue", 1.0)]));
        assert_eq!(parsed("BREAKFAST unBREAK"), expected(&[("BREAKFAST unBREAK", 1.0)]));
    }

    #[test]
    fn without_a_rule_brackets_are_text() {
        assert_eq!(pieces("(a:2) BREAK", Emphasis::None), [Piece::Text("(a:2) BREAK".into(), 1.0)]);
    }

    #[test]
    fn rules_scale_states_keep_their_mean_or_leave_the_empty_text() {
        let states = Tensor::new(&[[[1f32, 3.0], [2.0, 2.0]]], &Device::Cpu).unwrap();
        let empty = || Ok(Tensor::ones((1, 2, 2), candle_core::DType::F32, &Device::Cpu)?);
        let values = |emphasis| {
            let applied = apply(emphasis, &states, &[2.0, 1.0], empty).unwrap();
            applied.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(values(Emphasis::A1111NoNorm), [2.0, 6.0, 2.0, 2.0]);
        // the mean was 2 and became 3
        assert_eq!(values(Emphasis::A1111), [2.0, 6.0, 2.0, 2.0].map(|value| value * (2.0f32 / 3.0)));
        assert_eq!(values(Emphasis::Comfy), [1.0, 5.0, 2.0, 2.0]);
        assert_eq!(values(Emphasis::None), [1.0, 3.0, 2.0, 2.0]);
    }
}
