//! `consent`: the ledger from the shell.
//!
//! What changes the ledger goes the way that is open ([`super::ledger_client`]); what only reads it, reads
//! the file, also while a gateway runs.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::error::CliError;
use super::ledger_client::{self, ImportedLine};
use super::ledger_location::{self, LedgerLocation, VerbError, unusable_error};
use crate::ledger::{self, Batch, Entity, FILE_BATCH};
use crate::vocabulary::{MAX_ID_BYTES, SubjectId, date};

/// Bytes of a file that are sent at a time, about.
const CHUNK_BYTES: usize = 1 << 20;
/// Between two words on how far an import is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// What can be done with the ledger.
#[derive(Debug, clap::Subcommand)]
pub enum ConsentVerb {
    /// Record that a person consents to a purpose
    Give {
        #[command(flatten)]
        said: ConsentArgs,
        /// The consent ends at this time
        #[arg(long, value_name = "TIME", value_parser = time)]
        valid_until: Option<Timestamp>,
    },
    /// Record that a person was asked and refused
    Refuse(ConsentArgs),
    /// Record that a person withdraws a consent
    Withdraw(ConsentArgs),
    /// Record an objection to a purpose
    Object {
        #[command(flatten)]
        person: SubjectArgs,
        #[command(flatten)]
        purpose: PurposeArgs,
        #[command(flatten)]
        particulars: EventDetails,
    },
    /// Record that a person wants one recipient to receive nothing
    OptOut {
        #[command(flatten)]
        person: SubjectArgs,
        /// The recipient's configured name
        recipient: String,
        #[command(flatten)]
        particulars: EventDetails,
    },
    /// Record that processing is restricted
    Restrict {
        #[command(flatten)]
        person: SubjectArgs,
        #[command(flatten)]
        particulars: EventDetails,
    },
    /// Lift the restriction, or what an option names
    Lift {
        #[command(flatten)]
        person: SubjectArgs,
        /// Lift the objection to this purpose
        #[arg(long, value_name = "PURPOSE", conflicts_with = "opt_out")]
        objection: Option<String>,
        /// Lift the opt-out of this recipient
        #[arg(long, value_name = "RECIPIENT")]
        opt_out: Option<String>,
        #[command(flatten)]
        particulars: EventDetails,
    },
    /// Record an erasure; nothing lifts it
    Erase {
        #[command(flatten)]
        person: SubjectArgs,
        #[command(flatten)]
        particulars: EventDetails,
    },
    /// Record facts about a person
    Fact {
        #[command(flatten)]
        person: SubjectArgs,
        /// region=EEA, country=FR, minor=true, transfer-consent=true, origin=referral
        #[arg(required = true, value_name = "NAME=VALUE", value_parser = fact)]
        facts: Vec<(String, Value)>,
        #[command(flatten)]
        particulars: EventDetails,
    },
    /// Show what is in force about a person
    Show {
        #[command(flatten)]
        person: SubjectArgs,
        /// As it was at this time
        #[arg(long, value_name = "TIME", value_parser = time)]
        at: Option<Timestamp>,
    },
    /// Record the events of a file, one JSON object a line; - for standard input
    Import {
        /// The file; started again, it goes on where it was interrupted
        file: PathBuf,
        /// Record events about recipients and namespaces that the configuration does not have, as an export may have
        #[arg(long)]
        keep_unknown_recipients: bool,
    },
    /// Write every event, one JSON object a line, as an import reads them
    Export,
}

/// A person.
#[derive(Debug, clap::Args)]
pub struct SubjectArgs {
    /// The person's id
    pub(super) subject: String,
    /// The namespace of the id, where it is not the default one
    #[arg(long)]
    namespace: Option<String>,
}

/// A purpose, as an argument or as an option.
#[derive(Debug, clap::Args)]
pub struct PurposeArgs {
    /// The purpose
    #[arg(required_unless_present = "by_name")]
    purpose: Option<String>,
    /// The purpose; another spelling of the argument
    #[arg(long = "purpose", id = "by_name", value_name = "PURPOSE", conflicts_with = "purpose", hide = true)]
    by_name: Option<String>,
}

