//! Why the runtime did not start and why a route did not load. A route's problems are collected, so that an operator
//! sees all of them at once; each names the component, what is wrong and the manifest key that helps.

use std::fmt;
use std::time::Duration;

use crate::inspect::with_article;

/// Why the runtime did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The WebAssembly engine refused its configuration.
    #[error("cannot set up the WebAssembly engine: {0}")]
    Engine(String),
    /// The cache of compiled components cannot be used.
    #[error("cannot use the cache of compiled components: {0}")]
    Cache(#[from] atelier_store::Error),
    /// The media decoder is not usable.
    #[error("the media decoder is not usable: {0}")]
    Decoder(LoadError),
    /// Outbound connections cannot be encrypted.
    #[error("cannot set up TLS for outbound requests: {0}")]
    Tls(String),
    /// A thread did not start.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// Everything that keeps a route from loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// At least one problem.
    pub problems: Vec<LoadProblem>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

impl From<LoadProblem> for LoadError {
    fn from(problem: LoadProblem) -> Self {
        Self { problems: vec![problem] }
    }
}

/// One thing that keeps a route from loading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadProblem {
    /// The bytes are no component.
    #[error("component `{name}` {what}")]
    NotAComponent {
        /// The component.
        name: String,
        /// What the bytes are instead.
        what: String,
    },
    /// The file is larger than the route accepts.
    #[error(
        "component `{name}` has {bytes} bytes; at most {limit} (limits.component-bytes of route `{route}`)"
    )]
    TooLarge {
        /// The component.
        name: String,
        /// The route.
        route: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The component does not export what its place asks for.
    #[error(
        "component `{name}` is {}, not {}: it does not export `{export}`",
        with_article(found),
        with_article(wanted)
    )]
    WrongWorld {
        /// The component.
        name: String,
        /// What it is.
        found: String,
        /// What its place in the manifest asks for.
        wanted: String,
        /// The export that is missing.
        export: String,
    },
    /// The component exports an interface of this host's in another version.
    #[error("component `{name}` was built for atelier:host {found}; this host has {own}")]
    OtherVersion {
        /// The component.
        name: String,
        /// The version that it was built for.
        found: String,
        /// The version that is here.
        own: &'static str,
    },
    /// The component imports something that the route may grant but does not.
    #[error("component `{name}` imports `{import}`, but route `{route}` grants no {what}; add it to `{key}`")]
    NotGranted {
        /// The component.
        name: String,
        /// The route.
        route: String,
        /// The import.
        import: String,
        /// What is granted by the key: a model, an outbound server, a bucket.
        what: &'static str,
        /// The manifest key to add to.
        key: &'static str,
    },
    /// The component imports something that is never granted, or that the host does not know.
    #[error("component `{name}` imports `{import}`, which {why}")]
    NeverGranted {
        /// The component.
        name: String,
        /// The import.
        import: String,
        /// Why not.
        why: String,
    },
    /// The route grants a model that does not exist.
    #[error("route `{route}` grants model `{model}` (grants.models), which does not exist; known: {known}")]
    UnknownModel {
        /// The route.
        route: String,
        /// As in the manifest.
        model: String,
        /// Those that exist.
        known: String,
    },
    /// The component submits background jobs, which its route does not grant.
    #[error(
        "component `{name}` imports `{import}`, but route `{route}` grants no background jobs; write `grants.jobs = true` there"
    )]
    JobsNotGranted {
        /// The component.
        name: String,
        /// The route.
        route: String,
        /// The import.
        import: String,
    },
    /// Clients connect to the route, and its component does not receive them.
    #[error(
        "route `{route}` serves channels (`channels`), but component `{name}` does not export `atelier:host/channel-receiver`: \
         build it for the world `channel-handler`, or remove the key"
    )]
    NoReceiver {
        /// The component.
        name: String,
        /// The route.
        route: String,
    },
    /// The component submits background jobs and does not say how they are worked off.
    #[error(
        "component `{name}` imports `atelier:host/jobs` and does not export `atelier:host/job-runner`: nobody would work its jobs \
         off; build it for the world `job-handler`"
    )]
    NoRunner {
        /// The component.
        name: String,
    },
    /// The route grants buckets or containers, and there is no place for them.
    #[error(
        "route `{route}` grants something to keep things in (`{key}`), but nothing is kept here: name a folder in store.data-dir"
    )]
    NoStorage {
        /// The route.
        route: String,
        /// The manifest key of the grant.
        key: &'static str,
    },
    /// The handler cannot answer several requests at a time.
    #[error(
        "component `{name}` is written for wasi:http 0.2, whose handlers answer one request at a time; write reuse = \"serial\" \
         in route `{route}` instead of \"concurrent\""
    )]
    NotConcurrent {
        /// The component.
        name: String,
        /// The route.
        route: String,
    },
    /// The component does not compile or does not fit the host's interfaces.
    #[error("component `{name}` does not load: {why}")]
    Broken {
        /// The component.
        name: String,
        /// The compiler's or linker's words.
        why: String,
    },
    /// Compiling takes too much processor time.
    #[error(
        "component `{name}` takes more than {} ms of processor time to compile (limits.compile-ms of route `{route}`)",
        limit.as_millis()
    )]
    CompileCpu {
        /// The component.
        name: String,
        /// The route.
        route: String,
        /// The limit.
        limit: Duration,
    },
    /// Compiling took too long by the clock: the component is heavy, or the machine busy.
    #[error(
        "component `{name}` did not compile within {} ms, {factor} times limits.compile-ms of route `{route}`",
        limit.as_millis()
    )]
    CompileWall {
        /// The component.
        name: String,
        /// The route.
        route: String,
        /// The limit.
        limit: Duration,
        /// The limit as a multiple of the key's value.
        factor: u32,
    },
    /// Compiling takes too much memory.
    #[error(
        "component `{name}` takes more than {limit} bytes of memory to compile (limits.compile-memory-bytes of route \
         `{route}`)"
    )]
    CompileMemory {
        /// The component.
        name: String,
        /// The route.
        route: String,
        /// The limit.
        limit: usize,
    },
    /// The compiler failed, by its own fault or somebody else's; the next reload tries again.
    #[error("component `{name}` was not compiled: the compiler {why}")]
    CompilerGone {
        /// The component.
        name: String,
        /// How it ended.
        why: String,
    },
}
