//! What recorders write: every container and codec becomes the samples of a reference decoder, from the first to the last.

use std::f64::consts::PI;

use media::audio::{Container, Error, Recording};

use crate::files::{FILES, TOLERANCE, Wave, decode, expected, read, worst};

#[test]
fn every_file_becomes_the_samples_of_its_packets() {
    for (file, stream) in FILES {
        let found = decode(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let expected = expected(stream);
        let worst = worst(&found.samples, &expected);
        println!("{file}: {worst:.1e}");
        assert_eq!(found.samples.len(), expected.len(), "{file}");
        assert!(worst < TOLERANCE, "{file}: {worst}");
        assert_eq!(found.damage, None, "{file}");
    }
}

#[test]
fn the_same_packets_are_the_same_samples_in_every_container() {
    for (file, stream) in FILES {
        let (first, _) = FILES.iter().find(|(_, of)| *of == stream).expect("it is one of them");
        let [found, first] = [file, first].map(|file| decode(&read(file)).expect(file).samples);
        assert!(found == first, "{file}: {} and {} samples", found.len(), first.len());
    }
}

#[test]
fn matroska_says_where_aac_begins_and_not_where_it_ends() {
    let [matroska, mp4] = ["aac.mkv", "aac.m4a"].map(|file| decode(&read(file)).expect(file).samples);
    // the last ones hear what follows
    let same = mp4.len() - 100;
    assert!(matroska[..same] == mp4[..same]);
    assert!((1..1_024 * 16_000 / 44_100).contains(&(matroska.len() - mp4.len())), "within its packet");
}

#[test]
fn what_was_found_is_said() {
    let told = |file: &str| {
        let Recording { container, codec, source_rate, channels, seconds, .. } =
            decode(&read(file)).expect(file);
        (container, codec, source_rate, channels, (seconds * f64::from(source_rate)).round() as u32)
    };
    assert_eq!(told("opus-celt.ogg"), (Container::Ogg, "opus", 48_000, 2, 23_957));
    assert_eq!(told("opus-hybrid-live.webm"), (Container::Webm, "opus", 48_000, 1, 23_957));
    assert_eq!(told("aac-fragments.mp4"), (Container::Mp4, "aac", 44_100, 1, 22_007));
    assert_eq!(told("mp3-slow.mp3"), (Container::Mp3, "mp3", 16_000, 1, 7_957));
    assert_eq!(told("vorbis.webm"), (Container::Webm, "vorbis", 44_100, 2, 22_007));
    assert_eq!(told("flac.flac"), (Container::Flac, "flac", 16_000, 2, 7_957));
    assert_eq!(told("alaw.wav"), (Container::Wav, "alaw", 8_000, 1, 3_957));
}

/// Half a tone's period of 40 frames, in two channels of which the second is silent.
fn tone() -> impl Iterator<Item = f64> {
    (0..1_600).map(|n| (2.0 * PI * f64::from(n) / 40.0).sin() * 0.5)
}

#[test]
fn every_kind_of_wave_file_is_read_and_mixed_by_mean() {
    let bytes = |write: fn(f64) -> Vec<u8>| -> Vec<u8> {
        tone().flat_map(|sample| [write(sample), write(0.0)].concat()).collect()
    };
    let kinds: [(u16, u16, f32, Vec<u8>); 6] = [
        (1, 8, 1.0 / 128.0, bytes(|s| vec![(s * 128.0 + 128.0).round() as u8])),
        (1, 16, 1.0 / 32_768.0, bytes(|s| ((s * 32_768.0).round() as i16).to_le_bytes().to_vec())),
        (1, 24, 1e-6, bytes(|s| ((s * 8_388_608.0).round() as i32).to_le_bytes()[..3].to_vec())),
        (1, 32, 1e-6, bytes(|s| ((s * 2_147_483_648.0).round() as i32).to_le_bytes().to_vec())),
        (3, 32, 1e-6, bytes(|s| (s as f32).to_le_bytes().to_vec())),
        (3, 64, 1e-6, bytes(|s| s.to_le_bytes().to_vec())),
    ];
    let expected: Vec<f32> = tone().map(|sample| (sample / 2.0) as f32).collect();
    for (tag, bits, tolerance, data) in kinds {
        let wave = Wave { tag, rate: 16_000, channels: 2, bits, claimed: None };
        let found = decode(&wave.file(&data)).unwrap_or_else(|error| panic!("{tag}, {bits}: {error}"));
        assert_eq!(found.samples.len(), expected.len(), "{tag}, {bits}");
        let worst = worst(&found.samples, &expected);
        assert!(worst <= tolerance, "{tag}, {bits} bits: {worst}");
        assert_eq!((found.channels, found.damage), (2, None), "{tag}, {bits}");
    }
}

#[test]
fn companded_waves_have_the_values_of_g_711() {
    // extremes and the smallest steps, from ITU-T G.711's tables, as parts of 32,768
    let cases: [(u16, &[u8], &[f32]); 2] = [
        (6, &[0x2a, 0xaa, 0x55, 0xd5], &[-32_256.0, 32_256.0, -8.0, 8.0]),
        (7, &[0x00, 0x80, 0x7e, 0xfe, 0xff], &[-32_124.0, 32_124.0, -8.0, 8.0, 0.0]),
    ];
    for (tag, data, expected) in cases {
        let wave = Wave { tag, rate: 16_000, channels: 1, bits: 8, claimed: None };
        let found = decode(&wave.file(data)).expect("companded").samples;
        let found: Vec<f32> = found.iter().map(|sample| sample * 32_768.0).collect();
        assert_eq!(found, expected, "{tag}");
    }
}

#[test]
fn an_open_end_of_a_streamed_wave_file_is_its_end() {
    let wave = Wave { tag: 1, rate: 16_000, channels: 1, bits: 16, claimed: Some(u32::MAX) };
    let found = decode(&wave.file(&[0; 3_200])).expect("streamed");
    assert_eq!((found.samples.len(), found.damage), (1_600, None));
}

#[test]
fn tags_before_an_mp3_are_left_out() {
    let tagged = [b"ID3\x04\0\0\0\0\x02\x01", &[0xff; 257][..], &read("mp3.mp3")].concat();
    let found = decode(&tagged).expect("with a tag");
    assert!(found.samples == decode(&read("mp3.mp3")).expect("without").samples);
}

#[test]
fn codecs_that_are_not_read_are_named() {
    let refused = |bytes: &[u8], name: &str| match decode(bytes) {
        Err(Error::Unsupported(text)) => assert!(text.contains(name), "{text}"),
        other => panic!("{name}: {other:?}"),
    };
    refused(&read("alac.m4a"), "codec is ALAC");
    // AAC-LC is object type 2 of the five bits of which 5 is HE-AAC, and 29 its second version
    let config = |object_type: u8| {
        let mut file = read("aac.m4a");
        let at = file.windows(3).position(|bytes| bytes == [0x12, 0x08, 0x56]).expect("its configuration");
        file[at] = object_type << 3 | file[at] & 7;
        file
    };
    assert!(decode(&config(2)).is_ok());
    refused(&config(5), "codec is HE-AAC,");
    refused(&config(29), "codec is HE-AAC v2,");
    refused(&config(1), "codec is AAC Main,");
    // MPEG audio in a wave file
    refused(&Wave { tag: 0x55, rate: 8_000, channels: 1, bits: 0, claimed: None }.file(&[0; 64]), "wav");
    let surround = crate::files::with_pages(&read("opus-silk.ogg"), |page, bytes| {
        if page == 0 {
            // the channels, and what is no family of one stream
            (bytes[28 + 9], bytes[28 + 18]) = (6, 1);
        }
    });
    assert!(decode(&surround).is_err());
    refused(&[&b"OggS\0\x02"[..], &[0; 20], b"\x01\x50Speex   1.2", &[0; 80]].concat(), "Speex");
}
