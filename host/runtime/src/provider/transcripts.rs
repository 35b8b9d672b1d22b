//! Text from speech: what a plugin of `provider-speech` is told, field by field, and what is held against its answer.

use atelier_inference::speech::{self as host, SpeechTask, languages, wav};
use atelier_inference::{Product, ProvidedSpeechOrder, Transcript};

use super::Provided;
use super::trouble::{Trouble, notes};
use crate::bindings::speech_provider::exports::atelier::host::provider_speech as wit;

/// Longest text: more than anybody says in the longest recording.
const MAX_TEXT_BYTES: usize = 4 << 20;
/// Most segments, and most words.
const MAX_PIECES: usize = 1 << 18;
/// How far past its end a time may lie: servers hear whole windows.
const SPARE_SECONDS: f64 = 30.0;

/// What a plugin is asked, with the model's name at its server.
pub(super) fn request(made: &ProvidedSpeechOrder, name: &str) -> wit::Request {
    let ProvidedSpeechOrder { order, temperature } = made;
    wit::Request {
        model: name.into(),
        audio: wav(&order.audio),
        language: order.language.map(Into::into),
        task: match order.options.task {
            SpeechTask::Transcribe => wit::Task::Transcribe,
            SpeechTask::Translate => wit::Task::Translate,
        },
        timestamps: match order.options.timestamps {
            host::Timestamps::None => wit::Timestamps::None,
            host::Timestamps::Segments => wit::Timestamps::Segments,
            host::Timestamps::Words => wit::Timestamps::Words,
        },
        temperature: *temperature,
        prompt: order.options.initial_prompt.clone(),
    }
}

/// What is told of an answer, if it is one.
pub(super) fn settle(
    model: &Provided,
    made: &ProvidedSpeechOrder,
    answer: wit::Transcript,
) -> Result<(Product, Vec<String>), Trouble> {
    let (order, seconds) = (&made.order, made.order.seconds());
    check(&answer, seconds).map_err(|what| Trouble::malformed(model, what))?;
    let mut notes = notes(model, &answer.notes);
    let text = answer.text.trim().to_owned();
    let mut segments = segments(answer.segments, answer.words, &mut notes);
    if segments.is_empty() && !text.is_empty() {
        notes.push("the server tells no times: the whole recording is one segment".into());
        segments.push(segment(0.0, seconds, &text, None));
    }
    let named = answer.language.as_deref().and_then(languages::code).or(order.language);
    let language = named.map(|code| host::Language { code, probability: None });
    model.provider.metrics.audio_seconds.add(seconds.ceil() as u64);
    Ok((Product::Transcript(Transcript { text, language, segments }), notes))
}

/// Whether the answer can be one.
fn check(answer: &wit::Transcript, seconds: f64) -> Result<(), &'static str> {
    let bytes = answer.segments.iter().map(|segment| segment.text.len());
    let bytes = answer.text.len() + bytes.sum::<usize>();
    if bytes > 2 * MAX_TEXT_BYTES || answer.segments.len().max(answer.words.len()) > MAX_PIECES {
        return Err("its transcript is longer than one can be");
    }
    let is_time = |start: f64, end: f64| start >= 0.0 && end >= start && end <= seconds + SPARE_SECONDS;
    let all = answer.segments.iter().all(|it| is_time(it.start, it.end));
    if !all || !answer.words.iter().all(|it| is_time(it.start, it.end)) {
        return Err("its transcript has times that the recording has not");
    }
    let mut figures = answer.segments.iter().filter_map(|segment| segment.certainty);
    let are_numbers = figures.all(|it| {
        [it.avg_logprob, it.compression_ratio, it.no_speech_prob, it.temperature]
            .into_iter()
            .all(f64::is_finite)
    });
    if are_numbers { Ok(()) } else { Err("its transcript has figures that are no numbers") }
}

/// Segments with the words that begin in each. Words without segments are one.
fn segments(
    segments: Vec<wit::Segment>,
    words: Vec<wit::Word>,
    notes: &mut Vec<String>,
) -> Vec<host::Segment> {
    if segments.iter().any(|segment| segment.certainty.is_none()) {
        notes.push("the server does not tell how sure it is".into());
    }
    let mut made: Vec<host::Segment> =
        segments.iter().map(|it| segment(it.start, it.end, &it.text, it.certainty.as_ref())).collect();
    if let (true, Some(first), Some(last)) = (made.is_empty(), words.first(), words.last()) {
        let text: Vec<&str> = words.iter().map(|word| word.word.trim()).collect();
        made.push(segment(first.start, last.end, &text.join(" "), None));
    }
    for wit::Word { word, start, end } in words {
        let at = made.iter().rposition(|segment| segment.start <= start).unwrap_or(0);
        let word = format!(" {}", word.trim());
        if let Some(segment) = made.get_mut(at) {
            segment.words.push(host::Word { word, start, end, probability: 1.0 });
        }
    }
    made
}

/// Where a server does not tell how sure it is, it is taken to be.
fn segment(start: f64, end: f64, text: &str, certainty: Option<&wit::Certainty>) -> host::Segment {
    host::Segment {
        start,
        end,
        text: format!(" {}", text.trim()),
        tokens: Vec::new(),
        avg_logprob: certainty.map_or(0.0, |it| it.avg_logprob),
        compression_ratio: certainty.map_or(1.0, |it| it.compression_ratio),
        no_speech_prob: certainty.map_or(0.0, |it| it.no_speech_prob),
        temperature: certainty.map_or(0.0, |it| it.temperature),
        words: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(start: f64, end: f64, text: &str) -> wit::Segment {
        wit::Segment { start, end, text: text.into(), certainty: None }
    }

    fn answer(segments: Vec<wit::Segment>) -> wit::Transcript {
        let (text, words, notes) = ("hello there".into(), Vec::new(), Vec::new());
        wit::Transcript { text, language: None, segments, words, notes }
    }

    #[test]
    fn times_that_the_recording_has_not_are_no_transcript() {
        assert!(check(&answer(vec![said(0.0, 1.0, "a"), said(1.0, 4.0, "b")]), 2.0).is_ok());
        for (start, end) in [(-1.0, 1.0), (2.0, 1.0), (0.0, f64::NAN), (0.0, 1e9)] {
            assert!(check(&answer(vec![said(start, end, "a")]), 2.0).is_err(), "{start} {end}");
        }
        let long = wit::Transcript { text: "a".repeat(2 * MAX_TEXT_BYTES + 1), ..answer(Vec::new()) };
        assert!(check(&long, 2.0).is_err());
    }

    #[test]
    fn words_belong_to_the_segment_in_which_they_begin() {
        let word = |word: &str, start: f64| wit::Word { word: word.into(), start, end: start + 0.1 };
        let words = vec![word("hello", 0.0), word("there ", 1.5)];
        let mut notes = Vec::new();
        let made =
            segments(vec![said(0.0, 1.0, "hello"), said(1.0, 2.0, "there")], words.clone(), &mut notes);
        let shown: Vec<&str> = made.iter().map(|it| it.words[0].word.as_str()).collect();
        assert_eq!((shown, notes.len()), (vec![" hello", " there"], 1));
        let alone = segments(Vec::new(), words, &mut notes);
        assert_eq!((alone.len(), alone[0].text.as_str(), alone[0].words.len()), (1, " hello there", 2));
    }
}
