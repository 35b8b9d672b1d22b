//! Files that are cut, damaged or made to do harm: each is an error, or what is left of it with a note, within limits.

use media::audio::{self, Error, Limits};

use crate::files::{FILES, LIMITS, Wave, decode, read, silent_flac, with_pages};

const MAX_SAMPLES: usize = 2 * 16_000;

/// Files that can be read from the beginning without the rest. The others point to an index at their end, or are one page.
const STREAMED: [&str; 10] = [
    "opus-silk.ogg",
    "opus-hybrid.ogg",
    "opus-celt.ogg",
    "opus-hybrid-live.webm",
    "aac-fragments.mp4",
    "mp3.mp3",
    "mp3-slow.mp3",
    "flac.flac",
    "alaw.wav",
    "pcm24.wav",
];

/// Decodes what may be anything, and holds the result to what always holds.
fn survive(bytes: &[u8], what: &str) {
    let Ok(found) = decode(bytes) else { return };
    assert!(!found.samples.is_empty(), "{what}");
    assert!(found.samples.len() <= MAX_SAMPLES, "{what}: {}", found.samples.len());
    assert!(found.samples.iter().all(|sample| sample.is_finite()), "{what}");
}

fn assert_damaged(bytes: &[u8], what: &str) {
    let found = decode(bytes);
    assert!(matches!(found, Err(Error::Damaged(_))), "{what}: {found:?}");
}

#[test]
fn a_file_cut_anywhere_is_refused_or_gives_its_beginning_with_a_note() {
    for (file, _) in FILES {
        let bytes = read(file);
        let whole = decode(&bytes).expect(file).samples;
        let mut given = 0;
        for sixteenth in 0..16 {
            let Ok(found) = decode(&bytes[..bytes.len() * sixteenth / 16]) else { continue };
            assert!(found.damage.is_some(), "{file}, {sixteenth}/16: no note");
            // the last samples hear what follows them, and in some codecs its packet
            let same = found.samples.len().min(whole.len()).saturating_sub(2_400);
            assert!(found.samples[..same] == whole[..same], "{file}, {sixteenth}/16");
            given += 1;
        }
        assert!(given >= 8 || !STREAMED.contains(&file), "{file}: {given} of 16");
    }
}

#[test]
fn packets_that_cannot_be_decoded_are_silent_and_said() {
    let mut packet = Vec::new();
    with_pages(&read("opus-hybrid.ogg"), |page, bytes| {
        if page == 3 {
            packet.extend_from_slice(&bytes[27 + usize::from(bytes[26])..][..16]);
        }
    });
    let mut damaged = read("opus-hybrid.webm");
    let at = damaged.windows(16).position(|bytes| bytes == packet).expect("the same packet");
    // it says that its number of frames follows, and that the number is 0
    (damaged[at], damaged[at + 1]) = (damaged[at] | 3, 0);
    let found = decode(&damaged).expect("most of it");
    let whole = decode(&read("opus-hybrid.ogg")).expect("whole");
    assert_eq!(found.samples.len(), whole.samples.len());
    let damage = found.damage.expect("a note");
    assert!(damage.contains("1 of 26 packets are silent"), "{damage}");
}

#[test]
fn samples_that_are_no_numbers_are_silent_and_said() {
    let mut data = vec![0.25_f32; 1_600];
    (data[7], data[8], data[9]) = (f32::NAN, f32::INFINITY, -1e30);
    let data: Vec<u8> = data.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let wave = Wave { tag: 3, rate: 16_000, channels: 1, bits: 32, claimed: None };
    let found = decode(&wave.file(&data)).expect("most of it");
    assert_eq!(found.samples[6..11], [0.25, 0.0, 0.0, 0.0, 0.25]);
    assert!(found.damage.expect("a note").contains("no numbers"));
}

