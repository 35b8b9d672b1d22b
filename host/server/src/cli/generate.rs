//! `atelier generate "a red boat"`: pictures into files, straight on scheduler and engine, with the same checks, seeds
//! and parameters as a request. A picture to start from is untrusted here too, and is decoded in the sandbox.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use atelier_inference::picture::{self, Encoding, Filter, Format};
use atelier_inference::{
    Adapted, Control, Decoder, Emphasis, Event, ImageModel, ImageOrder, ImageRequest, Job, ModelId, Order,
    Outcome, Pixels, Refine, Scheduler, SeedProfile, Size, Source, StepCache, Ticket,
};
use atelier_runtime::Runtime;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::local::{first_model, named_model, none_here, read, scheduler_of};
use super::{Common, Usage};
use crate::app;
use crate::config::{Config, Model, Variables};
use crate::terminal::{Style, Terminal};

#[derive(Debug, clap::Args)]
pub(super) struct Generate {
    /// What to show.
    prompt: String,
    /// Where to write; with more than one picture, `-1`, `-2` and so on are added to the name.
    #[arg(short, long, value_name = "FILE", default_value = "atelier.png")]
    output: PathBuf,
    /// A model of the manifest; the first one when left out.
    #[arg(long)]
    model: Option<String>,
    /// What not to show.
    #[arg(long, value_name = "PROMPT")]
    negative: Option<String>,
    /// Width and height, such as 512x512.
    #[arg(long, value_parser = size)]
    size: Option<Size>,
    /// Denoising steps.
    #[arg(long)]
    steps: Option<u32>,
    /// Guidance scale.
    #[arg(long)]
    guidance: Option<f64>,
    /// The first picture's seed; the next ones count up.
    #[arg(long)]
    seed: Option<u64>,
    /// How many pictures.
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u32>,
    /// The diffusion schedule, such as ddim.
    #[arg(long)]
    schedule: Option<String>,
    /// Text encoder layers to skip.
    #[arg(long, value_name = "LAYERS")]
    clip_skip: Option<u32>,
    /// How far guidance is brought back to the prompt's own deviation, 0 to 1.
    #[arg(long, value_name = "SHARE")]
    guidance_rescale: Option<f64>,
    /// What brackets such as `(more:1.3)` in the prompts do: none, a1111, a1111-no-norm or comfy.
    #[arg(long, value_parser = named::<Emphasis>, default_value = "none", hide_default_value = true)]
    emphasis: Emphasis,
    /// Whose noise the seed stands for: torch-cpu, a1111 or comfy.
    #[arg(long, value_name = "PROFILE", value_parser = named::<SeedProfile>, default_value = "torch-cpu")]
    seed_profile: SeedProfile,
    /// What turns latents into the picture: full, or tiny where the model has a small autoencoder beside its own.
    #[arg(long, value_parser = named::<Decoder>, default_value = "full")]
    decoder: Decoder,
    /// An adapter of the model, such as `ink` or `ink=0.8`; may be given several times.
    #[arg(long = "adapter", value_name = "ID[=WEIGHT]", value_parser = adapted)]
    adapters: Vec<Adapted>,
    /// A picture for one of the model's ControlNets, such as `edges=edges.png` or `edges=edges.png@0.8`; scaled like
    /// --image, may be given several times.
    #[arg(long = "control", value_name = "ID=FILE[@SCALE]", value_parser = control)]
    controls: Vec<Steering>,
    /// A model that ends what the other begins, such as `xl-refiner` or `xl-refiner=0.8` for the share of the schedule
    /// after which it takes over; what the manifest says when left out.
    #[arg(long, value_name = "MODEL[=SHARE]", value_parser = refine)]
    refiner: Option<Refine>,
    /// Leave the model's default refiner out.
    #[arg(long, conflicts_with = "refiner")]
    no_refiner: bool,
    /// What passes through the denoiser take over from earlier ones: `deep:3` or `deep:3:1` (interval and branch) for
    /// models that a UNet draws, `first-block:0.1` for FLUX. Faster, and not quite the same picture.
    #[arg(long, value_name = "CACHE", value_parser = StepCache::from_str)]
    step_cache: Option<StepCache>,
    /// A picture to start from, or with a model that edits, to change as the prompt says; scaled to --size, or else to
    /// the model's own size.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// A picture whose white or transparent part says what of --image is painted anew.
    #[arg(long, value_name = "FILE", requires = "image", conflicts_with = "image_guidance")]
    mask: Option<PathBuf>,
    /// How closely an edit keeps to the picture.
    #[arg(long, value_name = "SCALE", requires = "image", conflicts_with = "strength")]
    image_guidance: Option<f64>,
    /// How much of the schedule is run on it, over 0 to 1.
    #[arg(long, requires = "image")]
    strength: Option<f64>,
    /// png, jpeg or webp; told by the output's name when left out.
    #[arg(long, value_parser = format)]
    format: Option<Format>,
    /// JPEG quality, 1 to 100.
    #[arg(long)]
    quality: Option<u8>,
    #[command(flatten)]
    common: Common,
}

