//! Speech: what was asked is what was said.

use crate::atelier::host::provider_types::Error;
use crate::exports::atelier::host::provider_speech::{Guest, Request, Segment, Transcript, Word};
use crate::{Scripted, outage};

impl Guest for Scripted {
    async fn transcribe(request: Request) -> Result<Transcript, Error> {
        let Request { model, audio, language, task, timestamps, temperature, prompt } = request;
        let asked = prompt.unwrap_or_default();
        let wav = audio.starts_with(b"RIFF");
        let text = format!("{model} {wav} {} {language:?} {task:?} {timestamps:?} {temperature:?}", audio.len());
        let segment = |start, end| Segment { start, end, text: text.clone(), certainty: None };
        let word = Word { word: model, start: 0.5, end: 0.75 };
        let whole = |segments| Transcript {
            text: text.clone(),
            language: Some("Finnish".into()),
            segments,
            words: vec![word.clone()],
            notes: vec!["own".into()],
        };
        match asked.as_str() {
            "trap" => panic!("on purpose"),
            "fail" => Err(Error::Unavailable(outage("no"))),
            "rude" => Err(Error::Refused("I will not".into())),
            "nan" => Ok(whole(vec![segment(0.0, f64::NAN)])),
            "late" => Ok(whole(vec![segment(0.0, 1e6)])),
            "text" => Ok(Transcript { words: Vec::new(), ..whole(Vec::new()) }),
            _ => Ok(whole(vec![segment(0.0, 1.0)])),
        }
    }
}
