//! The binary's verbs, one file each. Exit codes: 0 when it went well, 1 when it did not, 2 when the configuration or
//! the arguments are wrong. Every error is one clear line on standard error.

mod audit;
mod catalog;
mod chat;
pub(crate) mod compile;
mod component;
mod config;
mod generate;
mod inspect;
mod key;
mod listen;
mod local;
mod models;
mod queue;
mod remote;
mod residency;
mod route;
mod serve;
mod signing;
mod talker;
mod transcribe;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app;
use crate::config::{Config, ConfigError, Variables};
use crate::terminal::Terminal;

/// A serverless host for WebAssembly components that do AI imaging.
///
/// Without a verb it serves.
#[derive(Debug, Parser)]
#[command(name = "atelier", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    serve: serve::Serve,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve the manifest's routes.
    Serve(serve::Serve),
    /// Make pictures here, without a server.
    Generate(Box<generate::Generate>),
    /// Write down what is said in a recording, without a server.
    Transcribe(Box<transcribe::Transcribe>),
    /// Make, change and take back pictures by spoken commands, without a server.
    Listen(Box<listen::Listen>),
    /// Talk with a language model, without a server.
    Chat(Box<chat::Chat>),
    /// List the models, fetch one, write one as a single file, or say what a running host keeps in memory.
    Models(models::Models),
    /// Say what a component or a picture is.
    Inspect(inspect::Inspect),
    /// Say which route answers a request, or operate a running host's routes.
    Route(route::Route),
    /// Sign components, upload them to a running host, promote them and take them back.
    Component(component::Component),
    /// Look at a running host's jobs.
    Queue(queue::Queue),
    /// Say what operators changed on a running host.
    Audit(audit::Audit),
    /// Check the configuration, or print all of it.
    Config(config::Check),
    /// Make and revoke keys of tenants.
    Tenant(key::Tenant),
    /// Make keys of the admin address.
    Admin(key::Admin),
    /// Compile a component for a host that asks on standard input.
    #[command(hide = true)]
    CompileComponent,
}

/// What every verb takes.
#[derive(Debug, Clone, clap::Args)]
struct Common {
    /// The manifest; else $ATELIER_CONFIG, ./atelier.toml, or the one in the binary.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments that contradict each other or the configuration.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

impl Common {
    fn terminal(&self) -> Terminal {
        Terminal::of_process(self.json)
    }

    fn load(&self) -> Result<Config, ConfigError> {
        self.load_with(&Variables::of_process())
    }

    fn load_with(&self, variables: &Variables) -> Result<Config, ConfigError> {
        Config::load(self.config.as_deref(), variables, &app::builtins())
    }
}

impl Arguments {
    /// Whether the process is a host's compiler, which [`compile`] is all of.
    pub fn is_compiler(&self) -> bool {
        matches!(self.verb, Some(Verb::CompileComponent))
    }
}

/// Compiles one component for the host that started this process.
pub fn compile() -> ExitCode {
    compile::run()
}

/// Runs the verb that the arguments name.
pub async fn run(arguments: Arguments) -> ExitCode {
    let result = match arguments.verb {
        None => serve::run(arguments.serve).await,
        Some(Verb::Serve(arguments)) => serve::run(arguments).await,
        Some(Verb::Generate(arguments)) => generate::run(&arguments).await,
        Some(Verb::Transcribe(arguments)) => transcribe::run(&arguments).await,
        Some(Verb::Listen(arguments)) => listen::run(&arguments).await,
        Some(Verb::Chat(arguments)) => chat::run(&arguments).await,
        Some(Verb::Models(arguments)) => models::run(arguments).await,
        Some(Verb::Inspect(arguments)) => inspect::run(&arguments),
        Some(Verb::Route(arguments)) => route::run(arguments).await,
        Some(Verb::Component(arguments)) => component::run(arguments).await,
        Some(Verb::Queue(arguments)) => queue::run(arguments).await,
        Some(Verb::Audit(arguments)) => audit::run(arguments).await,
        Some(Verb::Config(arguments)) => config::run(&arguments),
        Some(Verb::Tenant(arguments)) => key::tenant(arguments).await,
        Some(Verb::Admin(arguments)) => key::admin(arguments),
        Some(Verb::CompileComponent) => return compile(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Says what went wrong, with its causes, and gives the exit code.
pub fn failed(error: &anyhow::Error) -> ExitCode {
    Terminal::of_process(false).error(format_args!("{error:#}"));
    let is_usage = error.is::<ConfigError>() || error.is::<Usage>();
    ExitCode::from(if is_usage { 2 } else { 1 })
}
