//! `atelier listen make-it-night.wav --picture now.png`: spoken or written commands, one after another, make, change and take
//! back pictures. A route's handler in this very process is asked, over its own interface, as a client would ask it.

mod ask;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use atelier_runtime::Deployment;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use self::ask::{Form, ask};
use super::generate::numbered;
use super::local::{handler, read};
use super::{Common, Usage};
use crate::config::{CodeSource, Config, Route};
use crate::terminal::{Style, Terminal};

/// The component that takes commands.
const COMPONENT: &str = "voice";

#[derive(Debug, clap::Args)]
pub(super) struct Listen {
    /// Recordings of commands, one after another: wav, flac, mp3, mp4, ogg or webm.
    #[arg(value_name = "RECORDING", required_unless_present = "commands", conflicts_with = "commands")]
    recordings: Vec<PathBuf>,
    /// A command in writing, in place of recordings; may be given several times.
    #[arg(long = "command", value_name = "TEXT")]
    commands: Vec<String>,
    /// The present picture; given several times, all so far, the oldest first.
    #[arg(long = "picture", value_name = "FILE")]
    pictures: Vec<PathBuf>,
    /// Where to write; with more than one command, `-1`, `-2` and so on are added to the name.
    #[arg(short, long, visible_alias = "out", value_name = "FILE", default_value = "atelier.png")]
    output: PathBuf,
    /// What language is spoken, such as Finnish or fi; recognised when left out.
    #[arg(long, conflicts_with = "commands")]
    language: Option<String>,
    /// The pictures' seed; chosen when left out.
    #[arg(long)]
    seed: Option<u64>,
    /// Denoising steps.
    #[arg(long)]
    steps: Option<u32>,
    /// Let the route's style plugins add to what a new picture is to show.
    #[arg(long)]
    enhance: bool,
    /// The route of the manifest that is asked; its first one with `builtin:voice` when left out.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// A command, by what it is called where it fails.
enum Command<'a> {
    Spoken(&'a Path),
    Written(&'a str),
}

pub(super) async fn run(arguments: &Listen) -> anyhow::Result<()> {
    let config = arguments.common.load()?;
    let route = route(arguments, &config)?;
    let spoken = arguments.recordings.iter().map(|path| Command::Spoken(path));
    let written = arguments.commands.iter().map(|text| Command::Written(text));
    let commands: Vec<Command<'_>> = spoken.chain(written).collect();
    let pictures: Result<Vec<_>, _> = arguments.pictures.iter().map(|path| read(path)).collect();
    let (pictures, terminal) = (pictures?, arguments.common.terminal());
    let handler = handler(&config, route).await?;
    let pictures = pictures.into_iter().map(Vec::from).collect();
    let mut talk = Talk { arguments, terminal, handler, pictures };
    for (number, command) in (1..).zip(&commands) {
        let output = match commands.len() {
            1 => arguments.output.clone(),
            _ => numbered(&arguments.output, number),
        };
        let said = match command {
            Command::Spoken(path) => path.display().to_string(),
            Command::Written(text) => format!("`{text}`"),
        };
        if commands.len() > 1 && !terminal.json {
            terminal.line(terminal.paint(Style::Strong, &said));
        }
        talk.follow(command, &output).await.context(said)?;
    }
    Ok(())
}

/// The manifest's route that takes commands.
fn route<'a>(arguments: &Listen, config: &'a Config) -> Result<&'a Route, Usage> {
    let is_meant = |route: &&Route| match &arguments.route {
        Some(name) => route.name == *name,
        None => matches!(&route.component, CodeSource::Builtin(name) if name == COMPONENT),
    };
    config.routes.iter().find(is_meant).ok_or_else(|| {
        let manifest = &config.manifest;
        Usage(match &arguments.route {
            Some(name) => format!("{manifest} names no route `{name}`"),
            None => format!("{manifest} has no route with `component = \"builtin:{COMPONENT}\"`; add one"),
        })
    })
}

/// A conversation under way.
struct Talk<'a> {
    arguments: &'a Listen,
    terminal: Terminal,
    handler: Arc<Deployment>,
    /// So far, the oldest first.
    pictures: Vec<Vec<u8>>,
}

