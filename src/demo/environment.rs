//! The running demonstration: a temporary folder with certificates, keys, configuration and ledger, the sample company
//! API, and the gateway before it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio::net::TcpListener;

use super::commands::AccessDetails;
use super::config_files::{DemoConfig, certificates};
use super::runner::{Addresses, SceneRunner};
use super::{sample_events, upstream};
use crate::config;
use crate::credentials::NewKey;
use crate::credentials::development::{self, ClientName};
use crate::gateway::{Gateway, Stop};
use crate::ledger::{Batch, Ledger};

/// The gateway's port if it is free, so that addresses stay the same from run to run.
const GATEWAY_PORT: u16 = 8443;
/// The admin API's port if it is free.
const ADMIN_PORT: u16 = 9901;

/// The sample policy. It is part of the program, since the demonstration runs without the repository.
const POLICY: &[(&str, &str)] = &[
    ("pack.toml", include_str!("../../policies/one-partner-360/pack.toml")),
    ("1-prohibitions.cedar", include_str!("../../policies/one-partner-360/1-prohibitions.cedar")),
    ("2-own-organisation.cedar", include_str!("../../policies/one-partner-360/2-own-organisation.cedar")),
    ("3-others.cedar", include_str!("../../policies/one-partner-360/3-others.cedar")),
];

/// A running demonstration.
pub(super) struct Environment {
    pub(super) runner: SceneRunner,
    stop: Stop,
    gateway: tokio::task::JoinHandle<()>,
    upstream: tokio::task::JoinHandle<io::Result<()>>,
    folder: PathBuf,
}

impl Environment {
    /// Starts everything in a new temporary folder, and calls `progress` before each step. With `fixed_ports`, the
    /// listeners use [`GATEWAY_PORT`] and [`ADMIN_PORT`] if they are free.
    ///
    /// # Errors
    /// In words, for the person at the terminal.
    pub(super) async fn start(
        fixed_ports: bool,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Environment, String> {
        let folder = std::env::temp_dir().join(format!("purposegate-demo-{}", std::process::id()));
        progress("making certificates and API keys");
        let clients = [ClientName { file: "registrar", uri: certificates::REGISTRAR_ID }];
        development::make(&folder.join("certs"), &clients).map_err(|error| error.to_string())?;
        let keys = RecipientKeys::make()?;

        progress("starting a sample company API");
        let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| error.to_string())?;
        let api_address = api.local_addr().map_err(|error| error.to_string())?;
        let upstream = tokio::spawn(upstream::serve(api));

        progress("starting the gateway with the configuration of four recipients");
        let configuration = write_files(&folder, &keys, api_address, fixed_ports).await?;
        let (loaded, findings) = config::load(&configuration);
        let errors = findings.iter().filter(|finding| finding.is_error());
        let words = || errors.map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let gateway = Gateway::bind(loaded.ok_or_else(words)?).await.map_err(|error| error.to_string())?;

        progress("recording what 10,000 people have consented to");
        record_events(&gateway.shared_state().ledger).await?;

        let addresses = Addresses {
            gateway: gateway.addresses().first().copied().ok_or("no listener")?,
            admin: gateway.admin_address().ok_or("no admin listener")?,
            api: api_address,
        };
        let access = access_details(&folder, &configuration, keys, addresses);
        let runner = SceneRunner::new(access, addresses).map_err(|error| error.to_string())?;
        let stop = gateway.stop();
        let (_reload, reloads) = tokio::sync::mpsc::channel(1);
        let gateway = tokio::spawn(gateway.run(reloads));
        Ok(Environment { runner, stop, gateway, upstream, folder })
    }

    /// Stops everything that was started, and removes the folder.
    pub(super) async fn stop(self) {
        self.stop.stop();
        let _ = self.gateway.await;
        self.upstream.abort();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The API keys of the recipients that have one.
struct RecipientKeys {
    service_desk: NewKey,
    north_resale: NewKey,
    swift_pay: NewKey,
}

impl RecipientKeys {
    fn make() -> Result<RecipientKeys, String> {
        let key = || NewKey::for_recipient().map_err(|error| error.to_string());
        Ok(RecipientKeys { service_desk: key()?, north_resale: key()?, swift_pay: key()? })
    }
}

/// Writes the policy and the configuration. Returns the path of the main configuration file.
async fn write_files(
    folder: &Path,
    keys: &RecipientKeys,
    api: SocketAddr,
    fixed_ports: bool,
) -> Result<PathBuf, String> {
    let config = DemoConfig {
        gateway: address(GATEWAY_PORT, fixed_ports).await,
        admin: address(ADMIN_PORT, fixed_ports).await,
        upstream: api,
        policy: "policy".to_owned(),
        service_desk: keys.service_desk.credential.clone(),
        north_resale: keys.north_resale.credential.clone(),
        swift_pay: keys.swift_pay.credential.clone(),
    };
    for (name, text) in POLICY {
        write(&folder.join("policy").join(name), text)?;
    }
    let files = config.files()?;
    for (name, text) in &files {
        write(&folder.join(name), text)?;
    }
    let (main, _) = files.first().ok_or("the demonstration has no configuration")?;
    Ok(folder.join(main))
}

async fn record_events(ledger: &Ledger) -> Result<(), String> {
    let lines: String = sample_events::events().map(|event| format!("{event}\n")).collect();
    let mut errors = Vec::new();
    ledger
        .import(lines.as_bytes(), Batch::default(), Timestamp::now(), |result| {
            errors.extend(result.outcome.err());
        })
        .await;
    match errors.first() {
        Some(error) => Err(format!("{} sample events were rejected, the first: {error}", errors.len())),
        None => Ok(()),
    }
}

fn access_details(
    folder: &Path,
    configuration: &Path,
    keys: RecipientKeys,
    addresses: Addresses,
) -> AccessDetails {
    let path = |name: &str| folder.join(name).display().to_string();
    AccessDetails {
        gateway: format!("https://localhost:{}", addresses.gateway.port()),
        admin: format!("http://{}", addresses.admin),
        api: format!("http://{}", addresses.api),
        configuration: configuration.display().to_string(),
        authority: path(certificates::AUTHORITY),
        certificate: (path(certificates::REGISTRAR.0), path(certificates::REGISTRAR.1)),
        service_desk: keys.service_desk.key,
        north_resale: keys.north_resale.key,
        swift_pay: keys.swift_pay.key,
    }
}

/// Returns the local address with this port if it is wanted and free, or else with any port.
async fn address(port: u16, fixed: bool) -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let free = fixed && TcpListener::bind(usual).await.is_ok();
    if free { usual } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let written =
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, text));
    written.map_err(|error| format!("{}: {error}", path.display()))
}
