//! `credentials = […]` of a recipient: hashes of API keys and names of client certificates.
//!
//! It knows no key. Invariant: a credential names one recipient and at most one locked purpose.

use super::words::Words;
use crate::document::{At, Fields};
use crate::finding::Finding;
use crate::layer::identity::{Caller, Credentials, KeyHash};

/// Registers the credentials of the recipient at `position`.
pub(super) fn read_all(
    recipient: &mut Fields<'_>,
    words: &Words<'_>,
    position: usize,
    credentials: &mut Credentials,
) {
    for mut fields in recipient.tables("credentials", "a credential") {
        let (document, at) = (fields.document(), fields.at());
        let locked = fields.text("purpose").and_then(|name| words.purpose(document, &name));
        let caller = Caller { recipient: position, locked };
        let key = fields.text("api-key");
        let certificate = fields.text("certificate");
        let token = fields.item("jwt");
        fields.end();
        let registered = match (key, certificate, token) {
            (Some(key), None, None) => match hash(key.value) {
                Some(hash) => Some((credentials.register_key(hash, caller), key.at)),
                None => {
                    let finding = Finding::error("this is not the hash of an API key").label("not a SHA-256");
                    let hint = "`purposegate recipient key NAME` makes a key and prints its hash: `sha256:` and 64 hexadecimal digits";
                    document.find(finding.hint(hint), key.at);
                    None
                }
            },
            (None, Some(At { value, at }), None) => {
                Some((credentials.register_certificate(value.to_owned(), caller), at))
            }
            (None, None, Some(token)) => {
                let finding =
                    Finding::error("signed tokens (`jwt`) are not there yet").label("cannot be checked");
                document.find(finding.hint("register an `api-key` or a `certificate`"), token.at());
                None
            }
            _ => {
                let finding = Finding::error("a credential is either `api-key` or `certificate`");
                document.find(finding.hint("write one table for each credential"), at);
                None
            }
        };
        if let Some((Some(earlier), at)) = registered
            && earlier != caller
        {
            let finding = Finding::error("this credential is registered twice").label("the second time");
            let hint = "a credential names one recipient and at most one locked purpose";
            document.find(finding.hint(hint), at);
        }
    }
}

fn hash(text: &str) -> Option<KeyHash> {
    let digits = text.strip_prefix("sha256:")?;
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = KeyHash::default();
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}
