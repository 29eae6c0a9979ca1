//! A browser that presents a client certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::*;
use crate::config::{ListenerTls, TlsFiles};
use crate::credentials::development::{self, ClientName};
use crate::gateway::client_certificate::peer_names;
use crate::gateway::console::session::MAX_IDLE;

const OFFICER: &str = "spiffe://example.org/officer";

/// A console for the token `ops` and the client certificate `officer`.
async fn console(folder: &Path) -> TestConsole {
    development::make(folder, &[ClientName { file: "officer", uri: OFFICER }]).unwrap();
    let file = |name: &str| folder.join(name);
    let files = TlsFiles {
        certificate: file("server.pem"),
        key: file("server.key"),
        client_ca: Some(file("ca.pem")),
        crls: Vec::new(),
        client_required: false,
    };
    let section = section(&[("ops", &[AdminRole::Operator])]);
    let actors = section.actors.with_certificate(OFFICER, "officer", &[AdminRole::Privacy]);
    let tls = Some(ListenerTls::of_files(files));
    let mut console = TestConsole::with(&AdminSection { actors, tls, ..AdminSection::default() }).await;
    console.is_encrypted = true;
    console
}

fn certificate(folder: &Path) -> ClientCertificate {
    let chain = [CertificateDer::from_pem_file(folder.join("officer.pem")).unwrap()];
    let names = peer_names(&chain, Timestamp::now()).names;
    ClientCertificate { chain: Arc::new(chain), names }
}

#[tokio::test]
async fn a_certificate_needs_no_form_to_sign_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut console = console(folder.path()).await;
    assert_eq!(console.get("/").await.location(), "/sign-in");
    console.certificate = Some(certificate(folder.path()));
    let page = console.get("/").await;
    assert!(page.body.contains("Signed in as <strong>officer</strong>"), "{}", page.body);
    assert!(!page.body.contains("Sign out"), "{}", page.body);
    assert_eq!(console.get("/sign-in").await.location(), "/");
    let form = console.get("/console/subjects").await.form_token();
    let opened = console.post("/console/subjects", &format!("form-token={form}&subject=p-1&reason=x")).await;
    assert_eq!(console.get(opened.location()).await.status, StatusCode::OK);
    assert_eq!(console.admin.acts()[0].actor.as_deref(), Some("officer"));
}

#[tokio::test]
async fn a_session_beside_the_certificate_of_somebody_else_can_be_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mut console = console(folder.path()).await;
    console.sign_in("ops").await;
    console.certificate = Some(certificate(folder.path()));
    console.admin.clock.move_forward(MAX_IDLE - Duration::from_secs(1));
    let refused = console.get("/console/routes").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    for text in ["the token and the client certificate name different actors", "action=\"/sign-out\""] {
        assert!(refused.body.contains(text), "no {text} in {}", refused.body);
    }
    assert!(!refused.body.contains("<nav"), "{}", refused.body);
    let form = format!("form-token={}", refused.form_token());
    let elsewhere = console.post("/console/subjects", &format!("{form}&subject=p-1&reason=x")).await;
    assert_eq!(elsewhere.status, StatusCode::UNAUTHORIZED);
    console.admin.clock.move_forward(Duration::from_secs(1));
    assert!(
        console.get("/").await.body.contains("officer"),
        "a request that is refused is no use of the session"
    );

    console.cookie = None;
    console.certificate = None;
    console.sign_in("ops").await;
    console.certificate = Some(certificate(folder.path()));
    let form = format!("form-token={}", console.get("/").await.form_token());
    let ended = console.post("/sign-out", &form).await;
    assert_eq!((ended.status, ended.location()), (StatusCode::SEE_OTHER, "/sign-in"));
    assert!(console.get("/").await.body.contains("Signed in as <strong>officer</strong>"));
}
