//! Where a value is while it is written: a small top, and what it is within. States are compared, since equal ones let the
//! same tokens through.

use std::sync::Arc;

/// Digits of a number before its point, and after it.
const MAX_DIGITS: u8 = 15;
/// Of an exponent.
const MAX_EXPONENT_DIGITS: u8 = 2;

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct State {
    pub(super) outer: Option<Arc<Outer>>,
    pub(super) top: Top,
}

/// What a value is within, from the inside out.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Outer {
    frame: Frame,
    rest: Option<Arc<Outer>>,
}

/// An object or a list that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Frame {
    /// Properties before `next` are over.
    Object { node: usize, next: usize },
    /// Items that have to come, and that may.
    Array { node: usize, owed: u32, room: Option<u32> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Top {
    /// Before a value.
    Value { node: usize, may_space: bool },
    /// Within a value that is one of several: the first that fits, and how much of it is written.
    Choice { node: usize, choice: usize, at: usize },
    /// Within a key of a property from `first` on: the first that fits, and how much of it is written.
    Key { node: usize, first: usize, property: usize, at: usize },
    /// Within a text, which has room for so many characters.
    Text { left: Option<u32>, part: Text },
    /// Within a number.
    Number(Number),
    /// After `{` or `[`.
    Opened,
    /// After `,`.
    Comma { may_space: bool },
    /// After a value.
    Ended,
}

/// Within a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Text {
    Plain,
    /// After a backslash.
    Escape,
    /// After `\u` and `4 - left` digits; whether the first was a D, after which not all others make a character.
    Hexadecimal {
        left: u8,
        is_d: bool,
    },
    /// Within a character of several bytes: how many are left, and between what the next one is.
    Character {
        left: u8,
        low: u8,
        high: u8,
    },
}

/// Within a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Number {
    is_integer: bool,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Minus,
    /// A zero that nothing stands before.
    Zero,
    Digits(u8),
    Point,
    Fraction(u8),
    Exponent,
    Sign,
    Power(u8),
}

impl State {
    /// What the value is within.
    pub(super) fn frame(&self) -> Option<Frame> {
        self.outer.as_ref().map(|outer| outer.frame)
    }

    /// Within one thing more.
    pub(super) fn within(&self, frame: Frame, top: Top) -> Self {
        Self { outer: Some(Arc::new(Outer { frame, rest: self.outer.clone() })), top }
    }

    /// Within the same thing, which has gone on.
    pub(super) fn replaced(&self, frame: Frame, top: Top) -> Self {
        let rest = self.outer.as_ref().and_then(|outer| outer.rest.clone());
        Self { outer: Some(Arc::new(Outer { frame, rest })), top }
    }

    /// After the thing that the value was within.
    pub(super) fn left(&self) -> Self {
        Self { outer: self.outer.as_ref().and_then(|outer| outer.rest.clone()), top: Top::Ended }
    }

    /// After the value.
    pub(super) fn ended(&self) -> Self {
        Self { outer: self.outer.clone(), top: Top::Ended }
    }

    /// Whether the whole has ended.
    pub(super) fn is_over(&self) -> bool {
        self.outer.is_none() && self.top == Top::Ended
    }

    /// The same for everything that a token of `longest` bytes can do.
    pub(super) fn clamped(&self, longest: u32) -> Self {
        let top = match self.top {
            Top::Text { left, part } => Top::Text { left: left.map(|left| left.min(longest)), part },
            top => top,
        };
        Self { outer: self.outer.as_deref().map(|outer| outer.clamped(longest)), top }
    }
}

impl Outer {
    fn clamped(&self, longest: u32) -> Arc<Self> {
        let frame = match self.frame {
            Frame::Array { node, owed, room } => {
                Frame::Array { node, owed: owed.min(longest), room: room.map(|room| room.min(longest)) }
            }
            frame => frame,
        };
        Arc::new(Self { frame, rest: self.rest.as_deref().map(|rest| rest.clamped(longest)) })
    }
}

