//! Pictures: the one of the configuration; what came along is told in the notes.

use crate::atelier::host::provider_types::{Error, Invalid};
use crate::exports::atelier::host::provider_images::{End, Guest, Part, Request, Task};
use crate::wasi::config::store;
use crate::{Scripted, outage, wit_stream};

impl Guest for Scripted {
    async fn generate(request: Request) -> Result<wit_bindgen::StreamReader<Part>, Error> {
        match request.prompt.as_str() {
            "trap" => panic!("on purpose"),
            "fail" => return Err(Error::Unavailable(outage("no"))),
            "rude" => return Err(Error::Refused("I will not".into())),
            "field" => {
                let (field, reason) = ("size".into(), "wrong".into());
                return Err(Error::Invalid(Invalid { field, reason }));
            }
            _ => {}
        }
        let (mut parts, reader) = wit_stream::new::<Part>();
        wit_bindgen::spawn_local(async move {
            for part in parts_of(&request) {
                if parts.write_one(part).await.is_some() {
                    return;
                }
            }
            if request.prompt == "endless" {
                while parts.write_one(Part::Picture(vec![0; 1 << 20])).await.is_none() {}
            }
            if request.prompt == "hang" {
                std::thread::sleep(std::time::Duration::from_secs(3_600));
            }
        });
        Ok(reader)
    }
}

fn parts_of(request: &Request) -> Vec<Part> {
    let png = |file: &[u8]| if file.starts_with(b"\x89PNG\r\n") { "png" } else { "none" };
    let task = match &request.task {
        Task::TextToImage => "text".to_owned(),
        Task::ImageToImage(start) => format!("start {} {:?}", png(&start.picture), start.strength),
        Task::Edit(edit) => format!("edit {} {:?}", png(&edit.picture), edit.guidance),
        Task::Inpaint(part) => {
            let differ = part.picture != part.mask;
            format!("inpaint {} {} {differ} {:?}", png(&part.picture), png(&part.mask), part.strength)
        }
    };
    let picture = || Part::Picture(configured());
    let Request { model, prompt, width, height, count, steps, seed, previews, .. } = request;
    let told = format!("{model} {prompt} {width}x{height} {count} {steps:?} {seed:?} {task} {previews}");
    let end = Part::End(End { notes: vec![told] });
    match prompt.as_str() {
        "hang" | "endless" => Vec::new(),
        "none" => vec![end],
        "many" => vec![picture(), picture(), end],
        "half" => vec![picture()],
        "junk" => vec![Part::Picture(b"junk".to_vec()), end],
        "break" => vec![Part::Preview(configured()), Part::Failed(Error::Unavailable(outage("broke")))],
        "preview" => vec![Part::Preview(b"junk".to_vec()), Part::Preview(configured()), picture(), end],
        _ => (0..*count).map(|_| picture()).chain([end]).collect(),
    }
}

/// A file, as pairs of hexadecimal digits.
fn configured() -> Vec<u8> {
    let digits = store::get("picture").unwrap().unwrap_or_default();
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
}
