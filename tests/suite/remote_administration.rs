//! The command line on a machine without any file of the gateway: `--admin`, the token and TLS.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use purposegate::credentials::development::{self, ClientName};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::admin_access::token_hash;
use crate::fixtures::{CUSTOMER_ROUTES, NOTICE, person, start_customer_gateway};
use crate::gateway::{TestGateway, base};
use crate::program::{Run, program, run_command};
use crate::tls_server::TlsServer;

/// A folder without a configuration, from which the program is run.
struct Laptop {
    folder: TempDir,
    admin: String,
}

impl Laptop {
    fn new(admin: String) -> Laptop {
        Laptop { folder: tempfile::tempdir().unwrap(), admin }
    }

    /// Runs the program with these arguments, which are separated by blanks, and `--admin`.
    fn run(&self, arguments: &str) -> Run {
        self.run_with(arguments, &[])
    }

    /// As [`Laptop::run`], with further arguments.
    fn run_with(&self, arguments: &str, more: &[&str]) -> Run {
        let mut command = program();
        command.current_dir(self.folder.path()).args(arguments.split_whitespace());
        run_command(command.args(["--admin", &self.admin]).args(more), "")
    }

    #[track_caller]
    fn output(&self, arguments: &str) -> String {
        let (status, out, words) = self.run(arguments);
        assert_eq!(status, 0, "{arguments}: {words}");
        out
    }

    #[track_caller]
    fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.output(arguments)).unwrap()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn consents_requests_and_cases_need_no_configuration() {
    let (_upstream, gateway) = start_customer_gateway();
    let laptop = Laptop::new(gateway.admin.to_string());
    let given = laptop.json("consent give p/1 direct-marketing --channel phone");
    assert_eq!((&given["durable"], &given["in_force"]), (&json!(true), &json!("here")), "{given}");
    assert_eq!(laptop.json("consent show p/1")["consents"], json!({ "direct-marketing": "given" }));
    laptop.output("consent withdraw p/1 direct-marketing");
    assert_eq!(laptop.json("consent show p/1")["consents"], json!({ "direct-marketing": "withdrawn" }));

    std::fs::write(
        laptop.path("events.ndjson"),
        "{\"subject\": \"p-2\", \"kind\": \"restriction\"}\nnonsense\n",
    )
    .unwrap();
    let (status, _, words) = laptop.run("consent import events.ndjson");
    assert!(status == 1 && words.ends_with("1 recorded, 0 recorded before, 1 bad lines\n"), "{words}");
    assert_eq!(laptop.json("consent show p-2")["restricted"], true);

    laptop.output("subject request p-2 access --at 2026-01-01 --channel letter");
    let listed = laptop.output("subject requests");
    assert!(listed.contains("access  p-2  received 2026-01-01T00:00:00Z  OVERDUE"), "{listed}");
    let report = laptop.json("subject report p-2");
    assert_eq!(report["events"][1]["right"], "access", "{report}");
    assert!(laptop.output("subject report p-2 --format html").starts_with("<!doctype html>"));
    let link = laptop.output("subject opt-out-link p-2 --base https://api.example.org");
    assert!(link.starts_with("List-Unsubscribe: <https://api.example.org/.well-known/"), "{link}");

    laptop.output(
        "case add C-7 --recipient police --purpose law-enforcement --subject p-2 --category contact \
         --end 2099-01-01 --reference 12-Js-4",
    );
    laptop.output("case approve C-7 --approver ada");
    let listed = laptop.output("case list");
    assert!(
        listed.starts_with("C-7  registered  until 2099-01-01") && listed.contains("1 person"),
        "{listed}"
    );
    laptop.output("case end C-7");
    assert_eq!(laptop.json("case list --format json")["state"], "ended");
}

#[test]
fn a_decision_is_explained_by_its_record() {
    let (upstream, gateway) = start_customer_gateway();
    gateway.record_event("p-1", NOTICE);
    upstream.json("/customers/p-1", &person("p-1"));
    let id = gateway.get("/customers/p-1", "support", "customer-support").decision();
    gateway.wait_for_log("\"outcome\"");
    let laptop = Laptop::new(format!("http://{}", gateway.admin));
    let explained = laptop.output(&format!("explain --decision {id}"));
    assert!(explained.contains("`support` asked the route `customer` for `customer-support`"), "{explained}");
    assert!(
        explained.contains("password (1 field)") && explained.contains("with --config also"),
        "{explained}"
    );
    let config = gateway.folder.path().join("purposegate.toml");
    let arguments = format!("explain --decision {id} --config {}", config.display());
    assert!(laptop.output(&arguments).contains("which is loaded"));
    let (status, _, words) = laptop.run("explain --decision 01ARZ3NDEKTSV4RRFFQ69G5FAV");
    assert!(status == 1 && words.contains("no decision with this id"), "{words}");
    let (status, _, words) =
        laptop.run("explain --route customer --recipient support --purpose customer-support");
    assert!(status == 2 && words.contains("purposegate.toml"), "a request needs a configuration: {words}");
}

