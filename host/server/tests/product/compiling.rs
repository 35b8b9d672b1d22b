//! Hostile components against the real binary: what they cost is bounded, they are refused by name of the limit, and
//! meanwhile the version that served before serves, and the admin address answers.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::task::JoinHandle;

use crate::bombs;
use crate::client::get;
use crate::host::{Host, atelier, example};
use crate::operator::{Operator, live};

/// The promise of `host/README.md`.
const HEALTH: Duration = Duration::from_millis(500);
const HELLO: &str = "hello from wasi:http 0.2\n";

fn hello() -> Vec<u8> {
    example("any-component/hello-0.2", "hello_02.wasm")
}

fn route(name: &str, limits: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\ncomponent = \"{name}.wasm\"\nlimits = {{ {limits} }}\n"
    )
}

/// A host with an honest route, and one to which anything may be uploaded.
async fn host(limits: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    for name in ["honest", "upload"] {
        std::fs::write(folder.path().join(format!("{name}.wasm")), hello()).unwrap();
    }
    Host::with(folder, Some(&(route("honest", "") + &route("upload", limits)))).await
}

/// Uploads bytes that must not load; answers what is said about them. What answered before still does.
async fn refused(host: &Host, bytes: &[u8]) -> String {
    let before = host.status().await;
    let (error, failures) = (before["routes"][1]["error"].clone(), before["reload"]["failures"].clone());
    host.put("upload.wasm", bytes);
    host.until("refused", |status| status["reload"]["failures"] != failures).await;
    // routes are shown before reloads: those of one status may be older than its count
    let status = host.status().await;
    let told = status["routes"][1]["error"].as_str().unwrap().to_owned();
    assert_ne!(error, told, "each is told by its own reason");
    assert!(status["routes"][0]["error"].is_null(), "{status:#}");
    for path in ["/honest", "/upload"] {
        assert_eq!(get(host.edge, path).await.text(), HELLO);
    }
    told
}

/// Somebody who asks the admin address for its health, again and again.
struct Pulse {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<Vec<Duration>>,
}

impl Pulse {
    fn of(host: &Host) -> Pulse {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, admin) = (stop.clone(), host.admin);
        let asking = tokio::spawn(async move {
            let mut times = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                assert_eq!(get(admin, "/health").await.status, StatusCode::OK);
                times.push(began.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            times
        });
        Pulse { stop, asking }
    }

    /// The time within which 99 of 100 were answered.
    async fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = self.asking.await.unwrap();
        times.sort_unstable();
        assert!(times.len() >= 10, "only {} looks at the health", times.len());
        let p99 = times[times.len() * 99 / 100];
        println!("health during compilation: {} times, p99 {p99:?}", times.len());
        p99
    }
}

