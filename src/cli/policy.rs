//! `purposegate policy …`: a pack tested, explained and compared.
//!
//! It reads files and writes answers; what is true of a pack is worked out by [`crate::policy`] and
//! [`crate::decision`].

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::coverage::{CoverageArgs, cover};
use super::findings::unusable;
use super::output::{ExitStatus, TextOrJson};
use super::test::{TestArgs, test};
use super::{new_pack, schema};
use crate::config::pack::read_pack;
use crate::decision::scenario;
use crate::decision::{
    AdmissionRequest, Classes, Decisions, OperationExplanation, Question, RequiredChanges,
};
use crate::document::Document;
use crate::finding::{Finding, Source};
use crate::policy::diff::Difference;
use crate::policy::{Pack, matrix};
use crate::vocabulary::{CategoryId, Operation, Vocabulary};

/// What can be asked of a policy pack.
#[derive(Debug, clap::Subcommand)]
pub enum PolicyVerb {
    /// Write a pack that releases nothing personal, to begin your own with
    New {
        /// The folder for the pack
        dir: PathBuf,
        /// What the privacy policy is called
        #[arg(long, value_parser = new_pack::one_line)]
        title: String,
        /// Whom refused recipients and people can turn to
        #[arg(long, value_parser = new_pack::one_line)]
        contact: String,
    },
    /// Run scenario files against a pack
    Test(TestArgs),
    /// Say why each data category leaves, or what it would have needed
    Explain(PolicyExplainArgs),
    /// Show recipient kinds, purposes and categories at a glance
    Matrix {
        /// The pack's folder
        #[arg(long)]
        policy: PathBuf,
        #[arg(long, value_enum, default_value_t = MatrixFormat::Table)]
        format: MatrixFormat,
    },
    /// Find everything that one version does and the other does not
    Diff {
        /// The folder of the one version
        old: PathBuf,
        /// The folder of the other
        new: PathBuf,
        #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
        format: TextOrJson,
    },
    /// Find clauses without rules or scenarios, rules that never apply, categories that never leave
    Coverage(CoverageArgs),
    /// List purposes, categories and recipient kinds, with their DPV and Fides names
    Vocabulary {
        /// The pack's folder; without it the standard vocabulary
        #[arg(long)]
        policy: Option<PathBuf>,
        #[arg(long, value_enum, default_value_t = VocabularyFormat::Json)]
        format: VocabularyFormat,
    },
    /// Print the generated Cedar schema and the rules as they run, for other Cedar tools
    Schema {
        /// The pack's folder
        #[arg(long)]
        policy: PathBuf,
        /// Write `schema.cedarschema`, `policies.cedar` and `entities.json` into this folder instead
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum MatrixFormat {
    Table,
    Json,
    Html,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum VocabularyFormat {
    Json,
    Ttl,
}

#[derive(Debug, clap::Args)]
pub struct PolicyExplainArgs {
    /// The pack's folder
    #[arg(long)]
    policy: PathBuf,
    #[arg(long, value_name = "KIND")]
    recipient_kind: String,
    /// A purpose, by any of its names
    #[arg(long)]
    purpose: String,
    /// Facts about the recipient, with the keys of a scenario's `recipient`
    #[arg(long, value_name = "JSON", default_value = "{}")]
    recipient_json: String,
    /// Facts about the person, with the keys of a scenario's `subject`
    #[arg(long, value_name = "JSON", default_value = "{}")]
    subject_json: String,
    /// Facts about the request, with the keys of a scenario's `request`
    #[arg(long, value_name = "JSON", default_value = "{}")]
    request_json: String,
    /// A data category to explain; several times for several. Without it those that a rule near the question concerns
    #[arg(long = "category", value_name = "CATEGORY")]
    categories: Vec<String>,
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    format: TextOrJson,
}

/// Runs a verb; answers go to `out`, findings to `words`.
///
/// # Errors
/// When writing fails.
pub fn run(verb: &PolicyVerb, out: &mut dyn Write, words: &mut dyn Write) -> io::Result<ExitStatus> {
    match verb {
        PolicyVerb::New { dir, title, contact } => {
            let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
            new_pack::write(dir, title, contact, today, words)
        }
        PolicyVerb::Test(args) => test(args, out, words),
        PolicyVerb::Explain(args) => explained(args, out, words),
        PolicyVerb::Matrix { policy, format } => show_matrix(policy, *format, out, words),
        PolicyVerb::Diff { old, new, format } => compare(old, new, *format, out, words),
        PolicyVerb::Coverage(args) => cover(args, out, words),
        PolicyVerb::Vocabulary { policy, format } => list(policy.as_deref(), *format, out, words),
        PolicyVerb::Schema { policy, out: folder } => schema::write(policy, folder.as_deref(), out, words),
    }
}

fn explained(args: &PolicyExplainArgs, out: &mut dyn Write, words: &mut dyn Write) -> io::Result<ExitStatus> {
    let now = Timestamp::now();
    let explained = read_pack(&args.policy).map(Arc::new).and_then(|pack| {
        let (asking, about) = situation(args, &pack, now)?;
        let categories = categories(&args.categories, &pack)?;
        let record = &about.record;
        let question = Question { pack: &pack, request: &asking, facts: &about, record, now };
        let mut explanation = question.explain(&categories);
        if asking.operation != Operation::Disclose {
            // As on a route that maps these categories; without a name, on one that maps nobody's data.
            let named = if args.categories.is_empty() { &[][..] } else { &categories[..] };
            let classes: Vec<Vec<CategoryId>> = named.iter().map(|&category| vec![category]).collect();
            let classes = Classes::new(classes, false);
            let is_permitted = carried_out(&pack, &asking, &classes, &about, now);
            let changes = if is_permitted {
                RequiredChanges::default()
            } else {
                question.explain_operation(classes.sets())
            };
            let name = asking.operation.name();
            explanation.operation = Some(OperationExplanation { name, carried_out: is_permitted, changes });
        }
        Ok((explanation, pack))
    });
    let (explanation, pack) = match explained {
        Ok(explained) => explained,
        Err(findings) => return unusable(&findings, words),
    };
    let only_named = !args.categories.is_empty();
    match args.format {
        TextOrJson::Text => write!(out, "{}", explanation.to_text(pack.vocabulary(), only_named))?,
        TextOrJson::Json => writeln!(out, "{}", serde_json::to_string_pretty(&explanation)?)?,
    }
    let is_done = explanation.operation.as_ref().is_none_or(|operation| operation.carried_out);
    Ok(if explanation.refused.is_none() && is_done { ExitStatus::Success } else { ExitStatus::Findings })
}

/// Whether the operation is carried out on who is described, on a route with these classes of fields.
fn carried_out(
    pack: &Arc<Pack>,
    asking: &AdmissionRequest,
    classes: &Classes,
    about: &scenario::ScenarioFacts,
    now: Timestamp,
) -> bool {
    let admitted = Decisions::new(Arc::clone(pack)).admit_once(asking, classes);
    admitted.is_ok_and(|admitted| {
        let scenario::ScenarioFacts { subject, controller, record, relationship } = about;
        admitted.carries_out(&admitted.judge(subject, controller, record, *relationship, now))
    })
}

/// The categories that are named; without a name, all of the vocabulary.
fn categories(names: &[String], pack: &Pack) -> Result<Vec<CategoryId>, Vec<Finding>> {
    if names.is_empty() {
        return Ok(pack.vocabulary().categories().preorder());
    }
    let source = Source::new("--category", format!("categories = {names:?}\n"));
    let document = Document::parse(&source);
    let reader = scenario::ScenarioReader::new(pack, &document, Timestamp::UNIX_EPOCH);
    let named = document.root("the arguments").texts("categories");
    let named: Vec<CategoryId> = named.iter().filter_map(|name| reader.category(name)).collect();
    let findings = document.into_findings();
    if findings.is_empty() { Ok(named) } else { Err(findings) }
}

/// The situation that the arguments describe.
fn situation(
    args: &PolicyExplainArgs,
    pack: &Pack,
    now: Timestamp,
) -> Result<(AdmissionRequest, scenario::ScenarioFacts), Vec<Finding>> {
    let text = |name: &str, value: &str| Source::new(name, value);
    let names = format!("kind = {:?}\npurpose = {:?}\n", args.recipient_kind, args.purpose);
    let names = text("--recipient-kind and --purpose", &names);
    let recipient = from_json("--recipient-json", &args.recipient_json)?;
    let subject = from_json("--subject-json", &args.subject_json)?;
    let request = from_json("--request-json", &args.request_json)?;
    let documents = [&names, &recipient, &subject, &request].map(Document::parse);
    let [of_names, of_recipient, of_subject, of_request] = &documents;
    let mut fields = of_names.root("the arguments");
    let reader = |document| scenario::ScenarioReader::new(pack, document, now);
    let kind = fields.needed_text("kind").and_then(|kind| reader(of_names).kind(&kind));
    let purpose = fields.needed_text("purpose").and_then(|purpose| reader(of_names).purpose(&purpose));
    let recipient = kind.and_then(|kind| {
        reader(of_recipient).recipient(of_recipient.root("the recipient"), purpose, Some(kind))
    });
    let mut about = reader(of_subject).subject(of_subject.root("the person"));
    let asking = recipient.zip(purpose).map(|(recipient, purpose)| {
        reader(of_request).request(recipient, purpose, Some(of_request.root("the request")), &mut about)
    });
    let findings: Vec<Finding> = documents.into_iter().flat_map(Document::into_findings).collect();
    match asking {
        Some(asking) if findings.is_empty() => Ok((asking, about)),
        _ => Err(findings),
    }
}

/// JSON given as an argument, in the notation that everything else is read in.
pub(super) fn from_json(name: &str, json: &str) -> Result<Source, Vec<Finding>> {
    let wrong = |error: String| {
        vec![Finding::error("bad-facts", format!("{name} is not a JSON object of facts: {error}"))]
    };
    let table: toml::Table = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
    let text = toml::to_string(&table).map_err(|error| wrong(error.to_string()))?;
    Ok(Source::new(name, text))
}

fn show_matrix(
    policy: &Path,
    format: MatrixFormat,
    out: &mut dyn Write,
    words: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let pack = match read_pack(policy) {
        Ok(pack) => pack,
        Err(findings) => return unusable(&findings, words),
    };
    let matrix = matrix::matrix(&pack);
    match format {
        MatrixFormat::Table => write!(out, "{}", matrix::table(&matrix, pack.vocabulary(), columns()))?,
        MatrixFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&matrix)?)?,
        MatrixFormat::Html => write!(out, "{}", matrix::html(&matrix))?,
    }
    Ok(ExitStatus::Success)
}

/// Columns of the terminal, where the shell says so.
fn columns() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns.unwrap_or(80)
}

