//! `health`: asks a gateway if it is ready, for container engines and scripts.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{Request, Response, StatusCode};

use super::error::{CliError, EXIT_FINDINGS, VerbError, exit_status, unusable_error};
use super::serve::block_on;
use crate::config;
use crate::config::tls_client::ClientTlsFiles;
use crate::finding::Finding;
use crate::gateway::http_client::{HttpClient, HttpError, HttpLimits, HttpUrl};

/// Time for the whole answer. Container engines give up after a few seconds, too.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Maximum size of the answer in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Configuration file if neither an option nor the environment names one.
const DEFAULT_FILE: &str = "/etc/purposegate/purposegate.toml";
/// Environment variable that names the configuration file.
const FILE_VARIABLE: &str = "PURPOSEGATE_CONFIG";

/// The options of `health`.
#[derive(Debug, clap::Args)]
pub(super) struct HealthArgs {
    /// The configuration file [default: $PURPOSEGATE_CONFIG, or /etc/purposegate/purposegate.toml]
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// The URL to ask instead, with /readyz as the default path
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// PEM file with the authority of the server's certificate [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Asks the gateway and prints its answer. The status is 0 if it is ready, 1 if it is not or does not answer, and 2 if the
/// input cannot be used.
///
/// # Errors
/// If writing fails.
pub(super) fn run(arguments: &HealthArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    exit_status(try_run(arguments, out), err)
}

fn try_run(arguments: &HealthArgs, out: &mut dyn Write) -> Result<u8, VerbError> {
    let url = url(arguments)?;
    let path = if url.is_origin() { "/readyz" } else { url.target() }.to_owned();
    let files = ClientTlsFiles { ca: arguments.ca.clone(), identity: None };
    let limits = HttpLimits { time: ANSWER_TIME, max_body: MAX_ANSWER_BYTES };
    let client = HttpClient::new(url.clone(), &files, limits).map_err(|error| unusable_error(&error))?;
    let answer = block_on(ask(&client, &path))?;
    let answer = answer.map_err(|error| CliError::Refused(format!("{url}: {error}")))?;
    writeln!(out, "{}", String::from_utf8_lossy(answer.body()).trim_end())?;
    Ok(if answer.status() == StatusCode::OK { 0 } else { EXIT_FINDINGS })
}

async fn ask(client: &HttpClient, path: &str) -> Result<Response<Bytes>, HttpError> {
    let request = Request::get(path).header(CONNECTION, "close").body(Bytes::new());
    client.send(request.map_err(|error| HttpError::Broken(error.to_string()))?).await
}

/// Returns the URL that the options, the environment or the configuration name.
fn url(arguments: &HealthArgs) -> Result<HttpUrl, CliError> {
    let parse = |text: &str| {
        text.parse::<HttpUrl>().map_err(|error| CliError::Unusable(format!("`{text}`: {error}")))
    };
    if let Some(url) = &arguments.url {
        return parse(url);
    }
    let of_environment = || std::env::var_os(FILE_VARIABLE).map(PathBuf::from);
    let file = arguments.config.clone().or_else(of_environment);
    let file = file.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let address: SocketAddr = config::status_endpoint(&file).map_err(|findings| {
        let lines: Vec<String> = findings.iter().map(Finding::line).collect();
        CliError::Unusable(lines.join("; "))
    })?;
    if address.port() == 0 {
        return Err(CliError::Unusable("the configuration has port 0: name the address by --url".to_owned()));
    }
    parse(&format!("http://{address}"))
}
