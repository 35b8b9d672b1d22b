//! What a component is and needs, read from its imports and exports alone: no engine, no compiling. Used when a route
//! loads and by whoever wants to show a component to a person.

use wasmparser::{Parser, Payload};

use crate::{LoadError, LoadProblem};

/// What a component is, told by what it exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// Answers requests through `wasi:http` 0.3.
    HandlerP3,
    /// Answers requests through `wasi:http` 0.2.
    HandlerP2,
    /// Says what a command asks for.
    Interpreter,
    /// Rewrites prompts.
    Styler,
    /// Chooses a model.
    Selector,
    /// Works on finished pictures.
    Finisher,
    /// Serves models from elsewhere.
    Provider,
    /// Decodes pictures.
    Decoder,
    /// None of these.
    Unknown,
}

impl Kind {
    /// The kind in words, as messages use it.
    pub fn words(self) -> &'static str {
        match self {
            Kind::HandlerP3 => "request handler (wasi:http 0.3)",
            Kind::HandlerP2 => "request handler (wasi:http 0.2)",
            Kind::Interpreter => "intent plugin",
            Kind::Styler => "style plugin",
            Kind::Selector => "select plugin",
            Kind::Finisher => "finish plugin",
            Kind::Provider => "provider of models",
            Kind::Decoder => "media decoder",
            Kind::Unknown => "component of unknown kind",
        }
    }

    /// The kind in words that follow "is".
    pub fn words_with_article(self) -> String {
        with_article(self.words())
    }

    /// The export that makes a component of this kind.
    pub(crate) fn export(self) -> &'static str {
        match self {
            Kind::HandlerP3 => "wasi:http/handler@0.3.0",
            Kind::HandlerP2 => "wasi:http/incoming-handler@0.2.0",
            Kind::Interpreter => "atelier:host/intent@0.1.0",
            Kind::Styler => "atelier:host/style@0.1.0",
            Kind::Selector => "atelier:host/select@0.1.0",
            Kind::Finisher => "atelier:host/finish@0.1.0",
            Kind::Provider => "atelier:host/provider-language@0.1.0",
            Kind::Decoder => "atelier:host/media@0.1.0",
            Kind::Unknown => "",
        }
    }

    fn of(exports: &[String]) -> Self {
        let kinds = [
            (Kind::HandlerP3, "wasi:http/handler@0.3."),
            (Kind::HandlerP2, "wasi:http/incoming-handler@0.2."),
            (Kind::Interpreter, "atelier:host/intent@0.1."),
            (Kind::Styler, "atelier:host/style@0.1."),
            (Kind::Selector, "atelier:host/select@0.1."),
            (Kind::Finisher, "atelier:host/finish@0.1."),
            (Kind::Provider, "atelier:host/provider-language@0.1."),
            (Kind::Provider, "atelier:host/provider-images@0.1."),
            (Kind::Provider, "atelier:host/provider-speech@0.1."),
            (Kind::Decoder, "atelier:host/media@0.1."),
        ];
        let exported = |prefix: &str| exports.iter().any(|export| export.starts_with(prefix));
        kinds.into_iter().find(|(_, prefix)| exported(prefix)).map_or(Kind::Unknown, |(kind, _)| kind)
    }
}

/// `a` or `an` before what a component is called.
pub(crate) fn with_article(words: &str) -> String {
    let article = if words.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {words}")
}

/// A component seen from outside.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Inspection {
    /// What it is.
    pub kind: Kind,
    /// What it imports, with versions.
    pub imports: Vec<String>,
    /// What it exports, with versions.
    pub exports: Vec<String>,
    /// Manifest keys of a route under which it needs at least one grant.
    pub grants: Vec<&'static str>,
    /// Its size in bytes.
    pub bytes: usize,
}

impl Inspection {
    /// The version of this host's interfaces, `atelier:host`.
    pub const HOST_VERSION: &'static str = "0.1.0";

    /// The version of `atelier:host` that it was built for, where it exports an interface of one that is not compatible with
    /// [`Self::HOST_VERSION`].
    pub fn other_version(&self) -> Option<&str> {
        let mut versions = self.exports.iter().filter_map(|export| {
            let (_, version) = export.strip_prefix("atelier:host/")?.split_once('@')?;
            Some(version)
        });
        versions.find(|version| !version.starts_with("0.1."))
    }

