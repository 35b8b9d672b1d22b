//! A transcript as files that people and programs read, in the shapes of OpenAI's `whisper` and of its HTTP interface.

use std::fmt::Write;
use std::str::FromStr;

use serde_json::{Value, json};

use super::{Segment, SpeechTask, Transcript, Word, languages};

/// How a transcript is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TranscriptFormat {
    /// A segment on each line.
    #[default]
    Text,
    /// `{"text": …}`.
    Json,
    /// Everything, with `task`, `language`, `duration`, `segments` and, where they were asked for, `words`.
    VerboseJson,
    /// `SubRip` subtitles.
    Srt,
    /// Web Video Text Tracks.
    Vtt,
}

impl FromStr for TranscriptFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" | "txt" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "verbose_json" => Ok(Self::VerboseJson),
            "srt" => Ok(Self::Srt),
            "vtt" => Ok(Self::Vtt),
            _ => Err("wants text, json, verbose_json, srt or vtt"),
        }
    }
}

impl Transcript {
    /// The whole file. `seconds` is how long the audio is.
    pub fn written(&self, format: TranscriptFormat, task: SpeechTask, seconds: f64) -> String {
        match format {
            TranscriptFormat::Text => self.lines(|segment| format!("{}\n", segment.text.trim())),
            TranscriptFormat::Json => format!("{}\n", json!({ "text": self.text.trim() })),
            TranscriptFormat::VerboseJson => format!("{}\n", self.verbose(task, seconds)),
            TranscriptFormat::Srt => {
                let mut number = 0;
                self.lines(|segment| {
                    number += 1;
                    let (start, end) = (clock(segment.start, true, ','), clock(segment.end, true, ','));
                    format!("{number}\n{start} --> {end}\n{}\n\n", cue(&segment.text))
                })
            }
            TranscriptFormat::Vtt => {
                let cues = self.lines(|segment| {
                    let (start, end) = (clock(segment.start, false, '.'), clock(segment.end, false, '.'));
                    format!("{start} --> {end}\n{}\n\n", cue(&segment.text))
                });
                format!("WEBVTT\n\n{cues}")
            }
        }
    }

    fn lines(&self, line: impl FnMut(&Segment) -> String) -> String {
        self.segments.iter().map(line).collect()
    }

    fn verbose(&self, task: SpeechTask, seconds: f64) -> Value {
        let segment = |(id, segment): (usize, &Segment)| {
            json!({
                "id": id,
                "start": segment.start,
                "end": segment.end,
                "text": segment.text,
                "tokens": segment.tokens,
                "temperature": segment.temperature,
                "avg_logprob": segment.avg_logprob,
                "compression_ratio": segment.compression_ratio,
                "no_speech_prob": segment.no_speech_prob,
            })
        };
        let language = self.language.as_ref().map(|language| language.code);
        let mut value = json!({
            "task": task,
            "language": language.map(|code| languages::name(code).unwrap_or(code)),
            "duration": seconds,
            "text": self.text.trim(),
            "segments": self.segments.iter().enumerate().map(segment).collect::<Vec<_>>(),
        });
        let words: Vec<&Word> = self.segments.iter().flat_map(|segment| &segment.words).collect();
        if !words.is_empty() {
            let word =
                |word: &Word| json!({ "word": word.word.trim(), "start": word.start, "end": word.end });
            value["words"] = words.into_iter().map(word).collect();
        }
        value
    }
}

/// A subtitle ends at an empty line, and `-->` would begin another.
fn cue(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("\n").replace("-->", "->")
}

/// Hours, minutes, seconds and thousandths; without hours where there are none and they may be left out.
fn clock(seconds: f64, has_hours: bool, point: char) -> String {
    let millis = (seconds.max(0.0) * 1_000.0).round() as u64;
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let mut text = String::new();
    if has_hours || hours > 0 {
        let _ = write!(text, "{hours:02}:");
    }
    let _ = write!(text, "{minutes:02}:{:02}{point}{:03}", millis / 1_000 % 60, millis % 1_000);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::Language;

    fn transcript() -> Transcript {
        let segment = |start, end, text: &str, words| Segment {
            start,
            end,
            text: text.into(),
            tokens: vec![1, 2],
            avg_logprob: -0.25,
            compression_ratio: 1.5,
            no_speech_prob: 0.0,
            temperature: 0.0,
            words,
        };
        let word = Word { word: " boat.".into(), start: 1.0, end: 1.5, probability: 0.9 };
        Transcript {
            text: " A red boat. It\n\nsails --> on.".into(),
            language: Some(Language { code: "fi", probability: Some(0.5) }),
            segments: vec![
                segment(0.0, 1.5, " A red boat.", vec![word]),
                segment(3_661.5, 3_662.0, " It\n\nsails --> on.", Vec::new()),
            ],
        }
    }

    fn written(format: &str) -> String {
        transcript().written(format.parse().unwrap(), SpeechTask::Transcribe, 3_662.0)
    }

    #[test]
    fn subtitles_have_times_in_their_own_forms_and_no_text_that_would_end_them() {
        assert_eq!(
            written("srt"),
            "1\n00:00:00,000 --> 00:00:01,500\nA red boat.\n\n\
             2\n01:01:01,500 --> 01:01:02,000\nIt\nsails -> on.\n\n"
        );
        assert_eq!(
            written("vtt"),
            "WEBVTT\n\n00:00.000 --> 00:01.500\nA red boat.\n\n\
             01:01:01.500 --> 01:01:02.000\nIt\nsails -> on.\n\n"
        );
    }

    #[test]
    fn json_has_the_text_and_verbose_json_all_there_is() {
        let short: Value = serde_json::from_str(&written("json")).unwrap();
        assert_eq!(short, json!({ "text": "A red boat. It\n\nsails --> on." }));
        let long: Value = serde_json::from_str(&written("verbose_json")).unwrap();
        assert_eq!(
            (&long["task"], &long["language"], &long["duration"]),
            (&json!("transcribe"), &json!("finnish"), &json!(3_662.0))
        );
        assert_eq!(long["segments"][1]["id"], 1);
        assert_eq!(long["segments"][0]["tokens"], json!([1, 2]));
        assert_eq!(long["words"], json!([{ "word": "boat.", "start": 1.0, "end": 1.5 }]));
    }

    #[test]
    fn nothing_said_is_an_empty_file_of_its_kind() {
        let written = |format: &str| {
            Transcript::default().written(format.parse().unwrap(), SpeechTask::Transcribe, 1.0)
        };
        assert_eq!(
            (written("text").as_str(), written("srt").as_str(), written("vtt").as_str()),
            ("", "", "WEBVTT\n\n")
        );
        assert!(written("verbose_json").contains("\"language\":null"));
        assert!("doc".parse::<TranscriptFormat>().is_err());
    }
}
