//! The one place where an error of the admin address becomes an answer: status, stable code, and a text that says what to
//! do. Operators may read all of it; a key never stands in one.

use atelier_inference as inference;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
use serde_json::json;

use crate::http::{Answer, Broken, whole};
use crate::roster::KeyFault;
use crate::signing::SIGNATURE_HEADER;
use crate::tenants::Denied;
use crate::vault::VaultError;
use crate::versions::Fault as VersionFault;

/// After which an operator may ask again for what others are doing.
const BUSY_S: u64 = 5;

/// Why the admin address does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The key is missing or opens nothing.
    #[error(
        "{}: send an operators' key as `Authorization: Bearer`; the verbs of `atelier` take it from ATELIER_ADMIN_KEY",
        why_denied(.0)
    )]
    Denied(Denied),
    /// Nobody can have a key.
    #[error(
        "changes want a key, and this host has none: run `atelier admin key new` and put the line that it prints under [server] in the manifest"
    )]
    NoAdminKey,
    /// The path is not in the table.
    #[error("there is nothing here; /v1/openapi.json lists what there is")]
    NoOperation,
    /// The path takes other methods.
    #[error("this path takes {}", names(.0))]
    Method(Vec<Method>),
    /// A parameter of the query is wrong.
    #[error("{0}")]
    Parameter(String),
    /// There is a body where none belongs.
    #[error("this takes no body")]
    Body,
    /// The body is no component.
    #[error("upload the component's bytes as they are, with `content-type: application/wasm`")]
    ContentType,
    /// What should be the component's signature is none.
    #[error(
        "`{SIGNATURE_HEADER}` {0}; it wants the signature in base64, as of `base64 -w0 FILE.sig`, and once"
    )]
    Signature(&'static str),
    /// The component is too large for its route.
    #[error("the component has more than {limit} bytes (limits.component-bytes of route `{route}`)")]
    TooLarge {
        /// The route.
        route: String,
        /// The limit.
        limit: usize,
    },
    /// The upload stopped, or was too slow.
    #[error("{0} (server.body-idle-timeout-ms, server.body-min-bytes-per-second)")]
    Upload(Broken),
    /// Others upload.
    #[error("other components are being uploaded; try again in a moment")]
    Busy,
    /// No such tenant.
    #[error("there is no tenant `{0}`; `atelier tenant list` names them")]
    NoTenant(String),
    /// No such job.
    #[error("there is no job `{0}` that waits or runs")]
    NoJob(String),
    /// A model of the manifest whose files are not here.
    #[error("model `{id}` is not here: {fix}, then restart the host")]
    MissingModel {
        /// The model.
        id: String,
        /// What brings it.
        fix: String,
    },
    /// There is no such model, or it was not loaded, unloaded or pinned.
    #[error(transparent)]
    Model(#[from] inference::Error),
    /// A version did not change.
    #[error(transparent)]
    Version(#[from] VersionFault),
    /// A key did not change.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// Nothing can be kept.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The change ended in a way that nobody foresaw.
    #[error("the host failed; its log says why")]
    Internal,
}

impl Fault {
    pub(super) fn status(&self) -> StatusCode {
        use StatusCode as S;
        match self {
            Fault::Denied(_) => S::UNAUTHORIZED,
            Fault::NoAdminKey => S::FORBIDDEN,
            Fault::NoOperation | Fault::NoTenant(_) | Fault::NoJob(_) => S::NOT_FOUND,
            Fault::Method(_) => S::METHOD_NOT_ALLOWED,
            Fault::Parameter(_) | Fault::Body | Fault::Signature(_) => S::BAD_REQUEST,
            Fault::ContentType => S::UNSUPPORTED_MEDIA_TYPE,
            Fault::TooLarge { .. } => S::PAYLOAD_TOO_LARGE,
            Fault::Upload(_) => S::REQUEST_TIMEOUT,
            Fault::Busy => S::TOO_MANY_REQUESTS,
            Fault::MissingModel { .. } => S::CONFLICT,
            Fault::Model(error) => status_of_model(error),
            Fault::Version(fault) => status_of_version(fault),
            Fault::Key(fault) => status_of_key(fault),
            Fault::Vault(fault) => status_of_vault(fault),
            Fault::Internal => S::INTERNAL_SERVER_ERROR,
        }
    }

    /// A stable word for machines.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Fault::Denied(_) => "unauthorized",
            Fault::NoAdminKey => "no_admin_key",
            Fault::NoOperation => "no_operation",
            Fault::NoTenant(_) | Fault::Key(KeyFault::NoTenant(_)) => "no_tenant",
            Fault::NoJob(_) => "no_job",
            Fault::Method(_) => "method_not_allowed",
            Fault::Parameter(_) => "bad_parameter",
            Fault::Body => "no_body_wanted",
            Fault::ContentType => "content_type",
            Fault::Signature(_) => "bad_signature",
            Fault::TooLarge { .. } => "component_limit",
            Fault::Upload(_) => "upload_timeout",
            Fault::Busy => "busy",
            Fault::MissingModel { .. } => "model_missing",
            Fault::Model(error) => match error {
                inference::Error::UnknownModel { .. } => "no_model",
                inference::Error::Invalid { .. } => "model_pinned",
                inference::Error::TooLarge { .. } => "memory_limit",
                inference::Error::OutOfMemory(_) => "out_of_memory",
                inference::Error::Overloaded { .. } => "busy",
                inference::Error::WorkerGone => "worker_gone",
                inference::Error::Cancelled
                | inference::Error::Failed(_)
                | inference::Error::Unavailable { .. }
                | inference::Error::TimedOut(_) => "model_failed",
            },
            Fault::Version(fault) => match fault {
                VersionFault::NoRoute(_) => "no_route",
                VersionFault::NoPlace { .. } => "no_place",
                VersionFault::NoVersion { .. } => "no_version",
                VersionFault::Refused { .. } | VersionFault::WasRefused { .. } => "component_refused",
                VersionFault::FilesChanged { .. } => "files_changed",
                VersionFault::NothingBefore(_) => "nothing_before",
                VersionFault::Changed { .. } => "changed_meanwhile",
                VersionFault::NoRoom { .. } => "upload_limit",
                VersionFault::Vault(_) => "store",
            },
            Fault::Key(fault) => match fault {
                KeyFault::Name(_) => "bad_parameter",
                KeyFault::NoKey { .. } => "no_key",
                KeyFault::Taken { .. } => "name_taken",
                KeyFault::Full(_) | KeyFault::FullOfRevoked => "key_limit",
                _ => "store",
            },
            Fault::Vault(_) => "store",
            Fault::Internal => "internal",
        }
    }

    /// The whole answer.
    pub(super) fn answer(&self) -> Answer {
        let body = json!({ "error": { "code": self.code(), "message": self.to_string() } });
        let mut answer = Response::new(whole(body.to_string()));
        *answer.status_mut() = self.status();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self {
            Fault::Method(allowed) => {
                headers.extend(HeaderValue::try_from(names(allowed)).ok().map(|names| (ALLOW, names)));
            }
            Fault::Denied(_) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Fault::Busy | Fault::Model(inference::Error::Overloaded { .. }) => {
                headers.insert(RETRY_AFTER, BUSY_S.into());
            }
            _ => {}
        }
        answer
    }
}

