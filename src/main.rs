//! The `purposegate` command.

use clap::Parser;

/// An exchange allocates some hundred times: this one takes a tenth off what it costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    purposegate::cli::run(purposegate::cli::Arguments::parse())
}
