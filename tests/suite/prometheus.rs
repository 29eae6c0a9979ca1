//! Prometheus itself, from Debian's package: it scrapes a gateway each second and evaluates expressions.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::gateway::wait;
use crate::http;

/// A server that keeps what it scrapes in a folder of its own.
pub(crate) struct PrometheusServer {
    child: Child,
    address: SocketAddr,
    /// The time of the start, in Unix time.
    pub(crate) began: f64,
    _folder: TempDir,
}

/// One series of an answer.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: serde_json::Map<String, Value>,
    /// True if at least one of its values is a number.
    pub(crate) has_number: bool,
}

impl PrometheusServer {
    /// Starts a server that scrapes `/metrics` of this address and evaluates the alert rules of this file. `None`, aloud, where
    /// there is no program.
    pub(crate) fn start(gateway: SocketAddr, rules: &Path) -> Option<PrometheusServer> {
        let program = std::env::var_os("PROMETHEUS").unwrap_or_else(|| "prometheus".into());
        if let Err(error) = Command::new(&program).arg("--version").output() {
            eprintln!("SKIPPED: the dashboards are not evaluated, prometheus does not run: {error}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [{rules:?}]\n\
             scrape_configs: [{{job_name: purposegate, static_configs: [{{targets: [\"{gateway}\"]}}]}}]\n"
        );
        std::fs::write(&config, text).unwrap();
        let began = now();
        // Another process may take the port before Prometheus does.
        let started = (0..5).find_map(|_| start(&program, folder.path()));
        let (child, address) = started.expect("Prometheus starts with this configuration");
        Some(PrometheusServer { child, address, began, _folder: folder })
    }

    /// Asks its HTTP API, and returns the member `data` of the answer.
    pub(crate) fn ask(&self, path: &str, fields: &[(&str, &str)]) -> Result<Value, String> {
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", form_encoded(value))).collect();
        let path = format!("{path}?{}", pairs.join("&"));
        let answer = http::get(self.address, &path, &[]);
        let body: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        if body["status"] == "success" { Ok(body["data"].clone()) } else { Err(body["error"].to_string()) }
    }

    /// Evaluates an expression each second since the start.
    pub(crate) fn range(&self, expression: &str) -> Result<Vec<Series>, String> {
        let (start, end) = (self.began.to_string(), now().to_string());
        let fields = [("query", expression), ("start", &start), ("end", &end), ("step", "1")];
        self.ask("/api/v1/query_range", &fields).map(|data| series(&data))
    }

    /// Evaluates an expression now.
    pub(crate) fn instant(&self, expression: &str) -> Result<Vec<Series>, String> {
        self.ask("/api/v1/query", &[("query", expression)]).map(|data| series(&data))
    }

    /// The number of scrapes that succeeded.
    pub(crate) fn scrapes(&self) -> u64 {
        let data = self.ask("/api/v1/query", &[("query", "sum(sum_over_time(up[1h]))")]).unwrap();
        let value = data["result"][0]["value"][1].as_str().map(|count| count.parse().unwrap());
        value.unwrap_or_default()
    }
}

impl Drop for PrometheusServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program on a free port. `None` if it ends before it is ready.
fn start(program: &std::ffi::OsStr, folder: &Path) -> Option<(Child, SocketAddr)> {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let mut child = Command::new(program)
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let is_ready = wait(|| {
        if child.try_wait().unwrap().is_some() {
            eprintln!("{}", std::fs::read_to_string(folder.join("log")).unwrap());
            return Some(false);
        }
        let answers = std::net::TcpStream::connect(address).is_ok();
        (answers && http::get(address, "/-/ready", &[]).status == 200).then_some(true)
    });
    is_ready.then_some((child, address))
}

/// The present, in Unix time.
fn now() -> f64 {
    jiff::Timestamp::now().as_duration().as_secs_f64()
}

/// Encodes the value of a field of a form.
fn form_encoded(value: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(encoded).collect()
}

/// Reads a vector or a matrix.
fn series(data: &Value) -> Vec<Series> {
    let is_number = |sample: &Value| sample[1].as_str().is_some_and(|value| value != "NaN");
    let one = |one: &Value| {
        let samples = one["values"].as_array().cloned().unwrap_or_else(|| vec![one["value"].clone()]);
        let labels = one["metric"].as_object().unwrap().clone();
        Series { labels, has_number: samples.iter().any(is_number) }
    };
    data["result"].as_array().unwrap().iter().map(one).collect()
}
