//! Explains a request as if it were made now: resolves the names in the arguments, and lists the refusals.
//!
//! After each refusal the explanation assumes that it is avoided and continues, so that all refusals are reported at
//! once.

use std::sync::Arc;

use http::Method;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::QuestionArgs;
use super::decision_recorder::DecisionRecorder;
use super::explanation::{PolicyVersion, RequestExplanation};
use super::fields::{AnswerExplainer, ExplainedRecords};
use super::ledger_facts::LedgerFacts;
use super::record_file;
use super::refusal::{self, ExplainedRequest, RefusalExplanation};
use crate::assembly::notice;
use crate::cli::error::CliError;
use crate::cli::ledger_location::LedgerLocation;
use crate::config::Config;
use crate::decision::{
    AdmissionRequest, Admitted, Classes, Decisions, Denial, PathNames, Question, RecipientFacts, RecordFacts,
    Relationship, RequiredChange, RequiredChanges, UnknownSubject, scenario,
};
use crate::disclosure;
use crate::exchange::caller::Identity;
use crate::exchange::ledger_policy::{legal_reference, unknown_subject_for};
use crate::exchange::route::{Recipient, Route, RouteRequest, Scrubbing};
use crate::finding::{suggestion, suggestion_or_list};
use crate::ledger::{self, Case};
use crate::policy::{Pack, versioning};
use crate::scrub::{RecordMapping, SubjectSource};
use crate::vocabulary::{Operation, SubjectId};

pub(super) fn explain(
    asked: &QuestionArgs,
    config: &Config,
    location: &LedgerLocation<'_>,
    now: Timestamp,
) -> Result<RequestExplanation, CliError> {
    let (route, of_path) = route(asked, config)?;
    let recipient = recipient(asked.recipient.as_deref().unwrap_or_default(), config)?;
    let pack = pack_in_force(config, route.pack, now).ok_or_else(|| {
        CliError::Unusable(format!("no version of the policy of the route `{}` is in force", route.name))
    })?;
    let vocabulary = pack.vocabulary();
    let declared = asked.purpose.as_deref().unwrap_or_default();
    let purpose = vocabulary
        .declared_purpose(declared)
        .map_err(|_| unknown("purpose", declared, Some(vocabulary.purposes().hint(declared))))?;
    let method = method(asked, &route)?;
    let knowledge = LedgerFacts::open(location)?;
    let case = asked.case.as_deref().map(|id| knowledge.case(id)).transpose()?.flatten();
    let serves = |case: &&Case| case.serves(&recipient.name, purpose, &*location.names, now);
    let mut facts = RecipientFacts::clone(recipient.facts(now.to_zoned(TimeZone::UTC).date()));
    facts.suspended |= knowledge.is_suspended(&recipient.name)?;
    // The route is asked below, so that this refusal is one of several.
    let asking = route.assumed_admission_request(RouteRequest {
        recipient: Arc::new(facts),
        purpose,
        method: &method,
        exporter_region: &config.exporter_region,
        legal_reference: legal_reference(case.as_ref().filter(serves)),
    });
    let cited = asked.case.as_ref().map(|_| case_status(case.as_ref(), &recipient.name, now));
    let request = ExplainedRequest {
        pack,
        route: &route,
        recipient,
        purpose,
        operation: asking.operation,
        case_status: cited,
    };
    let named = Parties::read(asked, of_path, &route, recipient, pack, location)?;
    let explainer = RequestExplainer {
        arguments: asked,
        pack,
        knowledge: &knowledge,
        request,
        parties: named,
        case: case.as_ref(),
        method,
        now,
    };
    let mut explanation = explainer.explain(asking)?;
    let refused = notice::check(&knowledge.policies()?, config, now);
    explanation.notes.extend(observation(&route, recipient, pack, now));
    explanation.notes.extend(different_running_policy(location, pack, refused.is_empty()));
    explanation.notes.extend(refused.iter().map(|finding| {
        format!("these policies do not come into force: {}: {}", finding.code(), finding.line())
    }));
    Ok(explanation)
}

