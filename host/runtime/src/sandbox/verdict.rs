//! What an error out of wasmtime means: which limit the guest met, or that it trapped, or that it said nothing. Where
//! wasmtime gives its refusals no type, they are told by their words; the tests in `tests/runtime/limits.rs` fail when an
//! update changes them.

use super::meter::Meter;
use crate::admission::MIN_RETRY_AFTER;
use crate::{Failure, Limits, engine};

impl Meter {
    /// What an error out of the guest means, given what the guest used up. The first verdict stays.
    pub(crate) fn judge(&self, error: &wasmtime::Error) -> Failure {
        let trap = || Failure::Trap { route: self.route(), detail: format!("{error:?}") };
        self.settle(|| self.limit_behind(error).unwrap_or_else(trap))
    }

    /// What an error in place of an answer means: the guest may have answered with an error of `wasi:http`.
    pub(crate) fn judge_answer(&self, error: &wasmtime::Error) -> Failure {
        use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode as P2Error;
        use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode as P3Error;
        if !(error.is::<P3Error>() || error.is::<P2Error>()) {
            return self.judge(error);
        }
        let silence = || Failure::NoResponse { route: self.route(), detail: format!("{error:?}") };
        self.settle(|| self.limit_behind(error).unwrap_or_else(silence))
    }

    /// The limit that the guest met before it failed, if it met one.
    fn limit_behind(&self, error: &wasmtime::Error) -> Option<Failure> {
        let (route, detail) = (self.route(), format!("{error:?}"));
        if self.was_refused_memory() {
            return Some(Failure::Memory { route, limit: self.limits().memory_bytes, detail });
        }
        if self.was_request_body_cut() {
            return Some(Failure::RequestBody { route, limit: self.limits().request_body_bytes });
        }
        // the pool has room for all that are admitted, unless their components are made of very many parts
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return Some(Failure::Saturated { limit: engine::room(), retry_after: MIN_RETRY_AFTER });
        }
        let Bound { what, limit, key, .. } = Bound::behind(error, self.limits())?;
        Some(Failure::Resource { route, what, limit, key, detail })
    }
}

/// A bound that wasmtime keeps for us.
struct Bound {
    /// Out of wasmtime's message when the bound is met.
    words: &'static str,
    what: &'static str,
    limit: usize,
    key: &'static str,
}

impl Bound {
    fn behind(error: &wasmtime::Error, limits: &Limits) -> Option<Self> {
        let messages: Vec<String> = error.chain().map(|cause| cause.to_string()).collect();
        let met = |bound: &Bound| messages.iter().any(|message| message.contains(bound.words));
        Self::all(limits).into_iter().find(met)
    }

    fn all(limits: &Limits) -> [Self; 6] {
        let bound = |words, what, limit, key| Bound { words, what, limit, key };
        [
            bound("store handle limit exceeded", "resource handles", limits.handles, "limits.handles"),
            bound("resource table has no free keys", "resource handles", limits.handles, "limits.handles"),
            bound(
                "allocated for hostcalls",
                "bytes in one call",
                limits.hostcall_bytes,
                "limits.hostcall-bytes",
            ),
            bound("count too high", "core instances", limits.instances, "limits.instances"),
            bound("exceeds table limits", "table elements", limits.table_elements, "limits.table-elements"),
            bound("total size of fields", "bytes of headers", limits.header_bytes, "limits.header-bytes"),
        ]
    }
}

/// Whether a guest of `wasi:http` 0.2 left without setting its response, by whatever way: only its task knows which. The
/// error has no type; it is told by having nothing behind it.
pub(crate) fn is_unset(error: &wasmtime::Error) -> bool {
    error.chain().count() == 1 && error.to_string().contains("response-outparam")
}
