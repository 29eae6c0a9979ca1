//! The configuration files of one run: the templates beside this module with addresses and credentials filled in.
//!
//! The files are ordinary configuration files, which `purposegate check` reads like any other.

use std::net::SocketAddr;

use super::template::fill;

/// Values that differ from run to run.
#[derive(Clone, Debug)]
pub(super) struct DemoConfig {
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) upstream: SocketAddr,
    /// The pack's folder, as the configuration names it.
    pub(super) policy: String,
    /// Hashes (`sha256:…`) of the API keys of three recipients.
    pub(super) service_desk: String,
    pub(super) north_resale: String,
    pub(super) swift_pay: String,
}

/// The route files: name and text.
pub(super) const ROUTES: &[(&str, &str)] = &[
    ("routes/customers.toml", include_str!("routes/customers.toml")),
    ("routes/directory.toml", include_str!("routes/directory.toml")),
    ("routes/domains.toml", include_str!("routes/domains.toml")),
    ("routes/faults.toml", include_str!("routes/faults.toml")),
    ("routes/orders.toml", include_str!("routes/orders.toml")),
    ("routes/payments.toml", include_str!("routes/payments.toml")),
    ("routes/shop.toml", include_str!("routes/shop.toml")),
    ("routes/tickets.toml", include_str!("routes/tickets.toml")),
];

/// Paths of the certificates in the configuration, and the name in the client certificate.
pub(super) mod certificates {
    pub(in crate::demo) const AUTHORITY: &str = "certs/ca.pem";
    pub(in crate::demo) const REGISTRAR: (&str, &str) = ("certs/registrar.pem", "certs/registrar.key");
    /// The URI in the registrar's certificate.
    pub(in crate::demo) const REGISTRAR_ID: &str = "spiffe://demo.example/partner/registrar";
}

impl DemoConfig {
    /// Returns name and text of every configuration file, the main one (`purposegate.toml`) first.
    ///
    /// # Errors
    /// The name of a placeholder without a value.
    pub(super) fn files(&self) -> Result<Vec<(&'static str, String)>, String> {
        let main = fill(include_str!("demo.toml"), |key| {
            Some(match key {
                "policy" => quoted(&self.policy),
                "gateway" => self.gateway.to_string(),
                "admin" => self.admin.to_string(),
                "upstream" => self.upstream.to_string(),
                "service-desk" => self.service_desk.clone(),
                "north-resale" => self.north_resale.clone(),
                "swift-pay" => self.swift_pay.clone(),
                _ => return None,
            })
        })?;
        let routes = ROUTES.iter().map(|&(name, text)| (name, text.to_owned()));
        Ok(std::iter::once(("purposegate.toml", main)).chain(routes).collect())
    }
}

/// Escapes a text for a TOML basic string.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::development::{self, ClientName};
    use crate::finding::Finding;

    #[test]
    fn every_file_is_toml_without_placeholders() {
        let local = SocketAddr::from(([127, 0, 0, 1], 8443));
        let setting = DemoConfig {
            gateway: local,
            admin: local,
            upstream: local,
            policy: "some\\where\"".to_owned(),
            service_desk: "sha256:01".to_owned(),
            north_resale: "sha256:02".to_owned(),
            swift_pay: "sha256:03".to_owned(),
        };
        for (name, text) in setting.files().unwrap() {
            let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!text.contains("{{"), "{name}");
            assert!(name == "purposegate.toml" || table.contains_key("route"), "{name}");
        }
    }

    #[test]
    fn the_configuration_has_no_finding() {
        let folder = tempfile::tempdir().unwrap();
        let clients = [ClientName { file: "registrar", uri: certificates::REGISTRAR_ID }];
        development::make(&folder.path().join("certs"), &clients).unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let hash = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let setting = DemoConfig {
            gateway: address(8443),
            admin: address(9901),
            upstream: address(9000),
            policy: concat!(env!("CARGO_MANIFEST_DIR"), "/policies/one-partner-360").to_owned(),
            service_desk: hash("1"),
            north_resale: hash("2"),
            swift_pay: hash("3"),
        };
        for (name, text) in setting.files().unwrap() {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let (config, findings) = crate::config::load(&folder.path().join("purposegate.toml"));
        let open: Vec<String> = findings
            .iter()
            .filter(|finding| finding.is_error() || finding.is_warning())
            .map(Finding::line)
            .collect();
        assert!(config.is_some() && open.is_empty(), "{open:#?}");
    }
}
