//! The disclosure log of a gateway under traffic is accepted by `audit verify`, and by a verifier that we did not write.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::fixtures::{CUSTOMER_ROUTES, NOTICE, person};
use crate::gateway::{TestGateway, base, bearer, wait};
use crate::http;
use crate::program::run;
use crate::upstream::Upstream;

/// Verifies a folder with PyPI `aics-tlog`: the signature of the checkpoint, then every tile and every bundle. It prints the
/// size of the tree. A gateway replaces partial tiles while it writes, so that another attempt may be needed.
const FOREIGN_VERIFIER: &str = r#"
import pathlib, sys
from aics_tlog import HttpTileReader, TileMissingError, audit_tiles, parse_note, parse_vkey, verify_checkpoint
folder, key = pathlib.Path(sys.argv[1]), parse_vkey(sys.argv[2])
for attempt in range(100):
    checkpoint = verify_checkpoint(parse_note((folder / "checkpoint").read_bytes()), key)
    assert checkpoint.ok, checkpoint.error
    try:
        report = audit_tiles(HttpTileReader(folder.as_uri()), checkpoint.size, checkpoint.root)
    except TileMissingError:
        continue
    print(report.size)
    break
else:
    sys.exit("a file is missing")
"#;

/// The interpreter of the environment into which `tests/run` installs what is missing; `None` without the verifier or the
/// decoder.
fn foreign_python() -> Option<String> {
    let python = std::env::var("PURPOSEGATE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", "import aics_tlog, cbor2"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!(
        "SKIPPED: no foreign program verifies the disclosure log, aics-tlog or cbor2 is not there (PyPI)"
    );
    None
}

/// Returns the size of the log that the foreign verifier accepts, or its words.
fn foreign_size(python: &str, log: &Path, key: &str) -> Result<u64, String> {
    let mut command = Command::new(python);
    let output = command.args(["-c", FOREIGN_VERIFIER]).arg(log).arg(key).output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn the_log_of_a_gateway_under_traffic_verifies() {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let gateway = TestGateway::start(&format!("{}{CUSTOMER_ROUTES}", base(upstream.address)));
    gateway.record_event("p-1", NOTICE);
    let log = gateway.folder.path().join("data/audit");
    let file = gateway.folder.path().join("purposegate.toml");
    let config = ["--config", file.to_str().unwrap()];
    let (status, key, words) = run(["audit", "key"].iter().chain(&config));
    assert_eq!(status, 0, "{words}");
    let key = key.trim();
    let origin = std::fs::read_to_string(log.join("origin")).unwrap();
    assert!(key.starts_with(&format!("{}+", origin.trim())), "{key}");

    let python = foreign_python();
    let idle = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..120).for_each(|_| {
                        gateway.get("/customers/p-1", "support", "customer-support").decision();
                    });
                })
            })
            .collect();
        scope.spawn(|| {
            clients.into_iter().for_each(|client| client.join().unwrap());
            idle.store(true, Ordering::SeqCst);
        });
        while !idle.load(Ordering::SeqCst) {
            let (status, note, words) = run(["audit", "verify"].iter().chain(&config));
            assert_eq!(status, 0, "{words}");
            assert!(note.starts_with(&origin) && words.contains("a gateway is writing this log"), "{words}");
            if let Some(python) = &python {
                foreign_size(python, &log, key).unwrap();
            }
        }
    });
    let folder = gateway.end();
    let verify = |arguments: &[&str]| run(["audit", "verify", log.to_str().unwrap()].iter().chain(arguments));
    let (status, note, words) = verify(&["--key", key]);
    assert_eq!(status, 0, "{words}");
    let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
    assert!(size > 256, "several bundles: {note}");
    if let Some(python) = &python {
        assert_eq!(foreign_size(python, &log, key).unwrap(), size);
    }
    let (status, note, words) = verify(&[]);
    assert_eq!((status, note.as_str()), (1, ""));
    assert!(words.contains("finding: signatures were not checked"), "{words}");

    let damaged = folder.path().join("damaged");
    copy(&log, &damaged);
    let bundle = damaged.join("tile/entries/000");
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[9000] ^= 1;
    std::fs::write(bundle, bytes).unwrap();
    let (status, _, words) = run(["audit", "verify", damaged.to_str().unwrap(), "--key", key]);
    assert_eq!(status, 1);
    assert!(
        words.contains("finding: tile/entries/000: entry ") && words.contains("disagrees with tile/0/000"),
        "{words}"
    );
    if let Some(python) = &python {
        let words = foreign_size(python, &damaged, key).unwrap_err();
        assert!(words.contains("TileVerificationError"), "{words}");
    }
}

/// Returns the receipt of a decision as soon as a checkpoint covers it.
fn receipt(gateway: &TestGateway, id: &str) -> Value {
    wait(|| {
        let path = format!("/.well-known/data-purposes/decisions/{id}/receipt");
        let answer = http::get(gateway.address, &path, &[&bearer("support")]);
        (answer.status == 200).then(|| answer.json())
    })
}

#[test]
fn receipts_are_checked_by_the_documented_program() {
    let Some(python) = foreign_python() else { return };
    let text = std::fs::read_to_string("docs/disclosure-log.md").unwrap();
    let code = text.split("```python\n").nth(2).unwrap().split("```").next().unwrap();
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let gateway = TestGateway::start(&format!("{}{CUSTOMER_ROUTES}", base(upstream.address)));
    gateway.record_event("p-1", NOTICE);
    let file = gateway.folder.path().join("purposegate.toml");
    let (status, key, words) = run(["audit", "key", "--config", file.to_str().unwrap()]);
    assert_eq!(status, 0, "{words}");
    let check = |receipt: &Value, key: &str| {
        let file = gateway.folder.path().join("receipt.json");
        std::fs::write(&file, receipt.to_string()).unwrap();
        let output = Command::new(&python).args(["-c", code]).arg(file).arg(key).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let released = gateway.get("/customers/p-1", "support", "customer-support").decision();
    let refused = gateway.get("/customers/p-1", "support", "no-such-purpose").decision();
    for (id, circumstances) in [
        (&released, "support customer-support customer released"),
        (&refused, "support - customer refused:purpose-unknown"),
    ] {
        let mut receipt = receipt(&gateway, id);
        let (is_right, printed, words) = check(&receipt, key.trim());
        assert!(is_right && printed.ends_with(&format!(" {id} {circumstances}\n")), "{printed}{words}");
        let other = format!("{}AA", &key.trim()[..key.trim().len() - 2]);
        assert!(!check(&receipt, &other).0, "the key of another log");
        let leaf = receipt["references"][0]["leaf"].take();
        receipt["references"][0]["leaf"] = receipt["entries"][0]["leaf"].clone();
        let (is_right, _, words) = check(&receipt, key.trim());
        assert!(!is_right && words.contains("is not in the log"), "{words}");
        receipt["references"][0]["leaf"] = leaf;
        receipt["checkpoint"] = receipt["checkpoint"].as_str().unwrap().replacen('\n', "x\n", 1).into();
        let (is_right, _, words) = check(&receipt, key.trim());
        assert!(!is_right && words.contains("the checkpoint is not that of the key"), "{words}");
    }
}
