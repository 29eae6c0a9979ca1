//! Checks the order of the strata: a module uses only what its stratum may know.
//!
//! Files are read as tokens, without comments and without items under `#[cfg(test)]`, so that neither
//! a test in the middle of a file nor a grouped import hides a dependency.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Each module and the modules it may use, besides itself. `finding`, `document` and `retention` belong to no
/// stratum.
/// `lib.rs` and `main.rs` only declare and start.
const MAY_USE: &[(&str, &[&str])] = &[
    ("finding", &[]),
    ("document", &["finding"]),
    ("retention", &[]),
    ("vocabulary", &["finding", "document"]),
    ("policy", &["finding", "document", "vocabulary"]),
    ("decision", &["finding", "document", "vocabulary", "policy"]),
    ("scrub", &["finding", "vocabulary", "policy", "decision"]),
    ("credentials", &[]),
    ("keys", &["vocabulary", "decision"]),
    ("ledger", &["finding", "vocabulary", "policy", "decision", "keys"]),
    ("disclosure", &["retention", "vocabulary", "policy", "decision", "keys", "ledger", "log_limit"]),
    ("report", &["vocabulary", "policy", "decision", "keys", "ledger", "disclosure"]),
    ("metrics", &[]),
    ("access_log", &["retention", "log_limit"]),
    ("log_limit", &[]),
    (
        "exchange",
        &[
            "finding",
            "vocabulary",
            "policy",
            "decision",
            "scrub",
            "credentials",
            "keys",
            "ledger",
            "disclosure",
            "metrics",
            "access_log",
            "log_limit",
        ],
    ),
    ("layer", &["exchange"]),
    (
        "config",
        &[
            "finding",
            "document",
            "vocabulary",
            "policy",
            "decision",
            "scrub",
            "credentials",
            "ledger",
            "disclosure",
            "exchange",
        ],
    ),
    (
        "assembly",
        &[
            "finding",
            "policy",
            "scrub",
            "keys",
            "ledger",
            "disclosure",
            "metrics",
            "access_log",
            "exchange",
            "config",
        ],
    ),
    (
        "gateway",
        &[
            "finding",
            "vocabulary",
            "policy",
            "decision",
            "scrub",
            "keys",
            "ledger",
            "disclosure",
            "report",
            "metrics",
            "access_log",
            "log_limit",
            "exchange",
            "layer",
            "config",
            "assembly",
        ],
    ),
    ("demo", &["credentials", "ledger", "config", "gateway"]),
    (
        "cli",
        &[
            "finding",
            "document",
            "vocabulary",
            "policy",
            "decision",
            "scrub",
            "credentials",
            "keys",
            "ledger",
            "disclosure",
            "report",
            "exchange",
            "config",
            "assembly",
            "gateway",
            "demo",
        ],
    ),
];

/// The strata that take values and return values.
const PURE: &[&str] = &["finding", "document", "vocabulary", "policy", "decision", "scrub"];

/// Paths that a pure module never names, with everything below them.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::env",
    "std::process",
    "std::thread",
    "tokio",
    "hyper",
    "http",
    "Timestamp::now",
    "jiff::Timestamp::now",
    "Zoned::now",
    "jiff::Zoned::now",
    "std::time::SystemTime",
    "std::time::Instant",
    "SystemTime::now",
    "Instant::now",
];

/// Paths that the exchange never names: a door brings its own transport.
const TRANSPORT: &[&str] =
    &["http_body", "http_body_util", "tower", "hyper", "hyper_util", "tokio::net", "std::net::TcpStream"];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns every file of a module.
fn sources(module: &str) -> Vec<PathBuf> {
    let file = src().join(format!("{module}.rs"));
    let mut found: Vec<PathBuf> = file.is_file().then_some(file).into_iter().collect();
    let mut folders = vec![src().join(module)];
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

/// Returns every path (`crate::ledger::Ledger`, also out of a grouped import) that code outside of tests names.
fn paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let tokens = TokenStream::from_str(code).expect("a file of tokens");
    collect(&without_tests(tokens.into_iter().collect()), "", &mut found);
    found
}