/// What somebody said about a purpose.
#[derive(Debug, clap::Args)]
pub struct ConsentArgs {
    #[command(flatten)]
    person: SubjectArgs,
    #[command(flatten)]
    purpose: PurposeArgs,
    /// Towards this recipient only
    #[arg(long, conflicts_with = "recipient_kind")]
    recipient: Option<String>,
    /// Towards recipients of this kind only
    #[arg(long, value_name = "KIND")]
    recipient_kind: Option<String>,
    #[command(flatten)]
    particulars: EventDetails,
}

/// What any event can carry.
#[derive(Debug, clap::Args)]
pub struct EventDetails {
    /// When it happened; default now
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    /// The version of the notice that was shown
    #[arg(long)]
    notice: Option<String>,
    /// Where it was said (web, phone, paper)
    #[arg(long)]
    channel: Option<String>,
    /// What proves it
    #[arg(long)]
    evidence: Option<String>,
}

/// Runs a verb; the answer goes to `out`, words to `words`. Returns the exit status.
///
/// # Errors
/// When writing fails.
pub fn run(
    verb: ConsentVerb,
    place: &LedgerLocation<'_>,
    out: &mut dyn Write,
    words: &mut dyn Write,
) -> io::Result<u8> {
    let outcome = match verb {
        ConsentVerb::Show { person, at } => show(&person, at, place, out),
        ConsentVerb::Export => export(place, out),
        ConsentVerb::Import { file, keep_unknown_recipients } => {
            import(&file, keep_unknown_recipients, place, words)
        }
        event => record(event, place, out, words),
    };
    ledger_location::exit_status(outcome, words)
}

fn record(
    verb: ConsentVerb,
    place: &LedgerLocation<'_>,
    out: &mut dyn Write,
    words: &mut dyn Write,
) -> Result<u8, VerbError> {
    let (person, event) = event(verb)?;
    let entity = Entity::Subject(subject(&person, place)?);
    let answer = place.client()?.record(&entity, &person.subject, &Value::Object(event))?;
    Ok(ledger_location::print_answer(&answer, out, words)?)
}

pub(super) fn subject(person: &SubjectArgs, place: &LedgerLocation<'_>) -> Result<SubjectId, CliError> {
    ledger::person(&person.subject, person.namespace.as_deref(), &*place.names)
        .map_err(|error| CliError::Refused(error.to_string()))
}

/// The event that a verb records.
fn event(verb: ConsentVerb) -> Result<(SubjectArgs, Map<String, Value>), CliError> {
    let mut event = Map::new();
    let mut put = |member: &str, value: Option<String>| {
        if let Some(value) = value {
            event.insert(member.to_owned(), value.into());
        }
    };
    let kind = |kind: &str| Some(kind.to_owned());
    let (person, particulars) = match verb {
        ConsentVerb::Give { said, valid_until } => {
            put("kind", kind("consent-given"));
            put("valid-until", valid_until.map(|time| time.to_string()));
            said.put(&mut put)
        }
        ConsentVerb::Refuse(said) => {
            put("kind", kind("consent-refused"));
            said.put(&mut put)
        }
        ConsentVerb::Withdraw(said) => {
            put("kind", kind("consent-withdrawn"));
            said.put(&mut put)
        }
        ConsentVerb::Object { person, purpose, particulars } => {
            put("kind", kind("objection"));
            put("purpose", purpose.name());
            (person, particulars)
        }
        ConsentVerb::OptOut { person, recipient, particulars } => {
            put("kind", kind("opt-out"));
            put("recipient", Some(recipient));
            (person, particulars)
        }
        ConsentVerb::Restrict { person, particulars } => {
            put("kind", kind("restriction"));
            (person, particulars)
        }
        ConsentVerb::Lift { person, objection, opt_out, particulars } => {
            put(
                "kind",
                kind(match (&objection, &opt_out) {
                    (Some(_), _) => "objection-lifted",
                    (None, Some(_)) => "opt-out-lifted",
                    (None, None) => "restriction-lifted",
                }),
            );
            put("purpose", objection);
            put("recipient", opt_out);
            (person, particulars)
        }
        ConsentVerb::Erase { person, particulars } => {
            put("kind", kind("erasure"));
            (person, particulars)
        }
        ConsentVerb::Fact { person, facts, particulars } => {
            put("kind", kind("fact"));
            event.insert("facts".to_owned(), Value::Object(facts.into_iter().collect()));
            return Ok((person, particulars.put_into(event)));
        }
        ConsentVerb::Show { .. } | ConsentVerb::Import { .. } | ConsentVerb::Export => {
            return Err(CliError::Unusable("this verb records no event".to_owned()));
        }
    };
    Ok((person, particulars.put_into(event)))
}

