//! The policy packs: versions, clauses, and what changes from one version to the next.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

use super::Console;
use super::chrome::{Chrome, StateChip, html};
use super::filters;
use super::problem_page::PageProblem;
use super::visitor::Visitor;
use crate::exchange::{Snapshot, Versions};
use crate::gateway::admin::problem::AdminProblem;
use crate::gateway::admin::request::{NoParameters, PathText, QueryOf};
use crate::policy::diff::Difference;
use crate::policy::{Enforcement, Pack};

/// Number of characters of a revision that are shown.
const SHORT_REVISION: usize = 12;

#[derive(Template)]
#[template(path = "packs.html")]
struct PacksPage {
    chrome: Chrome,
    packs: Vec<(String, Vec<VersionLine>)>,
}

#[derive(Template)]
#[template(path = "pack.html")]
struct PackPage {
    chrome: Chrome,
    title: String,
    contact: String,
    versions: Vec<VersionLine>,
    clauses: Vec<ClauseLine>,
    bases: Vec<(&'static str, String)>,
    difference: Option<DifferenceView>,
}

/// One version of a pack.
#[derive(Debug)]
struct VersionLine {
    version: String,
    revision: String,
    announced: String,
    effective: String,
    state: StateChip,
    /// The revision before it, with which it can be compared.
    before: Option<String>,
}

/// A clause, and how it is kept.
#[derive(Debug)]
struct ClauseLine {
    id: String,
    title: String,
    kept: StateChip,
    note: String,
}

/// The difference of two versions.
#[derive(Debug)]
struct DifferenceView {
    old: String,
    new: String,
    more: usize,
    less: usize,
    text: String,
}

/// The versions to compare, by their revisions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareQuery {
    from: Option<String>,
    to: Option<String>,
}

/// Lists the packs.
pub(super) async fn packs(
    State(console): State<Console>,
    visitor: Visitor,
    _: QueryOf<NoParameters>,
) -> Result<Response, PageProblem> {
    let snapshot = console.admin.shared.snapshot();
    let now = Timestamp::now();
    let packs = snapshot
        .packs
        .iter()
        .filter_map(|versions| Some((title(versions, now)?, version_lines(versions, now))));
    let packs = packs.collect();
    Ok(html(&PacksPage { chrome: console.chrome(&visitor, "Packs", "/console/packs"), packs }))
}

/// Shows a pack.
pub(super) async fn pack(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(name): PathText,
    QueryOf(CompareQuery { from, to }): QueryOf<CompareQuery>,
) -> Result<Response, PageProblem> {
    let snapshot = console.admin.shared.snapshot();
    let now = Timestamp::now();
    let versions = find(&snapshot, &name, now)?;
    let difference = match from.zip(to) {
        None => None,
        Some((from, to)) => {
            let (from, to) = (revision(versions, &from)?, revision(versions, &to)?);
            Some(console.compare(&from, &to).await?)
        }
    };
    let shown = shown(versions, now).ok_or_else(AdminProblem::not_found)?;
    let manifest = shown.manifest();
    let page = PackPage {
        chrome: console.chrome(&visitor, format!("Pack {}", manifest.title), "/console/packs"),
        title: manifest.title.clone(),
        contact: manifest.contact.clone(),
        versions: version_lines(versions, now),
        clauses: clause_lines(shown),
        bases: manifest.bases.iter().map(|stated| (stated.basis.name(), stated.title.clone())).collect(),
        difference,
    };
    Ok(html(&page))
}

/// Returns the version of a pack that a page shows: the one in force, or else the first.
pub(super) fn shown(versions: &Versions, now: Timestamp) -> Option<&Arc<Pack>> {
    versions.in_force(now).or_else(|| versions.iter().next()).map(|version| version.pack())
}

fn title(versions: &Versions, now: Timestamp) -> Option<String> {
    shown(versions, now).map(|pack| pack.manifest().title.clone())
}

/// Returns the pack with this title.
///
/// # Errors
/// [`AdminCode::NotFound`].
pub(super) fn find<'s>(
    snapshot: &'s Snapshot,
    name: &str,
    now: Timestamp,
) -> Result<&'s Versions, AdminProblem> {
    let mut packs = snapshot.packs.iter();
    packs.find(|versions| title(versions, now).as_deref() == Some(name)).ok_or_else(AdminProblem::not_found)
}

fn revision(versions: &Versions, revision: &str) -> Result<Arc<Pack>, AdminProblem> {
    let found = versions.iter().map(|version| version.pack()).find(|pack| **pack.revision() == *revision);
    found.cloned().ok_or_else(AdminProblem::not_found)
}

fn version_lines(versions: &Versions, now: Timestamp) -> Vec<VersionLine> {
    let in_force = versions.in_force(now).map(|version| Arc::clone(version.pack()));
    let mut before = None;
    let line = |pack: &Arc<Pack>| {
        let manifest = pack.manifest();
        let state = match &in_force {
            Some(in_force) if Arc::ptr_eq(in_force, pack) => StateChip::good("in force"),
            _ if manifest.effective_from() > now => StateChip::warn("to come"),
            _ => StateChip::warn("replaced"),
        };
        VersionLine {
            version: manifest.version.clone(),
            revision: pack.revision().to_string(),
            announced: manifest.announced.to_string(),
            effective: manifest.effective.to_string(),
            state,
            before: before.replace(pack.revision().to_string()),
        }
    };
    let mut lines: Vec<VersionLine> = versions.iter().map(|version| version.pack()).map(line).collect();
    lines.reverse();
    lines
}

impl VersionLine {
    fn short_revision(&self) -> &str {
        self.revision.get(..SHORT_REVISION).unwrap_or(&self.revision)
    }
}

fn clause_lines(pack: &Pack) -> Vec<ClauseLine> {
    let line = |clause: &crate::policy::Clause| ClauseLine {
        id: clause.id.to_string(),
        title: clause.title.clone(),
        kept: match clause.enforcement {
            Enforcement::ByRules => StateChip::good("by rules"),
            Enforcement::ByMechanism => StateChip::good("by the gateway"),
            Enforcement::LeftAlone => StateChip::warn("not enforced here"),
        },
        note: clause.note.clone().unwrap_or_default(),
    };
    pack.manifest().clauses.iter().map(line).collect()
}

impl Console {
    /// Compares two versions, once: every result of both is evaluated.
    async fn compare(&self, old: &Arc<Pack>, new: &Arc<Pack>) -> Result<DifferenceView, AdminProblem> {
        let (memory, from, to) = (&self.memory, Arc::clone(old), Arc::clone(new));
        let key = format!("{} {}", old.revision(), new.revision());
        let compared =
            memory.differences.get(&key, &memory.threads, move || Difference::of(&from, &to)).await?;
        let compared =
            compared.as_ref().as_ref().map_err(|finding| AdminProblem::malformed(finding.line()))?;
        Ok(DifferenceView {
            old: old.manifest().version.clone(),
            new: new.manifest().version.clone(),
            more: compared.more,
            less: compared.less,
            text: compared.to_text(),
        })
    }
}
