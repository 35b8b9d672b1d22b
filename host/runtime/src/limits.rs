//! What one request may use up, and what making a component ready for them may. Every number here is enforced somewhere in this crate and has a test just past it; the
//! manifest key of each is its name under `limits.` of the route, with `-` for `_` and the unit at the end.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Limits of one request; plugins get the same for each of their calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the first instruction to the last, without the time spent waiting in the host's capabilities
    /// (`limits.wall-ms`).
    pub wall: Duration,
    /// Time in which the guest itself computes (`limits.cpu-ms`).
    pub cpu: Duration,
    /// Time spent waiting in the host's capabilities, such as for a picture (`limits.capability-wait-ms`).
    pub capability_wait: Duration,
    /// All linear memories together (`limits.memory-bytes`).
    pub memory_bytes: usize,
    /// All tables together (`limits.table-elements`).
    pub table_elements: usize,
    /// Core instances; tables and memories have the same bound (`limits.instances`).
    pub instances: usize,
    /// Live resource handles (`limits.handles`).
    pub handles: usize,
    /// Bytes that one call may carry from the guest to the host (`limits.hostcall-bytes`).
    pub hostcall_bytes: usize,
    /// One set of header fields in memory (`limits.header-bytes`).
    pub header_bytes: usize,
    /// Random bytes of one call (`limits.random-bytes`).
    pub random_bytes: u64,
    /// Standard output and standard error together (`limits.log-bytes`).
    pub log_bytes: usize,
    /// A component's file (`limits.component-bytes`).
    pub component_bytes: usize,
    /// Processor time in which a component is compiled, as whole seconds; by the clock it may take four times as long
    /// (`limits.compile-ms`).
    pub compile: Duration,
    /// Memory in which a component is compiled, as address space; its machine code is no larger
    /// (`limits.compile-memory-bytes`).
    pub compile_memory_bytes: usize,
    /// A request's body (`limits.request-body-bytes`).
    pub request_body_bytes: u64,
    /// A response's body (`limits.response-body-bytes`).
    pub response_body_bytes: u64,
    /// Pixels of all pictures that a guest holds (`limits.picture-bytes`).
    pub picture_bytes: u64,
    /// Sound of all recordings that a guest holds, in seconds (`limits.audio-seconds`).
    pub audio_seconds: u64,
    /// Tokens that one request may have written, of all replies that it asks for (`limits.tokens`).
    pub tokens: u64,
    /// Requests to other servers, sent or refused (`limits.outbound-requests`).
    pub outbound_requests: u32,
    /// Bodies of those requests and of their responses together (`limits.outbound-bytes`).
    pub outbound_bytes: u64,
    /// For a server's name to be resolved and a connection to be made (`limits.outbound-connect-ms`).
    pub outbound_connect: Duration,
    /// For a server to begin its response (`limits.outbound-first-byte-ms`).
    pub outbound_first_byte: Duration,
    /// Between two pieces of a response (`limits.outbound-between-bytes-ms`).
    pub outbound_between_bytes: Duration,
    /// Jobs in the engine's queue that one request may have at a time (`limits.jobs`).
    pub jobs: u32,
    /// A background job's whole run, waiting included (`limits.job-ms`).
    pub job: Duration,
    /// Background jobs of the route that are worked on at a time, of all tenants together (`limits.jobs-at-once`).
    pub jobs_at_once: u32,
    /// Requests that one instance answers, where the route lets it answer several (`limits.reuse-requests`).
    pub reuse_requests: u32,
    /// Requests that one instance works on at a time, where the route lets it work on several
    /// (`limits.reuse-at-a-time`).
    pub reuse_at_a_time: u32,
    /// How old such an instance may be when it begins another request; then it ends (`limits.reuse-age-ms`).
    pub reuse_age: Duration,
    /// How long such an instance waits for another request (`limits.reuse-idle-ms`).
    pub reuse_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(30),
            cpu: Duration::from_secs(1),
            capability_wait: Duration::from_secs(300),
            memory_bytes: 128 * MIB,
            table_elements: 20_000,
            instances: 64,
            handles: 8_192,
            hostcall_bytes: 32 * MIB,
            header_bytes: 64 * KIB,
            random_bytes: 64 * KIB as u64,
            log_bytes: 64 * KIB,
            component_bytes: 32 * MIB,
            compile: Duration::from_secs(90),
            compile_memory_bytes: 2 * 1024 * MIB,
            request_body_bytes: 32 * MIB as u64,
            response_body_bytes: 256 * MIB as u64,
            picture_bytes: 256 * MIB as u64,
            audio_seconds: 600,
            tokens: 16_384,
            outbound_requests: 50,
            outbound_bytes: 64 * MIB as u64,
            outbound_connect: Duration::from_secs(5),
            outbound_first_byte: Duration::from_secs(30),
            outbound_between_bytes: Duration::from_secs(15),
            jobs: 8,
            job: Duration::from_secs(600),
            jobs_at_once: 2,
            reuse_requests: 128,
            reuse_at_a_time: 16,
            reuse_age: Duration::from_secs(60),
            reuse_idle: Duration::from_secs(5),
        }
    }
}
