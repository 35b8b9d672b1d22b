//! Text from speech through OpenAI's interface: `audio/transcriptions`, and `audio/translations` for English text. Whisper tells
//! times and how sure it is; the models after it tell the text alone.

use provider_kit::{
    Ask, Certainty, Error, Form, Listens, Segment, SpeechRequest, Timestamps, Transcript, Word,
};
use serde_json::Value;

use crate::OpenAi;

/// The recording as a form has it.
const RECORDING: (&str, &str) = ("audio.wav", "audio/wav");

impl Listens for OpenAi {
    fn ask_for_transcript(&self, request: &SpeechRequest) -> Result<Ask, Error> {
        check(request)?;
        let mut form = Form::default().text("model", &request.model);
        form = form.text("response_format", if is_whisper(&request.model) { "verbose_json" } else { "json" });
        if let Some(language) = &request.language {
            form = form.text("language", language);
        }
        if let Some(prompt) = &request.prompt {
            form = form.text("prompt", prompt);
        }
        if let Some(temperature) = request.temperature {
            form = form.text("temperature", temperature.to_string());
        }
        if request.timestamps == Timestamps::Words {
            for granularity in ["segment", "word"] {
                form = form.text("timestamp_granularities[]", granularity);
            }
        }
        let path = if request.is_translated { "/audio/translations" } else { "/audio/transcriptions" };
        Ok(Ask::form(path, self.headers(), &form.file("file", RECORDING, &request.audio)))
    }

    fn transcript(&self, body: &[u8]) -> Result<Transcript, Error> {
        let malformed = |text: &str| Error::Malformed(text.into());
        let answer: Value = serde_json::from_slice(body).map_err(|_| malformed("its answer is no JSON"))?;
        let text = answer.get("text").and_then(Value::as_str);
        let list = |key: &str| answer.get(key).and_then(Value::as_array).into_iter().flatten();
        let segments: Option<Vec<Segment>> = list("segments").map(segment).collect();
        let words: Option<Vec<Word>> = list("words").map(word).collect();
        Ok(Transcript {
            text: text.ok_or_else(|| malformed("its answer has no text"))?.to_owned(),
            language: answer.get("language").and_then(Value::as_str).map(Into::into),
            segments: segments.ok_or_else(|| malformed("a segment of its answer is none"))?,
            words: words.ok_or_else(|| malformed("a word of its answer is none"))?,
            notes: Vec::new(),
        })
    }
}

fn is_whisper(model: &str) -> bool {
    model.contains("whisper")
}

/// Refuses what the interface, or the model, has no place for.
fn check(request: &SpeechRequest) -> Result<(), Error> {
    let has_words = request.timestamps == Timestamps::Words;
    let refused = |field, reason: &str| Err(Error::invalid(field, reason));
    match (is_whisper(&request.model), request.is_translated) {
        (false, _) if has_words => refused("timestamps", "this model tells no times; ask for none of words"),
        (false, true) => refused("task", "this model translates nothing; Whisper does"),
        (_, true) if has_words => refused("timestamps", "a translation has no times of words"),
        (_, true) if request.language.is_some() => {
            refused("language", "OpenAI's interface recognises what it translates; leave it out")
        }
        _ => Ok(()),
    }
}

fn number(value: &Value, key: &str) -> Option<f64> {
    value.get(key).and_then(Value::as_f64)
}

fn segment(value: &Value) -> Option<Segment> {
    let certainty = || {
        Some(Certainty {
            avg_logprob: number(value, "avg_logprob")?,
            compression_ratio: number(value, "compression_ratio")?,
            no_speech_prob: number(value, "no_speech_prob")?,
            temperature: number(value, "temperature")?,
        })
    };
    Some(Segment {
        start: number(value, "start")?,
        end: number(value, "end")?,
        text: value.get("text")?.as_str()?.to_owned(),
        certainty: certainty(),
    })
}

fn word(value: &Value) -> Option<Word> {
    let word = value.get("word")?.as_str()?.to_owned();
    Some(Word { word, start: number(value, "start")?, end: number(value, "end")? })
}

