//! A loaded policy pack.
//!
//! Loading reports everything that is wrong with a pack at once. Invariant: a [`Pack`] is valid; code that has
//! one need not check it again.

use std::collections::HashSet;
use std::sync::Arc;

use cedar_policy::{PolicySet, ValidationMode, Validator};
use miette::Diagnostic;
use serde::{Deserialize, Serialize};

use super::base::Base;
use super::basis_conflict::basis_conflicts;
use super::cedar_model::{CedarModel, rule_position};
use super::draft::{RuleDraft, RuleReader};
use super::manifest::Manifest;
use super::rule::Rule;
use super::rulebook::{RuleIndex, Rulebook};
use super::split::split_statements;
use crate::finding::{Finding, Source, suggestion};
use crate::vocabulary::{CategoryId, Vocabulary};

/// Maximum size of a pack's files in bytes. The ledger stores every version that is in force or announced.
const MAX_PACK_BYTES: usize = 4 << 20;

/// A policy pack: its manifest, its vocabulary and its rules.
#[derive(Debug)]
pub struct Pack {
    manifest: Arc<Manifest>,
    vocabulary: Arc<Vocabulary>,
    rulebook: Rulebook,
    /// The files of the pack itself.
    files: Arc<[Source]>,
    digest: [u8; 32],
    revision: Arc<str>,
}

/// The texts from which a pack was loaded, as the ledger stores them: names and contents.
#[derive(Serialize, Deserialize)]
struct StoredPack {
    files: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<StoredBase>,
}

/// The texts of the base that the pack extends.
#[derive(Serialize, Deserialize)]
struct StoredBase {
    name: String,
    manifest: (String, String),
    rules: Vec<(String, String)>,
}

impl Pack {
    /// Loads a pack from the texts of its `pack.toml` and its `.cedar` files.
    ///
    /// # Errors
    /// Everything that is wrong with them, all at once.
    pub fn load(files: &[Source]) -> Result<Pack, Vec<Finding>> {
        Pack::load_with_bases(files, &Base::built_in())
    }

