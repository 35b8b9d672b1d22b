//! Reads from a WebM or Matroska file what a track's codec adds before and after the sound: `CodecDelay` and the last
//! `DiscardPadding` (RFC 9559); and whether the file is cut off, which is hard to tell from a recording without sizes
//! and an end. Elements are walked in one line, into those that lead there and over all others, so that sizes that
//! recorders leave open need no thought.

/// Nanoseconds that are no part of the sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Margins {
    delay: u64,
    padding: u64,
    /// Whether the file ends within an element.
    pub(crate) is_cut: bool,
}

impl Margins {
    pub(crate) fn delay_frames(self, rate: u32) -> u64 {
        frames(self.delay, rate)
    }

    pub(crate) fn padding_frames(self, rate: u32) -> u64 {
        frames(self.padding, rate)
    }
}

/// The nearest number of frames: a frame is seldom a whole number of nanoseconds.
fn frames(nanoseconds: u64, rate: u32) -> u64 {
    let frames = (u128::from(nanoseconds) * u128::from(rate) + 500_000_000) / 1_000_000_000;
    u64::try_from(frames).unwrap_or(u64::MAX)
}

mod id {
    pub(super) const SEGMENT: u32 = 0x1853_8067;
    pub(super) const TRACKS: u32 = 0x1654_ae6b;
    pub(super) const TRACK_ENTRY: u32 = 0xae;
    pub(super) const TRACK_NUMBER: u32 = 0xd7;
    pub(super) const CODEC_DELAY: u32 = 0x56aa;
    pub(super) const CLUSTER: u32 = 0x1f43_b675;
    pub(super) const SIMPLE_BLOCK: u32 = 0xa3;
    pub(super) const BLOCK_GROUP: u32 = 0xa0;
    pub(super) const BLOCK: u32 = 0xa1;
    pub(super) const DISCARD_PADDING: u32 = 0x75a2;
}

/// The margins of a track: its delay, and the padding of its last block.
pub(crate) fn margins(bytes: &[u8], track: u32) -> Margins {
    let mut margins = Margins::default();
    // of the track entry: its number, and its delay, in either order
    let mut entry = (0, 0);
    // of the block group: whether it is the track's, and its padding, in either order
    let mut group = (false, 0);
    let mut elements = Elements { rest: bytes, is_cut: false };
    for (id, body) in elements.by_ref() {
        match id {
            id::TRACK_ENTRY => entry = (0, 0),
            id::TRACK_NUMBER => entry.0 = number(body),
            id::CODEC_DELAY => entry.1 = number(body),
            id::BLOCK_GROUP => group = (false, 0),
            id::SIMPLE_BLOCK if is_of(track, body) => margins.padding = 0,
            id::BLOCK => group.0 = is_of(track, body),
            id::DISCARD_PADDING => group.1 = number(body),
            _ => {}
        }
        if entry.0 == u64::from(track) {
            margins.delay = entry.1;
        }
        if matches!(id, id::BLOCK | id::DISCARD_PADDING) && group.0 {
            margins.padding = group.1;
        }
    }
    Margins { is_cut: elements.is_cut || !elements.rest.is_empty(), ..margins }
}

/// Whether a block is of a track, whose number its first bytes are.
fn is_of(track: u32, block: &[u8]) -> bool {
    variable(block).is_some_and(|(number, _)| number == u64::from(track))
}

