//! Runs the program as a user would: arguments, standard input, exit status and output.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Exit status, standard output and standard error of one run.
pub(crate) type Run = (i32, String, String);

/// Runs the program with empty standard input.
pub(crate) fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    run_with_input(arguments, "")
}

/// Runs the program with this standard input.
pub(crate) fn run_with_input<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>, input: &str) -> Run {
    run_command(program().args(arguments), input)
}

/// The program, without a token in its environment.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_purposegate"));
    command.env_remove("PURPOSEGATE_TOKEN");
    command
}

/// Runs a command with this standard input.
pub(crate) fn run_command(command: &mut Command, input: &str) -> Run {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The program may end without reading its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A new folder with this configuration, and the path of its file.
pub(crate) fn write_config(config: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("purposegate.toml");
    std::fs::write(&file, config).unwrap();
    (folder, file)
}
