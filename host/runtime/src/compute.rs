//! Threads for guests that compute for long. A guest gives way at ticks only, which is ten milliseconds at a time; on the
//! threads that serve everybody, each step of everybody's requests would wait behind that, and so would the sockets, which
//! such threads look at in between. On threads of its own it meets the others in the system's scheduler, which lets those
//! who slept go first. (Measured on two busy cores with `product neighbours`: beside eight hostile guests the 99th percentile
//! of a plain request went from 710 ms to 16 ms.)

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::AbortHandle;

/// Runs what is long.
pub(crate) struct ComputeThreads {
    threads: Handle,
    /// Always there until the drop.
    runtime: Option<Runtime>,
}

impl ComputeThreads {
    /// As many threads as guests may compute at a time.
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("guests")
            // a guest that has computed for long may still sleep, or ask a server: clocks and sockets are looked at after each
            // slice, since one takes as long as hundreds of polls elsewhere
            .enable_all()
            .event_interval(1)
            .build()?;
        Ok(Self { threads: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs work to its end; it ends early when nobody waits for it any more.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        work: impl Future<Output = wasmtime::Result<R>> + Send + 'static,
    ) -> wasmtime::Result<R> {
        let task = self.threads.spawn(work);
        let _stop = Stop(task.abort_handle());
        task.await.unwrap_or_else(|error| match error.try_into_panic() {
            // a fault of the host is met where every other one is
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => Err(cancelled.into()),
        })
    }
}

impl Drop for ComputeThreads {
    fn drop(&mut self) {
        // a plain drop would wait for the threads, and the last one to let go may be one of them
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Stops a task when dropped.
pub(crate) struct Stop(pub(crate) AbortHandle);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
