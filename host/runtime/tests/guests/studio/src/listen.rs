//! Recordings and what is said in them.

use crate::atelier::host::audio::Recording;
use crate::atelier::host::speech::{self, Event, Request, Task, Timestamps};

pub async fn models() -> String {
    let told = |model: &speech::SpeechModel| {
        format!("{} {} {} {}", model.id, model.languages.join("+"), model.window_seconds, model.loaded)
    };
    speech::models().await.iter().map(told).collect::<Vec<_>>().join(", ")
}

pub async fn record(bytes: Vec<u8>) -> String {
    match Recording::decode(bytes).await {
        Ok(recording) => {
            let source = recording.source().unwrap();
            let samples = recording.samples();
            format!("{} {} {} {}", recording.seconds(), samples.len(), source.container, source.codec)
        }
        Err(error) => format!("{error:?}"),
    }
}

/// Makes recordings of so many seconds, one after another, and keeps them.
pub fn sounds(text: &str) -> String {
    let mut kept = Vec::new();
    for seconds in text.split_whitespace() {
        match silence(seconds) {
            Ok(recording) => kept.push(recording),
            Err(error) => return format!("{} {error:?}", kept.len()),
        }
    }
    kept.len().to_string()
}

fn silence(seconds: &str) -> Result<Recording, crate::atelier::host::audio::Error> {
    if seconds == "nan" {
        return Recording::from_samples(&[0.0, f32::NAN]);
    }
    Recording::from_samples(&vec![0.0; seconds.parse::<usize>().unwrap() * 16_000])
}

/// A model, seconds, and options as `key=value`.
fn asked(text: &str) -> (Request, Recording) {
    let mut words = text.split_whitespace();
    let (model, seconds) = (words.next().unwrap().to_owned(), words.next().unwrap());
    let mut request = Request {
        model,
        language: None,
        task: Task::Transcribe,
        timestamps: Timestamps::Segments,
        temperatures: Vec::new(),
        compression_ratio_threshold: None,
        logprob_threshold: None,
        no_speech_threshold: None,
        initial_prompt: None,
        condition_on_previous_text: None,
        beam_size: None,
        patience: None,
        length_penalty: None,
        best_of: None,
        seed: None,
        suppress_tokens: None,
        max_initial_timestamp: None,
        voice_only: None,
        clips: Vec::new(),
    };
    for option in words {
        match option.split_once('=').unwrap() {
            ("language", value) => request.language = Some(value.into()),
            ("beam-size", value) => request.beam_size = Some(value.parse().unwrap()),
            ("temperature", value) => request.temperatures.push(value.parse().unwrap()),
            (key, _) => panic!("{key}"),
        }
    }
    (request, silence(seconds).unwrap())
}

pub async fn transcribe(text: &str) -> String {
    let (request, recording) = asked(text);
    let job = match speech::transcribe(request, &recording).await {
        Ok(job) => job,
        Err(error) => return format!("{error:?}"),
    };
    // what a job works on stays as long as it needs it
    drop(recording);
    let first = match job.outcome().await {
        Ok(transcript) => {
            let language = transcript.language.unwrap();
            let spans: Vec<String> =
                transcript.segments.iter().map(|segment| format!("{}-{}", segment.start, segment.end)).collect();
            format!(
                "{}|{} {} {:?}|{}|{}|{}",
                transcript.text,
                language.code,
                language.name,
                language.probability,
                spans.join(" "),
                transcript.seconds,
                transcript.model
            )
        }
        Err(error) => format!("{error:?}"),
    };
    format!("{first}|{:?}", job.outcome().await.err())
}

/// The kinds of events in their order, and all text that was told.
pub async fn heard(text: &str) -> String {
    let (request, recording) = asked(text);
    let job = speech::transcribe(request, &recording).await.unwrap();
    let (mut events, mut kinds, mut told, mut seconds) = (job.events(), Vec::new(), String::new(), 0.0);
    while let Some(event) = events.next().await {
        let kind = match event {
            Event::Queued(_) => "queued",
            Event::Started => "started",
            Event::Heard(heard) => {
                told.push_str(&heard.text);
                seconds = heard.heard_seconds;
                "heard"
            }
        };
        if kinds.last() != Some(&kind) {
            kinds.push(kind);
        }
    }
    format!("{}|{told}|{seconds}|{}", kinds.join(" "), job.events().next().await.is_none())
}

/// Starts a job and leaves it.
pub async fn leave(text: &str) -> String {
    let (request, recording) = asked(text);
    let job = speech::transcribe(request, &recording).await.unwrap();
    job.cancel();
    format!("{:?}", job.outcome().await.err())
}
