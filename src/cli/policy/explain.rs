//! `policy explain`: the decision of a pack about a described situation, and the conditions it depends on.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cli::findings::unusable;
use crate::cli::output::{ExitStatus, TextOrJson};
use crate::config::pack::read_pack;
use crate::decision::scenario;
use crate::decision::{
    AdmissionRequest, Classes, Decisions, Explanation, OperationExplanation, Question, RequiredChanges,
};
use crate::document::Document;
use crate::finding::{Finding, Source};
use crate::policy::Pack;
use crate::vocabulary::{CategoryId, Operation};

/// Arguments of `policy explain`.
#[derive(Debug, clap::Args)]
pub struct PolicyExplainArgs {
    /// The pack's folder
    #[arg(long, value_name = "DIR")]
    policy: PathBuf,
    /// The recipient's kind
    #[arg(long, value_name = "KIND")]
    recipient_kind: String,
    /// The declared purpose, by any of its names
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
    /// A data category to explain (repeatable); without it, the categories of rules that nearly apply
    #[arg(long = "category", value_name = "CATEGORY")]
    categories: Vec<String>,
    /// The format of the output
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    format: TextOrJson,
}

/// Explains the situation that the arguments describe. Returns [`ExitStatus::Findings`] if the request is refused or the
/// operation is not carried out.
pub(super) fn explain(
    args: &PolicyExplainArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let (explanation, pack) = match explanation(args, Timestamp::now()) {
        Ok(explained) => explained,
        Err(findings) => return unusable(&findings, err),
    };
    let only_named = !args.categories.is_empty();
    match args.format {
        TextOrJson::Text => write!(out, "{}", explanation.to_text(pack.vocabulary(), only_named))?,
        TextOrJson::Json => writeln!(out, "{}", serde_json::to_string_pretty(&explanation)?)?,
    }
    let is_done = explanation.operation.as_ref().is_none_or(|operation| operation.carried_out);
    Ok(if explanation.refused.is_none() && is_done { ExitStatus::Success } else { ExitStatus::Findings })
}

fn explanation(args: &PolicyExplainArgs, now: Timestamp) -> Result<(Explanation, Arc<Pack>), Vec<Finding>> {
    let pack = read_pack(&args.policy).map(Arc::new)?;
    let (request, facts) = situation(args, &pack, now)?;
    let categories = categories(&args.categories, &pack)?;
    let record = &facts.record;
    let question = Question { pack: &pack, request: &request, facts: &facts, record, now };
    let mut explanation = question.explain(&categories);
    if request.operation != Operation::Disclose {
        // As on a route that maps the named categories; without a name, as on a route without personal data.
        let named = if args.categories.is_empty() { &[][..] } else { &categories[..] };
        let classes: Vec<Vec<CategoryId>> = named.iter().map(|&category| vec![category]).collect();
        let classes = Classes::new(classes, false);
        let is_permitted = carried_out(&pack, &request, &classes, &facts, now);
        let changes = if is_permitted {
            RequiredChanges::default()
        } else {
            question.explain_operation(classes.sets())
        };
        let name = request.operation.name();
        explanation.operation = Some(OperationExplanation { name, carried_out: is_permitted, changes });
    }
    Ok((explanation, pack))
}

/// True if the operation is carried out on the described person, on a route with these classes of fields.
fn carried_out(
    pack: &Arc<Pack>,
    request: &AdmissionRequest,
    classes: &Classes,
    facts: &scenario::ScenarioFacts,
    now: Timestamp,
) -> bool {
    let admitted = Decisions::new(Arc::clone(pack)).admit_once(request, classes);
    admitted.is_ok_and(|admitted| {
        let scenario::ScenarioFacts { subject, controller, record, relationship } = facts;
        admitted.carries_out(&admitted.judge(subject, controller, record, *relationship, now))
    })
}

/// Returns the named categories; without a name, all categories of the vocabulary.
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

/// Reads the situation from the arguments.
fn situation(
    args: &PolicyExplainArgs,
    pack: &Pack,
    now: Timestamp,
) -> Result<(AdmissionRequest, scenario::ScenarioFacts), Vec<Finding>> {
    let text = |name: &str, value: &str| Source::new(name, value);
    let names = format!("kind = {:?}\npurpose = {:?}\n", args.recipient_kind, args.purpose);
    let names = text("--recipient-kind and --purpose", &names);
    let recipient = facts_from_json("--recipient-json", &args.recipient_json)?;
    let subject = facts_from_json("--subject-json", &args.subject_json)?;
    let request_facts = facts_from_json("--request-json", &args.request_json)?;
    let documents = [&names, &recipient, &subject, &request_facts].map(Document::parse);
    let [of_names, of_recipient, of_subject, of_request] = &documents;
    let mut fields = of_names.root("the arguments");
    let reader = |document| scenario::ScenarioReader::new(pack, document, now);
    let kind = fields.needed_text("kind").and_then(|kind| reader(of_names).kind(&kind));
    let purpose = fields.needed_text("purpose").and_then(|purpose| reader(of_names).purpose(&purpose));
    let recipient = kind.and_then(|kind| {
        reader(of_recipient).recipient(of_recipient.root("the recipient"), purpose, Some(kind))
    });
    let mut facts = reader(of_subject).subject(of_subject.root("the person"));
    let request = recipient.zip(purpose).map(|(recipient, purpose)| {
        reader(of_request).request(recipient, purpose, Some(of_request.root("the request")), &mut facts)
    });
    let findings: Vec<Finding> = documents.into_iter().flat_map(Document::into_findings).collect();
    match request {
        Some(request) if findings.is_empty() => Ok((request, facts)),
        _ => Err(findings),
    }
}

/// Converts a JSON object of facts to TOML, so that the reader of scenarios can read it. `name` is the argument, for
/// findings.
///
/// # Errors
/// A finding `bad-facts` if the text is not a JSON object that TOML can express.
pub(in crate::cli) fn facts_from_json(name: &str, json: &str) -> Result<Source, Vec<Finding>> {
    let wrong = |error: String| {
        vec![Finding::error("bad-facts", format!("{name} is not a JSON object of facts: {error}"))]
    };
    let mut members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
    // A place that was stated twice. TOML has no null, and an empty text names no place.
    for place in ["region", "country"] {
        if let Some(value) = members.get_mut(place).filter(|value| value.is_null()) {
            *value = "".into();
        }
    }
    let table: toml::Table =
        serde_json::from_value(members.into()).map_err(|error| wrong(error.to_string()))?;
    let text = toml::to_string(&table).map_err(|error| wrong(error.to_string()))?;
    Ok(Source::new(name, text))
}
