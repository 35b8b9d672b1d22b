//! From a window's tokens to segments, and to where the next window begins (OpenAI's `transcribe.py`).

use crate::models::whisper::{FRAMES_PER_SECOND, FRAMES_PER_STATE};

/// Part of a window's tokens and when they were said, in seconds from the beginning of the audio.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) tokens: Vec<u32>,
}

/// A window's pieces.
#[derive(Debug, PartialEq)]
pub(super) struct Cut {
    pub(super) pieces: Vec<Piece>,
    /// Frames from this window's beginning to the next one's.
    pub(super) advance: usize,
    /// Whether the text ends with a time that is no pair: then nothing is said after it.
    pub(super) is_closed: bool,
}

/// Seconds of one timestamp's step.
pub(super) const SECONDS_PER_STATE: f64 = FRAMES_PER_STATE as f64 / FRAMES_PER_SECOND as f64;

/// Cuts tokens between two times that follow each other. The window begins at frame `seek` and has `frames` of audio;
/// `begin` is the first timestamp's id.
pub(super) fn cut(tokens: &[u32], begin: u32, seek: usize, frames: usize) -> Cut {
    let is_time = |id: &u32| *id >= begin;
    let offset = seek as f64 / FRAMES_PER_SECOND as f64;
    let steps = |id: u32| id.saturating_sub(begin) as usize;
    let time = |id: u32| steps(id) as f64 * SECONDS_PER_STATE;
    let is_closed = matches!(tokens, [.., last_but_one, last] if !is_time(last_but_one) && is_time(last));
    let mut ends: Vec<usize> =
        (1..tokens.len()).filter(|at| is_time(&tokens[at - 1]) && is_time(&tokens[*at])).collect();
    if ends.is_empty() {
        let last = tokens.iter().rfind(|id| is_time(id)).filter(|id| **id != begin);
        let seconds = last.map_or(frames as f64 / FRAMES_PER_SECOND as f64, |id| time(*id));
        let piece = Piece { start: offset, end: offset + seconds, tokens: tokens.to_vec() };
        return Cut { pieces: vec![piece], advance: frames, is_closed };
    }
    if is_closed {
        ends.push(tokens.len());
    }
    let starts = [&[0], ends.as_slice()].concat();
    let piece = |(from, to): (&usize, &usize)| {
        let tokens = &tokens[*from..*to];
        let (first, last) =
            (tokens.first().copied().unwrap_or(begin), tokens.last().copied().unwrap_or(begin));
        Piece { start: offset + time(first), end: offset + time(last), tokens: tokens.to_vec() }
    };
    let pieces = starts.iter().zip(&ends).map(piece).collect();
    // what comes after the last pair is heard again, from there
    let last = ends.last().map_or(0, |end| steps(tokens[end - 1]) * FRAMES_PER_STATE);
    Cut { pieces, advance: if is_closed { frames } else { last }, is_closed }
}

/// A text without the spaces around it, as Python takes them away: to it, separators of records are spaces as well.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|letter: char| letter.is_whitespace() || matches!(letter, '\u{1c}'..='\u{1f}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The timestamp of so many steps.
    const fn at(steps: u32) -> u32 {
        100 + steps
    }

    fn times(cut: &Cut) -> Vec<(f64, f64, usize)> {
        cut.pieces.iter().map(|piece| (piece.start, piece.end, piece.tokens.len())).collect()
    }

    #[test]
    fn a_window_ends_at_its_last_pair_and_the_rest_is_heard_again() {
        let tokens = [at(0), 1, 2, at(50), at(50), 3, at(75), at(80), 4];
        let cut = cut(&tokens, 100, 1_000, 3_000);
        assert_eq!(times(&cut), [(10.0, 11.0, 4), (11.0, 11.5, 3)]);
        assert_eq!((cut.advance, cut.is_closed), (150, false));
    }

    #[test]
    fn a_single_time_at_the_end_says_that_nothing_follows() {
        let tokens = [at(0), 1, at(50), at(60), 2, at(100)];
        let cut = cut(&tokens, 100, 0, 2_000);
        assert_eq!(times(&cut), [(0.0, 1.0, 3), (1.2, 2.0, 3)]);
        assert_eq!((cut.advance, cut.is_closed), (2_000, true));
    }

    #[test]
    fn without_a_pair_the_window_is_one_piece_that_ends_at_its_last_time() {
        let cut_of = |tokens: &[u32]| {
            let cut = cut(tokens, 100, 500, 1_200);
            (times(&cut), cut.advance)
        };
        assert_eq!(cut_of(&[at(0), 1, 2]), (vec![(5.0, 17.0, 3)], 1_200));
        assert_eq!(cut_of(&[at(3), 1, 2]), (vec![(5.0, 5.06, 3)], 1_200));
        assert_eq!(cut_of(&[at(3), 1, at(200)]), (vec![(5.0, 9.0, 3)], 1_200));
        assert_eq!(cut_of(&[1, 2]), (vec![(5.0, 17.0, 2)], 1_200));
        assert_eq!(cut_of(&[]), (vec![(5.0, 17.0, 0)], 1_200));
    }
}
