//! The shipped policy packs, and the `policy` commands run on them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking, and says what it skips"
)]

mod coverage;
mod explain;
mod packs;
mod scenarios;

use std::path::{Path, PathBuf};

use purposegate::cli::output::ExitStatus;
use purposegate::cli::policy::{PolicyVerb, run};

/// Returns the folder of a shipped pack.
fn pack(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name)
}

/// Runs a `policy` command as the command line would. Returns its exit status, its output and its messages.
fn policy(arguments: &[&str]) -> (ExitStatus, String, String) {
    #[derive(clap::Parser)]
    struct Arguments {
        #[command(subcommand)]
        verb: PolicyVerb,
    }
    let arguments = <Arguments as clap::Parser>::parse_from(["policy"].iter().chain(arguments));
    let (mut out, mut words) = (Vec::new(), Vec::new());
    let outcome = run(&arguments.verb, &mut out, &mut words).unwrap();
    (outcome, String::from_utf8(out).unwrap(), String::from_utf8(words).unwrap())
}

const PACKS: [&str; 2] = ["one-partner-360", "perspectium"];
