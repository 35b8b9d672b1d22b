//! What the host and its compiling child say to each other, over the child's standard input and output: one request of
//! limits and a component's bytes, one answer. Both ends are this binary, so the form has no versions.

use std::io::{self, Read, Write};
use std::time::Duration;

const HEADER_BYTES: usize = 24;
const TAG_COMPILED: u8 = b'c';
const TAG_REFUSED: u8 = b'r';

/// What the child is asked to do, but for the component's bytes, which follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// Processor time of all its threads.
    pub(super) cpu: Duration,
    /// Address space beyond what it has when it starts.
    pub(super) memory_bytes: u64,
    /// Length of the component.
    pub(super) component_bytes: u64,
}

impl Request {
    pub(super) fn write(&self, mut to: impl Write) -> io::Result<()> {
        for number in [self.cpu.as_millis() as u64, self.memory_bytes, self.component_bytes] {
            to.write_all(&number.to_le_bytes())?;
        }
        Ok(())
    }

    pub(super) fn read(mut from: impl Read) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        from.read_exact(&mut header)?;
        let mut numbers = header.chunks_exact(8).map(|bytes| bytes.try_into().map_or(0, u64::from_le_bytes));
        let mut next = || numbers.next().unwrap_or_default();
        Ok(Self { cpu: Duration::from_millis(next()), memory_bytes: next(), component_bytes: next() })
    }
}

/// What the child answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Machine code.
    Compiled(Vec<u8>),
    /// The compiler's words.
    Refused(String),
}

impl Answer {
    /// A tag, a keyed hash, and the content. The key is the component's digest: an answer that was cut short, or that
    /// answers something else, is none.
    pub(super) fn write(&self, digest: &blake3::Hash, mut to: impl Write) -> io::Result<()> {
        let (tag, content) = match self {
            Self::Compiled(code) => (TAG_COMPILED, code.as_slice()),
            Self::Refused(why) => (TAG_REFUSED, why.as_bytes()),
        };
        to.write_all(&[tag])?;
        to.write_all(seal(digest, tag, content).as_bytes())?;
        to.write_all(content)?;
        to.flush()
    }

    /// `None` for anything but a whole answer about the component of this digest.
    pub(super) fn parse(digest: &blake3::Hash, mut bytes: Vec<u8>) -> Option<Self> {
        let (&tag, rest) = bytes.split_first()?;
        let (given, content) = rest.split_first_chunk::<{ blake3::OUT_LEN }>()?;
        if seal(digest, tag, content) != blake3::Hash::from_bytes(*given) {
            return None;
        }
        bytes.drain(..=blake3::OUT_LEN);
        match tag {
            TAG_COMPILED => Some(Self::Compiled(bytes)),
            TAG_REFUSED => String::from_utf8(bytes).ok().map(Self::Refused),
            _ => None,
        }
    }
}

fn seal(digest: &blake3::Hash, tag: u8, content: &[u8]) -> blake3::Hash {
    blake3::Hasher::new_keyed(digest.as_bytes()).update(&[tag]).update(content).finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written_and_a_part_of_one_is_an_error() {
        let request =
            Request { cpu: Duration::from_millis(1_500), memory_bytes: 1 << 31, component_bytes: 7 };
        let mut bytes = Vec::new();
        request.write(&mut bytes).unwrap();
        assert_eq!(Request::read(bytes.as_slice()).unwrap(), request);
        assert!(Request::read(&bytes[1..]).is_err());
    }

    #[test]
    fn an_answer_counts_only_whole_and_for_its_component() {
        let digest = blake3::hash(b"component");
        for answer in [Answer::Compiled(vec![1, 2, 3]), Answer::Refused("why".into())] {
            let mut bytes = Vec::new();
            answer.write(&digest, &mut bytes).unwrap();
            for end in 0..bytes.len() {
                assert_eq!(Answer::parse(&digest, bytes[..end].to_vec()), None, "cut at {end}");
            }
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 1;
                assert_eq!(Answer::parse(&digest, other), None, "changed at {at}");
            }
            assert_eq!(Answer::parse(&blake3::hash(b"other"), bytes.clone()), None);
            assert_eq!(Answer::parse(&digest, bytes), Some(answer));
        }
    }
}
