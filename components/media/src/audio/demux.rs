//! Takes the packets of the first sound track out of a container, and collects what the container says of the track's
//! beginning and end. The readers are symphonia's; its edit lists, codec delays and paddings are read here, since it
//! leaves them to its callers.

use std::io::{Cursor, ErrorKind};

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::errors::Error as Problem;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::packet::Packet;
use symphonia::default::formats::{FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader, WavReader};

use super::cut::Cut;
use super::{Container, Error, mp4, vorbis, webm};

/// An opened container, and its sound track.
pub(crate) struct Source<'a> {
    bytes: &'a [u8],
    reader: Box<dyn FormatReader + 'a>,
    container: Container,
    track: Track,
    codec: AudioCodecParameters,
    /// Whether the file ends in the middle of something, where a reader may see no more than an end.
    is_cut: bool,
    /// Of a WebM file.
    margins: webm::Margins,
}

/// What comes next.
pub(crate) enum Next {
    /// A packet of the track.
    Packet(Packet),
    /// The file ends as it should.
    End,
    /// The file is cut off or damaged here.
    Broken(String),
}

impl<'a> Source<'a> {
    pub(crate) fn open(bytes: &'a [u8], container: Container) -> Result<Self, Error> {
        match container {
            Container::Ogg => check_ogg(bytes)?,
            Container::Mp4 if mp4::has_wild_offset(bytes) => {
                return Err(Error::Damaged(
                    "the mp4 file says that its sound is where no file reaches".into(),
                ));
            }
            _ => {}
        }
        let reader = reader(bytes, container).map_err(|problem| unopened(container, problem))?;
        let Some(track) = reader.first_track(TrackType::Audio).cloned() else {
            let count = reader.tracks().len();
            return Err(Error::NoAudio(format!(
                "the {} file has no sound among its tracks ({count}), or none with a codec that is known",
                container.name()
            )));
        };
        let Some(CodecParameters::Audio(codec)) = track.codec_params.clone() else {
            return Err(Error::Unsupported(format!(
                "the codec of the {} file's sound is not known",
                container.name()
            )));
        };
        let margins = match container {
            Container::Webm => webm::margins(bytes, track.id),
            _ => webm::Margins::default(),
        };
        let is_cut = margins.is_cut || container == Container::Mp4 && mp4::is_cut(bytes);
        Ok(Self { bytes, reader, container, track, codec, is_cut, margins })
    }

    pub(crate) fn container(&self) -> Container {
        self.container
    }

    pub(crate) fn codec(&self) -> &AudioCodecParameters {
        &self.codec
    }

    /// The track's next packet. Those of other tracks are left out.
    pub(crate) fn next(&mut self) -> Next {
        loop {
            match self.reader.next_packet() {
                Ok(Some(packet)) if packet.track_id != self.track.id => {}
                // symphonia's wave reader ends so
                Ok(Some(packet)) if packet.data.is_empty() && self.container == Container::Wav => {
                    return Next::End;
                }
                Ok(Some(packet)) => return Next::Packet(packet),
                Ok(None) => return self.end(),
                Err(Problem::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    return self.unexpected_end();
                }
                Err(problem) => return broken(problem),
            }
        }
    }

    /// The reader is content; the file may be cut off nevertheless.
    fn end(&self) -> Next {
        if self.is_cut { cut_off() } else { Next::End }
    }

    /// The reader wanted more. A live recording in WebM has no end to find, and the data of a wave file may be said to be
    /// longer than it is: how much is missing is counted later.
    fn unexpected_end(&self) -> Next {
        match self.container {
            Container::Wav | Container::Webm => self.end(),
            _ => cut_off(),
        }
    }

