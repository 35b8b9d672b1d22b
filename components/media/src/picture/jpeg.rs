//! Whether a JPEG file is whole. The decoder paints what is missing grey and says nothing, so the end is looked for
//! here: markers are walked as ITU-T T.81, annex B lays them out, which a thumbnail inside EXIF cannot deceive.

const END_OF_IMAGE: u8 = 0xd9;
/// The one marker whose segment is followed by data without a length.
const START_OF_SCAN: u8 = 0xda;

/// Whether the marker that ends the picture is there.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        let Some((marker, after)) = next_marker(bytes, at) else { return false };
        match marker {
            END_OF_IMAGE => return true,
            // markers that stand alone: TEM, restarts, and a start of image
            0x01 | 0xd0..=0xd8 => at = after,
            _ => {
                let Some(end) = segment_end(bytes, after) else { return false };
                at = if marker == START_OF_SCAN { scan_end(bytes, end) } else { end };
            }
        }
    }
}

/// The marker at or after `at`, and where what follows it begins. Fill bytes are skipped.
fn next_marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let start = at + bytes.get(at..)?.iter().position(|byte| *byte == 0xff)?;
    let code = start + bytes.get(start..)?.iter().position(|byte| *byte != 0xff)?;
    Some((bytes[code], code + 1))
}

/// Where a segment whose two length bytes are at `at` ends.
fn segment_end(bytes: &[u8], at: usize) -> Option<usize> {
    let length = u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]);
    // at least its own two bytes, so that a length of 0 cannot keep the walk in one place
    Some(at + usize::from(length.max(2)))
}

/// Where the entropy-coded data that begins at `at` ends: at the first marker that is neither stuffing nor a restart.
fn scan_end(bytes: &[u8], at: usize) -> usize {
    let data = bytes.get(at..).unwrap_or_default();
    let end = data.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff));
    at + end.unwrap_or(data.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: [u8; 16] = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 0xff, 0xd9, 0xff, 0xda, 0, 2, 7, 0xff, 0, 0xff];

    #[test]
    fn an_end_inside_a_segment_does_not_count() {
        assert!(!is_whole(&TINY));
    }

    #[test]
    fn the_end_after_the_scan_counts() {
        assert!(is_whole(&[&TINY[..], &[0xd0, 9, 0xff, 0xd9]].concat()));
    }

    #[test]
    fn lengths_past_the_end_are_survived() {
        assert!(!is_whole(&[0xff, 0xd8, 0xff, 0xe0, 0xff, 0xff]));
        assert!(!is_whole(&[0xff, 0xd8]));
    }
}
