//! Words and when they were said: tokens are joined to words, words get the times of their tokens, punctuation goes with its
//! word, and what is too long to be true is shortened (OpenAI's `timing.py` and `tokenizer.py`).

use super::Whisper;
use super::alignment::{Scores, arrivals};
use super::attempt::probability;
use super::segments::{Piece, SECONDS_PER_STATE, trim};
use crate::Result;
use crate::models::whisper::{FRAMES_PER_SECOND, FRAMES_PER_STATE, Heard};
use atelier_inference::speech::Word;
use atelier_inference::speech::languages;

/// Punctuation that belongs to the word after it.
const PREPENDED: &str = "\"'“¿([{-";
/// Punctuation that belongs to the word before it.
const APPENDED: &str = "\"'.。,，!！?？:：”)]}、";
const ENDS_OF_SENTENCES: &str = ".。!！?？";
/// What Python calls punctuation.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
/// Longest that a word is taken to last when lengths are compared, in seconds.
const LONGEST_MEDIAN: f64 = 0.7;

/// A word, its tokens, and when it was said, in seconds from the window's beginning.
#[derive(Debug, Clone, PartialEq)]
struct Timed {
    word: String,
    tokens: usize,
    start: f64,
    end: f64,
    probability: f64,
}

/// The window at hand.
pub(super) struct Window<'a> {
    pub(super) whisper: &'a Whisper,
    pub(super) heard: &'a Heard,
    pub(super) language: &'a str,
    /// What a text begins with.
    pub(super) beginning: &'a [u32],
    /// Its first frame, and how many are audio.
    pub(super) seek: usize,
    pub(super) frames: usize,
}

impl Window<'_> {
    /// The words of each piece, whose times become those of its words. `last_end` is when the last word before was over.
    pub(super) fn time_words(&self, pieces: &mut [Piece], last_end: f64) -> Result<Vec<Vec<Word>>> {
        let eot = self.whisper.tokens.eot;
        let texts: Vec<Vec<u32>> = pieces
            .iter()
            .map(|piece| piece.tokens.iter().copied().filter(|id| *id < eot).collect())
            .collect();
        let mut timed = self.align(&texts.concat())?;
        let median = median_duration(&timed);
        shorten_at_sentences(&mut timed, 2.0 * median);
        merge_punctuation(&mut timed);
        let offset = self.seek as f64 / FRAMES_PER_SECOND as f64;
        let mut left = timed.into_iter();
        let mut last_end = last_end;
        let of_piece = |(piece, text): (&mut Piece, &Vec<u32>)| {
            let mut words = take_words(&mut left, text.len(), offset);
            fit(&mut words, piece, median, last_end);
            if !words.is_empty() {
                last_end = piece.end;
            }
            words
        };
        Ok(pieces.iter_mut().zip(&texts).map(of_piece).collect())
    }

    /// Words of the text and when they were said.
    fn align(&self, text: &[u32]) -> Result<Vec<Timed>> {
        let (network, tokens) = (&self.whisper.network, &self.whisper.tokens);
        let words = self.split(text);
        if text.is_empty() || words.is_empty() || self.frames < FRAMES_PER_STATE {
            return Ok(Vec::new());
        }
        let whole = [self.beginning, &[tokens.no_timestamps], text, &[tokens.eot]].concat();
        let (scores, states) = network.align(&whole, self.heard, &tokens.alignment_heads)?;
        let (_, count, positions) = scores.dims3()?;
        let values = scores.flatten_all()?.to_vec1::<f32>()?;
        let scores = Scores { values: &values, tokens: count, positions };
        let first = self.beginning.len();
        let distances =
            scores.distances(self.frames / FRAMES_PER_STATE, network.config().median_filter_width);
        let arrivals = arrivals(&distances[first..count - 1]);
        let logits = network.logits(&states.narrow(0, first, text.len())?)?.to_vec2::<f32>()?;
        let likely: Vec<f64> = logits
            .iter()
            .zip(text)
            .map(|(logits, id)| probability(&logits[..tokens.eot as usize], *id))
            .collect();
        let mut from = 0;
        let timed = words.into_iter().map(|(word, count)| {
            let to = from + count;
            let time = |token: usize| arrivals[token] as f64 * SECONDS_PER_STATE;
            let probability = likely[from..to].iter().sum::<f64>() / count as f64;
            let timed = Timed { word, tokens: count, start: time(from), end: time(to), probability };
            from = to;
            timed
        });
        Ok(timed.collect())
    }

    /// Words with how many tokens each has.
    fn split(&self, text: &[u32]) -> Vec<(String, usize)> {
        let bytes = |id: &u32| self.whisper.tokenizer.bytes(*id).to_vec();
        let pieces = whole_characters(&text.iter().map(bytes).collect::<Vec<_>>());
        if languages::has_spaces(self.language) { join_to_words(pieces) } else { pieces }
    }
}

