//! `audit`: verifies, shows and exports the disclosure log, also while a gateway writes it.

pub(super) mod processing;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::arguments::time;
use super::error::with_causes;
use super::findings::counted;
use super::ledger_location::LedgerLocation;
use crate::disclosure::{self, Checkpoint, ExchangeFilter, ReadError, VerificationReport};
use crate::finding::nearest;
use crate::keys::Keys;
use crate::ledger;
use crate::vocabulary::Vocabulary;

/// The verbs of `audit`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum AuditVerb {
    /// Verify that no record was changed or removed, and print a checkpoint
    Verify {
        #[command(flatten)]
        at: LogLocation,
        /// A file with an earlier checkpoint to compare with
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
    },
    /// Show exchanges: who received which data, for which purpose, on which legal basis
    Show {
        #[command(flatten)]
        at: LogLocation,
        /// Only of this recipient
        #[arg(long)]
        recipient: Option<String>,
        /// Only for this purpose
        #[arg(long)]
        purpose: Option<String>,
        /// Only about this person
        #[arg(long)]
        subject: Option<String>,
        /// The namespace of the person's id, unless it is the default one
        #[arg(long, requires = "subject")]
        namespace: Option<String>,
        /// Only exchanges that began at this time or later
        #[arg(long, value_name = "TIME", value_parser = time)]
        since: Option<Timestamp>,
        /// Only the exchange with this decision's id
        #[arg(long, value_name = "ID")]
        decision: Option<String>,
        /// The format of the output
        #[arg(long, value_enum, default_value = "text")]
        format: super::Format,
    },
    /// Print the record of processing activities: purposes, bases, categories, recipients, retention
    Processing {
        /// The configuration file, for its packs
        #[arg(long, value_name = "FILE", default_value = "purposegate.toml", conflicts_with = "policy")]
        config: PathBuf,
        /// The folder of a single pack instead
        #[arg(long, value_name = "DIR")]
        policy: Option<PathBuf>,
        /// The format of the output
        #[arg(long, value_enum, default_value = "text")]
        format: super::Format,
    },
    /// Print every record as it is in the log, one a line
    Export {
        #[command(flatten)]
        at: LogLocation,
        /// Only from the day of this time on
        #[arg(long, value_name = "TIME", value_parser = time)]
        since: Option<Timestamp>,
    },
}

/// The location of a log: a folder, or the one of a configuration.
#[derive(Debug, clap::Args)]
pub(super) struct LogLocation {
    /// The folder of the log; without it, the one of the configuration
    #[arg(value_name = "DIR")]
    pub(super) folder: Option<PathBuf>,
    /// The configuration file, for the folder and the keys [default without DIR: purposegate.toml]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl AuditVerb {
    /// Returns the location of the log; `None` for a verb that reads no log.
    pub(super) fn log_location(&self) -> Option<&LogLocation> {
        match self {
            AuditVerb::Verify { at, .. } | AuditVerb::Show { at, .. } | AuditVerb::Export { at, .. } => {
                Some(at)
            }
            AuditVerb::Processing { .. } => None,
        }
    }
}

/// The parts of a configuration that belong to a log.
#[derive(Debug)]
pub(super) struct AuditContext<'p> {
    pub(super) keys: Keys,
    /// The ledger, which knows every spelling of a person's id, and the registered recipients.
    pub(super) location: LedgerLocation<'p>,
    pub(super) vocabulary: Arc<Vocabulary>,
}