fn status_of_model(error: &inference::Error) -> StatusCode {
    use inference::Error as E;
    match error {
        E::UnknownModel { .. } => StatusCode::NOT_FOUND,
        // pinned models stand in the way, or it is pinned itself: a question of state, which an operator can change
        E::Invalid { .. } | E::TooLarge { .. } => StatusCode::CONFLICT,
        E::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
        E::OutOfMemory(_) | E::WorkerGone => StatusCode::SERVICE_UNAVAILABLE,
        E::Cancelled | E::Failed(_) | E::Unavailable { .. } | E::TimedOut(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
    }
}

fn status_of_version(fault: &VersionFault) -> StatusCode {
    match fault {
        VersionFault::NoRoute(_) | VersionFault::NoVersion { .. } => StatusCode::NOT_FOUND,
        VersionFault::NoPlace { .. } => StatusCode::BAD_REQUEST,
        VersionFault::Refused { .. } | VersionFault::WasRefused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        VersionFault::FilesChanged { .. } | VersionFault::NothingBefore(_) | VersionFault::Changed { .. } => {
            StatusCode::CONFLICT
        }
        VersionFault::NoRoom { .. } => StatusCode::INSUFFICIENT_STORAGE,
        VersionFault::Vault(fault) => status_of_vault(fault),
    }
}

fn status_of_key(fault: &KeyFault) -> StatusCode {
    match fault {
        KeyFault::NoTenant(_) | KeyFault::NoKey { .. } => StatusCode::NOT_FOUND,
        KeyFault::Name(_) => StatusCode::BAD_REQUEST,
        KeyFault::Taken { .. } | KeyFault::Full(_) | KeyFault::FullOfRevoked => StatusCode::CONFLICT,
        KeyFault::NotKept(fault) | KeyFault::Vault(fault) => status_of_vault(fault),
    }
}

fn status_of_vault(fault: &VaultError) -> StatusCode {
    match fault {
        VaultError::Off | VaultError::Taken { .. } => StatusCode::CONFLICT,
        VaultError::Store(_) | VaultError::Broken { .. } => StatusCode::INSUFFICIENT_STORAGE,
    }
}

/// Whoever holds a wrong key is not sent to look for a missing one.
fn why_denied(denied: &Denied) -> &'static str {
    match denied {
        Denied::Missing => "an operators' key is wanted",
        Denied::Several => "one operators' key is wanted, and there are several",
        Denied::Form => "this is no key of this host",
        Denied::Mistyped => "the key is mistyped: its checksum does not fit",
        Denied::Unknown => "this key opens nothing here: it is unknown, or was revoked",
    }
}

fn names(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}