    /// Whether it works background jobs off.
    pub(crate) fn is_runner(&self) -> bool {
        self.exports.iter().any(|export| interface(export) == RUNNER)
    }

    /// Whether it says how its background jobs read elsewhere.
    pub(crate) fn is_viewer(&self) -> bool {
        self.exports.iter().any(|export| interface(export) == VIEW)
    }

    /// Whether it receives what clients do that stay connected.
    pub(crate) fn is_receiver(&self) -> bool {
        self.exports.iter().any(|export| interface(export) == RECEIVER)
    }

    /// Whether it submits background jobs that it does not work off.
    pub(crate) fn lacks_runner(&self) -> bool {
        self.imports.iter().any(|import| interface(import) == JOBS) && !self.is_runner()
    }
}

/// Reads what a component is and needs. The error says what the bytes are instead.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, LoadError> {
    inspect_named("the file", bytes).map_err(LoadError::from)
}

pub(crate) fn inspect_named(name: &str, bytes: &[u8]) -> Result<Inspection, LoadProblem> {
    let refuse = |what: String| LoadProblem::NotAComponent { name: name.into(), what };
    match bytes {
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => {}
        [b'\0', b'a', b's', b'm', _, _, 0, 0, ..] => {
            return Err(refuse(
                "is a core WebAssembly module, not a component; build it for wasm32-wasip2".into(),
            ));
        }
        [] => return Err(refuse("is empty".into())),
        _ => return Err(refuse("is not a WebAssembly component".into())),
    }
    let (imports, exports) = outer_names(bytes).map_err(|error| {
        let is_cut = error.message().starts_with("unexpected end");
        refuse(if is_cut { "is cut short".into() } else { format!("is damaged: {error}") })
    })?;
    let grants = grants(&imports);
    Ok(Inspection { kind: Kind::of(&exports), imports, exports, grants, bytes: bytes.len() })
}

/// Names of the outermost component's imports and exports; those of the parts inside it are nobody's business.
fn outer_names(bytes: &[u8]) -> wasmparser::Result<(Vec<String>, Vec<String>)> {
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0_u32);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn grants(imports: &[String]) -> Vec<&'static str> {
    let mut grants: Vec<_> =
        imports.iter().filter_map(|import| grant(import)).map(|grant| grant.key).collect();
    grants.sort_unstable();
    grants.dedup();
    grants
}

/// What a route must grant for an import to be linked.
pub(crate) struct Grant {
    /// The manifest key.
    pub(crate) key: &'static str,
    /// What is listed under the key.
    pub(crate) what: &'static str,
}

/// Submitting background jobs, and working them off.
pub(crate) const JOBS: &str = "atelier:host/jobs";
const RUNNER: &str = "atelier:host/job-runner";
const VIEW: &str = "atelier:host/job-view";
/// Receiving what clients do that stay connected.
const RECEIVER: &str = "atelier:host/channel-receiver";

/// The grant that an import needs, if it needs one.
pub(crate) fn grant(import: &str) -> Option<Grant> {
    match interface(import) {
        "atelier:host/generation" | "atelier:host/language" | "atelier:host/speech" => {
            Some(Grant { key: "grants.models", what: "model" })
        }
        "wasi:http/client" | "wasi:http/outgoing-handler" => {
            Some(Grant { key: "grants.outbound", what: "outbound server" })
        }
        // one interface of each package stands for all: a component that uses any of them imports this one
        "wasi:keyvalue/store" => Some(Grant { key: "grants.buckets", what: "bucket" }),
        "atelier:host/machine" => Some(Grant { key: "grants.machine", what: "view of the machine" }),
        "atelier:host/copies" => Some(Grant { key: "grants.copies", what: "copy" }),
        "wasi:blobstore/types" => Some(Grant { key: "grants.containers", what: "container" }),
        "atelier:host/channels" => Some(Grant { key: "grants.channels", what: "channel" }),
        JOBS => Some(Grant { key: "grants.jobs", what: "background job" }),
        _ => None,
    }
}

/// An import's name without its version.
pub(crate) fn interface(import: &str) -> &str {
    import.split_once('@').map_or(import, |(interface, _)| interface)
}
