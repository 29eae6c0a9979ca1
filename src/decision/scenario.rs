//! Scenarios: a recipient, a purpose, a person, and what is expected to leave.
//!
//! The same engine as the gateway's decides; the facts come from the scenario's words. Invariant: a
//! word that is not understood is a finding, never a default.

mod reader;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::admission::{AdmissionRequest, Denial, LegalReference, RecipientFacts};
use super::admitted::{Admitted, Decisions};
use super::classes::Classes;
use super::facts::{Relationship, RetentionPeriods};
use super::subject::{Controller, Extracted, RecordFacts, Subject};
use crate::document::Document;
use crate::finding::{Finding, Source};
use crate::policy::{Pack, Rule, retention};
use crate::vocabulary::{CategoryId, EEA, Form, Vocabulary};

/// One test of a pack.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    pub clause: String,
    request: AdmissionRequest,
    facts: ScenarioFacts,
    /// How long categories are kept, where the file says so.
    retention: Option<RetentionPeriods>,
    expected: ExpectedResult,
    /// Whether an operation other than `disclose` is expected to reach the upstream.
    carried_out: Option<bool>,
}

/// The person, the controller, the record, and whether the recipient is one of them.
#[derive(Clone, Debug, Default)]
pub struct ScenarioFacts {
    pub subject: Subject,
    pub controller: Controller,
    /// What the record says of itself: its age.
    pub record: RecordFacts,
    pub relationship: Relationship,
}

impl ScenarioFacts {
    /// Somebody in the EEA of whom nothing is known.
    pub fn unremarkable() -> ScenarioFacts {
        let subject = Subject { region: Some(Arc::from(EEA)), ..Subject::default() };
        ScenarioFacts { subject, ..ScenarioFacts::default() }
    }

    /// The facts of a record: what it says of itself, and its age where only these say it.
    pub fn merged_record(&self, read: &RecordFacts) -> RecordFacts {
        let created = if read.created == Extracted::Absent { self.record.created } else { read.created };
        RecordFacts { created, ..read.clone() }
    }
}

#[derive(Clone, Debug)]
enum ExpectedResult {
    Refused(Denial),
    /// Each field's categories with the forms that are accepted; none where only `carried-out` is expected.
    Forms(Vec<(Vec<CategoryId>, Vec<Form>)>),
}

/// Where a scenario and the pack part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmetExpectation {
    /// The field's categories, `refused` or `carried-out`.
    pub what: String,
    pub expected: String,
    pub got: String,
}

impl fmt::Display for UnmetExpectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.what, self.expected, self.got)
    }
}

/// The instant that scenarios play at. Nothing in them depends on which it is.
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

impl Scenario {
    /// Reads a file of scenarios for a pack.
    ///
    /// # Errors
    /// Everything that is not understood, all at once.
    pub fn read(source: &Source, pack: &Pack) -> Result<Vec<Scenario>, Vec<Finding>> {
        let document = Document::parse(source);
        let mut root = document.root("a file of scenarios");
        let stated = root.item("retention").is_some();
        let periods = retention(&mut root, pack.vocabulary());
        let retention = stated.then(|| RetentionPeriods::from(periods));
        let tables = root.tables("scenario", "a scenario");
        root.end();
        let reader = ScenarioReader::new(pack, &document, NOW);
        let scenarios: Vec<Option<Scenario>> =
            tables.into_iter().map(|fields| reader.scenario(fields)).collect();
        let findings = document.into_findings();
        if findings.iter().any(Finding::is_error) {
            return Err(findings);
        }
        let kept = |scenario| Scenario { retention: retention.clone(), ..scenario };
        Ok(scenarios.into_iter().flatten().map(kept).collect())
    }

    /// Plays the scenario. No difference is a pass.
    pub fn run(&self, decisions: &Decisions) -> Vec<UnmetExpectation> {
        let mut differences = self.run_disclosure(decisions);
        differences.extend(self.run_operation(decisions));
        differences
    }

    /// The mapping: a field for each set of categories that is expected to leave or not.
    fn classes(&self) -> Classes {
        let sets: Vec<Vec<CategoryId>> = match &self.expected {
            ExpectedResult::Refused(_) => Vec::new(),
            ExpectedResult::Forms(forms) => forms.iter().map(|(categories, _)| categories.clone()).collect(),
        };
        Classes::new(sets, false)
    }

