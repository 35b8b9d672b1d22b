//! Tells a picture's format by its first bytes. Names, declared types and endings are never asked.

/// A format that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG, baseline or progressive.
    Jpeg,
    /// WebP, lossy or lossless; the first frame of an animation.
    Webp,
    /// The first frame of a GIF.
    Gif,
}

impl Format {
    /// The name that answers carry, such as `png`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Webp => "webp",
            Self::Gif => "gif",
        }
    }
}

/// The format that the first bytes claim, if it is one that is decoded.
pub fn sniff(bytes: &[u8]) -> Option<Format> {
    match bytes {
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some(Format::Png),
        [0xff, 0xd8, 0xff, ..] => Some(Format::Jpeg),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Format::Webp),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
        _ => None,
    }
}

/// What the bytes seem to be instead, for an error that helps.
pub(crate) fn guess(bytes: &[u8]) -> &'static str {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(bytes.len());
    match &bytes[start..] {
        [] => "nothing at all",
        [b'<', ..] => "markup (SVG or HTML)",
        [b'B', b'M', ..] => "a BMP picture",
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => "a TIFF picture",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "an AVIF, HEIC or MP4 file",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        _ => "of no known picture format",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_format_is_told_by_its_magic() {
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n...."), Some(Format::Png));
        assert_eq!(sniff(b"\xff\xd8\xff\xe0"), Some(Format::Jpeg));
        assert_eq!(sniff(b"RIFF\0\0\0\0WEBPVP8 "), Some(Format::Webp));
        assert_eq!(sniff(b"GIF89a"), Some(Format::Gif));
    }

    #[test]
    fn markup_and_near_misses_are_no_pictures() {
        for bytes in [&b"<svg xmlns"[..], b"\x89PNG", b"RIFF\0\0\0\0WAVE", b"GIF88a", b"", b"BM"] {
            assert_eq!(sniff(bytes), None, "{bytes:?}");
        }
        assert_eq!(guess(b"  \n<html>"), "markup (SVG or HTML)");
    }
}
