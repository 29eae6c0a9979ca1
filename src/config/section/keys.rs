//! `[keys]`: the key file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Part;
use crate::config::ledger::LedgerUrl;
use crate::finding::Finding;

/// `[keys]`: the key file.
#[derive(Clone, Debug)]
pub struct KeysSection {
    /// Path of the key file.
    pub path: PathBuf,
    /// Name of the epoch of pseudonyms. Pseudonymised values of two epochs cannot be joined.
    pub pseudonym_epoch: Option<Arc<str>>,
}

/// Reads `[keys]`. The keys of a ledger in PostgreSQL are never created: each of its gateways would have its own.
pub(in crate::config) fn keys(part: &mut Part<'_>, ledger: &LedgerUrl) -> KeysSection {
    let mut keys = KeysSection { path: part.folder.join("data/keys"), pseudonym_epoch: None };
    let fields = part.fields.fields("keys", "`[keys]`");
    let (document, mut at) = (part.fields.document(), part.fields.at());
    let check = |path: &Path, at| {
        if matches!(ledger, LedgerUrl::Postgres(_)) && matches!(path.try_exists(), Ok(false)) {
            let words = format!("there is no key file {}", path.display());
            let hint = "all gateways of a ledger in PostgreSQL have the same keys: copy the file of another gateway, or \
                        make the first one as docs/configuration.md says";
            document.find(Finding::error("no-such-file", words).label("not there").hint(hint), at);
        }
    };
    let Some(mut fields) = fields else {
        check(&keys.path, at);
        return keys;
    };
    if let Some(file) = fields.text("file") {
        keys.path = part.folder.join(file.value);
        at = file.at;
    }
    check(&keys.path, at);
    keys.pseudonym_epoch = fields.text("pseudonym-epoch").map(|epoch| Arc::from(epoch.value));
    fields.end();
    keys
}
