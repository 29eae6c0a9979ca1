//! `policy diff`: what two versions of a pack decide differently, over all facts or on what a gateway counted.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::findings::{self, unusable};
use crate::cli::output::{ExitStatus, TextOrJson};
use crate::config::Config;
use crate::config::pack::read_pack;
use crate::decision::circumstance::UNCLASSIFIED;
use crate::decision::circumstance::line::CircumstanceLine;
use crate::decision::replay::{RemappedField, RemappedRoute, ReplayReport, replay_mapping, replay_policies};
use crate::discover::path::{self, PathStep, Steps};
use crate::exchange::route::{MappedField, Route, Scrubbing};
use crate::finding::Finding;
use crate::policy::diff::Difference;
use crate::policy::{Pack, versioning};
use crate::vocabulary::{CategoryId, Vocabulary};

/// Maximum size of a file of counted circumstances: those of 30 days with as many as a gateway tells apart.
const MAX_DECISIONS_BYTES: u64 = 512 << 20;

/// Arguments of `policy diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// The folder of the old version
    #[arg(required_unless_present = "mapping", requires = "new")]
    old: Option<PathBuf>,
    /// The folder of the new version
    new: Option<PathBuf>,
    /// Show what changes for the records that a gateway counted, from `audit circumstances`; `-` is standard input
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
    /// Show what changes for these records between the mappings of two configurations; their packs decide, or OLD and NEW
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], requires = "decisions")]
    mapping: Vec<PathBuf>,
    /// The format of the output
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    format: TextOrJson,
}

