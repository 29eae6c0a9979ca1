//! `health`: asks a gateway if it is ready, for container engines and scripts.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{Request, Response, StatusCode};

use super::error::{CliError, EXIT_FINDINGS, VerbError, exit_status, unusable_error};
use super::serve::block_on;
use crate::config::tls_client::{self, ClientTlsFiles};
use crate::config::{self, StatusEndpoint};
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

/// Name of the verb on the command line.
pub(super) const VERB: &str = "health";

/// Asks the gateway and prints its answer. The status is 0 if it is ready, and 1 if it is not, does not answer, cannot be
/// asked, or its answer cannot be printed: container engines reserve 2.
pub(super) fn run(arguments: &HealthArgs, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    exit_status(try_run(arguments, out), err).map_or(EXIT_FINDINGS, |status| status.min(EXIT_FINDINGS))
}

fn try_run(arguments: &HealthArgs, out: &mut dyn Write) -> Result<u8, VerbError> {
    let client = client(arguments)?;
    let url = client.url();
    let path = if url.is_origin() { "/readyz" } else { url.target() }.to_owned();
    let answer = block_on(ask(&client, &path))?;
    let answer = answer.map_err(|error| CliError::Refused(format!("{url}: {error}")))?;
    writeln!(out, "{}", String::from_utf8_lossy(answer.body()).trim_end())?;
    Ok(if answer.status() == StatusCode::OK { 0 } else { EXIT_FINDINGS })
}

async fn ask(client: &HttpClient, path: &str) -> Result<Response<Bytes>, HttpError> {
    let request = Request::get(path).header(CONNECTION, "close").body(Bytes::new());
    client.send(request.map_err(|error| HttpError::Broken(error.to_string()))?).await
}

/// Returns a client of the listener that the options, the environment or the configuration name.
fn client(arguments: &HealthArgs) -> Result<HttpClient, CliError> {
    let parse = |text: &str| {
        text.parse::<HttpUrl>().map_err(|error| CliError::Unusable(format!("`{text}`: {error}")))
    };
    let limits = HttpLimits { time: ANSWER_TIME, max_body: MAX_ANSWER_BYTES };
    let files = ClientTlsFiles { ca: arguments.ca.clone(), identity: None };
    if let Some(url) = &arguments.url {
        return HttpClient::new(parse(url)?, &files, limits).map_err(|error| unusable_error(&error));
    }
    let of_environment = || std::env::var_os(FILE_VARIABLE).map(PathBuf::from);
    let file = arguments.config.clone().or_else(of_environment);
    let file = file.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let StatusEndpoint { address, certificate } = config::status_endpoint(&file).map_err(|findings| {
        let lines: Vec<String> = findings.iter().map(Finding::line).collect();
        CliError::Unusable(lines.join("; "))
    })?;
    if address.port() == 0 {
        return Err(CliError::Unusable("the configuration has port 0: name the address by --url".to_owned()));
    }
    // The certificate is for names of the network. This machine has its file, so it has to be that one.
    let tls = certificate.as_deref().map(tls_client::pinned).transpose();
    let tls = tls.map_err(|error| unusable_error(&error))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    Ok(HttpClient::with_tls(parse(&format!("{scheme}://{address}"))?, tls, limits))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// An output that is on a full disk.
    struct FullDisk;

    impl Write for FullDisk {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_error_that_cannot_be_printed_has_status_1() {
        let arguments = HealthArgs { config: None, url: Some("nowhere".to_owned()), ca: None };
        assert_eq!(run(&arguments, &mut Vec::new(), &mut FullDisk), 1);
    }
}
