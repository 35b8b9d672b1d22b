//! The process that compiles is not trusted to end, to answer, or to be brief. Here it is played by programs that do
//! none of it; the real one meets hostile components in the server's tests.

use std::fs;
use std::path::Path;
use std::time::Duration;

use atelier_runtime::{Code, CompilerProgram, Limits, LoadProblem, RouteSpec, Runtime, RuntimeConfig};

use crate::kit::{self, guest, spec, until};

const MIB: usize = 1 << 20;

/// A runtime whose compiler is a shell script.
fn compiled_by(script: &str) -> Runtime {
    let compiler = CompilerProgram { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] };
    let config = RuntimeConfig { compiler: Some(compiler), ..RuntimeConfig::default() };
    kit::runtime_with(config, kit::scheduler(Duration::ZERO))
}

/// A route whose handler is the same but for a note that nobody reads.
fn noted(note: u8) -> RouteSpec {
    let mut handler = guest("plain2");
    let mut bytes = handler.bytes.to_vec();
    bytes.extend([0, 2, 1, note]);
    handler.bytes = bytes.into();
    spec(handler)
}

fn within(limits: Limits) -> RouteSpec {
    RouteSpec { limits, ..spec(guest("plain2")) }
}

async fn problem(runtime: &Runtime, spec: RouteSpec) -> LoadProblem {
    let error = runtime.deploy(spec).await.expect_err("the route should not load");
    let [problem] = error.problems.try_into().expect("one problem");
    problem
}

fn is_running(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.trim())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compiler_that_fails_or_talks_nonsense_is_told_by_how_it_ended() {
    let cases = [
        ("cat", "gave an answer that makes no sense"),
        ("exit 0", "gave an answer that makes no sense"),
        ("exec cat /proc/self/exe", "gave an answer that makes no sense"),
        ("echo something broke >&2; exit 3", "(exit status: 3): something broke"),
        ("kill -KILL $$", "signal: 9"),
    ];
    for (script, told) in cases {
        let problem = problem(&compiled_by(script), spec(guest("plain2"))).await;
        assert!(matches!(problem, LoadProblem::CompilerGone { .. }), "{script}: {problem:?}");
        let text = problem.to_string();
        assert!(text.starts_with("component `plain2.wasm` was not compiled: the compiler "), "{text}");
        assert!(text.contains(told), "{script}: {text}");
    }
}

#[tokio::test]
async fn a_compiler_that_cannot_be_started_compiles_nothing() {
    let compiler = CompilerProgram { program: "/nowhere/atelier".into(), arguments: Vec::new() };
    let config = RuntimeConfig { compiler: Some(compiler), ..RuntimeConfig::default() };
    let runtime = kit::runtime_with(config, kit::scheduler(Duration::ZERO));
    let problem = problem(&runtime, spec(guest("plain2"))).await;
    assert!(problem.to_string().contains("cannot be run: No such file"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compiler_that_does_not_end_is_ended_with_everything_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let noted = folder.path().join("process");
    let runtime = compiled_by(&format!("sleep 600 & echo $! > {}; wait", noted.display()));
    let limits = Limits { compile: Duration::from_millis(250), ..Limits::default() };
    let problem = problem(&runtime, within(limits)).await;
    assert!(
        matches!(problem, LoadProblem::CompileWall { limit, factor: 4, .. } if limit == Duration::from_secs(1)),
        "{problem:?}"
    );
    assert!(problem.to_string().contains("4 times limits.compile-ms of route `/test`"), "{problem}");
    let process = fs::read_to_string(&noted).unwrap();
    until(|| !is_running(&process)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_end_is_cut_at_the_memory_that_compiling_may_take() {
    let limits = Limits { compile_memory_bytes: 8 * MIB, ..Limits::default() };
    let problem = problem(&compiled_by("exec cat /dev/zero"), within(limits)).await;
    assert!(matches!(problem, LoadProblem::CompileMemory { limit, .. } if limit == 8 * MIB), "{problem:?}");
    assert!(problem.to_string().contains("limits.compile-memory-bytes of route `/test`"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compiler_without_processor_time_left_is_told_from_others() {
    let limits = Limits { compile: Duration::from_millis(900), ..Limits::default() };
    let problem = problem(&compiled_by("kill -XCPU $$; sleep 1"), within(limits)).await;
    assert!(problem.to_string().contains("more than 900 ms of processor time"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compiler_sees_nothing_of_the_hosts_variables() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("variables");
    let runtime = compiled_by(&format!("exec env > {}", seen.display()));
    problem(&runtime, spec(guest("plain2"))).await;
    let names: Vec<String> = fs::read_to_string(&seen)
        .unwrap()
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
        // the shell's own
        .filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(&name.as_str()))
        .collect();
    assert_eq!(names, ["RAYON_NUM_THREADS"]);
}

/// The most compilations that were under way at a time, by the log that each leaves.
fn most_at_a_time(log: &Path) -> i32 {
    let (mut now, mut most) = (0, 0);
    for line in fs::read_to_string(log).unwrap().lines() {
        now += if line == "begin" { 1 } else { -1 };
        most = most.max(now);
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_two_compile_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let shown = log.display();
    let runtime = compiled_by(&format!("echo begin >> {shown}; sleep 0.2; echo end >> {shown}"));
    let routes = (0..6).map(|note| {
        let runtime = runtime.clone();
        async move { problem(&runtime, noted(note)).await }
    });
    futures::future::join_all(routes).await;
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 12);
    assert_eq!(most_at_a_time(&log), 2);
    assert_eq!(runtime.metrics().refused_compiles, 6);
}

#[tokio::test]
async fn in_this_process_compiling_ends_by_the_clock() {
    let limits = Limits { compile: Duration::ZERO, ..Limits::default() };
    let runtime = kit::runtime_with(RuntimeConfig::default(), kit::scheduler(Duration::ZERO));
    let problem = problem(&runtime, within(limits)).await;
    assert!(matches!(problem, LoadProblem::CompileWall { .. }), "{problem:?}");
}

#[tokio::test]
async fn what_the_compiler_refuses_is_not_compiled_again() {
    let runtime = kit::runtime_with(RuntimeConfig::default(), kit::scheduler(Duration::ZERO));
    // a core module whose function leaves a number where it should leave none
    let wat = r#"(component
        (core module (func (export "f") (result i32) nop))
        (instance $handler)
        (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#;
    let invalid: Code = Code { name: "x.wasm".into(), bytes: wat::parse_str(wat).unwrap().into() };
    for _ in 0..2 {
        let problem = problem(&runtime, spec(invalid.clone())).await;
        assert!(matches!(problem, LoadProblem::Broken { .. }), "{problem:?}");
    }
    assert_eq!(runtime.metrics().refused_compiles, 1);
}
