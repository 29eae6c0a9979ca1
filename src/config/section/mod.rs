//! The sections about the process, one module each.

mod admin;
mod checkpoint_sink;
mod drain;
mod keys;
mod limits;
mod listener;
mod listener_limits;
mod log;
mod probes;
mod record_push;
mod upstream;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderName;

pub(super) use self::admin::admin;
pub use self::admin::{AdminActor, AdminActors, AdminRole, AdminSection};
pub use self::checkpoint_sink::{CheckpointSink, SinkServer};
pub use self::drain::DrainSection;
pub(super) use self::drain::drain;
pub use self::keys::KeysSection;
pub(super) use self::keys::keys;
pub use self::limits::LimitsSection;
pub(super) use self::limits::limits;
pub(super) use self::listener::listeners;
pub use self::listener::{ListenerSection, ListenerTls};
pub use self::listener_limits::ListenerLimits;
pub use self::log::{AccessLogSection, AuditSection, GatewayLog, LogKey};
pub(super) use self::log::{access_log, audit};
pub use self::probes::ProbesSection;
pub(super) use self::probes::probes;
pub use self::record_push::PushSection;
pub(super) use self::upstream::{ConfiguredUpstreams, upstreams};
pub use self::upstream::{HealthCheckSection, UpstreamHeaders, UpstreamOrigin, UpstreamSection, UpstreamTls};
use super::{PURPOSE_HEADER, Part};
use crate::document::{At, Document};
use crate::exchange::request_head;
use crate::finding::Finding;

/// Names of one kind, such as routes. A name that occurs twice is a finding.
#[derive(Debug)]
pub(super) struct UniqueNames {
    what: &'static str,
    seen: HashSet<Arc<str>>,
}

impl UniqueNames {
    pub(super) fn of(what: &'static str) -> UniqueNames {
        UniqueNames { what, seen: HashSet::new() }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.seen.contains(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.seen.iter().map(|name| &**name)
    }

    pub(super) fn add(&mut self, document: &Document<'_>, name: &At<&str>) -> Arc<str> {
        let owned: Arc<str> = Arc::from(name.value);
        if !self.seen.insert(Arc::clone(&owned)) {
            let finding = Finding::error(
                "duplicate-name",
                format!("there are two {}s with the name `{owned}`", self.what),
            );
            let hint = "names are how routes, metrics and the log refer to them";
            document.find(finding.label("the second one").hint(hint), name.at.clone());
        }
        owned
    }
}

pub(super) fn purpose_header(part: &mut Part<'_>) -> HeaderName {
    let Some(name) = part.fields.text("purpose-header") else { return PURPOSE_HEADER };
    let prefetch = ["purpose", "x-purpose", "sec-purpose"];
    let taken = ["authorization", "cookie", "host", "idempotency-key", "origin", "x-api-key"];
    match name.value.parse::<HeaderName>() {
        Ok(header)
            if !prefetch.contains(&header.as_str())
                && !taken.contains(&header.as_str())
                && !header.as_str().starts_with("content-")
                && !header.as_str().starts_with("accept")
                && !request_head::is_hop_by_hop(&header) =>
        {
            header
        }
        _ => {
            let finding = Finding::error(
                "bad-purpose-header",
                format!("`{}` cannot be the purpose header", name.value),
            );
            let hint = "`Purpose`, `X-Purpose` and `Sec-Purpose` are sent by browsers for prefetch; what frames a \
                        message or carries a credential has its meaning";
            part.fields.document().find(finding.hint(hint), name.at);
            PURPOSE_HEADER
        }
    }
}

fn address(document: &Document<'_>, text: At<&str>) -> Option<At<SocketAddr>> {
    let parsed = text.value.parse().ok();
    if parsed.is_none() {
        let finding = Finding::error("bad-address", "this is not an address");
        let hint = "write an IP address and a port, for example `0.0.0.0:8443` or `[::1]:8080`";
        document.find(finding.hint(hint), text.at.clone());
    }
    Some(At { value: parsed?, at: text.at })
}
