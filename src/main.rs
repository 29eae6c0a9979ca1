//! The `purposegate` command.

fn main() -> std::process::ExitCode {
    purposegate::cli::run(purposegate::cli::parse())
}
