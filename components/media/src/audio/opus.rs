//! Decodes Opus packets, as RFC 7845 has them in Ogg, and WebM and mp4 after it. Always at 48 kHz, which every packet can
//! give whatever its bandwidth.

use rusty_opus::OpusDecoder;
use symphonia::core::packet::Packet;

use super::Error;

/// The rate of everything that Opus gives, in Hz.
pub(crate) const RATE: u32 = 48_000;

/// The longest packet: 120 ms (RFC 6716, 3.2.5).
const MAX_FRAMES: usize = 5_760;

pub(crate) struct Decoder {
    decoder: OpusDecoder,
    head: Head,
    pcm: Vec<f32>,
}

impl Decoder {
    /// Makes a decoder from a track's identification header.
    pub(crate) fn open(header: &[u8]) -> Result<Self, Error> {
        let head = Head::read(header)?;
        let decoder = OpusDecoder::new(RATE as i32, head.channels)
            .map_err(|error| Error::Unsupported(format!("this kind of Opus is not read: {error}")))?;
        Ok(Self { decoder, pcm: vec![0.0; MAX_FRAMES * head.channels], head })
    }

    pub(crate) fn channels(&self) -> u32 {
        self.head.channels as u32
    }

    pub(crate) fn pre_skip(&self) -> u64 {
        u64::from(self.head.pre_skip)
    }

    /// Decodes one packet into samples, all channels in turn, without what its container leaves out at its end.
    pub(crate) fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Result<(), String> {
        if packet.data.is_empty() {
            return Err("an Opus packet is empty".into());
        }
        let frames = self
            .decoder
            .decode(&packet.data, MAX_FRAMES, &mut self.pcm)
            .map_err(|error| format!("an Opus packet is broken: {error}"))?;
        let cut = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
        let kept = frames.saturating_sub(cut) * self.head.channels;
        samples.extend(self.pcm[..kept].iter().map(|sample| sample * self.head.gain));
        Ok(())
    }
}

/// An identification header (RFC 7845, 5.1).
#[derive(Debug, PartialEq)]
struct Head {
    channels: usize,
    /// Frames to leave out at the start.
    pre_skip: u16,
    /// What every sample is multiplied with.
    gain: f32,
}

impl Head {
    /// Reads the header of Ogg and WebM, or what mp4 has instead (`dOps`): version 0, and its numbers begin with the
    /// high byte.
    fn read(header: &[u8]) -> Result<Self, Error> {
        let [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', version, channels, rest @ ..] = header else {
            return Err(Error::Damaged("the Opus header is missing".into()));
        };
        let [skip_a, skip_b, _, _, _, _, gain_a, gain_b, family, rest @ ..] = rest else {
            return Err(Error::Damaged("the Opus header is cut off".into()));
        };
        let number = |a: u8, b: u8| match version {
            0 => u16::from_be_bytes([a, b]),
            _ => u16::from_le_bytes([a, b]),
        };
        let streams = if *family == 0 { 1 } else { rest.first().copied().unwrap_or(0) };
        if !(1..=2).contains(channels) || streams != 1 {
            return Err(Error::Unsupported(format!(
                "its Opus has {channels} channels in {streams} streams; one or two channels in one are read"
            )));
        }
        // 1/256 dB
        let gain = f32::from(number(*gain_a, *gain_b) as i16) / 256.0;
        Ok(Self {
            channels: usize::from(*channels),
            pre_skip: number(*skip_a, *skip_b),
            gain: 10_f32.powf(gain / 20.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: u8, channels: u8, rest: &[u8]) -> Result<Head, Error> {
        Head::read(&[&b"OpusHead"[..], &[version, channels], rest].concat())
    }

    #[test]
    fn numbers_are_read_in_the_order_of_their_container() {
        let ogg = head(1, 2, &[0x38, 1, 0x80, 0xbb, 0, 0, 0, 6, 0]).expect("of Ogg");
        let mp4 = head(0, 2, &[1, 0x38, 0, 0, 0xbb, 0x80, 6, 0, 0]).expect("of mp4");
        assert_eq!(ogg, mp4);
        assert_eq!((ogg.channels, ogg.pre_skip), (2, 312));
        assert!((ogg.gain - 1.995_262_3).abs() < 1e-6, "6 dB are {}", ogg.gain);
    }

    #[test]
    fn surround_and_rubbish_are_refused() {
        let surround = head(1, 6, &[0, 0, 0, 0, 0, 0, 0, 0, 1, 4, 2, 0, 4, 1, 2, 3, 5]);
        assert!(
            matches!(surround, Err(Error::Unsupported(text)) if text.contains("6 channels in 4 streams"))
        );
        assert!(matches!(head(1, 0, &[0; 9]), Err(Error::Unsupported(_))));
        assert!(matches!(head(1, 1, &[0; 8]), Err(Error::Damaged(_))));
        assert!(matches!(Head::read(b""), Err(Error::Damaged(_))));
    }
}