/// Runs a verb on the log in a folder. The result goes to `out`, messages to `err`. Without a configuration, the log is
/// verified as far as possible without keys, and people cannot be found by their id. Returns the exit status.
///
/// # Errors
/// If writing fails.
pub(super) fn run(
    verb: &AuditVerb,
    folder: &Path,
    configured: Option<&AuditContext<'_>>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let keys = configured.map(|configured| &configured.keys);
    match verb {
        AuditVerb::Verify { at: _, since } => verify(folder, keys, since.as_deref(), out, err),
        AuditVerb::Show { at: _, recipient, purpose, subject, namespace, since, decision, format } => {
            let subject = match subject_filter(subject.as_deref(), namespace.as_deref(), configured) {
                Ok(subject) => subject,
                Err(why) => return unusable(&why, err),
            };
            // The log holds the id of the purpose; the argument may be an alias.
            let purpose = purpose.as_ref().map(|given| {
                let vocabulary = configured.map(|configured| &*configured.vocabulary);
                let known = vocabulary.and_then(|known| Some((known, known.declared_purpose(given).ok()?)));
                known.map_or_else(|| given.clone(), |(known, id)| known.purposes().name(id).to_owned())
            });
            let filter = ExchangeFilter { recipient: recipient.clone(), purpose, subject, since: *since };
            show(folder, &filter, configured, decision.as_deref(), *format, out, err)
        }
        // This verb reads packs and no log, see [`processing`].
        AuditVerb::Processing { .. } => Ok(0),
        AuditVerb::Export { at: _, since } => export(folder, *since, out, err),
    }
}

fn verify(
    folder: &Path,
    keys: Option<&Keys>,
    since: Option<&Path>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let since = match since.map(checkpoint).transpose() {
        Ok(since) => since,
        Err(why) => return unusable(&why, err),
    };
    let tags = keys.map(Keys::log_tags);
    let report = match disclosure::verify(folder, tags.as_ref(), since.as_ref()) {
        Ok(report) => report,
        Err(error) => return unusable(&format!("{}: {error}", folder.display()), err),
    };
    let VerificationReport { findings, remarks, segments, records, checkpoint } = report;
    for finding in &findings {
        writeln!(err, "finding: {finding}")?;
    }
    for remark in &remarks {
        writeln!(err, "note: {remark}")?;
    }
    let records = counted(usize::try_from(records).unwrap_or(usize::MAX), "record");
    let (files, found) = (counted(segments, "file"), counted(findings.len(), "finding"));
    writeln!(err, "{records} in {files}, {found}")?;
    if !findings.is_empty() {
        // A checkpoint of a log that was changed would replace a good one, so none is printed.
        return Ok(1);
    }
    if let Some(checkpoint) = checkpoint {
        writeln!(out, "{}", serde_json::to_string(&checkpoint)?)?;
    }
    Ok(0)
}

fn checkpoint(file: &Path) -> Result<Checkpoint, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let unreadable = |_| format!("{} is not a checkpoint of `audit verify`", file.display());
    serde_json::from_str(text.trim()).map_err(unreadable)
}

/// The fingerprints of a person, and the pseudonyms of the log.
type SubjectFilter = Option<(Vec<crate::keys::Fingerprint>, crate::keys::SubjectPseudonyms)>;

/// Returns a person by every spelling of the id that the ledger has recorded.
fn subject_filter(
    subject: Option<&str>,
    namespace: Option<&str>,
    configured: Option<&AuditContext<'_>>,
) -> Result<SubjectFilter, String> {
    let Some(subject) = subject else { return Ok(None) };
    let AuditContext { keys, location, .. } =
        configured.ok_or("people can be found in the log only with its keys: give --config")?;
    let fingerprints = keys.fingerprints();
    let person = ledger::person(subject, namespace, &*location.names).map_err(|error| error.to_string())?;
    let people = if location.ledger.exists() {
        location.archive().map_err(|error| error.to_string())?.fingerprints(&person, &fingerprints)
    } else {
        vec![fingerprints.subject(&person)]
    };
    Ok(Some((people, keys.subject_pseudonyms())))
}

