//! `case`: registers, approves, ends and lists the disclosure cases that authorities cite.
//!
//! Verbs that change a case use a [`super::ledger_client`]. The list opens the ledger file, also while a gateway uses it, or
//! asks the gateway that `--admin` names.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Format;
use super::admin_client::with_query;
use super::arguments::{ReasonArgs, time};
use super::error::{VerbError, exit_status, unusable_error};
use super::ledger_access::LedgerAccess;
use super::ledger_client::{EventTarget, print_answer};

/// The verbs of `case`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum CaseVerb {
    /// Register a case; it is in force when two different people have approved it
    Add(CaseArgs),
    /// Approve a case
    Approve {
        /// The case's id
        case: String,
        /// The name of the person who approves it, unless a gateway knows it by the token
        #[arg(long, value_name = "NAME")]
        approver: Option<String>,
        /// A reference to the evidence
        #[arg(long)]
        evidence: Option<String>,
    },
    /// End a case before its end date, for good
    End {
        /// The case's id
        case: String,
        /// A reference to the evidence
        #[arg(long)]
        evidence: Option<String>,
    },
    /// List the cases and their status
    List {
        #[command(flatten)]
        reason: ReasonArgs,
        /// The format of the output
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

/// Arguments of `case add`.
#[derive(Debug, clap::Args)]
pub(super) struct CaseArgs {
    /// The id that requests cite
    case: String,
    /// The authority, by its name in the configuration
    #[arg(long)]
    recipient: String,
    /// The purpose; it includes those below it
    #[arg(long)]
    purpose: String,
    /// A person that the case names (repeatable)
    #[arg(long = "subject", value_name = "SUBJECT", required = true)]
    subjects: Vec<String>,
    /// The namespace of these people's ids, unless it is the default one
    #[arg(long)]
    namespace: Option<String>,
    /// A data category that the case names; it includes those below it (repeatable)
    #[arg(long = "category", value_name = "CATEGORY", required = true)]
    categories: Vec<String>,
    /// When the case ends
    #[arg(long, value_name = "TIME", value_parser = time)]
    end: Timestamp,
    /// The authority's own reference
    #[arg(long)]
    reference: String,
    /// Until when disclosures under the case are left out of the reports to these people
    #[arg(long, value_name = "TIME", value_parser = time)]
    confidential_until: Option<Timestamp>,
    /// A reference to the evidence
    #[arg(long)]
    evidence: Option<String>,
}

/// Runs a verb. The result goes to `out`, messages to `err`. Returns the exit status.
///
/// # Errors
/// If writing fails.
pub(super) fn run(
    verb: CaseVerb,
    access: &LedgerAccess<'_>,
    now: Timestamp,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let outcome = match verb {
        CaseVerb::Add(registration) => add(registration, access, out, err),
        CaseVerb::Approve { case, approver, evidence } => {
            let mut event = json!({ "kind": "case-approved" });
            if let (Some(approver), Some(members)) = (approver, event.as_object_mut()) {
                members.insert("approver".to_owned(), approver.into());
            }
            record(&case, event, evidence, access, out, err)
        }
        CaseVerb::End { case, evidence } => {
            record(&case, json!({ "kind": "case-ended" }), evidence, access, out, err)
        }
        CaseVerb::List { reason, format } => list(&reason, access, format, now, out),
    };
    exit_status(outcome, err)
}

fn add(
    registration: CaseArgs,
    access: &LedgerAccess<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, VerbError> {
    let CaseArgs {
        case,
        recipient,
        purpose,
        subjects,
        namespace,
        categories,
        end,
        reference,
        confidential_until,
        evidence,
    } = registration;
    let named = |id: String| match &namespace {
        None => Value::from(id),
        Some(namespace) => json!({ "id": id, "namespace": namespace }),
    };
    let mut event = json!({
        "kind": "case-registered",
        "recipient": recipient,
        "purpose": purpose,
        "subjects": subjects.into_iter().map(named).collect::<Vec<_>>(),
        "categories": categories,
        "end": end.to_string(),
        "reference": reference,
    });
    if let (Some(until), Some(members)) = (confidential_until, event.as_object_mut()) {
        members.insert("confidential-until".to_owned(), until.to_string().into());
    }
    record(&case, event, evidence, access, out, err)
}

fn record(
    case: &str,
    mut event: Value,
    evidence: Option<String>,
    access: &LedgerAccess<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, VerbError> {
    if let (Some(evidence), Some(members)) = (evidence, event.as_object_mut()) {
        members.insert("evidence".to_owned(), evidence.into());
    }
    let answer = access.client()?.record(EventTarget::Case(case), &event)?;
    Ok(print_answer(&answer, out, err)?)
}

fn list(
    reason: &ReasonArgs,
    access: &LedgerAccess<'_>,
    format: Format,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    access.check_reason(reason.text())?;
    let cases = match access {
        LedgerAccess::Local(location) => {
            location.archive()?.cases(now).map_err(|error| unusable_error(&error))?
        }
        LedgerAccess::Remote(server) => {
            let client = server.client()?;
            let path = with_query("/v1/cases".to_owned(), &[("reason", reason.text())]);
            client.get(&path)?.map_or_else(|| Ok(Vec::new()), |body| client.read_json(&body))?
        }
    };
    for case in cases {
        match format {
            Format::Json => writeln!(out, "{}", Value::Object(case))?,
            Format::Text => writeln!(out, "{}", line(&case))?,
        }
    }
    Ok(0)
}

/// An approver by name; a name that nobody verified is marked.
fn approver(shown: &Value) -> Option<String> {
    let name = shown.get("name")?.as_str()?;
    let is_verified = shown.get("verified").and_then(Value::as_bool) == Some(true);
    Some(if is_verified { name.to_owned() } else { format!("{name} (unverified)") })
}

/// A case in one line; the people are counted and not named.
fn line(case: &Map<String, Value>) -> String {
    let text = |member: &str| case.get(member).and_then(Value::as_str).unwrap_or_default();
    let several = |member: &str| {
        let list = case.get(member).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let people = case.get("subjects").and_then(Value::as_array).map_or(0, Vec::len);
    let approvers = case.get("approvers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let approvers: Vec<String> = approvers.iter().filter_map(approver).collect();
    let approvers = approvers.join(", ");
    let approved =
        if approvers.is_empty() { "not approved".to_owned() } else { format!("approved by {approvers}") };
    format!(
        "{}  {}  until {}  {} for {}  {people} {}: {}  {}  ({approved})",
        text("case"),
        text("state"),
        text("end"),
        text("recipient"),
        text("purpose"),
        if people == 1 { "person" } else { "people" },
        several("categories"),
        text("reference"),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use clap::Parser;

    use super::*;
    use crate::cli::admin_client::AdminServer;
    use crate::cli::ledger_location::LedgerLocation;
    use crate::config::LedgerSection;
    use crate::ledger::VocabularyTerms;

    #[derive(Parser)]
    struct CaseCommand {
        #[command(subcommand)]
        verb: CaseVerb,
    }

    const ADD: &str = "add C-7 --recipient court --purpose court-order --subject ada --subject ben \
        --category contact --end 2027-01-01 --reference 12-O-4";

    fn run_in(folder: &tempfile::TempDir, arguments: &str) -> (u8, String, String) {
        let arguments = ["case"].into_iter().chain(arguments.split_whitespace());
        let verb = CaseCommand::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).verb;
        let ledger = LedgerSection::embedded(folder.path().join("ledger.db"));
        let keys = folder.path().join("keys");
        let place = LedgerAccess::Local(LedgerLocation {
            ledger: &ledger,
            keys: &keys,
            log: Path::new("/nowhere"),
            names: Arc::new(VocabularyTerms::standard()),
            recipients: vec![Arc::from("court")],
            namespaces: vec![Arc::from("default")],
            admin: AdminServer::configured("127.0.0.1:9".parse().unwrap(), false),
        });
        let now = "2026-11-22T00:00:00Z".parse().unwrap();
        let (mut out, mut words) = (Vec::new(), Vec::new());
        let status = run(verb, &place, now, &mut out, &mut words).unwrap();
        (status, String::from_utf8(out).unwrap(), String::from_utf8(words).unwrap())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        <CaseCommand as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_case_is_registered_approved_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let list = || run_in(&folder, "list").1;
        assert_eq!(run_in(&folder, ADD).0, 0);
        assert_eq!(
            list(),
            "C-7  registered  until 2027-01-01T00:00:00Z  court for court-order  2 people: contact  12-O-4  (not approved)\n"
        );
        assert_eq!(run_in(&folder, "approve C-7 --approver Ada").0, 0);
        assert_eq!(run_in(&folder, "approve C-7 --approver Ben --evidence memo-3").0, 0);
        assert!(
            list().contains("in-force")
                && list().contains("(approved by Ada (unverified), Ben (unverified))"),
            "{}",
            list()
        );
        let shown: Value = serde_json::from_str(&run_in(&folder, "list --format json").1).unwrap();
        assert_eq!(shown["subjects"], json!(["ada", "ben"]));
        assert_eq!(run_in(&folder, "end C-7").0, 0);
        assert!(list().contains("C-7  ended"), "{}", list());
    }

    #[test]
    fn a_refusal_gives_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        run_in(&folder, ADD);
        run_in(&folder, "approve C-7 --approver Ada");
        for (arguments, word) in [
            (ADD.to_owned(), "registered already"),
            ("approve C-7 --approver ada".to_owned(), "somebody else's"),
            ("approve C-8 --approver Ben".to_owned(), "no case"),
            ("end C-8".to_owned(), "no case"),
            (ADD.replace("C-7", "C/ü"), "letters"),
            (ADD.replace("--recipient court", "--recipient Court"), "did you mean `court`?"),
            (ADD.replace("contact", "curiosities").replace("C-7", "C-9"), "`categories`"),
        ] {
            let (status, answer, words) = run_in(&folder, &arguments);
            assert_eq!((status, answer.as_str()), (1, ""), "{arguments}");
            assert!(words.contains(word), "{words}");
        }
    }
}
