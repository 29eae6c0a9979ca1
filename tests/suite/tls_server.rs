//! A server with TLS that answers every request alike.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use purposegate::credentials::development;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

/// A server on the loopback with a certificate for `localhost`. It keeps the heads of the requests.
pub(crate) struct TlsServer {
    pub(crate) port: u16,
    certificates: TempDir,
    heads: Arc<Mutex<Vec<String>>>,
}

impl TlsServer {
    /// Starts a server that answers with this status line and body.
    pub(crate) fn start(status: &str, body: &str) -> TlsServer {
        let certificates = tempfile::tempdir().unwrap();
        development::make(certificates.path(), &[]).unwrap();
        let config = server_config(certificates.path());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&heads);
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, stream);
                let lines = BufReader::new(&mut stream).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                kept.lock().unwrap().push(head.join("\n"));
                let _ = stream.write_all(answer.as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        TlsServer { port, certificates, heads }
    }

    /// The file with its authority.
    pub(crate) fn ca(&self) -> String {
        self.certificates.path().join("ca.pem").to_str().unwrap().to_owned()
    }

    pub(crate) fn last_head(&self) -> String {
        self.heads.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

/// Returns the configuration of a server with the development certificates in a folder.
pub(crate) fn server_config(folder: &Path) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate], key).unwrap())
}