/// An unsigned number of up to eight bytes. A negative padding would be silence that is added: none is.
fn number(body: &[u8]) -> u64 {
    if body.len() > 8 || body.len() == 8 && body[0] >= 0x80 {
        return 0;
    }
    body.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A number whose first byte's leading zeros tell its length, and that length (RFC 8794, 4).
fn variable(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    let rest = bytes.get(1..length).filter(|_| length <= 8)?;
    // the marker is the first bit that is set
    let first = u64::from(first) & ((1 << (8 - length)) - 1);
    Some((rest.iter().fold(first, |number, byte| number << 8 | u64::from(*byte)), length))
}

/// Every element on the way to the margins, one after the other: its id and its data.
struct Elements<'a> {
    /// What follows the last element; not empty at the end if no element can be read there.
    rest: &'a [u8],
    /// Whether an element was longer than the file.
    is_cut: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = self.rest.first()?.leading_zeros() as usize + 1;
        let id = self.rest.get(..length).filter(|_| length <= 4)?;
        let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
        let (size, size_length) = variable(&self.rest[length..])?;
        let rest = &self.rest[length + size_length..];
        let is_open = size == (1 << (7 * size_length)) - 1;
        let is_entered =
            matches!(id, id::SEGMENT | id::TRACKS | id::TRACK_ENTRY | id::CLUSTER | id::BLOCK_GROUP);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.is_cut |= size > rest.len() && !is_open;
        let size = size.min(rest.len());
        self.rest = if is_entered { rest } else { &rest[size..] };
        Some((id, &rest[..size]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(id: &[u8], data: &[u8]) -> Vec<u8> {
        let size = 0x4000 | u16::try_from(data.len()).expect("short");
        [id, &size.to_be_bytes(), data].concat()
    }

    /// An element whose size is unknown, as live recorders write them.
    fn open(id: &[u8]) -> Vec<u8> {
        [id, &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat()
    }

    fn group(track: u8, padding: &[u8]) -> Vec<u8> {
        let padding = element(&[0x75, 0xa2], padding);
        element(&[0xa0], &[element(&[0xa1], &[0x80 | track, 0, 0, 0, 9, 9]), padding].concat())
    }

    fn file(blocks: &[Vec<u8>]) -> Vec<u8> {
        let entry = |number: u8, delay: u8| {
            let delay = element(&[0x56, 0xaa], &[delay, 0, 0]);
            element(&[0xae], &[element(&[0xd7], &[number]), delay].concat())
        };
        let tracks = element(&[0x16, 0x54, 0xae, 0x6b], &[entry(1, 1), entry(2, 100)].concat());
        let head = [element(&[0x1a, 0x45, 0xdf, 0xa3], b"webm"), open(&[0x18, 0x53, 0x80, 0x67])].concat();
        [head, tracks, open(&[0x1f, 0x43, 0xb6, 0x75]), blocks.concat()].concat()
    }

    #[test]
    fn the_last_block_of_the_track_says_the_padding() {
        let simple = |track: u8| element(&[0xa3], &[0x80 | track, 0, 0, 0, 1]);
        let blocks = [group(2, &[9]), simple(2), group(2, &[0x65, 0x5e, 0x18]), group(1, &[5]), simple(1)];
        let found = margins(&file(&blocks), 2);
        assert_eq!(found, Margins { delay: 6_553_600, padding: 6_643_224, is_cut: false });
        assert_eq!((found.delay_frames(48_000), found.padding_frames(48_000)), (315, 319));
        assert_eq!(margins(&file(&blocks), 1), Margins { delay: 65_536, ..Margins::default() });
        assert_eq!(margins(&file(&[group(2, &[9]), simple(2)]), 2).padding, 0);
    }

    #[test]
    fn sizes_and_numbers_that_lie_end_the_walk() {
        let whole = file(&[group(2, &[0xff; 8])]);
        assert_eq!(margins(&whole, 2).padding, 0, "negative");
        let cuts: Vec<usize> = (0..whole.len()).filter(|cut| !margins(&whole[..*cut], 2).is_cut).collect();
        assert!(cuts.len() < 12, "only where an element of the top ends: {cuts:?}");
        assert_eq!(margins(&[0; 64], 2), Margins { is_cut: true, ..Margins::default() });
        let nested = open(&[0x18, 0x53, 0x80, 0x67]).repeat(1 << 16);
        assert_eq!(margins(&nested, 2), Margins::default());
        assert_eq!(frames(u64::MAX, 384_000), 7_083_549_724_304_468);
    }
}
