//! The capabilities, each once.

use crate::atelier::host::generation::{
    Control, DeepCache, Error, Event, Job, Refiner, Refining, Request, StepCache, image_to_image, text_to_image,
};
use crate::atelier::host::images::{Encoding, Filter, Format, Image, Pixels};
use crate::atelier::host::models::AbsentModel;
use crate::atelier::host::types::{ModelInfo, Size};
use crate::atelier::host::{
    finish as finisher, intent as interpreter, models as catalog, select as selector, style as styler,
};

fn request(model: &str, prompt: &str, steps: u32) -> Request {
    Request {
        model: model.into(),
        prompt: prompt.into(),
        negative_prompt: None,
        size: None,
        steps: Some(steps),
        guidance: None,
        seed: Some(7),
        count: 1,
        schedule: None,
        clip_skip: None,
        guidance_rescale: None,
        emphasis: None,
        seed_profile: None,
        decoder: None,
        adapters: Vec::new(),
        framing: None,
        refine: None,
        step_cache: None,
        preview_every: Some(1),
    }
}

fn describe(error: &Error) -> String {
    format!("{error:?}")
}

/// `model prompt steps`, and the refiner where there is a fourth word.
async fn start(text: &str) -> Result<Job, Error> {
    let mut words = text.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (model, prompt, steps, refiner) = (word(), word(), word(), word());
    let mut request = request(&model, &prompt, steps.parse().unwrap_or(2));
    let by = Refining::By(Refiner { model: refiner.clone(), share: Some(0.5) });
    request.refine = (!refiner.is_empty()).then_some(by);
    text_to_image(request, Vec::new()).await
}

pub async fn models() -> String {
    let models = catalog::list().await;
    let line = |model: &ModelInfo| format!("{} {} {}", model.id, model.loaded, model.refiners.join("+"));
    models.iter().map(line).collect::<Vec<_>>().join(",")
}

pub async fn absent_models() -> String {
    let absent = catalog::absent().await;
    let line = |model: &AbsentModel| format!("{} of {}: {}", model.id, model.source, model.fix);
    absent.iter().map(line).collect::<Vec<_>>().join(",")
}

pub async fn generate(text: &str) -> String {
    let job = match start(text).await {
        Ok(job) => job,
        Err(error) => return describe(&error),
    };
    match job.outcome().await {
        Ok(outcome) => {
            let picture = &outcome.pictures[0];
            let size = picture.image.size();
            let parameters = picture.image.parameters().unwrap_or_default();
            format!(
                "{}x{} seed {} {} {parameters}",
                size.width,
                size.height,
                picture.seed,
                outcome.notes.join(";")
            )
        }
        Err(error) => describe(&error),
    }
}

pub async fn events(text: &str) -> String {
    let job = start(text).await.unwrap();
    let mut events = job.events();
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        seen.push(match event {
            Event::Queued(queued) => format!("queued {}", queued.position),
            Event::Started => "started".into(),
            Event::Step(step) => format!("step {}/{}", step.step, step.total),
            Event::Preview(preview) => {
                format!("preview {} {}", preview.step, preview.png.starts_with(b"\x89PNG"))
            }
        });
    }
    let again = job.events().next().await.is_none();
    let outcome = job.outcome().await.is_ok();
    let twice = job.outcome().await.is_err();
    format!("{}; again {again}; outcome {outcome}; twice {twice}", seen.join(", "))
}

/// Starts a job and drops it.
pub async fn leave(text: &str) -> String {
    let job = start(text).await.unwrap();
    let id = job.id();
    drop(job);
    id
}

pub async fn jobs() -> String {
    let mut kept = Vec::new();
    loop {
        match start("fake cat 1").await {
            Ok(job) => kept.push(job),
            Err(error) => return format!("{} {}", kept.len(), describe(&error)),
        }
    }
}

fn flat(width: u32, height: u32) -> Image {
    let rgba = [10, 20, 30, 255].repeat((width * height) as usize);
    Image::from_pixels(&Pixels { size: Size { width, height }, rgba }).unwrap()
}

/// From a picture of 32x16 to the size that is named, or to its own.
pub async fn from_picture(text: &str) -> String {
    let mut request = request("fake", "cat", 2);
    request.size =
        text.split_once('x').map(|(w, h)| Size { width: w.parse().unwrap(), height: h.parse().unwrap() });
    let job = match image_to_image(request, &flat(32, 16), Some(0.5), Vec::new()).await {
        Ok(job) => job,
        Err(error) => return describe(&error),
    };
    let outcome = job.outcome().await.unwrap();
    format!(
        "{}x{} {}",
        outcome.size.width,
        outcome.size.height,
        outcome.pictures[0].image.parameters().unwrap()
    )
}

/// Under a control picture of 32x16: `id scale`.
pub async fn steered(text: &str) -> String {
    let (id, scale) = text.split_once(' ').unwrap();
    let picture = &flat(32, 16);
    let control = Control { id: id.into(), picture, scale: scale.parse().ok(), start: None, end: Some(0.5) };
    match text_to_image(request("fake", "cat", 2), vec![control]).await {
        Ok(job) => job.outcome().await.unwrap().pictures[0].image.parameters().unwrap(),
        Err(error) => describe(&error),
    }
}

