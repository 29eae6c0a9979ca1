//! `policy coverage`: finds clauses, rules and categories that nothing covers, and with `--mutate` the changes of rules that
//! no scenario notices.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::test::read_scenarios;
use crate::cli::findings;
use crate::cli::findings::unusable;
use crate::cli::output::{ExitStatus, TextOrJson};
use crate::cli::progress::{Progress, WorkUnit};
use crate::config::pack::{read_pack, scenarios};
use crate::decision::mutation::{self, MutationTest, Survivor};
use crate::decision::scenario::Scenario;
use crate::finding::Finding;
use crate::policy::mutation::{Mutant, planned_mutations};
use crate::policy::{Pack, coverage};

/// Arguments of `policy coverage`.
#[derive(Clone, Debug, clap::Args)]
pub struct CoverageArgs {
    /// The pack's folder
    #[arg(long, value_name = "DIR")]
    policy: std::path::PathBuf,
    /// Change the rules, one part at a time, and print each change that no scenario notices
    #[arg(long)]
    mutate: bool,
    /// The format of the output
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    format: TextOrJson,
}

/// Prints the coverage. Returns [`ExitStatus::Findings`] if something is uncovered or a mutant survives.
pub(super) fn cover(args: &CoverageArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitStatus> {
    let (pack, scenarios) = match read(&args.policy) {
        Ok(read) => read,
        Err(findings) => return unusable(&findings, err),
    };
    let pack = Arc::new(pack);
    let near = |scenario: &Scenario| {
        let rules = (0..).zip(pack.rulebook().rules());
        rules.filter(|(_, rule)| scenario.is_near(rule, pack.vocabulary())).map(|(at, _)| at).collect()
    };
    let shown = scenarios.iter().map(|scenario| coverage::ScenarioCoverage {
        name: &scenario.name,
        clause: &scenario.clause,
        releases: scenario.releases(),
        withholds: scenario.withholds(),
        rules: near(scenario),
    });
    let without_effect = mutation::without_effect(&pack);
    let findings = coverage::uncovered(&pack, &shown.collect::<Vec<_>>(), &without_effect);
    let mutation = args.mutate.then(|| MutationSummary::of(&pack, &scenarios));
    match args.format {
        TextOrJson::Text => {
            findings::print(&findings, err)?;
            write_text(&pack, scenarios.len(), &findings, mutation.as_ref(), out)?;
        }
        TextOrJson::Json => {
            let mut object = json!({
                "clauses": pack.manifest().clauses.len(),
                "rules": pack.rulebook().rules().len(),
                "scenarios": scenarios.len(),
                "findings": findings.iter().map(Finding::report).collect::<Vec<_>>(),
            });
            if let (Some(mutation), Some(members)) = (&mutation, object.as_object_mut()) {
                members.insert("mutation".to_owned(), mutation.to_json(&pack));
            }
            writeln!(out, "{object:#}")?;
        }
    }
    let survives = mutation.is_some_and(|mutation| !mutation.survivors.is_empty());
    Ok(if findings.is_empty() && !survives { ExitStatus::Success } else { ExitStatus::Findings })
}

fn read(policy: &Path) -> Result<(Pack, Vec<Scenario>), Vec<Finding>> {
    let pack = read_pack(policy)?;
    let scenarios = read_scenarios(&pack, &scenarios(policy, &pack)?)?;
    Ok((pack, scenarios))
}

fn write_text(
    pack: &Pack,
    scenarios: usize,
    findings: &[Finding],
    mutation: Option<&MutationSummary>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if let Some(mutation) = mutation {
        mutation.survivors.iter().try_for_each(|survivor| write_survivor(pack, survivor, out))?;
    }
    let (clauses, rules) = (pack.manifest().clauses.len(), pack.rulebook().rules().len());
    writeln!(out, "{clauses} clauses, {rules} rules, {scenarios} scenarios: {} findings", findings.len())?;
    let Some(mutation) = mutation else { return Ok(()) };
    let MutationSummary { refused, killed, without_effect, survivors } = mutation;
    let mutants = killed + without_effect + survivors.len();
    writeln!(out, "{refused} more changes are refused when the pack is loaded")?;
    writeln!(
        out,
        "{mutants} mutants, {killed} killed, {without_effect} without effect, {} survive",
        survivors.len()
    )
}

/// Prints a change as a comment, and below it a scenario that would notice it.
fn write_survivor(
    pack: &Pack,
    (mutant, survivor): &(Mutant, Survivor),
    out: &mut dyn Write,
) -> io::Result<()> {
    let (file, rule) = place(pack, mutant);
    writeln!(out, "# {file}:{}: {rule}: {}", mutant.line, mutant.change)?;
    writeln!(out, "# {}", survivor.difference)?;
    match &survivor.scenario {
        Some(scenario) => writeln!(out, "{scenario}"),
        None => writeln!(out, "# no scenario can express the difference\n"),
    }
}

/// Returns the file and the id of the changed rule.
fn place(pack: &Pack, mutant: &Mutant) -> (String, String) {
    let rule = pack.rulebook().rule(mutant.at);
    rule.map(|rule| (rule.location().source.name().to_owned(), rule.id.to_string())).unwrap_or_default()
}

/// The outcomes of all changes.
#[derive(Debug, Default)]
struct MutationSummary {
    /// Number of changes that the loading of the pack refuses.
    refused: usize,
    killed: usize,
    without_effect: usize,
    /// Changes that no scenario notices, in the order of the rules.
    survivors: Vec<(Mutant, Survivor)>,
}

impl MutationSummary {
    /// Tries every change, with a thread for each processor.
    fn of(pack: &Arc<Pack>, scenarios: &[Scenario]) -> MutationSummary {
        let trials = MutationTest::new(pack, scenarios);
        let planned = planned_mutations(pack);
        let bar = Progress::begin(WorkUnit::Mutants, Some(planned.len() as u64));
        let planned = Mutex::new(planned.into_iter().enumerate());
        let next = || planned.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            let mut trier = trials.runner();
            let tried = std::iter::from_fn(|| next().map(|(at, planned)| (at, trier.run(planned))));
            tried.inspect(|_| bar.advance()).collect::<Vec<_>>()
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut tried = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let tried = workers.into_iter().map(|worker| match worker.join() {
                Ok(tried) => tried,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            tried.flatten().collect::<Vec<_>>()
        });
        tried.sort_by_key(|(at, _)| *at);
        let mut mutation = MutationSummary::default();
        for (_, (mutant, outcome)) in tried {
            match outcome {
                mutation::MutantOutcome::Refused => mutation.refused += 1,
                mutation::MutantOutcome::Killed => mutation.killed += 1,
                mutation::MutantOutcome::WithoutEffect => mutation.without_effect += 1,
                mutation::MutantOutcome::Survives(survivor) => mutation.survivors.push((mutant, survivor)),
            }
        }
        mutation
    }

    fn to_json(&self, pack: &Pack) -> serde_json::Value {
        let MutationSummary { refused, killed, without_effect, survivors } = self;
        let listed = survivors.iter().map(|(mutant, survivor)| {
            let (file, rule) = place(pack, mutant);
            let Survivor { difference, scenario } = survivor;
            json!({
                "file": file,
                "line": mutant.line,
                "rule": rule,
                "change": mutant.change,
                "difference": difference,
                "scenario": scenario,
            })
        });
        let listed: Vec<_> = listed.collect();
        json!({
            "mutants": killed + without_effect + survivors.len(),
            "killed": killed,
            "without_effect": without_effect,
            "survive": survivors.len(),
            "refused": refused,
            "survivors": listed,
        })
    }
}
