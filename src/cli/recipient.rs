//! `recipient key`: prints a new API key, which is shown only once.

use std::io::Write;

use crate::credentials::NewKey;

/// Prints a key and the line that registers it.
///
/// # Errors
/// If writing fails.
pub(super) fn print(key: &NewKey, name: &str, json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if json {
        let line = serde_json::to_string(key).map_err(std::io::Error::other)?;
        return writeln!(out, "{line}");
    }
    writeln!(out, "API key of {name}, shown once:\n\n    {}\n", key.key)?;
    writeln!(
        out,
        "Register its hash in the recipient's `credentials`:\n\n    {{ api-key = \"{}\" }}",
        key.credential
    )
}