/// Prints the differences. Returns [`ExitStatus::Findings`] if there are any.
pub(super) fn diff(args: &DiffArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitStatus> {
    match (&args.decisions, args.mapping.as_slice()) {
        (None, _) => {
            let difference = packs(args).and_then(|packs| match packs {
                Some([old, new]) => Difference::of(&old, &new).map_err(|finding| vec![finding]),
                None => Err(vec![]),
            });
            show(difference, Difference::is_empty, Difference::to_text, args.format, out, err)
        }
        (Some(decisions), mapping) => {
            let replayed = replayed(args, decisions, mapping);
            show(replayed, ReplayReport::shows_no_change, ReplayReport::to_text, args.format, out, err)
        }
    }
}

/// Prints a difference, or the findings that keep it from being made.
fn show<T: Serialize>(
    difference: Result<T, Vec<Finding>>,
    is_empty: fn(&T) -> bool,
    text: fn(&T) -> String,
    format: TextOrJson,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let difference = match difference {
        Ok(difference) => difference,
        Err(findings) => return unusable(&findings, err),
    };
    match format {
        TextOrJson::Json => writeln!(out, "{}", serde_json::to_string_pretty(&difference)?)?,
        TextOrJson::Text => write!(out, "{}", text(&difference))?,
    }
    Ok(if is_empty(&difference) { ExitStatus::Success } else { ExitStatus::Findings })
}

/// Reads the packs that the arguments name.
fn packs(args: &DiffArgs) -> Result<Option<[Arc<Pack>; 2]>, Vec<Finding>> {
    match (&args.old, &args.new) {
        (Some(old), Some(new)) => Ok(Some([Arc::new(read_pack(old)?), Arc::new(read_pack(new)?)])),
        _ => Ok(None),
    }
}

fn replayed(args: &DiffArgs, decisions: &Path, mapping: &[PathBuf]) -> Result<ReplayReport, Vec<Finding>> {
    let packs = packs(args)?;
    let lines = read_lines(decisions).map_err(|why| {
        let text = format!("{}: {why}", decisions.display());
        let hint = "write the file with `purposegate audit circumstances`, or from `GET /v1/circumstances`";
        vec![Finding::error("bad-decisions", text).hint(hint)]
    })?;
    match (mapping, packs) {
        ([old, new], packs) => {
            let (old, new) = (findings::load(old)?, findings::load(new)?);
            Ok(replay_configurations([&old, &new], packs, lines))
        }
        (_, Some([old, new])) => Ok(replay_policies(old, new, lines)),
        (_, None) => Err(Vec::new()),
    }
}

fn read_lines(file: &Path) -> Result<Vec<CircumstanceLine>, String> {
    let mut text = String::new();
    let limit = MAX_DECISIONS_BYTES + 1;
    let read = match file.as_os_str() == "-" {
        true => io::stdin().lock().take(limit).read_to_string(&mut text),
        false => std::fs::File::open(file).and_then(|file| file.take(limit).read_to_string(&mut text)),
    };
    match read.map_err(|error| error.to_string())? as u64 {
        bytes if bytes > MAX_DECISIONS_BYTES => Err("it is larger than 30 days of counts can be".to_owned()),
        _ => CircumstanceLine::read_all(&text),
    }
}

/// Replays under the mappings of two configurations, and their packs in force or these.
fn replay_configurations(
    configs: [&Config; 2],
    packs: Option<[Arc<Pack>; 2]>,
    lines: Vec<CircumstanceLine>,
) -> ReplayReport {
    let now = Timestamp::now();
    let in_force = configs.map(|config| {
        let versions = config.packs.iter();
        versions
            .map(|versions| versioning::in_force(versions, |pack: &Arc<_>| pack, now).cloned())
            .collect::<Vec<_>>()
    });
    // The packs of all routes, and the position of each route's.
    let (packs, has_own) = match packs {
        Some([old, new]) => ([vec![old], vec![new]], false),
        None => (in_force.each_ref().map(|packs| packs.iter().flatten().cloned().collect()), true),
    };
    let position = |side: usize, route: &Route| {
        let before = in_force.get(side)?.get(..=route.pack)?;
        before.last()?.as_ref()?;
        Some(if has_own { before.iter().flatten().count() - 1 } else { 0 })
    };
    let [old, new] = configs;
    let mut routes = BTreeMap::new();
    for before in old.routes.iter() {
        if let Some(after) = new.routes.iter().find(|after| after.name == before.name) {
            let packs = position(0, before).zip(position(1, after)).map(|(old, new)| [old, new]);
            let remapped = remapped([before, after], [&old.vocabulary, &new.vocabulary], packs);
            routes.insert(before.name.to_string(), remapped);
        }
    }
    replay_mapping([&packs[0], &packs[1]], &routes, lines)
}

/// Compares the mappings of a route.
fn remapped(
    [old, new]: [&Route; 2],
    [old_words, new_words]: [&Vocabulary; 2],
    packs: Option<[usize; 2]>,
) -> RemappedRoute {
    let field = |path: &str, old_categories: &str, new_categories: &str| RemappedField {
        route: old.name.to_string(),
        path: path.to_owned(),
        old: old_categories.to_owned(),
        new: new_categories.to_owned(),
    };
    let unchanged =
        |fields, packs| RemappedRoute { fields, uncompared: Vec::new(), packs, releases_unclassified: false };
    let (before, after) = match (&old.scrubbing, &new.scrubbing) {
        (Some(before), Some(after)) => (before, after),
        (None, None) => return unchanged(Vec::new(), packs),
        (before, _) => {
            let words = if before.is_some() {
                ["classified", "passes unread"]
            } else {
                ["passes unread", "classified"]
            };
            return unchanged(vec![field("$", words[0], words[1])], None);
        }
    };
    let mut uncompared = unfollowed(before, after, [old_words, new_words]);
    let mut fields = Vec::new();
    for (steps, path) in followed_paths(before, after) {
        let (was, is) = (classification(before, old_words, &steps), classification(after, new_words, &steps));
        match (was.as_slice(), is.as_slice()) {
            _ if was == is => {}
            ([was], [is]) => fields.push(field(path, was, is)),
            // A condition or a position decides.
            _ => uncompared.push(path.to_owned()),
        }
    }
    let releases_unclassified = after.plan.releases_unclassified();
    if before.plan.releases_unclassified() != releases_unclassified {
        fields.push(field("every other field", UNCLASSIFIED, UNCLASSIFIED));
    }
    RemappedRoute { fields, uncompared, packs, releases_unclassified }
}

/// Returns the steps of a path that can be followed without an answer: names, elements and wildcards.
fn followed(path: &str) -> Option<Steps> {
    path::parse(path).filter(|steps| !steps.contains(&PathStep::Descend))
}

/// Returns the paths of two mappings that can be followed, each in its first spelling.
fn followed_paths<'s>(before: &'s Scrubbing, after: &'s Scrubbing) -> BTreeMap<Steps, &'s str> {
    let mut paths = BTreeMap::new();
    for MappedField { path, .. } in before.fields.iter().chain(&after.fields) {
        if let Some(steps) = followed(path) {
            paths.entry(steps).or_insert(path.as_str());
        }
    }
    paths
}

/// Returns the paths with `..` or a condition that the mappings do not share, with the same categories. The fields that they select
/// beside those at paths that can be followed depend on the answer.
fn unfollowed(before: &Scrubbing, after: &Scrubbing, words: [&Vocabulary; 2]) -> Vec<String> {
    let of = |scrubbing: &Scrubbing, words: &Vocabulary| -> BTreeSet<(String, String)> {
        let paths = scrubbing.fields.iter().filter(|field| followed(&field.path).is_none());
        paths.map(|field| (field.path.clone(), joined(&field.categories, words))).collect()
    };
    let [old_words, new_words] = words;
    let (old, new) = (of(before, old_words), of(after, new_words));
    let differing: BTreeSet<String> = old.symmetric_difference(&new).map(|(path, _)| path.clone()).collect();
    differing.into_iter().collect()
}

/// Returns the categories that a field at a path can have by a mapping, those of several paths that select it together.
fn classification(scrubbing: &Scrubbing, words: &Vocabulary, steps: &[PathStep]) -> Vec<String> {
    let plan = &scrubbing.plan;
    let at = steps.iter().fold(plan.document_path(), |path, step| match step {
        PathStep::Member(name) => plan.member_path(&path, name),
        // Only a wildcard selects the member with this name.
        PathStep::Values | PathStep::Descend => plan.member_path(&path, "\u{0}"),
        PathStep::Elements => plan.element_path(&path),
    });
    let classes = at.nodes().filter_map(|node| plan.classes().get(usize::from(node.class.0)));
    let sets: BTreeSet<String> = classes.map(|class| joined(&class.categories, words)).collect();
    sets.into_iter().collect()
}

/// Returns the names of categories, joined by `+`.
fn joined(categories: &[CategoryId], words: &Vocabulary) -> String {
    if categories.is_empty() {
        return UNCLASSIFIED.to_owned();
    }
    let mut names: Vec<&str> = categories.iter().map(|category| words.categories().name(*category)).collect();
    names.sort_unstable();
    names.dedup();
    names.join("+")
}
