//! TLS of a listener against Mozilla's recommendation, measured by sslyze.

use std::process::Command;

use purposegate::credentials::development;

use crate::fixtures::CUSTOMER_ROUTES;
use crate::gateway::{TestGateway, base};
use crate::upstream::Upstream;

/// Mozilla's "intermediate" configuration: protocols, ciphers and their order, curves, and the certificate. Only the
/// path to a public authority is missing.
#[test]
fn tls_is_as_mozilla_recommends() {
    let certificates = tempfile::tempdir().unwrap();
    development::make(certificates.path(), &[]).unwrap();
    let file = |name: &str| certificates.path().join(name);
    let sslyze = std::env::var_os("SSLYZE").unwrap_or_else(|| "sslyze".into());
    for client_ca in [String::new(), format!("client-ca = {:?}\n", file("ca.pem"))] {
        let upstream = Upstream::start();
        let tls = format!(
            "[listener.tls]\ncertificate = {:?}\nkey = {:?}\n{client_ca}[admin]",
            file("server.pem"),
            file("server.key")
        );
        let config = base(upstream.address).replace("[admin]", &tls);
        let gateway = TestGateway::start(&format!("{config}{CUSTOMER_ROUTES}"));
        let mut command = Command::new(&sslyze);
        command.args(["--mozilla_config=intermediate", &format!("localhost:{}", gateway.address.port())]);
        let output = match command.output() {
            Ok(output) => output,
            Err(error) => {
                eprintln!(
                    "SKIPPED: TLS is not compared with Mozilla's recommendation, sslyze does not run: {error}"
                );
                return;
            }
        };
        let words = String::from_utf8_lossy(&output.stdout);
        let (_, verdict) = words.split_once("COMPLIANCE AGAINST TLS CONFIGURATION").expect(&words);
        let complaints: Vec<&str> =
            verdict.lines().filter_map(|line| line.trim().strip_prefix("* ")?.split(':').next()).collect();
        assert_eq!(complaints, ["certificate_path_validation"], "{verdict}");
    }
}