impl ConsentArgs {
    fn put(self, put: &mut impl FnMut(&str, Option<String>)) -> (SubjectArgs, EventDetails) {
        let ConsentArgs { person, purpose, recipient, recipient_kind, particulars } = self;
        put("purpose", purpose.name());
        put("recipient", recipient);
        put("recipient-kind", recipient_kind);
        (person, particulars)
    }
}

impl PurposeArgs {
    fn name(self) -> Option<String> {
        self.purpose.or(self.by_name)
    }
}

impl EventDetails {
    pub(super) fn put_into(self, mut event: Map<String, Value>) -> Map<String, Value> {
        let EventDetails { at, notice, channel, evidence } = self;
        let at = at.map(|at| at.to_string());
        for (member, value) in [("at", at), ("notice", notice), ("channel", channel), ("evidence", evidence)]
        {
            if let Some(value) = value {
                event.insert(member.to_owned(), value.into());
            }
        }
        event
    }
}

fn show(
    person: &SubjectArgs,
    at: Option<Timestamp>,
    place: &LedgerLocation<'_>,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    let subject = subject(person, place)?;
    let shown =
        place.archive()?.show(&subject, at, Timestamp::now()).map_err(|error| unusable_error(&error))?;
    let Some(state) = shown else {
        return Err(CliError::Refused("the ledger has never heard of this subject".to_owned()).into());
    };
    serde_json::to_writer_pretty(&mut *out, &state).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(0)
}

fn export(place: &LedgerLocation<'_>, out: &mut dyn Write) -> Result<u8, VerbError> {
    let mut out = io::BufWriter::new(out);
    place.archive()?.export(|line| writeln!(out, "{line}")).map_err(|error| unusable_error(&error))??;
    out.flush()?;
    Ok(0)
}

fn import(
    file: &Path,
    keep_unknown_recipients: bool,
    place: &LedgerLocation<'_>,
    words: &mut dyn Write,
) -> Result<u8, VerbError> {
    let unreadable = |error: io::Error| CliError::Unusable(format!("{}: {error}", file.display()));
    // A pipe, by its path too, has no name: it can be read once.
    let mut batch = FILE_BATCH.to_owned();
    let mut lines: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let opened = File::open(file).map_err(unreadable)?;
        if opened.metadata().map_err(unreadable)?.is_file() {
            batch = format!("{FILE_BATCH}:{}", digest(file).map_err(unreadable)?);
        }
        Box::new(BufReader::new(opened))
    };
    let mut way = place.client()?;
    let mut count = ImportProgress::new();
    let mut said = Ok(());
    loop {
        let from = count.lines + 1;
        let (part, read) = read_chunk(&mut *lines).map_err(unreadable)?;
        if part.is_empty() {
            break;
        }
        count.lines += read;
        let mut tell = |line: u64, outcome: ledger_client::LineOutcome| {
            if let Err(error) = count.add(outcome) {
                said = std::mem::replace(&mut said, Ok(()))
                    .and_then(|()| writeln!(words, "line {line}: {error}"));
            }
        };
        way.import(&part, Batch { from, name: Some(&batch), keep_unknown_recipients }, &mut tell)?;
        count.progress(words)?;
    }
    said?;
    if count.without_effect > 0 {
        writeln!(words, "{} of those recorded changed nothing of what is in force", count.without_effect)?;
    }
    writeln!(words, "{count}")?;
    Ok(u8::from(count.rejected > 0))
}