#[test]
fn a_task_that_the_admin_api_does_not_have_is_refused_and_so_is_a_reason_without_a_gateway() {
    let (_upstream, gateway) = start_customer_gateway();
    gateway.record_event("p-1", NOTICE);
    let laptop = Laptop::new(gateway.admin.to_string());
    for (arguments, word) in
        [("consent show p-1 --at 2026-01-01", "an earlier time"), ("consent export", "export the ledger")]
    {
        let (status, out, words) = laptop.run(arguments);
        assert_eq!((status, out.as_str()), (2, ""), "{arguments}");
        assert!(words.contains(word) && words.contains("without --admin"), "{words}");
    }
    for (arguments, word) in
        [("consent show nobody", "does not know"), ("subject report nobody", "does not know")]
    {
        let (status, out, words) = laptop.run(arguments);
        assert_eq!((status, out.as_str()), (1, ""), "{arguments}");
        assert!(words.contains(word), "{words}");
    }
    let (status, _, words) = laptop.run("consent give p-1 world-domination");
    assert!(status == 1 && words.contains("`purpose` is not a purpose of the vocabulary"), "{words}");
    let config = gateway.folder.path().join("purposegate.toml");
    let local = ["consent", "show", "p-1", "--reason", "a call", "--config", config.to_str().unwrap()];
    let (status, _, words) = run_command(program().args(local), "");
    assert!(status == 2 && words.contains("--reason needs --admin"), "{words}");
}

#[test]
fn a_gateway_that_cannot_be_reached_is_named_with_the_cause() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let laptop = Laptop::new(format!("http://{closed}"));
    let (status, _, words) = laptop.run("consent show p-1");
    assert_eq!(status, 2);
    assert!(words.contains(&format!("the gateway at http://{closed} cannot be reached")), "{words}");
    assert!(words.contains("refused"), "{words}");
}

#[test]
fn the_token_travels_over_verified_tls_and_a_reading_has_a_reason() {
    let api = TlsServer::start("200 OK", "{\"position\": 1}");
    let laptop = Laptop::new(format!("https://localhost:{}", api.port));
    std::fs::write(laptop.path("token"), "pga_file_secret\n").unwrap();
    let ca = api.ca();
    let with_file = ["--ca", &ca, "--token-file", "token", "--reason", "call 7 & mail"];
    let (status, out, words) = laptop.run_with("consent show p-1 --namespace crm", &with_file);
    assert_eq!((status, out.as_str()), (0, "{\n  \"position\": 1\n}\n"), "{words}");
    assert!(words.contains("warning: every user of this machine can read the token"), "{words}");
    let head = api.last_head();
    assert!(
        head.starts_with("GET /v1/subjects/p-1?namespace=crm&reason=call%207%20%26%20mail HTTP/1.1"),
        "{head}"
    );
    assert!(head.contains("authorization: Bearer pga_file_secret"), "{head}");

    let mut command = program();
    command.current_dir(laptop.folder.path()).env("PURPOSEGATE_TOKEN", "pga_env_secret");
    command.args(["consent", "withdraw", "p-1", "marketing", "--ca", &ca, "--admin", &laptop.admin]);
    let (status, _, words) = run_command(&mut command, "");
    assert_eq!((status, words.as_str()), (0, ""));
    assert!(api.last_head().contains("authorization: Bearer pga_env_secret"), "{}", api.last_head());

    let other = TlsServer::start("200 OK", "{}");
    let (status, _, words) = laptop.run_with("consent show p-1", &["--ca", &other.ca()]);
    assert!(status == 2 && words.contains("not signed by the authority that is trusted here"), "{words}");
    let elsewhere = Laptop::new("http://gateway.internal:9901".to_owned());
    std::fs::write(elsewhere.path("token"), "pga_file_secret").unwrap();
    let (status, _, words) = elsewhere.run_with("consent show p-1", &["--token-file", "token"]);
    assert!(status == 2 && words.contains("in clear") && !words.contains("secret"), "{words}");
}