fn show(
    folder: &Path,
    filter: &ExchangeFilter,
    configured: Option<&AuditContext<'_>>,
    decision: Option<&str>,
    format: super::Format,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let running = match disclosure::in_use(folder) {
        Ok(running) => running,
        Err(error) => return unusable(&format!("{}: {error}", folder.display()), err),
    };
    let mut out = BufWriter::new(out);
    let mut shown_exchanges = 0_u64;
    let mut tell = |exchange: Value| {
        shown_exchanges += 1;
        match format {
            super::Format::Json => writeln!(out, "{exchange}"),
            super::Format::Text => writeln!(out, "{}", exchange_text(&exchange)),
        }
    };
    let shown = match decision {
        None => disclosure::fold(folder, filter, running, tell),
        Some(id) => match disclosure::decision(folder, id, running) {
            Ok(Some(exchange)) => tell(exchange).map_err(ReadError::Output),
            Ok(None) => {
                writeln!(err, "purposegate: the log has no decision with this id")?;
                return Ok(1);
            }
            Err(error) => Err(error),
        },
    };
    let nothing = shown_exchanges == 0 && shown.is_ok();
    let status = finish(shown, out, err)?;
    if !nothing {
        return Ok(status);
    }
    match configured.map(|configured| unknown_name(folder, filter, configured)).transpose() {
        Ok(Some(Some(why))) => unusable(&why, err),
        Ok(Some(None) | None) => {
            writeln!(err, "note: no exchange in the log matches")?;
            Ok(status)
        }
        Err(error) => unusable(&with_causes(&error), err),
    }
}

/// Describes a recipient or a purpose of the filter that neither the configuration nor the log knows. The log may name
/// some that the configuration no longer has.
fn unknown_name(
    folder: &Path,
    filter: &ExchangeFilter,
    configured: &AuditContext,
) -> Result<Option<String>, ReadError> {
    let is_on_record = |filter: ExchangeFilter| -> Result<bool, ReadError> {
        let mut found = false;
        disclosure::fold(folder, &filter, true, |_| {
            found = true;
            Ok(())
        })?;
        Ok(found)
    };
    let say = |what: &str, name: &str, near: Option<&str>| {
        let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Some(format!("there is no {what} `{name}` in the configuration or in the log{hint}"))
    };
    let AuditContext { keys: _, location: LedgerLocation { recipients, .. }, vocabulary } = configured;
    if let Some(name) = &filter.recipient
        && !recipients.iter().any(|known| **known == **name)
        && !is_on_record(ExchangeFilter { recipient: Some(name.clone()), ..ExchangeFilter::default() })?
    {
        let known = recipients.iter().map(|known| &**known);
        return Ok(say("recipient", name, nearest(name, known)));
    }
    if let Some(name) = &filter.purpose
        && vocabulary.purposes().find(name).is_none()
        && !is_on_record(ExchangeFilter { purpose: Some(name.clone()), ..ExchangeFilter::default() })?
    {
        let known = vocabulary.purposes().terms().map(|(_, term)| &*term.id);
        return Ok(say("purpose", name, nearest(name, known)));
    }
    Ok(None)
}

fn export(
    folder: &Path,
    since: Option<Timestamp>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let mut out = BufWriter::new(out);
    let exported = disclosure::export(folder, since, |line| {
        out.write_all(line)?;
        out.write_all(b"\n")
    });
    finish(exported, out, err)
}

fn finish(
    outcome: Result<(), ReadError>,
    mut out: BufWriter<&mut dyn Write>,
    err: &mut dyn Write,
) -> io::Result<u8> {
    out.flush()?;
    match outcome {
        Ok(()) => Ok(0),
        Err(ReadError::Output(error)) => Err(error),
        Err(error @ (ReadError::Io { .. } | ReadError::Unreadable(_))) => unusable(&with_causes(&error), err),
    }
}

