//! Asking another server through `wasi:http/client` 0.3, with one deadline over the whole call. Answers are wanted in JSON.
//!
//! Where it may go is the host's to decide (`grants.outbound`). What comes back is bounded in time and bytes and is
//! handed on unread.

use futures::future::{Either, select};

use super::http::read_stream;
use crate::bindings::wasi::clocks0_3_0::monotonic_clock::wait_for;
use crate::bindings::wasi::http0_3_0::client;
use crate::bindings::wasi::http0_3_0::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use crate::bindings::{wit_future, wit_stream};
use crate::host::{Call, CallError};

const NANOSECONDS_PER_MS: u64 = 1_000_000;

/// Asks and waits for the whole answer.
pub(super) async fn call(call: Call) -> Result<(u16, Vec<u8>), CallError> {
    let timeout_ms = call.timeout_ms;
    let deadline = std::pin::pin!(wait_for(timeout_ms.saturating_mul(NANOSECONDS_PER_MS)));
    match select(std::pin::pin!(exchange(call)), deadline).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => Err(CallError(format!("no answer within {timeout_ms} ms"))),
    }
}

/// The call without its deadline.
async fn exchange(call: Call) -> Result<(u16, Vec<u8>), CallError> {
    let address = address(&call.url)?;
    let (mut body, contents) = wit_stream::new::<u8>();
    let (_trailers, no_trailers) = wit_future::new(|| Ok(None));
    let has_body = call.method != "GET";
    let (outgoing, _sent) =
        Request::new(fields(&call, has_body)?, has_body.then_some(contents), no_trailers, None);
    address.apply(call.method, &outgoing)?;
    let bytes = call.body;
    let write = async move {
        // a server that answers before it has read everything is judged by its answer
        let _ = body.write_all(bytes).await;
    };
    // at once: a server may wait for the body before it answers, and may answer before it has the body
    let (answer, ()) = futures::join!(client::send(outgoing), write);
    read_answer(answer.map_err(|error| CallError(reason(&error)))?, call.max_answer_bytes).await
}

/// Status and body of an answer, whatever the status is: the caller knows what it means.
async fn read_answer(answer: Response, max_bytes: usize) -> Result<(u16, Vec<u8>), CallError> {
    let status = answer.get_status_code();
    let (_done, outcome) = wit_future::new(|| Ok(()));
    let (stream, _trailers) = Response::consume_body(answer, outcome);
    let body = read_stream(stream, max_bytes).await;
    let body =
        body.map_err(|_| CallError(format!("its answer has more than {max_bytes} bytes or broke off")))?;
    Ok((status, body))
}

/// An address, taken apart as `wasi:http` wants it.
struct Address {
    scheme: Scheme,
    authority: String,
    path: String,
}

/// Splits an address of the operator's; what is wrong with it is said without repeating it.
fn address(url: &str) -> Result<Address, CallError> {
    let bad = || CallError("its address is not an http or https url".into());
    let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(bad()),
    };
    let at = rest.find('/').unwrap_or(rest.len());
    Ok(Address { scheme, authority: rest[..at].to_owned(), path: rest[at..].to_owned() })
}

impl Address {
    fn apply(self, method: &str, request: &Request) -> Result<(), CallError> {
        let method = match method {
            "GET" => Method::Get,
            "POST" => Method::Post,
            other => Method::Other(other.to_owned()),
        };
        let set = request
            .set_method(&method)
            .and_then(|()| request.set_scheme(Some(&self.scheme)))
            .and_then(|()| request.set_authority(Some(&self.authority)))
            .and_then(|()| request.set_path_with_query(Some(&self.path)));
        set.map_err(|()| CallError("its address is not a valid url".into()))
    }
}

/// The call's own headers, and those that every call has.
fn fields(call: &Call, has_body: bool) -> Result<Fields, CallError> {
    let length = has_body.then(|| ("content-length", call.body.len().to_string()));
    let fixed = [("accept", "application/json".to_owned())].into_iter().chain(length);
    let own = call.headers.iter().map(|(name, value)| (name, value.to_owned()));
    let entries: Vec<_> =
        own.chain(fixed).map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
    Fields::from_list(&entries).map_err(|error| CallError(format!("request headers: {error}")))
}

/// What happened, in words that name no address.
fn reason(error: &ErrorCode) -> String {
    match error {
        ErrorCode::HttpRequestDenied => {
            "the route may not reach it: add its origin to `grants.outbound`".into()
        }
        ErrorCode::DestinationIpProhibited => "its address is not public: if the route may reach it, add its origin to `grants.outbound-private`".into(),
        ErrorCode::ConnectionRefused => "the connection was refused: is the server running?".into(),
        ErrorCode::DnsError(_) | ErrorCode::DnsTimeout => "its name could not be resolved".into(),
        ErrorCode::ConnectionTimeout => "there was no connection in time (`limits.outbound-connect-ms`)".into(),
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
            "it did not answer in time (`limits.outbound-first-byte-ms`, `limits.outbound-between-bytes-ms`)".into()
        }
        ErrorCode::ConnectionLimitReached => {
            "no more requests may be sent: raise `limits.outbound-requests`".into()
        }
        ErrorCode::InternalError(_) => "the connection failed".into(),
        other => format!("the connection failed: {other}"),
    }
}