    /// Loads a pack as [`Pack::load`] does, with these bases to extend instead of the built-in ones.
    pub(super) fn load_with_bases(files: &[Source], bases: &[Arc<Base>]) -> Result<Pack, Vec<Finding>> {
        let mut findings = Vec::new();
        let manifest = files.iter().find(|file| file.name().ends_with("pack.toml"));
        let Some(manifest) = manifest else {
            return Err(vec![
                Finding::error("no-policy-pack", "the pack has no `pack.toml`")
                    .hint("title, version, dates, contact, clauses"),
            ]);
        };
        let size: usize = files.iter().map(|file| file.text().len()).sum();
        if size > MAX_PACK_BYTES {
            let words = format!("the pack's files have {size} bytes; the maximum is {MAX_PACK_BYTES}");
            return Err(vec![
                Finding::error("pack-too-large", words).hint("the ledger keeps a copy of them"),
            ]);
        }
        let Some((manifest, vocabulary)) = Manifest::read(manifest, bases, &mut findings) else {
            return Err(findings);
        };
        let rulebook = rulebook(files, &manifest, &vocabulary, &mut findings);
        match rulebook {
            Some(rulebook) if !findings.iter().any(Finding::is_error) => {
                let digest = digest(files, manifest.base.as_deref());
                let pack = Pack {
                    manifest: Arc::new(manifest),
                    vocabulary: Arc::new(vocabulary),
                    rulebook,
                    files: files.into(),
                    digest: *digest.as_bytes(),
                    revision: Arc::from(digest.to_hex().get(..16).unwrap_or_default()),
                };
                let clashes = basis_conflicts(pack.rulebook(), pack.vocabulary());
                if clashes.is_empty() { Ok(pack) } else { Err(clashes) }
            }
            _ => Err(findings),
        }
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the vocabulary.
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// Returns the categories by which a field must be judged: its own categories, and every category below one of
    /// them that is never released, since the field may contain such data.
    pub fn judged_categories(&self, field: &[CategoryId]) -> Vec<CategoryId> {
        let tree = self.vocabulary.categories();
        let may_hold = |never: &&CategoryId| {
            !field.contains(never) && field.iter().any(|&category| tree.within(**never, category))
        };
        field.iter().chain(self.manifest.never_released.iter().filter(may_hold)).copied().collect()
    }

    /// Returns the rules.
    pub fn rulebook(&self) -> &Rulebook {
        &self.rulebook
    }

    /// Returns the pack with one rule replaced, or `None` if it would not load.
    pub(super) fn with_rule(&self, at: RuleIndex, rule: Rule) -> Option<Pack> {
        let pack = Pack {
            manifest: Arc::clone(&self.manifest),
            vocabulary: Arc::clone(&self.vocabulary),
            rulebook: self.rulebook.with_rule(at, rule, &self.vocabulary),
            files: Arc::clone(&self.files),
            digest: self.digest,
            revision: Arc::clone(&self.revision),
        };
        basis_conflicts(pack.rulebook(), pack.vocabulary()).is_empty().then_some(pack)
    }

    /// Returns the texts of the pack and its base as one text, from which [`Pack::from_text`] restores the pack.
    pub fn to_text(&self) -> String {
        let pair = |file: &Source| (file.name().to_owned(), file.text().to_owned());
        let base = self.manifest.base.as_ref().map(|base| StoredBase {
            name: base.name.clone(),
            manifest: pair(&base.manifest),
            rules: base.rules.iter().map(pair).collect(),
        });
        // Serializing strings cannot fail.
        serde_json::to_string(&StoredPack { files: self.files.iter().map(pair).collect(), base })
            .unwrap_or_default()
    }

    /// Restores a pack from the text of [`Pack::to_text`], with the base that was stored with it instead of the
    /// one that this program contains.
    ///
    /// # Errors
    /// Everything that is wrong with the stored pack: this version of the program may be stricter than the version
    /// that stored the pack.
    pub fn from_text(text: &str) -> Result<Pack, Vec<Finding>> {
        let StoredPack { files, base } = serde_json::from_str(text).map_err(|error| {
            vec![Finding::error("no-policy-pack", format!("this is not a stored pack: {error}"))]
        })?;
        let source = |(name, text): (String, String)| Source::new(name, text);
        let sources = |files: Vec<(String, String)>| files.into_iter().map(source).collect::<Vec<_>>();
        let base = base.map(|StoredBase { name, manifest, rules }| {
            Arc::new(Base { name, manifest: source(manifest), rules: sources(rules), scenarios: Vec::new() })
        });
        Pack::load_with_bases(&sources(files), base.as_slice())
    }

    /// Returns a hash over the files of the pack and of its base.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the first 64 bits of [`Pack::digest`] in hexadecimal.
    pub fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    /// True if the rule belongs to the base that the pack extends.
    pub fn is_of_base(&self, rule: &Rule) -> bool {
        let mut files = self.manifest.base.iter().flat_map(|base| &base.rules);
        files.any(|file| file.name() == rule.location().source.name())
    }

    /// Returns the scenario files of the base. They must hold for every pack that extends it.
    pub fn base_scenarios(&self) -> Vec<Source> {
        self.manifest.base.iter().flat_map(|base| base.scenarios.iter().cloned()).collect()
    }
}

/// Returns the BLAKE3 hash over the names and texts of files: those of the pack in the order of their names, then
/// those of the base.
fn digest(files: &[Source], base: Option<&Base>) -> blake3::Hash {
    let mut files = files.to_vec();
    files.sort_by_key(|file| file.name().rsplit('/').next().map(str::to_owned));
    let mut hash = blake3::Hasher::new();
    for file in files.iter().chain(base.into_iter().flat_map(Base::sources)) {
        let name = file.name().rsplit('/').next().unwrap_or_default();
        hash.update(name.as_bytes()).update(&[0]).update(file.text().as_bytes()).update(&[0]);
    }
    hash.finalize()
}

fn rulebook(
    files: &[Source],
    manifest: &Manifest,
    vocabulary: &Vocabulary,
    findings: &mut Vec<Finding>,
) -> Option<Rulebook> {
    let model = match CedarModel::new(vocabulary) {
        Ok(model) => model,
        Err(error) => {
            findings.push(Finding::error(
                "bad-vocabulary",
                format!("Cedar rejects the schema of the vocabulary: {error}"),
            ));
            return None;
        }
    };
    let mut reader = RuleReader { vocabulary, manifest, findings };
    let mut drafts: Vec<RuleDraft> = Vec::new();
    let mut read = 0;
    for file in manifest.base.iter().flat_map(|base| &base.rules) {
        for span in split_statements(file.text()) {
            drafts.extend(reader.read(file, span, read));
            read += 1;
        }
    }
    drafts
        .iter()
        .filter(|draft| draft.rule.is_permit())
        .for_each(|draft| reader.report_permit_in_base(draft));
    add_base_citations(&mut drafts, &mut reader);
    let of_base = read;
    for file in files.iter().filter(|file| file.name().ends_with(".cedar")) {
        for span in split_statements(file.text()) {
            drafts.extend(reader.read(file, span, read));
            read += 1;
        }
    }
    if read == of_base {
        reader
            .findings
            .push(Finding::error("no-rules", "the pack has no rules").hint("write them in `rules.cedar`"));
    }
    report_duplicate_ids(&drafts, reader.findings);
    validate(&drafts, &model, &mut reader);
    if findings.iter().any(Finding::is_error) {
        return None;
    }
    let rules: Vec<Rule> = drafts.into_iter().map(|draft| draft.compile(&model, vocabulary)).collect();
    Some(Rulebook::new(model, rules, vocabulary))
}

/// Adds the pack's clauses that list a rule of the base under `base-rules` to the citations of that rule.
fn add_base_citations(drafts: &mut [RuleDraft], reader: &mut RuleReader<'_>) {
    for clause in &reader.manifest.clauses {
        for name in &clause.base_rules {
            match drafts.iter_mut().find(|draft| *draft.rule.id == *name.value) {
                Some(draft) => draft.rule.clauses.push(Arc::clone(&clause.id)),
                None => {
                    let known = drafts.iter().map(|draft| &*draft.rule.id);
                    let hint = suggestion(&name.value, known).unwrap_or_else(|| {
                        "`base-rules` lists rules of the base named by `extends`".to_owned()
                    });
                    let words = format!("the base has no rule `{}`", name.value);
                    let finding = Finding::error("unknown-rule", words).at(&clause.source, name.at.clone());
                    reader.findings.push(finding.label("unknown").hint(hint));
                }
            }
        }
    }
}

fn report_duplicate_ids(drafts: &[RuleDraft], findings: &mut Vec<Finding>) {
    for (at, draft) in drafts.iter().enumerate() {
        let same = |earlier: &&RuleDraft| !earlier.rule.id.is_empty() && earlier.rule.id == draft.rule.id;
        if drafts.iter().take(at).any(|earlier| same(&earlier)) {
            let place = &draft.rule.location;
            let finding =
                Finding::error("duplicate-rule", format!("two rules have the id `{}`", draft.rule.id));
            findings.push(
                finding
                    .at(&place.source, place.head())
                    .label("the second one")
                    .hint("ids identify rules in the log: choose another one"),
            );
        }
    }
}

/// True if rules pass strict validation and no other error was found.
pub(super) fn is_valid(drafts: &[RuleDraft], model: &CedarModel, reader: &mut RuleReader<'_>) -> bool {
    validate(drafts, model, reader);
    !reader.findings.iter().any(Finding::is_error)
}

/// Validates the rules strictly, in the form in which they are evaluated.
fn validate(drafts: &[RuleDraft], model: &CedarModel, reader: &mut RuleReader<'_>) {
    let mut policies = PolicySet::new();
    for draft in drafts {
        let _ = policies.add(draft.rule.policy.clone());
    }
    let result = Validator::new(model.schema.clone()).validate(&policies, ValidationMode::Strict);
    let rule = |id: &cedar_policy::PolicyId| {
        let at = rule_position(id)?;
        drafts.iter().find(|draft| rule_position(draft.rule.policy.id()) == Some(at))
    };
    // Cedar repeats a mistake for every purpose; it is reported once.
    let mut reported = HashSet::new();
    let mut find = |id: &cedar_policy::PolicyId, error: &(dyn Diagnostic + 'static)| {
        let label = error.labels().and_then(|mut labels| labels.next());
        let place = label.map(|label| (label.offset(), label.len()));
        if let Some(draft) = rule(id).filter(|_| reported.insert((id.clone(), place))) {
            reader.report_cedar_error(error, &draft.rule.location);
        }
    };
    result.validation_errors().for_each(|error| find(error.policy_id(), error));
    result.validation_warnings().for_each(|warning| find(warning.policy_id(), warning));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
title = "Test"
version = "1"
announced = 2026-01-01
effective = 2026-02-16
contact = "contact@example.org"
[bases]
consent = "said yes"
contract = "needed"
[[clauses]]
id = "C-1"
title = "a promise"
kept = "by-rules"
"#;
    const RULE: &str = r#"@id("support") @clause("C-1") @basis("contract")
permit (principal in Kind::"staff", action in Action::"customer-support", resource in Category::"contact");
"#;

    fn load(manifest: &str, rules: &str) -> Result<Pack, Vec<Finding>> {
        Pack::load(&[Source::new("pack.toml", manifest), Source::new("rules.cedar", rules)])
    }

    /// The findings as an operator sees them.
    fn report(found: Result<Pack, Vec<Finding>>) -> String {
        let handler =
            miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none()).with_width(100);
        let mut text = String::new();
        for finding in found.err().unwrap_or_default() {
            handler.render_report(&mut text, &finding).unwrap();
        }
        text
    }

