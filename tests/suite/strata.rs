//! The order of the strata: a module uses only what its stratum may know.

use std::path::{Path, PathBuf};

/// Module and the modules it may use, besides itself. `finding` and `document` belong to no stratum.
const MAY_USE: &[(&str, &[&str])] = &[
    ("finding", &[]),
    ("document", &["finding"]),
    ("vocabulary", &["finding", "document"]),
    ("policy", &["finding", "document", "vocabulary"]),
    ("decision", &["finding", "document", "vocabulary", "policy"]),
    ("scrub", &["finding", "vocabulary", "policy", "decision"]),
    ("keys", &["vocabulary", "decision", "scrub"]),
    ("ledger", &["vocabulary", "policy", "decision", "scrub", "keys"]),
    ("disclosure", &["vocabulary", "policy", "decision", "scrub", "keys", "ledger"]),
    ("report", &["vocabulary", "policy", "decision", "scrub", "keys", "ledger", "disclosure"]),
    ("metrics", &[]),
    ("access_log", &[]),
    (
        "layer",
        &[
            "finding",
            "vocabulary",
            "policy",
            "decision",
            "scrub",
            "keys",
            "ledger",
            "disclosure",
            "metrics",
            "access_log",
        ],
    ),
];

/// What the pure half never touches.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "ToSocketAddrs",
    "tokio::",
    "hyper::",
    "http::",
    "Timestamp::now",
    "SystemTime",
    "Instant::now",
];

fn sources(module: &str) -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let file = src.join(format!("{module}.rs"));
    let mut found: Vec<PathBuf> = file.is_file().then_some(file).into_iter().collect();
    let mut folders = vec![src.join(module)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The code of a file: without comments and without its tests, which stand last.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let before_tests = text.split("#[cfg(test)]").next().unwrap_or_default();
    before_tests.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn dependencies_point_one_way() {
    let modules: Vec<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    for above in ["config", "gateway", "demo", "cli"] {
        assert!(!sources(above).is_empty(), "{above} has no files: is the list of strata still right?");
    }
    for (module, allowed) in MAY_USE {
        let files = sources(module);
        assert!(!files.is_empty(), "{module} has no files: is the list of strata still right?");
        for file in files {
            let code = code(&file);
            for other in modules.iter().chain(&["config", "gateway", "demo", "cli"]) {
                let uses =
                    code.contains(&format!("crate::{other}::")) || code.contains(&format!("crate::{other};"));
                assert!(
                    other == module || allowed.contains(other) || !uses,
                    "{} uses {other}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn the_pure_half_touches_nothing_outside() {
    for module in ["finding", "document", "vocabulary", "policy", "decision", "scrub"] {
        for file in sources(module) {
            let code = code(&file);
            for word in IMPURE {
                assert!(!code.contains(word), "{} contains {word}", file.display());
            }
        }
    }
}