/// Returns a note if the request would be observed.
fn observation(route: &Route, recipient: &Recipient, pack: &Pack, now: Timestamp) -> Option<String> {
    let until = route.observe_until.filter(|_| route.observes(now))?;
    pack.vocabulary().is_own_organisation(recipient.in_agreement.kind).then(|| {
        format!(
            "the route `{}` is observed until {until}: everything leaves in clear, and what this says is recorded beside it",
            route.name
        )
    })
}

/// Returns a note if the running gateway decides by another policy than the files have. Without an answer of a gateway there
/// is no note.
fn different_running_policy(
    location: &LedgerLocation<'_>,
    pack: &Pack,
    reload_suffices: bool,
) -> Option<String> {
    disclosure::in_use(location.log).ok().filter(|running| *running)?;
    let client = location.admin.client().ok()?;
    let loaded: Vec<Value> = client.read_json(&client.get("/v1/policies").ok()??).ok()?;
    let decides = |version: &Value| {
        version.get("in_force") == Some(&Value::Bool(true))
            && version.get("revision").and_then(Value::as_str) == Some(&**pack.revision())
    };
    let note = "the running gateway does not decide by this revision of the policy";
    let note =
        if reload_suffices { format!("{note}: a reload brings it into force") } else { note.to_owned() };
    (!loaded.iter().any(decides)).then_some(note)
}

/// Returns the pack in force on a route.
pub(super) fn pack_in_force(config: &Config, at: usize, now: Timestamp) -> Option<&Arc<Pack>> {
    versioning::in_force(config.packs.get(at)?, |pack| pack, now)
}

/// Finds the route of a name, a pattern or a path. Also returns the person's id in the path, if it has one.
fn route(asked: &QuestionArgs, config: &Config) -> Result<(Arc<Route>, Option<String>), CliError> {
    let wanted = asked.route.as_deref().unwrap_or_default();
    let method = asked.method.as_deref().and_then(|name| name.to_ascii_uppercase().parse::<Method>().ok());
    let serves = |route: &Arc<Route>| method.as_ref().is_none_or(|method| route.methods.contains(method));
    let by_name = config.routes.iter().find(|route| *route.name == *wanted);
    let by_pattern = || config.routes.iter().find(|route| route.pattern == wanted && serves(route));
    if let Some(route) = by_name.or_else(by_pattern) {
        return Ok((Arc::clone(route), None));
    }
    let methods = match &method {
        Some(method) => vec![method.clone()],
        None => vec![Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE],
    };
    if let Some(found) = methods.iter().find_map(|method| config.routes.find(wanted, method).ok()) {
        let mut named = found.parameters.iter().filter(|(name, _)| {
            subject_sources(&found.route).any(|source| path_parameter(&source.path) == Some(name.as_str()))
        });
        return Ok((Arc::clone(&found.route), named.next().map(|(_, value)| value.clone())));
    }
    let known = config.routes.iter().flat_map(|route| [&*route.name, route.pattern.as_str()]);
    Err(unknown("route", wanted, suggestion(wanted, known)))
}

fn recipient<'c>(name: &str, config: &'c Config) -> Result<&'c Arc<Recipient>, CliError> {
    let found = config.recipients.iter().find(|recipient| *recipient.name == *name);
    found.ok_or_else(|| {
        unknown(
            "recipient",
            name,
            suggestion_or_list(name, config.recipients.iter().map(|known| &*known.name)),
        )
    })
}

/// Returns the method of the request: the one in the arguments, or else that of a request for which none is given.
fn method(asked: &QuestionArgs, route: &Route) -> Result<Method, CliError> {
    let Some(given) = asked.method.as_deref() else { return Ok(route.default_method()) };
    let served = route.methods.iter().find(|method| method.as_str().eq_ignore_ascii_case(given));
    served.cloned().ok_or_else(|| {
        let names: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
        CliError::Unusable(format!(
            "the route `{}` does not serve {given}: it serves {}",
            route.name,
            names.join(", ")
        ))
    })
}

fn unknown(what: &str, name: &str, hint: Option<String>) -> CliError {
    let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
    CliError::Unusable(format!("there is no {what} `{name}` in the configuration{hint}"))
}

/// Describes why a cited case does not apply.
fn case_status(case: Option<&Case>, recipient: &str, now: Timestamp) -> &'static str {
    match case {
        None => "is not registered",
        Some(case) if !case.is_in_force(now) => "is not in force",
        Some(case) if *case.recipient != *recipient => "is for another recipient",
        Some(_) => "is for another purpose",
    }
}

