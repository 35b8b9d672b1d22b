//! Tells a recording's container by its first bytes. Names, declared types and endings are never asked: browsers call
//! webm "wav" when their page does.

/// A container that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// RIFF WAVE.
    Wav,
    /// Native FLAC.
    Flac,
    /// MPEG audio, layer III.
    Mp3,
    /// ISO base media: mp4, m4a, mov; in fragments as well.
    Mp4,
    /// Ogg.
    Ogg,
    /// WebM and Matroska.
    Webm,
}

impl Container {
    /// The name that answers carry, such as `webm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Flac => "flac",
            Self::Mp3 => "mp3",
            Self::Mp4 => "mp4",
            Self::Ogg => "ogg",
            Self::Webm => "webm",
        }
    }
}

/// The container that the first bytes claim, and the bytes from where it begins: ID3 tags are left out.
pub fn sniff(bytes: &[u8]) -> Option<(Container, &[u8])> {
    let bytes = after_tags(bytes);
    let container = match bytes {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Container::Wav,
        [b'f', b'L', b'a', b'C', ..] => Container::Flac,
        [b'O', b'g', b'g', b'S', ..] => Container::Ogg,
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Container::Webm,
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Container::Mp4,
        [0xff, second, third, ..] if is_layer_3(*second, *third) => Container::Mp3,
        _ => return None,
    };
    Some((container, bytes))
}

/// The header of a frame of layer III, as ISO/IEC 11172-3, 2.4.2.3 has it, with no reserved value.
fn is_layer_3(second: u8, third: u8) -> bool {
    let (sync, version, layer) = (second >> 5, second >> 3 & 3, second >> 1 & 3);
    let (bit_rate, rate) = (third >> 4, third >> 2 & 3);
    sync == 7 && version != 1 && layer == 1 && bit_rate != 15 && rate != 3
}

/// What follows the ID3v2 tags at the start. Their length has seven bits in each byte.
fn after_tags(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] = rest {
        let length = [a, b, c, d].iter().fold(0, |length, byte| length << 7 | usize::from(**byte & 0x7f));
        let footer = if flags & 0x10 != 0 { 10 } else { 0 };
        rest = rest.get(10 + length + footer..).unwrap_or_default();
    }
    rest
}

/// What the bytes seem to be instead, for an error that helps.
pub(crate) fn guess(bytes: &[u8]) -> &'static str {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(bytes.len());
    match &bytes[start..] {
        [] => "nothing at all",
        [b'I', b'D', b'3', ..] => "an ID3 tag without a recording that is read",
        [b'F', b'O', b'R', b'M', ..] => "an AIFF file",
        [b'R', b'I', b'F', b'X', ..] | [b'R', b'F', b'6', b'4', ..] => {
            "a wave file of a kind that is not read"
        }
        [b'R', b'I', b'F', b'F', ..] => "a RIFF file without sound (AVI or WebP)",
        [b'c', b'a', b'f', b'f', ..] => "a Core Audio file",
        [b'#', b'!', b'A', b'M', b'R', ..] => "an AMR file",
        [b'M', b'T', b'h', b'd', ..] => "a MIDI file",
        [0x30, 0x26, 0xb2, 0x75, ..] => "a Windows Media file",
        [0xff, second, ..] if second & 0xf6 == 0xf0 => "AAC without a container (ADTS)",
        [0xff, second, ..] if second & 0xe0 == 0xe0 => "MPEG audio other than layer III",
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, ..] | [b'G', b'I', b'F', b'8', ..] => "a picture",
        [b'<', ..] => "markup (HTML or XML)",
        [b'{' | b'[', ..] => "text (JSON)",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        _ => "of no known audio format",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_container_is_told_by_its_magic() {
        let cases: [(&[u8], Container); 6] = [
            (b"RIFF\0\0\0\0WAVEfmt ", Container::Wav),
            (b"fLaC\0", Container::Flac),
            (b"OggS\0", Container::Ogg),
            (b"\x1a\x45\xdf\xa3\x9f", Container::Webm),
            (b"\0\0\0\x1cftypisom", Container::Mp4),
            (b"\xff\xfb\x90\x64", Container::Mp3),
        ];
        for (bytes, container) in cases {
            assert_eq!(sniff(bytes), Some((container, bytes)));
        }
    }

    #[test]
    fn tags_are_left_out_and_their_length_is_not_trusted() {
        let tag = |length: u8| [b"ID3\x04\0\0\0\0\0", &[length][..]].concat();
        let tagged = [&tag(3)[..], b"abc", &tag(0), b"\xff\xfb\x90\x64"].concat();
        assert_eq!(sniff(&tagged), Some((Container::Mp3, &b"\xff\xfb\x90\x64"[..])));
        assert_eq!(sniff(&tag(127)), None);
        assert_eq!(guess(&tag(127)), "an ID3 tag without a recording that is read");
    }

    #[test]
    fn near_misses_are_named() {
        for (bytes, name) in [
            (&b"RIFF\0\0\0\0WEBPVP8 "[..], "a RIFF file without sound (AVI or WebP)"),
            (b"\xff\xf1\x50\x80", "AAC without a container (ADTS)"),
            (b"\xff\xfd\x90\x64", "MPEG audio other than layer III"),
            (b"\xff\xff\xff\xff", "MPEG audio other than layer III"),
            (b"\0\0\0\0\0\0\0\0", "of no known audio format"),
            (b" \n", "nothing at all"),
        ] {
            assert_eq!((sniff(bytes), guess(bytes)), (None, name));
        }
    }
}
