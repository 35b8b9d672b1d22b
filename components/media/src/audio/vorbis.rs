//! Looks at the codebooks of a Vorbis setup header (Vorbis I, 3.2.1) before symphonia does, which panics over vectors of very
//! many dimensions and makes tables as large as a header claims. What cannot be read is left to symphonia.

/// What a setup header begins with.
const SETUP: &[u8] = b"\x05vorbis";

/// Entries of all codebooks, times their dimensions. Encoders need a hundredth of it.
const MAX_VALUES: u64 = 1 << 23;

/// What is said of a file that has one.
pub(crate) const WILD: &str = "the codebooks of its Vorbis sound are larger than any encoder makes them";

/// Whether a setup header among the pages of an Ogg file asks for what no encoder asks.
pub(crate) fn has_wild_setup(file: &[u8]) -> bool {
    let (mut rest, mut packet, mut is_first) = (file, None::<Vec<u8>>, true);
    while rest.starts_with(b"OggS") {
        let segments = rest.get(26).map_or(0, |count| usize::from(*count));
        let Some(lengths) = rest.get(27..27 + segments) else { break };
        let mut body = &rest[27 + segments..];
        for length in lengths {
            let (piece, after) = body.split_at(body.len().min(usize::from(*length)));
            body = after;
            if is_first {
                packet = piece.starts_with(SETUP).then(Vec::new);
            }
            if let Some(packet) = &mut packet {
                packet.extend_from_slice(piece);
            }
            // a packet goes on after a piece of 255 bytes
            is_first = *length < 255;
            if is_first && packet.take().is_some_and(|packet| is_wild(&packet)) {
                return true;
            }
        }
        rest = body;
    }
    packet.is_some_and(|packet| is_wild(&packet))
}

/// The same of the setup header among a decoder's headers.
pub(crate) fn is_wild(headers: &[u8]) -> bool {
    let setup = headers.windows(SETUP.len()).position(|bytes| bytes == SETUP);
    setup.and_then(|at| are_books_wild(&headers[at + SETUP.len()..])).unwrap_or(false)
}

/// Walks over the codebooks; nothing if they end early.
fn are_books_wild(setup: &[u8]) -> Option<bool> {
    let mut bits = Bits { bytes: setup, at: 0 };
    let (count, mut claimed) = (bits.take(8)? + 1, 0);
    for _ in 0..count {
        let (_sync, dimensions, entries) = (bits.take(24)?, bits.take(16)?, bits.take(24)?);
        claimed += u64::from(entries) * u64::from(dimensions.max(1));
        if claimed > MAX_VALUES {
            return Some(true);
        }
        skip_code_lengths(&mut bits, entries)?;
        let values = match bits.take(4)? {
            0 => continue,
            1 => match lookup_values(entries, dimensions) {
                Some(values) => values,
                None => return Some(true),
            },
            _ => entries * dimensions,
        };
        let (_min, _delta, width, _is_sequence) =
            (bits.take(32)?, bits.take(32)?, bits.take(4)? + 1, bits.take(1)?);
        bits.at += values as usize * width as usize;
    }
    Some(false)
}

fn skip_code_lengths(bits: &mut Bits<'_>, entries: u32) -> Option<()> {
    let is_ordered = bits.take(1)? == 1;
    if is_ordered {
        let (_first, mut entry) = (bits.take(5)?, 0);
        while entry < entries {
            entry += bits.take((entries - entry).ilog2() + 1)?;
        }
        return Some(());
    }
    let is_sparse = bits.take(1)? == 1;
    for _ in 0..entries {
        if !is_sparse || bits.take(1)? == 1 {
            bits.take(5)?;
        }
    }
    Some(())
}

/// How many values span `entries` vectors, computed as symphonia does it; nothing where it would panic over the result.
fn lookup_values(entries: u32, dimensions: u32) -> Option<u32> {
    let side = (entries as f32).powf(1.0 / dimensions as f32).floor() as u32;
    let is_within = side.checked_pow(dimensions)? <= entries;
    let is_most = side.checked_add(1)?.checked_pow(dimensions)? > entries;
    (is_within && is_most && dimensions > 0).then_some(side)
}

/// Reads numbers whose low bits come first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut number = 0;
        for bit in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            number |= u32::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setup header whose only book has code words of one length, and values of one bit.
    fn setup(dimensions: u32, entries: u32, lookup: u32) -> Vec<u8> {
        let ordered = [(1, 1), (0, 5), (entries, 32 - entries.leading_zeros())];
        let fields = [(0, 8), (0x56_4342, 24), (dimensions, 16), (entries, 24)].into_iter().chain(ordered);
        let lookup = [(lookup, 4), (0, 32), (0, 32), (0, 4), (0, 1), (0, 32)];
        let mut bits = Vec::new();
        for (number, width) in fields.chain(lookup) {
            bits.extend((0..width).map(|bit| (number >> bit & 1) as u8));
        }
        let bytes = bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit));
        SETUP.iter().copied().chain(bytes).collect()
    }

    #[test]
    fn books_that_no_encoder_writes_are_wild() {
        for (dimensions, entries, lookup) in
            [(8, 6_561, 1), (2, 289, 1), (4, 625, 2), (1, 2_048, 0), (0, 7, 0)]
        {
            assert!(!is_wild(&setup(dimensions, entries, lookup)), "{dimensions} {entries} {lookup}");
        }
        for (dimensions, entries, lookup) in
            [(0, 7, 1), (32, 9, 1), (24, (1 << 24) - 1, 0), (65_535, 200, 2), (33, 5, 1)]
        {
            assert!(is_wild(&setup(dimensions, entries, lookup)), "{dimensions} {entries} {lookup}");
        }
    }

    #[test]
    fn what_ends_early_is_left_to_the_decoder() {
        let wild = setup(32, 9, 1);
        assert!(!is_wild(&wild[..14]) && !is_wild(b"\x05vorbi") && !is_wild(b""));
        assert!(is_wild(&[b"\x01vorbis and a comment", &wild[..]].concat()));
    }

    #[test]
    fn setups_are_found_across_pages() {
        let wild = setup(32, 9, 1);
        let page = |pieces: &[&[u8]]| {
            let lengths: Vec<u8> = pieces.iter().map(|piece| piece.len() as u8).collect();
            [&b"OggS"[..], &[0; 22], &[lengths.len() as u8], &lengths, &pieces.concat()].concat()
        };
        let long = [&wild[..], &[0; 255]].concat();
        let (first, second) = long.split_at(255);
        let file =
            [page(&[b"\x01vorbis"]), page(&[b"\x03vorbis", first]), page(&[second, b"sound"])].concat();
        assert!(has_wild_setup(&file));
        assert!(has_wild_setup(&file[..200]), "cut off behind its books");
        assert!(!has_wild_setup(&page(&[&setup(8, 6_561, 1)])));
        assert!(!has_wild_setup(&file[..80]), "cut off before them");
    }
}
