//! Reads the terms of scenarios and of `policy explain` from a TOML document.
//!
//! Invariant: an unknown word yields a finding, never a default value.

use std::ops::Range;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::super::admission::{AdmissionRequest, Denial, LegalReference, RecipientFacts};
use super::super::facts::Relationship;
use super::super::subject::{
    Addressee, Consent, ConsentStatus, Controller, Extracted, Objection, Origins, RecordFacts, Relation,
    Subject,
};
use super::{ExpectedResult, Scenario, ScenarioFacts};
use crate::document::{At, Document, Fields, Item, join};
use crate::finding::{Finding, suggestion};
use crate::policy::Pack;
use crate::vocabulary::{
    CategoryId, EEA, Form, Group, KindId, Operation, Origin, PurposeId, Safeguard, TermId, Tree,
    VOCABULARY_HINT, Vocabulary, region,
};

/// Reads the terms of scenarios and of `policy explain`.
#[derive(Debug)]
pub struct ScenarioReader<'a> {
    pack: &'a Pack,
    vocabulary: &'a Vocabulary,
    document: &'a Document<'a>,
    /// The time from which numbers of days are counted back.
    now: Timestamp,
}

impl<'a> ScenarioReader<'a> {
    /// Creates a reader for a pack. Numbers of days in the document are counted back from `now`.
    pub fn new(pack: &'a Pack, document: &'a Document<'a>, now: Timestamp) -> ScenarioReader<'a> {
        ScenarioReader { pack, vocabulary: pack.vocabulary(), document, now }
    }

    pub(super) fn scenario(&self, mut fields: Fields<'_>) -> Option<Scenario> {
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
        let request_fields = fields.fields("request", "`request`");
        let refused = fields.text("refused");
        let expected = fields.entries("expect");
        let carried_out = fields.item("carried-out");
        fields.end();
        let expected = self.expected(refused, expected, carried_out.is_some(), &at)?;
        let request = self.request(recipient?, purpose?, request_fields, &mut about);
        if let Some(item) = carried_out.as_ref().filter(|_| request.operation == Operation::Disclose) {
            let finding =
                Finding::error("carried-out-of-disclose", "`carried-out` does not apply to `disclose`");
            let hint = "state the operation in `request`, such as `request = { operation = \"alter\" }`; what leaves is stated in `expect`";
            self.document.find(finding.label("has no meaning here").hint(hint), item.at());
        }
        let carried_out = carried_out.and_then(|item| item.flag());
        Some(Scenario {
            name: name?.value.to_owned(),
            clause: clause?.value.to_owned(),
            request,
            facts: about,
            retention: None,
            expected,
            carried_out,
        })
    }

    /// Checks that the pack has the clause.
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

    /// Reads `recipient`. The default is a recipient in the EEA that is registered for the declared purpose.
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
            Some(names) => names
                .iter()
                .filter_map(|name| self.term(name, "purpose", self.vocabulary.purposes()))
                .collect(),
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

    /// Reads `country` and `region`. The default is the EEA. If one of the two is stated and cannot be read, both are
    /// unknown.
    fn place(&self, fields: &mut Fields<'_>) -> (Option<Arc<str>>, Option<Arc<str>>) {
        let country = fields.text("country").map(|text| region::country(text.value).map(Arc::from));
        let region = fields.text("region").map(|text| self.vocabulary.regions().label(text.value));
        match (country, region) {
            (None, None) => (None, Some(Arc::from(EEA))),
            (Some(None), _) | (_, Some(None)) => (None, None),
            (country, region) => (country.flatten(), region.flatten()),
        }
    }

    /// Reads `request`: the operation, and how the recipient relates to the person.
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
        request.legal_reference = self.legal_reference(&mut fields);
        let named = fields.flag("named-in-case").unwrap_or(true);
        about.relationship.named_in_case = named && request.legal_reference != LegalReference::None;
        request.upstream_backup = fields.flag("upstream-backup") == Some(true);
        if let Some(region) = fields.text("exporter-region") {
            // An unreadable region counts as the EEA.
            request.exporter_region =
                self.vocabulary.regions().label(region.value).unwrap_or_else(|| Arc::from(EEA));
        }
        about.relationship.subject_is_recipient = fields.flag("subject-is-recipient") == Some(true);
        about.relationship.controller_is_recipient = fields.flag("controller-is-recipient") == Some(true);
        fields.end();
        request
    }

