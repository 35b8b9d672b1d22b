//! How often a client may ask.

use atelier_kit::Request;
use atelier_kit::fake::{Fake, get};
use atelier_kit::http::Response;

use crate::{GENERATE, answer, both, post};

fn ask(host: &Fake, address: &str, path: &str) -> Response {
    let headers = [("x-forwarded-for", address)].into_iter().collect();
    answer(host, Request { headers, ..post(path, r#"{"prompt": "a cat"}"#) })
}

/// README lines: "**Rate Limiting**: Request throttling to prevent abuse", "**Rate Limiting**: Request limits and timeouts",
/// "Prevents abuse and DoS attacks".
#[test]
fn a_client_may_ask_so_often_in_a_minute_and_others_are_not_held_up() {
    let host = both().with_config("RATE_LIMIT_PER_MINUTE", "2").host();
    assert_eq!([1, 2, 3].map(|_| ask(&host, "192.0.2.1", GENERATE).status), [200, 200, 429]);
    let refused = ask(&host, "192.0.2.1", "/transcribe-audio");
    // the clock of the fake is 20 seconds into its minute
    assert_eq!((refused.status, refused.headers.get("retry-after")), (429, Some("40")));
    assert!(String::from_utf8_lossy(&refused.body).contains("config.RATE_LIMIT_PER_MINUTE"));
    assert_eq!(ask(&host, "192.0.2.2", GENERATE).status, 200);
    assert_eq!(answer(&host, get("/images")).status, 200, "reading costs nothing");
    host.record.borrow_mut().unix_seconds += 40;
    assert_eq!(ask(&host, "192.0.2.1", GENERATE).status, 200);
}

#[test]
fn clients_whose_address_is_not_known_are_one() {
    let host = both().with_config("RATE_LIMIT_PER_MINUTE", "1").host();
    assert_eq!([1, 2].map(|_| answer(&host, post(GENERATE, r#"{"prompt": "a"}"#)).status), [200, 429]);
}

#[test]
fn guessing_the_cleanup_key_is_limited_as_well() {
    let host = both().with_config("RATE_LIMIT_PER_MINUTE", "1").with_config("CLEANUP_KEY", "k").host();
    assert_eq!([1, 2].map(|_| ask(&host, "192.0.2.1", "/cleanup").status), [401, 429]);
}
