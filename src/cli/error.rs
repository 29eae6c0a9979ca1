//! Errors of the verbs, their messages and their exit statuses.

use std::io::{self, Write};
use std::process::ExitCode;

/// Exit status for a finding or a refusal.
pub(super) const EXIT_FINDINGS: u8 = 1;
/// Exit status for unusable input.
pub(super) const EXIT_UNUSABLE: u8 = 2;

/// An error that the person at the terminal reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CliError {
    /// The request is refused.
    #[error("{0}")]
    Refused(String),
    /// The request cannot be made: there is no ledger, no gateway, or no keys.
    #[error("{0}")]
    Unusable(String),
}

/// The reason why a verb ends early.
pub(super) enum VerbError {
    /// An error to report.
    Cli(CliError),
    /// The output cannot be written.
    Output(io::Error),
}

impl From<CliError> for VerbError {
    fn from(error: CliError) -> Self {
        VerbError::Cli(error)
    }
}

impl From<io::Error> for VerbError {
    fn from(error: io::Error) -> Self {
        VerbError::Output(error)
    }
}

/// Makes an error with status 2 of an error and its causes.
pub(super) fn unusable_error(error: &dyn std::error::Error) -> CliError {
    CliError::Unusable(with_causes(error))
}

/// Returns the exit status of a verb, and prints its error.
///
/// # Errors
/// If writing fails, now or in the verb.
pub(super) fn exit_status(outcome: Result<u8, VerbError>, err: &mut dyn Write) -> io::Result<u8> {
    match outcome {
        Ok(status) => Ok(status),
        Err(VerbError::Output(error)) => Err(error),
        Err(VerbError::Cli(error)) => {
            writeln!(err, "purposegate: {error}")?;
            Ok(match error {
                CliError::Refused(_) => EXIT_FINDINGS,
                CliError::Unusable(_) => EXIT_UNUSABLE,
            })
        }
    }
}

/// Returns an error and its causes in one line, separated by colons.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

/// Reports why a verb cannot run. Returns the exit status for unusable input.
pub(super) fn fail(message: &str) -> ExitCode {
    print_message(&format!("purposegate: {message}"));
    ExitCode::from(EXIT_UNUSABLE)
}

/// Prints a message to stderr.
pub(super) fn print_message(message: &str) {
    // If this cannot be written, the exit status still reports the failure.
    let _ = writeln!(io::stderr(), "{message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_printed_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct OuterError(#[source] std::fmt::Error);
        let text = with_causes(&OuterError(std::fmt::Error));
        assert_eq!(text, format!("outer: {}", std::fmt::Error));
    }
}
