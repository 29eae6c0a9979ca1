//! Sets the stage: a folder with certificates, keys, configuration and ledger; the sample API; the
//! gateway before it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio::net::TcpListener;

use super::config_files::{DemoConfig, certificates};
use super::render::AccessDetails;
use super::runner::SceneRunner;
use super::{sample_events, upstream};
use crate::config;
use crate::credentials::NewKey;
use crate::credentials::development::{self, ClientName};
use crate::gateway::{Gateway, Stop};
use crate::ledger::Batch;

/// Where the demonstration likes to listen, so that lines pasted yesterday work today.
const GATEWAY_PORT: u16 = 8443;
const ADMIN_PORT: u16 = 9901;

/// The sample policy, as it is in the repository: the demonstration runs without one.
const POLICY: &[(&str, &str)] = &[
    ("pack.toml", include_str!("../../policies/one-partner-360/pack.toml")),
    ("1-prohibitions.cedar", include_str!("../../policies/one-partner-360/1-prohibitions.cedar")),
    ("2-own-organisation.cedar", include_str!("../../policies/one-partner-360/2-own-organisation.cedar")),
    ("3-others.cedar", include_str!("../../policies/one-partner-360/3-others.cedar")),
];

/// A demonstration that runs.
pub(super) struct Environment {
    pub(super) runner: SceneRunner,
    stop: Stop,
    gateway: tokio::task::JoinHandle<()>,
    upstream: tokio::task::JoinHandle<io::Result<()>>,
    folder: PathBuf,
}

impl Environment {
    /// Builds everything in a new folder. `fixed_ports`: the usual ones, where they are free.
    ///
    /// # Errors
    /// In words, for the person who runs it.
    pub(super) async fn start(fixed_ports: bool) -> Result<Environment, String> {
        let folder = std::env::temp_dir().join(format!("purposegate-demo-{}", std::process::id()));
        let certs = folder.join("certs");
        let clients = [ClientName { file: "registrar", uri: certificates::REGISTRAR_ID }];
        development::make(&certs, &clients).map_err(|error| error.to_string())?;

        let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| error.to_string())?;
        let api_address = api.local_addr().map_err(|error| error.to_string())?;
        let upstream = tokio::spawn(upstream::serve(api));

        let key = || NewKey::make().map_err(|error| error.to_string());
        let (service_desk, north_resale, swift_pay) = (key()?, key()?, key()?);
        let setting = DemoConfig {
            gateway: address(GATEWAY_PORT, fixed_ports).await,
            admin: address(ADMIN_PORT, fixed_ports).await,
            upstream: api_address,
            policy: "policy".to_owned(),
            service_desk: service_desk.credential,
            north_resale: north_resale.credential,
            swift_pay: swift_pay.credential,
        };
        for (name, text) in POLICY {
            write(&folder.join("policy").join(name), text)?;
        }
        let mut main = None;
        for (name, text) in setting.files()? {
            write(&folder.join(name), &text)?;
            main = main.or(Some(folder.join(name)));
        }
        let main = main.ok_or("the demonstration has no configuration")?;

        let (loaded, findings) = config::load(&main);
        let words = || findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let gateway = Gateway::bind(loaded.ok_or_else(words)?).await.map_err(|error| error.to_string())?;
        let ledger = &gateway.gatehouse().ledger;
        let lines: String = sample_events::events().map(|event| format!("{event}\n")).collect();
        let mut bad = Vec::new();
        ledger
            .import(lines.as_bytes(), Batch::default(), Timestamp::now(), |result| {
                bad.extend(result.outcome.err())
            })
            .await;
        if let Some(error) = bad.first() {
            return Err(format!("{} sample events are not recorded, the first: {error}", bad.len()));
        }

        let public = gateway.addresses().first().copied().ok_or("no listener")?;
        let admin = gateway.admin_address().ok_or("no admin listener")?;
        let path = |name: &str| folder.join(name).display().to_string();
        let access = AccessDetails {
            gateway: format!("https://localhost:{}", public.port()),
            admin: format!("http://{admin}"),
            api: format!("http://{api_address}"),
            configuration: main.display().to_string(),
            authority: path(certificates::AUTHORITY),
            certificate: (path(certificates::REGISTRAR.0), path(certificates::REGISTRAR.1)),
            service_desk: service_desk.key,
            north_resale: north_resale.key,
            swift_pay: swift_pay.key,
        };
        let player = SceneRunner::new(access, public, admin).map_err(|error| error.to_string())?;
        let stop = gateway.stop();
        let (_reload, reloads) = tokio::sync::mpsc::channel(1);
        let gateway = tokio::spawn(gateway.run(reloads));
        Ok(Environment { runner: player, stop, gateway, upstream, folder })
    }

    /// Ends what was started and removes the folder.
    pub(super) async fn stop(self) {
        self.stop.stop();
        let _ = self.gateway.await;
        self.upstream.abort();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The usual port where it is free and wanted, else any.
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