fn record_mappings(route: &Route) -> &[RecordMapping] {
    route.mapping().map_or(&[], |mapped| &mapped.records)
}

fn subject_sources(route: &Route) -> impl Iterator<Item = &SubjectSource> {
    record_mappings(route).iter().flat_map(|set| &set.subjects)
}

fn controller_sources(route: &Route) -> impl Iterator<Item = &SubjectSource> {
    record_mappings(route).iter().flat_map(|set| &set.controller)
}

/// Returns the name of the path parameter that an id is read from.
fn path_parameter(path: &str) -> Option<&str> {
    path.strip_prefix('{')?.strip_suffix('}')
}

/// The people and accounts in the arguments.
struct Parties {
    subject: Option<SubjectId>,
    controller: Option<SubjectId>,
    /// The path parameters of the request.
    parameters: Vec<(String, String)>,
    /// The identity of the requester, if the recipient is a person or an account.
    asker: Identity,
}

impl Parties {
    fn read(
        asked: &QuestionArgs,
        of_path: Option<String>,
        route: &Route,
        recipient: &Recipient,
        pack: &Pack,
        location: &LedgerLocation<'_>,
    ) -> Result<Parties, CliError> {
        let spelled = asked.subject.clone().or(of_path);
        if let Some(namespace) = &asked.namespace
            && !location.namespaces.iter().any(|known| **known == **namespace)
        {
            let known = location.namespaces.iter().map(|known| &**known);
            return Err(unknown("namespace", namespace, suggestion(namespace, known)));
        }
        let read = |spelled: &str, source: Option<&SubjectSource>, namespace: Option<&str>| {
            let misfit = |why: &dyn std::fmt::Display| CliError::Unusable(format!("the id {why}"));
            match source.filter(|_| namespace.is_none()) {
                Some(source) => source.ids.read(spelled).map_err(|_| misfit(&"does not fit its namespace")),
                None => ledger::person(spelled, namespace, &*location.names).map_err(|error| misfit(&error)),
            }
        };
        let namespace = asked.namespace.as_deref();
        let subject =
            spelled.as_deref().map(|id| read(id, subject_sources(route).next(), namespace)).transpose()?;
        let account = asked.controller.as_deref();
        let controller = account.map(|id| read(id, controller_sources(route).next(), None)).transpose()?;
        let of = |sources: Vec<&SubjectSource>, value: Option<&str>| {
            let names: Vec<String> =
                sources.iter().filter_map(|source| path_parameter(&source.path)).map(str::to_owned).collect();
            names.into_iter().zip(std::iter::repeat(value.map(str::to_owned)))
        };
        let of_subjects = of(subject_sources(route).collect(), spelled.as_deref());
        let of_controllers = of(controller_sources(route).collect(), account);
        let parameters = of_subjects.chain(of_controllers).filter_map(|(name, value)| Some((name, value?)));
        let kinds = pack.vocabulary().kinds();
        let is =
            |name: &str| kinds.find(name).is_some_and(|kind| kinds.within(recipient.in_agreement.kind, kind));
        let asker = Identity {
            subject: subject.clone().filter(|_| is("data-subject")),
            controller: controller.clone().filter(|_| is("customer-administrator")),
            actor: None,
        };
        Ok(Parties { subject, controller, parameters: parameters.collect(), asker })
    }
}

/// Explains one request.
struct RequestExplainer<'a> {
    arguments: &'a QuestionArgs,
    pack: &'a Arc<Pack>,
    knowledge: &'a LedgerFacts,
    request: ExplainedRequest<'a>,
    parties: Parties,
    case: Option<&'a Case>,
    method: Method,
    now: Timestamp,
}

