//! Decodes one recording: told by its first bytes, taken out of its container, decoded packet by packet, cut where the
//! container says that the sound begins and ends, mixed to one channel and brought to 16 kHz.
//!
//! Memory holds one packet and the result. Limits count what was decoded, never what a header claims. Damage that
//! leaves most of the recording is survived and said; times after it stay true, since what is missing is silent.

mod codec;
mod cut;
mod demux;
mod mp4;
mod opus;
mod resample;
mod sniff;
mod vorbis;
mod webm;

use std::fmt;

use codec::Decoder;
use cut::{Cutter, MAX_PADDING};
use demux::{Next, Source};
use resample::Resampler;

pub use sniff::{Container, sniff};

/// The rate of all samples that are given, in Hz: what speech recognition listens to.
pub const SAMPLE_RATE: u32 = 16_000;

/// Rates of a source that are read, in Hz. Slower is no sound, and faster is nobody's microphone.
const SOURCE_RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// The loudest sample that is believed, as a multiple of full scale. Floating-point files may hold anything.
const MAX_AMPLITUDE: f32 = 10_000.0;

/// So many undecodable packets may come before decodable ones, as in a piece of a broadcast.
const MAX_LEADING_DAMAGE: u64 = 1_000;

/// Limits of one recording.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes that the file may have.
    pub max_bytes: u64,
    /// The most seconds of sound.
    pub max_seconds: u32,
}

/// A decoded recording.
#[derive(Debug)]
pub struct Recording {
    /// One channel at [`SAMPLE_RATE`]; full scale is 1. Never empty.
    pub samples: Vec<f32>,
    /// The container found.
    pub container: Container,
    /// The codec found, such as `opus`.
    pub codec: &'static str,
    /// The rate of the source in Hz.
    pub source_rate: u32,
    /// How many channels were mixed.
    pub channels: u32,
    /// The length of the sound in seconds.
    pub seconds: f64,
    /// What could not be decoded, where and why; absent if the file is whole.
    pub damage: Option<String>,
}

/// Why bytes were not decoded. The texts are safe to show.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes are of no accepted format.
    UnknownFormat(String),
    /// The container is read, and the codec, profile, rate or channel layout in it is not.
    Unsupported(String),
    /// There is no sound in the file.
    NoAudio(String),
    /// The file is broken, and too little of it can be decoded.
    Damaged(String),
    /// The file has more bytes than are allowed.
    TooLarge(String),
    /// The sound is longer than is allowed.
    TooLong,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownFormat(text)
            | Self::Unsupported(text)
            | Self::NoAudio(text)
            | Self::Damaged(text)
            | Self::TooLarge(text) => text,
            Self::TooLong => "the sound is too long",
        })
    }
}

impl std::error::Error for Error {}

/// Decodes wav, flac, mp3, mp4, ogg or webm.
pub fn decode(bytes: &[u8], limits: Limits) -> Result<Recording, Error> {
    let length = bytes.len() as u64;
    if length > limits.max_bytes {
        let most = limits.max_bytes;
        return Err(Error::TooLarge(format!("the file has {length} bytes; `max-bytes` allows {most}")));
    }
    let (container, bytes) = sniff(bytes).ok_or_else(|| unknown(bytes))?;
    let source = Source::open(bytes, container)?;
    let decoder = Decoder::open(&source)?;
    let codec = decoder.name();
    let mut sound = Listening::new(source, decoder, limits)?;
    while sound.hear_packet()? {}
    sound.finish(container, codec)
}

fn unknown(bytes: &[u8]) -> Error {
    let seen = sniff::guess(bytes);
    Error::UnknownFormat(format!("the bytes are {seen}; wav, flac, mp3, mp4, ogg and webm are accepted"))
}

/// What was lost on the way.
#[derive(Default)]
struct Damage {
    /// Packets that could not be decoded.
    packets: u64,
    /// The first loss: where and why.
    first: Option<String>,
}

impl Damage {
    fn add(&mut self, at: f64, why: &str) {
        self.first.get_or_insert_with(|| format!("at {at:.3} s: {why}"));
    }
}

/// A recording while it is decoded.
struct Listening<'a> {
    source: Source<'a>,
    decoder: Decoder,
    cutter: Cutter,
    /// Source frames that the recording may have.
    max_frames: u64,
    /// Those that may be decoded, with what is left out at the start and at the end.
    max_decoded: u64,
    rate: u32,
    channels: u32,
    decoded_frames: u64,
    /// Packets that were decoded.
    packets: u64,
    /// Frames of the last packet that was decoded: how long a lost one was.
    packet_frames: usize,
    damage: Damage,
    /// The packet's samples, all channels in turn.
    interleaved: Vec<f32>,
    mono: Vec<f32>,
}

