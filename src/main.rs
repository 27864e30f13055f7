//! Arguments, telemetry, run, exit code.

// A command's whole work is one future; laying it out goes deeper than the compiler's default.
#![recursion_limit = "256"]

use std::process::ExitCode;

use alluvium::{cli::Cli, telemetry};
use clap::Parser;

/// Burn allocates every intermediate tensor; glibc would give the memory back each time, at a third of the speed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let _logs = telemetry::init_logging(&cli.log.filter, cli.log.format);
    Box::pin(cli.run()).await
}