/// A control picture's file, and what it is for.
#[derive(Debug, Clone, PartialEq)]
struct Steering {
    id: String,
    file: PathBuf,
    scale: f64,
}

pub(super) async fn run(arguments: &Generate) -> anyhow::Result<()> {
    let terminal = arguments.common.terminal();
    let config = arguments.common.load()?;
    let encoding = encoding(arguments)?;
    let model = match &arguments.model {
        Some(asked) => named_model(asked, &config)?,
        None => {
            let first = first_model(&config, |info| info.image().is_ok(), false).await?;
            first.ok_or_else(|| none_here(&config, "pictures"))?
        }
    };
    let refiner = refiner(arguments, model, &config)?;
    let scheduler = scheduler_of(&config, [Some(model), refiner].into_iter().flatten()).await?;
    let model = scheduler.catalog().get(&model.id)?.image()?.clone();
    let source = source(arguments, &config, &scheduler, &model).await?;
    let controls = controls(arguments, &config, &scheduler, &model).await?;
    let order = ImageOrder::with(ImageRequest { controls, ..request(arguments, source) }, &model)?;
    let order = Arc::new(order);
    let ticket = scheduler.submit(Job::new(Order::Image(order.clone())))?;
    let outcome = follow(&terminal, &order, ticket).await?;
    let files = write(&arguments.output, &outcome, encoding)?;
    report(&terminal, &order, &outcome, &files);
    Ok(())
}

fn size(text: &str) -> Result<Size, String> {
    let parse = || {
        let (width, height) = text.split_once(['x', 'X'])?;
        Some(Size { width: u32::from_str(width).ok()?, height: u32::from_str(height).ok()? })
    };
    parse().ok_or_else(|| "wants width and height such as 512x512".into())
}

/// A value by the name that it has in the parameters of a picture; serde's error names those that there are.
fn named<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

fn adapted(text: &str) -> Result<Adapted, String> {
    let (id, weight) = text.split_once('=').unwrap_or((text, "1"));
    let weight = f64::from_str(weight).map_err(|_| format!("`{weight}` is no weight; write {id}=0.8"))?;
    Ok(Adapted { id: id.into(), weight })
}

fn control(text: &str) -> Result<Steering, String> {
    let wanted = || format!("`{text}` names no picture; write edges=edges.png@0.8");
    let (id, rest) = text.split_once('=').ok_or_else(wanted)?;
    // what follows the last @ is a scale only where it is a number: file names have it as well
    let scaled = rest.rsplit_once('@').and_then(|(file, scale)| Some((file, f64::from_str(scale).ok()?)));
    let (file, scale) = scaled.unwrap_or((rest, 1.0));
    Ok(Steering { id: id.into(), file: file.into(), scale })
}

fn refine(text: &str) -> Result<Refine, String> {
    let (model, share) = match text.split_once('=') {
        Some((model, share)) => (model, Some(share)),
        None => (text, None),
    };
    let number =
        |share| f64::from_str(share).map_err(|_| format!("`{share}` is no share; write {model}=0.8"));
    Ok(Refine::By { model: ModelId::new(model), share: share.map(number).transpose()? })
}

fn format(text: &str) -> Result<Format, String> {
    match text.to_ascii_lowercase().as_str() {
        "png" => Ok(Format::Png),
        "jpeg" | "jpg" => Ok(Format::Jpeg),
        "webp" => Ok(Format::Webp),
        _ => Err("wants png, jpeg or webp".into()),
    }
}