    /// With the periods of the scenario's file.
    fn with_retention(&self, admitted: Admitted) -> Admitted {
        match &self.retention {
            Some(retention) => admitted.with_retention(RetentionPeriods::clone(retention)),
            None => admitted,
        }
    }

    /// What is done before the upstream is called. A refusal counts as not carried out.
    fn run_operation(&self, decisions: &Decisions) -> Option<UnmetExpectation> {
        let expected = self.carried_out?;
        let ScenarioFacts { subject, controller, record, relationship } = &self.facts;
        let admitted = decisions
            .admit_operation(&self.request, &self.classes())
            .map(|admitted| self.with_retention(admitted));
        let carried_out = admitted.as_ref().is_ok_and(|admitted| {
            admitted.carries_out(&admitted.judge(subject, controller, record, *relationship, NOW))
        });
        let got = match admitted {
            Ok(_) => carried_out.to_string(),
            Err(denial) => format!("false (refused: {})", denial.code()),
        };
        let differs = carried_out != expected;
        differs.then(|| difference("carried-out", &expected.to_string(), &got))
    }

    fn run_disclosure(&self, decisions: &Decisions) -> Vec<UnmetExpectation> {
        let admitted =
            decisions.admit(&self.request, &self.classes()).map(|admitted| self.with_retention(admitted));
        let forms = match (&self.expected, admitted.as_ref()) {
            (ExpectedResult::Refused(expected), Err(got)) if expected == got => return Vec::new(),
            (ExpectedResult::Refused(expected), got) => {
                let got = got.map_or_else(|denial| denial.code(), |_| "admitted");
                return vec![difference("refused", expected.code(), got)];
            }
            (ExpectedResult::Forms(forms), _) => forms,
        };
        let ScenarioFacts { subject, controller, record, relationship } = &self.facts;
        let permit =
            admitted.as_ref().map(|admitted| admitted.judge(subject, controller, record, *relationship, NOW));
        let tree = decisions.pack().vocabulary().categories();
        let mut differences = Vec::new();
        for (class, (categories, accepted)) in (0..).zip(forms) {
            // A refusal counts as removed for every category.
            let form = permit.as_ref().map_or(Form::Removed, |permit| permit.form(super::ClassId(class)));
            if !accepted.contains(&form) {
                let names: Vec<&str> = categories.iter().map(|&category| tree.name(category)).collect();
                let accepted: Vec<&str> = accepted.iter().map(|form| form.name()).collect();
                let got = match &admitted {
                    Ok(_) => form.name().to_owned(),
                    Err(denial) => format!("{} (refused: {})", form.name(), denial.code()),
                };
                differences.push(difference(&names.join("+"), &accepted.join(" or "), &got));
            }
        }
        differences
    }

    /// Whether a rule can decide anything in it: it is about the kind and the purpose, and where forms are
    /// expected about one of the categories or what it may hold.
    pub fn concerns(&self, rule: &Rule, vocabulary: &Vocabulary) -> bool {
        let asked = rule.kinds()(self.request.recipient.kind) && rule.purposes()(self.request.purpose);
        asked && self.is_about(rule, vocabulary)
    }

    /// Whether it is about one of a rule's categories, or what holds one.
    fn is_about(&self, rule: &Rule, vocabulary: &Vocabulary) -> bool {
        match &self.expected {
            ExpectedResult::Refused(_) => true,
            // Where only `carried-out` is expected, every category is concerned.
            ExpectedResult::Forms(forms) if forms.is_empty() => true,
            ExpectedResult::Forms(forms) => {
                let tree = vocabulary.categories();
                let named =
                    |id| forms.iter().flat_map(|(named, _)| named).any(|&named| tree.within(id, named));
                tree.ids().any(|id| rule.categories()(id) && named(id))
            }
        }
    }

    /// Whether it shows what a rule is for, or where it ends: it is about the rule's kinds or purposes, or
    /// expects that somebody else does not get the rule's categories.
    pub fn is_near(&self, rule: &Rule, vocabulary: &Vocabulary) -> bool {
        rule.kinds()(self.request.recipient.kind)
            || rule.purposes()(self.request.purpose)
            || (!self.releases() && self.is_about(rule, vocabulary))
    }

