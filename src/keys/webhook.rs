//! The secrets that sign notices to recipients whose configuration names none (Standard Webhooks).
//!
//! Each is a keyed hash of the recipient's name, so all gateways that share a key file sign alike. Invariant: the secret of one
//! recipient says nothing about that of another one.

use std::fmt;

/// Makes the secrets of webhooks.
#[derive(Clone)]
pub struct WebhookSecrets {
    key: [u8; 32],
}

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecrets")
    }
}

impl WebhookSecrets {
    pub(super) fn new(key: [u8; 32]) -> WebhookSecrets {
        WebhookSecrets { key }
    }

    /// Returns the secret of a recipient.
    pub fn of(&self, recipient: &str) -> [u8; 32] {
        *blake3::keyed_hash(&self.key, recipient.as_bytes()).as_bytes()
    }
}
