//! The child's side: one component is compiled within limits, and the process ends. What may be hostile arrives on
//! standard input after the limits stand; nothing else of the host is here, neither its variables nor its files.

use std::fs;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit};

use super::machine;
use super::wire::{Answer, Request};
use crate::engine;

/// How much the child steps back behind the host that serves meanwhile.
const NICENESS: i32 = 10;
/// The first whom the kernel ends when the machine runs out of memory.
const OOM_SCORE: &str = "1000";

/// Compiles the component that the parent sends, within the limits that it names, and answers on standard output. This
/// is all that the process of [`crate::CompilerProgram`] does; it must be called before any thread is started.
pub fn compile_for_parent() -> ExitCode {
    match answer(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // the parent shows the last line; if it is gone, nobody needs to know
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(mut from: impl Read, to: impl Write) -> io::Result<()> {
    let request = Request::read(&mut from)?;
    limit_this_process(&request)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(request.component_bytes).unwrap_or(usize::MAX))?;
    from.take(request.component_bytes).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < request.component_bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let digest = blake3::hash(&bytes);
    let compiled = engine::for_compiling().and_then(|engine| machine::compile(&engine, &bytes));
    let answer = match compiled {
        Ok(code) => Answer::Compiled(code),
        Err(why) => Answer::Refused(why),
    };
    answer.write(&digest, to)
}

/// From here on, no thread of this process gets past what the request allows.
fn limit_this_process(request: &Request) -> io::Result<()> {
    // a child without a parent has nobody to answer
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // best effort: where there is no such file, the other limits still hold
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    rustix::process::nice(NICENESS)?;
    // the kernel counts whole seconds; it warns with a signal that says why, and a second later ends the process
    let seconds = request.cpu.as_millis().div_ceil(1_000) as u64;
    set(Resource::Cpu, seconds, seconds.saturating_add(1))?;
    let memory = present_address_space().saturating_add(request.memory_bytes);
    set(Resource::As, memory, memory)?;
    set(Resource::Core, 0, 0)?;
    // pipes are no files: it can answer, and write nothing else
    set(Resource::Fsize, 0, 0)
}

fn set(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(soft), maximum: Some(hard) };
    rustix::process::setrlimit(resource, limit).map_err(io::Error::from)
}

/// Bytes of address space that the binary itself takes, by no fault of the component.
fn present_address_space() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()));
    pages.unwrap_or_default().saturating_mul(rustix::param::page_size() as u64)
}