/// Joins tokens until their bytes are whole characters; an error that the whole text has at the same place is one as well.
fn whole_characters(tokens: &[Vec<u8>]) -> Vec<(String, usize)> {
    let text: Vec<char> = String::from_utf8_lossy(&tokens.concat()).chars().collect();
    let (mut pieces, mut bytes, mut count, mut passed) = (Vec::new(), Vec::new(), 0, 0);
    for token in tokens {
        bytes.extend_from_slice(token);
        count += 1;
        let piece = String::from_utf8_lossy(&bytes).into_owned();
        let error = piece.chars().position(|letter| letter == char::REPLACEMENT_CHARACTER);
        let is_final = |at: usize| text.get(passed + at) == Some(&char::REPLACEMENT_CHARACTER);
        if error.is_none_or(is_final) {
            passed += piece.chars().count();
            pieces.push((piece, count));
            (bytes, count) = (Vec::new(), 0);
        }
    }
    pieces
}

/// A word begins with a space; punctuation is a word until it is merged.
fn join_to_words(pieces: Vec<(String, usize)>) -> Vec<(String, usize)> {
    let mut words: Vec<(String, usize)> = Vec::new();
    for (piece, count) in pieces {
        let begins = piece.starts_with(' ') || PUNCTUATION.contains(trim(&piece));
        match words.last_mut() {
            Some((word, tokens)) if !begins => {
                word.push_str(&piece);
                *tokens += count;
            }
            _ => words.push((piece, count)),
        }
    }
    words
}

fn median_duration(timed: &[Timed]) -> f64 {
    let mut durations: Vec<f64> =
        timed.iter().map(|word| word.end - word.start).filter(|duration| *duration != 0.0).collect();
    durations.sort_by(f64::total_cmp);
    let middle = durations.len() / 2;
    let median = match durations.as_slice() {
        [] => 0.0,
        all if all.len() % 2 == 1 => all[middle],
        all => (all[middle - 1] + all[middle]) / 2.0,
    };
    median.min(LONGEST_MEDIAN)
}

/// A pause between sentences is given to one of the words around it; here it is taken away.
fn shorten_at_sentences(timed: &mut [Timed], longest: f64) {
    if timed.iter().all(|word| word.end == word.start) {
        return;
    }
    for index in 1..timed.len() {
        let ends_sentence = |word: &str| ENDS_OF_SENTENCES.contains(word);
        let after_end = ends_sentence(&timed[index - 1].word);
        let word = &mut timed[index];
        if word.end - word.start > longest {
            if ends_sentence(&word.word) {
                word.end = word.start + longest;
            } else if after_end {
                word.start = word.end - longest;
            }
        }
    }
}

/// Gives punctuation to its word, and leaves an empty word without tokens in its place.
fn merge_punctuation(timed: &mut [Timed]) {
    let mut following = timed.len().saturating_sub(1);
    for index in (0..following).rev() {
        let is_prepended = timed[index].word.starts_with(' ') && PREPENDED.contains(trim(&timed[index].word));
        if is_prepended {
            let word = std::mem::take(&mut timed[index].word);
            timed[following].word.insert_str(0, &word);
            timed[following].tokens += std::mem::take(&mut timed[index].tokens);
        } else {
            following = index;
        }
    }
    let mut previous = 0;
    for index in 1..timed.len() {
        if !timed[previous].word.ends_with(' ') && APPENDED.contains(timed[index].word.as_str()) {
            let word = std::mem::take(&mut timed[index].word);
            timed[previous].word.push_str(&word);
            timed[previous].tokens += std::mem::take(&mut timed[index].tokens);
        } else {
            previous = index;
        }
    }
}

/// The words of a piece that has so many tokens of text.
fn take_words(left: &mut impl Iterator<Item = Timed>, tokens: usize, offset: f64) -> Vec<Word> {
    let (mut words, mut taken) = (Vec::new(), 0);
    while taken < tokens {
        let Some(timed) = left.next() else { break };
        taken += timed.tokens;
        if !timed.word.is_empty() {
            let Timed { word, start, end, probability, .. } = timed;
            words.push(Word {
                word,
                start: rounded(offset + start),
                end: rounded(offset + end),
                probability,
            });
        }
    }
    words
}