/// Renders an exchange: a line with time, recipient, purpose and outcome, and below it a line for each category and form.
fn exchange_text(exchange: &Value) -> String {
    let text = |member: &str| exchange.get(member).and_then(Value::as_str).unwrap_or("-");
    let number = |member: &str| exchange.get(member).and_then(Value::as_u64).unwrap_or(0);
    let people = exchange.get("subjects").and_then(Value::as_array).map_or(0, Vec::len);
    let mut line = format!(
        "{}  {}  {}  {}  {}  {}  {}, {} withheld, {people} {}",
        text("time"),
        text("decision"),
        text("recipient"),
        text("purpose"),
        text("route"),
        exchange.get("outcome").and_then(Value::as_str).unwrap_or("under way"),
        counted(usize::try_from(number("records")).unwrap_or(usize::MAX), "record"),
        number("withheld_records"),
        if people == 1 { "person" } else { "people" },
    );
    if let Some(case) = exchange.get("case").and_then(Value::as_str) {
        // The recipient chose the text, so it is escaped: it must not begin a line of its own.
        line.push_str(&format!(", case {case:?}"));
    }
    let categories = exchange.get("categories").and_then(Value::as_object).into_iter().flatten();
    for (category, entries) in categories {
        for entry in entries.as_array().into_iter().flatten() {
            let of = |member: &str| entry.get(member).and_then(Value::as_str);
            line.push_str(&format!("\n    {category}: {}", of("form").unwrap_or("-")));
            for reason in [of("basis"), of("reason")].into_iter().flatten() {
                line.push_str(&format!(", {reason}"));
            }
            let clauses = entry.get("clauses").and_then(Value::as_array).into_iter().flatten();
            let clauses: Vec<_> = clauses.filter_map(Value::as_str).collect();
            let fields = entry.get("fields").and_then(Value::as_u64).unwrap_or(0);
            let fields = usize::try_from(fields).unwrap_or(usize::MAX);
            line.push_str(&format!(", {}", counted(fields, "field")));
            if !clauses.is_empty() {
                line.push_str(&format!(" ({})", clauses.join(", ")));
            }
        }
    }
    line
}

