//! Webhooks from outside: a real receiver checks what it is sent as Standard Webhooks says, and answers as receivers do: well,
//! later, never, elsewhere. The guest is that of `jobs.rs`; it says of each job what `reads` and `id` are.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::hmac;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::host::{Host, guest};
use crate::jobs::{tell, until};
use crate::tenants::route;

const VARIABLE: &str = "TEST_WEBHOOK_SECRET";
/// A variable that is set, to what is no secret.
const NO_SECRET: &str = "TEST_NO_WEBHOOK_SECRET";
const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATIENCE: Duration = Duration::from_secs(60);

/// A message as it came.
#[derive(Debug, Clone)]
struct Told {
    path: String,
    id: String,
    body: Value,
    at: Instant,
}

/// Takes messages until it is dropped.
struct Receiver {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
    /// Whether it is well: otherwise `/well` answers 500.
    is_well: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// Whom it sends elsewhere, it sends to that address.
    async fn open(elsewhere: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::<Mutex<Vec<Told>>>::default();
        let is_well = Arc::new(AtomicBool::new(true));
        let kept = (told.clone(), is_well.clone(), elsewhere);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                let answer = service_fn(move |request| take(request, kept.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { address, told, is_well, task }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came to a path so far.
    fn told(&self, path: &str) -> Vec<Told> {
        self.told.lock().unwrap().iter().filter(|told| told.path == path).cloned().collect()
    }

    /// What came to a path, once there is so much of it.
    async fn until(&self, path: &str, count: usize) -> Vec<Told> {
        let end = Instant::now() + PATIENCE;
        loop {
            let told = self.told(path);
            if told.len() >= count {
                return told;
            }
            assert!(Instant::now() < end, "{path} never got {count} messages: {told:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Kept = (Arc<Mutex<Vec<Told>>>, Arc<AtomicBool>, Option<SocketAddr>);

async fn take(
    request: Request<Incoming>,
    (told, is_well, elsewhere): Kept,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let headers = request.headers().clone();
    assert_eq!(
        (request.method().as_str(), &headers["content-type"]),
        ("POST", &"application/json".parse().unwrap())
    );
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let id = verified(&headers, &body);
    let before = {
        let mut told = told.lock().unwrap();
        let before = told.iter().filter(|other| other.path == path).count();
        let body = serde_json::from_slice(&body).unwrap();
        told.push(Told { path: path.clone(), id, body, at: Instant::now() });
        before
    };
    let answer = Response::builder();
    let answer = match (path.as_str(), before) {
        ("/well", _) if is_well.load(Ordering::Relaxed) => answer.status(204),
        ("/well", _) | ("/broken-first", 0) => answer.status(500),
        ("/busy-first", 0) => answer.status(503).header("retry-after", "1"),
        ("/gone", _) => answer.status(410),
        ("/elsewhere", _) => answer.status(307).header("location", format!("http://{}/", elsewhere.unwrap())),
        ("/silent", _) => std::future::pending().await,
        // more than anybody wants to hear
        _ => return Ok(answer.status(200).body(Full::from(vec![b'x'; 1 << 20])).unwrap()),
    };
    Ok(answer.body(Full::default()).unwrap())
}

/// The id of a message whose signature holds, as https://www.standardwebhooks.com has it.
fn verified(headers: &http::HeaderMap, body: &[u8]) -> String {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, seconds) = (header("webhook-id"), header("webhook-timestamp"));
    let sent = Duration::from_secs(seconds.parse().unwrap());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(now.abs_diff(sent) < Duration::from_secs(300), "{seconds}");
    let signature = header("webhook-signature");
    let signature = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(SECRET).unwrap());
    let signed = [format!("{id}.{seconds}.").as_bytes(), body].concat();
    hmac::verify(&key, &signed, &signature).unwrap_or_else(|_| panic!("the signature of {id} does not hold"));
    id
}

fn manifest(receivers: &[&Receiver]) -> String {
    let private: Vec<_> =
        receivers.iter().map(|receiver| format!("\"http://{}\"", receiver.address)).collect();
    let webhooks = format!(
        "webhooks = {{ secret-env = \"{VARIABLE}\", private = [{}], pause-ms = 50, attempts = 3, timeout-ms = 30000 }}",
        private.join(", ")
    );
    let jobs = "grants = { jobs = true }\nlimits = { jobs-at-once = 4 }";
    route("jobs", &format!("{jobs}\n{webhooks}")) + &route("mute", jobs)
}

async fn host(folder: TempDir, manifest: &str) -> Host {
    std::fs::write(folder.path().join("guest.wasm"), guest("runner")).unwrap();
    Host::told(folder, Some(manifest), |command| {
        command.env(VARIABLE, format!("whsec_{SECRET}")).env(NO_SECRET, "hunter2");
    })
    .await
}

async fn fresh(manifest: &str) -> Host {
    host(tempfile::tempdir().unwrap(), manifest).await
}

/// Submits a job of which an address is told; its id.
async fn submit(host: &Host, url: &str, what: &str) -> String {
    let id = tell(host, "/jobs", None, &format!("tell {url} {what}")).await;
    assert!(!id.starts_with("error"), "{id}");
    id
}

#[tokio::test]
async fn a_webhook_is_told_until_it_has_heard_and_then_never_again() {
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let receiver = Receiver::open(Some(trap.local_addr().unwrap())).await;
    let silent = Receiver::open(None).await;
    let host = fresh(&manifest(&[&receiver, &silent])).await;
    for _ in 0..10 {
        submit(&host, &silent.url("/silent"), "ended echo x").await;
    }
    silent.until("/silent", 2).await;
    submit(&host, &receiver.url("/elsewhere"), "ended echo x").await;
    let id = submit(&host, &receiver.url("/well"), "both echo hello").await;
    let told = receiver.until("/well", 2).await;
    let mut kinds: Vec<_> = told.iter().map(|told| told.body["type"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["job.begun", "job.completed"]);
    let end = told.iter().find(|told| told.body["type"] == "job.completed").unwrap();
    assert_eq!(end.id, format!("msg_{id}_ended"));
    assert_eq!(end.body["data"]["id"], id.as_str());
    assert_eq!(end.body["data"]["reads"], "Completed 100 1 hello at attempt 1");
    assert!(end.body["timestamp"].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')));
    failures_are_told_again(&host, &receiver).await;
    let elsewhere = receiver.until("/elsewhere", 3).await;
    assert!(elsewhere.iter().all(|told| told.id == elsewhere[0].id), "{elsewhere:?}");
    let trapped = tokio::time::timeout(Duration::from_millis(100), trap.accept()).await;
    assert!(trapped.is_err(), "a redirect was followed");
    assert_eq!(
        silent.told("/silent").len(),
        2,
        "who does not answer has two at a time, and keeps nobody waiting"
    );
    // two of the first job and three of those that were told again; one that is gone and one that is elsewhere
    host.until_counted("atelier_webhooks_total{operation=\"deliver\"}", 5).await;
    host.until_counted("atelier_webhooks_total{operation=\"give_up\"}", 2).await;
    assert_eq!(receiver.told("/well").len(), 2, "who has heard is not told again");
}

async fn failures_are_told_again(host: &Host, receiver: &Receiver) {
    for (path, what) in
        [("/broken-first", "ended refuse no"), ("/busy-first", "ended echo x"), ("/gone", "ended echo x")]
    {
        submit(host, &receiver.url(path), what).await;
    }
    let cancelled = submit(host, &receiver.url("/cancelled"), "default wait 600000").await;
    tell(host, "/jobs", None, &format!("cancel {cancelled}")).await;
    let broken = receiver.until("/broken-first", 2).await;
    assert_eq!((&broken[0].id, &broken[0].body), (&broken[1].id, &broken[1].body));
    // the component says nothing of such a job, and the host says what there is
    assert_eq!(broken[0].body["type"], "job.failed");
    assert_eq!(
        (&broken[0].body["data"]["state"], &broken[0].body["data"]["error"]),
        (&"failed".into(), &"no".into())
    );
    let busy = receiver.until("/busy-first", 2).await;
    assert!(busy[1].at - busy[0].at >= Duration::from_secs(1), "it asked to be left alone for a second");
    assert_eq!(receiver.until("/cancelled", 1).await[0].body["type"], "job.cancelled");
    assert_eq!(receiver.until("/gone", 1).await.len(), 1);
}

#[tokio::test]
async fn what_ended_before_a_kill_is_told_after_it_and_what_was_heard_is_not() {
    let receiver = Receiver::open(None).await;
    receiver.is_well.store(false, Ordering::Relaxed);
    let manifest = manifest(&[&receiver]).replace("attempts = 3", "attempts = 100");
    let mut first = fresh(&manifest).await;
    let id = submit(&first, &receiver.url("/well"), "ended echo x").await;
    until(&first, "/jobs", None, &id, "Completed").await;
    first.signal("KILL");
    first.end().await;
    receiver.is_well.store(true, Ordering::Relaxed);
    let heard_before = receiver.told("/well").len();
    let folder = std::mem::replace(&mut first.folder, tempfile::tempdir().unwrap());
    let mut second = host(folder, &manifest).await;
    let told = receiver.until("/well", heard_before + 1).await;
    assert!(told.iter().all(|told| told.id == format!("msg_{id}_ended")), "{told:?}");
    second.until_counted("atelier_webhooks_total{operation=\"deliver\"}", 1).await;
    second.signal("KILL");
    second.end().await;
    let folder = std::mem::replace(&mut second.folder, tempfile::tempdir().unwrap());
    let third = host(folder, &manifest).await;
    // another message of the same route passes where that one would
    submit(&third, &receiver.url("/other"), "ended echo x").await;
    receiver.until("/other", 1).await;
    assert_eq!(receiver.told("/well").len(), told.len());
    let waiting = crate::client::get(third.admin, "/v1/jobs").await.json();
    assert_eq!(waiting["webhooks"], Value::Array(Vec::new()), "{waiting}");
}

#[tokio::test]
async fn who_may_not_be_told_is_refused_by_name() {
    let receiver = Receiver::open(None).await;
    let signed_by = |name| format!("grants = {{ jobs = true }}\nwebhooks = {{ secret-env = \"{name}\" }}");
    let others = route("unset", &signed_by("TEST_NO_SUCH_SECRET")) + &route("wrong", &signed_by(NO_SECRET));
    let host = fresh(&(manifest(&[&receiver]) + &others)).await;
    let wrong = [
        ("http://127.0.0.1:1/", "`webhooks.private`"),
        ("http://169.254.169.254/latest", "`webhooks.private`"),
        ("http://2130706433/", "http or https"),
        ("ftp://example.com/", "http or https"),
        ("https://u:p@example.com/", "http or https"),
    ];
    for (url, why) in wrong {
        let refused = tell(&host, "/jobs", None, &format!("tell {url} ended echo x")).await;
        assert!(
            refused.starts_with("error: invalid: `webhook` of job 0: ") && refused.contains(why),
            "{refused}"
        );
    }
    let own = tell(&host, "/jobs", None, &format!("tell http://{}/ ended echo x", host.edge)).await;
    assert!(own.contains("this host itself listens") || own.contains("`webhooks.private`"), "{own}");
    let refused = tell(&host, "/mute", None, &format!("tell {} ended echo x", receiver.url("/well"))).await;
    assert!(refused.contains("[route.webhooks]") && refused.contains("`secret-env`"), "{refused}");
    let to_unset = format!("tell {} ended echo x", receiver.url("/well"));
    let refused = tell(&host, "/unset", None, &to_unset).await;
    assert!(refused.contains("`webhook` of job 0: ") && refused.contains("TEST_NO_SUCH_SECRET"), "{refused}");
    let id = tell(&host, "/unset", None, "submit echo x").await;
    until(&host, "/unset", None, &id, "Completed").await;
    let status = host.status().await;
    let problem = status["routes"][3]["error"].as_str().unwrap();
    assert!(problem.contains("webhooks.secret-env") && problem.contains(NO_SECRET), "{problem}");
    assert!(!problem.contains("hunter2"), "{problem}");
}
