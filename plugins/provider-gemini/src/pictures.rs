//! Pictures through `generateContent`, of models such as gemini-2.5-flash-image: a prompt, and the picture that is changed. The
//! interface knows shapes and no sizes; each shape has one size (ai.google.dev/gemini-api/docs/image-generation).

use provider_kit::{Ask, Drawn, Draws, Error, PictureRequest, PictureTask, encoded, shown};
use serde_json::{Map, Value, json};

use crate::{Gemini, ask, whole};

/// For messages.
const SERVER: &str = "Gemini's interface";
/// Each size with its shape.
const SIZES: [(u32, u32, &str); 10] = [
    (1_024, 1_024, "1:1"),
    (832, 1_248, "2:3"),
    (1_248, 832, "3:2"),
    (864, 1_184, "3:4"),
    (1_184, 864, "4:3"),
    (896, 1_152, "4:5"),
    (1_152, 896, "5:4"),
    (768, 1_344, "9:16"),
    (1_344, 768, "16:9"),
    (1_536, 672, "21:9"),
];

impl Draws for Gemini {
    fn ask_for_pictures(&self, request: &PictureRequest) -> Result<Ask, Error> {
        let path = format!("{}:generateContent", ask::path(&request.model)?);
        Ok(Ask::json(path, self.headers(), &body(request)?))
    }

    fn pictures(&self, body: &[u8]) -> Result<Drawn, Error> {
        let whole = whole::read(body)?;
        let said = shown(&whole.text);
        if whole.files.is_empty() {
            return Err(match said.is_empty() {
                true => Error::Malformed("its answer has no picture".into()),
                false => Error::Refused(format!("the model drew nothing and said: {said}")),
            });
        }
        let notes = if said.is_empty() { Vec::new() } else { vec![format!("the model said: {said}")] };
        Ok(Drawn { files: whole.files, notes })
    }
}

fn body(request: &PictureRequest) -> Result<Value, Error> {
    request.without(&["negative-prompt", "steps", "guidance", "image-guidance"], SERVER)?;
    request.count_up_to(1, SERVER)?;
    let mut parts = Vec::new();
    match &request.task {
        PictureTask::TextToImage => {}
        PictureTask::Edit { picture, .. } => {
            parts.push(json!({ "inlineData": { "mimeType": "image/png", "data": encoded(picture) } }));
        }
        PictureTask::ImageToImage { .. } | PictureTask::Inpaint { .. } => {
            let reason = format!("{SERVER} starts from no pictures and knows no masks: ask for an edit");
            return Err(Error::invalid("source", reason));
        }
    }
    parts.push(json!({ "text": request.prompt }));
    let mut config = Map::new();
    config.insert("responseModalities".into(), json!(["TEXT", "IMAGE"]));
    config.insert("imageConfig".into(), json!({ "aspectRatio": shape(request)? }));
    let seed = request.seed_up_to(i32::MAX as u64, SERVER)?;
    config.extend(seed.map(|seed| ("seed".to_owned(), json!(seed))));
    Ok(json!({ "contents": [{ "role": "user", "parts": parts }], "generationConfig": config }))
}

fn shape(request: &PictureRequest) -> Result<&'static str, Error> {
    let PictureRequest { width, height, .. } = request;
    let found = SIZES.iter().find(|(wide, high, _)| (wide, high) == (width, height));
    found.map(|(_, _, shape)| *shape).ok_or_else(|| {
        let known: Vec<String> = SIZES.iter().map(|(wide, high, _)| format!("{wide}x{high}")).collect();
        let known = known.join(", ");
        Error::invalid("size", format!("{width}x{height} is none of {SERVER}, which knows {known}"))
    })
}

#[cfg(test)]
mod tests {
    use provider_kit::{Protocol, Settings};

    use super::*;

    fn plain() -> PictureRequest {
        PictureRequest::plain("gemini-2.5-flash-image", "a boat")
    }

    #[test]
    fn a_request_is_what_google_documents() {
        let gemini = Gemini::configure(&Settings::default()).unwrap();
        let picture = b"PNG".to_vec();
        let task = PictureTask::Edit { picture, guidance: None };
        let request = PictureRequest { width: 1_344, height: 768, seed: Some(7), task, ..plain() };
        let ask = gemini.ask_for_pictures(&request).unwrap();
        assert_eq!(ask.path, "/models/gemini-2.5-flash-image:generateContent");
        let expected = json!({
            "contents": [{"role": "user", "parts": [
                {"inlineData": {"mimeType": "image/png", "data": "UE5H"}}, {"text": "a boat"},
            ]}],
            "generationConfig": {
                "responseModalities": ["TEXT", "IMAGE"], "imageConfig": {"aspectRatio": "16:9"}, "seed": 7,
            },
        });
        assert_eq!(serde_json::from_slice::<Value>(&ask.body).unwrap(), expected);
    }

    #[test]
    fn what_the_interface_has_no_place_for_is_refused_by_name() {
        let start = PictureTask::ImageToImage { picture: Vec::new(), strength: None };
        for (request, named) in [
            (PictureRequest { width: 1_000, ..plain() }, "size"),
            (PictureRequest { count: 2, ..plain() }, "count"),
            (PictureRequest { seed: Some(1 << 31), ..plain() }, "seed"),
            (PictureRequest { guidance: Some(3.0), ..plain() }, "guidance"),
            (PictureRequest { task: start, ..plain() }, "source"),
        ] {
            match body(&request) {
                Err(Error::Invalid(field, reason)) => assert_eq!(field, named, "{reason}"),
                other => panic!("{named}: {other:?}"),
            }
        }
    }

    #[test]
    fn words_in_place_of_a_picture_are_a_refusal() {
        let gemini = Gemini::configure(&Settings::default()).unwrap();
        let said = r#"{"candidates": [{"content": {"parts": [{"text": "I cannot draw that."}]}, "finishReason": "STOP"}]}"#;
        let refused = gemini.pictures(said.as_bytes());
        assert!(matches!(refused, Err(Error::Refused(text)) if text.contains("cannot draw")));
        let drawn = r#"{"candidates": [{"content": {"parts": [{"inlineData": {"data": "UE5H"}}, {"text": "Done"}]}}]}"#;
        let drawn = gemini.pictures(drawn.as_bytes()).unwrap();
        assert_eq!(
            (drawn.files, drawn.notes),
            (vec![b"PNG".to_vec()], vec!["the model said: Done".to_owned()])
        );
    }
}
