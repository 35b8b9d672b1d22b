//! Why a request got no answer: the one place where traps, deadlines and memory limits become something that the server
//! can map to a status. `public` is safe to show; what the guest or wasmtime said stays in `internal`, for the log.

use std::time::Duration;

/// Why a request got no answer, or why its answer broke off.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The guest trapped: a panic, a bad memory access, a broken contract.
    Trap {
        /// The route.
        route: String,
        /// For the log.
        detail: String,
    },
    /// The guest computed for too long.
    Cpu {
        /// The route.
        route: String,
        /// The limit.
        limit: Duration,
    },
    /// The request took too long.
    Wall {
        /// The route.
        route: String,
        /// The limit.
        limit: Duration,
    },
    /// The background job took too long.
    JobTime {
        /// The route.
        route: String,
        /// The limit.
        limit: Duration,
    },
    /// The request waited too long for pictures or other capabilities.
    CapabilityWait {
        /// The route.
        route: String,
        /// The limit.
        limit: Duration,
    },
    /// The guest needed more memory than it may have.
    Memory {
        /// The route.
        route: String,
        /// The limit in bytes.
        limit: usize,
        /// For the log.
        detail: String,
    },
    /// The guest needed more of something else that is bounded.
    Resource {
        /// The route.
        route: String,
        /// What there was too little of, such as `resource handles`.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// The limit's manifest key.
        key: &'static str,
        /// For the log.
        detail: String,
    },
    /// The guest ended without an answer, or answered with an error of its own.
    NoResponse {
        /// The route.
        route: String,
        /// For the log.
        detail: String,
    },
    /// Too many requests run already.
    Saturated {
        /// How many may run.
        limit: u32,
        /// When another attempt is sensible.
        retry_after: Duration,
    },
    /// The tenant runs its share of requests already, and the others need the rest.
    Share {
        /// The tenant.
        tenant: String,
        /// Its requests that run.
        running: u32,
        /// When another attempt is sensible.
        retry_after: Duration,
    },
    /// The request's body is longer than the route accepts.
    RequestBody {
        /// The route.
        route: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The guest's response is longer than the route may send.
    ResponseBody {
        /// The route.
        route: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The instance that answered the request is gone, by the fault of another request that it answered at the same time
    /// (`reuse = "concurrent"`).
    InstanceLost {
        /// The route.
        route: String,
    },
    /// The host failed.
    Internal {
        /// For the log.
        detail: String,
    },
}

impl Failure {
    /// A stable word for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Failure::Trap { .. } => "guest_trap",
            Failure::Cpu { .. } => "cpu_limit",
            Failure::Wall { .. } => "wall_limit",
            Failure::JobTime { .. } => "job_limit",
            Failure::CapabilityWait { .. } => "capability_wait_limit",
            Failure::Memory { .. } => "memory_limit",
            Failure::Resource { .. } => "resource_limit",
            Failure::NoResponse { .. } => "no_response",
            Failure::Saturated { .. } => "saturated",
            Failure::Share { .. } => "tenant_share",
            Failure::RequestBody { .. } => "request_body_limit",
            Failure::ResponseBody { .. } => "response_body_limit",
            Failure::InstanceLost { .. } => "instance_lost",
            Failure::Internal { .. } => "internal",
        }
    }

    /// Whether the guest brought it about itself, by a trap or by a limit that it met; not when others filled the host
    /// or stopped the instance, the client sent too much, or the host was slow.
    pub fn is_guests_own(&self) -> bool {
        match self {
            Failure::Trap { .. }
            | Failure::Cpu { .. }
            | Failure::Wall { .. }
            | Failure::Memory { .. }
            | Failure::Resource { .. }
            | Failure::NoResponse { .. }
            | Failure::ResponseBody { .. } => true,
            Failure::CapabilityWait { .. }
            | Failure::JobTime { .. }
            | Failure::Saturated { .. }
            | Failure::Share { .. }
            | Failure::RequestBody { .. }
            | Failure::InstanceLost { .. }
            | Failure::Internal { .. } => false,
        }
    }

    /// One sentence for whoever sent the request; names the limit and its manifest key, and nothing that a guest said.
    pub fn public(&self) -> String {
        match self {
            Failure::Trap { route, .. } => format!("the handler of route `{route}` stopped with an error"),
            Failure::Cpu { route, limit } => format!(
                "the handler used more than its CPU time of {} ms (limits.cpu-ms of route `{route}`)",
                limit.as_millis()
            ),
            Failure::Wall { route, limit } => format!(
                "the handler took longer than {} ms (limits.wall-ms of route `{route}`)",
                limit.as_millis()
            ),
            Failure::JobTime { route, limit } => format!(
                "the job took longer than {} ms (limits.job-ms of route `{route}`)",
                limit.as_millis()
            ),
            Failure::CapabilityWait { route, limit } => format!(
                "the handler waited longer than {} ms for the host (limits.capability-wait-ms of route `{route}`)",
                limit.as_millis()
            ),
            Failure::Memory { route, limit, .. } => format!(
                "the handler needed more than its memory of {limit} bytes (limits.memory-bytes of route `{route}`)"
            ),
            Failure::Resource { route, what, limit, key, .. } => {
                format!("the handler needed more than {limit} {what} ({key} of route `{route}`)")
            }
            Failure::NoResponse { route, .. } => format!("the handler of route `{route}` gave no response"),
            Failure::Saturated { limit, .. } => {
                format!("{limit} requests run already (server.max-instances); try again later")
            }
            Failure::Share { tenant, running, .. } => format!(
                "{running} requests of tenant `{tenant}` run already, at least its share of server.max-instances \
                 (tenant.share); try again later"
            ),
            Failure::RequestBody { route, limit } => format!(
                "the request's body is longer than {limit} bytes (limits.request-body-bytes of route `{route}`)"
            ),
            Failure::ResponseBody { route, limit } => format!(
                "the response's body is longer than {limit} bytes (limits.response-body-bytes of route `{route}`)"
            ),
            Failure::InstanceLost { route } => format!(
                "another request stopped the instance of route `{route}` that was to answer this one (reuse = \"concurrent\"); \
                 try again"
            ),
            Failure::Internal { .. } => "the host failed; its log says why".into(),
        }
    }

    /// What happened, for the log only: may hold text that the guest chose.
    pub fn internal(&self) -> String {
        let public = self.public();
        match self.detail() {
            Some(detail) => format!("{public}: {detail}"),
            None => public,
        }
    }

    /// What `internal` has beyond `public`.
    pub(crate) fn detail(&self) -> Option<&str> {
        match self {
            Failure::Trap { detail, .. }
            | Failure::Memory { detail, .. }
            | Failure::Resource { detail, .. }
            | Failure::NoResponse { detail, .. }
            | Failure::Internal { detail } => Some(detail),
            _ => None,
        }
    }

    pub(crate) fn host(error: impl std::fmt::Display) -> Self {
        Failure::Internal { detail: error.to_string() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.public())
    }
}

impl std::error::Error for Failure {}
