//! Bases: sets of prohibitions that several packs share (`extends = "standard"`). They are compiled into the
//! program, as the standard vocabulary is.
//!
//! A base holds prohibitions, the clauses that they enforce, and scenarios that show what is withheld. Its
//! manifest is read with the vocabulary of the pack that extends it. Invariant: a base contains no permit, so a
//! pack releases nothing more because it extends a base.

use std::sync::Arc;

use crate::finding::Source;

/// Path of a file in the repository, and its text.
type File = (&'static str, &'static str);

/// Prohibitions that several packs share.
#[derive(Debug)]
pub struct Base {
    /// Name by which a pack extends it.
    pub name: String,
    pub(super) manifest: Source,
    /// The `.cedar` files, in the order in which they are read.
    pub(super) rules: Vec<Source>,
    /// The scenario files. A base that was restored from a stored pack has none.
    pub(super) scenarios: Vec<Source>,
}

/// A base as the program contains it.
struct BuiltIn {
    name: &'static str,
    manifest: File,
    rules: &'static [File],
    scenarios: &'static [File],
}

macro_rules! file {
    ($path:literal) => {
        (concat!("policies/", $path), include_str!(concat!("../../policies/", $path)))
    };
}

/// Every base that a pack can extend.
const BUILT_IN: &[BuiltIn] = &[BuiltIn {
    name: "standard",
    manifest: file!("standard/pack.toml"),
    rules: &[file!("standard/prohibitions.cedar")],
    scenarios: &[file!("standard/scenarios/prohibitions.toml"), file!("standard/scenarios/retention.toml")],
}];

impl From<&BuiltIn> for Base {
    fn from(base: &BuiltIn) -> Base {
        let BuiltIn { name, manifest, rules, scenarios } = base;
        let sources = |files: &[File]| files.iter().copied().map(source).collect();
        Base {
            name: (*name).to_owned(),
            manifest: source(*manifest),
            rules: sources(rules),
            scenarios: sources(scenarios),
        }
    }
}

impl Base {
    /// Returns every base that a pack can extend.
    pub(super) fn built_in() -> Vec<Arc<Base>> {
        BUILT_IN.iter().map(|base| Arc::new(Base::from(base))).collect()
    }

    /// Returns the manifest and the rules: findings refer to these sources, and the digest of a pack covers them.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        [&self.manifest].into_iter().chain(&self.rules)
    }
}

