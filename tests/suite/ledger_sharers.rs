//! Gateways that share a ledger in PostgreSQL, each in this process with a folder of its own.

use std::path::PathBuf;

use purposegate::keys::Keys;
use tempfile::TempDir;

use crate::fixtures::{CONSENT, CUSTOMER_ROUTES, NOTICE, person};
use crate::gateway::{TestGateway, base, wait_until};
use crate::http::Answer;
use crate::postgres_server::PostgresServer;
use crate::program::{Run, run};
use crate::upstream::Upstream;

/// The withdrawal of [`CONSENT`].
pub(crate) const WITHDRAWN: &str = r#"{"kind": "consent-withdrawn", "purpose": "direct-marketing"}"#;

/// A ledger, and everything else that gateways need.
pub(crate) struct SharedLedger {
    pub(crate) upstream: Upstream,
    pub(crate) database: String,
    url: String,
    keys: TempDir,
}

impl SharedLedger {
    /// Creates a database on the first of these servers. Gateways use the server that accepts writes.
    pub(crate) fn new(servers: &[&PostgresServer]) -> SharedLedger {
        let database = servers[0].create_database("");
        let list = |part: &dyn Fn(&PostgresServer) -> String| {
            servers.iter().map(|server| part(server)).collect::<Vec<_>>().join(",")
        };
        let hosts = list(&|server| server.socket_folder().display().to_string());
        let ports = list(&|server| server.port().to_string());
        let url = format!("postgres://postgres@/{database}?host={hosts}&port={ports}");
        let keys = tempfile::tempdir().unwrap();
        Keys::open_or_create(&keys.path().join("keys"), &[]).unwrap();
        let upstream = Upstream::start();
        for id in ["p-1", "p-2"] {
            upstream.json(&format!("/customers/{id}"), &person(id));
        }
        SharedLedger { upstream, database, url, keys }
    }

    /// Returns the section of the ledger.
    pub(crate) fn section(&self) -> String {
        format!("[ledger]\nurl = {:?}\nmax-staleness = \"1s\"\n", self.url)
    }

    /// Returns the configuration of a gateway.
    pub(crate) fn config(&self, name: &str) -> String {
        let (base, ledger) = (base(self.upstream.address), self.section());
        format!("{base}{CUSTOMER_ROUTES}[deployment]\nname = \"{name}\"\n{ledger}")
    }

    /// Creates the folder of a gateway, with the keys of the ledger.
    pub(crate) fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        std::fs::copy(self.keys.path().join("keys"), folder.path().join("data/keys")).unwrap();
        folder
    }

    /// Starts a gateway.
    pub(crate) fn start(&self, name: &str) -> TestGateway {
        TestGateway::start_in(self.folder(), &self.config(name))
    }

    /// Starts two gateways. Two people, `p-1` and `p-2`, have consented to marketing.
    pub(crate) fn start_two(&self) -> [TestGateway; 2] {
        let gateways = ["gateway-1", "gateway-2"].map(|name| self.start(name));
        for id in ["p-1", "p-2"] {
            gateways[0].record_event(id, NOTICE);
            everywhere(&gateways[0], id, CONSENT);
            // A gateway whose lease is over at this moment, on a busy machine, comes back with the event.
            wait_until(|| gateways.iter().all(|gateway| is_marketed(gateway, id)));
        }
        gateways
    }

    /// Ends a gateway and starts it again.
    pub(crate) fn restart(&self, gateway: TestGateway, name: &str) -> TestGateway {
        TestGateway::start_in(gateway.end(), &self.config(name))
    }
}

/// Writes a configuration to a folder, and returns its path.
pub(crate) fn write(folder: &TempDir, config: &str) -> PathBuf {
    let file = folder.path().join("purposegate.toml");
    std::fs::write(&file, config).unwrap();
    file
}

/// Runs a command with the configuration in a folder.
pub(crate) fn run_in(folder: &TempDir, arguments: &[&str]) -> Run {
    let file = folder.path().join("purposegate.toml").display().to_string();
    run(arguments.iter().copied().chain(["--config", &file]))
}

/// Records an event and returns when it is in force on all gateways.
pub(crate) fn everywhere(gateway: &TestGateway, subject: &str, event: &str) {
    let answer = gateway.post_admin(&format!("/v1/subjects/{subject}/events?wait=everywhere"), event);
    assert_eq!(answer.json()["in_force"], "everywhere", "{}", answer.text());
}

/// Asks for the record of a person for marketing.
pub(crate) fn ask(gateway: &TestGateway, id: &str) -> Answer {
    gateway.get(&format!("/customers/{id}"), "support", "direct-marketing")
}

/// True if a gateway releases the name of a person for marketing.
pub(crate) fn is_marketed(gateway: &TestGateway, id: &str) -> bool {
    ask(gateway, id).text().contains(&format!("Name-{id}"))
}

/// True if a gateway releases nothing because it does not know the ledger.
pub(crate) fn is_closed(gateway: &TestGateway) -> bool {
    let outcome = ask(gateway, "p-2").outcome();
    assert!(outcome.0 == 200 || outcome == (503, "ledger-stale".to_owned()), "{outcome:?}");
    outcome.0 == 503
}