#[test]
fn a_wave_header_that_claims_4_gb_is_not_believed() {
    let wave = Wave { tag: 1, rate: 16_000, channels: 1, bits: 16, claimed: Some(u32::MAX - 40) };
    let found = decode(&wave.file(&[0; 3_200])).expect("what is there");
    assert_eq!(found.samples.len(), 1_600);
    let damage = found.damage.expect("a note");
    assert!(damage.contains("header promises 134217"), "{damage}");
}

#[test]
fn wave_headers_that_make_no_sense_are_refused() {
    let wave = Wave { tag: 1, rate: 16_000, channels: 1, bits: 16, claimed: None };
    let senseless = [
        Wave { rate: 0, ..wave },
        Wave { rate: 1, ..wave },
        Wave { rate: u32::MAX, ..wave },
        Wave { channels: 0, ..wave },
        Wave { channels: u16::MAX, ..wave },
        Wave { bits: 0, ..wave },
        Wave { bits: 17, ..wave },
        Wave { tag: 0, ..wave },
    ];
    for (index, wave) in senseless.into_iter().enumerate() {
        let found = decode(&wave.file(&[1; 4_000]));
        assert!(matches!(found, Err(Error::Damaged(_) | Error::Unsupported(_))), "{index}: {found:?}");
    }
    assert!(matches!(decode(&wave.file(&[])), Err(Error::NoAudio(_))));
}

#[test]
fn a_small_file_of_hours_ends_at_the_limit() {
    let hours = silent_flac(4_400);
    assert!(hours.len() < 80_000, "ten hours in {} bytes", hours.len());
    assert_eq!(decode(&hours).err(), Some(Error::TooLong), "ten hours were decoded");
    let enough = Limits { max_seconds: 9, ..LIMITS };
    let found = audio::decode(&silent_flac(1), enough).expect("eight seconds");
    assert_eq!((found.samples.len(), found.damage), (131_070, None));
}

#[test]
fn one_byte_and_one_frame_more_than_the_limits_are_refused() {
    let wave = Wave { tag: 1, rate: 8_000, channels: 1, bits: 8, claimed: None };
    let (two_seconds, more) = (wave.file(&[128; 16_000]), wave.file(&[128; 16_001]));
    assert_eq!(decode(&two_seconds).expect("two seconds").samples.len(), 32_000);
    assert_eq!(decode(&more).err(), Some(Error::TooLong));
    let limits = Limits { max_bytes: two_seconds.len() as u64, ..LIMITS };
    assert!(audio::decode(&two_seconds, limits).is_ok());
    let limits = Limits { max_bytes: limits.max_bytes - 1, ..LIMITS };
    let refused = audio::decode(&two_seconds, limits);
    assert!(matches!(refused, Err(Error::TooLarge(text)) if text.contains("`max-bytes`")));
}

#[test]
fn boxes_of_impossible_sizes_are_refused() {
    let whole = read("aac.m4a");
    let names: Vec<usize> = (4..whole.len() - 4)
        .filter(|at| {
            [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"stsz", b"mdat", b"elst"]
                .iter()
                .any(|name| whole[*at..].starts_with(&name[..]))
        })
        .collect();
    assert_eq!(names.len(), 9);
    for at in names {
        for size in [[0; 4], [0xff; 4], [0, 0, 0, 4]] {
            let mut bytes = whole.clone();
            bytes[at - 4..at].copy_from_slice(&size);
            survive(&bytes, &format!("size {size:?} at {at}"));
        }
        let mut bytes = whole.clone();
        bytes.splice(at - 4..at + 4, [0, 0, 0, 1, whole[at], whole[at + 1], whole[at + 2], whole[at + 3]]);
        bytes.splice(at + 4..at + 4, [0x80, 0, 0, 0, 0, 0, 0, 0]);
        survive(&bytes, &format!("2^63 at {at}"));
    }
}

#[test]
fn boxes_in_boxes_without_end_are_refused() {
    for name in [&b"moov"[..], b"trak", b"udta", b"meta", b"moof"] {
        let mut nested = Vec::new();
        for _ in 0..5_000 {
            let size = (nested.len() as u32 + 8).to_be_bytes();
            nested = [&size[..], name, &nested].concat();
        }
        let file = [b"\0\0\0\x10ftypisom\0\0\0\0", &nested[..]].concat();
        assert_damaged(&file, &String::from_utf8_lossy(name));
    }
}

