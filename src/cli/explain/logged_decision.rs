//! Explains a decision of the disclosure log: the recorded reasons, and the changes that would release more.
//!
//! The log holds people as pseudonyms and none of their facts, so the changes follow from the recorded reasons and rules
//! alone.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;
use ulid::Ulid;

use super::CURRENT_LEDGER;
use super::explanation::{PolicyVersion, ReleaseExplanation};
use super::refusal::{self, ExplainedRequest, RefusalExplanation};
use super::request::pack_in_force;
use crate::assembly::logs;
use crate::cli::admin_client::{AdminServer, with_query};
use crate::cli::error::{CliError, unusable_error};
use crate::cli::findings::counted;
use crate::cli::ledger_location::LedgerLocation;
use crate::config::Config;
use crate::decision::{
    AdmissionRequest, Denial, LegalReference, Question, Reason, RecordFacts, RequiredChange, RequiredChanges,
    scenario,
};
use crate::disclosure::record::{CategoryDisclosure, ExchangeMode};
use crate::disclosure::{self, LogPlace, SearchEffort};
use crate::exchange::route::{Recipient, Route};
use crate::keys::Keys;
use crate::policy::{Pack, Rule};
use crate::vocabulary::{Basis, EEA, Form, Operation, PurposeId};

/// The explanation of a logged decision.
#[derive(Debug, Serialize)]
pub(super) struct LoggedExplanation {
    /// The record of the log, unchanged.
    record: Value,
    policy: DecidingPolicy,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<RefusalExplanation>,
    categories: Vec<LoggedCategory>,
    notes: Vec<String>,
}

/// The policy version that decided.
#[derive(Debug, Serialize)]
struct DecidingPolicy {
    revision: String,
    /// True if the configuration has this version, in force or not.
    loaded: bool,
    /// The version that the changes refer to.
    #[serde(skip_serializing_if = "Option::is_none")]
    explained_by: Option<PolicyVersion>,
}

/// An entry of the categories in the record.
#[derive(Debug, Serialize)]
struct LoggedCategory {
    category: String,
    fields: u64,
    #[serde(flatten)]
    release: ReleaseExplanation,
}

/// Explains a decision by a configuration. The record is that of the gateway `remote`, or else of the log. A gateway
/// is told the reason.
///
/// # Errors
/// [`CliError`] if the decision is unknown, or the log or the gateway cannot be read.
pub(super) fn explain(
    id: &str,
    config: &Config,
    location: &LedgerLocation<'_>,
    remote: Option<&AdminServer>,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<LoggedExplanation, CliError> {
    let id = parse_id(id)?;
    let record = match remote {
        Some(server) => fetch_record(&id, server, reason)?,
        None => read_record(&id, config, location, reason)?,
    };
    let record = record.ok_or_else(unknown)?;
    Ok(DecisionContext::of(&record, Some(config), now).explain(&record))
}

/// Explains a decision that a gateway knows, without its configuration.
///
/// # Errors
/// [`CliError`] if the decision is unknown, or the gateway does not answer.
pub(super) fn explain_record(
    id: &str,
    server: &AdminServer,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<LoggedExplanation, CliError> {
    let record = fetch_record(&parse_id(id)?, server, reason)?.ok_or_else(unknown)?;
    Ok(DecisionContext::of(&record, None, now).explain(&record))
}

fn parse_id(id: &str) -> Result<String, CliError> {
    Ulid::from_string(id).map(|id| id.to_string()).map_err(|_| {
        let words =
            "this is not the id of a decision, which has 26 letters and digits, as in `Data-Purpose-Applied`";
        CliError::Unusable(words.to_owned())
    })
}

fn unknown() -> CliError {
    CliError::Refused(
        "the log has no decision with this id, or no longer: see `[audit] retention`".to_owned(),
    )
}

fn fetch_record(id: &str, server: &AdminServer, reason: Option<&str>) -> Result<Option<Value>, CliError> {
    server.client()?.get_json(&with_query(format!("/v1/decisions/{id}"), &[("reason", reason)]))
}

/// Reads the record: from the gateway that writes the log, since the files may lack its end, or else from the files.
fn read_record(
    id: &str,
    config: &Config,
    location: &LedgerLocation<'_>,
    reason: Option<&str>,
) -> Result<Option<Value>, CliError> {
    let running = disclosure::in_use(location.log)
        .map_err(|error| CliError::Unusable(format!("{}: {error}", location.log.display())))?;
    if running && let Ok(Some(record)) = fetch_record(id, &location.admin, reason) {
        return Ok(Some(record));
    }
    // Without the keys, the logs can be read, and the tags of old ones are not checked.
    let keyed = Keys::open(location.keys)
        .and_then(|keys| logs::of_all_gateways(location.log, &config.audit.logs, &keys))
        .unwrap_or_default();
    let tags = |number: usize| keyed.get(number).and_then(|log| log.place().tags);
    let folders = [location.log].into_iter().chain(config.audit.logs.iter().map(|log| &*log.path));
    let index = Some(&*config.audit.index);
    let mut places =
        folders.enumerate().map(|(number, folder)| LogPlace { folder, index, tags: tags(number) });
    let Some(own) = places.next() else { return Ok(None) };
    disclosure::find_decision(own, running, places, id, SearchEffort::Exhaustive)
        .map(|found| found.map(|found| found.record))
        .map_err(|error| unusable_error(&error))
}

/// The parts of the current configuration that a record names. Without a configuration it has none of them.
struct DecisionContext<'c> {
    revision: String,
    has_config: bool,
    /// The pack with the revision of the record, or else the one in force.
    pack: Option<&'c Arc<Pack>>,
    is_loaded: bool,
    route: Option<&'c Arc<Route>>,
    recipient: Option<&'c Arc<Recipient>>,
    purpose: Option<PurposeId>,
    operation: Operation,
    exporter_region: Arc<str>,
    now: Timestamp,
}

fn text<'r>(record: &'r Value, member: &str) -> &'r str {
    record.get(member).and_then(Value::as_str).unwrap_or_default()
}

