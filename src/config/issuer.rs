//! Reads `[[issuer]]`: the issuers of accepted tokens, and the files with their public keys.
//!
//! The gateway does not request key sets: the operator puts them on this machine, like certificates.

use std::path::{Path, PathBuf};

use super::Part;
use super::files::existing;
use super::section::UniqueNames;
use crate::document::{At, Document, Fields};
use crate::exchange::caller::token::Issuer;
use crate::finding::Finding;

/// Hint for a file with keys that does not exist.
const PUBLISHED: &str = "save what the issuer publishes at its `jwks_uri` there: the gateway fetches nothing";

/// The issuers of all files, in the order that token patterns refer to.
pub(super) struct Issuers {
    /// URL of each issuer, including those with errors.
    urls: Vec<String>,
    issuers: Vec<Issuer>,
    /// Files that the keys were read from.
    pub(super) files: Vec<PathBuf>,
}

impl Issuers {
    pub(super) fn read_all(parts: &mut [Part<'_>]) -> Issuers {
        let mut all = Issuers { urls: Vec::new(), issuers: Vec::new(), files: Vec::new() };
        let mut names = UniqueNames::of("issuer");
        for part in parts.iter_mut() {
            for fields in part.fields.tables("issuer", "an issuer") {
                all.read(part, fields, &mut names);
            }
        }
        all
    }

    fn read(&mut self, part: &Part<'_>, mut fields: Fields<'_>, names: &mut UniqueNames) {
        let document = fields.document();
        let url = fields.needed_text("url");
        let audience = fields.needed_text("audience");
        let keys = fields.needed_text("keys");
        fields.end();
        let Some(url) = url else { return };
        names.add(document, &url);
        self.urls.push(url.value.to_owned());
        let (Some(audience), Some(keys)) = (audience, keys) else { return };
        let Some(file) = existing(part, &keys, PUBLISHED) else { return };
        let key_set = read_keys(part, &file, &keys);
        self.files.push(file);
        self.issuers.extend(key_set.and_then(|key_set| {
            let read = Issuer::new(url.value, audience.value, &key_set);
            read.map_err(|error| document.find(not_a_key_set(&error.to_string()), keys.at.clone())).ok()
        }));
    }

    /// Takes the issuers, in the order of [`Issuers::position`]. An issuer with errors is left out. Positions are wrong
    /// then, but the configuration is not used.
    pub(super) fn take(&mut self) -> Vec<Issuer> {
        std::mem::take(&mut self.issuers)
    }

    /// Returns the position of an issuer. A URL that no file has is a finding.
    pub(super) fn position(&self, document: &Document<'_>, url: &At<&str>) -> Option<usize> {
        let position = self.urls.iter().position(|known| known == url.value);
        if position.is_none() {
            let add = format!("add `[[issuer]]` with `url = \"{}\"`, `audience` and `keys`", url.value);
            document.find_unknown(
                "unknown-issuer",
                "issuer",
                url,
                self.urls.iter().map(String::as_str),
                &add,
            );
        }
        position
    }
}

fn read_keys(part: &Part<'_>, file: &Path, keys: &At<&str>) -> Option<String> {
    match std::fs::read_to_string(file) {
        Ok(text) => Some(text),
        Err(error) => {
            part.fields.document().find(not_a_key_set(&error.to_string()), keys.at.clone());
            None
        }
    }
}

fn not_a_key_set(why: &str) -> Finding {
    let hint = "save what the issuer publishes at its `jwks_uri`; the file is read again when it changes";
    Finding::error("bad-issuer-keys", format!("the keys cannot be used: {why}")).label("no keys").hint(hint)
}
