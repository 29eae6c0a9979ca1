//! `[[upstream]]`: the APIs behind the gateway.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::UniqueNames;
use crate::config::Part;
use crate::document::{At, Document, Fields};
use crate::finding::Finding;

/// `[[upstream]]`: an API behind the gateway.
#[derive(Clone, Debug)]
pub struct UpstreamSection {
    /// Name by which routes refer to it.
    pub name: Arc<str>,
    /// Host, and port if the URL has one.
    pub authority: String,
    /// Path prefix without a trailing slash; can be empty.
    pub prefix: String,
    /// True if it holds backups.
    pub backup: bool,
    /// Time for a connection to be established.
    pub connect_timeout: Duration,
    /// Time from the request to the head of the response.
    pub timeout: Duration,
    /// Time between two chunks of the response's body.
    pub idle_timeout: Duration,
    /// Maximum time spent waiting for the whole body of a response. Time in which the recipient accepts no data does
    /// not count.
    pub body_timeout: Duration,
    /// True if a connection can serve more than one request.
    pub reuse: bool,
}

/// The upstreams of all files.
#[derive(Debug)]
pub(in crate::config) struct ConfiguredUpstreams {
    pub(in crate::config) all: Vec<UpstreamSection>,
    /// Names of all upstreams, including those with errors: a route that names one of these is not wrong itself.
    pub(in crate::config) names: UniqueNames,
}

pub(in crate::config) fn upstreams(parts: &mut [Part<'_>]) -> ConfiguredUpstreams {
    let mut names = UniqueNames::of("upstream");
    let tables = parts.iter_mut().flat_map(|part| part.fields.tables("upstream", "an upstream"));
    let all = tables.filter_map(|fields| upstream(fields, &mut names)).collect();
    ConfiguredUpstreams { all, names }
}

fn upstream(mut fields: Fields<'_>, names: &mut UniqueNames) -> Option<UpstreamSection> {
    let document = fields.document();
    fields.allow();
    let name = fields.needed_text("name").map(|name| names.add(document, &name));
    let url = fields.needed_text("url").and_then(|url| origin(document, &url));
    let backup = fields.flag("backup") == Some(true);
    let connect_timeout = fields.duration("connect-timeout").unwrap_or(Duration::from_secs(2));
    let timeout = fields.duration("timeout").unwrap_or(Duration::from_secs(30));
    let idle_timeout = fields.duration("idle-timeout").unwrap_or(Duration::from_secs(30));
    let body_timeout = fields.duration("body-timeout").unwrap_or(Duration::from_secs(600));
    let reuse = fields.flag("reuse") != Some(false);
    fields.end();
    let (authority, prefix) = url?;
    let name = name?;
    Some(UpstreamSection {
        name,
        authority,
        prefix,
        backup,
        connect_timeout,
        timeout,
        idle_timeout,
        body_timeout,
        reuse,
    })
}

/// Reads the URL of an upstream. Returns its authority and path prefix.
fn origin(document: &Document<'_>, url: &At<&str>) -> Option<(String, String)> {
    let uri = url.value.parse::<Uri>().ok();
    let usable = uri.filter(|uri| uri.scheme_str() == Some("http") && uri.query().is_none());
    let origin = usable.and_then(|uri| {
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        Some((authority.to_string(), uri.path().trim_end_matches('/').to_owned()))
    });
    if origin.is_none() {
        let finding = Finding::error("bad-upstream-url", "this is not the URL of an upstream");
        let hint = "write `http://host:port`, without user and query; TLS to upstreams is not there yet";
        document.find(finding.hint(hint), url.at.clone());
    }
    origin
}
