//! Bytes as the characters by which GPT-2's vocabularies write them, and text that arrives in pieces of bytes.

/// The byte that a character of a vocabulary stands for. Printable ones stand for themselves; the others follow from 256 on.
pub(super) fn byte(letter: char) -> Option<u8> {
    let code = u32::from(letter);
    let is_own = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    match u8::try_from(code) {
        Ok(byte) => is_own(byte).then_some(byte),
        Err(_) => (0..=255).filter(|byte| !is_own(*byte)).nth(code as usize - 256),
    }
}

/// Turns pieces of bytes into text, holding back a character whose bytes have not all come.
#[derive(Debug, Default, Clone)]
pub struct TextStream {
    /// At most three: the beginning of a character.
    held: Vec<u8>,
}

impl TextStream {
    /// The text that is whole by now. Bytes that are no character become U+FFFD, as where the whole is read at once.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.held.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    let Some(wrong) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[wrong..];
                }
            }
        }
        self.held = rest.to_vec();
        text
    }

    /// What is left when no more will come: nothing, or U+FFFD for a character that was never finished.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let letters: Vec<char> = (0..0x200).filter_map(char::from_u32).collect();
        let mut bytes: Vec<u8> = letters.into_iter().filter_map(byte).collect();
        assert_eq!((byte('!'), byte('Ġ'), byte('Ċ'), byte(' ')), (Some(b'!'), Some(b' '), Some(b'\n'), None));
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte('日'), None);
    }

    #[test]
    fn text_comes_out_whole_wherever_its_bytes_are_cut() {
        let whole: &[u8] = "é 日本 🚀".as_bytes();
        let broken = [whole, &[0x80, b'a', 0xe6, 0x97, b'b', 0xf0, 0x9f], &[0xff], &[0xe6, 0x97]].concat();
        for bytes in [whole, &broken] {
            let expected = String::from_utf8_lossy(bytes);
            for size in 1..=bytes.len() {
                let mut stream = TextStream::default();
                let pieces: Vec<String> = bytes.chunks(size).map(|piece| stream.push(piece)).collect();
                assert_eq!(pieces.concat() + &stream.finish(), expected, "in pieces of {size}");
                assert!(bytes != whole || pieces.iter().all(|piece| !piece.contains('\u{fffd}')));
            }
        }
    }
}
