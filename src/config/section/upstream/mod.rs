//! `[[upstream]]`: the APIs behind the gateway.

mod headers;
mod health;
mod tls;
mod urls;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use self::headers::RecipientNames;
pub use self::headers::UpstreamHeaders;
pub(super) use self::headers::{ValueError, value as header_value_of};
pub use self::health::HealthCheckSection;
pub use self::tls::UpstreamTls;
pub use self::urls::UpstreamOrigin;
use self::urls::UpstreamUrls;
use super::UniqueNames;
use crate::config::Part;
use crate::document::Fields;

/// `[[upstream]]`: an API behind the gateway.
#[derive(Clone, Debug)]
pub struct UpstreamSection {
    /// Name by which routes refer to it.
    pub name: Arc<str>,
    /// The addresses of the API; at least one.
    pub origins: Vec<UpstreamOrigin>,
    /// Path prefix without a trailing slash; can be empty.
    pub prefix: String,
    /// TLS to the upstream. `None`: plaintext.
    pub tls: Option<UpstreamTls>,
    /// Header fields that every request to it carries.
    pub headers: UpstreamHeaders,
    /// Header field that tells it the recipient's name.
    pub recipient_header: Option<HeaderName>,
    /// Active health checks. `None`: there are none.
    pub health: Option<HealthCheckSection>,
    /// True if it holds backups.
    pub backup: bool,
    /// Time for a connection to be established, with TLS.
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

impl UpstreamSection {
    /// Returns host and port, if there is one address.
    pub(in crate::config) fn only_server(&self) -> Option<(Arc<str>, u16)> {
        match &*self.origins {
            [only] => Some((only.host().into(), only.port())),
            _ => None,
        }
    }

    /// Returns the files whose content is part of this section.
    pub(in crate::config) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let of_tls = self.tls.iter().flat_map(|tls| {
            let identity = tls.files.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
            tls.files.ca.iter().chain(identity)
        });
        of_tls.chain(&self.headers.files)
    }
}

/// The upstreams of all files.
#[derive(Debug)]
pub(in crate::config) struct ConfiguredUpstreams {
    pub(in crate::config) all: Vec<UpstreamSection>,
    /// Names of all upstreams, including those with errors: a route that names one of these is not wrong itself.
    pub(in crate::config) names: UniqueNames,
}

pub(in crate::config) fn upstreams(
    parts: &mut [Part<'_>],
    purpose_header: &HeaderName,
) -> ConfiguredUpstreams {
    let mut names = UniqueNames::of("upstream");
    let recipients = RecipientNames::of(parts);
    let mut all = Vec::new();
    for part in parts.iter_mut() {
        for fields in part.fields.tables("upstream", "an upstream") {
            let reader = UpstreamReader { part, fields, purpose_header, recipients: &recipients };
            all.extend(reader.read(&mut names));
        }
    }
    ConfiguredUpstreams { all, names }
}

/// The table of one upstream, and what it is read with.
struct UpstreamReader<'r, 'd> {
    part: &'r Part<'d>,
    fields: Fields<'d>,
    purpose_header: &'r HeaderName,
    recipients: &'r RecipientNames,
}

impl UpstreamReader<'_, '_> {
    fn read(mut self, names: &mut UniqueNames) -> Option<UpstreamSection> {
        let document = self.fields.document();
        self.fields.allow();
        let name = self.fields.needed_text("name").map(|name| names.add(document, &name));
        let urls = UpstreamUrls::read(&mut self.fields);
        let (tls, origins) = tls::read(self.part, &mut self.fields, urls.as_ref());
        let headers = headers::read(self.part, &mut self.fields, self.purpose_header);
        let recipient_header =
            headers::recipient_header(&mut self.fields, self.purpose_header, self.recipients);
        let health = health::read(&mut self.fields);
        let fields = &mut self.fields;
        let backup = fields.flag("backup") == Some(true);
        let connect_timeout = fields.duration("connect-timeout").unwrap_or(Duration::from_secs(2));
        let timeout = fields.duration("timeout").unwrap_or(Duration::from_secs(30));
        let idle_timeout = fields.duration("idle-timeout").unwrap_or(Duration::from_secs(30));
        let body_timeout = fields.duration("body-timeout").unwrap_or(Duration::from_secs(600));
        let reuse = fields.flag("reuse") != Some(false);
        self.fields.end();
        Some(UpstreamSection {
            name: name?,
            origins,
            prefix: urls?.prefix,
            tls,
            headers,
            recipient_header,
            health,
            backup,
            connect_timeout,
            timeout,
            idle_timeout,
            body_timeout,
            reuse,
        })
    }
}
