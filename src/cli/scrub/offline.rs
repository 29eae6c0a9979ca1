//! Scrubs a body offline, as a recipient would receive it for a purpose by a route's mapping.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{ScrubError, pump};
use crate::cli::findings;
use crate::cli::policy::facts_from_json;
use crate::config::Config;
use crate::decision::{
    Admitted, ClassId, Decisions, LegalReference, PathNames, Permit, RecordFacts, scenario,
};
use crate::document::Document;
use crate::exchange::ledger_policy::unknown_subject_for;
use crate::exchange::route::{OnWithheld, Route, RouteRequest, UnknownSubject};
use crate::finding::{Finding, suggestion_or_list};
use crate::policy::{Pack, versioning};
use crate::scrub::{Framing, JudgedRecord, Pseudonyms, RecordPolicy, Scrubber};
use crate::vocabulary::{Form, Operation};

/// The request whose answer is scrubbed.
pub(in crate::cli) struct OfflineRequest<'a> {
    pub(in crate::cli) route: &'a str,
    pub(in crate::cli) recipient: &'a str,
    pub(in crate::cli) purpose: &'a str,
    /// Facts about every person, as JSON; `None` if the ledger knows nobody.
    pub(in crate::cli) subject: Option<&'a str>,
}

pub(super) fn scrub(
    file: &Path,
    trial: &OfflineRequest<'_>,
    framing: Option<Framing>,
    input: impl Read,
    output: impl Write,
    note: impl FnOnce(&str),
) -> Result<(), ScrubError> {
    let config = findings::load(file).map_err(ScrubError::Findings)?;
    scrub_with(&config, trial, framing, input, output, note)
}

/// Scrubs by a configuration that is loaded.
///
/// # Errors
/// [`ScrubError`].
pub(in crate::cli) fn scrub_with(
    config: &Config,
    trial: &OfflineRequest<'_>,
    framing: Option<Framing>,
    mut input: impl Read,
    mut output: impl Write,
    note: impl FnOnce(&str),
) -> Result<(), ScrubError> {
    let route = find(config.routes.iter(), |route| &route.name, trial.route, "route")?;
    let scrubbing = route.scrubbing.as_ref();
    let scrubbing = scrubbing.ok_or_else(|| unknown("personal route", trial.route, None))?;
    let recipient =
        find(config.recipients.iter(), |recipient| &recipient.name, trial.recipient, "recipient")?;
    let now = Timestamp::now();
    let pack = pack_in_force(config, route, now)
        .ok_or_else(|| unknown("policy in force of route", trial.route, None))?;
    let vocabulary = pack.vocabulary();
    // Exchanges with others are enforced on every route.
    let is_own = vocabulary.is_own_organisation(recipient.in_agreement.kind);
    if let Some(until) = route.observe_until.filter(|_| is_own && route.observes(now)) {
        note(&format!(
            "the route `{}` is observed until {until}: the gateway lets answers leave as they come; this is what enforcing \
             would release",
            route.name
        ));
    }
    let purpose = vocabulary.declared_purpose(trial.purpose);
    let purpose = purpose
        .map_err(|_| unknown("purpose", trial.purpose, Some(vocabulary.purposes().hint(trial.purpose))))?;
    let known = trial.subject.map(|json| facts(pack, json, now)).transpose().map_err(ScrubError::Findings)?;
    let request = RouteRequest {
        recipient: Arc::clone(recipient.facts(now.to_zoned(TimeZone::UTC).date())),
        purpose,
        method: &route.default_method(),
        exporter_region: &config.exporter_region,
        legal_reference: LegalReference::None,
    };
    let asking = route.admission_request(vocabulary, request).map_err(ScrubError::Denied)?;
    let decisions = Decisions::new(Arc::clone(pack));
    let admitted = decisions.admit(&asking, &scrubbing.classes).map_err(ScrubError::Denied)?;
    let mut judge =
        OfflineJudge { admitted, known, unknown_subject: scrubbing.unknown_subject, now, withholds: false };
    if asking.operation != Operation::Disclose {
        let operation = decisions.admit_operation(&asking, &scrubbing.classes).map_err(ScrubError::Denied)?;
        if !judge.carries_out(&operation, asking.operation, route.path_names()) {
            return Err(ScrubError::Withheld);
        }
    }
    // The key of the pseudonyms is fixed, so they do not match those of a gateway.
    let forms = Pseudonyms::new([0; 32]).for_recipient(trial.recipient);
    // A person in the path of a request counts as every person in the input.
    let framing = framing.or(route.media_types.framing).unwrap_or_default();
    let mut scrubber = Scrubber::for_trial(Arc::clone(&scrubbing.plan), forms, scrubbing.limits, framing);
    let mut scrub = |input: &mut dyn Read, output: &mut dyn Write| {
        pump(input, output, |step, out| match step {
            Some(piece) => scrubber.feed(piece, &mut judge, out),
            None => scrubber.finish(&mut judge, out),
        })
    };
    let OnWithheld::Deny { max_body } = scrubbing.on_withheld else { return scrub(&mut input, &mut output) };
    // An all-or-nothing answer: the output is held until the end.
    let mut whole = Vec::new();
    let mut bounded = input.take(max_body as u64 + 1);
    let scrubbed = match scrubbing.whole_body {
        Some(class) => {
            let read = bounded.read_to_end(&mut whole).map(drop).map_err(ScrubError::Read);
            read.and_then(|()| judge.permit_field(class))
        }
        None => scrub(&mut bounded, &mut whole),
    };
    if bounded.limit() == 0 {
        return Err(ScrubError::TooLong(max_body));
    }
    scrubbed?;
    if judge.withholds {
        return Err(ScrubError::Withheld);
    }
    output.write_all(&whole).map_err(ScrubError::Write)
}

