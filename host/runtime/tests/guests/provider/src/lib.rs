//! A provider that asks nobody and does what the last turn, or the prompt, says, well or badly. One of every kind of models.

mod pictures;
mod transcripts;

wit_bindgen::generate!({
    path: "../../../../../wit",
    inline: "
        package atelier:tests;
        world scripted {
            include atelier:host/provider@0.1.0;
            include atelier:host/picture-provider@0.1.0;
            include atelier:host/speech-provider@0.1.0;
        }
    ",
    world: "atelier:tests/scripted",
    generate_all,
});

use atelier::host::provider_types::{Error, Invalid, Outage};
use exports::atelier::host::provider_language::{End, Finish, Guest, Part, Request, Usage};
use wasi::config::store;

pub struct Scripted;

impl Guest for Scripted {
    async fn chat(request: Request) -> Result<wit_bindgen::StreamReader<Part>, Error> {
        let asked = request.turns.last().unwrap().text.clone();
        let key = store::get("api-key").unwrap().unwrap_or_default();
        println!("my key is {key}");
        match asked.as_str() {
            "trap" => panic!("on purpose"),
            "spin" => loop {
                std::hint::black_box(0);
            },
            "fail" => return Err(Error::Unavailable(outage(&format!("no, by {key}\r\n")))),
            "busy" => return Err(Error::OverQuota(outage("used up"))),
            "late" => return Err(Error::TimedOut("too late".into())),
            "locked" => return Err(Error::Unauthorised(format!("{key} is wrong"))),
            "odd" => return Err(Error::Other("odd".into())),
            "rude" => return Err(Error::Refused("I will not".into())),
            "field" => {
                let (field, reason) = ("no-such-field".into(), "wrong".into());
                return Err(Error::Invalid(Invalid { field, reason }));
            }
            _ => {}
        }
        let (mut parts, reader) = wit_stream::new::<Part>();
        wit_bindgen::spawn_local(async move {
            for part in parts_of(&asked, &request) {
                if parts.write_one(part).await.is_some() {
                    return;
                }
            }
            if asked == "endless" {
                let piece = "word ".repeat(10_000);
                while parts.write_one(Part::Said(piece.clone())).await.is_none() {}
            }
            if asked == "hang" {
                std::thread::sleep(std::time::Duration::from_secs(3_600));
            }
        });
        Ok(reader)
    }
}

fn parts_of(asked: &str, request: &Request) -> Vec<Part> {
    let said = |text: &str| Part::Said(text.into());
    match asked {
        "silent" => vec![said("half")],
        "nothing" | "endless" | "hang" => Vec::new(),
        "break" => vec![said("half"), Part::Failed(Error::Unavailable(outage("broke")))],
        "on" => vec![said("a"), end(), said("b"), end()],
        "uncounted" => vec![said("12345678"), Part::End(End { finish: Finish::End, usage: None, notes: vec!["own".into()] })],
        _ => vec![said(&format!("{} says ", request.model)), said(asked), end()],
    }
}

fn end() -> Part {
    let usage = Usage { prompt_tokens: 3, cached_tokens: 1, reply_tokens: 2 };
    Part::End(End { finish: Finish::End, usage: Some(usage), notes: Vec::new() })
}

fn outage(reason: &str) -> Outage {
    Outage { reason: reason.into(), retry_after_ms: Some(1) }
}

export!(Scripted);
