//! The form of a verb's output, and its exit status.

/// The format of a verb's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TextOrJson {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How a verb ended: the exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Success = 0,
    /// A finding, a refusal, a failed test.
    Findings = 1,
    /// The input cannot be used.
    Unusable = 2,
}
