//! Parses the URL of a PostgreSQL ledger, as libpq reads it:
//! `postgres://user:password@host:port,host:port/database?parameter=value`.
//!
//! It differs from libpq where the difference protects: TLS is never optional and always verified, the user is required,
//! and nothing is taken from the environment. Invariant: no error and no `Debug` output holds a part of the URL, because
//! a mistake can make any part of it a part of the password.

use std::net::IpAddr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::password::Password;
use crate::config::tls_client::ClientTlsFiles;

/// Default port of PostgreSQL.
const PORT: u16 = 5432;

/// Maximum number of hosts in a URL.
const MAX_HOSTS: usize = 16;

/// A PostgreSQL database, and the means to connect to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresUrl {
    /// The hosts that are tried in this order until one accepts writes. Not empty.
    pub hosts: Vec<PostgresHost>,
    /// Name of the role.
    pub user: String,
    /// Name of the database.
    pub database: String,
    /// The password in the URL.
    pub password: Option<Password>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// The files for TLS. `None`: connections are not encrypted.
    pub tls: Option<ClientTlsFiles>,
}

/// A host of PostgreSQL servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresHost {
    /// A host name or an IP address.
    Tcp {
        /// The name or the address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// The folder of a Unix socket.
    Unix {
        /// The folder.
        folder: PathBuf,
        /// The port, which is a part of the socket's name.
        port: u16,
    },
}

/// A URL that cannot be used. The message holds no part of the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct LedgerUrlError {
    problem: &'static str,
    hint: &'static str,
}

impl LedgerUrlError {
    /// The URL is neither of SQLite nor of PostgreSQL.
    pub(super) const UNKNOWN_SCHEME: LedgerUrlError = LedgerUrlError::new(
        "this is not a ledger that this version can open",
        "write `sqlite:` and a path, for example `sqlite:data/ledger.db`; or `postgres://user@host/database`",
    );

    /// The program was built without PostgreSQL.
    pub(super) const WITHOUT_POSTGRES: LedgerUrlError = LedgerUrlError::new(
        "this program was built without PostgreSQL",
        "build it with the cargo feature `postgres`, or write `sqlite:` and a path",
    );

    const fn new(problem: &'static str, hint: &'static str) -> LedgerUrlError {
        LedgerUrlError { problem, hint }
    }

    /// How to write it.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

/// Hint for the parts of a URL.
const FORM: &str =
    "write `postgres://user@host:5432/database`; reserved characters in a part are percent-encoded";

/// Hint for parameters.
const PARAMETERS: &str = "known: `host`, `port`, `user`, `password`, `dbname`, `sslmode`, `sslrootcert`, `sslcert`, \
                          `sslkey`, `target_session_attrs`; each once";

/// The protection of connections that a URL asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SslMode {
    Disable,
    Verified,
}

/// The parts of a URL, decoded.
#[derive(Default)]
struct UrlParts {
    hosts: String,
    ports: Option<String>,
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
    ssl_mode: Option<SslMode>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl PostgresHost {
    /// True if connections to it do not leave this machine.
    pub fn is_local(&self) -> bool {
        match self {
            PostgresHost::Unix { .. } => true,
            PostgresHost::Tcp { host, .. } => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            PostgresHost::Tcp { port, .. } | PostgresHost::Unix { port, .. } => *port,
        }
    }
}

impl std::fmt::Display for PostgresHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PostgresHost::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            PostgresHost::Tcp { host, port } => write!(f, "{host}:{port}"),
            PostgresHost::Unix { folder, port } => write!(f, "{}:{port}", folder.display()),
        }
    }
}

