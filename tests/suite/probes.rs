//! The probes listener, and the command `health` that asks it.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use purposegate::config;
use purposegate::finding::Finding;

use crate::admin_access::{certificates, token_hash};
use crate::findings::check_with;
use crate::fixtures::CUSTOMER_ROUTES;
use crate::gateway::{TestGateway, base, wait_until};
use crate::http;
use crate::program::{run, write_config};

fn start_gateway() -> (TestGateway, SocketAddr) {
    let probes = "[probes]\naddress = \"127.0.0.1:0\"\n";
    let upstream = "127.0.0.1:9".parse().unwrap();
    let gateway = TestGateway::start(&format!("{}{CUSTOMER_ROUTES}{probes}", base(upstream)));
    let address = gateway.probes.unwrap();
    (gateway, address)
}

#[test]
fn three_paths_are_served_to_anybody_and_nothing_else() {
    let (gateway, probes) = start_gateway();
    assert_eq!(http::get(probes, "/healthz", &[]).text(), "ok\n");
    assert_eq!(http::get(probes, "/readyz", &[]).json()["ready"], true);
    let metrics = http::get(probes, "/metrics", &[]);
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("purposegate_build_info"));
    // Probers address a pod by whatever name leads to it.
    let foreign =
        http::raw(probes, b"GET /readyz HTTP/1.1\r\nhost: pod.example\r\nconnection: close\r\n\r\n");
    assert_eq!(foreign.status, 200);
    let head = http::raw(probes, b"HEAD /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, Some("3")));
    for path in ["/", "/v1/policies", "/v1/subjects/p-1", "/openapi.json", "/healthz/", "/readyz/x"] {
        assert_eq!(http::get(probes, path, &[]).status, 404, "{path}");
    }
    let posted = http::send(probes, "POST", "/readyz", &[], b"{}");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    let posted = http::send(probes, "POST", "/v1/subjects/p-1/events", &[], b"{}");
    assert_eq!(posted.status, 404);
    drop(gateway);
}

/// True if the other side closes within a short time.
fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let read = stream.read(&mut [0; 1]);
    !read.is_err_and(|error| {
        [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut].contains(&error.kind())
    })
}

#[test]
fn a_peer_cannot_take_all_connections() {
    let (gateway, probes) = start_gateway();
    let held: Vec<TcpStream> = (0..16).map(|_| http::connect(probes)).collect();
    let beyond = http::connect(probes);
    assert!(is_closed(&beyond));
    assert!(!is_closed(&held[0]));
    assert_eq!(http::get(gateway.admin, "/readyz", &[]).status, 200);
    drop(held);
    wait_until(|| {
        let answer = http::get(probes, "/healthz", &[]);
        answer.status == 200
    });
}

#[test]
fn its_address_is_that_of_no_other_socket() {
    for (sections, found) in [
        ("[admin]\naddress = \"127.0.0.1:9901\"\n[probes]\naddress = \"127.0.0.1:9901\"\n", true),
        ("[probes]\naddress = \"127.0.0.1:9901\"\n", true),
        ("[probes]\naddress = \"0.0.0.0:9902\"\n", false),
        ("[probes]\naddress = \"127.0.0.1:0\"\n", false),
    ] {
        let (loads, findings, _folder) = check_with(sections);
        let is_found = findings.iter().any(|finding| finding.code() == "duplicate-address");
        assert_eq!((is_found, loads), (found, !found), "{sections} {findings:?}");
    }
}

#[test]
fn the_times_of_a_stop_are_bounded() {
    let read = |keys: &str| {
        let policy = crate::gateway::pack("one-partner-360");
        let (_folder, file) = write_config(&format!("policy = {policy:?}\n{keys}{}", crate::findings::SOUND));
        let (config, findings) = config::load(&file);
        let error = findings.iter().find(|finding| finding.is_error()).map(Finding::code);
        config.map(|config| (config.drain.notice.as_secs(), config.drain.exchanges.as_secs())).ok_or(error)
    };
    assert_eq!(read(""), Ok((5, 30)));
    assert_eq!(read("drain-notice = \"0s\"\ndrain = \"1h\"\n"), Ok((0, 3600)));
    assert_eq!(read("drain-notice = \"2h\"\n"), Err(Some("drain-too-long")));
    assert_eq!(read("drain = \"1d\"\n"), Err(Some("drain-too-long")));
}