/// What one version does and the other does not.
fn compare(
    old: &Path,
    new: &Path,
    format: TextOrJson,
    out: &mut dyn Write,
    words: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let difference = read_pack(old).and_then(|old| {
        let new = read_pack(new)?;
        Difference::of(&old, &new).map_err(|finding| vec![finding])
    });
    let difference = match difference {
        Ok(difference) => difference,
        Err(findings) => return unusable(&findings, words),
    };
    match format {
        TextOrJson::Json => writeln!(out, "{}", serde_json::to_string_pretty(&difference)?)?,
        TextOrJson::Text => write!(out, "{}", difference.to_text())?,
    }
    Ok(if difference.is_empty() { ExitStatus::Success } else { ExitStatus::Findings })
}

fn list(
    policy: Option<&Path>,
    format: VocabularyFormat,
    out: &mut dyn Write,
    words: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let vocabulary = match policy.map(read_pack).transpose() {
        Ok(Some(pack)) => Arc::clone(pack.vocabulary()),
        Ok(None) => Arc::new(Vocabulary::standard()),
        Err(findings) => return unusable(&findings, words),
    };
    match format {
        VocabularyFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&vocabulary.to_json())?)?,
        VocabularyFormat::Ttl => write!(out, "{}", vocabulary.to_turtle())?,
    }
    Ok(ExitStatus::Success)
}