    /// Whether it expects something to leave or to be carried out.
    pub fn releases(&self) -> bool {
        let leaves = match &self.expected {
            ExpectedResult::Refused(_) => false,
            ExpectedResult::Forms(forms) => {
                forms.iter().any(|(_, accepted)| !accepted.contains(&Form::Removed))
            }
        };
        leaves || self.carried_out == Some(true)
    }

    /// Whether it expects something to be withheld or not to be carried out.
    pub fn withholds(&self) -> bool {
        let stays = match &self.expected {
            ExpectedResult::Refused(_) => true,
            ExpectedResult::Forms(forms) => {
                forms.iter().any(|(_, accepted)| accepted.contains(&Form::Removed))
            }
        };
        stays || self.carried_out == Some(false)
    }
}

fn difference(what: &str, expected: &str, got: &str) -> UnmetExpectation {
    UnmetExpectation { what: what.to_owned(), expected: expected.to_owned(), got: got.to_owned() }
}

/// Reads the vocabulary of scenarios and of `policy explain`.
#[derive(Debug)]
pub struct ScenarioReader<'a> {
    pack: &'a Pack,
    vocabulary: &'a Vocabulary,
    document: &'a Document<'a>,
    /// What days ago count from.
    now: Timestamp,
}

impl<'a> ScenarioReader<'a> {
    pub fn new(pack: &'a Pack, document: &'a Document<'a>, now: Timestamp) -> ScenarioReader<'a> {
        ScenarioReader { pack, vocabulary: pack.vocabulary(), document, now }
    }

    fn scenario(&self, mut fields: Fields<'_>) -> Option<Scenario> {
        let at = fields.at();
        let name = fields.needed_text("name");
        let clause = fields.needed_text("clause").and_then(|clause| self.clause(clause));
        let purpose = fields.needed_text("purpose");
        let purpose = purpose.and_then(|purpose| self.purpose(&purpose));
        let recipient = fields.fields("recipient", "`recipient`");
        if recipient.is_none() {
            fields.missing("recipient");
        }
        let recipient = recipient.and_then(|recipient| self.recipient(recipient, purpose, None));
        let subject = fields.fields("subject", "`subject`");
        let mut about = subject.map_or_else(ScenarioFacts::unremarkable, |subject| self.subject(subject));
        let request = fields.fields("request", "`request`");
        let refused = fields.text("refused");
        let expected = fields.entries("expect");
        let carried_out = fields.item("carried-out");
        fields.end();
        let expected = self.expected(refused, expected, carried_out.is_some(), &at)?;
        let request = self.request(recipient?, purpose?, request, &mut about);
        if let Some(item) = carried_out.as_ref().filter(|_| request.operation == Operation::Disclose) {
            let finding = Finding::error("carried-out-of-disclose", "`disclose` is not carried out");
            let hint = "say in `request` which operation is: `request = { operation = \"alter\" }`; what leaves stands in `expect`";
            self.document.find(finding.label("says nothing").hint(hint), item.at());
        }
        let carried_out = carried_out.and_then(|item| item.flag());
        Some(Scenario {
            name: name?.value.to_owned(),
            clause: clause?.value.to_owned(),
            request: request,
            facts: about,
            retention: None,
            expected,
            carried_out,
        })
    }

    /// The clause that is shown, which the pack has.
    fn clause<'t>(&self, clause: At<&'t str>) -> Option<At<&'t str>> {
        let manifest = self.pack.manifest();
        if manifest.clause(clause.value).is_some() {
            return Some(clause);
        }
        let known = manifest.clauses.iter().map(|known| &*known.id);
        let hint = suggestion(clause.value, known)
            .unwrap_or_else(|| "list it under `[[clauses]]` in pack.toml".to_owned());
        let finding = Finding::error("unknown-clause", format!("unknown clause `{}`", clause.value));
        self.document.find(finding.label("not a clause of the pack").hint(hint), clause.at);
        None
    }

    /// `recipient`: the defaults are those of a recipient in the EEA that asks for what it is registered for.
    pub fn recipient(
        &self,
        mut fields: Fields<'_>,
        purpose: Option<PurposeId>,
        kind: Option<KindId>,
    ) -> Option<RecipientFacts> {
        let name = fields.text("name");
        let stated = if kind.is_none() { fields.needed_text("kind") } else { fields.text("kind") };
        let stated = stated.map(|stated| self.kind(&stated));
        let (country, region) = self.place(&mut fields);
        let purposes = fields.item("purposes").map(|item| item.texts());
        let agreement = fields.flag("agreement");
        let safeguard = fields
            .text("safeguard")
            .and_then(|word| self.word(&word, Safeguard::parse, Safeguard::ALL.iter().map(|s| s.name())));
        let suspended = fields.flag("suspended");
        fields.end();
        let purposes = match purposes {
            Some(names) => {
                names.iter().filter_map(|name| self.term(name, "purpose", self.vocabulary.purposes())).collect()
            }
            None => purpose.into_iter().collect(),
        };
        Some(RecipientFacts {
            name: Arc::from(name.map_or("recipient", |name| name.value)),
            kind: stated.unwrap_or(kind)?,
            country,
            region,
            purposes,
            agreement: agreement.unwrap_or(true),
            safeguard: safeguard.unwrap_or(Safeguard::None),
            suspended: suspended.unwrap_or(false),
        })
    }

    /// `country` and `region`: the EEA where neither is said, nowhere where one of them cannot be read.
    fn place(&self, fields: &mut Fields<'_>) -> (Option<Arc<str>>, Option<Arc<str>>) {
        let country = fields.text("country").map(|text| region::country(text.value).map(Arc::from));
        let region = fields.text("region").map(|text| self.vocabulary.regions().label(text.value));
        match (country, region) {
            (None, None) => (None, Some(Arc::from(EEA))),
            (Some(None), _) | (_, Some(None)) => (None, None),
            (country, region) => (country.flatten(), region.flatten()),
        }
    }

    /// `request`: what it does, and what the recipient is to the person.
    pub fn request(
        &self,
        recipient: RecipientFacts,
        purpose: PurposeId,
        fields: Option<Fields<'_>>,
        about: &mut ScenarioFacts,
    ) -> AdmissionRequest {
        let mut request = AdmissionRequest {
            recipient: Arc::new(recipient),
            purpose,
            operation: Operation::Disclose,
            exporter_region: Arc::from(EEA),
            upstream_backup: false,
            legal_reference: LegalReference::None,
        };
        let Some(mut fields) = fields else { return request };
        let operation = fields.text("operation");
        let operation = operation
            .and_then(|word| self.word(&word, Operation::parse, Operation::ALL.iter().map(|o| o.name())));
        request.operation = operation.unwrap_or(Operation::Disclose);
        if fields.flag("legal-reference") == Some(true) {
            request.legal_reference = LegalReference::Everything;
            about.relationship.named_in_case = true;
        }
        request.upstream_backup = fields.flag("upstream-backup") == Some(true);
        if let Some(region) = fields.text("exporter-region") {
            // What cannot be read counts as the EEA.
            request.exporter_region =
                self.vocabulary.regions().label(region.value).unwrap_or_else(|| Arc::from(EEA));
        }
        about.relationship.subject_is_recipient = fields.flag("subject-is-recipient") == Some(true);
        about.relationship.controller_is_recipient = fields.flag("controller-is-recipient") == Some(true);
        fields.end();
        request
    }

    /// `subject`: what is in force after supersession. No order is implied.
    pub fn subject(&self, mut fields: Fields<'_>) -> ScenarioFacts {
        let mut subject = Subject::default();
        for (name, status) in fields.entries("consents") {
            subject.consents.extend(self.consent(&name, &status));
        }
        subject.consents_since_restriction =
            self.terms(fields.texts("consents-since-restriction"), "purpose", self.vocabulary.purposes());
        for text in fields.texts("objections") {
            subject.objections.extend(self.objection(&text));
        }
        subject.opt_outs = fields.texts("opt-outs").iter().map(|name| Arc::from(name.value)).collect();
        subject.restricted = fields.flag("restricted") == Some(true);
        subject.erased = fields.flag("erased") == Some(true);
        subject.minor = fields.flag("minor") == Some(true);
        subject.transfer_consent = fields.flag("transfer-consent") == Some(true);
        (subject.country, subject.region) = self.place(&mut fields);
        for text in fields.texts("relations") {
            subject.relations.extend(self.relation(&text));
        }
        if let Some(item) = fields.item("origin") {
            subject.origins = self.origins(&item);
        }
        for category in fields.texts("refused-categories") {
            subject.refused_categories.extend(self.optional(&category));
        }
        let instructions = self.terms(fields.texts("instructions"), "purpose", self.vocabulary.purposes());
        let closed = fields.number("account-closed-days");
        let age = fields.number("age-days");
        fields.end();
        let since = |days: At<u32>| {
            let ago = SignedDuration::from_hours(24 * i64::from(days.value));
            self.now.checked_sub(ago).unwrap_or(Timestamp::MIN)
        };
        let controller = Controller { instructions, closed_since: closed.map(since) };
        let created = age.map_or(Extracted::Absent, |days| Extracted::Known(since(days)));
        let record = RecordFacts { created, ..RecordFacts::default() };
        ScenarioFacts { subject, controller, record, relationship: Relationship::default() }
    }

    fn consent(&self, name: &At<&str>, status: &Item<'_>) -> Option<Consent> {
        let (purpose, to) = match name.value.split_once(':') {
            Some((purpose, to)) => (purpose, self.addressee(to)),
            None => (name.value, Addressee::Anyone),
        };
        let purpose =
            self.term(&At { value: purpose, at: name.at.clone() }, "purpose", self.vocabulary.purposes());
        let status = self.word(
            &status.text()?,
            |word| match word {
                "given" => Some(ConsentStatus::Given),
                "refused" => Some(ConsentStatus::Refused),
                "withdrawn" => Some(ConsentStatus::Withdrawn),
                "expired" => Some(ConsentStatus::Expired),
                _ => None,
            },
            ["given", "refused", "withdrawn", "expired"].into_iter(),
        );
        Some(Consent { purpose: purpose?, to, status: status?, until: None, order: None, overridden: false })
    }

    /// A kind of the vocabulary is a kind, anything else the name of a recipient.
    fn addressee(&self, to: &str) -> Addressee {
        match self.vocabulary.kinds().find(to) {
            Some(kind) => Addressee::Kind(kind),
            None => Addressee::Recipient(Arc::from(to)),
        }
    }

    fn objection(&self, text: &At<&str>) -> Option<Objection> {
        let (purpose, upheld) = match text.value.split_once(':') {
            Some((purpose, "upheld")) => (purpose, true),
            Some((_, other)) => {
                let finding = Finding::error("unknown-value", format!("an objection is not `{other}`"))
                    .hint("`purpose` or `purpose:upheld`");
                self.document.find(finding, text.at.clone());
                return None;
            }
            None => (text.value, false),
        };
        let purpose =
            self.term(&At { value: purpose, at: text.at.clone() }, "purpose", self.vocabulary.purposes())?;
        Some(Objection { purpose, upheld, order: None })
    }

    fn relation(&self, text: &At<&str>) -> Option<Relation> {
        let (name, recipient) = match text.value.split_once(':') {
            Some((name, recipient)) => (name, Some(Arc::from(recipient))),
            None => (text.value, None),
        };
        let relation =
            self.term(&At { value: name, at: text.at.clone() }, "relation", self.vocabulary.relations())?;
        Some(Relation { relation, recipient })
    }

    /// A name for all, or a table from category to name.
    fn origins(&self, item: &Item<'_>) -> Origins {
        let origin =
            |word: &At<&str>| self.word(word, Origin::parse, Origin::ALL.iter().map(|origin| origin.name()));
        let mut origins = Origins::default();
        if item.is_text() {
            origins.default = item.text().and_then(|word| origin(&word)).unwrap_or_default();
            return origins;
        }
        for (category, item) in item.entries() {
            let category = self.term(&category, "category", self.vocabulary.categories());
            let word = item.text().and_then(|word| origin(&word));
            origins.by_category.extend(category.zip(word));
        }
        origins
    }

    fn optional(&self, name: &At<&str>) -> Option<CategoryId> {
        let category = self.term(name, "category", self.vocabulary.categories())?;
        if !self.vocabulary.is_optional(category) {
            let tree = self.vocabulary.categories();
            let optional = join(tree.ids().filter(|&id| self.vocabulary.is_optional(id)).map(|id| tree.name(id)));
            let finding = Finding::error(
                "category-not-optional",
                format!("`{}` is not optional, so it cannot be refused by itself", name.value),
            );
            self.document.find(finding.hint(format!("optional: {optional}")), name.at.clone());
            return None;
        }
        Some(category)
    }

    fn expected(
        &self,
        refused: Option<At<&str>>,
        forms: Vec<(At<&str>, Item<'_>)>,
        or_carried_out: bool,
        at: &Range<usize>,
    ) -> Option<ExpectedResult> {
        match (refused, forms) {
            (Some(code), forms) if forms.is_empty() => {
                let codes = Denial::ALL.into_iter().map(Denial::code);
                self.word(&code, Denial::parse, codes).map(ExpectedResult::Refused)
            }
            (None, forms) if !forms.is_empty() || or_carried_out => {
                let forms: Vec<_> =
                    forms.iter().filter_map(|(names, item)| self.expectation(names, item)).collect();
                Some(ExpectedResult::Forms(forms))
            }
            _ => {
                let message = "a scenario has `expect` or `refused`, or for an operation `carried-out`";
                let finding = Finding::error("bad-expectation", message);
                self.document.find(finding, at.clone());
                None
            }
        }
    }

    /// A category, or several joined by `+` for a field that is all of them at once.
    fn expectation(&self, names: &At<&str>, item: &Item<'_>) -> Option<(Vec<CategoryId>, Vec<Form>)> {
        let categories: Vec<CategoryId> = names
            .value
            .split('+')
            .filter_map(|name| {
                self.term(
                    &At { value: name.trim(), at: names.at.clone() },
                    "category",
                    self.vocabulary.categories(),
                )
            })
            .collect();
        let vocabulary = if item.is_text() { item.text().into_iter().collect() } else { item.texts() };
        if vocabulary.is_empty() {
            let finding = Finding::error("bad-expectation", "no form is expected").label("at least one is");
            self.document.find(finding, names.at.clone());
        }
        let form = |word: &At<&str>| self.word(word, Form::parse, Form::ALL.iter().map(|form| form.name()));
        Some((categories, vocabulary.iter().filter_map(form).collect()))
    }

    pub fn kind(&self, name: &At<&str>) -> Option<KindId> {
        let group = self.vocabulary.kind_groups().iter().find(|group| group.name == name.value);
        if let Some(group) = group.filter(|_| self.vocabulary.kinds().find(name.value).is_none()) {
            let message =
                format!("`{}` is a group of recipient kinds, and a recipient has one kind", name.value);
            let members = join(group.members.iter().map(|kind| self.vocabulary.kinds().name(*kind)));
            let finding = Finding::error(KindId::UNKNOWN, message).label("a group of kinds");
            self.document.find(finding.hint(format!("one of its members: {members}")), name.at.clone());
            return None;
        }
        self.term(name, "recipient kind", self.vocabulary.kinds())
    }

    pub fn category(&self, name: &At<&str>) -> Option<CategoryId> {
        self.term(name, "category", self.vocabulary.categories())
    }

    /// A purpose as a request declares it, by any of its names.
    pub fn purpose(&self, name: &At<&str>) -> Option<PurposeId> {
        self.vocabulary
            .declared_purpose(name.value)
            .ok()
            .or_else(|| self.term(name, "purpose", self.vocabulary.purposes()))
    }

    fn terms<I: TermId>(&self, names: Vec<At<&str>>, what: &str, tree: &Tree<I>) -> Vec<I> {
        names.iter().filter_map(|name| self.term(name, what, tree)).collect()
    }

    fn term<I: TermId>(&self, name: &At<&str>, what: &str, tree: &Tree<I>) -> Option<I> {
        let found = tree.find(name.value);
        if found.is_none() {
            let hint = tree.suggestion(name.value).unwrap_or_else(|| {
                let manifest = self.pack.manifest();
                format!(
                    "`{}` version {} does not have it; {VOCABULARY_HINT}",
                    manifest.title, manifest.version
                )
            });
            let finding = Finding::error(I::UNKNOWN, format!("unknown {what} `{}`", name.value));
            self.document.find(finding.label("not in the vocabulary").hint(hint), name.at.clone());
        }
        found
    }

    fn word<T>(
        &self,
        word: &At<&str>,
        parse: impl Fn(&str) -> Option<T>,
        known: impl Iterator<Item = &'static str> + Clone,
    ) -> Option<T> {
        let value = parse(word.value);
        if value.is_none() {
            let finding = Finding::error("unknown-value", format!("`{}` is not understood", word.value));
            let hint =
                suggestion(word.value, known.clone()).unwrap_or_else(|| format!("one of {}", join(known)));
            self.document.find(finding.hint(hint), word.at.clone());
        }
        value
    }
}
