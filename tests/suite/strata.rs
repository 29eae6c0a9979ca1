//! Checks the direction of dependencies: a module uses only what its stratum may know, and no files import each other in a
//! circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::documents::{fenced, read as read_file};
use crate::source;

/// Each module and the modules it may use, besides itself. `lib.rs` and `main.rs` only declare and start.
const MAY_USE: &[(&str, &[&str])] = &[
    ("finding", &[]),
    ("document", &["finding"]),
    ("retention", &[]),
    ("vocabulary", &["finding", "document"]),
    ("texts", &["vocabulary"]),
    ("policy", &["finding", "document", "vocabulary"]),
    ("decision", &["finding", "document", "vocabulary", "policy"]),
    ("scrub", &["finding", "vocabulary", "policy", "decision"]),
    ("discover", &[]),
    ("credentials", &[]),
    ("keys", &["vocabulary", "decision"]),
    ("ledger", &["finding", "vocabulary", "policy", "decision", "keys"]),
    (
        "disclosure",
        &["retention", "vocabulary", "policy", "decision", "keys", "ledger", "log_limit", "traces"],
    ),
    ("report", &["vocabulary", "texts", "policy", "decision", "keys", "ledger", "disclosure"]),
    ("notices", &["vocabulary", "keys", "ledger"]),
    ("metrics", &[]),
    ("access_log", &["retention", "log_limit", "traces"]),
    ("traces", &["keys"]),
    ("log_limit", &[]),
    ("circumstances", &["retention", "vocabulary", "decision", "log_limit"]),
    (
        "exchange",
        &[
            "finding",
            "texts",
            "vocabulary",
            "policy",
            "decision",
            "scrub",
            "discover",
            "credentials",
            "keys",
            "ledger",
            "disclosure",
            "notices",
            "metrics",
            "access_log",
            "log_limit",
            "circumstances",
            "traces",
        ],
    ),
    ("layer", &["exchange"]),
    (
        "config",
        &[
            "finding",
            "document",
            "texts",
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
            "document",
            "texts",
            "vocabulary",
            "policy",
            "decision",
            "scrub",
            "discover",
            "credentials",
            "keys",
            "ledger",
            "disclosure",
            "report",
            "notices",
            "metrics",
            "access_log",
            "log_limit",
            "circumstances",
            "traces",
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
            "texts",
            "vocabulary",
            "policy",
            "decision",
            "scrub",
            "discover",
            "credentials",
            "keys",
            "ledger",
            "disclosure",
            "report",
            "circumstances",
            "exchange",
            "config",
            "assembly",
            "gateway",
            "demo",
        ],
    ),
];

/// The modules that take values and return values.
const PURE: &[&str] =
    &["finding", "document", "retention", "vocabulary", "texts", "policy", "decision", "scrub", "discover"];

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

/// Returns every file of a module.
fn sources(module: &str) -> Vec<PathBuf> {
    let mut found = source::files(&source::root().join(module));
    found.extend(source::files(&source::root().join(format!("{module}.rs"))));
    found
}

/// True if `path` is `name` or is below it.
fn names(path: &str, name: &str) -> bool {
    path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn read(file: &Path) -> BTreeSet<String> {
    source::paths(&source::tokens(&std::fs::read_to_string(file).unwrap()))
}

#[test]
fn every_module_has_a_stratum() {
    let listed: BTreeSet<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    for entry in std::fs::read_dir(source::root()).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let rust = path.is_dir() || path.extension().is_some_and(|extension| extension == "rs");
        if rust && !["lib", "main"].contains(&module.as_str()) {
            assert!(listed.contains(module.as_str()), "{module} stands in no stratum");
        }
    }
}

