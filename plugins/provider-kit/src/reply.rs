//! A reply on its way: bytes in, parts out, exactly one of which is the last.

use crate::framing::Cutter;
use crate::{Error, Events, Framing, Part};

/// Follows one reply.
pub struct Following<E> {
    cutter: Cutter,
    events: E,
    ended: bool,
}

impl<E: Events> Following<E> {
    /// From its first byte.
    pub fn new(framing: Framing, events: E) -> Self {
        Self { cutter: Cutter::new(framing), events, ended: false }
    }

    /// Whether the last part was given out.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// What the next bytes say.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Part> {
        self.advance(|cutter, each| cutter.take(bytes, each))
    }

    /// The server has sent everything. Where that was no whole reply, the last part says so.
    pub fn close(&mut self) -> Vec<Part> {
        let mut parts = self.advance(|cutter, each| cutter.close(each));
        if !self.ended {
            self.ended = true;
            parts.push(match self.events.close() {
                Some(end) => Part::End(end),
                None => Part::Failed(Error::Unavailable("its reply ended before it was whole".into(), None)),
            });
        }
        parts
    }

    fn advance(
        &mut self,
        cut: impl FnOnce(&mut Cutter, &mut dyn FnMut(&str) -> Result<bool, Error>) -> Result<(), Error>,
    ) -> Vec<Part> {
        let mut parts = Vec::new();
        if self.ended {
            return parts;
        }
        let (events, said) = (&mut self.events, &mut parts);
        let mut each = |data: &str| {
            events.event(data, said)?;
            Ok(!said.iter().any(is_last))
        };
        if let Err(error) = cut(&mut self.cutter, &mut each) {
            parts.push(Part::Failed(error));
        }
        // a reader that says more after its end is not listened to
        if let Some(last) = parts.iter().position(is_last) {
            parts.truncate(last + 1);
            self.ended = true;
        }
        parts.retain(|part| !matches!(part, Part::Said(text) if text.is_empty()));
        parts
    }
}

fn is_last(part: &Part) -> bool {
    matches!(part, Part::End(_) | Part::Failed(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{End, Finish};

    /// Says what it is told; `.` is the end, `!` fails.
    struct Echo;

    const END: End = End { finish: Finish::End, usage: None, notes: Vec::new() };

    impl Events for Echo {
        fn event(&mut self, data: &str, parts: &mut Vec<Part>) -> Result<(), Error> {
            match data {
                "." => parts.push(Part::End(END)),
                "!" => return Err(Error::Refused("no".into())),
                _ => parts.push(Part::Said(data.trim().into())),
            }
            Ok(())
        }

        fn close(&mut self) -> Option<End> {
            None
        }
    }

    fn follow(bytes: &[u8]) -> Vec<Part> {
        let mut following = Following::new(Framing::Lines, Echo);
        let mut parts = following.take(bytes);
        parts.extend(following.close());
        assert!(following.has_ended());
        parts
    }

    #[test]
    fn exactly_one_part_is_the_last() {
        let said = |text: &str| Part::Said(text.into());
        assert_eq!(follow(b"a\nb\n.\nc\n!\n"), [said("a"), said("b"), Part::End(END)]);
        assert_eq!(follow(b"a\n!\nb\n"), [said("a"), Part::Failed(Error::Refused("no".into()))]);
        let broken = follow(b"a\nb");
        assert_eq!(&broken[..2], [said("a"), said("b")]);
        assert!(matches!(broken[2], Part::Failed(Error::Unavailable(..))), "{broken:?}");
        assert!(matches!(follow(b"")[..], [Part::Failed(_)]));
    }
}
