//! The host's side of a compilation in a child process: starts it, sends the component, reads the answer, and ends it
//! at its deadline, all on a thread that may block. The child limits itself (`child.rs`); here is what it cannot be trusted with:
//! the clock, the length of what is read, and the judgement of how it ended.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::wire::{Answer, Request};
use super::{Bounds, CompileError};

/// Between two looks whether the child has ended.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Of what the child complains about, as much is kept.
const MAX_COMPLAINT_BYTES: u64 = 4_096;
/// Threads of one child: more compile hardly faster, and take stacks.
const MAX_THREADS: usize = 8;
/// What the allocator, the system and the thread library say when the address space is used up.
const OUT_OF_MEMORY: [&str; 3] = ["memory allocation of", "(os error 12)", "(os error 11)"];

/// The program that compiles components, as a child of this process: it must do nothing but call
/// [`crate::compile_for_parent`].
#[derive(Debug, Clone)]
pub struct CompilerProgram {
    /// The file, usually that of this very process.
    pub program: PathBuf,
    /// What makes it compile.
    pub arguments: Vec<OsString>,
}

/// Machine code of a component, made by a child that ends with this call.
pub(super) fn compile(
    program: &CompilerProgram,
    bytes: &[u8],
    digest: &blake3::Hash,
    bounds: &Bounds,
) -> Result<Vec<u8>, CompileError> {
    // beyond what a clock can say, there is none
    let deadline = Instant::now().checked_add(bounds.wall());
    let request = Request {
        cpu: bounds.cpu,
        memory_bytes: bounds.memory_bytes as u64,
        component_bytes: bytes.len() as u64,
    };
    let end = thread::scope(|scope| {
        // killed before the scope waits for the threads that hold its pipes
        let mut running = Running::start(program)?;
        let pipes = running.pipes()?;
        let words = talk(scope, pipes, request, bytes)?;
        let status = running.wait(deadline)?;
        drop(running);
        let read = |reader: ScopedJoinHandle<'_, io::Result<Vec<u8>>>| {
            reader.join().unwrap_or_else(|_| Err(io::Error::other("the reader panicked")))
        };
        Ok(End { status, answer: read(words.answer)?, complaint: read(words.complaint)? })
    });
    end.map_err(|error: io::Error| CompileError::Gone(format!("cannot be run: {error}")))?
        .judge(digest, bounds)
}

type Pipes = (ChildStdin, ChildStdout, ChildStderr);

/// The threads that read what the child says.
struct Words<'scope> {
    answer: ScopedJoinHandle<'scope, io::Result<Vec<u8>>>,
    complaint: ScopedJoinHandle<'scope, io::Result<Vec<u8>>>,
}

/// Sends the request and reads both outputs at once: whichever pipe is full, the others go on.
fn talk<'scope>(
    scope: &'scope Scope<'scope, '_>,
    (mut input, output, errors): Pipes,
    request: Request,
    bytes: &'scope [u8],
) -> io::Result<Words<'scope>> {
    let named = || thread::Builder::new().name("compiler pipe".into());
    named().spawn_scoped(scope, move || {
        // a child that ends early is judged by its end, not by this
        let _ = request.write(&mut input).and_then(|()| input.write_all(bytes));
    })?;
    // one byte more than is allowed shows that it was too much
    let limit = request.memory_bytes.saturating_add(1);
    let answer = named().spawn_scoped(scope, move || read(output, limit))?;
    let complaint = named().spawn_scoped(scope, move || read(errors, MAX_COMPLAINT_BYTES))?;
    Ok(Words { answer, complaint })
}

fn read(from: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A child that is ended, with everything that it started, when this is dropped.
struct Running(Child);

impl Running {
    fn start(program: &CompilerProgram) -> io::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let mut command = Command::new(&program.program);
        command
            .args(&program.arguments)
            // what the host was told in variables is not the compiler's business
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            .current_dir("/")
            // a signal of the terminal is the host's to act on
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().map(Self)
    }

    fn pipes(&mut self) -> io::Result<Pipes> {
        let Child { stdin, stdout, stderr, .. } = &mut self.0;
        let pipes = (stdin.take(), stdout.take(), stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(io::Error::other("a pipe is missing"));
        };
        Ok((input, output, errors))
    }

    /// How it ended; `None` when the deadline came first.
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(None);
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // the group is named after the child; both calls fail only where nothing is left to end
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a child ended, and what it said.
struct End {
    /// `None` when it was ended at the deadline.
    status: Option<ExitStatus>,
    answer: Vec<u8>,
    complaint: Vec<u8>,
}

impl End {
    fn judge(self, digest: &blake3::Hash, bounds: &Bounds) -> Result<Vec<u8>, CompileError> {
        if self.answer.len() > bounds.memory_bytes {
            return Err(CompileError::Memory);
        }
        let Some(status) = self.status else { return Err(CompileError::Wall) };
        let complaint = String::from_utf8_lossy(&self.complaint);
        if !status.success() {
            return Err(judge_failure(status, &complaint));
        }
        match Answer::parse(digest, self.answer) {
            Some(Answer::Compiled(code)) => Ok(code),
            Some(Answer::Refused(why)) if is_out_of_memory(&why) => Err(CompileError::Memory),
            Some(Answer::Refused(why)) => Err(CompileError::Refused(why)),
            None => Err(CompileError::Gone("gave an answer that makes no sense".into())),
        }
    }
}

fn judge_failure(status: ExitStatus, complaint: &str) -> CompileError {
    if is_out_of_memory(complaint) {
        return CompileError::Memory;
    }
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        return CompileError::Cpu;
    }
    let last = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    CompileError::Gone(format!("ended by itself ({status}): {last}"))
}

fn is_out_of_memory(words: &str) -> bool {
    OUT_OF_MEMORY.iter().any(|sign| words.contains(sign))
}
