//! Chooses the decoder for a track and names what is not decoded. Opus is decoded by `opus`, everything else by
//! symphonia's decoders.

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known::*;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::packet::Packet;

use super::demux::Source;
use super::{Error, opus, vorbis};

/// The decoder of a track.
pub(crate) enum Decoder {
    Opus(Box<opus::Decoder>),
    Other { name: &'static str, rate: u32, channels: u32, decoder: Box<dyn AudioDecoder> },
}

impl Decoder {
    pub(crate) fn open(source: &Source<'_>) -> Result<Self, Error> {
        let (codec, container) = (source.codec(), source.container().name());
        if codec.codec == CODEC_ID_OPUS {
            let header = codec.extra_data.as_deref().unwrap_or_default();
            return Ok(Self::Opus(Box::new(opus::Decoder::open(header)?)));
        }
        let Some(name) = read_name(codec.codec) else {
            let what = unread_name(codec.codec);
            return Err(Error::Unsupported(format!("the {container} file's codec is {what}, {READ}")));
        };
        if let Some(profile) = unread_profile(codec) {
            return Err(Error::Unsupported(format!("the {container} file's codec is {profile}, {READ}")));
        }
        if codec.codec == CODEC_ID_VORBIS && codec.extra_data.as_deref().is_some_and(vorbis::is_wild) {
            return Err(Error::Damaged(vorbis::WILD.into()));
        }
        let made = symphonia::default::get_codecs()
            .make_audio_decoder(codec, &AudioDecoderOptions::default())
            .map_err(|error| Error::Unsupported(format!("this kind of {name} is not read: {error}")))?;
        let known = made.codec_params();
        let channels = known.channels.as_ref().map_or(0, Channels::count);
        // an mp3 file says both in its frames alone, and the reader has looked at the first of them
        let (Some(rate), 1..) = (known.sample_rate, channels) else {
            return Err(Error::Damaged(format!("the {container} file does not say its rate and channels")));
        };
        Ok(Self::Other { name, rate, channels: channels as u32, decoder: made })
    }

    /// The codec's name, such as `opus`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Opus(_) => "opus",
            Self::Other { name, .. } => name,
        }
    }

    /// Rate in Hz and number of channels.
    pub(crate) fn layout(&self) -> (u32, u32) {
        match self {
            Self::Opus(decoder) => (opus::RATE, decoder.channels()),
            Self::Other { rate, channels, .. } => (*rate, *channels),
        }
    }

    /// Frames that the codec's header leaves out at the start, if it says so.
    pub(crate) fn pre_skip(&self) -> Option<u64> {
        match self {
            Self::Opus(decoder) => Some(decoder.pre_skip()),
            Self::Other { .. } => None,
        }
    }

    /// Decodes one packet into samples, all channels in turn.
    pub(crate) fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Result<(), String> {
        let layout = self.layout();
        match self {
            Self::Opus(decoder) => decoder.decode(packet, samples),
            Self::Other { decoder, .. } => {
                let decoded = decoder.decode(packet).map_err(|error| error.to_string())?;
                let found = (decoded.spec().rate(), decoded.spec().channels().count() as u32);
                if found != layout && decoded.frames() > 0 {
                    let ((rate, channels), (is, has)) = (layout, found);
                    return Err(format!("{rate} Hz and {channels} channels become {is} Hz and {has}"));
                }
                decoded.copy_to_vec_interleaved(samples);
                Ok(())
            }
        }
    }
}

const READ: &str = "which is not read; AAC-LC, FLAC, MP3, Opus, PCM and Vorbis are";

/// The name of a codec that symphonia decodes here.
fn read_name(codec: AudioCodecId) -> Option<&'static str> {
    Some(match codec {
        CODEC_ID_AAC => "aac",
        CODEC_ID_FLAC => "flac",
        CODEC_ID_MP3 => "mp3",
        CODEC_ID_VORBIS => "vorbis",
        CODEC_ID_PCM_ALAW => "alaw",
        CODEC_ID_PCM_MULAW => "mulaw",
        CODEC_ID_PCM_F32LE | CODEC_ID_PCM_F32BE | CODEC_ID_PCM_F64LE | CODEC_ID_PCM_F64BE
        | CODEC_ID_PCM_S8 | CODEC_ID_PCM_S16LE | CODEC_ID_PCM_S16BE | CODEC_ID_PCM_S24LE
        | CODEC_ID_PCM_S24BE | CODEC_ID_PCM_S32LE | CODEC_ID_PCM_S32BE | CODEC_ID_PCM_U8 => "pcm",
        _ => return None,
    })
}

/// What else people send, for an error that helps.
fn unread_name(codec: AudioCodecId) -> &'static str {
    match codec {
        CODEC_ID_ALAC => "ALAC",
        CODEC_ID_AC3 | CODEC_ID_EAC3 => "Dolby Digital (AC-3)",
        CODEC_ID_DCA => "DTS",
        CODEC_ID_MP1 | CODEC_ID_MP2 => "MPEG audio of layer I or II",
        CODEC_ID_ADPCM_MS | CODEC_ID_ADPCM_IMA_WAV | CODEC_ID_ADPCM_IMA_QT => "ADPCM",
        CODEC_ID_SPEEX => "Speex",
        CODEC_ID_WAVPACK => "WavPack",
        _ => "one without a name here",
    }
}

/// The name of an AAC profile other than AAC-LC. A decoder of AAC-LC would give noise, or half of the spectrum.
fn unread_profile(codec: &AudioCodecParameters) -> Option<&'static str> {
    let (CODEC_ID_AAC, Some([first, second, ..])) = (codec.codec, codec.extra_data.as_deref()) else {
        return None;
    };
    // AudioSpecificConfig begins with the object type: five bits, and six more after 31 (ISO/IEC 14496-3, 1.6.2.1)
    match first >> 3 {
        2 => None,
        1 => Some("AAC Main"),
        3 => Some("AAC-SSR"),
        4 => Some("AAC-LTP"),
        5 => Some("HE-AAC"),
        23 => Some("AAC-LD"),
        29 => Some("HE-AAC v2"),
        31 if (first & 7) << 3 | second >> 5 == 7 => Some("AAC-ELD"),
        31 if (first & 7) << 3 | second >> 5 == 10 => Some("xHE-AAC"),
        _ => Some("a rare kind of AAC"),
    }
}
