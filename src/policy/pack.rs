//! A policy pack, loaded: everything that can be wrong with it has been said.

use std::sync::Arc;

use cedar_policy::{PolicySet, ValidationMode, Validator};

use super::manifest::Manifest;
use super::rule::{Draft, Reader, Rule};
use super::rulebook::Rulebook;
use super::statement::statements;
use super::world::{World, position};
use crate::finding::{Finding, Source};
use crate::vocabulary::Vocabulary;

/// A policy pack: what it says of itself, its words, and its rules.
#[derive(Debug)]
pub struct Pack {
    manifest: Manifest,
    vocabulary: Arc<Vocabulary>,
    rulebook: Rulebook,
    revision: Arc<str>,
}

impl Pack {
    /// Loads a pack from the texts of its `pack.toml` and its `.cedar` files.
    ///
    /// # Errors
    /// Everything that is wrong with them, all at once.
    pub fn load(files: &[Source]) -> Result<Pack, Vec<Finding>> {
        let mut findings = Vec::new();
        let manifest = files.iter().find(|file| file.name().ends_with("pack.toml"));
        let Some(manifest) = manifest else {
            return Err(vec![
                Finding::error("the pack has no `pack.toml`").hint("title, version, dates, contact, clauses"),
            ]);
        };
        let Some((manifest, vocabulary)) = Manifest::read(manifest, &mut findings) else {
            return Err(findings);
        };
        let rulebook = rulebook(files, &manifest, &vocabulary, &mut findings);
        match rulebook {
            Some(rulebook) if !findings.iter().any(Finding::is_error) => {
                let pack =
                    Pack { manifest, vocabulary: Arc::new(vocabulary), rulebook, revision: revision(files) };
                let clashes = super::conflict::clashes(&pack);
                if clashes.is_empty() { Ok(pack) } else { Err(clashes) }
            }
            _ => Err(findings),
        }
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    pub fn rulebook(&self) -> &Rulebook {
        &self.rulebook
    }

    /// A hash of the files the pack was loaded from.
    pub fn revision(&self) -> &Arc<str> {
        &self.revision
    }
}

/// BLAKE3 over names and texts, in the order of names, shortened to 64 bits.
fn revision(files: &[Source]) -> Arc<str> {
    let mut files: Vec<&Source> = files.iter().collect();
    files.sort_by_key(|file| file.name().rsplit('/').next().map(str::to_owned));
    let mut hash = blake3::Hasher::new();
    for file in files {
        let name = file.name().rsplit('/').next().unwrap_or_default();
        hash.update(name.as_bytes()).update(&[0]).update(file.text().as_bytes()).update(&[0]);
    }
    Arc::from(hash.finalize().to_hex().get(..16).unwrap_or_default())
}

fn rulebook(
    files: &[Source],
    manifest: &Manifest,
    vocabulary: &Vocabulary,
    findings: &mut Vec<Finding>,
) -> Option<Rulebook> {
    let world = match World::new(vocabulary) {
        Ok(world) => world,
        Err(error) => {
            findings.push(Finding::error(format!("the vocabulary makes no Cedar schema: {error}")));
            return None;
        }
    };
    let mut reader = Reader { vocabulary, manifest, findings };
    let mut drafts: Vec<Draft> = Vec::new();
    let mut read = 0;
    for file in files.iter().filter(|file| file.name().ends_with(".cedar")) {
        for span in statements(file.text()) {
            drafts.extend(reader.read(file, span, read));
            read += 1;
        }
    }
    if read == 0 {
        reader.findings.push(Finding::error("the pack has no rules").hint("write them in `rules.cedar`"));
    }
    distinct(&drafts, reader.findings);
    validate(&drafts, &world, &mut reader);
    if findings.iter().any(Finding::is_error) {
        return None;
    }
    let rules: Vec<Rule> = drafts.into_iter().map(|draft| draft.settle(&world, vocabulary)).collect();
    Some(Rulebook::new(world, rules, vocabulary))
}

fn distinct(drafts: &[Draft], findings: &mut Vec<Finding>) {
    for (at, draft) in drafts.iter().enumerate() {
        let earlier = drafts.iter().take(at).find(|earlier| earlier.rule.id == draft.rule.id);
        if earlier.is_some() {
            let place = &draft.rule.place;
            let finding = Finding::error(format!("two rules have the id `{}`", draft.rule.id));
            findings.push(
                finding
                    .at(&place.source, place.head())
                    .label("the second one")
                    .hint("ids go into the log: give it its own"),
            );
        }
    }
}

/// Strict validation of the rules as they will run.
fn validate(drafts: &[Draft], world: &World, reader: &mut Reader<'_>) {
    let mut policies = PolicySet::new();
    for draft in drafts {
        let _ = policies.add(draft.rule.policy.clone());
    }
    let result = Validator::new(world.schema.clone()).validate(&policies, ValidationMode::Strict);
    let rule = |id: &cedar_policy::PolicyId| {
        let at = position(id)?;
        drafts.iter().find(|draft| position(draft.rule.policy.id()) == Some(at))
    };
    for error in result.validation_errors() {
        if let Some(draft) = rule(error.policy_id()) {
            reader.find_cedar(error, &draft.rule.place);
        }
    }
    for warning in result.validation_warnings() {
        if let Some(draft) = rule(warning.policy_id()) {
            reader.find_cedar(warning, &draft.rule.place);
        }
    }
}