impl RequestExplainer<'_> {
    fn explain(&self, asking: AdmissionRequest) -> Result<RequestExplanation, CliError> {
        let ExplainedRequest { route, recipient, purpose, operation, .. } = self.request;
        let vocabulary = self.pack.vocabulary();
        let mut explanation = RequestExplanation {
            route: route.name.to_string(),
            method: self.method.to_string(),
            path: route.pattern.clone(),
            recipient: recipient.name.to_string(),
            kind: vocabulary.kinds().name(recipient.in_agreement.kind).to_owned(),
            purpose: vocabulary.purposes().name(purpose).to_owned(),
            operation: operation.name(),
            policy: PolicyVersion::of(self.pack),
            refused: Vec::new(),
            records: Vec::new(),
            outside: Vec::new(),
            notes: Vec::new(),
        };
        let decisions = Decisions::new(Arc::clone(self.pack));
        let (scrubbing, classes) = (route.scrubbing.as_ref(), route.classes());
        explanation.refused.extend(self.request.route_refusal());
        let (asking, admitted) = self.admit(&decisions, asking, classes, &mut explanation.refused);
        self.add_assumption_notes(&mut explanation.notes);
        let Some(admitted) = admitted else { return Ok(explanation) };
        if asking.operation != Operation::Disclose
            && let Ok(admitted) = decisions.admit_operation(&asking, classes)
        {
            explanation.refused.extend(self.operation_refusal(&admitted, &asking, classes)?);
        }
        match scrubbing {
            Some(scrubbing) => self.explain_answer(scrubbing, &admitted, &asking, &mut explanation)?,
            None => explanation.notes.push("the route is not personal: its answers pass unread".to_owned()),
        }
        Ok(explanation)
    }

    /// Requests admission until it is granted. Each refusal is recorded, and avoided in the next request.
    fn admit(
        &self,
        decisions: &Decisions,
        mut asking: AdmissionRequest,
        classes: &Classes,
        refused: &mut Vec<RefusalExplanation>,
    ) -> (AdmissionRequest, Option<Admitted>) {
        for _ in 0..=Denial::ALL.len() {
            match decisions.admit(&asking, classes) {
                Ok(admitted) => return (asking, Some(admitted)),
                Err(denial) => {
                    refused.push(self.request.admission_refusal(denial));
                    match asking.without_obstacle(denial) {
                        Some(better) => asking = better,
                        None => return (asking, None),
                    }
                }
            }
        }
        (asking, None)
    }

    fn explain_answer(
        &self,
        scrubbing: &Scrubbing,
        admitted: &Admitted,
        asking: &AdmissionRequest,
        explanation: &mut RequestExplanation,
    ) -> Result<(), CliError> {
        let case_is_assumed =
            explanation.refused.iter().any(|refused| refused.code == Denial::LegalReferenceMissing.name());
        let mut recorder = DecisionRecorder {
            admitted,
            knowledge: self.knowledge,
            asker: &self.parties.asker,
            named_subject: self.parties.subject.as_ref(),
            unknown_subject: scrubbing.unknown_subject,
            case: self.case,
            case_is_assumed,
            now: self.now,
            decisions: Vec::new(),
            outside: Vec::new(),
            error: None,
        };
        match &self.arguments.record {
            Some(file) => {
                let parameters = self.parties.parameters.iter();
                let parameters: Vec<(&str, &str)> =
                    parameters.map(|(name, value)| (name.as_str(), value.as_str())).collect();
                record_file::read(file, self.request.route, scrubbing, &parameters, &mut recorder)?;
            }
            None => {
                for (set, mapping) in scrubbing.records.iter().enumerate() {
                    match mapping.subjects.is_empty() {
                        true => recorder.judge_without_subject(set),
                        false => {
                            let Parties { subject, controller, .. } = &self.parties;
                            recorder.judge_assumed(set, subject.as_ref(), controller.as_ref());
                        }
                    }
                }
            }
        }
        if let Some(error) = recorder.error.take() {
            return Err(error);
        }
        let DecisionRecorder { decisions: seen, outside, .. } = recorder;
        let answer = AnswerExplainer { pack: self.pack, asking, scrubbing, admitted, now: self.now };
        let ExplainedRecords { records, others } =
            answer.explain_records(seen, self.arguments.record.is_some());
        explanation.records = records;
        explanation.outside = answer.explain_outside(&outside, self.arguments.record.is_some());
        if others > 0 {
            explanation.notes.push(format!("{others} more records of the file are about other people"));
        }
        let withheld = explanation
            .records
            .iter()
            .flat_map(|record| &record.fields)
            .find(|field| field.withheld_for_subject);
        if let Some(field) = withheld.filter(|_| scrubbing.is_all_or_nothing()) {
            let why = "the route releases an answer as a whole or not at all, and a field of it is withheld";
            let hides = self.request.route.hide_existence;
            explanation.refused.push(refusal::whole_answer(hides, why, field.release.changes.clone()));
        }
        Ok(())
    }

    /// Returns the refusal of an operation that the facts of the person or account in the path do not permit.
    fn operation_refusal(
        &self,
        admitted: &Admitted,
        asking: &AdmissionRequest,
        classes: &Classes,
    ) -> Result<Option<RefusalExplanation>, CliError> {
        let route = self.request.route;
        let named = route.path_names();
        let Parties { subject, controller, asker, .. } = &self.parties;
        let account = controller.as_ref().filter(|_| named.controller);
        let known_account = account.map(|id| self.knowledge.controller(id)).transpose()?.flatten();
        let own_account = account.is_some() && asker.controller.as_ref() == account;
        let known_account = known_account.unwrap_or_default();
        let known = subject.as_ref().map(|id| self.knowledge.subject(id)).transpose()?.flatten();
        let is_unknown = subject.is_some() && known.as_ref().is_none_or(|known| known.only_refusals);
        let of_route = route.mapping().map_or(UnknownSubject::Withhold, |mapped| mapped.unknown_subject);
        let unknown = unknown_subject_for(asking.operation, of_route);
        let about = scenario::ScenarioFacts {
            subject: known.clone().unwrap_or_default(),
            controller: known_account,
            record: RecordFacts::default(),
            relationship: Relationship {
                subject_is_recipient: subject.is_some() && asker.subject == *subject,
                controller_is_recipient: own_account,
                named_in_case: false,
            },
        };
        let scenario::ScenarioFacts { subject: state, controller, record, relationship } = &about;
        let state = match subject {
            Some(_) => known.as_ref(),
            None => Some(state),
        };
        // An account that the arguments do not name counts as none.
        let names = PathNames { controller: account.is_some(), ..named };
        if admitted.carries_out_on(names, state, unknown, controller, *relationship, self.now) {
            return Ok(None);
        }
        let why =
            format!("`{}` is not carried out on the person or account in the path", asking.operation.name());
        let hides = route.hide_existence;
        if !named.subject {
            let changes = RequiredChanges::one("route", "a path that names the person or the account");
            return Ok(Some(refusal::whole_answer(hides, &why, changes)));
        }
        let question = Question { pack: self.pack, request: asking, facts: &about, record, now: self.now };
        let changes = question.explain_operation(classes.sets());
        let first =
            RequiredChange::new("person", "an event about the person in the ledger, other than a refusal");
        let needs_person = is_unknown && unknown == UnknownSubject::Withhold;
        let changes = if needs_person { changes.preceded_by(&first) } else { changes };
        Ok(Some(refusal::whole_answer(hides, &why, changes)))
    }

    /// Adds notes about assumptions that replace missing arguments.
    fn add_assumption_notes(&self, notes: &mut Vec<String>) {
        let ExplainedRequest { route, operation, .. } = self.request;
        if !self.knowledge.exists() {
            notes.push("there is no ledger yet, so nobody is known".to_owned());
        }
        // An answer that passes unread does not depend on a person.
        let passes_unread = route.scrubbing.is_none() && operation == Operation::Disclose;
        if self.arguments.record.is_some() || passes_unread {
            return;
        }
        if self.parties.subject.is_none() && subject_sources(route).next().is_some() {
            notes.push(
                "no person is given (--subject, --record): a known person without any choice is assumed"
                    .to_owned(),
            );
        }
        let facts: Vec<&str> =
            record_mappings(route).iter().flat_map(|set| &set.facts).map(|(_, path)| path.as_str()).collect();
        if route.scrubbing.is_some() && !facts.is_empty() {
            let facts = facts.join("`, `");
            notes.push(format!("the record's facts at `{facts}` count as well; --record reads them"));
        }
        let account = controller_sources(route).next().filter(|_| self.parties.controller.is_none());
        if let Some(source) = account {
            notes.push(format!(
                "the account is read from `{}`; without --record or --controller, an account without instructions is assumed",
                source.path
            ));
        }
    }
}
