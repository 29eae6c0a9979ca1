//! The `purposegate` command.

use clap::Parser;

fn main() -> std::process::ExitCode {
    purposegate::cli::run(purposegate::cli::Arguments::parse())
}
