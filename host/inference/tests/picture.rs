//! Pictures as files: what goes in comes out, the same picture gives the same bytes.

mod scripted;

use std::sync::Arc;

use atelier_inference::picture::{Encoding, Format, encode, read_parameters};
use atelier_inference::{
    Error, ImageModel, ImageRequest, Job, Parameters, Picture, Pixels, Precision, QueueConfig, Scheduler,
    Source, StepCache,
};
use scripted::{Remote, pixels};

const PNG: Encoding = Encoding { format: Format::Png, quality: None, parameters: true };

/// The pictures of a job that was really run, so that their parameters are the scheduler's own.
async fn run(request: ImageRequest) -> Vec<Picture> {
    run_on(&scripted::model(), request).await
}

async fn run_on(model: &ImageModel, request: ImageRequest) -> Vec<Picture> {
    let remote = Remote::default();
    remote.allow_all();
    let scheduler =
        Scheduler::start(remote.engine(), QueueConfig { depth: 1, ..QueueConfig::default() }).unwrap();
    let job = Job::new(scripted::order(request, model).unwrap());
    scheduler.submit(job).unwrap().finish().await.unwrap().pictures().to_vec()
}

async fn picture(prompt: &str) -> Picture {
    run(ImageRequest { prompt: prompt.into(), seed: Some(5), ..ImageRequest::default() }).await.remove(0)
}

fn written(picture: &Picture) -> Parameters {
    read_parameters(&encode(picture, PNG).unwrap()).unwrap().unwrap()
}

#[tokio::test]
async fn parameters_survive_the_way_through_a_png() {
    for prompt in [
        "",
        "a fox",
        "狐 in Öl, 🦊\u{200d}🔥",
        "line\nline \"quoted\" \\ {json: [1]}",
        "tab\tand \u{7f}\u{1}",
    ] {
        let picture = picture(prompt).await;
        let parameters = written(&picture);
        assert_eq!(parameters.prompt, prompt);
        assert_eq!(Some(&parameters), picture.parameters.as_deref());
    }
}

#[tokio::test]
async fn the_longest_prompt_survives_too() {
    let prompt = "狐".repeat(32 * 1024 / 3);
    let request = ImageRequest {
        prompt: prompt.clone(),
        negative_prompt: Some(prompt.clone()),
        ..ImageRequest::default()
    };
    let parameters = written(&run(request).await[0]);
    assert_eq!((parameters.prompt, parameters.negative_prompt), (prompt.clone(), prompt));
}

#[tokio::test]
async fn a_picture_made_from_a_picture_names_its_source_and_strength() {
    let source = Some(Source::Start { pixels: pixels(16, 8, 3), strength: Some(0.5) });
    let parameters = written(&run(ImageRequest { source, ..ImageRequest::default() }).await[0]);
    assert_eq!((parameters.width, parameters.height, parameters.strength), (16, 8, Some(0.5)));
    assert_eq!(parameters.source_blake3, Some(blake3::hash(pixels(16, 8, 3).rgba()).to_string()));
}