    /// Reads `legal-reference`: `true` for a case that covers everything, or the categories that it covers.
    fn legal_reference(&self, fields: &mut Fields<'_>) -> LegalReference {
        let Some(item) = fields.item("legal-reference") else { return LegalReference::None };
        if item.is_list() {
            let categories = self.terms(item.texts(), "category", self.vocabulary.categories());
            return LegalReference::Categories(categories.into());
        }
        match item.flag() {
            Some(true) => LegalReference::Everything,
            Some(false) | None => LegalReference::None,
        }
    }

    /// Reads `subject`: the state after supersession, without an order of events.
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
        (subject.country, subject.region) = match self.place(&mut fields) {
            (None, None) => (Extracted::Unreadable, Extracted::Unreadable),
            (country, region) => (known_or_absent(country), known_or_absent(region)),
        };
        for text in fields.texts("relations") {
            subject.relations.extend(self.relation(&text));
        }
        for text in fields.texts("relations-ended") {
            subject.ended_relations.extend(self.ended_relation(&text));
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

    /// Reads an addressee: a kind of the vocabulary, or else the name of a recipient.
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

    /// Reads an exception from a relation to no recipient.
    fn ended_relation(&self, text: &At<&str>) -> Option<Relation> {
        let relation = self.relation(text)?;
        if relation.recipient.is_none() {
            let message = format!("`{}` names no recipient for which the relation ended", text.value);
            let hint =
                "`relation:recipient`; a relation that ended for every recipient is not in `relations`";
            self.document.find(Finding::error("unknown-value", message).hint(hint), text.at.clone());
            return None;
        }
        Some(relation)
    }

    /// Reads `origin`: one name for all categories, or a table from category to name.
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
            let optional =
                join(tree.ids().filter(|&id| self.vocabulary.is_optional(id)).map(|id| tree.name(id)));
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
                let codes = Denial::ALL.iter().map(|denial| denial.name());
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

    /// Reads an expectation: a category, or several joined by `+` for a field that has all of them, with the accepted
    /// forms.
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
        let accepted = if item.is_text() { item.text().into_iter().collect() } else { item.texts() };
        if accepted.is_empty() {
            let finding =
                Finding::error("bad-expectation", "no form is expected").label("state at least one");
            self.document.find(finding, names.at.clone());
        }
        let form = |word: &At<&str>| self.word(word, Form::parse, Form::ALL.iter().map(|form| form.name()));
        Some((categories, accepted.iter().filter_map(form).collect()))
    }

    /// Reads a recipient kind.
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
        self.term_or_group(name, "recipient kind", self.vocabulary.kinds(), self.vocabulary.kind_groups())
    }

    /// Reads a category.
    pub fn category(&self, name: &At<&str>) -> Option<CategoryId> {
        self.term(name, "category", self.vocabulary.categories())
    }

    /// Reads a purpose by any of the names under which a request may declare it.
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
        self.term_or_group(name, what, tree, &[])
    }

    /// As [`ScenarioReader::term`], with a hint for the name of a group.
    fn term_or_group<I: TermId>(
        &self,
        name: &At<&str>,
        what: &str,
        tree: &Tree<I>,
        groups: &[Group<I>],
    ) -> Option<I> {
        let found = tree.find(name.value);
        if found.is_none() {
            let of_group = Group::hint(groups, tree, name.value, what);
            let hint = of_group.or_else(|| tree.suggestion(name.value)).unwrap_or_else(|| {
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

fn known_or_absent<T>(value: Option<T>) -> Extracted<T> {
    value.map_or(Extracted::Absent, Extracted::Known)
}