    /// Which of the decoded frames are the recording; `pre_skip` is what the codec's own header leaves out.
    pub(crate) fn cut(&self, rate: u32, pre_skip: Option<u64>) -> Cut {
        match self.container {
            Container::Mp4 => {
                let edit =
                    mp4::edit(self.bytes, self.track.id).map(|edit| edit.cut(rate)).unwrap_or_default();
                edit.with_at_least(pre_skip.unwrap_or(0))
            }
            Container::Webm => {
                let skip = pre_skip.unwrap_or_else(|| self.margins.delay_frames(rate));
                Cut { skip, most: None, padding: self.margins.padding_frames(rate) }
            }
            // of Ogg, mp3 and flac each packet says it, and wave files have nothing to cut
            _ => Cut { skip: pre_skip.unwrap_or(0), ..Cut::default() },
        }
    }

    /// How many of a packet's `frames` are beyond the length that the container gives the packet.
    pub(crate) fn excess(&self, packet: &Packet, rate: u32, frames: usize) -> usize {
        let counts_frames =
            self.track.time_base.is_some_and(|base| base.numer.get() == 1 && base.denom.get() == rate);
        match packet.dur.get() {
            // a length of 0 means that nobody said it
            length @ 1.. if self.container == Container::Mp4 && counts_frames => {
                frames.saturating_sub(usize::try_from(length).unwrap_or(usize::MAX))
            }
            _ => 0,
        }
    }

    /// How many frames the header promises, where it counts frames.
    pub(crate) fn promised_frames(&self) -> Option<u64> {
        let counts = matches!(self.container, Container::Wav | Container::Flac | Container::Mp3);
        counts.then_some(self.track.num_frames)?
    }
}

fn reader(bytes: &[u8], container: Container) -> Result<Box<dyn FormatReader + '_>, Problem> {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let options = FormatOptions::default();
    Ok(match container {
        Container::Wav => Box::new(WavReader::try_new(stream, options)?),
        Container::Flac => Box::new(FlacReader::try_new(stream, options)?),
        Container::Mp3 => Box::new(MpaReader::try_new(stream, options)?),
        Container::Mp4 => Box::new(IsoMp4Reader::try_new(stream, options)?),
        Container::Ogg => Box::new(OggReader::try_new(stream, options)?),
        Container::Webm => Box::new(MkvReader::try_new(stream, options)?),
    })
}

fn cut_off() -> Next {
    Next::Broken("the file is cut off".into())
}

/// What a reader's error between packets means.
fn broken(problem: Problem) -> Next {
    Next::Broken(match problem {
        Problem::ResetRequired => "another recording begins in the file, and only the first is read".into(),
        problem => problem.to_string(),
    })
}

fn unopened(container: Container, problem: Problem) -> Error {
    let name = container.name();
    match problem {
        // what is missing was cut off
        Problem::Unsupported(what) if !what.contains("missing") => {
            Error::Unsupported(format!("this kind of {name} file is not read: {what}"))
        }
        Problem::Unsupported(what) => Error::Damaged(format!("the {name} file is broken or cut off: {what}")),
        problem => Error::Damaged(format!("the {name} file is broken or cut off: {problem}")),
    }
}

/// Looks at the codec that the first page names: the reader would search the whole file for one that it knows. Vorbis is
/// looked at before the reader does.
fn check_ogg(bytes: &[u8]) -> Result<(), Error> {
    let segments = bytes.get(26).map_or(0, |count| usize::from(*count));
    let packet = bytes.get(27 + segments..).unwrap_or_default();
    let other = match packet {
        [b'S', b'p', b'e', b'e', b'x', ..] => "Speex",
        [0x80, b't', b'h', b'e', b'o', b'r', b'a', ..] => "Theora, which is video,",
        [b'f', b'i', b's', b'h', b'e', b'a', b'd', ..] => "a skeleton",
        _ if vorbis::has_wild_setup(bytes) => return Err(Error::Damaged(vorbis::WILD.into())),
        _ => return Ok(()),
    };
    Err(Error::Unsupported(format!("the ogg file begins with {other}; Opus, Vorbis and FLAC are read")))
}
