//! A gateway in this process, in a folder of its own, on ports of its own.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use purposegate::config;
use purposegate::disclosure::LogPlace;
use purposegate::gateway::{Gateway, Stop};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::http::{self, Answer};
use crate::upstream::Upstream;

/// The key of each recipient in [`RECIPIENTS`], by name.
pub(crate) fn key(recipient: &str) -> String {
    format!("pgk_test_{recipient}")
}

/// The header line that presents the key of a recipient.
pub(crate) fn bearer(recipient: &str) -> String {
    format!("authorization: Bearer {}", key(recipient))
}

/// The credential, in the configuration's notation, that registers the key of a recipient.
pub(crate) fn credential(recipient: &str) -> String {
    let digits: String = purposegate::credentials::hash(key(recipient).as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{{ api-key = \"sha256:{digits}\" }}")
}

/// The folder of a policy pack.
pub(crate) fn pack(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name)
}

/// The configuration that tests begin with: one listener, one upstream, a few recipients. Its timeouts suit a busy
/// machine.
pub(crate) fn base(upstream: SocketAddr) -> String {
    let policy = pack("one-partner-360");
    let mut text = format!(
        r#"policy = "{}"
drain-notice = "0s"
[listener]
address = "127.0.0.1:0"
request-timeout = "10s"
[admin]
allow = ["approvers-unverified"]
address = "127.0.0.1:0"
[[upstream]]
name = "crm"
url = "http://{upstream}"
timeout = "10s"
[[upstream]]
name = "nowhere"
url = "http://127.0.0.1:9"
"#,
        policy.display()
    );
    let recipients = [
        (
            "support",
            "employee",
            "DE",
            r#"["customer-support", "direct-marketing", "data-sale", "account-management"]"#,
            "allow = [\"purpose-without-rule\"]",
        ),
        ("reseller", "reselling-partner", "DE", r#"["reseller-follow-up"]"#, "agreement = {}"),
        (
            "lapsed",
            "reselling-partner",
            "DE",
            r#"["reseller-follow-up"]"#,
            "agreement = { until = 2020-01-01 }\nallow = [\"agreement-ended\"]",
        ),
        ("police", "public-authority", "DE", r#"["law-enforcement"]"#, ""),
        ("registrar", "domain-registrar", "DE", r#"["domain-registration"]"#, "agreement = {}"),
    ];
    for (name, kind, country, purposes, more) in recipients {
        text.push_str(&format!(
            "[[recipient]]\nname = \"{name}\"\nkind = \"{kind}\"\ncountry = \"{country}\"\npurposes = {purposes}\ncredentials = [{}]\n{more}\n",
            credential(name)
        ));
    }
    text
}

/// Returns as soon as the condition holds. Fails the test after a minute.
#[track_caller]
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    wait(|| condition().then_some(()));
}

/// Polls until there is a value, and returns it. Fails the test after a minute.
#[track_caller]
pub(crate) fn wait<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "timed out");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts an upstream, and in front of it a gateway with [`base`] and these routes.
pub(crate) fn start_with_routes(routes: &str) -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    let gateway = TestGateway::start(&format!("{}{routes}", base(upstream.address)));
    (upstream, gateway)
}

/// A running gateway.
pub(crate) struct TestGateway {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// The address of the probes listener, if the configuration has one.
    pub(crate) probes: Option<SocketAddr>,
    pub(crate) folder: TempDir,
    pub(crate) stop: Stop,
    serving: Option<tokio::task::JoinHandle<()>>,
    runtime: Option<Runtime>,
}

impl TestGateway {
    /// Starts a gateway with this configuration.
    pub(crate) fn start(config: &str) -> TestGateway {
        TestGateway::start_in(tempfile::tempdir().unwrap(), config)
    }

    /// Starts a gateway with this configuration in a folder that may hold the data of another.
    pub(crate) fn start_in(folder: TempDir, config: &str) -> TestGateway {
        let file = folder.path().join("purposegate.toml");
        std::fs::write(&file, config).unwrap();
        let (loaded, findings) = config::load(&file);
        let loaded = loaded.unwrap_or_else(|| panic!("{findings:#?}"));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let gateway = runtime.block_on(Gateway::bind(loaded)).unwrap();
        let address = gateway.addresses()[0];
        let admin = gateway.admin_address().unwrap();
        let probes = gateway.probes_address();
        let stop = gateway.stop();
        let (_, reloads) = tokio::sync::mpsc::channel(1);
        let serving = runtime.spawn(gateway.run(reloads));
        TestGateway { address, admin, probes, folder, stop, serving: Some(serving), runtime: Some(runtime) }
    }

    /// Ends the gateway and returns its folder, which another gateway can use.
    pub(crate) fn end(mut self) -> TempDir {
        self.stop.stop();
        if let (Some(runtime), Some(serving)) = (self.runtime.take(), self.serving.take()) {
            runtime.block_on(serving).unwrap();
            runtime.shutdown_timeout(Duration::from_secs(30));
        }
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    /// Sends `GET` as a recipient for a purpose.
    pub(crate) fn get(&self, path: &str, recipient: &str, purpose: &str) -> Answer {
        self.send("GET", path, (recipient, purpose), &[], b"")
    }

    /// Sends a request as a recipient for a purpose, with these header lines besides.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        (recipient, purpose): (&str, &str),
        headers: &[&str],
        body: &[u8],
    ) -> Answer {
        let (bearer, purpose) = (bearer(recipient), format!("data-purpose: {purpose}"));
        http::send(self.address, method, path, &[&[bearer.as_str(), &purpose], headers].concat(), body)
    }

    /// Sends `GET` as a recipient for a purpose and reads nothing of the answer.
    pub(crate) fn begin_get(&self, path: &str, recipient: &str, purpose: &str) -> TcpStream {
        let mut stream = http::connect(self.address);
        let bearer = bearer(recipient);
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{bearer}\r\ndata-purpose: {purpose}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Sends `GET` to the admin listener.
    pub(crate) fn get_admin(&self, path: &str) -> Answer {
        http::get(self.admin, path, &[])
    }

    /// Sends `POST` to the admin listener.
    pub(crate) fn post_admin(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        http::send(self.admin, "POST", path, &[], body.as_ref())
    }

    /// Records an event about a subject and returns its acknowledgement: it is in force.
    pub(crate) fn record_event(&self, subject: &str, event: &str) -> Value {
        let answer = self.post_admin(&format!("/v1/subjects/{subject}/events"), event);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The record of a decision on the disclosure log.
    pub(crate) fn decision(&self, id: &str) -> Value {
        self.get_admin(&format!("/v1/decisions/{id}")).json()
    }

    pub(crate) fn metrics(&self) -> String {
        self.get_admin("/metrics").text()
    }

    /// Returns once a record of the disclosure log contains a text. An answer can end before its closing record is written.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(|| self.log().contains(text));
    }

    /// Each record of the disclosure log as JSON, one a line.
    pub(crate) fn log(&self) -> String {
        log_in(self.folder.path())
    }

    /// Every byte of the disclosure log, and its records as JSON.
    pub(crate) fn log_bytes(&self) -> String {
        let mut folders = vec![self.folder.path().join("data/audit")];
        let mut everything = self.log();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    // A file may have been replaced meanwhile.
                    false => {
                        let bytes = std::fs::read(path).unwrap_or_default();
                        everything.push_str(&String::from_utf8_lossy(&bytes));
                    }
                }
            }
        }
        everything
    }
}

/// Returns each record of the disclosure log of the gateway in a folder as JSON, one a line.
pub(crate) fn log_in(folder: &Path) -> String {
    let mut lines = Vec::new();
    let folder = folder.join("data/audit");
    purposegate::disclosure::export(LogPlace::unindexed(&folder), None, |line| {
        lines.extend_from_slice(line);
        lines.push(b'\n');
        Ok(())
    })
    .unwrap();
    String::from_utf8(lines).unwrap()
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
