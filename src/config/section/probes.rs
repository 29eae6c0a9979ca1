//! `[probes]`: the listener for load balancers and Prometheus.

use std::net::SocketAddr;

use super::{AdminSection, ListenerSection, address};
use crate::config::Part;
use crate::document::At;
use crate::finding::Finding;

/// `[probes]`: the listener for load balancers and Prometheus, in plaintext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbesSection {
    /// Address to bind.
    pub address: SocketAddr,
}

/// Reads `[probes]`. The address of another socket of the gateway is a finding, because its requests would be refused here.
pub(in crate::config) fn probes(
    part: &mut Part<'_>,
    listeners: &[ListenerSection],
    admin: &AdminSection,
) -> Option<ProbesSection> {
    let mut fields = part.fields.fields("probes", "`[probes]`")?;
    let document = fields.document();
    let configured = fields.needed_text("address").and_then(|text| address(document, text));
    fields.end();
    let At { value: address, at } = configured?;
    let mut others = listeners.iter().map(|listener| listener.address).chain([admin.address]);
    if address.port() != 0 && others.any(|other| other == address) {
        let finding = Finding::error("duplicate-address", format!("two sockets have the address {address}"));
        let hint = "give `[probes]` a port of its own, for example 9902";
        document.find(finding.label("used by another section").hint(hint), at);
    }
    Some(ProbesSection { address })
}
