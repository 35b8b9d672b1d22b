//! Files of the folder, and files that are made here: wave files of every kind, flac, and Ogg pages with a right checksum.

use std::path::Path;

use media::audio::{self, Error, Limits, Recording};

pub(crate) const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_seconds: 2 };

/// Every file, and the stream of packets in it.
pub(crate) const FILES: [(&str, &str); 17] = [
    ("opus-silk.ogg", "opus-silk"),
    ("opus-hybrid.ogg", "opus-hybrid"),
    ("opus-hybrid-page.ogg", "opus-hybrid"),
    ("opus-hybrid.webm", "opus-hybrid"),
    ("opus-hybrid-live.webm", "opus-hybrid"),
    ("opus-hybrid.mp4", "opus-hybrid"),
    ("opus-celt.ogg", "opus-celt"),
    ("aac.m4a", "aac"),
    ("aac-fragments.mp4", "aac"),
    ("aac-stereo.m4a", "aac-stereo"),
    ("mp3.mp3", "mp3"),
    ("mp3-slow.mp3", "mp3-slow"),
    ("vorbis.ogg", "vorbis"),
    ("vorbis.webm", "vorbis"),
    ("flac.flac", "flac"),
    ("alaw.wav", "alaw"),
    ("pcm24.wav", "pcm24"),
];

pub(crate) fn read(name: &str) -> Vec<u8> {
    let folder = std::env::var("ATELIER_RECORDINGS_DIR")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings").into());
    let path = Path::new(&folder).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The samples that a stream of packets must become.
pub(crate) fn expected(stream: &str) -> Vec<f32> {
    let bytes = read(&format!("{stream}.s16"));
    bytes.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0).collect()
}

/// The worst difference that is allowed to a reference decoder and resampler. The references are rounded to 16 bits, and
/// the two resamplers' slopes above 6.8 kHz differ, where some codecs leave noise.
pub(crate) const TOLERANCE: f32 = 1e-3;

pub(crate) fn worst(found: &[f32], expected: &[f32]) -> f32 {
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Recording, Error> {
    audio::decode(bytes, LIMITS)
}

/// A wave file.
#[derive(Clone, Copy)]
pub(crate) struct Wave {
    /// The format's number: 1 is PCM, 3 floating point, 6 A-law, 7 µ-law.
    pub(crate) tag: u16,
    pub(crate) rate: u32,
    pub(crate) channels: u16,
    pub(crate) bits: u16,
    /// What its header says of its data's length, if that is not true.
    pub(crate) claimed: Option<u32>,
}

impl Wave {
    pub(crate) fn file(self, data: &[u8]) -> Vec<u8> {
        let frame = self.channels.wrapping_mul(self.bits / 8);
        let length = self.claimed.unwrap_or(data.len() as u32);
        [
            &b"RIFF"[..],
            &length.saturating_add(38).to_le_bytes(),
            b"WAVEfmt \x12\0\0\0",
            &self.tag.to_le_bytes(),
            &self.channels.to_le_bytes(),
            &self.rate.to_le_bytes(),
            &self.rate.wrapping_mul(u32::from(frame)).to_le_bytes(),
            &frame.to_le_bytes(),
            &self.bits.to_le_bytes(),
            b"\0\0data",
            &length.to_le_bytes(),
            data,
        ]
        .concat()
    }
}

/// A flac file of so many frames of 65,535 samples of silence at 8 kHz, each in 16 bytes or so.
pub(crate) fn silent_flac(frames: u32) -> Vec<u8> {
    let mut file = b"fLaC\x80\0\0\x22\xff\xff\xff\xff\0\0\0\0\0\0".to_vec();
    // 20 bits of rate, 3 of channels - 1, 5 of bits - 1, 36 of samples, which nobody counted
    file.extend((8_000_u64 << 44 | 15 << 36).to_be_bytes());
    file.extend([0; 16]);
    for frame in 0..frames {
        let mut bytes = vec![0xff, 0xf8, 0x74, 0x08];
        bytes.extend(char::from_u32(frame).expect("below the surrogates").to_string().bytes());
        bytes.extend([0xff, 0xfe]);
        bytes.push(crc(&bytes, 8, 0x07) as u8);
        bytes.extend([0, 0, 0]);
        bytes.extend((crc(&bytes, 16, 0x8005) as u16).to_be_bytes());
        file.extend(bytes);
    }
    file
}

/// The Ogg pages of a file, to be changed one by one: each gets the checksum of what it has become.
pub(crate) fn with_pages(file: &[u8], mut change: impl FnMut(usize, &mut [u8])) -> Vec<u8> {
    let (mut pages, mut rest) = (Vec::new(), file);
    while rest.starts_with(b"OggS") {
        let segments = usize::from(rest[26]);
        let body: usize = rest[27..27 + segments].iter().map(|length| usize::from(*length)).sum();
        let (page, after) = rest.split_at(27 + segments + body);
        pages.push(page.to_vec());
        rest = after;
    }
    for (index, page) in pages.iter_mut().enumerate() {
        change(index, page);
        page[22..26].fill(0);
        let sum = crc(page, 32, 0x04c1_1db7);
        page[22..26].copy_from_slice(&sum.to_le_bytes());
    }
    pages.concat()
}

/// A checksum of `width` bits, high bit first.
fn crc(bytes: &[u8], width: u32, polynomial: u32) -> u32 {
    let (top, mask) = (1_u64 << (width - 1), (1_u64 << width) - 1);
    let step = |sum: u64, _| if sum & top != 0 { sum << 1 ^ u64::from(polynomial) } else { sum << 1 };
    let byte = |sum: u64, byte: &u8| (0..8).fold(sum ^ u64::from(*byte) << (width - 8), step) & mask;
    bytes.iter().fold(0, byte) as u32
}
