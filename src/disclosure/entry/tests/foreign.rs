//! Entries are read by decoders that others wrote (PyPI `cbor2`, and `pycddl` for the schema).

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::samples::*;
use crate::disclosure::entry::*;
use crate::keys::Keys;

/// Reads pairs of lengths and bytes (leaf, detail), and prints how many entries it accepted.
const READER: &str = r#"
import hashlib, sys
import cbor2
try:
    from pycddl import Schema
    text = open("docs/disclosure-log.cddl").read()
    # The first rule is the one that is checked.
    leaf_schema = Schema("start-of-leaf = leaf\n" + text)
    details = {}
    schemas = lambda name: details.get(name) or details.setdefault(name, Schema(f"start-of-detail = {name}-detail\n" + text))
    kinds = sys.argv[1].split(",")
except ImportError:
    leaf_schema = None
    print("skipped: pycddl is not there", file=sys.stderr)
read, count = sys.stdin.buffer, 0
def take():
    length = int.from_bytes(read.read(4), "big")
    return read.read(length)
while True:
    leaf = take()
    if not leaf:
        break
    detail = take()
    head, members = cbor2.loads(leaf), cbor2.loads(detail[16:])
    assert cbor2.dumps(head, canonical=True) == leaf, leaf.hex()
    assert cbor2.dumps(members, canonical=True) == detail[16:], detail.hex()
    assert head[2] == hashlib.sha256(detail).digest()
    if leaf_schema:
        leaf_schema.validate_cbor(leaf)
        schemas(kinds[head[0]]).validate_cbor(detail[16:])
    count += 1
print(count)
"#;

#[test]
fn a_foreign_decoder_reads_every_entry() {
    // The environment into which `tests/run` installs what is missing.
    let python = std::env::var("PURPOSEGATE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let run = |code: &str| Command::new(&python).args(["-c", code]).stderr(Stdio::null()).status();
    if !run("import cbor2").is_ok_and(|status| status.success()) {
        #[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
        {
            eprintln!("skipped: cbor2 is not there (PyPI)");
        }
        return;
    }
    let keys = Keys::random().unwrap();
    let mut log = MemoryLog::new(&keys);
    let (mut runner, records) = (TestRunner::deterministic(), any_record(&keys));
    for number in 0..500 {
        let record = records.new_tree(&mut runner).unwrap().current();
        log.push(&record, at(number * 1_000));
        if number % 100 == 0 {
            log.start();
        }
    }
    log.encoder.resume(log.entries.len() as u64, at(1), at(2), &mut log.entries);
    log.encoder.pruning(
        PruningRecord { below: 1, former_segments: 2, former_first: Some(7) },
        at(3),
        &mut log.entries,
    );
    let members = ProcessStart {
        gateway: "g",
        version: "1",
        unclean: true,
        torn_bytes: 1,
        former: Some(FormerLogEnd { log: "l".to_owned(), records: 0, chain: [1; 32] }),
    };
    log.encoder.start(log.entries.len() as u64, &members, at(3), &mut log.entries);
    log.encoder.stop(at(4), &mut log.entries);
    log.encoder.padding(3, &mut log.entries);
    let kinds: Vec<&str> = EntryKind::ALL.iter().map(|kind| kind.name()).collect();
    let mut reader = Command::new(&python)
        .args(["-c", READER, &kinds.join(",")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to_reader = std::io::BufWriter::new(reader.stdin.take().unwrap());
    for Entry { leaf, detail } in &log.entries {
        for part in [leaf, detail] {
            to_reader.write_all(&(part.len() as u32).to_be_bytes()).unwrap();
            to_reader.write_all(part).unwrap();
        }
    }
    drop(to_reader);
    let output = reader.wait_with_output().unwrap();
    let accepted = String::from_utf8(output.stdout).unwrap();
    assert_eq!(accepted.trim(), log.entries.len().to_string());
}