fn encoding(arguments: &Generate) -> Result<Encoding, Usage> {
    let shown = arguments.output.display();
    let named = arguments.output.extension().map(|extension| format(&extension.to_string_lossy()));
    let format = match (arguments.format, named) {
        (Some(format), _) | (None, Some(Ok(format))) => format,
        (None, _) => {
            return Err(Usage(format!(
                "{shown} names no format; end it in .png, .jpg or .webp, or add --format"
            )));
        }
    };
    if arguments.quality.is_some() && format != Format::Jpeg {
        return Err(Usage("--quality is for jpeg; leave it out".into()));
    }
    Ok(Encoding { format, quality: arguments.quality, parameters: format == Format::Png })
}

/// The model that may end the pictures.
fn refiner<'a>(arguments: &Generate, model: &Model, config: &'a Config) -> Result<Option<&'a Model>, Usage> {
    let asked = match &arguments.refiner {
        Some(Refine::By { model, .. }) => Some(model),
        _ if arguments.no_refiner => None,
        _ => model.refiner.as_ref(),
    };
    let other = asked.filter(|asked| **asked != model.id);
    other.map(|asked| named_model(asked.as_str(), config)).transpose()
}

/// The picture to start from, decoded in the sandbox and scaled.
async fn source(
    arguments: &Generate,
    config: &Config,
    scheduler: &Scheduler,
    model: &ImageModel,
) -> anyhow::Result<Option<Source>> {
    let Some(path) = &arguments.image else { return Ok(None) };
    let runtime = app::runtime(config, &Variables::of_process(), scheduler.clone())?;
    let size = arguments.size.unwrap_or(model.native_size);
    let pixels = pixels(&runtime, path, size).await?;
    let strength = arguments.strength;
    if let Some(mask) = &arguments.mask {
        let mask = Some(self::pixels(&runtime, mask, size).await?);
        return Ok(Some(Source::Inpaint { pixels, mask, strength }));
    }
    let edits = arguments.image_guidance.is_some() || !model.features.image_to_image;
    Ok(Some(match edits && arguments.strength.is_none() {
        true => Source::Edit { pixels, guidance: arguments.image_guidance },
        false => Source::Start { pixels, strength },
    }))
}

/// The control pictures, likewise.
async fn controls(
    arguments: &Generate,
    config: &Config,
    scheduler: &Scheduler,
    model: &ImageModel,
) -> anyhow::Result<Vec<Control>> {
    if arguments.controls.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = app::runtime(config, &Variables::of_process(), scheduler.clone())?;
    let size = arguments.size.unwrap_or(model.native_size);
    let mut controls = Vec::with_capacity(arguments.controls.len());
    for Steering { id, file, scale } in &arguments.controls {
        let picture = pixels(&runtime, file, size).await?;
        controls.push(Control { scale: *scale, ..Control::new(id, picture) });
    }
    Ok(controls)
}

async fn pixels(runtime: &Runtime, path: &Path, size: Size) -> anyhow::Result<Pixels> {
    let shown = path.display();
    let decoded = runtime.decode_image(read(path)?).await;
    let decoded = decoded.map_err(|text| anyhow::anyhow!("{shown}: {text}"))?;
    Ok(picture::resized(&decoded, size, Filter::Lanczos3)?)
}

fn request(arguments: &Generate, source: Option<Source>) -> ImageRequest {
    ImageRequest {
        prompt: arguments.prompt.clone(),
        negative_prompt: arguments.negative.clone(),
        size: arguments.size,
        steps: arguments.steps,
        guidance: arguments.guidance,
        seed: arguments.seed,
        count: arguments.count,
        schedule: arguments.schedule.clone(),
        clip_skip: arguments.clip_skip,
        guidance_rescale: arguments.guidance_rescale,
        emphasis: arguments.emphasis,
        seed_profile: arguments.seed_profile,
        decoder: arguments.decoder,
        adapters: arguments.adapters.clone(),
        controls: Vec::new(),
        framing: None,
        refine: match &arguments.refiner {
            _ if arguments.no_refiner => Refine::Never,
            asked => asked.clone().unwrap_or_default(),
        },
        step_cache: arguments.step_cache,
        preview_every: None,
        source,
    }
}

