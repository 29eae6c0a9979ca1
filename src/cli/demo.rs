//! `demo`: runs the demonstration. The only module of the command line that uses [`crate::demo`].

use std::process::ExitCode;

use super::error::{EXIT_FINDINGS, fail};
use super::serve::block_on;
use super::{logging, serve};
use crate::demo;

/// Runs the demonstration until the process is asked to end, or with `check` sends its requests and compares.
pub(super) fn run(check: bool) -> ExitCode {
    let _logging = logging::start("error");
    let mut out = std::io::stdout();
    let outcome = block_on(async {
        if check {
            demo::check(&mut out, &mut std::io::stderr()).await
        } else {
            demo::show(&mut out, async { serve::EndSignals::new().next().await }).await.map(|()| true)
        }
    });
    match outcome {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::from(EXIT_FINDINGS),
        Ok(Err(error)) => fail(&error),
        Err(error) => fail(&format!("cannot start the runtime: {error}")),
    }
}
