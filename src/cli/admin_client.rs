//! The admin API of a gateway as the command line uses it: its address, the token, and what its answers mean.
//!
//! A token comes from a file or from the environment, never from an argument, which other users of the machine can read. It
//! is not sent in clear to another machine, and no error or `Debug` output holds it.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::error::{CliError, print_message, unusable_error};
use crate::config::tls_client::ClientTlsFiles;
use crate::gateway::http_client::{HttpClient, HttpError, HttpLimits, HttpUrl};

/// Bounds of one answer of the admin API. The largest one is about a batch of an import, line by line.
const ANSWER_LIMITS: HttpLimits = HttpLimits { time: Duration::from_secs(60), max_body: 64 << 20 };
/// Maximum size of a file with a token, in bytes.
const MAX_TOKEN_BYTES: u64 = 4096;
/// The environment variable with the token.
pub(super) const TOKEN_VARIABLE: &str = "PURPOSEGATE_TOKEN";

/// The gateway whose admin API does the work, and the credentials for it.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct AdminArgs {
    /// The URL of the admin API of a gateway, which then does the work: no file of the gateway is needed here
    #[arg(long, value_name = "URL", global = true, value_parser = admin_url)]
    pub(super) admin: Option<HttpUrl>,
    /// A file with the authorities that the gateway's certificate can be from [default: those of the system]
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// A file with the token for the admin API [default: the variable PURPOSEGATE_TOKEN, if it is set]
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// A file with the certificate to show to the gateway
    #[arg(long, value_name = "FILE", global = true)]
    client_certificate: Option<PathBuf>,
    /// A file with the key of that certificate
    #[arg(long, value_name = "FILE", global = true)]
    client_key: Option<PathBuf>,
}

/// Parses the URL of an admin API. An address without a scheme means http.
fn admin_url(text: &str) -> Result<HttpUrl, String> {
    let url = match text.contains("://") {
        true => text.parse::<HttpUrl>(),
        false => format!("http://{text}").parse(),
    };
    let url = url.map_err(|error| error.to_string())?;
    if url.is_origin() { Ok(url) } else { Err("the URL of an admin API has no path".to_owned()) }
}

impl AdminArgs {
    /// Returns the gateway that `--admin` names, if it is given.
    pub(super) fn remote(&self) -> Option<AdminServer> {
        Some(self.server(self.admin.clone()?, true))
    }

    /// Returns the gateway that `--admin` names, or else the one with this admin address, with TLS or without.
    pub(super) fn remote_or(&self, address: SocketAddr, is_tls: bool) -> AdminServer {
        if let Some(remote) = self.remote() {
            return remote;
        }
        AdminServer { args: self.clone(), ..AdminServer::configured(address, is_tls) }
    }

    fn server(&self, url: HttpUrl, is_given: bool) -> AdminServer {
        AdminServer { url, args: self.clone(), is_given }
    }
}

/// The admin API of one gateway, which has not been contacted yet.
#[derive(Clone, Debug)]
pub(super) struct AdminServer {
    url: HttpUrl,
    args: AdminArgs,
    /// True if the URL is from the command line, false if it is from the configuration.
    is_given: bool,
}

impl AdminServer {
    /// The gateway of a configuration, without credentials.
    pub(super) fn configured(address: SocketAddr, is_tls: bool) -> AdminServer {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let url = HttpUrl::of_address(SocketAddr::new(ip, address.port()), is_tls);
        AdminServer { url, args: AdminArgs::default(), is_given: false }
    }

    /// Reads the token and the files of TLS, and returns a client.
    ///
    /// # Errors
    /// [`CliError::Unusable`] for a file that cannot be used, or for a token that would be sent in clear.
    pub(super) fn client(&self) -> Result<AdminClient, CliError> {
        let AdminServer { url, args, is_given } = self;
        let AdminArgs { admin: _, ca, token_file, client_certificate, client_key } = args;
        let identity = match (client_certificate, client_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                let text = "--client-certificate and --client-key need each other";
                return Err(CliError::Unusable(text.to_owned()));
            }
        };
        let token = token(token_file.as_deref())?;
        if !url.is_tls() && !url.is_loopback() {
            let sent = if token.is_some() { "the token" } else { "data of people" };
            return Err(CliError::Unusable(format!("{sent} would be sent in clear to {url}: use https://")));
        }
        if !url.is_tls() && (ca.is_some() || identity.is_some()) {
            let text = format!("--ca and --client-certificate need https://, not {url}");
            return Err(CliError::Unusable(text));
        }
        let files = ClientTlsFiles { ca: ca.clone(), identity };
        let http = HttpClient::new(url.clone(), &files, ANSWER_LIMITS);
        Ok(AdminClient {
            http: http.map_err(|error| unusable_error(&error))?,
            token,
            runtime: runtime()?,
            is_given: *is_given,
        })
    }
}