fn unusable(why: &str, err: &mut dyn Write) -> io::Result<u8> {
    writeln!(err, "purposegate: {why}")?;
    Ok(2)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::disclosure::{DisclosedCategory, Durability, Intent, Log, Outcome, Window};
    use crate::ledger::Position;
    use crate::vocabulary::{Basis, Form, IdReader, Operation};

    #[derive(Parser)]
    struct AuditCommand {
        #[command(subcommand)]
        verb: AuditVerb,
    }

    const DECISION: &str = "01KAM4X5QG0000000000000001";

    async fn log(folder: &Path, keys: &Keys) {
        let log =
            Log::open(folder, keys, "gateway-1", Durability::BeforeRelease, Duration::from_secs(1 << 30))
                .unwrap();
        let intent = Intent {
            decision: DECISION.to_owned(),
            time: "2026-11-21T12:00:00Z".parse().unwrap(),
            recipient: "acme".into(),
            actor: None,
            purpose: "direct-marketing".into(),
            declared: None,
            case: Some("2026-017".into()),
            route: "customers".into(),
            operation: Operation::Disclose,
            policy: "1".into(),
            position: Position(3),
            factors: Vec::new().into(),
        };
        let entry = log.intent(intent).await.unwrap().0;
        let alice = IdReader::default().read("alice").unwrap();
        let window = Window {
            position: Position(3),
            records: 1,
            withheld_records: 0,
            withheld_subjects: Vec::new(),
            subjects: vec![keys.fingerprints().subject(&alice)].into(),
            categories: vec![DisclosedCategory {
                category: "email".into(),
                form: Form::Clear,
                basis: Some(Basis::Consent),
                reason: None,
                rules: Arc::new(["marketing".into()]),
                clauses: Arc::new(["G-6.4b".into()]),
                fields: 1,
            }],
        };
        log.window(&entry, &window).await.unwrap();
        log.close(entry, Outcome::Released).await.unwrap();
    }

    fn audit(arguments: &str, folder: &Path, keys: Option<&Keys>) -> (u8, String, String) {
        let configured = keys.map(|keys| AuditContext {
            keys: keys.clone(),
            location: LedgerLocation {
                ledger: Path::new("/no/ledger"),
                log: Path::new("/no/log"),
                keys: Path::new("/no/keys"),
                names: Arc::new(ledger::VocabularyTerms::standard()),
                recipients: vec!["acme".into(), "globex".into()],
                namespaces: vec![Arc::from("default")],
                admin: "127.0.0.1:9".parse().unwrap(),
            },
            vocabulary: Arc::new(Vocabulary::standard()),
        });
        let arguments = ["audit"].into_iter().chain(arguments.split_whitespace());
        let verb = AuditCommand::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).verb;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = run(&verb, folder, configured.as_ref(), &mut out, &mut err).unwrap();
        (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        <AuditCommand as clap::CommandFactory>::command().debug_assert();
    }

    #[tokio::test]
    async fn a_log_that_lost_records_fails_against_its_checkpoint() {
        let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
        let logs = folder.path().join("audit");
        log(&logs, &keys).await;
        let (status, checkpoint, words) = audit("verify", &logs, Some(&keys));
        assert_eq!(status, 0, "{words}");
        assert_eq!(words, "5 records in 1 file, 0 findings\n");
        let file = folder.path().join("checkpoint");
        std::fs::write(&file, &checkpoint).unwrap();
        let since = format!("verify --since {}", file.display());
        assert_eq!(audit(&since, &logs, None).0, 0);

        let segment = std::fs::read_dir(&logs).unwrap().next().unwrap().unwrap().path();
        let text = std::fs::read_to_string(&segment).unwrap();
        let shorter: Vec<_> = text.lines().take(3).collect();
        std::fs::write(&segment, shorter.join("\n") + "\n").unwrap();
        let (status, out, words) = audit(&since, &logs, Some(&keys));
        assert_eq!((status, out.as_str()), (1, ""));
        assert!(words.contains("finding: the log ends after 3 records; the checkpoint says 5"), "{words}");

        let (status, _, words) = audit("verify --since /no/such", &logs, Some(&keys));
        assert_eq!(status, 2, "{words}");
        assert_eq!(audit("verify", &folder.path().join("none"), Some(&keys)).0, 2);
    }

    #[tokio::test]
    async fn exchanges_are_shown_as_text_or_as_json() {
        let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
        let logs = folder.path().join("audit");
        log(&logs, &keys).await;
        let shown = |arguments: &str| audit(arguments, &logs, Some(&keys));
        let (status, text, _) = shown("show");
        assert_eq!(status, 0);
        assert_eq!(
            text,
            format!(
                "2026-11-21T12:00:00Z  {DECISION}  acme  direct-marketing  customers  released  1 record, 0 withheld, 1 person, case \"2026-017\"\n    \
                 email: clear, consent, 1 field (G-6.4b)\n"
            )
        );
        let (_, json, _) = shown("show --format json --subject alice");
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["categories"]["email"][0]["rules"][0], "marketing");
        assert!(!json.to_string().contains("alice"));
        for (nothing, status, note) in [
            ("--subject bob", 0, "no exchange in the log"),
            ("--recipient globex", 0, "no exchange in the log"),
            ("--recipient nobody", 2, "there is no recipient `nobody`"),
            ("--recipient globix", 2, "did you mean `globex`?"),
            ("--purpose marketing", 0, "no exchange in the log"),
            ("--purpose direct-marketting", 2, "did you mean `direct-marketing`?"),
        ] {
            let (is, out, words) = shown(&format!("show {nothing}"));
            assert_eq!((is, out.as_str()), (status, ""), "{nothing}");
            assert!(words.contains(note), "{nothing}: {words}");
        }
        assert_eq!(shown("show --purpose dpv:DirectMarketing").1, text);
        let (status, _, words) = audit("show --recipient nobody", &logs, None);
        assert_eq!(status, 0);
        assert!(words.contains("no exchange in the log"), "{words}");
        assert_eq!(shown(&format!("show --decision {DECISION} --format json")).1.lines().count(), 1);
        assert_eq!(shown("show --decision 01ARZ3NDEKTSV4RRFFQ69G5FAV").0, 1);
        assert_eq!(audit("show --subject alice", &logs, None).0, 2, "without keys");
        assert_eq!(shown("export").1.lines().count(), 5);
    }
}
