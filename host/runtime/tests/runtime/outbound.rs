//! Requests that guests send, with a server that counts who comes: what is refused must not even connect.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atelier_runtime::{Deployment, Grants, Limits, Origin, Reuse, RouteSpec, RuntimeConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::kit::{self, ask, deploy, guest, send, spec};

/// A server on this machine. The path says how it answers; by default, with the request's own head.
pub(crate) struct Target {
    port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// Clients that hung up, after a whole head or before.
    left: AtomicUsize,
    heads: Mutex<Vec<String>>,
}

impl Target {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let target = Self { port, seen: seen.clone() };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(socket, seen.clone()));
            }
        });
        target
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn left(&self) -> usize {
        self.seen.left.load(Ordering::SeqCst)
    }

    pub(crate) fn at(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }
}

async fn answer(mut socket: TcpStream, seen: Arc<Seen>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if socket.read(&mut byte).await.unwrap_or(0) == 0 {
            seen.left.fetch_add(1, Ordering::SeqCst);
            return;
        }
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    seen.heads.lock().unwrap().push(head.clone());
    let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let (name, value) = path.split_once('/').unwrap_or((path, ""));
    let whole = |body: &[u8]| {
        [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
    };
    let bytes = match name {
        "bytes" => whole(&vec![b'b'; value.parse().unwrap()]),
        "redirect" => {
            format!("HTTP/1.1 302 Found\r\nlocation: http://{value}/\r\ncontent-length: 0\r\n\r\n").into()
        }
        "stall" => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec(),
        "silent" | "swallow" => Vec::new(),
        "late" => {
            tokio::time::sleep(Duration::from_secs(2)).await;
            whole(b"late")
        }
        _ => whole(head.as_bytes()),
    };
    let _ = socket.write_all(&bytes).await;
    // the connection stays, and takes whatever comes, until the other side leaves
    while socket.read(&mut [0; 4_096]).await.unwrap_or(0) > 0 {}
    seen.left.fetch_add(1, Ordering::SeqCst);
}

pub(crate) fn origins(hosts: &[String]) -> Vec<Origin> {
    hosts.iter().map(|host| Origin::parse(&format!("http://{host}")).unwrap()).collect()
}

/// A caller of both generations of `wasi:http`, with grants and limits.
fn caller(code: &str, public: &[String], private: &[String], limits: Limits) -> RouteSpec {
    let grants =
        Grants { outbound: origins(public), outbound_private: origins(private), ..Grants::default() };
    let models = vec![atelier_inference::ModelId::new("fake")];
    RouteSpec { grants: Grants { models, ..grants }, limits, ..spec(guest(code)) }
}

async fn studio(public: &[String], private: &[String]) -> Arc<Deployment> {
    deploy(caller("studio", public, private, Limits::default())).await
}

/// One request of the 0.3 guest.
async fn call(route: &Arc<Deployment>, to: &str, more: &str) -> String {
    ask(route, "/call", &format!("to={to}\n{more}")).await.unwrap()
}

/// One request of the 0.2 guest.
async fn call2(route: &Arc<Deployment>, query: &str) -> String {
    ask(route, &format!("/?{query}"), "").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_a_private_address_gets_past_a_grant_for_another_server() {
    let target = Target::open().await;
    let granted = ["api.example.com".to_owned(), target.at("localhost")];
    let p3 = studio(&granted, &[]).await;
    let p2 = deploy(caller("caller2", &granted, &[], Limits::default())).await;
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "localhost.",
        "169.254.169.254",
        "10.0.0.1",
        "api.example.com@127.0.0.1",
    ];
    for host in hosts {
        let answers = [call(&p3, &target.at(host), "").await, call2(&p2, &target.at(host)).await];
        for answer in answers {
            let refused = answer.contains("HttpRequestDenied") || answer.contains("HttpRequestUriInvalid");
            assert!(refused || answer == "no authority", "{host}: {answer}");
        }
    }
    // the name is granted, and leads to this machine
    for answer in [call(&p3, &target.at("localhost"), "").await, call2(&p2, &target.at("localhost")).await] {
        assert!(answer.contains("DestinationIpProhibited"), "{answer}");
    }
    assert_eq!(target.connections(), 0, "nobody came near the server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_server_is_reached_by_its_very_address_or_by_a_name_granted_as_private() {
    let target = Target::open().await;
    let (address, name) = (target.at("127.0.0.1"), target.at("localhost"));
    let literal = studio(std::slice::from_ref(&address), &[]).await;
    assert!(call(&literal, &address, "").await.starts_with("200 GET / "));
    assert!(call(&literal, &name, "").await.contains("HttpRequestDenied"));
    let private = studio(&[], std::slice::from_ref(&name)).await;
    assert!(call(&private, &name, "").await.starts_with("200 GET / "));
    assert!(call(&private, &address, "").await.contains("HttpRequestDenied"));
    let p2 = deploy(caller("caller2", &[], std::slice::from_ref(&name), Limits::default())).await;
    assert_eq!(call2(&p2, &name).await, "200");
    assert_eq!(target.connections(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_host_itself_listens_no_grant_leads() {
    let target = Target::open().await;
    let runtime = kit::runtime_with(RuntimeConfig::default(), kit::scheduler(Duration::ZERO));
    runtime.guard([([0, 0, 0, 0], target.port).into()]);
    let hosts = ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.0.0.2"].map(|host| target.at(host));
    let route = runtime.deploy(caller("studio", &hosts, &hosts, Limits::default())).await.unwrap();
    for host in &hosts {
        let answer = call(&route, host, "").await;
        assert!(answer.contains("DestinationIpProhibited"), "{host}: {answer}");
    }
    assert_eq!(target.connections(), 0);
    assert_eq!(runtime.metrics().outbound_refused, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_the_guests_to_follow_and_its_target_needs_a_grant_of_its_own() {
    let (target, inner) = (Target::open().await, Target::open().await);
    let route = studio(&[target.at("127.0.0.1")], &[]).await;
    let path = format!("path=/redirect/{}", inner.at("127.0.0.1"));
    assert!(call(&route, &target.at("127.0.0.1"), &path).await.starts_with("302"));
    assert!(call(&route, &inner.at("127.0.0.1"), "").await.contains("HttpRequestDenied"));
    assert_eq!((target.connections(), inner.connections()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_its_server_only_once_and_opens_no_tunnel() {
    let target = Target::open().await;
    let to = target.at("127.0.0.1");
    let route = studio(std::slice::from_ref(&to), &[]).await;
    for path in ["http://10.0.0.1/", "x", "*"] {
        let answer = call(&route, &to, &format!("path={path}")).await;
        assert!(answer == "no path" || answer.contains("Invalid"), "{path}: {answer}");
    }
    assert!(call(&route, &to, "method=CONNECT").await.contains("HttpRequestMethodInvalid"));
    assert_eq!(target.connections(), 0);
    for header in ["host: other", "connection: x-mine", "transfer-encoding: chunked", "upgrade: h2c"] {
        assert!(call(&route, &to, &format!("header={header}")).await.contains("Forbidden"), "{header}");
    }
    assert!(call(&route, &to, "header=te: trailers").await.starts_with("200"));
    let head = target.seen.heads.lock().unwrap().concat().to_ascii_lowercase();
    assert!(head.contains(&format!("\r\nhost: {to}\r\n")) && !head.contains("\r\nte:"), "{head}");
    assert_eq!(head.matches("host:").count(), 1, "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_of_nothing_is_an_error_and_not_a_crash() {
    let target = Target::open().await;
    let to = target.at("127.0.0.1");
    let p3 = studio(std::slice::from_ref(&to), &[]).await;
    let p2 = deploy(caller("caller2", std::slice::from_ref(&to), &[], Limits::default())).await;
    let silent = call(&p3, &to, "path=/silent\ntimeout=0").await;
    assert!(silent.contains("Timeout"), "{silent}");
    let stalled = call(&p3, &to, "path=/stall\ntimeout=0").await;
    assert!(stalled.contains("Timeout"), "{stalled}");
    let answer = call2(&p2, &format!("{to}&0")).await;
    assert!(answer == "200" || answer.contains("Timeout"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_keeps_a_guest_waiting_no_longer_than_the_route_allows() {
    let target = Target::open().await;
    let to = target.at("127.0.0.1");
    let short = Duration::from_millis(100);
    let limits = Limits { outbound_first_byte: short, outbound_between_bytes: short, ..Limits::default() };
    let route = deploy(caller("studio", std::slice::from_ref(&to), &[], limits)).await;
    for path in ["/silent", "/stall"] {
        // a guest may ask for an hour
        let answer = call(&route, &to, &format!("path={path}\ntimeout=3600000000000")).await;
        assert!(answer.contains("ConnectionReadTimeout"), "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_connection_is_given_up_in_time() {
    // nobody accepts: once the line in front of it is full, the kernel lets further connections wait
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut line = Vec::new();
    let patience = Duration::from_millis(500);
    while let Ok(connected) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        line.push(connected.unwrap());
    }
    let limits = Limits { outbound_connect: Duration::from_millis(100), ..Limits::default() };
    let route = deploy(caller("studio", &[address.to_string()], &[], limits)).await;
    // a guest may ask for an hour
    let answer = call(&route, &address.to_string(), "timeout=3600000000000").await;
    assert!(answer.contains("ConnectionTimeout"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_server_is_not_the_guests_own_time() {
    let target = Target::open().await;
    let to = target.at("127.0.0.1");
    let limits = Limits { wall: Duration::from_millis(1_500), ..Limits::default() };
    let route = deploy(caller("studio", std::slice::from_ref(&to), &[], limits)).await;
    assert_eq!(call(&route, &to, "path=/late").await, "200 late");
    let limits = Limits { capability_wait: Duration::from_millis(200), ..Limits::default() };
    let route = deploy(caller("studio", std::slice::from_ref(&to), &[], limits)).await;
    let failure = send(&route, "/call", &format!("to={to}\npath=/silent")).await.unwrap_err();
    assert_eq!(failure.code(), "capability_wait_limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_bytes_of_one_guest_end_just_past_their_limits() {
    let target = Target::open().await;
    let to = target.at("127.0.0.1");
    let limits = Limits { outbound_requests: 3, outbound_bytes: 100_000, ..Limits::default() };
    let route = deploy(caller("studio", std::slice::from_ref(&to), &[], limits)).await;
    assert!(call(&route, &to, "times=3").await.starts_with("200"));
    assert!(call(&route, &to, "times=9").await.contains("ConnectionLimitReached at 4"));
    assert_eq!(target.connections(), 6);
    assert!(call(&route, &to, "path=/bytes/100000").await.starts_with("200 bbb"));
    assert!(call(&route, &to, "path=/bytes/100001").await.contains("HttpResponseBodySize(Some(100000))"));
    assert!(call(&route, &to, "path=/bytes/60000\ntimes=2").await.contains("Size(Some(100000)) at 2"));
    let sent = call(&route, &to, "path=/swallow\nmethod=POST\nupload=200000").await;
    assert!(sent.contains("HttpRequestBodySize(Some(100000))"), "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_has_computed_for_long_still_asks_servers_and_waits_for_them() {
    let target = Target::open().await;
    let to = target.at("127.0.0.1");
    let route = studio(std::slice::from_ref(&to), &[]).await;
    // on threads of its own by then, beside others that never stop
    let spinning = tokio::spawn({
        let route = route.clone();
        async move { kit::fail(&route, "/spin", "").await }
    });
    assert_eq!(call(&route, &to, "burn=100\npath=/late").await, "200 late");
    assert!(call(&route, &to, "burn=100\npath=/bytes/1000000").await.starts_with("200 bbb"));
    kit::within(spinning).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_a_reused_instance_has_its_own_allowance() {
    let target = Target::open().await;
    let to = target.at("127.0.0.1");
    let long = Duration::from_secs(600);
    let limits = Limits { outbound_requests: 2, reuse_age: long, reuse_idle: long, ..Limits::default() };
    let spec = caller("studio", std::slice::from_ref(&to), &[], limits);
    let route = deploy(RouteSpec { reuse: Reuse::Serial, ..spec }).await;
    for seen in 1..=4 {
        assert!(call(&route, &to, "times=2").await.starts_with("200"));
        kit::until(|| route.in_flight() == 0).await;
        assert_eq!(ask(&route, "/count", "").await.unwrap(), seen.to_string());
        kit::until(|| route.in_flight() == 0).await;
    }
    assert!(call(&route, &to, "times=3").await.contains("ConnectionLimitReached at 3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_leaves_hangs_up_on_the_server() {
    let target = Target::open().await;
    let to = target.at("127.0.0.1");
    let route = studio(std::slice::from_ref(&to), &[]).await;
    let asking = tokio::spawn({
        let (route, body) = (route.clone(), format!("to={to}\npath=/silent"));
        async move { ask(&route, "/call", &body).await }
    });
    kit::until(|| target.seen.heads.lock().unwrap().len() == 1).await;
    asking.abort();
    kit::until(|| route.in_flight() == 0 && target.left() == 1).await;
}
