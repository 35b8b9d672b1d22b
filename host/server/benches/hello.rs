//! Requests per second of a hello route against `wasmtime serve` of the same version: the same guests, the same load
//! (`wrk -t1 -c32`), the same reuse of instances, turn by turn in one run, ratios last: a fresh instance for each request
//! first, then several requests in one at a time, as `wasmtime serve` does for wasi:http 0.3 by default. Run with
//! `cargo bench -p atelier --bench hello`.
//!
//! Needs `wrk`, and `wasmtime` 48 (`cargo install wasmtime-cli@48.0.8`), or its path in `WASMTIME`.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROUNDS: usize = 5;
const SECONDS: u32 = 4;
const OURS: &str = "127.0.0.1:18080";
const THEIRS: &str = "127.0.0.1:18081";

/// A server process that ends with its value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> Result<()> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/any-component");
    run(&mut Command::new(example.join("build.sh")))?;
    let peer = std::env::var("WASMTIME").unwrap_or_else(|_| "wasmtime".into());
    println!("peer: {}", run(Command::new(&peer).arg("--version"))?.trim());
    let none: &[&str] = &["-Sp3", "--max-instance-reuse-count", "1"];
    let mut ratios = Vec::new();
    for (version, reuse, flags) in
        [("0.2", "none", &[][..]), ("0.3", "none", none), ("0.3", "concurrent", &["-Sp3"])]
    {
        let guest = example.join(format!("target/hello-{version}.wasm"));
        let ratio = compare(version, reuse, &guest, &peer, flags)?;
        ratios.push(format!(
            "wasi:http {version}, reuse {reuse}: atelier / wasmtime serve, median of {ROUNDS}: {ratio:.2}"
        ));
    }
    println!("{}", ratios.join("\n"));
    Ok(())
}

fn compare(version: &str, reuse: &str, guest: &Path, peer: &str, flags: &[&str]) -> Result<f64> {
    let _ours = serve_ours(guest, reuse)?;
    let _theirs = serve_theirs(peer, flags, guest)?;
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let (ours, theirs) = (load(OURS)?, load(THEIRS)?);
        println!(
            "wasi:http {version}, reuse {reuse}, round {round}: atelier {ours:.0}/s, wasmtime serve {theirs:.0}/s"
        );
        ratios.push(ours / theirs);
    }
    ratios.sort_by(f64::total_cmp);
    Ok(ratios[ROUNDS / 2])
}

fn serve_ours(guest: &Path, reuse: &str) -> Result<Server> {
    let folder = std::env::temp_dir().join(format!("atelier-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let manifest = folder.join("atelier.toml");
    let text = format!(
        "[server]\nlisten = \"{OURS}\"\nadmin = \"127.0.0.1:0\"\nlog = \"warn\"\n[[route]]\nname = \"hello\"\npath = \"/\"\n\
         component = \"{}\"\nreuse = \"{reuse}\"\n",
        guest.display()
    );
    std::fs::write(&manifest, text)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_atelier"));
    start(command.args(["serve", "--config"]).arg(manifest), OURS)
}

fn serve_theirs(peer: &str, flags: &[&str], guest: &Path) -> Result<Server> {
    let mut command = Command::new(peer);
    start(command.args(["serve", "-Scli", "--addr", THEIRS]).args(flags).arg(guest), THEIRS)
}

/// Starts a server and waits until it accepts connections.
fn start(command: &mut Command, address: &str) -> Result<Server> {
    let server = Server(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    for _ in 0..300 {
        if std::net::TcpStream::connect(address).is_ok() {
            return Ok(server);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(format!("{command:?} does not answer at {address}").into())
}

/// Requests per second; an error when one was not answered with 200.
fn load(address: &str) -> Result<f64> {
    let url = format!("http://{address}/");
    let report = run(Command::new("wrk").args(["-t1", "-c32", &format!("-d{SECONDS}s"), &url]))?;
    if report.contains("Non-2xx") {
        return Err(format!("{address} failed requests:\n{report}").into());
    }
    let line = report.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(line.ok_or("wrk printed no rate")?.trim().parse()?)
}

/// The standard output of a command that must succeed.
fn run(command: &mut Command) -> Result<String> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let lines =
        child.stdout.take().map(|out| BufReader::new(out).lines().collect::<std::io::Result<Vec<_>>>());
    match child.wait()?.success() {
        true => Ok(lines.transpose()?.unwrap_or_default().join("\n")),
        false => Err(format!("{command:?} failed").into()),
    }
}