impl PostgresUrl {
    /// Parses what follows `postgres://`.
    ///
    /// # Errors
    /// [`LedgerUrlError`].
    pub(super) fn parse(rest: &str) -> Result<PostgresUrl, LedgerUrlError> {
        let UrlParts { hosts, ports, user, password, database, ssl_mode, ca, certificate, key } =
            UrlParts::read(rest)?;
        let hosts = read_hosts(&hosts, ports.as_deref())?;
        let user = user.filter(|user| !user.is_empty());
        let user = user.ok_or(LedgerUrlError::new("the URL names no user", FORM))?;
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(LedgerUrlError::new(
                    "the URL has one of `sslcert` and `sslkey`",
                    "write both or none",
                ));
            }
        };
        let tls = is_encrypted(&hosts, ssl_mode)?.then_some(ClientTlsFiles { ca, identity });
        Ok(PostgresUrl {
            database: database.filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone()),
            hosts,
            user,
            password: password.filter(|password| !password.is_empty()).map(Password::new),
            password_file: None,
            tls,
        })
    }

    /// True if connections to other machines are not encrypted.
    pub fn is_plaintext_beyond_loopback(&self) -> bool {
        self.tls.is_none() && !self.hosts.iter().all(PostgresHost::is_local)
    }

    /// Returns the hosts, separated by commas.
    pub fn host_list(&self) -> String {
        self.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Returns true if connections use TLS. Without `sslmode` they do, unless all hosts are local.
fn is_encrypted(hosts: &[PostgresHost], mode: Option<SslMode>) -> Result<bool, LedgerUrlError> {
    let sockets = hosts.iter().filter(|host| matches!(host, PostgresHost::Unix { .. })).count();
    let local = hosts.iter().all(PostgresHost::is_local);
    let encrypted = match mode {
        Some(SslMode::Disable) => false,
        // As in libpq, the mode does not count for Unix sockets.
        Some(SslMode::Verified) => sockets < hosts.len(),
        None => !local,
    };
    if encrypted && sockets > 0 {
        let hint = "name hosts only, or sockets only";
        return Err(LedgerUrlError::new("the URL mixes a Unix socket with hosts that need TLS", hint));
    }
    Ok(encrypted)
}

impl UrlParts {
    fn read(rest: &str) -> Result<UrlParts, LedgerUrlError> {
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = before.split_once('/').unwrap_or((before, ""));
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        let mut parts = UrlParts { hosts: hosts.to_owned(), ..UrlParts::default() };
        if let Some(credentials) = credentials {
            let (user, password) = match credentials.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (credentials, None),
            };
            parts.user = Some(decoded(user)?);
            parts.password = password.map(decoded).transpose()?;
        }
        parts.database = Some(decoded(database)?).filter(|name| !name.is_empty());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            parts.add(parameter)?;
        }
        Ok(parts)
    }

    fn add(&mut self, parameter: &str) -> Result<(), LedgerUrlError> {
        let unknown = LedgerUrlError::new("a parameter of the URL is not known", PARAMETERS);
        let (name, value) = parameter.split_once('=').ok_or(unknown.clone())?;
        let value = decoded(value)?;
        match name {
            "host" if self.hosts.is_empty() => {
                self.hosts = value;
                Ok(())
            }
            "port" => once(&mut self.ports, value),
            "user" => once(&mut self.user, value),
            "password" => once(&mut self.password, value),
            "dbname" => once(&mut self.database, value),
            "sslmode" => once(&mut self.ssl_mode, ssl_mode(&value)?),
            "sslrootcert" => once(&mut self.ca, value.into()),
            "sslcert" => once(&mut self.certificate, value.into()),
            "sslkey" => once(&mut self.key, value.into()),
            "target_session_attrs" if value == "read-write" || value == "primary" => Ok(()),
            "target_session_attrs" => {
                let hint = "take it out: the ledger is only ever on the server that accepts writes";
                Err(LedgerUrlError::new("`target_session_attrs` can only be `read-write`", hint))
            }
            "host" => Err(LedgerUrlError::new("the URL names the host twice", FORM)),
            _ => Err(unknown),
        }
    }
}

/// Sets a part that the URL can have once.
fn once<T>(part: &mut Option<T>, value: T) -> Result<(), LedgerUrlError> {
    match part.replace(value) {
        None => Ok(()),
        Some(_) => Err(LedgerUrlError::new("the URL says something twice", PARAMETERS)),
    }
}