/// Starts a runtime for the calling thread.
///
/// # Errors
/// [`CliError::Unusable`].
pub(super) fn runtime() -> Result<Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Unusable(format!("cannot start the runtime: {error}")))
}

/// Reads the token from the file, or else from the environment, and returns the header that presents it.
fn token(file: Option<&Path>) -> Result<Option<HeaderValue>, CliError> {
    let (text, source) = match file {
        Some(file) => (read_token(file)?, file.display().to_string()),
        None => match std::env::var(TOKEN_VARIABLE) {
            Ok(text) => (text, TOKEN_VARIABLE.to_owned()),
            Err(std::env::VarError::NotPresent) => return Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => (String::new(), TOKEN_VARIABLE.to_owned()),
        },
    };
    bearer(&text).map(Some).ok_or_else(|| CliError::Unusable(format!("{source} holds no token")))
}

/// Returns the header that presents a token of visible characters.
fn bearer(text: &str) -> Option<HeaderValue> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn read_token(file: &Path) -> Result<String, CliError> {
    let unreadable = |error: std::io::Error| CliError::Unusable(format!("{}: {error}", file.display()));
    let mut opened = File::open(file).map_err(unreadable)?;
    if is_readable_by_all(&opened) {
        print_message(&format!(
            "purposegate: warning: every user of this machine can read the token in {}: chmod 600",
            file.display()
        ));
    }
    let mut text = String::new();
    Read::take(&mut opened, MAX_TOKEN_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn is_readable_by_all(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o004 != 0)
}

/// A client of the admin API of a gateway.
#[derive(Debug)]
pub(super) struct AdminClient {
    http: HttpClient,
    token: Option<HeaderValue>,
    runtime: Runtime,
    is_given: bool,
}

impl AdminClient {
    /// Gets a resource. `None` if there is none at this path.
    ///
    /// # Errors
    /// [`CliError`] for any other answer but a success, and if there is no answer.
    pub(super) fn get(&self, path: &str) -> Result<Option<Bytes>, CliError> {
        match self.send(Request::get(path), Bytes::new())? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => self.success(status, body).map(Some),
        }
    }

    /// Gets a resource that is JSON. `None` if there is none at this path.
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub(super) fn get_json(&self, path: &str) -> Result<Option<Value>, CliError> {
        self.get(path)?.map(|body| self.read_json(&body)).transpose()
    }

    /// Posts JSON, and returns the body of a success.
    ///
    /// # Errors
    /// [`CliError`] for any other answer, and if there is no answer.
    pub(super) fn post(&self, path: &str, key: Option<&str>, body: Vec<u8>) -> Result<Bytes, CliError> {
        let mut request = Request::post(path).header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let (status, body) = self.send(request, body.into())?;
        self.success(status, body)
    }

    /// Parses the body of an answer.
    ///
    /// # Errors
    /// [`CliError::Unusable`] if it is not JSON.
    pub(super) fn read_json<'b, T: serde::Deserialize<'b>>(&self, body: &'b [u8]) -> Result<T, CliError> {
        let unreadable = |_| format!("cannot read the answer of {}: is it the admin API?", self.http.url());
        serde_json::from_slice(body).map_err(|error| CliError::Unusable(unreadable(error)))
    }

    fn send(
        &self,
        mut request: http::request::Builder,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), CliError> {
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(body).map_err(|error| unusable_error(&error))?;
        let answer = self.runtime.block_on(self.http.send(request));
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        Ok((answer.status(), answer.into_body()))
    }

    fn unreachable(&self, error: &HttpError) -> CliError {
        let url = self.http.url();
        CliError::Unusable(match self.is_given {
            true => format!("the gateway at {url} cannot be reached: {error}"),
            false => format!(
                "another process uses the ledger, and no gateway answers at the admin address {url} ({error}): stop that \
                 process, or give its admin address with --admin"
            ),
        })
    }

    fn success(&self, status: StatusCode, body: Bytes) -> Result<Bytes, CliError> {
        if status.is_success() { Ok(body) } else { Err(self.refusal(status, &body)) }
    }

    /// Says what the gateway refused, and for a credential also what to do.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> CliError {
        let problem: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let member = |name: &str| problem.get(name).and_then(Value::as_str);
        let url = self.http.url();
        let detail =
            member("detail").map_or_else(|| format!("the gateway at {url} answered {status}"), str::to_owned);
        let hint = match (status, member("code")) {
            (StatusCode::UNAUTHORIZED, _) => {
                "make a token with `purposegate admin token NAME`, register its hash in `[admin] tokens` of the gateway, and \
                 give it with --token-file or in PURPOSEGATE_TOKEN"
            }
            (StatusCode::FORBIDDEN, Some("role-missing")) => {
                "the roles of the token stand in `[admin] tokens` of the gateway"
            }
            (StatusCode::BAD_REQUEST, Some("reason-missing")) => "say with --reason why the data are read",
            _ => "",
        };
        let text = if hint.is_empty() { detail } else { format!("{detail}: {hint}") };
        if status.is_client_error() { CliError::Refused(text) } else { CliError::Unusable(text) }
    }
}