impl<'c> DecisionContext<'c> {
    fn of(record: &Value, config: Option<&'c Config>, now: Timestamp) -> DecisionContext<'c> {
        let revision = text(record, "policy").to_owned();
        let route = config
            .and_then(|config| config.routes.iter().find(|route| *route.name == *text(record, "route")));
        let named = |recipient: &&Arc<Recipient>| *recipient.name == *text(record, "recipient");
        let recipient = config.and_then(|config| config.recipients.iter().find(named));
        let of_then = config
            .and_then(|config| config.packs.iter().flatten().find(|pack| **pack.revision() == *revision));
        let of_today = || pack_in_force(config?, route.map_or(0, |route| route.pack), now);
        let pack = of_then.or_else(of_today);
        let purpose = pack.and_then(|pack| pack.vocabulary().purposes().find(text(record, "purpose")));
        DecisionContext {
            revision,
            has_config: config.is_some(),
            pack,
            is_loaded: of_then.is_some(),
            route,
            recipient,
            purpose,
            operation: Operation::parse(text(record, "operation")).unwrap_or(Operation::Disclose),
            exporter_region: config
                .map_or_else(|| Arc::from(EEA), |config| Arc::clone(&config.exporter_region)),
            now,
        }
    }

    /// Says what of the configuration is missing here.
    fn notes(&self, record: &Value) -> Vec<String> {
        if !self.has_config {
            let words = "without the configuration of the gateway only the reasons on record are shown: with --config also \
                         what would have to change";
            return vec![words.to_owned()];
        }
        let mut notes = Vec::new();
        if !self.is_loaded {
            let words = "the policy that decided is not loaded: the reasons are those of the record, and the changes \
                         follow from the current rules";
            notes.push(words.to_owned());
        }
        let missing = [
            ("route", self.route.is_none()),
            ("recipient", self.recipient.is_none()),
            ("purpose", self.purpose.is_none() && !text(record, "purpose").is_empty()),
        ];
        notes.extend(
            missing.into_iter().filter(|(_, is_missing)| *is_missing).map(|(what, _)| {
                format!("the configuration no longer has the {what} `{}`", text(record, what))
            }),
        );
        notes
    }

    fn explain(&self, record: &Value) -> LoggedExplanation {
        let mut notes = self.notes(record);
        if record.get("outcome").is_none_or(Value::is_null) {
            notes.push("the exchange has not ended".to_owned());
        }
        let would_refuse = record.pointer("/would/refused").and_then(Value::as_str);
        if text(record, "mode") == ExchangeMode::Observe.name() {
            let words = "the exchange was observed: everything left in clear, and this says what enforcing would have done";
            notes.push(words.to_owned());
        }
        let refused = text(record, "outcome").strip_prefix("refused:").or(would_refuse);
        let refused = refused.map(|code| self.refused(code, record));
        let listed = record.get("categories").and_then(Value::as_object).into_iter().flatten();
        let entries = listed.flat_map(|(name, entries)| {
            entries.as_array().into_iter().flatten().map(move |entry| (name, entry))
        });
        let categories: Vec<LoggedCategory> =
            entries.map(|(name, entry)| self.category(name, entry)).collect();
        if categories.iter().any(|category| category.release.form == Form::Removed) {
            let words = "the log does not hold the facts of the people: `consent show` prints them, and `explain --subject` \
                         what would leave now";
            notes.push(words.to_owned());
        }
        let policy = DecidingPolicy {
            revision: self.revision.clone(),
            loaded: self.is_loaded,
            explained_by: self.pack.map(|pack| PolicyVersion::of(pack)),
        };
        LoggedExplanation { record: record.clone(), policy, refused, categories, notes }
    }

    fn refused(&self, code: &str, record: &Value) -> RefusalExplanation {
        let factors = record.get("factors").and_then(Value::as_object).into_iter().flatten();
        let refuses =
            |factor: &str| factors.clone().any(|(name, value)| name == factor && value == "refuses");
        let is_hidden = code == "not-found" && self.route.is_some_and(|route| route.hide_existence);
        if code == "subject-withheld" || is_hidden {
            let why = "data of a person were withheld, so the whole answer was withheld or the operation not carried out";
            return refusal::whole_answer(is_hidden, why, RequiredChanges::default());
        }
        let (Some(denial), Some(request)) = (Denial::parse(code), self.request()) else {
            return refusal::other_refusal(code);
        };
        if denial == Denial::PurposeNotPermitted && refuses("credential") {
            return refusal::locked_credential(code);
        }
        let by_route =
            request.route_refusal().filter(|_| denial == Denial::PurposeNotPermitted && refuses("route"));
        by_route.unwrap_or_else(|| request.admission_refusal(denial))
    }

    fn request(&self) -> Option<ExplainedRequest<'c>> {
        Some(ExplainedRequest {
            pack: self.pack?,
            route: self.route?,
            recipient: self.recipient?,
            purpose: self.purpose?,
            operation: self.operation,
            case_status: None,
        })
    }