fn decoded(text: &str) -> Result<String, LedgerUrlError> {
    let decoded = percent_decode_str(text).decode_utf8().ok().filter(|text| !text.contains('\0'));
    decoded.map(Into::into).ok_or(LedgerUrlError::new("a part of the URL is not UTF-8", FORM))
}

fn ssl_mode(value: &str) -> Result<SslMode, LedgerUrlError> {
    match value {
        "disable" => Ok(SslMode::Disable),
        "require" | "verify-ca" | "verify-full" => Ok(SslMode::Verified),
        "prefer" | "allow" => Err(LedgerUrlError::new(
            "`sslmode` lets the network decide if the connection is encrypted",
            "write `sslmode=verify-full`, which is the default for other machines; or `sslmode=disable`",
        )),
        _ => Err(LedgerUrlError::new(
            "`sslmode` has a value that is not known",
            "write `disable`, `require`, `verify-ca` or `verify-full`; the last three all verify the certificate and the \
             host name",
        )),
    }
}

/// Reads a list of hosts. A port stands with its host, or in the parameter `port`: one for all, or one for each.
fn read_hosts(hosts: &str, ports: Option<&str>) -> Result<Vec<PostgresHost>, LedgerUrlError> {
    let ports: Vec<u16> = match ports {
        None => Vec::new(),
        Some(ports) => ports.split(',').map(port).collect::<Result<_, _>>()?,
    };
    let names: Vec<&str> = hosts.split(',').collect();
    if names.len() > MAX_HOSTS || ports.len() > 1 && ports.len() != names.len() {
        return Err(LedgerUrlError::new("the URL has too many hosts, or not as many ports as hosts", FORM));
    }
    let default_port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(PORT);
    names.iter().enumerate().map(|(at, name)| host(name, default_port(at))).collect()
}

fn host(text: &str, default_port: u16) -> Result<PostgresHost, LedgerUrlError> {
    let bad = LedgerUrlError::new("the URL names no host that can be read", FORM);
    // A socket's folder begins with a slash, which is percent-encoded except in the parameter `host`.
    let (name, written_port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or(bad.clone())?;
            let address: std::net::Ipv6Addr = address.parse().map_err(|_| bad.clone())?;
            let after =
                if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(bad.clone())?) };
            (address.to_string(), after)
        }
        // The parameter `host` can hold an IPv6 address without brackets.
        None if text.parse::<IpAddr>().is_ok() => (text.to_owned(), None),
        None => match text.rsplit_once(':') {
            Some((name, port)) => (decoded(name)?, Some(port)),
            None => (decoded(text)?, None),
        },
    };
    let port = written_port.filter(|port| !port.is_empty()).map_or(Ok(default_port), port)?;
    if name.starts_with('/') {
        return Ok(PostgresHost::Unix { folder: PathBuf::from(name), port });
    }
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
    if !is_name && name.parse::<IpAddr>().is_err() {
        return Err(bad);
    }
    Ok(PostgresHost::Tcp { host: name, port })
}

