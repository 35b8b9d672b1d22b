//! Pictures and recordings on the way to servers and back, with the plugins that are shipped.

use std::sync::{Arc, OnceLock};

use atelier_inference::{
    Error, ImageRequest, ModelId, Outcome, Product, Size, Source, SpeechOptions, Transcript,
};
use atelier_runtime::{Code, ProviderLimits, ProviderSpec, Runtime};

use super::standin::{Script, Standin};
use super::{FILE, KEY, flat, listener, painter, provider, runtime, shipped};
use crate::kit::{until, within};

/// base64 of bytes, as answers have their files.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0_u32, |number, byte| (number << 8) | u32::from(*byte))
            << (8 * (3 - three.len()));
        let digits = (0..4).map(|at| DIGITS[((number >> (18 - 6 * at)) & 63) as usize] as char);
        text.extend(digits.take(three.len() + 1));
        text.extend(std::iter::repeat_n('=', 3 - three.len()));
    }
    text
}

fn plugin(name: &'static str) -> Code {
    static OPENAI: OnceLock<Code> = OnceLock::new();
    static GEMINI: OnceLock<Code> = OnceLock::new();
    let code = if name == "provider-openai" { &OPENAI } else { &GEMINI };
    code.get_or_init(|| shipped(name)).clone()
}

/// A server that answers by these scripts, and a runtime with its models `far`, of pictures, and `ear-far`, of speech.
async fn served(name: &'static str, scripts: Vec<Script>) -> (Standin, Runtime) {
    let server = Standin::open(scripts).await;
    let limits = ProviderLimits { retries: 1, circuit_failures: 100, ..ProviderLimits::default() };
    let models = vec![painter("far", None), listener("ear-far", None)];
    let spec = ProviderSpec { limits, models, ..provider(plugin(name), &server.at("/v1")) };
    let runtime = runtime(vec![spec]).await;
    (server, runtime)
}

/// Gemini knows sizes of its own.
async fn gemini(scripts: Vec<Script>) -> (Standin, Runtime) {
    let server = Standin::open(scripts).await;
    let mut far = painter("far", None);
    if let atelier_runtime::Makes::Pictures { sizes, .. } = &mut far.makes {
        *sizes = vec![Size { width: 1_024, height: 1_024 }];
    }
    let models = vec![far, listener("ear-far", None)];
    let spec = ProviderSpec { models, ..provider(plugin("provider-gemini"), &server.at("/v1beta")) };
    let runtime = runtime(vec![spec]).await;
    (server, runtime)
}

async fn ask(runtime: &Runtime, request: ImageRequest) -> Result<Outcome, Error> {
    within(runtime.draw(request, &ModelId::new("far"))?.finish()).await
}

async fn listen(runtime: &Runtime, options: SpeechOptions) -> Result<Transcript, Error> {
    let audio: Arc<[f32]> = vec![0.25; 16_000].into();
    let ended = within(runtime.transcribe(audio, options, &ModelId::new("ear-far"))?.finish()).await?;
    let Product::Transcript(transcript) = ended.product else { panic!("{ended:?}") };
    Ok(transcript)
}

fn request(prompt: &str) -> ImageRequest {
    ImageRequest { prompt: prompt.into(), ..ImageRequest::default() }
}

fn drawn() -> String {
    format!("{{\"created\":1,\"data\":[{{\"b64_json\":\"{}\"}}]}}", base64(&FILE))
}

const SQUARE: Size = Size { width: 16, height: 16 };