#[tokio::test]
async fn a_picture_made_with_a_step_cache_names_it() {
    let cache = Some(StepCache::Deep { interval: 3, branch: 1 });
    let picture = run(ImageRequest { step_cache: cache, ..ImageRequest::default() }).await.remove(0);
    assert_eq!(written(&picture).step_cache, cache);
    assert!(picture.parameters.unwrap().json().contains(r#""step_cache":"deep:3:1""#));
    assert_eq!(written(&self::picture("a fox").await).step_cache, None);
}

#[tokio::test]
async fn a_picture_that_was_not_computed_in_f32_names_the_precision() {
    let model = ImageModel { precision: Precision::Bf16, ..scripted::model() };
    let picture = run_on(&model, ImageRequest::default()).await.remove(0);
    assert_eq!(written(&picture).precision, Some(Precision::Bf16));
    assert!(picture.parameters.unwrap().json().contains(r#""precision":"bf16""#));
    let plain = self::picture("a fox").await;
    assert_eq!(written(&plain).precision, None);
    assert!(!plain.parameters.unwrap().json().contains("precision"));
}

#[tokio::test]
async fn each_picture_of_a_batch_names_the_seed_that_makes_it_alone() {
    let pictures =
        run(ImageRequest { seed: Some(u64::MAX), count: Some(3), ..ImageRequest::default() }).await;
    let seeds: Vec<u64> = pictures.iter().map(|picture| written(picture).seed).collect();
    assert_eq!(seeds, [u64::MAX, 0, 1]);
}

#[tokio::test]
async fn the_same_picture_gives_the_same_bytes() {
    let (one, again) = (picture("a fox").await, picture("a fox").await);
    for format in [Format::Png, Format::Jpeg, Format::Webp] {
        let encoding = Encoding { format, quality: None, parameters: format == Format::Png };
        assert_eq!(encode(&one, encoding).unwrap(), encode(&again, encoding).unwrap(), "{format:?}");
    }
    assert_ne!(encode(&one, PNG).unwrap(), encode(&picture("a crow").await, PNG).unwrap());
}

#[tokio::test]
async fn the_text_form_reads_as_other_tools_expect() {
    let request = ImageRequest {
        prompt: "a fox".into(),
        negative_prompt: Some("rain".into()),
        ..ImageRequest::default()
    };
    let text = run(ImageRequest { seed: Some(5), clip_skip: Some(1), ..request }).await[0]
        .parameters
        .as_ref()
        .unwrap()
        .text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["a fox", "Negative prompt: rain"]);
    assert!(
        lines[2]
            .starts_with("Steps: 4, Sampler: ddim, CFG scale: 7.5, Seed: 5, Size: 64x32, Model: scripted")
    );
    assert!(lines[2].contains("Clip skip: 2"), "{text}");
}

#[tokio::test]
async fn a_png_without_parameters_has_none() {
    let encoding = Encoding { parameters: false, ..PNG };
    assert_eq!(read_parameters(&encode(&picture("a fox").await, encoding).unwrap()).unwrap(), None);
}

#[test]
fn bytes_that_are_no_png_are_refused() {
    for bytes in [&b""[..], b"GIF89a", b"\x89PNG\r\n\x1a\n"] {
        let error = read_parameters(bytes).unwrap_err();
        assert!(matches!(error, Error::Invalid { field: "png", .. }), "{error}");
    }
}

#[tokio::test]
async fn a_png_cut_off_anywhere_or_with_a_flipped_byte_never_panics() {
    let file = encode(&picture("a fox").await, PNG).unwrap();
    for end in 0..file.len() {
        let _ = read_parameters(&file[..end]);
    }
    for at in 0..file.len() {
        let mut broken = file.clone();
        broken[at] ^= 0x55;
        let _ = read_parameters(&broken);
    }
}

#[test]
fn parameters_that_expand_past_a_mebibyte_are_refused() {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 1, 1);
    encoder.set_color(png::ColorType::Rgb);
    let mut info = png::Info::with_size(1, 1);
    info.color_type = png::ColorType::Rgb;
    let mut chunk = png::text_metadata::ITXtChunk::new("atelier", " ".repeat((1 << 20) + 1));
    chunk.compress_text().unwrap();
    chunk.compressed = true;
    info.utf8_text.push(chunk);
    let mut writer = png::Encoder::with_info(&mut file, info).unwrap().write_header().unwrap();
    writer.write_image_data(&[0; 3]).unwrap();
    writer.finish().unwrap();
    let error = read_parameters(&file).unwrap_err();
    assert!(matches!(error, Error::Invalid { field: "png", .. }), "{error}");
}

/// Decodes a PNG to what was drawn.
fn decoded(file: &[u8]) -> (png::ColorType, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
    let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut buffer).unwrap();
    (info.color_type, buffer[..info.buffer_size()].to_vec())
}

#[test]
fn alpha_is_written_only_where_a_pixel_needs_it() {
    let plain = |pixels| Picture { pixels, parameters: None };
    let opaque = Pixels::new(1, 2, vec![1, 2, 3, 255, 4, 5, 6, 255]).unwrap();
    assert_eq!(decoded(&encode(&plain(opaque), PNG).unwrap()), (png::ColorType::Rgb, vec![1, 2, 3, 4, 5, 6]));
    let clear = Pixels::new(1, 1, vec![1, 2, 3, 254]).unwrap();
    assert_eq!(decoded(&encode(&plain(clear), PNG).unwrap()), (png::ColorType::Rgba, vec![1, 2, 3, 254]));
}

#[test]
fn wishes_that_a_format_cannot_fulfil_are_refused() {
    let picture = Picture { pixels: pixels(8, 8, 9), parameters: None };
    let refused =
        |format, quality, parameters| match encode(&picture, Encoding { format, quality, parameters }) {
            Err(Error::Invalid { field, .. }) => field,
            other => panic!("expected a refusal, got {:?}", other.map(|file| file.len())),
        };
    assert_eq!(refused(Format::Png, Some(90), false), "quality");
    assert_eq!(refused(Format::Webp, Some(90), false), "quality");
    assert_eq!(refused(Format::Jpeg, Some(0), false), "quality");
    assert_eq!(refused(Format::Jpeg, Some(101), false), "quality");
    assert_eq!(refused(Format::Jpeg, None, true), "parameters");
    assert_eq!(refused(Format::Webp, None, true), "parameters");
    for quality in [1, 100] {
        encode(&picture, Encoding { format: Format::Jpeg, quality: Some(quality), parameters: false })
            .unwrap();
    }
}

#[test]
fn cloning_a_picture_shares_its_pixels() {
    let pixels = pixels(8, 8, 9);
    assert!(std::ptr::eq(pixels.rgba(), pixels.clone().rgba()));
    let picture = Picture { pixels: pixels.clone(), parameters: None };
    assert!(std::ptr::eq(pixels.rgba(), Arc::new(picture).pixels.rgba()));
}
