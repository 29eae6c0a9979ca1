//! `[admin]`: the admin listener.

use std::net::SocketAddr;

use super::address;
use crate::config::Part;
use crate::document::At;
use crate::finding::Finding;

/// `[admin]`: the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSection {
    /// Address to bind, on the loopback.
    pub address: SocketAddr,
}

pub(in crate::config) fn admin(part: &mut Part<'_>) -> AdminSection {
    let default = SocketAddr::from(([127, 0, 0, 1], 9901));
    let Some(mut fields) = part.fields.fields("admin", "`[admin]`") else {
        return AdminSection { address: default };
    };
    let document = fields.document();
    let configured = fields.text("address").and_then(|text| address(document, text));
    fields.end();
    let Some(At { value: address, at }) = configured else { return AdminSection { address: default } };
    if !address.ip().is_loopback() {
        // The admin API has no authentication of its own yet, so it stays on this machine.
        let finding = Finding::error(
            "admin-not-loopback",
            format!("the admin listener must be on the loopback, not on {}", address.ip()),
        );
        let hint = "use 127.0.0.1 and reach it through an authenticated tunnel";
        document.find(finding.label("reached from elsewhere").hint(hint), at);
    }
    AdminSection { address }
}
