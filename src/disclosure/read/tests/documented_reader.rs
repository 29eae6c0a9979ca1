//! The reader in `docs/disclosure-log.md` reads a log.

use std::process::Command;
use std::sync::Arc;

use super::folder_log::FolderLog;
use crate::disclosure::entry::tests::samples::*;
use crate::disclosure::record::*;

#[test]
fn the_documented_reader_reads_a_log() {
    let text = std::fs::read_to_string("docs/disclosure-log.md").unwrap();
    let code = text.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let python = std::env::var("PURPOSEGATE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !Command::new(&python).args(["-c", "import cbor2"]).output().is_ok_and(|out| out.status.success()) {
        #[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
        {
            eprintln!("skipped: cbor2 is not there (PyPI)");
        }
        return;
    }
    let mut log = FolderLog::new();
    let ada = person(&log.keys, 1);
    for _ in 0..300 {
        let decision = log.id();
        log.push(&Record::Exchange(Arc::new(head(decision)), disclosure([ada], &["email", "name"])));
        if log.now == 0 {
            log.start();
        }
        log.now += 1;
    }
    log.close();
    let output = Command::new(&python).args(["-c", code]).arg(log.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 300);
    assert!(
        lines.iter().all(|line| line.ends_with(" acme [('email', 'clear'), ('name', 'clear')]")),
        "{printed}"
    );
}
