//! Why a verb fails, in words for the person at the terminal.

/// Why something did not come about; the text is for the person at the terminal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CliError {
    /// What was asked is refused.
    #[error("{0}")]
    Refused(String),
    /// It cannot be asked: no ledger, no gateway, no keys.
    #[error("{0}")]
    Unusable(String),
}

/// An error with what it rests on, in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