impl Talk<'_> {
    /// Does what a command asks for, tells it, and keeps the pictures for the next one.
    async fn follow(&mut self, command: &Command<'_>, output: &Path) -> anyhow::Result<()> {
        let bar = self.terminal.bar(0, "{msg} {bar:32.cyan} {pos}/{len}  {elapsed} elapsed");
        bar.set_message("loading");
        bar.tick();
        let answer = ask(&self.handler, self.form(command)?, |name, data| self.show(&bar, name, data)).await;
        bar.finish_and_clear();
        let mut answer = answer?;
        let left = answer["pictures_left"].as_u64().map_or(usize::MAX, |left| left as usize);
        self.pictures.truncate(left);
        let written = match answer["picture"].take() {
            Value::String(text) => {
                let png = STANDARD.decode(text).context("the picture is not base64")?;
                std::fs::write(output, &png).with_context(|| output.display().to_string())?;
                // what was taken back to is among them already
                if answer["intent"]["action"] != "undo" {
                    self.pictures.push(png);
                }
                Some(output)
            }
            _ => None,
        };
        self.report(command, answer, written);
        Ok(())
    }

    fn form(&self, command: &Command<'_>) -> anyhow::Result<Form> {
        let Listen { language, seed, steps, enhance, .. } = self.arguments;
        let mut form = Form::default();
        match command {
            Command::Spoken(path) => form.file("audio", read(path)?.into()),
            Command::Written(text) => form.text("command", *text),
        }
        self.pictures.iter().for_each(|picture| form.file("picture", picture.clone()));
        language.iter().for_each(|language| form.text("language", language));
        seed.iter().for_each(|seed| form.text("seed", seed.to_string()));
        steps.iter().for_each(|steps| form.text("steps", steps.to_string()));
        form.text("enhance", enhance.to_string());
        Ok(form)
    }

    /// Shows how far it is, and what was heard and understood as soon as that is known.
    fn show(&self, bar: &ProgressBar, event: &str, data: &Value) {
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        let tell = |label: &str, text: String| {
            if !self.terminal.json {
                bar.suspend(|| self.terminal.field(label, text));
            }
        };
        match event {
            "heard" => tell("heard", text("transcript")),
            "intent" => tell("understood", understood(data)),
            "progress" => {
                let number = |key: &str| data[key].as_f64().map(|value| value.ceil() as u64);
                bar.set_message(if text("stage") == "speech" { "listening" } else { "drawing" });
                number("total").into_iter().for_each(|total| bar.set_length(total));
                number("done").into_iter().for_each(|done| bar.set_position(done));
                bar.tick();
            }
            _ => {}
        }
    }

    fn report(&self, command: &Command<'_>, mut answer: Value, written: Option<&Path>) {
        if self.terminal.json {
            answer["file"] = json!(written.map(|path| path.display().to_string()));
            if let (Command::Spoken(path), Some(answer)) = (command, answer.as_object_mut()) {
                answer.insert("recording".into(), path.display().to_string().into());
            }
            // null by now: it is in the file
            answer.as_object_mut().map(|answer| answer.remove("picture"));
            self.terminal.line(answer);
            return;
        }
        let picture = match written {
            Some(path) => self.terminal.paint(Style::Strong, path.display()),
            None => "none".into(),
        };
        let model = answer["model"].as_str().map(|model| format!("  {model}"));
        let seed = answer["seed"].as_u64().map(|seed| format!("  seed {seed}"));
        let took: u64 = ["speech_ms", "intent_ms", "picture_ms"]
            .iter()
            .filter_map(|part| answer["timings"][*part].as_u64())
            .sum();
        let (model, seed) = (model.unwrap_or_default(), seed.unwrap_or_default());
        let seconds = took as f64 / 1_000.0;
        self.terminal.field("picture", format_args!("{picture}{model}{seed}  {seconds:.1} s"));
        for note in answer["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.terminal.field("", self.terminal.paint(Style::Faint, note));
        }
    }
}

/// What is asked for, in a few words.
fn understood(intent: &Value) -> String {
    let text = |key: &str| intent[key].as_str().unwrap_or_default();
    match (text("action"), text("prompt")) {
        ("none", _) => "nothing that has to do with pictures".into(),
        (action, "") => action.into(),
        (action, prompt) => format!("{action}: {prompt}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_understood_is_told_in_a_few_words() {
        let of = |action: &str, prompt: &str| understood(&json!({"action": action, "prompt": prompt}));
        assert_eq!(of("edit", "make it night"), "edit: make it night");
        assert_eq!(
            (of("undo", ""), of("none", "")),
            ("undo".into(), "nothing that has to do with pictures".into())
        );
    }
}