impl<'a> Listening<'a> {
    fn new(source: Source<'a>, decoder: Decoder, limits: Limits) -> Result<Self, Error> {
        let (rate, channels) = decoder.layout();
        if !SOURCE_RATES.contains(&rate) {
            let (least, most) = (SOURCE_RATES.start(), SOURCE_RATES.end());
            return Err(Error::Unsupported(format!("its rate is {rate} Hz; {least} to {most} Hz are read")));
        }
        let cut = source.cut(rate, decoder.pre_skip());
        let max_frames = u64::from(limits.max_seconds) * u64::from(rate);
        let max_samples = (max_frames + MAX_PADDING).saturating_mul(SAMPLE_RATE.into()) / u64::from(rate);
        let max_samples = usize::try_from(max_samples).unwrap_or(usize::MAX);
        Ok(Self {
            max_frames,
            max_decoded: max_frames + cut.skip.min(max_frames) + MAX_PADDING,
            cutter: Cutter::new(cut, Resampler::new(rate, SAMPLE_RATE, max_samples)),
            source,
            decoder,
            rate,
            channels,
            decoded_frames: 0,
            packets: 0,
            packet_frames: 0,
            damage: Damage::default(),
            interleaved: Vec::new(),
            mono: Vec::new(),
        })
    }

    /// Decodes one packet; false at the end.
    fn hear_packet(&mut self) -> Result<bool, Error> {
        let packet = match self.source.next() {
            Next::Packet(packet) => packet,
            Next::End => return Ok(false),
            Next::Broken(why) => {
                self.damage.add(self.now(), &why);
                self.cutter.end_early();
                return Ok(false);
            }
        };
        self.interleaved.clear();
        match self.decoder.decode(&packet, &mut self.interleaved) {
            Ok(()) => self.mix(),
            Err(why) => self.lose_packet(&why)?,
        }
        self.decoded_frames += self.mono.len() as u64;
        if self.decoded_frames > self.max_decoded {
            return Err(Error::TooLong);
        }
        self.cutter.push(&self.mono, self.source.excess(&packet, self.rate, self.mono.len()));
        Ok(true)
    }

    /// The mean of the channels.
    fn mix(&mut self) {
        let scale = 1.0 / self.channels as f32;
        let mix = |frame: &[f32]| frame.iter().sum::<f32>() * scale;
        self.mono.clear();
        self.mono.extend(self.interleaved.chunks_exact(self.channels as usize).map(mix));
        let is_sound = |sample: &f32| sample.abs() <= MAX_AMPLITUDE;
        if !self.mono.iter().all(is_sound) {
            self.mono.iter_mut().filter(|sample| !is_sound(sample)).for_each(|sample| *sample = 0.0);
            self.damage.add(self.now(), "samples that are no numbers, or no sound, are silent");
        }
        self.packets += 1;
        self.packet_frames = self.mono.len();
    }

    /// Puts silence where a packet was lost.
    fn lose_packet(&mut self, why: &str) -> Result<(), Error> {
        let at = self.now();
        self.damage.packets += 1;
        self.damage.add(at, why);
        if self.damage.packets > MAX_LEADING_DAMAGE + self.packets {
            return Err(Error::Damaged(format!("nearly nothing of it can be decoded, at {at:.3} s: {why}")));
        }
        self.mono.clear();
        self.mono.resize(self.packet_frames, 0.0);
        Ok(())
    }

    /// Seconds decoded so far.
    fn now(&self) -> f64 {
        self.decoded_frames as f64 / f64::from(self.rate)
    }

    fn finish(mut self, container: Container, codec: &'static str) -> Result<Recording, Error> {
        let promised = self.source.promised_frames().unwrap_or(0);
        if self.damage.first.is_none() && self.decoded_frames < promised {
            let (rate, now) = (f64::from(self.rate), self.now());
            let why = format!("the file ends here, and its header promises {:.3} s", promised as f64 / rate);
            self.damage.add(now, &why);
            self.cutter.end_early();
        }
        let (frames, samples) = self.cutter.finish();
        if frames > self.max_frames {
            return Err(Error::TooLong);
        }
        let Damage { packets: lost, first } = self.damage;
        if samples.is_empty() || lost * 10 > self.packets {
            return Err(first.map_or_else(
                || Error::NoAudio(format!("the {} file holds no sound: its length is 0", container.name())),
                |first| Error::Damaged(format!("the {} file is damaged {first}", container.name())),
            ));
        }
        let damage = first.map(|first| match lost {
            0 => first,
            lost => format!("{first} ({lost} of {} packets are silent)", self.packets + lost),
        });
        let seconds = frames as f64 / f64::from(self.rate);
        let (source_rate, channels) = (self.rate, self.channels);
        Ok(Recording { samples, container, codec, source_rate, channels, seconds, damage })
    }
}
