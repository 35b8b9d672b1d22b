//! Every field of the form for pictures: its default, its bounds, and what becomes of it.

use atelier_kit::fake::{Fake, Ordered, Script, drawing, form};
use atelier_kit::host::{GenerationError, Model, Refine, Size};
use serde_json::json;

use crate::{GENERATE, PROMPT, fault, generate, post, reply};

/// What was ordered for a form that is right.
fn ordered(host: &Fake, parts: &[(&str, &str)]) -> Ordered {
    let told = generate(host, &[&[PROMPT], parts].concat());
    assert_eq!(told.last().map(|(name, _)| name.as_str()), Some("result"), "{told:?}");
    host.record.borrow().orders.last().cloned().expect("an order")
}

/// Both names stand for models of these ids, of which `sdxl` has a refiner.
fn both() -> Script {
    let sdxl = Model { refiners: vec!["sdxl-refiner".into(), "other".into()], ..drawing("sdxl") };
    Script { models: vec![sdxl, drawing("lcm")], ..Script::default() }
}

/// README lines: "`prompt` (`string`): The main text prompt describing the desired image.", "Defaults to `"sdxl"`.", "Defaults to
/// `25`."
#[test]
fn a_prompt_alone_is_drawn_by_sdxl_in_25_steps() {
    let Ordered { order, source, .. } = ordered(&both().host(), &[]);
    assert_eq!((order.model.as_str(), order.prompt.as_str()), ("sdxl", PROMPT.1));
    assert_eq!((order.steps, order.count, source), (Some(25), 1, None));
    assert_eq!((order.size, order.guidance, order.schedule), (None, None, None));
}

/// README line: "`model_name` (`string`, optional): The generation model to use (`"sdxl"` or `"lcm"`)."
#[test]
fn the_model_is_named_and_there_are_two() {
    let lcm = ordered(&both().host(), &[("model_name", "lcm")]).order;
    assert_eq!((lcm.model.as_str(), lcm.steps), ("lcm", Some(25)));
    let (field, text) = fault(&both().host(), GENERATE, &[PROMPT, ("model_name", "flux")]);
    assert!(field == "model_name" && text.contains("give one of sdxl, lcm"), "{text}");
}

/// README line: "`steps` (`int`, optional): Number of diffusion steps."
#[test]
fn steps_are_a_whole_number_in_any_form_that_pydantic_takes() {
    for (written, steps) in [("1", 1), ("150", 150), (" 8 ", 8), ("8.0", 8), ("", 25)] {
        assert_eq!(ordered(&both().host(), &[("steps", written)]).order.steps, Some(steps), "{written:?}");
    }
    for written in ["0", "151", "many", "2.5"] {
        assert_eq!(fault(&both().host(), GENERATE, &[PROMPT, ("steps", written)]).0, "steps", "{written}");
    }
}

/// README line: "`negative_prompt` (`string`, optional): Terms to exclude from the image."
#[test]
fn a_negative_prompt_goes_to_the_model_or_is_refused_by_its_field() {
    let order = ordered(&both().host(), &[("negative_prompt", "rain")]).order;
    assert_eq!(order.negative_prompt.as_deref(), Some("rain"));
    let reason = "model `lcm` does not use one; leave it out".into();
    let refuse = Some(GenerationError::Invalid { field: "negative-prompt".into(), reason });
    let host = Script { refuse, ..both() }.host();
    let parts = [PROMPT, ("model_name", "lcm"), ("negative_prompt", "rain")];
    assert_eq!(fault(&host, GENERATE, &parts).0, "negative_prompt");
}

/// README lines: "`image` (`File`, optional): An input image for image-to-image generation.", "`strength` (`float`, optional):
/// Influence of the input image in image-to-image tasks (0.0 to 1.0).", "**Image-to-Image Transformation:** Modifies existing
/// images based on a text prompt."
#[test]
fn an_image_is_started_from_by_its_strength() {
    let found = ordered(&both().host(), &[("image@", "128x64"), ("strength", "0.6")]);
    let size = Size { width: 128, height: 64 };
    assert_eq!((found.source, found.strength, found.order.size), (Some(size), Some(0.6), Some(size)));
    assert_eq!(ordered(&both().host(), &[("image@", "128x64")]).strength, None);
    for written in ["0", "1.1", "-1", "nan", "half"] {
        let parts = [PROMPT, ("image@", "128x64"), ("strength", written)];
        assert_eq!(fault(&both().host(), GENERATE, &parts).0, "strength", "{written}");
    }
}

#[test]
fn an_image_of_a_size_that_the_model_does_not_draw_keeps_its_shape_and_is_told() {
    let host = both().host();
    let told = generate(&host, &[PROMPT, ("image@", "1000x500")]);
    let note = "`image` was scaled from 1000x500 to 184x88 for sdxl";
    assert_eq!(told.last().map(|(_, data)| &data["notes"]), Some(&json!([note, "a note"])));
    assert_eq!(told.last().map(|(_, data)| &data["size"]), Some(&json!("184x88")));
}