/// Drops the items under `#[cfg(test)]`, at every depth.
fn without_tests(tokens: Vec<TokenTree>) -> Vec<TokenTree> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let attribute = match (&token, tokens.peek()) {
            (TokenTree::Punct(hash), Some(TokenTree::Group(group)))
                if hash.as_char() == '#' && group.delimiter() == Delimiter::Bracket =>
            {
                group.stream().to_string().replace(' ', "")
            }
            _ => String::new(),
        };
        if attribute == "cfg(test)" {
            tokens.next();
            skip_item(&mut tokens);
            continue;
        }
        kept.push(match token {
            TokenTree::Group(group) => {
                let inner = without_tests(group.stream().into_iter().collect()).into_iter().collect();
                TokenTree::Group(proc_macro2::Group::new(group.delimiter(), inner))
            }
            other => other,
        });
    }
    kept
}

/// Consumes one item: up to its `;`, or its body in braces. An import's braces are no body.
fn skip_item(tokens: &mut std::iter::Peekable<std::vec::IntoIter<TokenTree>>) {
    let mut import = false;
    for token in tokens {
        match token {
            TokenTree::Ident(word) if word == "use" => import = true,
            TokenTree::Punct(end) if end.as_char() == ';' => return,
            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace && !import => return,
            _ => {}
        }
    }
}

/// Adds the paths of `tokens` to `found`, each with `prefix` before it.
fn collect(tokens: &[TokenTree], prefix: &str, found: &mut BTreeSet<String>) {
    let is_colons = |at: usize| {
        let colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':');
        colon(at) && colon(at + 1)
    };
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Group(group) => collect(&group.stream().into_iter().collect::<Vec<_>>(), "", found),
            TokenTree::Ident(first) => {
                let mut path = format!("{prefix}{first}");
                while is_colons(at) {
                    match tokens.get(at + 2) {
                        Some(TokenTree::Ident(next)) => path = format!("{path}::{next}"),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            let inner: Vec<_> = group.stream().into_iter().collect();
                            collect(&inner, &format!("{path}::"), found);
                        }
                        _ => break,
                    }
                    at += 3;
                }
                found.insert(path);
            }
            _ => {}
        }
    }
}

/// True if `path` is `name` or is below it.
fn names(path: &str, name: &str) -> bool {
    path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn read(file: &Path) -> BTreeSet<String> {
    paths(&std::fs::read_to_string(file).unwrap())
}

#[test]
fn every_module_has_a_stratum() {
    let listed: BTreeSet<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    for entry in std::fs::read_dir(src()).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let rust = path.is_dir() || path.extension().is_some_and(|extension| extension == "rs");
        if rust && !["lib", "main"].contains(&module.as_str()) {
            assert!(listed.contains(module.as_str()), "{module} stands in no stratum");
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    for (module, allowed) in MAY_USE {
        let files = sources(module);
        assert!(!files.is_empty(), "{module} has no files: is the list of strata still right?");
        for file in files {
            let used = read(&file);
            for (other, _) in MAY_USE {
                let uses = used.iter().any(|path| names(path, &format!("crate::{other}")));
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
    for module in PURE {
        for file in sources(module) {
            for path in read(&file) {
                for word in IMPURE {
                    assert!(!names(&path, word), "{} names {path}", file.display());
                }
            }
        }
    }
}

#[test]
fn the_exchange_knows_no_transport() {
    for file in sources("exchange") {
        for path in read(&file) {
            for word in TRANSPORT {
                assert!(!names(&path, word), "{} names {path}", file.display());
            }
        }
    }
}

#[test]
fn a_dependency_is_seen_wherever_it_stands() {
    let seen = |code: &str| paths(code).iter().any(|path| names(path, "crate::gateway"));
    for code in [
        "use crate::gateway::Gateway;",
        "use crate::gateway;",
        "use crate::{finding::Finding, gateway};",
        "use crate::{\n    gateway::{self, Gateway},\n};",
        "#[cfg(test)]\nuse crate::ledger;\nuse crate::gateway::Gateway;",
        "#[cfg(test)]\nuse crate::ledger::{A, B};\nfn f() { crate::gateway::run() }",
        "#[cfg(test)]\nmod tests { fn f() {} }\nfn f() { crate::gateway::run() }",
        "fn f() -> Option<crate::gateway::Gateway> { None }",
        "pub(crate) use crate::gateway as front;",
    ] {
        assert!(seen(code), "{code}");
    }
    for code in [
        "// use crate::gateway;\n/// See [`crate::gateway`].\nfn f() {}",
        "const WHERE: &str = \"crate::gateway::run\";",
        "use crate::gatewayish::X;",
        "#[cfg(test)]\nmod tests { use crate::gateway::Gateway; }",
        "#[cfg(test)]\nuse crate::gateway;",
        "mod a { #[cfg(test)] fn f() { crate::gateway::run() } }",
    ] {
        assert!(!seen(code), "{code}");
    }
}
