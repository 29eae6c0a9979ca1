//! `[audit.push]`: the server that gets each exchange on record once it has ended.

use std::path::PathBuf;

use http::HeaderValue;

use super::checkpoint_sink::{ServerRole, SinkServer, server};
use super::upstream::{ValueError, header_value_of};
use crate::config::Part;
use crate::document::Fields;
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
    fields.end();
    let authorization = match authorization {
        None => None,
        Some(item) => {
            let value = match header_value_of(part, &item, &mut Vec::new()) {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    Ok(value)
                }
                Err(ValueError::Reported) => return None,
                Err(ValueError::Because(why)) => Err(why),
                Err(ValueError::Denied(file)) => {
                    Err(format!("{} cannot be read: permission denied", file.display()))
                }
            };
            let unusable = |why: String| {
                let words = format!("`authorization` has no usable value: {why}");
                document.find(Finding::error("bad-push", words).label("no value"), item.at());
            };
            Some(value.map_err(unusable).ok()?)
        }
    };
    let server = server(part, &url?, ca.as_ref(), &ROLE)?;
    Some(PushSection { server, authorization, subjects, place })
}
