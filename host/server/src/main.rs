//! The binary: reads its arguments, runs one verb and says how it went by its exit code.

mod allocator;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: allocator::BySize = allocator::BySize;

fn main() -> ExitCode {
    let arguments = atelier::cli::Arguments::parse();
    if arguments.is_compiler() {
        // limits hold for the threads that are started after them
        return atelier::cli::compile();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(atelier::cli::run(arguments));
            // a thread that still computes must not hold the process
            runtime.shutdown_background();
            code
        }
        Err(error) => atelier::cli::failed(&error.into()),
    }
}
