//! A plain `wasi:http` 0.2 handler, written for no host in particular, and a hostile one by path.

mod bombs;

use std::io::Write;

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Handler);

struct Handler;

impl wasip2::exports::http::incoming_handler::Guest for Handler {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.as_str() {
            "/spin" => loop {
                std::hint::black_box(0);
            },
            "/sleep" => std::thread::sleep(std::time::Duration::from_secs(3_600)),
            "/grow" => grow(),
            "/fill" => respond(answer, &fill()),
            "/recurse" => respond(answer, &recurse(1).to_string()),
            "/trap" => std::process::abort(),
            "/silent" => {}
            "/logs" => logs(),
            "/headers" => headers(),
            "/half" => half(answer),
            "/echo" => respond(answer, &seen(&request)),
            "/count" => respond(answer, &count().to_string()),
            "/say" => {
                println!("{}", "said ".repeat(12));
                eprint!("half a line");
                respond(answer, &count().to_string());
            }
            "/burn" => {
                burn(std::time::Duration::from_millis(60));
                respond(answer, &count().to_string());
            }
            "/hold" => {
                std::mem::forget(vec![1_u8; 10 << 20]);
                respond(answer, &count().to_string());
            }
            "/keep-body" => {
                std::mem::forget(request);
                respond(answer, "kept");
            }
            "/stamped" => stamped(answer),
            path if path.starts_with("/bomb/") => respond(answer, bombs::drop_on(&path["/bomb/".len()..])),
            _ => respond(answer, "hello from 0.2"),
        }
    }
}

fn respond(answer: ResponseOutparam, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let mut stream = body.write().unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream.flush().unwrap();
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

/// Every header, as the component sees it.
fn seen(request: &IncomingRequest) -> String {
    let fields = request.headers().entries();
    fields.iter().map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value))).collect()
}

/// A head and a first chunk, then a trap.
fn half(answer: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let mut stream = body.write().unwrap();
    stream.write_all(b"first").unwrap();
    stream.flush().unwrap();
    std::process::abort();
}

fn grow() {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&kept);
    }
}

/// Takes memory page by page until there is no more, writes to all of it, and lives to tell.
fn fill() -> String {
    let mut pages = 0;
    loop {
        let page = core::arch::wasm32::memory_grow(0, 1);
        if page == usize::MAX {
            return format!("{pages} pages");
        }
        pages += 1;
        // SAFETY: the page is new, and nobody's but ours
        unsafe { std::ptr::write_bytes((page << 16) as *mut u8, 1, 1 << 16) };
    }
}

/// Deeper than any stack.
fn recurse(depth: u64) -> u64 {
    let below = std::hint::black_box(depth);
    if below == 0 { 0 } else { recurse(below + 1) + std::hint::black_box(1) }
}

/// Computes for so long.
fn burn(time: std::time::Duration) {
    let began = std::time::Instant::now();
    while began.elapsed() < time {
        std::hint::black_box(0);
    }
}

/// How many requests this instance has seen, as far as it can know.
fn count() -> u32 {
    static SEEN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    SEEN.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1
}

/// Which build this is, at both ends of a body that takes its time. Tests replace the stamp by another of its length.
fn stamped(answer: ResponseOutparam) {
    let stamp = std::hint::black_box("stamp-of-build-one");
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().unwrap();
    ResponseOutparam::set(answer, Ok(response));
    let mut stream = body.write().unwrap();
    stream.write_all(stamp.as_bytes()).unwrap();
    stream.flush().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(30));
    stream.write_all(&vec![b'.'; 20_000]).unwrap();
    stream.write_all(stamp.as_bytes()).unwrap();
    stream.flush().unwrap();
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

fn logs() {
    loop {
        println!("\u{1b}[31mflood");
    }
}

fn headers() {
    let fields = Fields::new();
    for n in 0.. {
        fields.append(&format!("x-{n}"), &vec![b'x'; 1_000]).unwrap();
    }
}
