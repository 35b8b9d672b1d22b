//! From bytes to text that is told: whole characters only, nothing of a stop string and nothing that might become one.

use crate::tokenizer::TextStream;

/// A reply's text while it is written.
#[derive(Debug)]
pub(super) struct Output {
    stream: TextStream,
    stops: Vec<String>,
    /// What was not told yet: it may be the beginning of a stop string.
    held: String,
    /// Whether a space at the very beginning was put there by the tokenizer.
    drops_space: bool,
    is_stopped: bool,
}

impl Output {
    pub(super) fn new(stops: &[String], drops_space: bool) -> Self {
        Self {
            stream: TextStream::default(),
            stops: stops.to_vec(),
            held: String::new(),
            drops_space,
            is_stopped: false,
        }
    }

    /// Whether a stop string came. Nothing is told afterwards.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// The text that may be told, now that these bytes have come.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        let text = self.stream.push(bytes);
        self.take(text)
    }

    /// The rest, when no more will come.
    pub(super) fn finish(&mut self) -> String {
        let text = self.stream.finish();
        let told = self.take(text);
        if self.is_stopped { told } else { told + &std::mem::take(&mut self.held) }
    }

    fn take(&mut self, text: String) -> String {
        let mut text = text.as_str();
        if self.drops_space && !text.is_empty() {
            text = text.strip_prefix(' ').unwrap_or(text);
            self.drops_space = false;
        }
        if self.is_stopped {
            return String::new();
        }
        self.held.push_str(text);
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(place) = found {
            self.is_stopped = true;
            let mut told = std::mem::take(&mut self.held);
            told.truncate(place);
            return told;
        }
        let rest = self.held.split_off(self.safe());
        std::mem::replace(&mut self.held, rest)
    }

    /// Up to where no stop string can have begun.
    fn safe(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or_default();
        let begins = |place: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[*place..]));
        let from = self.held.len().saturating_sub(longest);
        let mut places = self.held.char_indices().map(|(place, _)| place).filter(|place| *place >= from);
        places.find(begins).unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_stop_string_is_told_wherever_the_bytes_are_cut() {
        let stops = ["STOP".to_string(), "日本".into(), "\n\n".into()];
        for (text, told) in [
            ("a ST b STO", "a ST b STO"),
            ("aSTSTOPb", "aST"),
            ("日 日本語", "日 "),
            ("one\ntwo\n\nthree STOP", "one\ntwo"),
            ("STOP", ""),
            ("é", "é"),
        ] {
            for size in 1..=text.len() {
                let mut output = Output::new(&stops, false);
                let mut all = String::new();
                for piece in text.as_bytes().chunks(size) {
                    all += &output.push(piece);
                    assert!(told.starts_with(&all), "{text} in pieces of {size}: {all}");
                }
                all += &output.finish();
                assert_eq!((all.as_str(), output.is_stopped()), (told, told.len() < text.len()), "{text}");
            }
        }
    }

    #[test]
    fn the_first_space_of_pieces_is_dropped_once() {
        let mut output = Output::new(&[], true);
        assert_eq!(
            [output.push(b" "), output.push(b" a"), output.push(b" b"), output.finish()].concat(),
            " a b"
        );
        let mut output = Output::new(&[], true);
        assert_eq!(output.push(b"a ") + &output.finish(), "a ");
    }
}