fn assert_has(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn components_that_take_too_long_to_compile_are_refused_and_the_old_ones_serve() {
    let host = host("compile-ms = 900").await;
    let hello = hello();
    let pulse = Pulse::of(&host);
    for bomb in [bombs::many_functions, bombs::one_giant_function, bombs::deep_loops] {
        let began = Instant::now();
        let told = refused(&host, &bomb(&hello)).await;
        println!("{:?}: {told}", began.elapsed());
        assert_has(&told, "limits.compile-ms of route `upload`");
        host.put("upload.wasm", &hello);
        host.until("repaired", |status| status["routes"][1]["error"].is_null()).await;
    }
    assert!(pulse.stop().await < HEALTH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn components_that_take_too_much_memory_to_compile_are_refused_once() {
    let host = host("compile-memory-bytes = \"32 MiB\"").await;
    let bomb = bombs::carried_locals(&hello());
    let pulse = Pulse::of(&host);
    assert_has(&refused(&host, &bomb).await, "more than 33554432 bytes of memory to compile");
    assert!(pulse.stop().await < HEALTH);
    // the same bytes again, after the file was touched: what is known is not tried
    let status = host.status().await;
    let failures = status["reload"]["failures"].as_u64().unwrap();
    assert_eq!(status["runtime"]["refused_compiles"], 1);
    host.put("upload.wasm", &bomb);
    let status = host.until("told again", |status| status["reload"]["failures"] == failures + 1).await;
    assert_eq!(status["runtime"]["refused_compiles"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_that_are_uploaded_are_refused_by_their_limit_and_the_old_component_serves() {
    let hello = hello();
    let operator = Operator::with(&hello, "", &live("limits = { compile-ms = 900 }")).await;
    let pulse = Pulse::of(&operator.host);
    let makers = [bombs::many_functions, bombs::one_giant_function, bombs::deep_loops, bombs::carried_locals];
    for bomb in makers {
        let refused = operator.upload(&bomb(&hello), "").await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text());
        assert_has(refused.text(), "limits.compile-");
        assert_eq!(get(operator.host.edge, "/").await.text(), HELLO);
    }
    assert!(pulse.stop().await < HEALTH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_bombs_at_once_are_all_refused_and_the_host_goes_on() {
    let host = host("").await;
    let hello = hello();
    let mut manifest = route("honest", "") + &route("upload", "");
    let makers = [bombs::many_functions, bombs::one_giant_function, bombs::deep_loops];
    for (number, bomb) in makers.iter().cycle().take(5).enumerate() {
        let name = format!("bomb-{number}");
        host.put(&format!("{name}.wasm"), &bomb(&hello));
        manifest += &route(&name, "compile-ms = 900");
    }
    let before = host.memory();
    let pulse = Pulse::of(&host);
    host.put("atelier.toml", manifest.as_bytes());
    let status = host.until("all refused", |status| status["routes"][6]["error"].is_string()).await;
    let grown = host.memory().saturating_sub(before);
    for route in &status["routes"].as_array().unwrap()[2..] {
        assert_has(route["error"].as_str().unwrap(), "limits.compile-ms of route `bomb-");
    }
    assert_eq!(get(host.edge, "/honest").await.text(), HELLO);
    assert_eq!(get(host.edge, "/bomb-0").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(pulse.stop().await < HEALTH);
    println!("the host itself grew by {} MiB", grown >> 20);
    assert!(grown < 128 << 20, "the host grew by {} MiB", grown >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_no_host_could_run_are_refused_with_their_reason() {
    let host = host("").await;
    let hello = hello();
    let missing = wat::parse_str(
        r#"(component
            (import "acme:vault/secrets@1.0.0" (instance))
            (instance $handler)
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#,
    );
    let world = r#"(component (instance $h) (export "wasi:http/incoming-handler@0.1.0" (instance $h)))"#;
    let random: Vec<u8> = (0..4_096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let cases = [
        (b"\0asm\x01\0\0\0".to_vec(), "is a core WebAssembly module"),
        (hello[..hello.len() / 2].to_vec(), "is cut short"),
        (random, "is not a WebAssembly component"),
        (wat::parse_str(world).unwrap(), "does not export `wasi:http/handler@0.3.0` or"),
        (missing.unwrap(), "`acme:vault/secrets@1.0.0`, which this host does not have"),
        (bombs::too_many_locals(&hello), "too many locals"),
        ([hello.as_slice(), &[1, 4, 0, 0, 0, 0]].concat(), "`upload.wasm`"),
    ];
    for (bytes, why) in cases {
        assert_has(&refused(&host, &bytes).await, why);
    }
}

/// Asks the compiling process itself, as a host does: limits of milliseconds and bytes, a length, and a component.
fn compiler(cpu_ms: u64, memory_bytes: u64, length: u64, component: &[u8]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = atelier(folder.path());
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.arg("compile-component").spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let header = [cpu_ms, memory_bytes, length].map(u64::to_le_bytes).concat();
    // what ends before it has read everything is judged by its end
    let _ = input.write_all(&header).and_then(|()| input.write_all(component));
    drop(input);
    child.wait_with_output().unwrap()
}

#[test]
fn the_compiling_process_limits_itself() {
    const XCPU: i32 = 24;
    let hello = hello();
    let bomb = bombs::many_functions(&hello);
    let late = compiler(1_000, 2 << 30, bomb.len() as u64, &bomb);
    assert_eq!((late.status.signal(), late.status.core_dumped()), (Some(XCPU), false), "{late:?}");
    assert!(late.stdout.is_empty());
    let large = bombs::carried_locals(&hello);
    let large = compiler(600_000, 32 << 20, large.len() as u64, &large);
    let words = String::from_utf8_lossy(&large.stderr);
    assert!(!large.status.success() && large.stdout.is_empty(), "{:?}", large.status);
    assert_has(&words, "memory allocation of");
    let whole = compiler(60_000, 1 << 30, hello.len() as u64, &hello);
    assert!(whole.status.success() && whole.stdout.len() > hello.len(), "{:?}", whole.status);
    for (length, bytes) in [(1, &b""[..]), (2, b"x"), (u64::MAX, b"x")] {
        let cut = compiler(1_000, 1 << 30, length, bytes);
        assert_eq!((cut.status.code(), cut.stdout.len()), (Some(1), 0), "{cut:?}");
    }
}

/// The children of a process that compile.
fn compilers_of(host: u32) -> Vec<u32> {
    let children = |id: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        status.contains(&format!("\nPPid:\t{host}\n"))
    };
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name();
        name.to_str()?.parse().ok()
    });
    processes.filter(children).filter(is_compiler).collect()
}

fn is_compiler(id: &u32) -> bool {
    // empty of a process that has ended
    let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    command.ends_with(b"\0compile-component\0")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_leaves_no_compiler_behind() {
    let mut host = host("compile-ms = 600_000").await;
    host.put("upload.wasm", &bombs::many_functions(&hello()));
    let end = Instant::now() + Duration::from_secs(30);
    let compilers = loop {
        let compilers = compilers_of(host.id());
        if !compilers.is_empty() {
            break compilers;
        }
        assert!(Instant::now() < end, "nothing compiles");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    host.signal("KILL");
    host.end().await;
    while compilers.iter().any(is_compiler) {
        assert!(Instant::now() < end, "{compilers:?} are still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
