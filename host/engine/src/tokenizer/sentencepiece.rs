//! `spiece.model`: what a unigram tokenizer needs of SentencePiece's protobuf message, read without trusting a length.
//!
//! Follows `sentencepiece_model.proto`; fields that are not listed here do not change ids.

/// The pieces and the rules that normalise text before it is cut into them.
pub(super) struct SentencePiece {
    /// Pieces by id, with the logarithm of how likely each is.
    pub(super) pieces: Vec<(String, f64)>,
    /// The id of whatever no piece covers.
    pub(super) unknown: usize,
    /// Compiled rules; see `charsmap`.
    pub(super) charsmap: Vec<u8>,
}

/// Most pieces; published vocabularies have up to 256,000.
pub(super) const MAX_PIECES: usize = 1 << 20;
/// `TrainerSpec.ModelType.UNIGRAM`, which is also what a missing field means.
const UNIGRAM: u64 = 1;
/// `ModelProto.SentencePiece.Type.UNKNOWN`.
const UNKNOWN: u64 = 2;

/// Reads the whole message.
pub(super) fn parse(bytes: &[u8]) -> Result<SentencePiece, String> {
    let mut model = SentencePiece { pieces: Vec::new(), unknown: usize::MAX, charsmap: Vec::new() };
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(piece)) => model.add(piece)?,
            (2, Value::Bytes(trainer)) => check_kind(trainer)?,
            (3, Value::Bytes(normalizer)) => model.charsmap = charsmap(normalizer)?,
            _ => {}
        }
    }
    if model.unknown >= model.pieces.len() {
        return Err("no piece stands for the unknown".into());
    }
    Ok(model)
}

impl SentencePiece {
    fn add(&mut self, message: &[u8]) -> Result<(), String> {
        let (mut piece, mut score) = (String::new(), 0.0f32);
        for field in Fields(message) {
            match field? {
                (1, Value::Bytes(text)) => {
                    piece = String::from_utf8(text.into()).map_err(|error| format!("piece: {error}"))?;
                }
                (2, Value::Fixed32(bits)) => score = f32::from_le_bytes(bits),
                (3, Value::Number(UNKNOWN)) => self.unknown = self.pieces.len(),
                _ => {}
            }
        }
        if self.pieces.len() == MAX_PIECES {
            return Err(format!("more than {MAX_PIECES} pieces"));
        }
        if !score.is_finite() {
            return Err(format!("piece `{piece}` has the score {score}"));
        }
        self.pieces.push((piece, f64::from(score)));
        Ok(())
    }
}

/// Refuses models that cut text by another rule.
fn check_kind(trainer: &[u8]) -> Result<(), String> {
    for field in Fields(trainer) {
        if let (3, Value::Number(kind)) = field?
            && kind != UNIGRAM
        {
            return Err(format!("model type {kind}; 1 (unigram) is read"));
        }
    }
    Ok(())
}

fn charsmap(normalizer: &[u8]) -> Result<Vec<u8>, String> {
    let mut charsmap = Vec::new();
    for field in Fields(normalizer) {
        if let (2, Value::Bytes(bytes)) = field? {
            charsmap = bytes.into();
        }
    }
    Ok(charsmap)
}

/// A field's value, by its wire type.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
    /// Of 64 bits; nothing that matters is one.
    Fixed64,
}

/// The fields of a message, number and value; ends after the first that makes no sense.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(
            field
                .ok_or_else(|| "the protobuf message ends within a field or has an unknown wire type".into()),
        )
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(*self.take(4)?.first_chunk()?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    /// Seven bits a byte, the lowest first.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message that holds one field of bytes.
    fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, value.len() as u8], value].concat()
    }

    fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
        let message =
            [bytes(1, text.as_bytes()), vec![2 << 3 | 5], score.to_le_bytes().into(), vec![3 << 3, kind]];
        bytes(1, &message.concat())
    }

    #[test]
    fn pieces_scores_and_rules_are_read() {
        let normalizer = bytes(3, &bytes(2, b"map"));
        let file =
            [piece("<pad>", 0.0, 3), piece("<unk>", 0.0, 2), piece("▁a", -2.5, 1), normalizer].concat();
        let model = parse(&file).unwrap();
        assert_eq!(model.pieces[2], ("▁a".to_string(), -2.5));
        assert_eq!((model.unknown, model.charsmap.as_slice()), (1, &b"map"[..]));
    }

    #[test]
    fn another_kind_of_model_and_damage_are_refused() {
        let unknown = piece("<unk>", 0.0, 2);
        let bpe = [bytes(2, &[3 << 3, 2]), unknown.clone()].concat();
        assert!(parse(&bpe).is_err_and(|reason| reason.contains("model type 2")));
        assert!(parse(&piece("a", 0.0, 1)).is_err_and(|reason| reason.contains("unknown")));
        assert!(parse(&piece("a", f32::NAN, 1)).is_err_and(|reason| reason.contains("score")));
        for end in 1..unknown.len() {
            assert!(parse(&unknown[..end]).is_err(), "{end}");
        }
        for damaged in [&[0xff; 12][..], &[0x0f], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f]] {
            assert!(parse(damaged).is_err(), "{damaged:?}");
        }
    }
}