/// Returns the lines of the drawing of the strata, each with the words after its title. `section` has it.
fn drawing(section: &str) -> Vec<Vec<String>> {
    let block = fenced(section).into_iter().find(|block| block.language == "text").expect("a drawing");
    let mut strata: Vec<Vec<String>> = Vec::new();
    for line in block.text.lines() {
        let is_first = !line.starts_with(' ');
        let words = line.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let words = words.filter(|word| !word.is_empty()).map(str::to_owned);
        match strata.last_mut().filter(|_| !is_first) {
            Some(stratum) => stratum.extend(words),
            None => strata.push(words.skip(usize::from(is_first)).collect()),
        }
    }
    strata
}

/// Returns the section about the strata.
fn section_of_strata(document: &str) -> &str {
    let section = document.split("# Strata\n").nth(1).expect("a section on the strata");
    section.split("\n## ").next().unwrap()
}

#[test]
fn the_drawings_have_every_module_below_those_that_use_it() {
    let library = read_file("src/lib.rs").replace("//! ", "").replace("//!\n", "\n");
    let (of_library, architecture) = (drawing(section_of_strata(&library)), read_file("ARCHITECTURE.md"));
    let section = section_of_strata(&architecture);
    let stratum = |module: &str| {
        let found = of_library.iter().position(|stratum| stratum.iter().any(|word| word == module));
        found.unwrap_or_else(|| panic!("the drawing in src/lib.rs lacks {module}"))
    };
    let in_architecture = drawing(section).concat();
    let bullets = section.lines().filter_map(|line| line.strip_prefix("- ")?.split_once(": "));
    let described: Vec<&str> = bullets.flat_map(|(names, _)| names.split("**").skip(1).step_by(2)).collect();
    for (module, uses) in MAY_USE {
        assert!(
            in_architecture.iter().any(|word| word == module),
            "the drawing in ARCHITECTURE.md lacks {module}"
        );
        assert!(described.contains(module), "ARCHITECTURE.md does not describe {module}");
        for used in *uses {
            assert!(stratum(used) >= stratum(module), "{module} uses {used}, which is drawn above it");
        }
        stratum(module);
    }
    let known = |word: &str| word == "main" || MAY_USE.iter().any(|(module, _)| *module == word);
    for word in of_library.iter().flatten().map(String::as_str).chain(described) {
        assert!(known(word), "{word} is no module");
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
    let seen =
        |code: &str| source::paths(&source::tokens(code)).iter().any(|path| names(path, "crate::gateway"));
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

/// Files that import each other in a circle, each with the reason why it stays.
const CIRCLES: &[(&[&str], &str)] = &[];

/// The modules of the crate by their paths, and what each file uses of the others.
struct Modules {
    files: BTreeMap<String, PathBuf>,
    /// What imports make known in a module, by name.
    imports: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Modules {
    /// Reads every file of `src` outside of tests. Returns the modules and the paths that each names.
    fn read() -> (Modules, BTreeMap<String, BTreeSet<String>>) {
        let mut modules = Modules { files: BTreeMap::new(), imports: BTreeMap::new() };
        let mut named = BTreeMap::new();
        let mut imported = Vec::new();
        for file in source::files(&source::root()) {
            let path = file.strip_prefix(source::root()).unwrap().with_extension("");
            let mut parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
            if parts == ["main"] || parts.iter().any(|part| part.ends_with("tests")) {
                continue;
            }
            parts.pop_if(|last| ["mod", "lib"].contains(last));
            let module = std::iter::once("crate").chain(parts).collect::<Vec<_>>().join("::");
            let tokens = source::tokens(&std::fs::read_to_string(&file).unwrap());
            named.insert(module.clone(), source::paths(&tokens));
            imported.push((module.clone(), source::imports(&tokens)));
            modules.files.insert(module, file);
        }
        for (module, imports) in imported {
            let absolute = imports
                .into_iter()
                .filter_map(|(name, path)| Some((name, modules.absolute(&module, &path)?)))
                .collect();
            modules.imports.insert(module, absolute);
        }
        (modules, named)
    }

    /// Returns a path from the crate's root on, if its first word is `crate`, `self`, `super` or a child module.
    fn absolute(&self, module: &str, path: &str) -> Option<Vec<String>> {
        let words: Vec<&str> = path.split("::").collect();
        let mut base: Vec<&str> = module.split("::").collect();
        let mut rest = words.as_slice();
        match *words.first()? {
            "crate" => base.clear(),
            "self" => rest = &words[1..],
            "super" => {
                while rest.first() == Some(&"super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            child if self.files.contains_key(&format!("{module}::{child}")) => {}
            _ => return None,
        }
        Some(base.into_iter().chain(rest.iter().copied()).map(str::to_owned).collect())
    }

    /// Returns the module that a path leads to; what a module re-exports leads to where it is defined.
    fn module_of(&self, path: &[String], depth: usize) -> Option<String> {
        let length =
            (1..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length].join("::")))?;
        let module = path[..length].join("::");
        let reexported = path.get(length).and_then(|name| self.imports.get(&module)?.get(name));
        match reexported {
            Some(target) if depth < 8 && target.as_slice() != path => {
                let onward: Vec<String> = target.iter().chain(&path[length + 1..]).cloned().collect();
                self.module_of(&onward, depth + 1)
            }
            _ => Some(module),
        }
    }

    /// Returns the modules that `module` uses. A module and its own children may use each other: children in Rust share
    /// their parent's private items.
    fn uses(&self, module: &str, named: &BTreeSet<String>) -> BTreeSet<String> {
        let own = &self.imports[module];
        let inline = named.iter().filter_map(|path| {
            let (first, rest) = path.split_once("::")?;
            self.absolute(module, path).or_else(|| {
                let alias = own.get(first).filter(|target| self.files.contains_key(&target.join("::")))?;
                Some(alias.iter().cloned().chain(rest.split("::").map(str::to_owned)).collect())
            })
        });
        own.values()
            .cloned()
            .chain(inline)
            .filter_map(|path| self.module_of(&path, 0))
            .filter(|other| !names(other, module) && !names(module, other))
            .collect()
    }
}

/// Returns the groups of modules each of which uses itself through the others.
fn circles(uses: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<BTreeSet<String>> {
    let reach = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            next.extend(uses.get(module).into_iter().flatten().filter(|used| seen.insert((*used).clone())));
        }
        seen
    };
    let all: BTreeMap<&String, BTreeSet<String>> =
        uses.keys().map(|module| (module, reach(module))).collect();
    let is_back = |from: &String, to: &String| all.get(from).is_some_and(|onward| onward.contains(to));
    let circle = |module: &&String| -> BTreeSet<String> {
        all[*module].iter().filter(|other| is_back(other, module)).cloned().collect()
    };
    all.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let (modules, named) = Modules::read();
    let uses: BTreeMap<String, BTreeSet<String>> =
        named.iter().map(|(module, named)| (module.clone(), modules.uses(module, named))).collect();
    assert!(uses.values().map(BTreeSet::len).sum::<usize>() > uses.len(), "are imports still read?");
    let known: BTreeSet<BTreeSet<String>> = CIRCLES
        .iter()
        .map(|(circle, _)| circle.iter().map(|module| format!("crate::{module}")).collect())
        .collect();
    let found = circles(&uses);
    for circle in found.difference(&known) {
        for module in circle {
            let within: Vec<_> = uses[module].intersection(circle).collect();
            eprintln!("{module} uses {within:?}");
        }
    }
    assert_eq!(found, known, "the files import each other in a circle");
}

#[test]
fn a_circle_is_found_through_re_exports_and_aliases() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let uses = BTreeMap::from([
        ("a".to_owned(), set(&["b"])),
        ("b".to_owned(), set(&["c"])),
        ("c".to_owned(), set(&["a", "d"])),
        ("d".to_owned(), set(&[])),
    ]);
    assert_eq!(circles(&uses), BTreeSet::from([set(&["a", "b", "c"])]));
    let imports =
        source::imports(&source::tokens("use super::{self as up, b::{self, C as D}};\nuse crate::x;"));
    let of = |name: &str| imports[name].as_str();
    assert_eq!((of("up"), of("b"), of("D"), of("x")), ("super", "super::b", "super::b::C", "crate::x"));
}