/// Names a file by what is in it.
fn digest(file: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(file)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Some whole lines, and how many. A line that is longer than any event is cut, and so refused.
fn read_chunk(lines: &mut dyn BufRead) -> io::Result<(Vec<u8>, u64)> {
    let (mut part, mut read) = (Vec::new(), 0);
    let bound = ledger::MAX_EVENT_BYTES + 2 * MAX_ID_BYTES;
    while part.len() < CHUNK_BYTES {
        let begin = part.len();
        let got = (&mut *lines).take(bound as u64).read_until(b'\n', &mut part)?;
        if got == 0 {
            break;
        }
        read += 1;
        if part.last() != Some(&b'\n') {
            if part.len() - begin == bound {
                skip_line(lines)?;
            }
            part.push(b'\n');
        }
    }
    Ok((part, read))
}

fn skip_line(lines: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let read = lines.fill_buf()?;
        let end = read.iter().position(|byte| *byte == b'\n');
        let skip = end.map_or(read.len(), |at| at + 1);
        lines.consume(skip);
        if end.is_some() || skip == 0 {
            return Ok(());
        }
    }
}

/// How far an import is.
struct ImportProgress {
    lines: u64,
    recorded: u64,
    /// Of these: without effect.
    without_effect: u64,
    repeated: u64,
    rejected: u64,
    last_report: Instant,
}

impl ImportProgress {
    fn new() -> ImportProgress {
        ImportProgress {
            lines: 0,
            recorded: 0,
            without_effect: 0,
            repeated: 0,
            rejected: 0,
            last_report: Instant::now(),
        }
    }

    fn add(&mut self, outcome: ledger_client::LineOutcome) -> ledger_client::LineOutcome {
        match &outcome {
            Ok(ImportedLine { again: true, .. }) => self.repeated += 1,
            Ok(ImportedLine { again: false, changed }) => {
                self.recorded += 1;
                self.without_effect += u64::from(!changed);
            }
            Err(_) => self.rejected += 1,
        }
        outcome
    }

    fn progress(&mut self, words: &mut dyn Write) -> io::Result<()> {
        if self.last_report.elapsed() < PROGRESS_INTERVAL {
            return Ok(());
        }
        self.last_report = Instant::now();
        writeln!(words, "… {} lines", self.lines)
    }
}

impl std::fmt::Display for ImportProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ImportProgress {
            lines: _,
            recorded: new,
            without_effect: _,
            repeated: known,
            rejected: bad,
            last_report: _,
        } = self;
        write!(f, "{new} recorded, {known} recorded before, {bad} bad lines")
    }
}

/// A time as in RFC 3339, or a date: its beginning in UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let date = || match date::full_date(text)? {
        never if never.year() == 9999 => Some(Timestamp::MAX),
        date => Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()),
    };
    let time = date::expiry(text).or_else(date);
    time.ok_or_else(|| "write a time like 2026-11-21T09:30:00Z, or a date".to_owned())
}