fn pack_in_force<'c>(config: &'c Config, route: &Route, now: Timestamp) -> Option<&'c Arc<Pack>> {
    versioning::in_force(config.packs.get(route.pack)?, |pack| pack, now)
}

fn facts(pack: &Pack, json: &str, now: Timestamp) -> Result<scenario::ScenarioFacts, Vec<Finding>> {
    let source = facts_from_json("--subject-json", json)?;
    let document = Document::parse(&source);
    let facts = scenario::ScenarioReader::new(pack, &document, now).subject(document.root("the person"));
    let findings = document.into_findings();
    if findings.is_empty() { Ok(facts) } else { Err(findings) }
}

fn find<'a, T>(
    all: impl Iterator<Item = &'a Arc<T>>,
    name: impl Fn(&'a T) -> &'a Arc<str>,
    wanted: &str,
    what: &str,
) -> Result<&'a Arc<T>, ScrubError> {
    let mut known: Vec<&str> = Vec::new();
    for one in all {
        if **name(one) == *wanted {
            return Ok(one);
        }
        known.push(name(one));
    }
    Err(unknown(what, wanted, suggestion_or_list(wanted, known)))
}

fn unknown(what: &str, name: &str, hint: Option<String>) -> ScrubError {
    let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    ScrubError::Unknown(format!("there is no {what} `{name}` in the configuration{hint}"))
}

/// Decides as if every person in the input had the same facts.
struct OfflineJudge {
    admitted: Admitted,
    known: Option<scenario::ScenarioFacts>,
    unknown_subject: UnknownSubject,
    now: Timestamp,
    /// True if a field of a person was withheld that a rule could have released.
    withholds: bool,
}

impl OfflineJudge {
    /// True if the gateway calls the upstream for an operation other than `disclose`.
    fn carries_out(&self, admitted: &Admitted, operation: Operation, names: PathNames) -> bool {
        let nothing = scenario::ScenarioFacts::default();
        let about = self.known.as_ref().unwrap_or(&nothing);
        let known = self.known.as_ref().map(|known| &known.subject);
        let unknown = unknown_subject_for(operation, self.unknown_subject);
        admitted.carries_out_on(names, known, unknown, &about.controller, about.relationship, self.now)
    }

    /// Decides about a body that is one field of the person whom the path names.
    ///
    /// # Errors
    /// [`ScrubError::Withheld`] if it does not leave as it is.
    fn permit_field(&mut self, class: ClassId) -> Result<(), ScrubError> {
        let is_clear = self.person_permit(&RecordFacts::default()).form(class) == Form::Clear;
        is_clear.then_some(()).ok_or(ScrubError::Withheld)
    }

    fn person_permit(&self, facts: &RecordFacts) -> Permit {
        let nothing = scenario::ScenarioFacts::default();
        let about = self.known.as_ref().unwrap_or(&nothing);
        let known = self.known.as_ref().map(|known| &known.subject);
        let (controller, relationship) = (&about.controller, about.relationship);
        let facts = about.merged_record(facts);
        self.admitted.judge_person(known, self.unknown_subject, controller, &facts, relationship, self.now)
    }
}

impl RecordPolicy for OfflineJudge {
    fn record_permit(&mut self, record: &JudgedRecord<'_>) -> Permit {
        if record.subjects.is_none_or(<[_]>::is_empty) {
            return self.admitted.no_subject();
        }
        self.person_permit(record.facts)
    }

    fn document_permit(&mut self) -> Permit {
        self.admitted.no_subject()
    }

    fn account(&mut self, permit: &Permit, fields: &[u32]) {
        self.withholds |= (0..)
            .map(ClassId)
            .zip(fields)
            .any(|(class, fields)| *fields > 0 && self.admitted.withholds(class, permit.form(class)));
    }

    fn account_outside(&mut self, permit: &Permit, fields: &[u32]) {
        self.account(permit, fields);
    }
}
