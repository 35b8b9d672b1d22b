//! The one place where an error becomes an answer: status, stable code, a text for the client and a text for the log. A
//! handler's own answers pass by unseen; only what the host itself has to say is made here. Internal texts never leave.

use std::time::Duration;

use atelier_runtime::Failure;
use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE,
    WWW_AUTHENTICATE,
};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::tenants::{Denied, OverQuota};

/// Why a request is answered by the host rather than by its handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request cannot be understood.
    BadRequest(&'static str),
    /// The request's body is wrapped in something that only the handler could take off.
    Coding,
    /// No route answers the path.
    NoRoute,
    /// The path's routes take other methods.
    Method(Vec<Method>),
    /// The route wants a key, and what came opens nothing.
    Unauthorized(Denied),
    /// The tenant has used what it may.
    OverQuota(OverQuota),
    /// Path and query are too long.
    Url {
        /// The limit in bytes.
        limit: usize,
    },
    /// There are too many headers, or they are too long.
    Headers {
        /// What was exceeded, with its key.
        what: String,
    },
    /// The request's body stopped arriving.
    BodyStalled {
        /// The limit.
        limit: Duration,
    },
    /// The request's body arrived too slowly.
    BodySlow {
        /// The limit in bytes per second.
        limit: u32,
    },
    /// The route has no deployment that works.
    NotDeployed {
        /// The route.
        route: String,
        /// What an operator can do, when that is fit for everyone.
        public: Option<String>,
    },
    /// An operator closed the route.
    Closed {
        /// The route.
        route: String,
    },
    /// The handler gave no answer.
    Failed(Failure),
    /// A page of another site wants to connect.
    Origin,
    /// The path is for WebSockets.
    Upgrade,
    /// As many clients are connected as may be.
    Clients {
        /// The limit.
        limit: usize,
    },
    /// As many are connected from the client's address as may be.
    ClientsOfAddress {
        /// The limit.
        limit: usize,
    },
    /// The component does not let the client in; the text is for it.
    NotWelcome(String),
}

/// After which a client of a closed route may ask again: operators close routes for moments, not for days.
const CLOSED: Duration = Duration::from_secs(30);

