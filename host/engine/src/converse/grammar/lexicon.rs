//! The vocabulary by its bytes: which tokens fit from a state on, and by which tokens given bytes are written.

/// Which tokens may come next.
#[derive(Debug)]
pub(in super::super) struct Mask {
    bits: Vec<u64>,
}

impl Mask {
    pub(in super::super) fn allows(&self, id: usize) -> bool {
        self.bits.get(id / 64).is_some_and(|bits| (bits >> (id % 64)) & 1 == 1)
    }
}

/// Every token that writes anything, in the order of its bytes.
#[derive(Debug)]
pub(in super::super) struct Lexicon {
    tokens: Vec<Token>,
    /// Where each id stands among them.
    places: Vec<Option<u32>>,
    longest: usize,
}

#[derive(Debug)]
struct Token {
    bytes: Box<[u8]>,
    id: u32,
    /// Bytes that it begins with like the one before it.
    shared: usize,
}

impl Lexicon {
    /// Of tokens 0 to `ids`; those without bytes are no text.
    pub(in super::super) fn new<'a>(ids: usize, bytes: impl Fn(u32) -> &'a [u8]) -> Self {
        let all = (0..ids as u32).map(|id| Token { bytes: bytes(id).into(), id, shared: 0 });
        let mut tokens: Vec<Token> = all.filter(|token| !token.bytes.is_empty()).collect();
        tokens.sort_by(|one, other| one.bytes.cmp(&other.bytes).then(one.id.cmp(&other.id)));
        for at in 1..tokens.len() {
            let (before, own) = (&tokens[at - 1].bytes, &tokens[at].bytes);
            tokens[at].shared = before.iter().zip(own.iter()).take_while(|(a, b)| a == b).count();
        }
        let mut places = vec![None; ids];
        tokens.iter().zip(0..).for_each(|(token, place)| places[token.id as usize] = Some(place));
        let longest = tokens.iter().map(|token| token.bytes.len()).max().unwrap_or_default();
        Self { tokens, places, longest }
    }

    /// What a token writes; none where it is no text.
    pub(super) fn bytes(&self, id: u32) -> Option<&[u8]> {
        let place = *self.places.get(id as usize)?;
        place.and_then(|place| self.tokens.get(place as usize)).map(|token| &*token.bytes)
    }

    /// Bytes of the longest token.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The tokens of which every byte fits, one after another. Neighbours begin alike, so that what they share is stepped
    /// through once, and where it does not fit, none of them does.
    pub(super) fn mask<S: Clone>(&self, state: &S, step: impl Fn(&S, u8) -> Option<S>) -> Mask {
        let mut bits = vec![0u64; self.places.len().div_ceil(64)];
        // states after each byte of the token at hand
        let mut path: Vec<S> = vec![state.clone()];
        for token in &self.tokens {
            // the path ends where a byte did not fit
            if token.shared + 1 > path.len() {
                continue;
            }
            path.truncate(token.shared + 1);
            let mut fits = true;
            for byte in &token.bytes[token.shared..] {
                match path.last().and_then(|state| step(state, *byte)) {
                    Some(next) => path.push(next),
                    None => {
                        fits = false;
                        break;
                    }
                }
            }
            if fits && let Some(word) = bits.get_mut(token.id as usize / 64) {
                *word |= 1 << (token.id % 64);
            }
        }
        Mask { bits }
    }

    /// Tokens that write these bytes, each the longest that fits; none where no token has the next byte.
    pub(super) fn cover(&self, mut bytes: &[u8]) -> Option<Vec<u32>> {
        let mut ids = Vec::new();
        while !bytes.is_empty() {
            let mut lengths = (1..=self.longest.min(bytes.len())).rev();
            let found = lengths.find_map(|length| Some((self.find(&bytes[..length])?, length)));
            let (id, length) = found?;
            ids.push(id);
            bytes = &bytes[length..];
        }
        Some(ids)
    }

    /// The token of exactly these bytes; the first of those that are alike.
    fn find(&self, bytes: &[u8]) -> Option<u32> {
        let place = self.tokens.partition_point(|token| *token.bytes < *bytes);
        self.tokens.get(place).filter(|token| *token.bytes == *bytes).map(|token| token.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_those_of_every_token_alone() {
        let words = ["a", "ab", "abc", "abd", "b", "", "ba", "ab", "c"];
        let lexicon = Lexicon::new(words.len(), |id| words[id as usize].as_bytes());
        // any letters in the order of the alphabet, `c` excepted
        let step = |last: &u8, byte: u8| (byte >= *last && byte != b'c').then_some(byte);
        let mask = lexicon.mask(&0, step);
        for (id, word) in words.iter().enumerate() {
            let fits = word.bytes().try_fold(0, |last, byte| step(&last, byte)).is_some() && !word.is_empty();
            assert_eq!(mask.allows(id), fits, "{word}");
        }
        assert!(!mask.allows(64) && !mask.allows(9));
    }

    #[test]
    fn bytes_are_covered_by_the_longest_tokens() {
        let words = ["a", "ab", "abc", "b"];
        let lexicon = Lexicon::new(words.len(), |id| words[id as usize].as_bytes());
        assert_eq!(lexicon.cover(b"ababca"), Some(vec![1, 2, 0]));
        assert_eq!(lexicon.cover(b"abx"), None);
        assert_eq!(lexicon.cover(b""), Some(vec![]));
    }
}