/// Waits for the job and shows how far it is. Interrupting the process cancels it with everything else.
async fn follow(terminal: &Terminal, order: &ImageOrder, mut ticket: Ticket) -> anyhow::Result<Outcome> {
    let bar = terminal
        .bar(order.steps.into(), "{msg} {bar:32.cyan} step {pos}/{len}  {elapsed} elapsed, {eta} left");
    bar.set_message(format!("loading {}", order.model.card.id));
    while let Some(event) = ticket.events.next().await {
        show(&bar, &event);
    }
    bar.finish_and_clear();
    Ok(ticket.finish().await?)
}

fn show(bar: &ProgressBar, event: &Event) {
    match event {
        Event::Step { step, total, .. } => {
            bar.set_message("drawing");
            bar.set_length((*total).into());
            bar.set_position((*step).into());
        }
        Event::Queued { .. } | Event::Started | Event::Preview(_) | Event::Heard(_) | Event::Said { .. } => {
            bar.tick()
        }
    }
}

fn write(output: &Path, outcome: &Outcome, encoding: Encoding) -> anyhow::Result<Vec<PathBuf>> {
    let pictures = outcome.pictures();
    let mut files = Vec::with_capacity(pictures.len());
    for (index, picture) in pictures.iter().enumerate() {
        let path = match pictures.len() {
            1 => output.to_path_buf(),
            _ => numbered(output, index + 1),
        };
        let bytes = picture::encode(picture, encoding)?;
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        files.push(path);
    }
    Ok(files)
}

/// `out.png` and 2 make `out-2.png`.
pub(super) fn numbered(output: &Path, number: usize) -> PathBuf {
    let stem = output.file_stem().unwrap_or_default().to_string_lossy();
    let extension = output.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    output.with_file_name(format!("{stem}-{number}{}", extension.unwrap_or_default()))
}

fn report(terminal: &Terminal, order: &ImageOrder, outcome: &Outcome, files: &[PathBuf]) {
    let timings = outcome.timings;
    if terminal.json {
        let file =
            |(path, seed): (&PathBuf, &u64)| json!({ "file": path.display().to_string(), "seed": seed });
        let files: Vec<Value> = files.iter().zip(&order.seeds).map(file).collect();
        terminal.json(&json!({
            "files": files,
            "model": order.model.card.id,
            "size": order.size.to_string(),
            "steps": order.steps,
            "guidance": order.guidance,
            "schedule": order.schedule,
            "step_cache": order.step_cache,
            "refiner": order.refiner.as_ref().map(|refiner| &refiner.model.card.id),
            "notes": outcome.notes,
            "load_ms": timings.load.as_millis() as u64,
            "run_ms": timings.run.as_millis() as u64,
        }));
        return;
    }
    for (path, seed) in files.iter().zip(&order.seeds) {
        let path = terminal.paint(Style::Strong, path.display());
        let seconds = timings.run.as_secs_f64();
        terminal.line(format_args!(
            "{path}  {}  seed {seed}  {} steps in {seconds:.1} s",
            order.size, order.steps
        ));
    }
    for note in &outcome.notes {
        terminal.line(terminal.paint(Style::Faint, note));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_two_numbers_and_nothing_else() {
        assert_eq!(size("512x768"), Ok(Size { width: 512, height: 768 }));
        assert!(["512", "x", "512x", "ax512", "512x512x512"].into_iter().all(|text| size(text).is_err()));
    }

    #[test]
    fn a_control_is_an_id_a_file_and_perhaps_a_scale() {
        let parsed = |text| control(text).map(|control| (control.id, control.file, control.scale));
        let expected = |file: &str, scale| Ok(("edges".into(), file.into(), scale));
        assert_eq!(parsed("edges=a.png"), expected("a.png", 1.0));
        assert_eq!(parsed("edges=a@b.png"), expected("a@b.png", 1.0));
        assert_eq!(parsed("edges=a@b.png@0.5"), expected("a@b.png", 0.5));
        assert!(parsed("edges").is_err());
    }

    #[test]
    fn more_than_one_picture_is_numbered_before_the_extension() {
        assert_eq!(numbered(Path::new("a/out.png"), 2), Path::new("a/out-2.png"));
        assert_eq!(numbered(Path::new("out"), 1), Path::new("out-1"));
    }
}