    #[test]
    fn every_mistake_in_the_rules_is_shown_at_its_place_in_one_go() {
        let rules = r#"
permit (principal in Kind::"employe", action, resource);

@id("a") @clause("C-2") @basis("contrct")
permit (principal, action == Action::"suport", resource in Category::"emial");

@id("a") @clause("C-1")
permit (principal, action, resource) when { context.origin == "refferal" };

@id("b") @clause("C-1") @basis("consent")
forbid (principal, action, resource) when { context.minr };

@id("c") @clause("C-1") @basis("contract") @note("x")
permit (principal, action, resource) when { context.relation["domain-registrar"] };

@id("d") @clause("C-1")
forbid (principal, action, resource) when { context.minor && "yes" };

@id("e") permit (principal action, resource);
"#;
        insta::assert_snapshot!(report(load(MANIFEST, rules)));
    }

    #[test]
    fn every_mistake_in_the_manifest_is_shown_at_its_place_in_one_go() {
        let manifest = r#"
title = "Test"
verson = "1"
announced = 2026-03-01
effective = 2026-02-01
contact = 1
never-released = ["credentials"]
access-log-limit = "15 days"
of-age = 31
account-closed-after = ["120d", "90d"]
[switches]
do-not-track = true
global-privacy-control = "no"
[bases]
consnt = "said yes"
[retention]
usge = "400d"
network = "1y"
[regions]
DE = "APAC"
[[clauses]]
id = "C-1"
title = "a promise"
kept = "somehow"
[[processing]]
purpose = "suport"
basis = "whim"
categories = ["nmae"]
recipients = ["staff", "hoster"]
origin = "o"
retention = "r"
transfers = "t"
"#;
        insta::assert_snapshot!(report(load(manifest, RULE)));
    }

