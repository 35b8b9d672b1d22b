//! A transcript in the forms of OpenAI's interface: json, verbose_json, text, and the subtitles srt and vtt.

use atelier_kit::Response;
use atelier_kit::speech::{Segment, Task, Transcript, Word};
use serde_json::{Value, json};

use crate::transcription::Granularity;

/// The answer in one of the words of `response_format`.
pub(crate) fn response(transcript: &Transcript, task: Task, format: &str, times: Granularity) -> Response {
    let plain = |text: String| Response::new(200, "text/plain; charset=utf-8", text.into_bytes());
    match format {
        "text" => plain(format!("{}\n", transcript.text.trim())),
        "srt" => plain(srt(&transcript.segments)),
        "vtt" => Response::new(200, "text/vtt; charset=utf-8", vtt(&transcript.segments).into_bytes()),
        "verbose_json" => Response::json(200, &verbose(transcript, task, times)),
        _ => Response::json(200, &json!({"text": transcript.text.trim(), "usage": usage(transcript)})),
    }
}

/// OpenAI charges for whole seconds.
fn usage(transcript: &Transcript) -> Value {
    json!({"type": "duration", "seconds": transcript.seconds.ceil() as u64})
}

fn verbose(transcript: &Transcript, task: Task, times: Granularity) -> Value {
    let (task, language) = match task {
        // whatever was spoken, what is written is English
        Task::Translate => ("translate", "english"),
        Task::Transcribe => {
            ("transcribe", transcript.language.as_ref().map_or("", |language| language.name.as_str()))
        }
    };
    let mut value = json!({
        "task": task,
        "language": language,
        "duration": transcript.seconds,
        "text": transcript.text.trim(),
        "usage": usage(transcript),
    });
    if times.segments {
        value["segments"] = transcript.segments.iter().enumerate().map(segment).collect();
    }
    if times.words {
        let words = transcript.segments.iter().flat_map(|segment| &segment.words);
        let word =
            |Word { word, start, end }: &Word| json!({"word": word.trim(), "start": start, "end": end});
        value["words"] = words.map(word).collect();
    }
    value
}

fn segment((id, segment): (usize, &Segment)) -> Value {
    json!({
        "id": id,
        // hundredths of a second, as Whisper counts frames; strictly typed clients want it
        "seek": (segment.start * 100.0).round() as u64,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": segment.tokens,
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    })
}

/// `SubRip` subtitles.
fn srt(segments: &[Segment]) -> String {
    let cue = |(number, segment): (usize, &Segment)| {
        let (start, end) = (clock(segment.start, true, ','), clock(segment.end, true, ','));
        format!("{number}\n{start} --> {end}\n{}\n\n", cue(&segment.text))
    };
    (1..).zip(segments).map(cue).collect()
}

/// Web Video Text Tracks.
fn vtt(segments: &[Segment]) -> String {
    let cue = |segment: &Segment| {
        let (start, end) = (clock(segment.start, false, '.'), clock(segment.end, false, '.'));
        format!("{start} --> {end}\n{}\n\n", cue(&segment.text))
    };
    format!("WEBVTT\n\n{}", segments.iter().map(cue).collect::<String>())
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
    let hours = if has_hours || hours > 0 { format!("{hours:02}:") } else { String::new() };
    format!("{hours}{minutes:02}:{:02}{point}{:03}", millis / 1_000 % 60, millis % 1_000)
}