#[test]
fn what_would_have_no_effect_is_refused() {
    let host = both().host();
    let (field, text) = fault(&host, GENERATE, &[PROMPT, ("strength", "0.5")]);
    assert_eq!((field.as_str(), text.contains("without `image`")), ("strength", true));
    let (field, text) = fault(&host, GENERATE, &[PROMPT, ("model_name", "lcm"), ("use_refiner", "true")]);
    assert_eq!((field.as_str(), text.contains("leave it out with `lcm`")), ("use_refiner", true));
    assert!(host.record.borrow().orders.is_empty());
}

/// README line: "`use_refiner` (`bool`, optional): Whether to use the SDXL refiner model."
#[test]
fn the_refiner_ends_the_picture_where_it_is_asked_for_and_never_elsewhere() {
    let refine =
        |script: Script, written: &str| ordered(&script.host(), &[("use_refiner", written)]).order.refine;
    let by = |id: &str| Some(Refine::By { model: id.into(), share: None });
    for written in ["true", "1", "on", "yes", "True"] {
        assert_eq!(refine(both(), written), by("sdxl-refiner"), "{written}");
    }
    for written in ["false", "0", "off", "no", ""] {
        assert_eq!(refine(both(), written), Some(Refine::Never), "{written}");
    }
    assert_eq!(refine(both().with_config("refiner", "other"), "true"), by("other"));
    let mut own = both();
    own.models[0].default_refiner = Some("other".into());
    assert_eq!(refine(own, "true"), by("other"));
}

#[test]
fn a_refiner_that_is_not_there_is_an_operators_matter_and_names_the_key() {
    let refused = |script: Script| post(&script.host(), GENERATE, &[PROMPT, ("use_refiner", "true")]);
    let none = Script { models: vec![drawing("sdxl")], ..Script::default() };
    let (status, answer) = refused(none);
    let text = answer["detail"].as_str().unwrap_or_default();
    assert!(status == 502 && text.contains("`grants.models`"), "{text}");
    let (status, answer) = refused(both().with_config("refiner", "nobody"));
    let text = answer["detail"].as_str().unwrap_or_default();
    assert!(status == 502 && text.contains("`config.refiner` is `nobody`"), "{text}");
}

#[test]
fn a_seed_is_an_extension_and_repeats_the_picture() {
    let host = both().host();
    let parts = [PROMPT, ("seed", "9007199254740991"), ("image@", "128x64"), ("strength", "0.5")];
    let told = generate(&host, &parts);
    let request = &told.last().expect("a result").1["request"];
    let expected = json!({
        "prompt": PROMPT.1, "model_name": "sdxl", "steps": 25, "use_refiner": false,
        "seed": 9_007_199_254_740_991_u64, "strength": 0.5,
    });
    assert_eq!(request, &expected);
    assert_eq!(fault(&host, GENERATE, &[PROMPT, ("seed", "9007199254740992")]).0, "seed");
}

#[test]
fn an_image_that_cannot_be_read_says_why_before_the_stream() {
    let host = both().host();
    let refused = |image: &str| post(&host, GENERATE, &[PROMPT, ("image@", image)]);
    assert_eq!(refused("zip").0, 400);
    assert_eq!(refused("zip").1, json!({"detail": "`image` cannot be read: this is no picture"}));
    assert_eq!(refused("").1, json!({"detail": "`image` is empty; send a picture, or leave it out"}));
    assert_eq!(fault(&host, GENERATE, &[PROMPT, ("image@", "8x8"), ("image@", "8x8")]).0, "image");
    let only_draws = Model { image_to_image: false, ..drawing("sdxl") };
    let host = Script { models: vec![only_draws], ..Script::default() }.host();
    assert_eq!(fault(&host, GENERATE, &[PROMPT, ("image@", "8x8")]).0, "image");
}

/// Swagger UI and `curl -F image=` send an empty text, and say of no part that it would be a file.
#[test]
fn an_image_that_is_an_empty_text_is_left_out_and_any_other_text_is_refused() {
    assert_eq!(ordered(&both().host(), &[("image", "")]).source, None);
    let (status, answer) = post(&both().host(), GENERATE, &[PROMPT, ("image", "photo.png")]);
    assert_eq!((status, answer), (400, json!({"detail": "`image` cannot be read: this is no picture"})));
}

#[test]
fn a_prompt_must_be_there_and_every_fault_is_told_at_once() {
    let host = both().host();
    let (status, answer) = post(&host, GENERATE, &[("steps", "0"), ("size", "1x1"), ("prompt", "")]);
    let faults = answer["detail"].as_array().expect("a list");
    let kinds: Vec<_> = faults.iter().map(|fault| (&fault["type"], &fault["loc"][1])).collect();
    let expected = [("extra_forbidden", "size"), ("missing", "prompt"), ("value_error", "steps")];
    let expected = expected.map(|(kind, field)| (json!(kind), json!(field)));
    assert_eq!(kinds, expected.iter().map(|(kind, field)| (kind, field)).collect::<Vec<_>>());
    assert_eq!((status, &faults[2]["input"]), (422, &json!("0")));
    let long = "a".repeat(8_193);
    assert_eq!(fault(&host, GENERATE, &[("prompt", &long)]).0, "prompt");
    assert!(matches!(
        reply(&host, form(GENERATE, &[("prompt", &long[1..])])),
        atelier_kit::Reply::Stream(..)
    ));
}