#[cfg(test)]
mod tests {
    use provider_kit::{Protocol, Settings};
    use serde_json::json;

    use super::*;

    fn openai() -> OpenAi {
        OpenAi::configure(&Settings::default()).unwrap()
    }

    fn sent(request: &SpeechRequest) -> (String, String) {
        let ask = openai().ask_for_transcript(request).unwrap();
        (ask.path, String::from_utf8_lossy(&ask.body).into_owned())
    }

    #[test]
    fn a_request_is_what_openai_documents() {
        let mut request = SpeechRequest::plain("whisper-1", b"RIFF");
        (request.language, request.temperature) = (Some("fi".into()), Some(0.2));
        (request.prompt, request.timestamps) = (Some("Aalto".into()), Timestamps::Words);
        let (path, body) = sent(&request);
        assert_eq!(path, "/audio/transcriptions");
        for field in [
            "name=\"model\"\r\n\r\nwhisper-1",
            "name=\"response_format\"\r\n\r\nverbose_json",
            "name=\"language\"\r\n\r\nfi",
            "name=\"prompt\"\r\n\r\nAalto",
            "name=\"temperature\"\r\n\r\n0.2",
            "name=\"timestamp_granularities[]\"\r\n\r\nword",
            "name=\"file\"; filename=\"audio.wav\"\r\ncontent-type: audio/wav\r\n\r\nRIFF",
        ] {
            assert!(body.contains(field), "{field}: {body}");
        }
        let (path, _) =
            sent(&SpeechRequest { is_translated: true, ..SpeechRequest::plain("whisper-1", b"") });
        assert_eq!(path, "/audio/translations");
        let (_, body) = sent(&SpeechRequest::plain("gpt-4o-transcribe", b""));
        assert!(body.contains("\r\njson\r\n") && !body.contains("temperature"), "{body}");
    }

    #[test]
    fn what_a_model_has_no_place_for_is_refused_by_name() {
        let plain = |model| SpeechRequest::plain(model, b"");
        let (timestamps, language) = (Timestamps::Words, Some("fi".to_owned()));
        for (request, named) in [
            (SpeechRequest { timestamps, ..plain("gpt-4o-transcribe") }, "timestamps"),
            (SpeechRequest { is_translated: true, ..plain("gpt-4o-transcribe") }, "task"),
            (SpeechRequest { is_translated: true, timestamps, ..plain("whisper-1") }, "timestamps"),
            (SpeechRequest { is_translated: true, language, ..plain("whisper-1") }, "language"),
        ] {
            match openai().ask_for_transcript(&request) {
                Err(Error::Invalid(field, _)) => assert_eq!(field, named),
                other => panic!("{named}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_transcript_is_read_with_its_times_or_without() {
        let body = json!({
            "task": "transcribe", "language": "finnish", "duration": 2.0, "text": "hyvää päivää",
            "segments": [{"id": 0, "start": 0.0, "end": 2.0, "text": " hyvää päivää", "tokens": [1], "temperature": 0.0,
                "avg_logprob": -0.2, "compression_ratio": 0.9, "no_speech_prob": 0.01}],
            "words": [{"word": "hyvää", "start": 0.0, "end": 1.0}],
        });
        let read = openai().transcript(body.to_string().as_bytes()).unwrap();
        assert_eq!((read.text.as_str(), read.language.as_deref()), ("hyvää päivää", Some("finnish")));
        assert_eq!(read.segments[0].certainty.map(|it| it.avg_logprob), Some(-0.2));
        assert_eq!((read.words[0].word.as_str(), read.words[0].end), ("hyvää", 1.0));
        let plain = openai().transcript(br#"{"text": "hello", "usage": {}}"#).unwrap();
        assert_eq!((plain.text.as_str(), plain.segments.len()), ("hello", 0));
        for broken in [
            "",
            "{}",
            r#"{"text": 1}"#,
            r#"{"text": "a", "segments": [{}]}"#,
            r#"{"text": "a", "words": [1]}"#,
        ] {
            assert!(matches!(openai().transcript(broken.as_bytes()), Err(Error::Malformed(_))), "{broken}");
        }
    }
}
