//! Pictures through OpenAI's interface: `images/generations` from a prompt, `images/edits` from a picture. Files come as base64.

use provider_kit::{Ask, Drawn, Draws, Error, Form, PictureRequest, PictureTask, decoded, shown};
use serde_json::{Map, Value, json};

use crate::OpenAi;

/// For messages.
const SERVER: &str = "OpenAI's interface";
/// Most pictures of one request.
const MAX_COUNT: u32 = 10;
/// A PNG file as a form has it.
const PICTURE: (&str, &str) = ("image.png", "image/png");
const MASK: (&str, &str) = ("mask.png", "image/png");

impl Draws for OpenAi {
    fn ask_for_pictures(&self, request: &PictureRequest) -> Result<Ask, Error> {
        let lacks = ["negative-prompt", "steps", "guidance", "seed", "strength", "image-guidance"];
        request.without(&lacks, SERVER)?;
        let is_dalle_3 = request.model == "dall-e-3";
        request.count_up_to(if is_dalle_3 { 1 } else { MAX_COUNT }, &request.model)?;
        match &request.task {
            PictureTask::TextToImage => {
                let body: Map<String, Value> =
                    fields(request).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                Ok(Ask::json("/images/generations", self.headers(), &body.into()))
            }
            PictureTask::Edit { picture, .. } => {
                Ok(Ask::form("/images/edits", self.headers(), &form(request).file("image", PICTURE, picture)))
            }
            PictureTask::Inpaint { picture, mask, .. } => {
                let form = form(request).file("image", PICTURE, picture).file("mask", MASK, mask);
                Ok(Ask::form("/images/edits", self.headers(), &form))
            }
            PictureTask::ImageToImage { .. } => {
                let reason = format!("{SERVER} starts from no pictures: ask for an edit");
                Err(Error::invalid("source", reason))
            }
        }
    }

    fn pictures(&self, body: &[u8]) -> Result<Drawn, Error> {
        let malformed = |text: &str| Error::Malformed(text.into());
        let mut answer: Value =
            serde_json::from_slice(body).map_err(|_| malformed("its answer is no JSON"))?;
        let data = answer.get_mut("data").and_then(Value::as_array_mut);
        let mut drawn = Drawn::default();
        for item in data.ok_or_else(|| malformed("its answer has no pictures"))? {
            if let Some(prompt) = item.get("revised_prompt").and_then(Value::as_str) {
                drawn.notes.push(format!("the server drew another prompt: {}", shown(prompt)));
            }
            // a picture at an address is not fetched: who put it there, and for whom, is not known
            let file = item.get("b64_json").and_then(Value::as_str);
            drawn.files.push(decoded(file.ok_or_else(|| malformed("a picture of its answer is no file"))?)?);
            // large: gone before the next one is taken out
            item.take();
        }
        Ok(drawn)
    }
}

/// What the interface is told, besides pictures.
fn fields(request: &PictureRequest) -> Vec<(&'static str, Value)> {
    let mut fields = vec![
        ("model", json!(request.model)),
        ("prompt", json!(request.prompt)),
        ("n", json!(request.count)),
        ("size", json!(format!("{}x{}", request.width, request.height))),
    ];
    // OpenAI's newer models send nothing but files and refuse to be told so; all others send addresses unless they are
    if !request.model.starts_with("gpt-image") && !request.model.starts_with("chatgpt-image") {
        fields.push(("response_format", json!("b64_json")));
    }
    fields
}

