//! `credentials = […]` of a recipient: hashes of API keys and names of client certificates.

use super::Config;
use crate::finding::Table;
use crate::layer::identity::{Caller, KeyHash};
use crate::vocabulary::Vocabulary;

/// Registers the credentials of the recipient at `position`.
pub(super) fn read_all(recipient: &Table<'_>, vocabulary: &Vocabulary, position: usize, config: &mut Config) {
    for table in recipient.tables("credentials") {
        let locked = super::recipient::purposes(&table, "purpose", vocabulary).and_then(|purposes| purposes.first().copied());
        let caller = Caller { recipient: position, locked };
        let key = table.text("api-key");
        let certificate = table.text("certificate");
        table.report_unknown();
        let (earlier, span) = match (key, certificate) {
            (Some(key), None) => {
                let Some(hash) = parse_hash(&key.value) else {
                    let finding = table.error(key.span, "this is not the hash of an API key");
                    table.findings().push(finding.hint("`purposegate recipient key NAME` makes a key and prints `sha256:` and 64 hexadecimal digits"));
                    continue;
                };
                (config.credentials.register_key(hash, caller), key.span)
            }
            (None, Some(certificate)) => {
                (config.credentials.register_certificate(certificate.value, caller), certificate.span)
            }
            _ => {
                let finding = table.error(table.span(), "a credential is either `api-key` or `certificate`");
                table.findings().push(finding.hint("signed tokens (`jwt`) are not there yet"));
                continue;
            }
        };
        if earlier.is_some_and(|earlier| earlier != caller) {
            let finding = table.error(span, "this credential is registered twice");
            table.findings().push(finding.hint("a credential names one recipient and at most one locked purpose"));
        }
    }
}

fn parse_hash(text: &str) -> Option<KeyHash> {
    let digits = text.strip_prefix("sha256:")?;
    let mut hash = [0u8; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}
