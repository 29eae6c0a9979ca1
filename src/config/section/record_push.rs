//! `[audit.push]`: the server that gets each exchange on record once it has ended.

use std::path::PathBuf;

use http::HeaderValue;

use super::checkpoint_sink::{ServerRole, SinkServer, server};
use super::upstream::{ValueError, header_value_of};
use crate::config::Part;
use crate::document::{Fields, Item};
use crate::finding::Finding;

/// The words of findings about the server.
const ROLE: ServerRole = ServerRole {
    code: "bad-push",
    without_tls: "records of disclosures are not sent without TLS",
    label: "not the address of a server for records",
};

/// `[audit.push]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushSection {
    /// The server.
    pub server: SinkServer,
    /// Value of `Authorization`. It is marked as sensitive.
    pub authorization: Option<HeaderValue>,
    /// The file with this value, if this process is not permitted to read it: without the value, no request is sent.
    pub denied: Option<PathBuf>,
    /// True if exchanges keep the pseudonyms of people.
    pub subjects: bool,
    /// File with the place in the log up to which the server has everything.
    pub place: PathBuf,
}

/// Reads the section. `place` is the file with the place in the log.
pub(super) fn record_push(part: &Part<'_>, mut fields: Fields<'_>, place: PathBuf) -> Option<PushSection> {
    let document = fields.document();
    let (url, ca) = (fields.needed_text("url"), fields.text("ca"));
    let authorization = fields.item("authorization");
    let subjects = fields.flag("subjects") == Some(true);
    let at = authorization.as_ref().map_or_else(|| fields.at(), Item::at);
    fields.end();
    let value = authorization.as_ref().map(|item| header_value_of(part, item, &mut Vec::new()));
    let find = |finding: Finding| document.find(finding.label("no value"), at.clone());
    let (authorization, denied) = match value {
        None => (None, None),
        Some(Ok(mut value)) => {
            value.set_sensitive(true);
            (Some(value), None)
        }
        Some(Err(ValueError::Reported)) => return None,
        Some(Err(ValueError::Because(why))) => {
            find(Finding::error("bad-push", format!("`authorization` has no usable value: {why}")));
            return None;
        }
        Some(Err(ValueError::Denied(file))) => {
            let words = format!("{} cannot be read: permission denied", file.display());
            let hint = "the gateway does not start without it; other commands do not need it";
            find(Finding::warning("unreadable-push-authorization", words).hint(hint));
            (None, Some(file))
        }
    };
    let server = server(part, &url?, ca.as_ref(), &ROLE)?;
    Some(PushSection { server, authorization, denied, subjects, place })
}