/// `minor=true` as a name and a value; the ledger knows which names there are.
fn fact(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let value = match value {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "" | "unknown" => Value::Null,
        value => value.into(),
    };
    Ok((name.to_owned(), value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::keys::Keys;
    use crate::ledger::VocabularyTerms;

    #[derive(Parser)]
    struct ConsentCommand {
        #[command(subcommand)]
        verb: ConsentVerb,
    }

    struct TestLedger {
        folder: tempfile::TempDir,
    }

    impl TestLedger {
        fn new() -> TestLedger {
            TestLedger { folder: tempfile::tempdir().unwrap() }
        }

        /// The exit status, the answer and the words.
        fn run(&self, arguments: &str) -> (u8, String, String) {
            let arguments = ["consent"].into_iter().chain(arguments.split_whitespace());
            let verb =
                ConsentCommand::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).verb;
            let (ledger, keys) = (self.folder.path().join("ledger.db"), self.folder.path().join("keys"));
            let place = LedgerLocation {
                ledger: &ledger,
                keys: &keys,
                log: Path::new("/nowhere"),
                names: Arc::new(VocabularyTerms::standard()),
                recipients: vec![Arc::from("acme")],
                namespaces: ["default", "crm"].map(Arc::from).to_vec(),
                admin: "127.0.0.1:9".parse().unwrap(),
            };
            let (mut out, mut words) = (Vec::new(), Vec::new());
            let status = run(verb, &place, &mut out, &mut words).unwrap();
            (status, String::from_utf8(out).unwrap(), String::from_utf8(words).unwrap())
        }

        fn state(&self, subject: &str) -> Value {
            serde_json::from_str(&self.run(&format!("show {subject}")).1).unwrap()
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        <ConsentCommand as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn each_verb_records_its_event() {
        let desk = TestLedger::new();
        let (status, answer, _) = desk.run("give alice marketing --channel web");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((status, &answer["position"], &answer["durable"]), (0, &json!(1), &json!(true)));
        assert_eq!(desk.state("alice")["consents"], json!({"marketing": "given"}));
        for (arguments, pointer, expected) in [
            ("withdraw alice --purpose marketing", "/consents", json!({"marketing": "withdrawn"})),
            ("refuse alice survey --recipient acme", "/consents/survey:acme", json!("refused")),
            ("object alice analytics", "/objections", json!(["analytics"])),
            ("lift alice --objection analytics", "/objections", json!([])),
            ("opt-out alice acme", "/opt-outs", json!(["acme"])),
            ("lift alice --opt-out acme", "/opt-outs", json!([])),
            ("restrict alice", "/restricted", json!(true)),
            ("lift alice", "/restricted", json!(false)),
            ("fact alice region=EEA country=fr minor=true", "/minor", json!(true)),
            ("fact alice region=unknown", "/region", Value::Null),
            ("erase alice", "/erased", json!(true)),
        ] {
            let (status, _, words) = desk.run(arguments);
            assert_eq!(status, 0, "{arguments}: {words}");
            let state = desk.state("alice");
            assert_eq!(state.pointer(pointer).unwrap_or(&Value::Null), &expected, "{arguments}");
        }
        assert_eq!(desk.state("alice")["country"], "FR");
    }

    #[test]
    fn a_past_state_and_a_namespace() {
        let desk = TestLedger::new();
        desk.run("give alice marketing --at 2026-01-01 --namespace crm");
        desk.run("withdraw alice marketing --at 2026-03-01T00:00:00Z --namespace crm");
        let at = |time: &str| desk.run(&format!("show alice --namespace crm --at {time}"));
        assert!(at("2026-02-01").1.contains(r#""marketing": "given""#));
        let (status, answer, words) = at("2025-12-31");
        assert_eq!((status, answer.as_str()), (1, ""));
        assert!(words.contains("never heard"), "{words}");
        assert_eq!(desk.run("show alice").0, 1);
    }

    #[test]
    fn what_is_refused_and_what_cannot_be_used() {
        let desk = TestLedger::new();
        let (status, _, words) = desk.run("show alice");
        assert_eq!(status, 2, "no ledger yet: {words}");
        let (status, answer, words) = desk.run("give alice world-domination");
        assert_eq!((status, answer.as_str()), (1, ""));
        assert!(words.contains("`purpose` is not a purpose of the vocabulary"), "{words}");
        let (status, _, words) = desk.run("import /no/such/file");
        assert_eq!(status, 2);
        assert!(words.contains("/no/such/file"), "{words}");
        std::fs::remove_file(desk.folder.path().join("keys")).unwrap();
        let (status, _, words) = desk.run("give alice marketing");
        assert_eq!(status, 2, "{words}");
        assert!(words.contains("was written under one"), "{words}");
    }

    #[test]
    fn beside_a_process_without_an_admin_api_the_words_say_what_to_do() {
        let desk = TestLedger::new();
        desk.run("give alice marketing");
        let keys = Keys::open(&desk.folder.path().join("keys")).unwrap();
        let names = Arc::new(VocabularyTerms::standard());
        let held = ledger::Ledger::open(&desk.folder.path().join("ledger.db"), &keys, names).unwrap();
        let (status, _, words) = desk.run("withdraw alice marketing");
        assert_eq!(status, 2);
        assert!(words.contains("127.0.0.1:9") && words.contains("--admin"), "{words}");
        assert_eq!(desk.state("alice")["consents"], json!({"marketing": "given"}), "reading goes on");
        drop(held);
    }

    #[test]
    fn an_import_reports_bad_lines_by_number_and_can_be_started_again() {
        let desk = TestLedger::new();
        let file = desk.folder.path().join("events.ndjson");
        let good = |n: u64| format!(r#"{{"subject":"p{n}","kind":"consent-given","purpose":"marketing"}}"#);
        let long = format!(r#"{{"subject":"x","kind":"erasure","channel":"{}"}}"#, "y".repeat(40_000));
        let text = [good(1), String::new(), "nonsense".to_owned(), good(2), long, good(3)].join("\n");
        std::fs::write(&file, text).unwrap();
        let arguments = format!("import {}", file.display());
        let (status, answer, words) = desk.run(&arguments);
        assert_eq!((status, answer.as_str()), (1, ""));
        assert!(words.contains("line 3: not a JSON object") && words.contains("line 5: "), "{words}");
        assert!(words.ends_with("3 recorded, 0 recorded before, 2 bad lines\n"), "{words}");
        assert!(desk.run(&arguments).2.ends_with("0 recorded, 3 recorded before, 2 bad lines\n"));
        let (status, exported, _) = desk.run("export");
        assert_eq!((status, exported.lines().count()), (0, 3));
    }

    #[test]
    fn a_mended_import_grants_nothing_anew() {
        let desk = TestLedger::new();
        let file = desk.folder.path().join("events.ndjson");
        let arguments = format!("import {}", file.display());
        let given = r#"{"subject":"alice","kind":"consent-given","purpose":"marketing"}"#;
        let until = r#"{"subject":"alice","kind":"consent-given","purpose":"analytics","valid-until":"2099-01-01T00:00:00Z"}"#;
        let asked = r#"{"subject":"carl","kind":"request-received","right":"access"}"#;
        std::fs::write(&file, ["nonsense", given, until, asked, ""].join("\n")).unwrap();
        desk.run(&arguments);
        desk.run("withdraw alice marketing");
        desk.run("withdraw alice analytics");
        // Another line instead of the wrong one, and no line.
        let spaced = given.replace("\":", "\": ");
        for mended in [&[&given.replace("alice", "bob"), given, until][..], &[given, until], &[&spaced]] {
            std::fs::write(&file, mended.join("\n")).unwrap();
            desk.run(&arguments);
            let consents = desk.state("alice")["consents"].clone();
            assert_eq!(consents, json!({"marketing": "withdrawn", "analytics": "withdrawn"}));
        }
        assert_eq!(desk.state("bob")["consents"], json!({"marketing": "given"}));
        let region = r#"{"subject":"alice","kind":"fact","facts":{"region":"EEA"}}"#;
        for said in [Some("fact alice region=US"), None] {
            std::fs::write(&file, region).unwrap();
            desk.run(&arguments);
            assert_eq!(desk.state("alice")["region"], "EEA", "of facts the last one counts");
            said.map(|said| desk.run(said));
        }
        // Who asks again asks again.
        std::fs::write(&file, [asked, given].join("\n")).unwrap();
        assert!(desk.run(&arguments).2.ends_with("1 recorded, 1 recorded before, 0 bad lines\n"));
    }

    #[test]
    fn parts_end_with_lines() {
        let line = format!("{}\n", "x".repeat(9_999));
        let text = line.repeat(250);
        let mut reader = BufReader::new(text.as_bytes());
        let (mut lines, mut parts) = (0, 0);
        loop {
            let (part, read) = read_chunk(&mut reader).unwrap();
            if part.is_empty() {
                break;
            }
            assert_eq!(part.len() as u64, read * 10_000);
            (lines, parts) = (lines + read, parts + 1);
        }
        assert_eq!((lines, parts), (250, 3));
    }
}