/// With a step cache: `interval branch`, or the threshold alone. Answers what the outcome says of it.
pub async fn cached(text: &str) -> String {
    let mut request = request("fake", "cat", 2);
    request.step_cache = Some(match text.split_once(' ') {
        Some((interval, branch)) => StepCache::Deep(DeepCache {
            interval: interval.parse().unwrap(),
            branch: branch.parse().unwrap(),
        }),
        None => StepCache::FirstBlock(text.parse().unwrap()),
    });
    match text_to_image(request, Vec::new()).await {
        Ok(job) => {
            let outcome = job.outcome().await.unwrap();
            format!("{:?} {}", outcome.step_cache, outcome.pictures[0].image.parameters().unwrap())
        }
        Err(error) => describe(&error),
    }
}

pub async fn intent(command: &str) -> String {
    match interpreter::interpret(command.into()).await {
        Ok(said) => format!("{:?} [{}] [{}]", said.action, said.target, said.prompt),
        Err(error) => format!("{error:?}"),
    }
}

/// Asks several times, and says how each went.
pub async fn intent_again(text: &str) -> String {
    let (count, command) = text.split_once(' ').unwrap();
    let mut answers = Vec::new();
    for _ in 0..count.parse().unwrap() {
        answers.push(intent(command).await);
    }
    answers.join("\n")
}

pub async fn style(text: &str) -> String {
    let prompt = styler::Prompt { text: text.into(), negative: None, model: None };
    match styler::style(prompt).await {
        Ok(prompt) => prompt.text,
        Err(error) => format!("{error:?}"),
    }
}

pub async fn select(wanted: &str) -> String {
    let wanted = (!wanted.is_empty()).then(|| wanted.to_owned());
    let hints = selector::Hints { prompt: "cat".into(), size: None, has_source: false, wanted };
    match selector::select(hints, catalog::list().await).await {
        Ok(choice) => format!("{}: {}", choice.model, choice.reason),
        Err(error) => format!("{error:?}"),
    }
}

/// Generates a picture and has it finished; says its first pixel before and after.
pub async fn finish(prompt: &str) -> String {
    let outcome = start("fake cat 1").await.unwrap().outcome().await.unwrap();
    let picture = outcome.pictures.into_iter().next().unwrap().image;
    let before = picture.pixels().rgba[..4].to_vec();
    let context = finisher::Context { prompt: prompt.into(), target: None };
    match finisher::finish(picture, context).await {
        Ok(picture) => {
            let after = picture.pixels().rgba[..4].to_vec();
            let inverted = (0..3).all(|i| before[i] == 255 - after[i]);
            format!(
                "same {} inverted {inverted} {}",
                before == after,
                picture.parameters().unwrap_or_default()
            )
        }
        Err(error) => format!("{error:?}"),
    }
}

pub async fn decode(bytes: Vec<u8>) -> String {
    match Image::decode(bytes).await {
        Ok(image) => format!("{}x{}", image.size().width, image.size().height),
        Err(error) => format!("{error:?}"),
    }
}

pub async fn pictures() -> String {
    let image = flat(64, 32);
    let shared = image.share();
    drop(image);
    let small = shared.thumbnail(16).await.unwrap();
    let large = shared.resize(Size { width: 100, height: 50 }, Filter::Lanczos3).await.unwrap();
    let plain = |format| Encoding { format, quality: None, parameters: false };
    let png = large.encode(plain(Format::Png)).await.unwrap();
    let jpeg = large.encode(plain(Format::Jpeg)).await.unwrap();
    let webp = large.encode(plain(Format::Webp)).await.unwrap();
    let wrong =
        large.encode(Encoding { format: Format::Png, quality: Some(90), parameters: false }).await.is_err();
    let huge = shared.resize(Size { width: 4_097, height: 1 }, Filter::Nearest).await.is_err();
    format!(
        "small {}x{} large {}x{} png {} jpeg {} webp {} wrong {wrong} huge {huge}",
        small.size().width,
        small.size().height,
        large.size().width,
        large.size().height,
        png.starts_with(b"\x89PNG"),
        jpeg.starts_with(b"\xff\xd8"),
        webp.starts_with(b"RIFF"),
    )
}

/// Keeps one more picture, for as long as the instance lives.
pub fn keep_picture() -> String {
    let rgba = [0, 0, 0, 255].repeat(512 * 512);
    match Image::from_pixels(&Pixels { size: Size { width: 512, height: 512 }, rgba }) {
        Ok(image) => {
            std::mem::forget(image);
            "kept".into()
        }
        Err(error) => format!("{error:?}"),
    }
}

/// Begins a job and never lets go of it.
pub async fn keep_job() -> String {
    std::mem::forget(start("fake cat 2").await.unwrap());
    "kept".into()
}

/// Keeps pictures until the host gives no more.
pub fn hoard() -> String {
    let mut kept = Vec::new();
    let rgba = [0, 0, 0, 255].repeat(512 * 512);
    loop {
        match Image::from_pixels(&Pixels { size: Size { width: 512, height: 512 }, rgba: rgba.clone() }) {
            Ok(image) => kept.push(image),
            Err(error) => return format!("{} {error:?}", kept.len()),
        }
    }
}
