//! Proposes a mapping from sample bodies; with `--route`, for what the route's mapping does not classify.

use std::path::Path;
use std::sync::Arc;

use super::{DiscoverArgs, read};
use crate::cli::arguments::DEFAULT_CONFIG;
use crate::cli::error::CliError;
use crate::cli::findings;
use crate::discover::{KnownRecords, MAX_SAMPLE_BYTES, Proposal, Samples};
use crate::exchange::route::Route;
use crate::finding::suggestion;
use crate::scrub::{Framing, Limits, Remover, Unreadable, visit_rows};

pub(super) fn propose(arguments: &DiscoverArgs) -> Result<Proposal, CliError> {
    let route = arguments.route.as_deref().map(|name| configured_route(arguments, name)).transpose()?;
    let mut samples = match (&route, &arguments.path) {
        (Some(route), _) => Samples::of_route(&known_records(route)),
        (None, Some(path)) => Samples::of_path(path),
        (None, None) => Samples::default(),
    };
    for file in &arguments.sample {
        let sample = read(file, MAX_SAMPLE_BYTES)?;
        let unusable =
            |error: &dyn std::fmt::Display| CliError::Unusable(format!("{}: {error}", file.display()));
        if arguments.csv || file.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv")) {
            let rows = json_rows(&sample).map_err(|error| unusable(&error))?;
            lines(&rows).try_for_each(|row| samples.add_row(row)).map_err(|error| unusable(&error))?;
            if let Some(route) = &route {
                let rest = unclassified(route, &rows, Framing::Lines).map_err(|error| unusable(&error))?;
                let mut rest = lines(&rest);
                rest.try_for_each(|row| samples.add_unclassified(row)).map_err(|error| unusable(&error))?;
            }
            continue;
        }
        samples.add(&sample).map_err(|error| unusable(&error))?;
        if let Some(route) = &route {
            let rest = unclassified(route, &sample, Framing::Document).map_err(|error| unusable(&error))?;
            samples.add_unclassified(&rest).map_err(|error| unusable(&error))?;
        }
    }
    Ok(samples.propose())
}

/// Loads the configuration, and returns the route with a name.
pub(super) fn configured_route(arguments: &DiscoverArgs, name: &str) -> Result<Arc<Route>, CliError> {
    let file = arguments.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
    let config = findings::load(file).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        CliError::Unusable(errors.join("\n"))
    })?;
    if let Some(route) = config.routes.iter().find(|route| *route.name == *name) {
        return Ok(Arc::clone(route));
    }
    let known: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
    let hint = suggestion(name, known).map(|hint| format!("; {hint}")).unwrap_or_default();
    Err(CliError::Unusable(format!("there is no route `{name}` in the configuration{hint}")))
}

/// Returns the record sets of a route.
pub(super) fn known_records(route: &Route) -> KnownRecords {
    let records = route.mapping().map(|mapping| mapping.records.as_slice()).unwrap_or_default();
    let source = |record: &crate::scrub::RecordMapping| {
        let subject = record.subjects.first().map(|source| source.path.clone());
        (record.path.clone(), subject)
    };
    KnownRecords {
        path: route.pattern.clone(),
        methods: route.methods.iter().map(ToString::to_string).collect(),
        records: records.iter().map(source).collect(),
    }
}

/// Returns the rows of a table as JSON objects, one a line.
fn json_rows(sample: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let limits = Limits { record: MAX_SAMPLE_BYTES, ..Limits::default() };
    let mut rows = Vec::new();
    visit_rows(sample, &limits, |row| rows.extend_from_slice(row))?;
    Ok(rows)
}

fn lines(rows: &[u8]) -> impl Iterator<Item = &[u8]> {
    rows.split(|byte| *byte == b'\n').filter(|row| !row.is_empty())
}

/// Returns what is left of a sample without the fields that the route's mapping classifies.
fn unclassified(route: &Route, sample: &[u8], framing: Framing) -> Result<Vec<u8>, String> {
    let fields = route.mapping().map(|mapping| mapping.fields.as_slice()).unwrap_or_default();
    let queries: Vec<String> = fields.iter().map(|field| field.path.clone()).collect();
    let limits = Limits { record: MAX_SAMPLE_BYTES, ..Limits::default() };
    let mut remover = Remover::new(&queries, limits, framing)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let mut rest = Vec::new();
    remover
        .feed(sample, &mut rest)
        .and_then(|()| remover.finish(&mut rest))
        .map_err(|error| error.to_string())?;
    Ok(rest)
}