const OVERLOADED: &str = "{\"error\":{\"message\":\"busy\",\"type\":\"server_error\",\"code\":null}}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openais_pictures_are_made_and_changed() {
    let scripts = vec![
        Script::error("503 Service Unavailable", "retry-after: 0\r\n", OVERLOADED),
        Script::json(&drawn()),
        Script::json(&drawn()),
    ];
    let (server, runtime) = served("provider-openai", scripts).await;
    let outcome = ask(&runtime, request("a boat")).await.unwrap();
    assert_eq!(outcome.pictures()[0].pixels.size(), SQUARE);
    assert_eq!(runtime.providers()[0].retries, 1, "another attempt helped");
    let source = Some(Source::Edit { pixels: flat(24, 16), guidance: None });
    let outcome = ask(&runtime, ImageRequest { source, ..request("at night") }).await.unwrap();
    assert!(outcome.notes[0].contains("made it 16x16, not 24x16"), "{:?}", outcome.notes);
    let sent = server.requests();
    let [_, made, changed] = &sent[..] else { panic!("{sent:?}") };
    assert!(
        made.starts_with("POST /v1/images/generations ") && made.contains("\"size\":\"16x16\""),
        "{made}"
    );
    assert!(
        changed.starts_with("POST /v1/images/edits ") && changed.contains("multipart/form-data"),
        "{changed}"
    );
    assert!(changed.contains("PNG") && changed.contains("at night"), "{changed}");
    assert!(sent.iter().all(|one| one.contains(&format!("authorization: Bearer {KEY}"))), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_picture_is_said_to_be_none() {
    let rules =
        "{\"error\":{\"message\":\"rejected\",\"type\":\"user_error\",\"code\":\"moderation_blocked\"}}";
    let half = drawn();
    for (script, named) in [
        (Script::json("{}"), "no pictures"),
        (Script::json("{\"data\":[{\"url\":\"https://example.org/a.png\"}]}"), "no file"),
        (Script::json(&format!("{{\"data\":[{{\"b64_json\":\"{}\"}}]}}", base64(b"MZ"))), "is no picture"),
        (Script::json(&half[..half.len() / 2]), "no JSON"),
        (Script::whole("200 OK", "content-type: text/html\r\n", "<html>"), "text/html"),
        (Script::error("400 Bad Request", "", rules), "forbid"),
        (Script::stream("application/json").endlessly(&"[".repeat(65_536)), "more than"),
        (Script::stream("application/json").then(&half[..40]).reset(), "no HTTP"),
    ] {
        let (_, runtime) = served("provider-openai", vec![script]).await;
        let error = ask(&runtime, request("a boat")).await.unwrap_err();
        assert!(error.to_string().contains(named), "{named}: {error}");
        let text = format!("{error:?}");
        assert!(!text.contains(KEY) && !text.contains("127.0.0.1"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_takes_the_connection_along() {
    let (server, runtime) = served("provider-openai", vec![Script::silence().hold()]).await;
    let ticket = runtime.draw(request("a boat"), &ModelId::new("far")).unwrap();
    until(|| server.requests().len() == 1).await;
    drop(ticket);
    until(|| server.left() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn geminis_pictures_are_made_and_changed() {
    let answer = |parts: &str| {
        Script::json(&format!(
            "{{\"candidates\":[{{\"content\":{{\"parts\":[{parts}]}},\"finishReason\":\"STOP\"}}]}}"
        ))
    };
    let file = format!("{{\"inlineData\":{{\"mimeType\":\"image/png\",\"data\":\"{}\"}}}}", base64(&FILE));
    let scripts = vec![
        answer(&format!("{{\"text\":\"Here it is\"}},{file}")),
        answer(&file),
        answer("{\"text\":\"No.\"}"),
    ];
    let (server, runtime) = gemini(scripts).await;
    let outcome = ask(&runtime, request("a boat")).await.unwrap();
    assert_eq!(outcome.pictures()[0].pixels.size(), SQUARE);
    assert_eq!(outcome.notes[0], "the model said: Here it is");
    let source = Some(Source::Edit { pixels: flat(1_024, 1_024), guidance: None });
    ask(&runtime, ImageRequest { source, seed: Some(7), ..request("at night") }).await.unwrap();
    let refused = ask(&runtime, request("a boat")).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { field: "prompt", .. }), "{refused:?}");
    let sent = server.requests();
    assert!(sent[0].starts_with("POST /v1beta/models/gpt:generateContent "), "{}", sent[0]);
    assert!(sent[0].contains("\"aspectRatio\":\"1:1\"") && !sent[0].contains("inlineData"), "{}", sent[0]);
    assert!(sent[1].contains("\"inlineData\"") && sent[1].contains("\"seed\":7"), "{}", sent[1].len());
    assert!(sent.iter().all(|one| one.contains(&format!("x-goog-api-key: {KEY}"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_write_down_what_is_said() {
    let whisper = "{\"language\":\"english\",\"text\":\"hello there\",\"segments\":[{\"start\":0,\"end\":1,\"text\":\" hello there\",\
        \"avg_logprob\":-0.3,\"compression_ratio\":1.1,\"no_speech_prob\":0.1,\"temperature\":0}]}";
    // the tests' models are all called `gpt` at their servers, which is no Whisper's name: it tells text alone or with times
    let (server, runtime) =
        served("provider-openai", vec![Script::json(whisper), Script::json("{\"text\":7}")]).await;
    let transcript = listen(&runtime, SpeechOptions::default()).await.unwrap();
    assert_eq!((transcript.text.as_str(), transcript.segments[0].avg_logprob), ("hello there", -0.3));
    assert_eq!(transcript.language.map(|it| it.code), Some("en"));
    let broken = listen(&runtime, SpeechOptions::default()).await.unwrap_err();
    assert!(broken.to_string().contains("no text"), "{broken}");
    let sent = &server.requests()[0];
    assert!(sent.starts_with("POST /v1/audio/transcriptions ") && sent.contains("RIFF"), "{sent}");
    let said = "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"{\\\"text\\\":\\\"hei\\\",\\\"language\\\":\\\"fi\\\"}\"}]},\"finishReason\":\"STOP\"}]}";
    let (_, runtime) = gemini(vec![Script::json(said)]).await;
    let transcript = listen(&runtime, SpeechOptions::default()).await.unwrap();
    assert_eq!((transcript.text.as_str(), transcript.segments[0].end), ("hei", 1.0));
    assert_eq!(transcript.language.map(|it| it.code), Some("fi"));
}
