//! `atelier chat "what is a kiln?"`: a language model's reply, straight on scheduler and engine, with the same checks as a
//! request. Without a question each line of standard input is one, until its end, and the conversation goes on.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use atelier_inference::chat::Role;
use atelier_inference::{ChatRequest, Event, Outcome, Product, Reply, Ticket, Turn};
use serde_json::{Value, json};

use super::Common;
use super::local::{first_model, named_model, none_here};
use super::talker::Talker;
use crate::terminal::{Style, Terminal};

#[derive(Debug, clap::Args)]
pub(super) struct Chat {
    /// What to ask; the lines of standard input, one after another, when left out.
    question: Option<String>,
    /// A language model of the manifest; the first one when left out.
    #[arg(long)]
    model: Option<String>,
    /// How the model is to be, said before anything else.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// A JSON schema that each reply is to fit.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// 0 takes the likeliest text, up to 2 draws ever more freely; 0.7 when left out.
    #[arg(long, value_name = "NUMBER")]
    temperature: Option<f64>,
    /// Most tokens of a reply; 512 when left out.
    #[arg(long, value_name = "COUNT")]
    max_tokens: Option<u32>,
    /// The same seed draws the same reply; chosen, and told with --json, when left out.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(arguments: &Chat) -> anyhow::Result<()> {
    let config = arguments.common.load()?;
    let schema = match &arguments.schema {
        Some(path) => Some(std::fs::read_to_string(path).with_context(|| path.display().to_string())?),
        None => None,
    };
    let model = match &arguments.model {
        Some(asked) => named_model(asked, &config)?,
        None => {
            let first = first_model(&config, |info| info.language().is_ok(), true).await?;
            first.ok_or_else(|| none_here(&config, "replies"))?
        }
    };
    let talker = Talker::of(&config, model).await?;
    let system = arguments.system.iter().map(|text| Turn { role: Role::System, text: text.clone() });
    let (turns, terminal) = (system.collect(), arguments.common.terminal());
    let mut talk = Talk { arguments, terminal, talker, schema, turns };
    match &arguments.question {
        Some(question) => talk.reply(question.clone()).await,
        None => talk.go_on().await,
    }
}

/// A conversation under way.
struct Talk<'a> {
    arguments: &'a Chat,
    terminal: Terminal,
    talker: Talker,
    schema: Option<String>,
    turns: Vec<Turn>,
}

impl Talk<'_> {
    /// Replies to each line that comes.
    async fn go_on(&mut self) -> anyhow::Result<()> {
        let is_asked = std::io::stdin().is_terminal() && !self.terminal.json;
        loop {
            if is_asked {
                self.terminal.piece(self.terminal.paint(Style::Strong, "> "));
            }
            match tokio::task::spawn_blocking(line).await?? {
                None => return Ok(()),
                Some(question) if question.is_empty() => {}
                Some(question) => self.reply(question).await?,
            }
        }
    }

    /// Asks, tells the reply as it comes, and keeps both for the next question.
    async fn reply(&mut self, question: String) -> anyhow::Result<()> {
        self.turns.push(Turn { role: Role::User, text: question });
        let outcome = self.follow(self.talker.begin(self.request())?).await?;
        let Product::Reply(reply) = &outcome.product else {
            anyhow::bail!("the job made something else than a reply");
        };
        if self.terminal.json {
            self.terminal.line(self.answer(reply, &outcome));
        }
        self.turns.push(Turn { role: Role::Assistant, text: reply.text.clone() });
        Ok(())
    }

    fn request(&self) -> ChatRequest {
        let Chat { temperature, max_tokens, seed, .. } = *self.arguments;
        ChatRequest {
            turns: self.turns.clone(),
            temperature,
            max_tokens,
            seed,
            schema: self.schema.clone(),
            ..ChatRequest::default()
        }
    }

    /// Waits for the job and tells what is said on the way. Interrupting the process cancels it with everything else.
    async fn follow(&self, mut ticket: Ticket) -> anyhow::Result<Outcome> {
        let bar = self.terminal.bar(0, "{msg}");
        bar.set_message(self.talker.waiting());
        bar.tick();
        while let Some(event) = ticket.events.next().await {
            if let Event::Said { text } = event {
                bar.finish_and_clear();
                if !self.terminal.json {
                    self.terminal.piece(text);
                }
            }
        }
        bar.finish_and_clear();
        if !self.terminal.json {
            self.terminal.line("");
        }
        let outcome = ticket.finish().await?;
        if !self.terminal.json && outcome.model != *self.talker.id() {
            for note in &outcome.notes {
                self.terminal.line(self.terminal.paint(Style::Faint, note));
            }
        }
        Ok(outcome)
    }

    fn answer(&self, reply: &Reply, outcome: &Outcome) -> Value {
        let mut value = json!(reply);
        value["model"] = json!(outcome.model);
        value["notes"] = json!(outcome.notes);
        value["load_ms"] = (outcome.timings.load.as_millis() as u64).into();
        value["run_ms"] = (outcome.timings.run.as_millis() as u64).into();
        value
    }
}

/// The next line of standard input; none at its end.
fn line() -> std::io::Result<Option<String>> {
    let mut line = String::new();
    let count = std::io::stdin().read_line(&mut line)?;
    Ok((count > 0).then(|| line.trim().to_owned()))
}