impl Text {
    /// After one byte more: what is left and where, or none where the text has ended.
    pub(super) fn step(self, left: Option<u32>, byte: u8) -> Option<Option<(Option<u32>, Self)>> {
        // a character more, if there is room for one
        let counted = |part| match left {
            Some(0) => None,
            left => Some(Some((left.map(|left| left - 1), part))),
        };
        let many = |left, low, high| counted(Self::Character { left, low, high });
        match (self, byte) {
            (Self::Plain, b'"') => Some(None),
            (Self::Plain, b'\\') => counted(Self::Escape),
            (Self::Plain, 0x20..=0x7f) => counted(Self::Plain),
            // the well-formed sequences of UTF-8 (Unicode 15, table 3-7)
            (Self::Plain, 0xc2..=0xdf) => many(1, 0x80, 0xbf),
            (Self::Plain, 0xe0) => many(2, 0xa0, 0xbf),
            (Self::Plain, 0xed) => many(2, 0x80, 0x9f),
            (Self::Plain, 0xe1..=0xef) => many(2, 0x80, 0xbf),
            (Self::Plain, 0xf0) => many(3, 0x90, 0xbf),
            (Self::Plain, 0xf1..=0xf3) => many(3, 0x80, 0xbf),
            (Self::Plain, 0xf4) => many(3, 0x80, 0x8f),
            (Self::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                Some(Some((left, Self::Plain)))
            }
            (Self::Escape, b'u') => Some(Some((left, Self::Hexadecimal { left: 4, is_d: false }))),
            (Self::Hexadecimal { left: digits, is_d }, byte) => {
                let digit = (byte as char).to_digit(16)?;
                // D8 to DF begin halves of pairs
                if is_d && digits == 3 && digit >= 8 {
                    return None;
                }
                let next = Self::Hexadecimal { left: digits - 1, is_d: digits == 4 && digit == 0xd };
                Some(Some((left, if digits == 1 { Self::Plain } else { next })))
            }
            (Self::Character { left: bytes, low, high }, byte) if (low..=high).contains(&byte) => {
                let next = Self::Character { left: bytes - 1, low: 0x80, high: 0xbf };
                Some(Some((left, if bytes == 1 { Self::Plain } else { next })))
            }
            _ => None,
        }
    }

    /// What ends the text soonest.
    pub(super) fn closing(self) -> Vec<u8> {
        match self {
            Self::Plain => b"\"".to_vec(),
            Self::Escape => b"n\"".to_vec(),
            Self::Hexadecimal { left, .. } => [vec![b'0'; usize::from(left)], b"\"".to_vec()].concat(),
            Self::Character { left, low, .. } => {
                [vec![low], vec![0x80; usize::from(left) - 1], b"\"".to_vec()].concat()
            }
        }
    }
}

impl Number {
    /// The first byte.
    pub(super) fn begin(is_integer: bool, byte: u8) -> Option<Self> {
        let part = match byte {
            b'-' => Part::Minus,
            b'0' => Part::Zero,
            b'1'..=b'9' => Part::Digits(1),
            _ => return None,
        };
        Some(Self { is_integer, part })
    }

    pub(super) fn step(self, byte: u8) -> Option<Self> {
        let Self { is_integer, part } = self;
        let part = match (part, byte) {
            // no whole number is less than none by nothing
            (Part::Minus, b'0') if !is_integer => Part::Zero,
            (Part::Minus, b'1'..=b'9') => Part::Digits(1),
            (Part::Digits(count), b'0'..=b'9') if count < MAX_DIGITS => Part::Digits(count + 1),
            (Part::Zero | Part::Digits(_), b'.') if !is_integer => Part::Point,
            (Part::Point, b'0'..=b'9') => Part::Fraction(1),
            (Part::Fraction(count), b'0'..=b'9') if count < MAX_DIGITS => Part::Fraction(count + 1),
            (Part::Zero | Part::Digits(_) | Part::Fraction(_), b'e' | b'E') if !is_integer => Part::Exponent,
            (Part::Exponent, b'+' | b'-') => Part::Sign,
            (Part::Exponent | Part::Sign, b'0'..=b'9') => Part::Power(1),
            (Part::Power(count), b'0'..=b'9') if count < MAX_EXPONENT_DIGITS => Part::Power(count + 1),
            _ => return None,
        };
        Some(Self { is_integer, part })
    }

    /// What makes it a number soonest.
    pub(super) fn closing(self) -> Vec<u8> {
        match self.part {
            _ if self.is_whole() => Vec::new(),
            Part::Minus if self.is_integer => b"1".to_vec(),
            _ => b"0".to_vec(),
        }
    }

    /// Whether it is a number as it stands.
    pub(super) fn is_whole(self) -> bool {
        matches!(self.part, Part::Zero | Part::Digits(_) | Part::Fraction(_) | Part::Power(_))
    }
}
