//! A host with 500 idle routes: 50 distinct components, 100 tenants. Prints the time from start to the first answer with
//! an empty and with a full cache of compiled code, the memory of a route and of a component, and the requests per second
//! over all routes against those of a host with one. Run with `cargo bench -p atelier --bench routes`.
//!
//! Needs `wrk`.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROUTES: usize = 500;
const COMPONENTS: usize = 50;
const TENANTS: usize = 100;
const EDGE: &str = "127.0.0.1:18082";
const SECONDS: u32 = 5;
/// Much longer than compiling takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// A folder of components, manifests and compiled code, removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running host that ends with its value.
struct Host {
    process: Child,
    /// From its start to its first answer.
    started: Duration,
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn main() -> Result<()> {
    let folder = Folder(std::env::temp_dir().join(format!("atelier-bench-{}", std::process::id())));
    fs::create_dir_all(&folder.0)?;
    make_components(&folder.0)?;
    let cold = Host::start(&folder.0, ROUTES, COMPONENTS)?;
    println!("start, cache cold: {} routes of {COMPONENTS} components in {:.2?}", ROUTES, cold.started);
    drop(cold);
    let one = Host::start(&folder.0, 1, 1)?;
    let (alone, rate_alone) = (one.memory()?, load(&folder.0, 1)?);
    println!("start, cache warm: 1 route in {:.2?}, {:.1} MiB", one.started, mib(alone));
    drop(one);
    let shared = Host::start(&folder.0, ROUTES, 1)?;
    println!("start, cache warm: {ROUTES} routes of one component in {:.2?}", shared.started);
    let with_one = shared.memory()?;
    drop(shared);
    let all = Host::start(&folder.0, ROUTES, COMPONENTS)?;
    let memory = all.memory()?;
    println!(
        "start, cache warm: {ROUTES} routes of {COMPONENTS} components in {:.2?}, {:.1} MiB",
        all.started,
        mib(memory)
    );
    let each = |bytes: u64, count: usize| bytes as f64 / count as f64 / 1_024.0;
    println!("memory of a route more: {:.1} KiB", each(with_one.saturating_sub(alone), ROUTES - 1));
    println!("memory of a component more: {:.1} KiB", each(memory.saturating_sub(with_one), COMPONENTS - 1));
    let rate = load(&folder.0, ROUTES)?;
    println!("requests: {rate:.0}/s over {ROUTES} routes, {rate_alone:.0}/s over one");
    println!("memory after the load: {:.1} MiB", mib(all.memory()?));
    println!("{ROUTES} routes / one route, requests per second: {:.2}", rate / rate_alone);
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The same guest, told apart by a custom section of two bytes that nobody reads.
fn make_components(folder: &Path) -> Result<()> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/any-component");
    let built = Command::new(example.join("build.sh")).stdout(Stdio::null()).status()?;
    if !built.success() {
        return Err("examples/any-component does not build".into());
    }
    let guest = fs::read(example.join("target/hello-0.2.wasm"))?;
    for number in 0..COMPONENTS {
        let section = [0, 2, 1, u8::try_from(number)?];
        fs::write(folder.join(format!("{number}.wasm")), [guest.as_slice(), &section].concat())?;
    }
    Ok(())
}

fn manifest(routes: usize, components: usize) -> Result<String> {
    let mut text = format!(
        "[server]\nlisten = \"{EDGE}\"\nadmin = \"127.0.0.1:0\"\nlog = \"warn\"\nreload = false\n[store]\ncache-dir = \"compiled\"\n"
    );
    for tenant in 0..TENANTS {
        write!(text, "[[tenant]]\nid = \"t{tenant}\"\n")?;
    }
    for route in 0..routes {
        let (component, tenant) = (route % components, route % TENANTS);
        write!(
            text,
            "[[route]]\nname = \"r{route}\"\npath = \"/r{route}\"\ncomponent = \"{component}.wasm\"\ntenant = \"t{tenant}\"\n\
             access = \"open\"\n"
        )?;
    }
    Ok(text)
}

impl Host {
    /// Starts with so many routes; returns when the last one has answered.
    fn start(folder: &Path, routes: usize, components: usize) -> Result<Host> {
        fs::write(folder.join("atelier.toml"), manifest(routes, components)?)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_atelier"));
        command.arg("serve").current_dir(folder).stdout(Stdio::null());
        let began = Instant::now();
        let mut host = Host { process: command.spawn()?, started: Duration::ZERO };
        while !answers(&format!("/r{}", routes - 1)) {
            if let Some(status) = host.process.try_wait()? {
                return Err(format!("the host ended: {status}").into());
            }
            if began.elapsed() > PATIENCE {
                return Err("the host does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        host.started = began.elapsed();
        Ok(host)
    }

    /// Resident memory in bytes.
    fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
    }
}

/// Whether a path is answered with 200.
fn answers(path: &str) -> bool {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(EDGE)?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
}

/// Requests per second over so many routes in turn; an error when one was not answered with 200.
fn load(folder: &Path, routes: usize) -> Result<f64> {
    let script = folder.join("turn.lua");
    let turn = format!(
        "local n = 0\nrequest = function() n = (n + 1) % {routes}; return wrk.format(nil, '/r' .. n) end\n"
    );
    fs::write(&script, turn)?;
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c32", &format!("-d{SECONDS}s"), "-s"]).arg(&script).arg(format!("http://{EDGE}/"));
    let output = wrk.stderr(Stdio::inherit()).output().map_err(|error| format!("wrk: {error}"))?;
    let report = String::from_utf8(output.stdout)?;
    if !output.status.success() || report.contains("Non-2xx") {
        return Err(format!("failed requests:\n{report}").into());
    }
    let line = report.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(line.ok_or("wrk printed no rate")?.trim().parse()?)
}