    /// Explains an entry of the categories: of an observed exchange, what enforcing would have done.
    fn category(&self, name: &str, entry: &Value) -> LoggedCategory {
        let fields = entry.get("fields").and_then(Value::as_u64).unwrap_or(0);
        let entry = entry.get("would").unwrap_or(entry);
        let names = |member: &str| -> Vec<String> {
            let listed = entry.get(member).and_then(Value::as_array).into_iter().flatten();
            listed.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let form = Form::parse(text(entry, "form")).unwrap_or(Form::Removed);
        let basis = Basis::ALL.iter().find(|basis| basis.name() == text(entry, "basis"));
        let reason = Reason::parse(text(entry, "reason"));
        let rules = names("rules");
        let changes = match form {
            Form::Removed => self.changes(name, reason, &rules),
            Form::Clear | Form::Masked | Form::Generalised | Form::Pseudonymised => {
                RequiredChanges::default()
            }
        };
        let why = ReleaseExplanation {
            form,
            basis: basis.map(|basis| basis.name()),
            reason: reason.map(Reason::name),
            rules,
            clauses: names("clauses"),
            nearest: Vec::new(),
            changes,
        };
        LoggedCategory { category: name.to_owned(), fields, release: why }
    }

    fn changes(&self, category: &str, reason: Option<Reason>, rules: &[String]) -> RequiredChanges {
        let Some(reason) = reason else { return RequiredChanges::default() };
        match reason {
            Reason::Unclassified => {
                RequiredChanges::one("mapping", "a category for the fields in the route's `fields`")
            }
            Reason::NoSubject => {
                let first = RequiredChange::new("subject", "a record whose subject can be read");
                self.changes_to_permits(category).preceded_by(&first)
            }
            Reason::UnknownSubject => {
                let first = RequiredChange::new(
                    "person",
                    "an event about the person in the ledger, other than a refusal",
                );
                self.changes_to_permits(category).preceded_by(&first)
            }
            Reason::Unreadable => RequiredChanges::one("record", "a record whose mapped facts can be read"),
            Reason::Refused => {
                let purpose = self
                    .purpose
                    .zip(self.pack)
                    .map_or("the purpose", |(purpose, pack)| pack.vocabulary().purposes().name(purpose));
                RequiredChanges::one(
                    "refusal",
                    format!(
                        "a new consent of the person to `{purpose}`, or their objection, opt-out or refusal of `{category}` lifted"
                    ),
                )
            }
            Reason::Prohibited => self.changes_to_prohibitions(rules),
            Reason::NoRule => self.changes_to_permits(category),
            Reason::Stale => RequiredChanges::one("ledger", CURRENT_LEDGER),
        }
    }

    /// Returns the facts under which the recorded prohibitions do not apply.
    fn changes_to_prohibitions(&self, names: &[String]) -> RequiredChanges {
        let mut together = Vec::new();
        for name in names {
            let rules = self.pack.map_or(&[][..], |pack| pack.rulebook().rules());
            let rule: Option<&Rule> = rules.iter().find(|rule| *rule.id == **name);
            let Some(rule) = rule else {
                together.push(RequiredChange::new(
                    "rule",
                    format!("`{name}`, which the current policy does not have"),
                ));
                continue;
            };
            if rule.conditions().is_empty() {
                return RequiredChanges::never(format!(
                    "the prohibition `{name}` applies whatever the facts"
                ));
            }
            let conditions: Vec<&str> =
                rule.conditions().iter().map(|condition| condition.text.as_str()).collect();
            let words = format!("the facts under which `{name}` forbids it: {}", conditions.join(" and "));
            together.push(RequiredChange::new("facts", words));
        }
        let alternatives = if together.is_empty() { Vec::new() } else { vec![together] };
        RequiredChanges { alternatives, never: None }
    }

    /// Returns the facts that permit rules require, for a person without any fact.
    fn changes_to_permits(&self, category: &str) -> RequiredChanges {
        let (Some(pack), Some(recipient), Some(purpose)) = (self.pack, self.recipient, self.purpose) else {
            return RequiredChanges::default();
        };
        let Some(category) = pack.vocabulary().categories().find(category) else {
            return RequiredChanges::default();
        };
        let asking = AdmissionRequest {
            recipient: Arc::clone(recipient.facts(self.now.to_zoned(TimeZone::UTC).date())),
            purpose,
            operation: Operation::Disclose,
            exporter_region: Arc::clone(&self.exporter_region),
            upstream_backup: self.route.is_some_and(|route| route.upstream_is_backup),
            legal_reference: LegalReference::None,
        };
        let (about, record) = (scenario::ScenarioFacts::default(), RecordFacts::default());
        let question = Question { pack, request: &asking, facts: &about, record: &record, now: self.now };
        question.explain_class(&[category]).1
    }
}

impl LoggedExplanation {
    pub(super) fn to_text(&self) -> String {
        let LoggedExplanation { record, policy, refused, categories, notes } = self;
        let or_none = |member: &str| match text(record, member) {
            "" => "-",
            value => value,
        };
        let number = |member: &str| record.get(member).and_then(Value::as_u64).unwrap_or(0);
        let people = record.get("subjects").and_then(Value::as_array).map_or(0, Vec::len);
        let mut text = format!(
            "decision {} of {}: `{}` asked the route `{}` for `{}` ({})\n",
            or_none("decision"),
            or_none("time"),
            or_none("recipient"),
            or_none("route"),
            or_none("purpose"),
            or_none("operation"),
        );
        let outcome = record.get("outcome").and_then(Value::as_str).unwrap_or("under way");
        let records = counted(usize::try_from(number("records")).unwrap_or(usize::MAX), "record");
        let people = if people == 1 { "1 person".to_owned() } else { format!("{people} people") };
        let _ = writeln!(text, "{outcome}: {records}, {} withheld, {people}", number("withheld_records"));
        let short = policy.revision.get(..12).unwrap_or(&policy.revision);
        let loaded = if policy.loaded { "which is loaded" } else { "which is not loaded" };
        let _ = writeln!(text, "policy revision {short}, {loaded}");
        let factors = record.get("factors").and_then(Value::as_object).into_iter().flatten();
        let factors: Vec<String> =
            factors.filter_map(|(name, value)| Some(format!("{name} {}", value.as_str()?))).collect();
        if !factors.is_empty() {
            let _ = writeln!(text, "factors: {}", factors.join(", "));
        }
        if let Some(refused) = refused {
            refused.write(&mut text);
        }
        for LoggedCategory { category, fields, release: why } in categories {
            let fields = counted(usize::try_from(*fields).unwrap_or(usize::MAX), "field");
            let category =
                if category == CategoryDisclosure::UNCLASSIFIED { "unclassified fields" } else { category };
            why.write(&mut text, &format!("{category} ({fields})"));
        }
        for note in notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}
