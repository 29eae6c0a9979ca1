//! The keys of `[[upstream]]`: what `check` finds.

use crate::findings::{FIELDS, ROUTE, check_with, codes, rendered};
use crate::tls_upstream::certificates;

/// Checks an upstream with these keys. Returns true if it loads, the codes, and the findings as they are printed.
fn check(keys: &str) -> (bool, Vec<&'static str>, String) {
    let (loads, findings, folder) =
        check_with(&format!("{ROUTE}{FIELDS}[[upstream]]\nname = \"other\"\n{keys}\n"));
    (loads, codes(&findings), rendered(&findings, folder.path()))
}

#[test]
fn mistakes_about_urls_are_errors() {
    for (keys, code) in [
        ("", "missing-key"),
        ("url = \"ftp://127.0.0.1\"", "bad-upstream-url"),
        ("url = \"127.0.0.1:80\"", "bad-upstream-url"),
        ("url = \"http://u:p@127.0.0.1\"", "bad-upstream-url"),
        ("url = \"http://127.0.0.1/?a\"", "bad-upstream-url"),
        ("url = \"http://127.0.0.1:99999\"", "bad-upstream-url"),
        ("url = \"http://127.0.0.1\"\nurls = [\"http://127.0.0.1\"]", "bad-upstream-url"),
        ("urls = []", "bad-upstream-url"),
        ("urls = [\"http://127.0.0.1\", \"https://127.0.0.1\"]", "bad-upstream-url"),
        ("urls = [\"http://127.0.0.1/a\", \"http://127.0.0.2/b\"]", "bad-upstream-url"),
        ("url = \"http://127.0.0.1\"\nserver-name = \"a\"", "misplaced-key"),
        ("url = \"http://127.0.0.1\"\nca = \"ca.pem\"", "misplaced-key"),
        ("url = \"https://127.0.0.1\"\nserver-name = \"a b\"", "bad-server-name"),
        ("url = \"https://127.0.0.1\"\nca = \"none.pem\"", "no-such-file"),
        ("url = \"https://127.0.0.1\"\nca = \"purposegate.toml\"", "bad-tls"),
        ("url = \"http://127.0.0.1\"\nhealth = { path = \"health\" }", "bad-health-check"),
        ("url = \"http://127.0.0.1\"\nhealth = { path = \"/\", interval = \"1ms\" }", "bad-health-check"),
        ("url = \"http://127.0.0.1\"\nhealth = { path = \"/\", expected = [99] }", "bad-health-check"),
        ("url = \"http://127.0.0.1\"\nhealth = { path = \"/\", healthy-after = 0 }", "bad-health-check"),
        ("url = \"http://127.0.0.1\"\nhealth = { interval = \"1s\" }", "missing-key"),
    ] {
        let (loads, found, shown) = check(keys);
        assert!(!loads && found == [code], "{keys}: {shown}");
    }
    let many: Vec<String> = (0..40).map(|port| format!("\"http://127.0.0.1:{}\"", 1000 + port)).collect();
    assert_eq!(check(&format!("urls = [{}]", many.join(", "))).1, ["bad-upstream-url"]);
}

#[test]
fn mistakes_about_headers_are_errors_that_show_no_value() {
    for headers in [
        "host = \"canary\"",
        "connection = \"canary\"",
        "content-length = \"canary\"",
        "via = \"canary\"",
        "data-purpose = \"canary\"",
        "\"x y\" = \"canary\"",
        "x-a = \"canary\\n\"",
        "x-a = \"canäry\"",
        "x-a = \"\"",
        "x-a = { env = \"PURPOSEGATE_TEST_UNSET\" }",
        "x-a = { env = \"HOME\", file = \"purposegate.toml\" }",
        "x-a = {}",
        // The configuration itself has more than one line.
        "x-a = { file = \"purposegate.toml\" }",
    ] {
        let (loads, found, shown) = check(&format!("url = \"http://127.0.0.1\"\nheaders = {{ {headers} }}"));
        assert!(!loads && found == ["bad-upstream-header"], "{headers}: {shown}");
        assert!(!shown.contains("canary") && !shown.contains("canäry"), "{shown}");
    }
    assert_eq!(
        check("url = \"http://127.0.0.1\"\nheaders = { x-a = { file = \"none\" } }").1,
        ["no-such-file"]
    );
    assert_eq!(check("url = \"http://127.0.0.1\"\nheaders = { x-a = { fiel = \"f\" } }").1.len(), 2);
    for header in ["Host", "Data-Purpose", "Via", "x y"] {
        let (loads, found, shown) =
            check(&format!("url = \"http://127.0.0.1\"\nrecipient-header = \"{header}\""));
        assert!(!loads && found == ["bad-upstream-header"], "{shown}");
    }
    let (loads, findings, _folder) = check_with(&format!(
        "{ROUTE}{FIELDS}[[upstream]]\nname = \"other\"\nurl = \"http://127.0.0.1\"\nrecipient-header = \"x-a\"\n\
         [[recipient]]\nname = \"Käufer\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"customer-support\"]\n\
         credentials = [{{ certificate = \"spiffe://test/k\" }}]\n"
    ));
    assert!(!loads && codes(&findings) == ["bad-upstream-header"], "{findings:?}");
}

#[test]
fn plaintext_beyond_the_loopback_is_a_warning() {
    for url in ["http://crm.internal", "http://10.0.0.1:8080/api", "http://0.0.0.0"] {
        let (loads, found, shown) = check(&format!("url = \"{url}\""));
        assert!(loads && found == ["plaintext-upstream"], "{shown}");
        assert!(check(&format!("url = \"{url}\"\nallow = [\"plaintext-upstream\"]")).0);
    }
    for keys in [
        "url = \"http://localhost:9000\"",
        "urls = [\"http://127.0.0.1:1\", \"http://[::1]:1\"]",
        "url = \"https://crm.internal\"\nca = \"CA\"",
    ] {
        let certificates = certificates();
        let keys = keys.replace("CA", &certificates.path().join("ca.pem").display().to_string());
        let (loads, found, shown) = check(&keys);
        assert!(loads && found.is_empty(), "{keys}: {shown}");
    }
}

#[test]
fn files_that_this_user_may_not_read_are_warnings() {
    use std::os::unix::fs::PermissionsExt;
    let certificates = certificates();
    let closed = |name: &str| {
        let path = certificates.path().join(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        path
    };
    let (certificate, key) = (certificates.path().join("gateway.pem"), closed("gateway.key"));
    if std::fs::read(&key).is_ok() {
        eprintln!("skipped: this user may read every file");
        return;
    }
    let ca = certificates.path().join("ca.pem");
    let identity = format!("client-certificate = {certificate:?}\nclient-key = {key:?}");
    let (loads, found, shown) = check(&format!("url = \"https://127.0.0.1\"\nca = {ca:?}\n{identity}"));
    assert!(loads && found == ["unreadable-tls"], "{shown}");
    let (loads, found, shown) =
        check(&format!("url = \"http://127.0.0.1\"\nheaders = {{ x-a = {{ file = {key:?} }} }}"));
    assert!(loads && found == ["unreadable-upstream-header"], "{shown}");
}