#[test]
fn health_exits_with_the_readiness() {
    let (gateway, probes) = start_gateway();
    // The policy does not exist: the command reads the address only.
    let (_folder, file) = write_config(&format!("policy = \"nowhere\"\n[probes]\naddress = \"{probes}\"\n"));
    let file = file.to_str().unwrap();
    let (status, out, _) = run(["health", "--config", file]);
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("\"ready\":true") && out.ends_with('\n'), "{out}");
    assert_eq!(run(["health", "--url", &format!("http://{probes}")]).0, 0);
    assert_eq!(run(["health", "--url", &format!("http://{}/readyz", gateway.admin)]).0, 0);

    let ledger = gateway.folder.path().join("data/ledger.db");
    std::fs::remove_file(ledger).unwrap();
    let (status, out, _) = run(["health", "--config", file]);
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("\"ledger\":false"), "{out}");
    drop(gateway);

    let (status, _, words) = run(["health", "--url", "http://127.0.0.1:9"]);
    assert!(status == 1 && words.contains("127.0.0.1:9"), "{status} {words}");
    let (status, _, words) = run(["health", "--config", "/nowhere/purposegate.toml"]);
    assert!(status == 1 && words.contains("No such file"), "{status} {words}");
    assert_eq!(run(["health", "--url", "nowhere"]).0, 1);
}

/// Container engines reserve 2, and what they call can be misspelt.
#[test]
fn health_with_wrong_arguments_exits_with_1() {
    for wrong in [&["--conf", "x"][..], &["--config"], &["--config", "x", "--url", "y"], &["now"]] {
        let (status, out, words) = run([&["health"], wrong].concat());
        assert_eq!((status, out.as_str()), (1, ""), "{wrong:?}: {words}");
        assert!(words.starts_with("error:"), "{wrong:?}: {words}");
    }
    let (status, out, _) = run(["health", "--help"]);
    assert!(status == 0 && out.contains("--url"), "{out}");
    for others in [&["check", "--conf", "x"][..], &["--no-such-option"], &["healthy"], &[]] {
        assert_eq!(run(others).0, 2, "{others:?}");
    }
}

/// Standard output is on a full disk.
#[test]
fn health_whose_answer_cannot_be_printed_exits_with_1() {
    let (_gateway, probes) = start_gateway();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_purposegate"));
    command.args(["health", "--url", &format!("http://{probes}")]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(command.stdout(full).status().unwrap().code(), Some(1));
}

#[test]
fn health_finds_its_configuration_in_the_environment() {
    let (_gateway, probes) = start_gateway();
    let (_folder, file) = write_config(&format!("[probes]\naddress = \"{probes}\"\n"));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_purposegate"));
    let asked = command.arg("health").env("PURPOSEGATE_CONFIG", &file).output().unwrap();
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
}

#[test]
fn health_asks_an_admin_listener_with_tls_for_its_own_certificate() {
    let (files, others) = (certificates(), certificates());
    let tls = |folder: &std::path::Path, address: &str| {
        let folder = folder.display();
        format!(
            "[admin]\naddress = \"{address}\"\ntls = {{ certificate = \"{folder}/server.pem\", key = \"{folder}/server.key\" }}\ntokens = [{{ name = \"a\", hash = \"{}\", roles = [\"read\"] }}]\n",
            token_hash("pga_a")
        )
    };
    let upstream = "127.0.0.1:9".parse().unwrap();
    let base = base(upstream);
    let config = base.replace(
        "[admin]\nallow = [\"approvers-unverified\"]\naddress = \"127.0.0.1:0\"\n",
        &tls(files.path(), "127.0.0.1:0"),
    );
    assert_ne!(config, base);
    let gateway = TestGateway::start(&config);
    let health = |folder| {
        let (_folder, file) = write_config(&tls(folder, &gateway.admin.to_string()));
        let (status, out, words) = run(["health", "--config", file.to_str().unwrap()]);
        (status, out + &words)
    };
    let (status, said) = health(files.path());
    assert!(status == 0 && said.contains("\"ready\":true"), "{said}");
    let (status, said) = health(others.path());
    assert_eq!(status, 1, "{said}");
}