impl Refusal {
    /// The answer's status.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Refusal::BadRequest(_) => StatusCode::BAD_REQUEST,
            Refusal::Coding => StatusCode::NOT_IMPLEMENTED,
            Refusal::NoRoute => StatusCode::NOT_FOUND,
            Refusal::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Refusal::OverQuota(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Url { .. } => StatusCode::URI_TOO_LONG,
            Refusal::Headers { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::BodyStalled { .. } | Refusal::BodySlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Refusal::NotDeployed { .. } | Refusal::Closed { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Failed(failure) => status(failure),
            Refusal::Origin | Refusal::NotWelcome(_) => StatusCode::FORBIDDEN,
            Refusal::Upgrade => StatusCode::UPGRADE_REQUIRED,
            Refusal::Clients { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::ClientsOfAddress { .. } => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// A stable word for machines.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Refusal::BadRequest(_) => "bad_request",
            Refusal::Coding => "transfer_coding",
            Refusal::NoRoute => "no_route",
            Refusal::Method(_) => "method_not_allowed",
            Refusal::Unauthorized(_) => "unauthorized",
            Refusal::OverQuota(_) => "quota",
            Refusal::Url { .. } => "url_limit",
            Refusal::Headers { .. } => "header_limit",
            Refusal::BodyStalled { .. } => "request_body_timeout",
            Refusal::BodySlow { .. } => "request_body_rate",
            Refusal::NotDeployed { .. } => "not_deployed",
            Refusal::Closed { .. } => "route_closed",
            Refusal::Failed(failure) => failure.code(),
            Refusal::Origin => "origin",
            Refusal::Upgrade => "upgrade_required",
            Refusal::Clients { .. } => "channels_full",
            Refusal::ClientsOfAddress { .. } => "channels_of_address",
            Refusal::NotWelcome(_) => "not_welcome",
        }
    }

    /// One sentence for the client.
    pub(crate) fn public(&self) -> String {
        match self {
            Refusal::BadRequest(what) => (*what).into(),
            Refusal::Coding => "`transfer-encoding` may be `chunked` and nothing else; what is compressed says so in `content-encoding`".into(),
            Refusal::NoRoute => "no route answers this path".into(),
            Refusal::Method(allowed) => format!("this path takes {}", names(allowed)),
            Refusal::Unauthorized(_) => {
                "an API key is wanted: send one, as `Authorization: Bearer` or as `x-api-key`".into()
            }
            Refusal::OverQuota(over) => format!("{}; try again later", over.reason()),
            Refusal::Url { limit } => {
                format!("path and query are longer than {limit} bytes (server.url-bytes)")
            }
            Refusal::Headers { what } => what.clone(),
            Refusal::BodyStalled { limit } => format!(
                "the request's body stopped arriving for {} ms (server.body-idle-timeout-ms)",
                limit.as_millis()
            ),
            Refusal::BodySlow { limit } => format!(
                "the request's body arrived more slowly than {limit} bytes a second (server.body-min-bytes-per-second)"
            ),
            Refusal::NotDeployed { route, public } => {
                let why = public.as_deref().unwrap_or("the host's status says why");
                format!("route `{route}` is not deployed: {why}")
            }
            Refusal::Closed { route } => format!("route `{route}` takes no requests now; try again later"),
            Refusal::Failed(failure) => failure.public(),
            Refusal::Origin => {
                "pages of this origin may not connect: name it in `channels.origins` of the route".into()
            }
            Refusal::Upgrade => "this path is for WebSockets (RFC 6455), over HTTP/1.1".into(),
            Refusal::Clients { limit } => {
                format!("{limit} clients are connected already (server.max-channels); try again later")
            }
            Refusal::ClientsOfAddress { limit } => format!(
                "{limit} clients are connected from this address already (server.max-channels-per-ip)"
            ),
            Refusal::NotWelcome(text) => text.clone(),
        }
    }

    /// What the log says beyond the public text.
    pub(crate) fn internal(&self) -> Option<String> {
        match self {
            Refusal::Unauthorized(denied) => Some(denied.internal().into()),
            Refusal::Failed(failure) => Some(failure.internal()),
            _ => None,
        }
    }

    /// The whole answer.
    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let body = json!({ "error": { "code": self.code(), "message": self.public() } }).to_string();
        let mut response = Response::new(Full::new(body.into()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Refusal::Method(allowed) = self {
            headers.extend(HeaderValue::try_from(names(allowed)).ok().map(|names| (ALLOW, names)));
        }
        if let Refusal::Unauthorized(_) = self {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Refusal::Upgrade = self {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if let Some(retry_after) = self.retry_after() {
            headers.insert(RETRY_AFTER, (retry_after.as_millis().div_ceil(1_000) as u64).max(1).into());
        }
        if self.status() == StatusCode::TOO_MANY_REQUESTS {
            headers.insert("x-should-retry", HeaderValue::from_static("true"));
        }
        if self.status().is_server_error() && !self.worth_repeating() {
            // clients of the OpenAI family repeat a 5xx unless they are told that it would end the same way
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        response
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Refusal::OverQuota(over) => Some(over.retry_after),
            Refusal::Closed { .. } | Refusal::Clients { .. } | Refusal::ClientsOfAddress { .. } => {
                Some(CLOSED)
            }
            Refusal::Failed(Failure::Saturated { retry_after, .. } | Failure::Share { retry_after, .. }) => {
                Some(*retry_after)
            }
            _ => None,
        }
    }

    fn worth_repeating(&self) -> bool {
        match self {
            Refusal::Failed(failure) => matches!(
                failure,
                Failure::Saturated { .. }
                    | Failure::InstanceLost { .. }
                    | Failure::Wall { .. }
                    | Failure::CapabilityWait { .. }
            ),
            _ => true,
        }
    }
}

fn status(failure: &Failure) -> StatusCode {
    match failure {
        Failure::Trap { .. }
        | Failure::Memory { .. }
        | Failure::NoResponse { .. }
        | Failure::Resource { .. }
        | Failure::ResponseBody { .. } => StatusCode::BAD_GATEWAY,
        Failure::Cpu { .. }
        | Failure::Wall { .. }
        | Failure::CapabilityWait { .. }
        | Failure::JobTime { .. } => StatusCode::GATEWAY_TIMEOUT,
        Failure::Saturated { .. } | Failure::InstanceLost { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Failure::Share { .. } => StatusCode::TOO_MANY_REQUESTS,
        Failure::RequestBody { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn names(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_said_stays_in_the_log() {
        let failure = Failure::Trap { route: "a".into(), detail: "panicked at secret".into() };
        let refusal = Refusal::Failed(failure);
        assert_eq!(refusal.status(), StatusCode::BAD_GATEWAY);
        assert!(!refusal.public().contains("secret") && refusal.internal().unwrap().contains("secret"));
        assert_eq!(refusal.response().headers()["x-should-retry"], "false");
    }

    #[test]
    fn a_saturated_host_says_when_to_come_back() {
        let retry_after = Duration::from_millis(200);
        let response = Refusal::Failed(Failure::Saturated { limit: 1, retry_after }).response();
        assert_eq!(
            (response.status().as_u16(), response.headers()[RETRY_AFTER].to_str().unwrap()),
            (503, "1")
        );
        assert!(!response.headers().contains_key("x-should-retry"));
    }

    #[test]
    fn whoever_has_used_its_part_is_told_the_key_and_when_to_come_back() {
        let over = OverQuota {
            tenant: atelier_inference::TenantId::default(),
            key: "requests-per-second",
            limit: 5,
            retry_after: Duration::from_millis(1_001),
        };
        let share = Failure::Share { tenant: "a".into(), running: 3, retry_after: Duration::from_secs(2) };
        for (refusal, key) in [
            (Refusal::OverQuota(over), "tenant.quotas.requests-per-second"),
            (Refusal::Failed(share), "tenant.share"),
        ] {
            let response = refusal.response();
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(
                (&response.headers()[RETRY_AFTER], &response.headers()["x-should-retry"]),
                (&HeaderValue::from_static("2"), &HeaderValue::from_static("true"))
            );
            assert!(refusal.public().contains(key), "{}", refusal.public());
        }
    }

    #[test]
    fn no_client_learns_what_is_wrong_with_its_key() {
        let texts = [Denied::Missing, Denied::Mistyped, Denied::Unknown].map(Refusal::Unauthorized);
        let response = texts[0].response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        assert!(texts.iter().all(|refusal| refusal.public() == texts[0].public()));
        assert!(texts.iter().all(|refusal| refusal.status() == StatusCode::UNAUTHORIZED));
        assert_ne!(texts[1].internal(), texts[2].internal());
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let response = Refusal::Method(vec![Method::GET, Method::POST]).response();
        assert_eq!(
            (response.status().as_u16(), response.headers()[ALLOW].to_str().unwrap()),
            (405, "GET, POST")
        );
    }
}
