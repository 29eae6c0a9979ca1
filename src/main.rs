//! The `purposegate` command.

fn main() -> std::process::ExitCode {
    match purposegate::cli::parse() {
        Ok(arguments) => purposegate::cli::run(arguments),
        Err(status) => status,
    }
}