fn port(text: &str) -> Result<u16, LedgerUrlError> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or(LedgerUrlError::new("the URL has a port that is not a number from 1 to 65535", FORM))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> PostgresUrl {
        PostgresUrl::parse(rest).unwrap_or_else(|error| panic!("{rest}: {error}"))
    }

    #[test]
    fn the_parts_of_a_url_are_read_as_libpq_reads_them() {
        let server = parse("ledger:p%40ss@db1.internal:6432,[2001:db8::1],db3/pg");
        assert_eq!((server.user.as_str(), server.database.as_str()), ("ledger", "pg"));
        assert_eq!(server.password, Some(Password::new("p@ss".to_owned())));
        assert_eq!(server.host_list(), "db1.internal:6432,[2001:db8::1]:5432,db3:5432");
        assert_eq!(parse("ledger@h").database, "ledger");
        let by_parameters = parse("?host=h&port=6432&user=ledger&dbname=pg&password=p%40ss");
        assert_eq!(by_parameters.host_list(), "h:6432");
        assert_eq!(by_parameters.password, server.password);
        assert_eq!(parse("u@/d?host=a,b&port=1,2").host_list(), "a:1,b:2");
        assert_eq!(parse("u@a,b:9/d?port=7").host_list(), "a:7,b:9");
        assert_eq!(parse("u@?host=::1").host_list(), "[::1]:5432");
    }

    #[test]
    fn a_unix_socket_is_named_by_its_folder() {
        for url in
            ["u@/d?host=/run/postgresql", "u@%2Frun%2Fpostgresql/d", "/d?host=%2Frun%2Fpostgresql&user=u"]
        {
            let server = parse(url);
            assert_eq!(server.hosts, [PostgresHost::Unix { folder: "/run/postgresql".into(), port: 5432 }]);
            assert_eq!(server.tls, None);
        }
        assert_eq!(parse("u@/d?host=/run/postgresql&sslmode=verify-full").tls, None, "as in libpq");
    }

    #[test]
    fn tls_is_used_to_other_machines_unless_it_is_disabled() {
        for (url, encrypted) in [
            ("u@db.internal/d", true),
            ("u@10.0.0.7/d", true),
            ("u@localhost/d", false),
            ("u@127.0.0.2/d", false),
            ("u@[::1]/d", false),
            ("u@localhost,db.internal/d", true),
            ("u@localhost/d?sslmode=verify-full", true),
            ("u@localhost/d?sslmode=require", true),
            ("u@db.internal/d?sslmode=verify-ca", true),
            ("u@db.internal/d?sslmode=disable", false),
        ] {
            let server = parse(url);
            assert_eq!(server.tls.is_some(), encrypted, "{url}");
            assert_eq!(server.is_plaintext_beyond_loopback(), url.contains("disable"), "{url}");
        }
        let files = parse("u@h/d?sslrootcert=/ca.pem&sslcert=c.pem&sslkey=k.pem").tls.unwrap();
        assert_eq!(files.ca, Some("/ca.pem".into()));
        assert_eq!(files.identity, Some(("c.pem".into(), "k.pem".into())));
    }

    #[test]
    fn no_error_and_no_debug_output_has_a_part_of_the_url() {
        for (url, problem) in [
            ("u:sesame@h/d?sslmode=prefer", "network decide"),
            ("u:sesame@h/d?sslmode=allow", "network decide"),
            ("u:sesame@h/d?sslmode=sesame", "not known"),
            ("u:sesame?sesame@h/d", "not known"),
            ("u:sesame/sesame@h/d", "port"),
            ("sesame:sesame", "port"),
            ("h/d?password=sesame", "no user"),
            ("u:sesame@h/d?password=sesame", "twice"),
            ("u:sesame@h/d?user=sesame", "twice"),
            ("u:sesame@h:0/d", "port"),
            ("u:sesame@h:65536/d", "port"),
            ("u:sesame@/d", "no host"),
            ("u:sesame@h,,h2/d", "no host"),
            ("u:sesame@h sesame/d", "no host"),
            ("u:sesame@[::1/d", "no host"),
            ("u:%ff@h/d", "UTF-8"),
            ("u:a%00@h/d", "UTF-8"),
            ("u:sesame@h/d?target_session_attrs=any", "read-write"),
            ("u:sesame@h/d?options=x", "not known"),
            ("u:sesame@h/d?sslcert=c", "`sslkey`"),
            ("u@h/d?host=h2", "twice"),
            ("u@/d?host=/run/postgresql,db.internal", "mixes"),
            ("u@a,b/d?port=1,2,3", "as many ports"),
        ] {
            let error = PostgresUrl::parse(url).unwrap_err();
            assert!(error.to_string().contains(problem), "{url}: {error}");
            assert!(!format!("{error} {error:?} {}", error.hint()).contains("sesame"), "{url}: {error:?}");
        }
        let debug = format!("{:?}", parse("u:sesame@h/d"));
        assert!(debug.contains("Password") && !debug.contains("sesame"), "{debug}");
    }
}
