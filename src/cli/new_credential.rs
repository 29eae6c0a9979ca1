//! `recipient key` and `admin token`: print a new credential, which is shown only once, and the line that registers it.
//! `recipient webhook-secret`: prints the secret that is computed from the key file.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Format;
use crate::config::SECRET_PREFIX;
use crate::credentials::NewKey;
use crate::keys::Keys;

/// Prints an API key and the line that registers it.
///
/// # Errors
/// If writing fails.
pub(super) fn print_key(key: &NewKey, name: &str, format: Format, out: &mut dyn Write) -> io::Result<()> {
    if format == Format::Json {
        return print_json(key, out);
    }
    writeln!(out, "API key of {name}, shown once:\n\n    {}\n", key.key)?;
    writeln!(
        out,
        "Register its hash in the recipient's `credentials`:\n\n    {{ api-key = \"{}\" }}",
        key.credential
    )
}

/// Prints a token of the admin API and the line that registers it.
///
/// # Errors
/// If writing fails.
pub(super) fn print_token(token: &NewKey, name: &str, format: Format, out: &mut dyn Write) -> io::Result<()> {
    if format == Format::Json {
        return print_json(token, out);
    }
    writeln!(out, "Token of {name} for the admin API, shown once:\n\n    {}\n", token.key)?;
    writeln!(
        out,
        "Register its hash in `[admin]`, with the roles that {name} needs (read, ledger, privacy, cases, operator):\n\n    \
         tokens = [{{ name = {name:?}, hash = \"{}\", roles = [\"read\"] }}]",
        token.credential
    )
}

/// Prints the secret of a recipient's webhook, as Standard Webhooks writes it.
///
/// # Errors
/// If writing fails.
pub(super) fn print_webhook_secret(keys: &Keys, name: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{SECRET_PREFIX}{}", STANDARD.encode(keys.webhook_secrets().of(name)))
}

fn print_json(key: &NewKey, out: &mut dyn Write) -> io::Result<()> {
    let line = serde_json::to_string(key).map_err(io::Error::other)?;
    writeln!(out, "{line}")
}