fn form(request: &PictureRequest) -> Form {
    fields(request).into_iter().fold(Form::default(), |form, (name, value)| match value {
        Value::String(text) => form.text(name, text),
        other => form.text(name, other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use provider_kit::{Protocol, Settings, encoded};

    use super::*;

    fn openai() -> OpenAi {
        OpenAi::configure(&Settings::new([("api-key".into(), "sk-1".into())])).unwrap()
    }

    fn sent(request: &PictureRequest) -> (Ask, String) {
        let ask = openai().ask_for_pictures(request).unwrap();
        let body = String::from_utf8_lossy(&ask.body).into_owned();
        (ask, body)
    }

    #[test]
    fn a_request_is_what_openai_documents() {
        let (ask, body) =
            sent(&PictureRequest { width: 1_792, ..PictureRequest::plain("dall-e-3", "a boat") });
        let expected = json!({
            "model": "dall-e-3", "prompt": "a boat", "n": 1, "size": "1792x1024", "response_format": "b64_json",
        });
        assert_eq!(
            (ask.path.as_str(), ask.content_type.as_str()),
            ("/images/generations", "application/json")
        );
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
        assert_eq!(ask.headers, [("authorization", "Bearer sk-1".to_owned())]);
        let (_, body) = sent(&PictureRequest { count: 2, ..PictureRequest::plain("gpt-image-1", "a boat") });
        assert!(!body.contains("response_format") && body.contains("\"n\":2"), "{body}");
    }

    #[test]
    fn a_picture_is_changed_through_a_form() {
        let task = PictureTask::Edit { picture: b"PNG".to_vec(), guidance: None };
        let (ask, body) = sent(&PictureRequest { task, ..PictureRequest::plain("gpt-image-1", "at night") });
        assert!(
            ask.path == "/images/edits" && ask.content_type.starts_with("multipart/form-data"),
            "{ask:?}"
        );
        for field in ["name=\"prompt\"\r\n\r\nat night", "name=\"size\"\r\n\r\n1024x1024", "image.png\"\r\n"]
        {
            assert!(body.contains(field), "{field}: {body}");
        }
        assert!(!body.contains("mask"), "{body}");
        let (picture, mask) = (b"PNG".to_vec(), b"HOLE".to_vec());
        let task = PictureTask::Inpaint { picture, mask, strength: None };
        let (_, body) = sent(&PictureRequest { task, ..PictureRequest::plain("gpt-image-1", "a boat") });
        assert!(body.contains("name=\"mask\"; filename=\"mask.png\"") && body.contains("HOLE"), "{body}");
    }

    #[test]
    fn what_the_interface_has_no_place_for_is_refused_by_name() {
        let plain = || PictureRequest::plain("dall-e-3", "a boat");
        let start = PictureTask::ImageToImage { picture: Vec::new(), strength: None };
        for (request, named) in [
            (PictureRequest { seed: Some(1), ..plain() }, "seed"),
            (PictureRequest { negative_prompt: Some("fog".into()), ..plain() }, "negative-prompt"),
            (PictureRequest { steps: Some(4), ..plain() }, "steps"),
            (PictureRequest { count: 2, ..plain() }, "count"),
            (PictureRequest { task: start, ..plain() }, "source"),
        ] {
            match openai().ask_for_pictures(&request) {
                Err(Error::Invalid(field, _)) => assert_eq!(field, named),
                other => panic!("{named}: {other:?}"),
            }
        }
    }

    #[test]
    fn files_are_read_and_what_is_none_is_refused() {
        let file = encoded(b"PNG");
        let body = json!({"created": 1, "data": [{"b64_json": file, "revised_prompt": "a red boat\n"}]});
        let drawn = openai().pictures(body.to_string().as_bytes()).unwrap();
        assert_eq!(drawn.files, [b"PNG"]);
        assert_eq!(drawn.notes, ["the server drew another prompt: a red boat"]);
        for broken in [
            "",
            "[]",
            "{}",
            r#"{"data": {}}"#,
            r#"{"data": [{"url": "https://example.org/a.png"}]}"#,
            r#"{"data": [{"b64_json": "?"}]}"#,
            r#"{"data": [null]}"#,
        ] {
            let read = openai().pictures(broken.as_bytes());
            assert!(matches!(read, Err(Error::Malformed(_))), "{broken}: {read:?}");
        }
    }
}
