//! `discover`: proposes a field mapping from sample bodies, from an OpenAPI document, or from what the running gateway saw.

pub(super) mod openapi;
mod samples;
#[cfg(test)]
mod tests;
mod traffic;

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::admin_client::AdminArgs;
use super::error::{CliError, VerbError, exit_status};
use crate::discover::Proposal;

/// Arguments of `discover`.
#[derive(Debug, clap::Args)]
pub(super) struct DiscoverArgs {
    /// The configuration file with the route that classifies some fields already [default: purposegate.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A route of the configuration: only what its mapping does not classify is proposed
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Files with sample bodies (JSON) of one route; `-` is stdin
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present_any = ["openapi", "traffic"])]
    sample: Vec<PathBuf>,
    /// The samples are comma-separated values with a header, as files are whose names end in `.csv`
    #[arg(long, requires = "sample")]
    csv: bool,
    /// The path of the samples' route, such as `/customers/{id}`
    #[arg(long, value_name = "PATTERN", requires = "sample", conflicts_with_all = ["config", "route", "openapi", "traffic"])]
    path: Option<String>,
    /// The name of the upstream that the routes get in TOML
    #[arg(long, value_name = "NAME", conflicts_with = "annotate")]
    upstream: Option<String>,
    /// An OpenAPI document (3.0 or 3.1, JSON or YAML): one route for each operation
    #[arg(long, value_name = "SPEC", conflicts_with_all = ["sample", "config", "route"])]
    openapi: Option<PathBuf>,
    /// Print the OpenAPI document with the proposed categories in it, as `x-data-category`
    #[arg(long, requires = "openapi", conflicts_with = "format")]
    annotate: bool,
    /// Ask the gateway at --admin what it saw and nothing classifies: on the route, or on all
    #[arg(long, requires = "admin", conflicts_with_all = ["sample", "openapi"])]
    traffic: bool,
    #[command(flatten)]
    admin: AdminArgs,
    /// The format of the proposal
    #[arg(long, value_enum, default_value = "toml")]
    format: ProposalFormat,
}

/// The format of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "the doc comment of a variant would become part of `--help`")]
enum ProposalFormat {
    Toml,
    Json,
}

/// Runs the verb. Returns the exit status.
///
/// # Errors
/// If writing fails.
pub(super) fn run(arguments: &DiscoverArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let outcome = propose(arguments, out, err);
    exit_status(outcome, err)
}

fn propose(arguments: &DiscoverArgs, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8, VerbError> {
    let proposal = match &arguments.openapi {
        Some(file) => {
            let document = openapi::read_document(file)?;
            if arguments.annotate {
                openapi::annotate(&document, out, err)?;
                return Ok(0);
            }
            document.propose()
        }
        None if arguments.traffic => traffic::propose(arguments)?,
        None if arguments.config.is_some() && arguments.route.is_none() => {
            let words = "--config needs --route: the route whose mapping is known";
            return Err(CliError::Unusable(words.to_owned()).into());
        }
        None => samples::propose(arguments)?,
    };
    print(&proposal, arguments, out)?;
    Ok(0)
}

fn print(proposal: &Proposal, arguments: &DiscoverArgs, out: &mut dyn Write) -> io::Result<()> {
    match arguments.format {
        ProposalFormat::Toml => write!(out, "{}", proposal.to_toml(arguments.upstream.as_deref())),
        // Standard output is buffered by lines alone, and a document can have millions of fields.
        ProposalFormat::Json => {
            let mut out = BufWriter::new(out);
            serde_json::to_writer_pretty(&mut out, &proposal.as_json())?;
            writeln!(out)?;
            out.flush()
        }
    }
}

/// Reads a file, or stdin for `-`, up to a number of bytes.
fn read(file: &Path, limit: usize) -> Result<Vec<u8>, CliError> {
    let unusable = |error: io::Error| CliError::Unusable(format!("{}: {error}", file.display()));
    let mut bytes = Vec::new();
    let bound = limit as u64 + 1;
    if file == Path::new("-") {
        io::stdin().lock().take(bound).read_to_end(&mut bytes).map_err(unusable)?;
    } else {
        std::fs::File::open(file).map_err(unusable)?.take(bound).read_to_end(&mut bytes).map_err(unusable)?;
    }
    if bytes.len() > limit {
        return Err(CliError::Unusable(format!("{}: it has more than {limit} bytes", file.display())));
    }
    Ok(bytes)
}
