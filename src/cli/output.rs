//! The format of a verb's output, and its exit status.

/// The format of verbs that print text or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TextOrJson {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The exit status of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// The verb succeeded.
    Success = 0,
    /// There is a finding, a refusal, a difference or a failed test.
    Findings = 1,
    /// The input cannot be used.
    Unusable = 2,
}
