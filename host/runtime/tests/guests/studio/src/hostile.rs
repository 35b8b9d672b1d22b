//! What a handler should not do, one behaviour per path; and what it tries to see of the host.

use crate::wasi::clocks0_3_0::monotonic_clock::wait_for;
use crate::wasi::http0_3_0::client;
use crate::wasi::http0_3_0::types::{Fields, Request, Scheme};
use crate::wit_future;

pub async fn act(path: &str) -> String {
    match path {
        "/spin" => loop {
            std::hint::black_box(0);
        },
        "/sleep" => wait_for(3_600_000_000_000).await,
        "/nap" => wait_for(300_000_000).await,
        // the 0.2 way, in which everything else in the instance waits as well
        "/block" => std::thread::sleep(std::time::Duration::from_secs(3_600)),
        "/grow" => grow(),
        "/trap" => std::process::abort(),
        "/logs" => (0..100_000).for_each(|n| println!("\u{1b}[31m line {n}")),
        "/headers" => return headers(),
        "/handles" => handles(),
        "/carry" => carry(),
        _ => {}
    }
    "survived".into()
}

fn grow() {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&kept);
    }
}

/// As many headers of 1,000 bytes as fit.
fn headers() -> String {
    let fields = Fields::new();
    let mut kept = 0;
    loop {
        if let Err(error) = fields.append(&format!("x-{kept}"), &vec![b'x'; 1_000]) {
            return format!("{kept} {error:?}");
        }
        kept += 1;
    }
}

/// Sleeps for ever while a request that is never answered is on its way.
pub async fn hide(target: &str) -> String {
    let target = format!("to={target}\npath=/silent");
    wit_bindgen::spawn_local(async move {
        crate::calls::call(&target).await;
    });
    wait_for(3_600_000_000_000).await;
    "survived".into()
}

fn handles() {
    let mut kept = Vec::new();
    loop {
        kept.push(Fields::new());
    }
}

/// More bytes in one call than a host should take.
fn carry() {
    let _ = crate::wasi::config::store::get(&"x".repeat(4 << 20));
}

/// How many requests this instance has seen, as far as it can know.
pub fn count() -> u32 {
    static SEEN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    SEEN.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1
}

/// A name of this instance.
pub fn instance() -> String {
    static NAME: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    NAME.get_or_init(crate::wasi::random0_3_0::random::get_random_u64).to_string()
}

/// Prints a line in two parts, between which another request of the instance has printed its first.
pub async fn print(name: &str) -> String {
    static BEGUN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    eprint!("{name} begins, ");
    BEGUN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    while BEGUN.load(std::sync::atomic::Ordering::Relaxed) < 2 {
        wait_for(1_000_000).await;
    }
    eprintln!("{name} ends{}", ".".repeat(20));
    "printed".into()
}

/// What a guest sees of the host: nothing.
pub fn world() -> String {
    let files = std::fs::read_dir("/").map(|entries| entries.count()).unwrap_or(0);
    let (variables, arguments) = (std::env::vars().count(), std::env::args().count());
    format!("files {files}, variables {variables}, arguments {arguments}")
}

/// `host:port` or `host:port/path`.
pub async fn fetch(target: &str) -> String {
    let (_trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (request, _) = Request::new(Fields::new(), None, no_trailers, None);
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(target)).unwrap();
    request.set_path_with_query(Some("/")).unwrap();
    match client::send(request).await {
        Ok(response) => response.get_status_code().to_string(),
        Err(error) => format!("{error:?}"),
    }
}