/// Appends the parameters that have a value to a path.
pub(super) fn with_query(path: String, parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let query: Vec<String> =
        given.map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

/// Escapes a text for a path segment or a query value: every byte but the unreserved ones of RFC 3986.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str, token_file: Option<&Path>) -> AdminServer {
        let args = AdminArgs { token_file: token_file.map(Path::to_owned), ..AdminArgs::default() };
        args.server(admin_url(url).unwrap(), true)
    }

    #[test]
    fn reserved_characters_are_escaped() {
        assert_eq!(percent_encoded("c-1.x_~"), "c-1.x_~");
        assert_eq!(percent_encoded("a/b?c=ü;&%"), "a%2Fb%3Fc%3D%C3%BC%3B%26%25");
        let path = with_query("/v1/x".into(), &[("a", None), ("b", Some("1 2")), ("c", Some("&"))]);
        assert_eq!(path, "/v1/x?b=1%202&c=%26");
        assert_eq!(with_query("/v1/x".into(), &[("a", None)]), "/v1/x");
    }

    #[test]
    fn an_address_without_a_scheme_means_http() {
        assert_eq!(admin_url("127.0.0.1:9901").unwrap().to_string(), "http://127.0.0.1:9901");
        assert_eq!(admin_url("[::1]:9901").unwrap().to_string(), "http://[::1]:9901");
        assert_eq!(
            admin_url("https://gate.internal:9901/").unwrap().to_string(),
            "https://gate.internal:9901"
        );
        for wrong in ["https://gate.internal/v1", "ftp://gate.internal", "", "https://"] {
            assert!(admin_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unspecified_address_of_the_configuration_is_reached_on_the_loopback() {
        let url = |address: &str, tls| AdminServer::configured(address.parse().unwrap(), tls).url.to_string();
        assert_eq!(url("0.0.0.0:9901", true), "https://127.0.0.1:9901");
        assert_eq!(url("[::]:9901", false), "http://[::1]:9901");
        assert_eq!(url("10.1.2.3:9901", true), "https://10.1.2.3:9901");
    }

    #[test]
    fn a_token_is_not_sent_in_clear_to_another_machine() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "pga_x_secret\n").unwrap();
        let error = server("http://gate.internal:9901", Some(file.path())).client().unwrap_err().to_string();
        assert!(error.contains("in clear") && !error.contains("secret"), "{error}");
        let client = server("http://127.0.0.1:9901", Some(file.path())).client().unwrap();
        assert_eq!(client.token.as_ref().unwrap(), "Bearer pga_x_secret");
        assert!(!format!("{client:?}").contains("secret"));
        let error = server("http://gate.internal:9901", None).client().unwrap_err().to_string();
        assert!(error.contains("data of people would be sent in clear"), "{error}");
    }

    #[test]
    fn a_file_without_a_token_is_an_error() {
        for text in ["", " \n", "two words", "line\nline"] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let error = server("http://127.0.0.1:9901", Some(file.path())).client().unwrap_err().to_string();
            assert!(error.contains("holds no token"), "{error}");
        }
        let error = server("http://127.0.0.1:9901", Some(Path::new("/no/such"))).client().unwrap_err();
        assert!(error.to_string().contains("/no/such"), "{error}");
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let client = server("http://127.0.0.1:9901", None).client().unwrap();
        let said = |status: StatusCode, code: &str| {
            let body = format!(r#"{{"detail": "why", "code": "{code}"}}"#);
            client.refusal(status, body.as_bytes()).to_string()
        };
        assert!(said(StatusCode::UNAUTHORIZED, "credential-missing").contains("--token-file"));
        assert!(said(StatusCode::FORBIDDEN, "role-missing").contains("roles"));
        assert_eq!(said(StatusCode::FORBIDDEN, "request-foreign"), "why");
        assert!(said(StatusCode::BAD_REQUEST, "reason-missing").contains("--reason"));
        let other = client.refusal(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(
            other,
            CliError::Unusable("the gateway at http://127.0.0.1:9901 answered 502 Bad Gateway".into())
        );
    }
}
