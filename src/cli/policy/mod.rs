//! `policy`: tests, explains and compares policy packs.
//!
//! These modules read files and print results; [`crate::policy`] and [`crate::decision`] compute them.

mod coverage;
mod diff;
mod explain;
mod new_pack;
mod schema;
mod test;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::coverage::{CoverageArgs, cover};
use self::diff::DiffArgs;
use self::explain::PolicyExplainArgs;
pub(super) use self::explain::facts_from_json;
use self::test::{TestArgs, test};
use super::findings::unusable;
use super::output::ExitStatus;
use crate::config::pack::read_pack;
use crate::policy::matrix;
use crate::vocabulary::Vocabulary;

/// The verbs of `policy`.
#[derive(Debug, clap::Subcommand)]
pub enum PolicyVerb {
    /// Write a new pack that releases nothing personal, as a start for your own
    New {
        /// The folder of the new pack
        dir: PathBuf,
        /// The title of the privacy policy
        #[arg(long, value_parser = new_pack::one_line)]
        title: String,
        /// The contact for refused recipients and for people, such as an e-mail address
        #[arg(long, value_parser = new_pack::one_line)]
        contact: String,
    },
    /// Run scenario files against a pack
    Test(TestArgs),
    /// Explain why each data category leaves, or what would have to change
    Explain(PolicyExplainArgs),
    /// Show which recipient kinds receive which categories for which purposes
    Matrix {
        /// The pack's folder
        #[arg(long, value_name = "DIR")]
        policy: PathBuf,
        /// The format of the output
        #[arg(long, value_enum, default_value_t = MatrixFormat::Table)]
        format: MatrixFormat,
    },
    /// Find everything that two versions of a pack decide differently
    ///
    /// Without --decisions the rules are compared over all facts. With it, each line of FILE is decided by both versions: the
    /// output says how many records would leave otherwise, in which form, by which rules.
    Diff(DiffArgs),
    /// Find clauses without rules or scenarios, rules that never apply, and categories that never leave
    Coverage(CoverageArgs),
    /// List purposes, categories and recipient kinds, with their DPV and Fides names
    Vocabulary {
        /// The pack's folder; without it, the standard vocabulary
        #[arg(long, value_name = "DIR")]
        policy: Option<PathBuf>,
        /// The format of the output
        #[arg(long, value_enum, default_value_t = VocabularyFormat::Json)]
        format: VocabularyFormat,
    },
    /// Print the Cedar schema and the rules as they run, for other Cedar tools
    Schema {
        /// The pack's folder
        #[arg(long, value_name = "DIR")]
        policy: PathBuf,
        /// Write `schema.cedarschema`, `policies.cedar` and `entities.json` into this folder instead
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// The format of `policy matrix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "the doc comment of a variant would become part of `--help`")]
pub enum MatrixFormat {
    Table,
    Json,
    Html,
}

/// The format of `policy vocabulary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[allow(missing_docs, reason = "the doc comment of a variant would become part of `--help`")]
pub enum VocabularyFormat {
    Text,
    Json,
    Ttl,
}

/// Runs a verb. Results go to `out`, findings to `err`.
///
/// # Errors
/// If writing fails.
pub fn run(verb: &PolicyVerb, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitStatus> {
    match verb {
        PolicyVerb::New { dir, title, contact } => {
            let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
            new_pack::write(dir, title, contact, today, err)
        }
        PolicyVerb::Test(args) => test(args, out, err),
        PolicyVerb::Explain(args) => explain::explain(args, out, err),
        PolicyVerb::Matrix { policy, format } => show_matrix(policy, *format, out, err),
        PolicyVerb::Diff(args) => diff::diff(args, out, err),
        PolicyVerb::Coverage(args) => cover(args, out, err),
        PolicyVerb::Vocabulary { policy, format } => list(policy.as_deref(), *format, out, err),
        PolicyVerb::Schema { policy, out: folder } => schema::write(policy, folder.as_deref(), out, err),
    }
}

fn show_matrix(
    policy: &Path,
    format: MatrixFormat,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let pack = match read_pack(policy) {
        Ok(pack) => pack,
        Err(findings) => return unusable(&findings, err),
    };
    let matrix = matrix::matrix(&pack);
    match format {
        MatrixFormat::Table => write!(out, "{}", matrix::table(&matrix, pack.vocabulary(), columns()))?,
        MatrixFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&matrix)?)?,
        MatrixFormat::Html => write!(out, "{}", matrix::html(&matrix))?,
    }
    Ok(ExitStatus::Success)
}

/// Returns the columns of the terminal from `COLUMNS`, or 80.
fn columns() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns.unwrap_or(80)
}

fn list(
    policy: Option<&Path>,
    format: VocabularyFormat,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let vocabulary = match policy.map(read_pack).transpose() {
        Ok(Some(pack)) => Arc::clone(pack.vocabulary()),
        Ok(None) => Arc::new(Vocabulary::standard()),
        Err(findings) => return unusable(&findings, err),
    };
    match format {
        VocabularyFormat::Text => write!(out, "{}", vocabulary.to_text())?,
        VocabularyFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&vocabulary.to_json())?)?,
        VocabularyFormat::Ttl => write!(out, "{}", vocabulary.to_turtle())?,
    }
    Ok(ExitStatus::Success)
}