#[test]
fn tables_that_claim_more_than_the_file_holds_are_refused() {
    let whole = read("aac.m4a");
    for (name, counts_at) in [(b"stsz", [12, 12]), (b"stts", [8, 12]), (b"stsc", [8, 16]), (b"stco", [8, 8])]
    {
        let at = whole.windows(4).position(|bytes| bytes == name).expect("a table");
        for count_at in counts_at {
            let mut bytes = whole.clone();
            bytes[at + count_at..at + count_at + 4].fill(0xff);
            survive(&bytes, &format!("{name:?}"));
        }
    }
}

#[test]
fn samples_where_no_file_reaches_are_refused() {
    for (file, name, offset_at) in [("aac.m4a", b"stco", 12), ("aac-fragments.mp4", b"trun", 12)] {
        let mut bytes = read(file);
        let at = bytes.windows(4).position(|bytes| bytes == name).expect("a table") + offset_at;
        bytes[at..at + 4].copy_from_slice(&[0x80, 0, 0, 1]);
        assert_damaged(&bytes, file);
    }
}

#[test]
fn a_granule_that_goes_back_costs_no_more_than_its_page() {
    for file in ["opus-hybrid.ogg", "vorbis.ogg"] {
        let pages = std::cell::Cell::new(0);
        let back = with_pages(&read(file), |page, bytes| {
            pages.set(page);
            if page >= 2 {
                let granule = [1, u64::MAX, 0, 1 << 63][page % 4];
                bytes[6..14].copy_from_slice(&granule.to_le_bytes());
            }
        });
        assert!(pages.get() >= 2, "{file} has pages of sound");
        survive(&back, file);
    }
}

#[test]
fn elements_of_unknown_and_impossible_sizes_are_survived() {
    let whole = read("opus-hybrid.webm");
    let segment = whole.windows(4).position(|bytes| bytes == [0x18, 0x53, 0x80, 0x67]).expect("a segment");
    let open = [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let huge = [1, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for size in [open, huge] {
        let mut bytes = whole.clone();
        bytes[segment + 4..segment + 12].copy_from_slice(&size);
        survive(&bytes, "segment");
        let nested =
            [&bytes[..segment], &bytes[segment..segment + 12].repeat(5_000), &bytes[segment..]].concat();
        survive(&nested, "nested segments");
    }
    // TimestampScale is 0: the id, a size of three, and what was a million
    let scale = whole.windows(4).position(|bytes| bytes == [0x2a, 0xd7, 0xb1, 0x83]).expect("a scale");
    let mut bytes = whole.clone();
    bytes[scale + 4..scale + 7].fill(0);
    survive(&bytes, "time scale");
}

#[test]
fn zeros_are_nothing_and_zeros_after_a_header_are_damage() {
    let nothing = decode(&[0; 10_000]);
    assert!(matches!(nothing, Err(Error::UnknownFormat(text)) if text.contains("no known audio format")));
    let tagged = [&b"ID3\x04\0\0\0\0\0\0"[..], &[0; 10_000]].concat();
    assert!(matches!(decode(&tagged), Err(Error::UnknownFormat(text)) if text.contains("ID3 tag")));
    let zeros = vec![0; 10_000];
    let heads: [&[u8]; 6] = [
        b"\xff\xfb\x90\x64",
        b"fLaC",
        b"OggS",
        b"RIFF\0\0\0\0WAVE",
        b"\x1a\x45\xdf\xa3",
        b"\0\0\0\x10ftypisom\0\0\0\0",
    ];
    for head in heads {
        assert_damaged(&[head, &zeros].concat(), &format!("{head:?} and zeros"));
        assert_damaged(head, &format!("{head:?} alone"));
    }
}