/// To hundredths of a second.
fn rounded(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

/// Shortens words at the edges of a piece that are too long to be true, and lets the piece begin and end with its words, or
/// these with the piece where its own times are better.
fn fit(words: &mut [Word], piece: &mut Piece, median: f64, last_end: f64) {
    let longest = 2.0 * median;
    if words.is_empty() {
        return;
    }
    let is_after_pause = words[0].end - last_end > 4.0 * median;
    let is_long = words[0].end - words[0].start > longest;
    let are_long = words.len() > 1 && words[1].end - words[0].start > 2.0 * longest;
    if is_after_pause && (is_long || are_long) {
        if words.len() > 1 && words[1].end - words[1].start > longest {
            let boundary = (words[1].end / 2.0).max(words[1].end - longest);
            (words[0].end, words[1].start) = (boundary, boundary);
        }
        words[0].start = (words[0].end - longest).max(0.0);
    }
    if piece.start < words[0].end && piece.start - 0.5 > words[0].start {
        words[0].start = (words[0].end - median).min(piece.start).max(0.0);
    } else {
        piece.start = words[0].start;
    }
    let last = words.len() - 1;
    if piece.end > words[last].start && piece.end + 0.5 < words[last].end {
        words[last].end = (words[last].start + median).max(piece.end);
    } else {
        piece.end = words[last].end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(tokens: &[&[u8]]) -> Vec<(String, usize)> {
        whole_characters(&tokens.iter().map(|token| token.to_vec()).collect::<Vec<_>>())
    }

    fn timed(words: &[(&str, f64, f64)]) -> Vec<Timed> {
        let one = |(word, start, end): &(&str, f64, f64)| Timed {
            word: word.to_string(),
            tokens: 1,
            start: *start,
            end: *end,
            probability: 1.0,
        };
        words.iter().map(one).collect()
    }

    #[test]
    fn tokens_become_characters_and_characters_words() {
        let own = |pieces: &[(&str, usize)]| -> Vec<(String, usize)> {
            pieces.iter().map(|(piece, count)| (piece.to_string(), *count)).collect()
        };
        let japanese = "日本".as_bytes();
        assert_eq!(split(&[&japanese[..2], &japanese[2..4], &japanese[4..]]), own(&[("日本", 3)]));
        assert_eq!(split(&[&japanese[..3], &japanese[3..]]), own(&[("日", 1), ("本", 1)]));
        assert_eq!(split(&[b"a", &[0xff], b"b"]), own(&[("a", 1), ("\u{fffd}", 1), ("b", 1)]));
        assert_eq!(split(&[b"a", &[0xe6]]), own(&[("a", 1), ("\u{fffd}", 1)]));
        let pieces = own(&[(" re", 1), ("d", 1), (",", 1), (" cir", 1), ("cle", 2), ("!", 1)]);
        assert_eq!(join_to_words(pieces), own(&[(" red", 2), (",", 1), (" circle", 3), ("!", 1)]));
    }

    #[test]
    fn punctuation_goes_with_its_word() {
        let mut words = timed(&[
            (" \"", 0.0, 0.1),
            ("Red", 0.1, 0.4),
            (",", 0.4, 0.5),
            (" she", 0.5, 0.9),
            ("!", 0.9, 1.0),
        ]);
        merge_punctuation(&mut words);
        let merged: Vec<_> = words.iter().map(|word| (word.word.as_str(), word.tokens)).collect();
        assert_eq!(merged, [("", 0), (" \"Red,", 3), ("", 0), (" she!", 2), ("", 0)]);
        merge_punctuation(&mut []);
    }

    #[test]
    fn a_pause_after_a_sentence_is_no_part_of_a_word() {
        let mut words = timed(&[(" a", 0.0, 0.2), (".", 0.2, 3.0), (" b", 3.0, 6.0), (" c", 6.0, 9.0)]);
        shorten_at_sentences(&mut words, 0.5);
        let ends: Vec<_> = words.iter().map(|word| (word.start, word.end)).collect();
        assert_eq!(ends, [(0.0, 0.2), (0.2, 0.7), (5.5, 6.0), (6.0, 9.0)]);
        assert!(
            (median_duration(&timed(&[("a", 0.0, 0.2), ("b", 1.0, 1.0), ("c", 1.0, 1.4)])) - 0.3).abs()
                < 1e-9
        );
        assert_eq!(median_duration(&timed(&[("a", 0.0, 5.0)])), 0.7);
        assert_eq!(median_duration(&[]), 0.0);
    }

    #[test]
    fn a_piece_begins_and_ends_with_its_words_unless_these_are_too_long() {
        let word = |start: f64, end: f64| Word { word: " a".into(), start, end, probability: 1.0 };
        let mut piece = Piece { start: 1.0, end: 4.0, tokens: vec![] };
        let mut words = [word(1.2, 1.5), word(1.5, 3.8)];
        fit(&mut words, &mut piece, 0.3, 1.0);
        assert_eq!((piece.start, piece.end), (1.2, 3.8));
        // after a pause the first word is shortened; the last ends where the piece does
        let mut piece = Piece { start: 9.0, end: 10.0, tokens: vec![] };
        let mut words = [word(2.0, 9.5), word(9.5, 12.0)];
        fit(&mut words, &mut piece, 0.3, 1.0);
        assert!((words[0].start - 10.8).abs() < 1e-9 && (words[0].end - 11.4).abs() < 1e-9, "{words:?}");
        assert_eq!((piece.start, piece.end), (words[0].start, 12.0));
        // a piece that knows better cuts its words
        let mut piece = Piece { start: 2.0, end: 3.0, tokens: vec![] };
        let mut words = [word(1.0, 2.5), word(2.5, 4.0)];
        fit(&mut words, &mut piece, 0.7, 1.0);
        assert_eq!((words[0].start, words[1].end, piece.start, piece.end), (1.8, 3.2, 2.0, 3.0));
        fit(&mut [], &mut piece, 0.3, 1.0);
    }
}
