//! `atelier transcribe talk.mp3 --format srt`: what is said in a recording, straight on scheduler and engine, with the same
//! checks as a request. The recording is untrusted here too, and is decoded in the sandbox.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use atelier_inference::speech::{SpeechTask, Timestamps, TranscriptFormat};
use atelier_inference::{
    Event, Job, Order, Outcome, Product, Scheduler, SpeechOptions, SpeechOrder, Ticket, Transcript,
};
use serde_json::{Value, json};

use super::local::{first_model, named_model, none_here, read, scheduler_of};
use super::{Common, Usage};
use crate::app;
use crate::config::{Config, Variables};
use crate::terminal::{Style, Terminal};

#[derive(Debug, clap::Args)]
pub(super) struct Transcribe {
    /// A recording: wav, flac, mp3, mp4, ogg or webm.
    file: PathBuf,
    /// Where to write; standard output when left out.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A model of the manifest that writes down speech; the first one when left out.
    #[arg(long)]
    model: Option<String>,
    /// A name or a code, such as Finnish or fi; recognised when left out.
    #[arg(long)]
    language: Option<String>,
    /// Write it down in English.
    #[arg(long)]
    translate: bool,
    /// text, json, verbose_json, srt or vtt; from the output's name when left out, else text.
    #[arg(long)]
    format: Option<TranscriptFormat>,
    /// Tell when each word was said; segments then begin and end with words.
    #[arg(long)]
    words: bool,
    /// Text that might come before: names, spelling, style.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// 0 takes the likeliest text, up to 2 draws; several are tried one after another until a text is good enough.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    temperature: Vec<f64>,
    /// Texts that are followed side by side.
    #[arg(long, value_name = "COUNT")]
    beam_size: Option<usize>,
    /// The same seed draws the same text.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Listen to all of it, not only to what sounds like a voice.
    #[arg(long)]
    everything: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(arguments: &Transcribe) -> anyhow::Result<()> {
    let terminal = arguments.common.terminal();
    let config = arguments.common.load()?;
    let format = format(arguments)?;
    let model = match &arguments.model {
        Some(asked) => named_model(asked, &config)?,
        None => {
            let first = first_model(&config, |info| info.speech().is_ok(), false).await?;
            first.ok_or_else(|| none_here(&config, "text from speech"))?
        }
    };
    let scheduler = scheduler_of(&config, [model].into_iter()).await?;
    let model = scheduler.catalog().get(&model.id)?.clone();
    let samples = samples(arguments, &config, &scheduler).await?;
    let order = Arc::new(SpeechOrder::new(samples, options(arguments), &model)?);
    let ticket = scheduler.submit(Job::new(Order::Speech(order.clone())))?;
    let is_told = format == TranscriptFormat::Text && arguments.output.is_none() && !terminal.json;
    let outcome = follow(&terminal, is_told, &order, ticket).await?;
    report(arguments, &terminal, &order, format, &outcome)
}

fn format(arguments: &Transcribe) -> Result<TranscriptFormat, Usage> {
    if let Some(format) = arguments.format {
        return Ok(format);
    }
    let Some(output) = &arguments.output else { return Ok(TranscriptFormat::Text) };
    let extension = output.extension().unwrap_or_default().to_string_lossy();
    extension.parse().map_err(|_| {
        Usage(format!(
            "{} names no format; end it in .txt, .json, .srt or .vtt, or add --format",
            output.display()
        ))
    })
}

fn options(arguments: &Transcribe) -> SpeechOptions {
    let usual = SpeechOptions::default();
    SpeechOptions {
        language: arguments.language.clone(),
        task: if arguments.translate { SpeechTask::Translate } else { SpeechTask::Transcribe },
        timestamps: if arguments.words { Timestamps::Words } else { Timestamps::Segments },
        initial_prompt: arguments.prompt.clone(),
        temperatures: match arguments.temperature.is_empty() {
            true => usual.temperatures,
            false => arguments.temperature.clone(),
        },
        beam_size: arguments.beam_size,
        seed: arguments.seed,
        voice_only: !arguments.everything,
        ..usual
    }
}

async fn samples(
    arguments: &Transcribe,
    config: &Config,
    scheduler: &Scheduler,
) -> anyhow::Result<Arc<[f32]>> {
    let runtime = app::runtime(config, &Variables::of_process(), scheduler.clone())?;
    let recording = runtime.decode_audio(read(&arguments.file)?, u32::MAX).await;
    Ok(recording.with_context(|| arguments.file.display().to_string())?.samples)
}

/// Waits for the job, shows how far it is, and tells each segment as it comes where that is all that is wanted. Interrupting the process cancels it with
/// everything else.
async fn follow(
    terminal: &Terminal,
    is_told: bool,
    order: &SpeechOrder,
    mut ticket: Ticket,
) -> anyhow::Result<Outcome> {
    let bar = terminal
        .bar(order.seconds().ceil() as u64, "{msg} {bar:32.cyan} {pos} of {len} s  {elapsed} elapsed");
    bar.set_message(format!("loading {}", order.model.card.id));
    while let Some(event) = ticket.events.next().await {
        if let Event::Heard(delta) = &event {
            bar.set_message("listening");
            bar.set_position(delta.heard_seconds as u64);
            for segment in delta.segments.iter().filter(|_| is_told) {
                bar.suspend(|| terminal.line(segment.text.trim()));
            }
        }
        bar.tick();
    }
    bar.finish_and_clear();
    Ok(ticket.finish().await?)
}

/// Everything that was not told on the way.
fn report(
    arguments: &Transcribe,
    terminal: &Terminal,
    order: &SpeechOrder,
    format: TranscriptFormat,
    outcome: &Outcome,
) -> anyhow::Result<()> {
    let Product::Transcript(transcript) = &outcome.product else {
        anyhow::bail!("the job made something else than a transcript");
    };
    let task = order.options.task;
    if terminal.json {
        terminal.json(&answer(order, transcript, outcome));
        return Ok(());
    }
    let written = transcript.written(format, task, order.seconds());
    match &arguments.output {
        Some(path) => {
            std::fs::write(path, written).with_context(|| path.display().to_string())?;
            let path = terminal.paint(Style::Strong, path.display());
            let (count, seconds) = (transcript.segments.len(), outcome.timings.run.as_secs_f64());
            terminal
                .line(format_args!("{path}  {count} segments of {:.0} s in {seconds:.1} s", order.seconds()));
        }
        // told already
        None if format == TranscriptFormat::Text => {}
        None => terminal.line(written.trim_end()),
    }
    Ok(())
}

fn answer(order: &SpeechOrder, transcript: &Transcript, outcome: &Outcome) -> Value {
    let timings = outcome.timings;
    let mut value = json!(transcript);
    value["model"] = json!(order.model.card.id);
    value["seconds"] = order.seconds().into();
    value["notes"] = json!(outcome.notes);
    value["load_ms"] = (timings.load.as_millis() as u64).into();
    value["run_ms"] = (timings.run.as_millis() as u64).into();
    value
}