    #[test]
    fn a_pack_without_rules_or_manifest_is_rejected() {
        assert!(report(load(MANIFEST, "// nothing\n")).contains("the pack has no rules"));
        assert!(report(Pack::load(&[Source::new("rules.cedar", RULE)])).contains("no `pack.toml`"));
        assert!(load(MANIFEST, RULE).is_ok());
    }

    #[test]
    fn a_release_on_consent_and_on_another_basis_is_rejected() {
        let consent = r#"@id("asked") @clause("C-1") @basis("consent")
permit (principal in Kind::"employee", action == Action::"technical-support", resource == Category::"email");
"#;
        let clash = report(load(MANIFEST, &format!("{RULE}{consent}")));
        assert!(
            clash.contains("`email` to `employee` for `technical-support` could rest on consent"),
            "{clash}"
        );
        assert!(clash.contains("rules.cedar"), "{clash}");
        // Rules are evaluated, not compared as text: a rule that never applies conflicts with none.
        let never = consent.replace(");\n", ") when { context.minor } unless { context.minor };\n");
        assert!(load(MANIFEST, &format!("{RULE}{never}")).is_ok());
        let elsewhere = consent.replace("technical-support", "direct-marketing");
        assert!(load(MANIFEST, &format!("{RULE}{elsewhere}")).is_ok());
    }

    #[test]
    fn the_revision_depends_on_contents_and_not_on_folders() {
        let revision = |place: &str, rules: &str| {
            let files = [
                Source::new(format!("{place}/pack.toml"), MANIFEST),
                Source::new(format!("{place}/rules.cedar"), rules),
            ];
            Arc::clone(Pack::load(&files).unwrap().revision())
        };
        assert_eq!(revision("a", RULE), revision("b", RULE));
        assert_ne!(revision("a", RULE), revision("a", &RULE.replace("@id(\"support\")", "@id(\"help\")")));
        assert_eq!(revision("a", RULE).len(), 16);
    }
}