#[test]
fn a_refused_token_is_explained() {
    for (status, body, word) in [
        ("401 Unauthorized", r#"{"detail": "no token", "code": "credential-missing"}"#, "--token-file"),
        ("403 Forbidden", r#"{"detail": "no role", "code": "role-missing"}"#, "`[admin] tokens`"),
        ("400 Bad Request", r#"{"detail": "no reason", "code": "reason-missing"}"#, "--reason"),
    ] {
        let api = TlsServer::start(status, body);
        let laptop = Laptop::new(format!("https://localhost:{}", api.port));
        let (status, out, words) = laptop.run_with("consent show p-1", &["--ca", &api.ca()]);
        assert_eq!((status, out.as_str()), (1, ""), "{words}");
        assert!(words.contains(word), "{words}");
    }
}

/// A gateway whose admin API has TLS and tokens, each with the roles after its name. Returns its URL.
fn start_with_tokens(certificates: &Path, tokens: &[(&str, &str)]) -> (TestGateway, String) {
    let clients = [ClientName { file: "ops", uri: "spiffe://example.org/ops" }];
    development::make(certificates, &clients).unwrap();
    let folder = certificates.display();
    let listed: Vec<String> = tokens
        .iter()
        .map(|(name, roles)| {
            let hash = token_hash(&format!("pga_{name}"));
            format!("{{ name = \"{name}\", hash = \"{hash}\", roles = [{roles}] }}")
        })
        .collect();
    let admin = format!(
        "[admin]\ntls = {{ certificate = \"{folder}/server.pem\", key = \"{folder}/server.key\", client-ca = \"{folder}/ca.pem\" }}\n\
         certificates = [{{ name = \"ops\", certificate = \"spiffe://example.org/ops\", roles = [\"privacy\"] }}]\n\
         tokens = [{}]\n",
        listed.join(", ")
    );
    let config = base("127.0.0.1:9".parse().unwrap()).replace("[admin]\n", &admin);
    let gateway = TestGateway::start(&format!("{config}{CUSTOMER_ROUTES}"));
    let url = format!("https://localhost:{}", gateway.admin.port());
    (gateway, url)
}

#[test]
fn each_task_needs_a_token_with_its_role() {
    let certificates = tempfile::tempdir().unwrap();
    let tokens = [("sync", "\"ledger\""), ("dpo", "\"privacy\""), ("ada", "\"cases\""), ("ben", "\"cases\"")];
    let (gateway, url) = start_with_tokens(certificates.path(), &tokens);
    let laptop = Laptop::new(url);
    for (name, _) in tokens {
        std::fs::write(laptop.path(name), format!("pga_{name}")).unwrap();
        std::fs::set_permissions(laptop.path(name), Permissions::from_mode(0o600)).unwrap();
    }
    let ca = certificates.path().join("ca.pem").to_str().unwrap().to_owned();
    let run =
        |token: &str, arguments: &str| laptop.run_with(arguments, &["--ca", &ca, "--token-file", token]);
    let succeeds = |token: &str, arguments: &str| {
        let (status, out, words) = run(token, arguments);
        assert_eq!(status, 0, "{arguments}: {words}");
        out
    };
    succeeds("sync", "consent give p-1 direct-marketing");
    let (status, _, words) = run("sync", "consent show p-1");
    assert!(status == 1 && words.contains("--reason"), "{words}");
    assert!(succeeds("sync", "consent show p-1 --reason check").contains("\"given\""));
    for (token, arguments) in [
        ("dpo", "consent give p-1 direct-marketing"),
        ("sync", "subject report p-1 --reason x"),
        ("dpo", "case list"),
    ] {
        let (status, _, words) = run(token, arguments);
        assert!(status == 1 && words.contains("the roles of the token stand in"), "{arguments}: {words}");
    }
    succeeds("dpo", "subject request p-1 access");
    assert!(succeeds("dpo", "subject requests").contains("access  p-1"));
    assert!(succeeds("dpo", "subject report p-1 --reason request").contains("direct-marketing"));
    succeeds("dpo", "subject answer p-1 access");

    succeeds(
        "ada",
        "case add C-7 --recipient police --purpose law-enforcement --subject p-1 --category contact \
         --end 2099-01-01 --reference 12-Js-4",
    );
    succeeds("ada", "case approve C-7");
    assert_eq!(run("ada", "case approve C-7").0, 1, "somebody else has to");
    succeeds("ben", "case approve C-7");
    assert!(succeeds("ada", "case list").contains("in-force"), "{}", succeeds("ada", "case list"));

    let (status, _, words) = laptop.run_with("consent show p-1 --reason x", &["--ca", &ca]);
    assert!(status == 1 && words.contains("purposegate admin token"), "{words}");
    let file = |name: &str| certificates.path().join(name).to_str().unwrap().to_owned();
    let shown = ["--ca", &ca, "--client-certificate", &file("ops.pem"), "--client-key", &file("ops.key")];
    let (status, _, words) = laptop.run_with("consent show p-1 --reason x", &shown);
    assert_eq!((status, words.as_str()), (0, ""));
    let log = gateway.log_bytes();
    assert!(!log.contains("pga_"), "no token is on record");
}

#[test]
fn a_new_token_is_shown_with_the_hash_that_registers_it() {
    let (status, out, _) =
        run_command(program().args(["admin", "token", "crm-sync", "--format", "json"]), "");
    let made: Value = serde_json::from_str(&out).unwrap();
    let token = made["key"].as_str().unwrap();
    assert!(status == 0 && token.starts_with("pga_"), "{made}");
    let hash = purposegate::credentials::hash(token.as_bytes());
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(made["credential"], format!("sha256:{digits}"));
    let (_, text, _) = run_command(program().args(["admin", "token", "crm-sync"]), "");
    assert!(text.contains("name = \"crm-sync\", hash = \"sha256:"), "{text}");
}