fn source((name, text): File) -> Source {
    Source::new(name, text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::pack::Pack;
    use super::*;
    use crate::finding::Finding;

    const MANIFEST: &str = r#"
title = "Test"
version = "1"
announced = 2026-01-01
effective = 2026-02-16
contact = "contact@example.org"
extends = "test"
[bases]
contract = "needed"
[[clauses]]
id = "C-1"
title = "a promise"
kept = "by-rules"
base-rules = ["stop"]
"#;
    const SUPPORT: &str = r#"@id("support") @clause("C-1") @basis("contract")
permit (principal in Kind::"staff", action in Action::"customer-support", resource in Category::"contact");
"#;
    const BASE_MANIFEST: File = (
        "test/pack.toml",
        "title = \"Test\"\nnever-released = [\"credential\"]\n[[clauses]]\nid = \"B-1\"\ntitle = \"t\"\nkept = \"by-rules\"\n",
    );
    const STOP: File = (
        "test/a.cedar",
        "@id(\"stop\") @clause(\"B-1\")\nforbid (principal, action, resource) when { context.minor };\n",
    );
    const TEST: BuiltIn =
        BuiltIn { name: "test", manifest: BASE_MANIFEST, rules: &[STOP], scenarios: &[("test/s.toml", "")] };

    fn load(manifest: &str, base: &BuiltIn) -> Result<Pack, Vec<Finding>> {
        let files = [Source::new("pack.toml", manifest), Source::new("rules.cedar", SUPPORT)];
        Pack::load_with_bases(&files, &[Arc::new(Base::from(base))])
    }

    fn codes(found: Result<Pack, Vec<Finding>>) -> Vec<&'static str> {
        found.err().unwrap_or_default().iter().map(Finding::code).collect()
    }

    #[test]
    fn a_pack_inherits_rules_clauses_and_scenarios_of_its_base() {
        let pack = load(MANIFEST, &TEST).unwrap();
        let rules: Vec<&str> = pack.rulebook().rules().iter().map(|rule| &*rule.id).collect();
        assert_eq!(rules, ["stop", "support"], "the base's come first");
        let stop = pack.rulebook().rules().first().unwrap();
        let cited: Vec<&str> = stop.clauses.iter().map(|clause| &**clause).collect();
        assert_eq!(cited, ["B-1", "C-1"], "the rule also cites the pack's clause that names it");
        assert!(pack.manifest().clause("B-1").is_some());
        assert_eq!(pack.manifest().never_released.len(), 4, "`credential` and what is below it");
        assert_eq!(pack.base_scenarios().len(), 1);
    }

    #[test]
    fn a_changed_base_changes_the_revision() {
        const OTHER: File = (
            "test/a.cedar",
            "@id(\"stop\") @clause(\"B-1\")\nforbid (principal, action, resource) when { context.erased };\n",
        );
        const CHANGED: BuiltIn =
            BuiltIn { name: "test", manifest: BASE_MANIFEST, rules: &[OTHER], scenarios: &[] };
        let revision = |base| load(MANIFEST, base).unwrap().revision().to_string();
        assert_ne!(revision(&TEST), revision(&CHANGED));
    }

    #[test]
    fn a_stored_pack_is_restored_with_the_base_it_was_loaded_with() {
        let pack = load(MANIFEST, &TEST).unwrap();
        let again = Pack::from_text(&pack.to_text()).unwrap();
        assert_eq!((again.digest(), again.revision()), (pack.digest(), pack.revision()));
        assert_eq!(again.rulebook().rules().len(), 2, "the program has no base of this name");
    }

    #[test]
    fn a_base_that_permits_does_not_load() {
        const PERMIT: File = (
            "test/a.cedar",
            "@id(\"stop\") @clause(\"B-1\") @basis(\"contract\")\npermit (principal, action, resource in Category::\"name\");\n",
        );
        const PERMITS: BuiltIn =
            BuiltIn { name: "test", manifest: BASE_MANIFEST, rules: &[PERMIT], scenarios: &[] };
        assert_eq!(codes(load(MANIFEST, &PERMITS)), ["permit-in-base"]);
    }

    #[test]
    fn unknown_bases_unknown_rules_and_repeated_clauses_are_reported() {
        assert_eq!(codes(load(&MANIFEST.replace("\"test\"", "\"tset\""), &TEST)), ["unknown-base"]);
        assert_eq!(codes(load(&MANIFEST.replace("\"stop\"", "\"halt\""), &TEST)), ["unknown-rule"]);
        let again = format!("{MANIFEST}[[clauses]]\nid = \"B-1\"\ntitle = \"t\"\nkept = \"by-rules\"\n");
        assert_eq!(codes(load(&again, &TEST)), ["duplicate-clause"]);
    }

    /// A file that `BUILT_IN` does not list would be in the repository and missing from the program.
    #[test]
    fn every_file_of_a_base_is_built_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for base in Base::built_in() {
            let built: BTreeSet<String> =
                base.sources().chain(&base.scenarios).map(|source| source.name().to_owned()).collect();
            let mut found = BTreeSet::new();
            for (folder, extensions) in [("", ["toml", "cedar"]), ("scenarios", ["toml", "toml"])] {
                let folder = format!("policies/{}/{folder}", base.name);
                for entry in std::fs::read_dir(root.join(&folder)).unwrap() {
                    let path = entry.unwrap().path();
                    if path.extension().is_some_and(|found| extensions.iter().any(|known| found == *known)) {
                        let name = path.strip_prefix(root).unwrap();
                        found.insert(name.to_str().unwrap().to_owned());
                    }
                }
            }
            assert_eq!(built, found);
        }
    }

    /// A base loads under a pack that adds only a permit: its rules cite clauses of its own.
    #[test]
    fn a_base_is_complete_without_the_clauses_of_a_pack() {
        for base in BUILT_IN {
            let manifest = MANIFEST
                .replace("\"test\"", &format!("\"{}\"", base.name))
                .replace("base-rules = [\"stop\"]\n", "");
            let pack = load(&manifest, base);
            assert_eq!(codes(pack), Vec::<&str>::new(), "{}", base.name);
        }
    }
}
