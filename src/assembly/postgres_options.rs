//! Makes the options of a connection to PostgreSQL from the configuration, the environment and the files that they name.
//!
//! Invariant: no error holds a password.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::ledger::password_sources::PasswordError;
use crate::config::ledger::postgres_url::{PostgresHost, PostgresUrl};
use crate::config::{TlsError, tls_client};
use crate::ledger::PostgresOptions;

/// The reason why a server cannot be connected to.
#[derive(Debug, thiserror::Error)]
pub enum PostgresOptionsError {
    /// The password cannot be read.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A file for TLS cannot be used.
    #[error("TLS to the ledger cannot be set up: {0}")]
    Tls(#[from] TlsError),
}

/// Returns the means to connect to a server. Reads the password and the files of TLS now.
pub(super) fn read(server: &PostgresUrl, lease: Duration) -> Result<PostgresOptions, PostgresOptionsError> {
    let mut config = tokio_postgres::Config::new();
    config.user(&server.user).dbname(&server.database);
    for host in &server.hosts {
        match host {
            PostgresHost::Tcp { host, port } => config.host(host).port(*port),
            PostgresHost::Unix { folder, port } => config.host_path(folder).port(*port),
        };
    }
    if let Some(password) = server.find_password(|name| std::env::var_os(name))? {
        config.password(password.reveal());
    }
    config.ssl_mode(if server.tls.is_some() { SslMode::Require } else { SslMode::Disable });
    let tls = server.tls.as_ref().map(tls_client::client).transpose()?;
    let tls = tls.map(|client| MakeRustlsConnect::new(Arc::unwrap_or_clone(client)));
    Ok(PostgresOptions { server: config, tls, lease })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::LedgerUrl;

    fn options(url: &str) -> Result<PostgresOptions, PostgresOptionsError> {
        let LedgerUrl::Postgres(server) = LedgerUrl::parse(url, Path::new("/nowhere")).unwrap() else {
            panic!("{url} is no PostgreSQL ledger")
        };
        read(&server, Duration::from_secs(2))
    }

    #[test]
    fn hosts_sockets_and_passwords_reach_the_connection() {
        let PostgresOptions { server, tls, lease } =
            options("postgres://ledger:sesame@localhost,127.0.0.2:6432/pg").unwrap();
        assert!(tls.is_none());
        assert_eq!(lease, Duration::from_secs(2));
        assert_eq!((server.get_user(), server.get_dbname()), (Some("ledger"), Some("pg")));
        assert_eq!(server.get_password(), Some(&b"sesame"[..]));
        assert_eq!((server.get_ports(), server.get_hosts().len()), (&[5432, 6432][..], 2));
        assert_eq!(server.get_ssl_mode(), SslMode::Disable);
        let socket = options("postgres://ledger:x@/pg?host=/run/postgresql").unwrap().server;
        assert_eq!(socket.get_hosts(), [tokio_postgres::config::Host::Unix("/run/postgresql".into())]);
    }

    #[test]
    fn tls_is_required_and_never_only_preferred() {
        let error = options("postgres://ledger:x@db.internal/pg?sslrootcert=none.pem").unwrap_err();
        assert!(error.to_string().contains("/nowhere/none.pem"), "{error}");
        if let Ok(PostgresOptions { server, tls, .. }) = options("postgres://ledger:x@db.internal/pg") {
            assert!(tls.is_some());
            assert_eq!(server.get_ssl_mode(), SslMode::Require);
        }
    }
}
