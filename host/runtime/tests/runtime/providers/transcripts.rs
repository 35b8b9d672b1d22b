//! Text from speech of a provider: what a plugin is told, and what is held against its answer.

use std::sync::Arc;

use atelier_inference::speech::Timestamps;
use atelier_inference::{Error, Event, ModelId, Outcome, Product, SpeechOptions, Transcript};
use atelier_runtime::{Grants, ProviderSpec, RouteSpec, Runtime};

use super::{listener, provider, runtime};
use crate::kit::{self, guest, studio, within};

fn scripted(fallback: Option<&str>) -> ProviderSpec {
    let models = vec![listener("far", fallback)];
    ProviderSpec { models, ..provider(guest("provider"), "http://127.0.0.1:9/v1") }
}

fn options(prompt: &str) -> SpeechOptions {
    SpeechOptions { initial_prompt: Some(prompt.into()), ..SpeechOptions::default() }
}

/// What came on the way, and the end; of two seconds.
async fn ask(runtime: &Runtime, options: SpeechOptions) -> (String, Result<Outcome, Error>) {
    let silence: Arc<[f32]> = vec![0.0; 32_000].into();
    let mut ticket = match runtime.transcribe(silence, options, &ModelId::new("far")) {
        Ok(ticket) => ticket,
        Err(error) => return (String::new(), Err(error)),
    };
    let mut told = String::new();
    while let Some(event) = within(ticket.events.next()).await {
        if let Event::Heard(delta) = event {
            told.push_str(&delta.text);
        }
    }
    (told, within(ticket.finish()).await)
}

async fn listen(runtime: &Runtime, options: SpeechOptions) -> (Transcript, Outcome) {
    let (told, outcome) = ask(runtime, options).await;
    let outcome = outcome.unwrap_or_else(|error| panic!("{error}"));
    let Product::Transcript(transcript) = outcome.product.clone() else { panic!("{outcome:?}") };
    assert_eq!(told, transcript.text);
    (transcript, outcome)
}

async fn fail(runtime: &Runtime, prompt: &str) -> Error {
    ask(runtime, options(prompt)).await.1.expect_err("there should be no transcript")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_is_sent_as_a_file_and_comes_back_as_text_with_times() {
    let runtime = runtime(vec![scripted(None)]).await;
    let (transcript, outcome) = listen(&runtime, SpeechOptions::default()).await;
    assert_eq!(transcript.text, "gpt true 64044 None Task::Transcribe Timestamps::Segments None");
    assert_eq!(transcript.language.map(|it| (it.code, it.probability)), Some(("fi", None)));
    let segment = &transcript.segments[0];
    assert_eq!((segment.start, segment.end, segment.words[0].word.as_str()), (0.0, 1.0, " gpt"));
    assert_eq!((outcome.model.as_str(), outcome.notes.len()), ("far", 2), "{:?}", outcome.notes);
    let asked = SpeechOptions {
        language: Some("finnish".into()),
        temperatures: vec![0.5],
        timestamps: Timestamps::Words,
        ..options("text")
    };
    let (transcript, outcome) = listen(&runtime, asked).await;
    assert!(
        transcript.text.contains("Some(\"fi\") Task::Transcribe Timestamps::Words Some(0.5)"),
        "{transcript:?}"
    );
    assert_eq!((transcript.segments.len(), transcript.segments[0].end), (1, 2.0), "all of it is one");
    assert!(outcome.notes.iter().any(|note| note.contains("tells no times")), "{:?}", outcome.notes);
    assert_eq!(runtime.providers()[0].audio_seconds, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_is_a_typed_error_and_a_refusal_is_about_the_recording() {
    let runtime = runtime(vec![scripted(None)]).await;
    for prompt in ["fail", "trap", "nan", "late"] {
        let error = fail(&runtime, prompt).await;
        assert!(matches!(error, Error::Unavailable { .. }), "{prompt}: {error:?}");
    }
    assert!(matches!(fail(&runtime, "rude").await, Error::Invalid { field: "audio", .. }));
    let beams = SpeechOptions { beam_size: Some(5), ..SpeechOptions::default() };
    assert!(matches!(ask(&runtime, beams).await.1, Err(Error::Invalid { field: "beam-size", .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_provider_fails_another_model_listens_and_says_so() {
    let runtime = runtime(vec![scripted(Some("ear"))]).await;
    let (transcript, outcome) = listen(&runtime, options("fail")).await;
    assert_eq!((transcript.text.as_str(), outcome.model.as_str()), (" second 1. second 2.", "ear"));
    assert!(outcome.notes[0].contains("`ear` listened instead"), "{:?}", outcome.notes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_meet_such_models_among_their_own() {
    let runtime = runtime(vec![scripted(None)]).await;
    let models = ["ear", "far"].map(ModelId::new).to_vec();
    let studio = studio();
    let spec = RouteSpec { grants: Grants { models, ..studio.grants }, ..studio };
    let route = runtime.deploy(spec).await.unwrap();
    let listed = kit::ask(&route, "/speech-models", "").await.unwrap();
    assert!(listed.contains("ear en+fi 30 false") && listed.contains("far en+zh+de"), "{listed}");
    let answer = kit::ask(&route, "/transcribe", "far 2").await.unwrap();
    assert!(answer.starts_with("gpt true 64044") && answer.contains("|fi finnish None|"), "{answer}");
    assert!(answer.contains("|far|"), "{answer}");
    let refused = kit::ask(&route, "/transcribe", "far 1 beam-size=5").await.unwrap();
    assert!(refused.contains("beam-size"), "{refused}");
}
