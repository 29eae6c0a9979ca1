//! States the facts of a decision with the keys of a scenario.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{ClassSet, ONLY_REFUSALS, ScenarioTable, SeenCircumstance, SeenPerson, UNCLASSIFIED, UNKNOWN};
use crate::decision::admission::{LegalReference, RecipientFacts};
use crate::decision::admitted::Admitted;
use crate::decision::decision_key::{DecisionKey, PersonFacts};
use crate::policy::{AccountFact, ConsentFact, Fact, FactSet, ObjectionFact, Pack, retention_period};
use crate::vocabulary::region::is_in_eea;
use crate::vocabulary::{CategoryId, EEA, Operation, Origin, Safeguard};

/// Facts that each description states, whatever rules compare: they are known of the recipient and the route.
const ALWAYS_STATED: [Fact; 6] =
    [Fact::Safeguard, Fact::Backup, Fact::LegalReference, Fact::Form, Fact::Operation, Fact::WithServiceData];

/// Text that is no country, for a place that is not known.
const NO_COUNTRY: &str = "unknown";

/// Countries outside the EEA. One of them is in another region than the recipient.
const ABROAD: [&str; 3] = ["US", "JP", "CH"];

impl Admitted {
    /// Returns the addresses of the rules and the recipient of this exchange, and the scope of its case: while it lives,
    /// exchanges that agree in them are described alike.
    pub fn identity(&self) -> ([usize; 2], LegalReference) {
        let addresses = [Arc::as_ptr(&self.slice).addr(), Arc::as_ptr(&self.request.recipient).addr()];
        (addresses, self.request.legal_reference.clone())
    }

    /// Describes the circumstances of a record that this exchange decided on. Returns `None` if the keys of a scenario cannot
    /// state one of the facts, or if the record is about nobody.
    pub fn describe(
        &self,
        route: &str,
        operation: Operation,
        exporter_region: &str,
        people: &[PersonFacts],
        classes: ClassSet,
    ) -> Option<SeenCircumstance> {
        let vocabulary = self.pack.vocabulary();
        let request = self.request_keys(operation, exporter_region);
        let mut described = people.iter().map(|person| self.describe_person(person, &request));
        let SeenPerson { subject, request } = described.next()??;
        let circumstance = SeenCircumstance {
            route: route.to_owned(),
            recipient: self.request.recipient.name.to_string(),
            kind: vocabulary.kinds().name(self.slice.kind).to_owned(),
            purpose: vocabulary.purposes().name(self.slice.purpose).to_owned(),
            operation: operation.name().to_owned(),
            pack: self.pack.manifest().title.clone(),
            subject,
            request,
            also: described.collect::<Option<_>>()?,
            recipient_facts: recipient_keys(&self.pack, &self.request.recipient),
            categories: self.category_names(classes),
            releases_unclassified: self.slice.route_classes.release_unclassified,
            compares: Some(self.compared_facts()),
        };
        self.reads_as(&circumstance, people).then_some(circumstance)
    }

    /// Returns the names of the facts that the rules compare, except those that each description states. A relation has the
    /// name of its own after `relation:`.
    pub(in crate::decision) fn compared_facts(&self) -> BTreeSet<String> {
        let relations = self.pack.vocabulary().relations();
        let name = |fact: Fact| match fact {
            Fact::Relation(relation) => format!("{}:{}", fact.name(), relations.name(relation)),
            _ => fact.name().to_owned(),
        };
        self.slice.mask().difference(ALWAYS_STATED.into_iter().collect()).facts().map(name).collect()
    }

    /// Returns the names of classes, sorted.
    fn category_names(&self, classes: ClassSet) -> Vec<String> {
        let tree = self.pack.vocabulary().categories();
        let sets = self.slice.route_classes.sets().iter().enumerate();
        let name = |(_, set): (usize, &Vec<CategoryId>)| match set.as_slice() {
            [] => UNCLASSIFIED.to_owned(),
            set => {
                let mut names: Vec<&str> = set.iter().map(|category| tree.name(*category)).collect();
                names.sort_unstable();
                names.join("+")
            }
        };
        let mut names: Vec<String> = sets.filter(|(class, _)| classes.contains(*class)).map(name).collect();
        names.sort();
        names
    }

    /// Returns the keys of `request` that are the same for all people of an exchange.
    fn request_keys(&self, operation: Operation, exporter_region: &str) -> ScenarioTable {
        let mut keys = ScenarioTable::new();
        if operation != Operation::Disclose {
            keys.insert("operation".to_owned(), operation.name().into());
        }
        if exporter_region != EEA {
            keys.insert("exporter-region".to_owned(), exporter_region.into());
        }
        if self.request.request_facts().get(Fact::Backup) != 0 {
            keys.insert("upstream-backup".to_owned(), true.into());
        }
        let tree = self.pack.vocabulary().categories();
        let reference = match &self.request.legal_reference {
            LegalReference::None => return keys,
            LegalReference::Everything => Value::Bool(true),
            LegalReference::Categories(covered) => {
                let mut names: Vec<&str> = covered.iter().map(|category| tree.name(*category)).collect();
                names.sort_unstable();
                json!(names)
            }
        };
        keys.insert("legal-reference".to_owned(), reference);
        keys
    }

    fn describe_person(&self, person: &PersonFacts, request: &ScenarioTable) -> Option<SeenPerson> {
        let marked = |key: &str| ScenarioTable::from_iter([(key.to_owned(), Value::Bool(true))]);
        let nothing = |subject| Some(SeenPerson { subject, request: request.clone() });
        match person {
            PersonFacts::Nobody => nothing(None),
            PersonFacts::Unknown => nothing(Some(marked(UNKNOWN))),
            PersonFacts::Known(key) => self.describe_facts(key, ScenarioTable::new(), request.clone()),
            PersonFacts::OnlyRefusals(key) => {
                self.describe_facts(key, marked(ONLY_REFUSALS), request.clone())
            }
        }
    }

    fn describe_facts(
        &self,
        key: &DecisionKey,
        subject: ScenarioTable,
        request: ScenarioTable,
    ) -> Option<SeenPerson> {
        let mask = self.slice.mask();
        let mut writer = PersonWriter { admitted: self, key, subject, request };
        mask.facts().try_for_each(|fact| writer.add(fact))?;
        writer.add_relations(mask);
        writer.add_place(mask)?;
        if self.request.legal_reference != LegalReference::None && key.facts.get(Fact::LegalReference) == 0 {
            writer.request.insert("named-in-case".to_owned(), false.into());
        }
        let PersonWriter { subject, request, .. } = writer;
        Some(SeenPerson { subject: Some(subject), request })
    }
}

/// Returns the keys of `recipient`, without its name and kind.
fn recipient_keys(pack: &Pack, recipient: &RecipientFacts) -> ScenarioTable {
    let RecipientFacts { name: _, kind: _, country, region, purposes, agreement, safeguard, suspended } =
        recipient;
    let tree = pack.vocabulary().purposes();
    let mut names: Vec<&str> = purposes.iter().map(|purpose| tree.name(*purpose)).collect();
    names.sort_unstable();
    let mut keys = ScenarioTable::from_iter([("purposes".to_owned(), json!(names))]);
    let mut add = |key: &str, value: Value| keys.insert(key.to_owned(), value);
    if country.is_none() && region.is_none() {
        add("country", NO_COUNTRY.into());
    }
    if let Some(country) = country {
        add("country", (**country).into());
    }
    if let Some(region) = region {
        add("region", (**region).into());
    }
    if !agreement {
        add("agreement", false.into());
    }
    if *safeguard != Safeguard::None {
        add("safeguard", safeguard.name().into());
    }
    if *suspended {
        add("suspended", true.into());
    }
    keys
}

/// Writes the keys of one person.
struct PersonWriter<'a> {
    admitted: &'a Admitted,
    key: &'a DecisionKey,
    subject: ScenarioTable,
    request: ScenarioTable,
}

impl PersonWriter<'_> {
    /// Adds the keys that state one fact. Returns `None` if no key can.
    fn add(&mut self, fact: Fact) -> Option<()> {
        let purpose = self.admitted.pack.vocabulary().purposes().name(self.admitted.slice.purpose).to_owned();
        let recipient = self.admitted.request.recipient.name.to_string();
        let (value, name) = (self.key.facts.get(fact), self.key.facts.value_name(fact));
        let is_set = value != 0;
        match fact {
            // These follow from the request, the recipient, the places or the field.
            Fact::Form | Fact::Operation | Fact::WithServiceData | Fact::Safeguard | Fact::Backup => {}
            Fact::LegalReference | Fact::LeavesEea | Fact::SameRegion | Fact::Relation(_) => {}
            Fact::Origin => self.add_origins(),
            Fact::Refused => self.add_refused(),
            Fact::PastRetention => self.add_age(),
            _ if !is_set => {}
            Fact::Consent => self.put("consents", json!({ purpose: name })),
            Fact::Objection if self.is_implied_objection() => {}
            Fact::Objection if value == ObjectionFact::Upheld as u8 => {
                self.put("objections", json!([format!("{purpose}:upheld")]));
            }
            Fact::Objection => self.put("objections", json!([purpose])),
            Fact::OptedOut => self.put("opt-outs", json!([recipient])),
            Fact::ConsentedSinceRestriction => self.put("consents-since-restriction", json!([purpose])),
            Fact::Restricted => self.put("restricted", json!(true)),
            Fact::Erased => self.put("erased", json!(true)),
            Fact::Minor => self.put("minor", json!(true)),
            Fact::TransferConsent => self.put("transfer-consent", json!(true)),
            Fact::Instructed => self.put("instructions", json!([purpose])),
            Fact::Account => self.put("account-closed-days", json!(closed_days(&self.admitted.pack, value)?)),
            Fact::OwnData => drop(self.request.insert("subject-is-recipient".to_owned(), json!(true))),
            Fact::OwnAccount => drop(self.request.insert("controller-is-recipient".to_owned(), json!(true))),
        }
        Some(())
    }

    fn put(&mut self, key: &str, value: Value) {
        self.subject.insert(key.to_owned(), value);
    }

    /// True if the objection follows from a refused or withdrawn consent.
    fn is_implied_objection(&self) -> bool {
        let facts = self.key.facts;
        let consent = facts.get(Fact::Consent);
        let refuses =
            [ConsentFact::Refused, ConsentFact::Withdrawn].into_iter().any(|no| no as u8 == consent);
        refuses && facts.get(Fact::Objection) == ObjectionFact::Raised as u8
    }

    /// Returns the categories for which a fact has a value.
    fn categories_with(&self, fact: Fact, value: u8) -> Vec<CategoryId> {
        let all = self.admitted.slice.categories.iter().copied();
        all.filter(|category| self.key.facts_of(*category).get(fact) == value).collect()
    }

    fn add_origins(&mut self) {
        let tree = self.admitted.pack.vocabulary().categories();
        let origins =
            Origin::ALL.iter().map(|origin| (origin, self.categories_with(Fact::Origin, *origin as u8)));
        let stated: Vec<(&Origin, Vec<CategoryId>)> =
            origins.filter(|(_, categories)| !categories.is_empty()).collect();
        let value = match stated.as_slice() {
            [] | [(Origin::OwnStatement, _)] => return,
            [(only, _)] => json!(only.name()),
            several => several
                .iter()
                .filter(|(origin, _)| **origin != Origin::OwnStatement)
                .flat_map(|(origin, categories)| categories.iter().map(move |category| (origin, category)))
                .map(|(origin, category)| (tree.name(*category).to_owned(), json!(origin.name())))
                .collect::<ScenarioTable>()
                .into(),
        };
        self.put("origin", value);
    }

    /// States the refused categories. A category can be withheld because its parent or child is refused.
    fn add_refused(&mut self) {
        let vocabulary = self.admitted.pack.vocabulary();
        let tree = vocabulary.categories();
        let refused = self.categories_with(Fact::Refused, 1);
        let optional = |category: &CategoryId| vocabulary.is_optional(*category);
        let mut named: Vec<CategoryId> = refused.iter().copied().filter(optional).collect();
        for category in &refused {
            if !named.iter().any(|named| tree.on_same_branch(*named, *category)) {
                named.extend(tree.ids().find(|id| optional(id) && tree.on_same_branch(*id, *category)));
            }
        }
        if !named.is_empty() {
            let names: Vec<&str> = named.iter().map(|category| tree.name(*category)).collect();
            self.put("refused-categories", json!(names));
        }
    }

    /// States the least age that is past the retention of the categories in question.
    fn add_age(&mut self) {
        let Admitted { pack, request, .. } = self.admitted;
        let periods = request.retention(pack);
        let past = self.categories_with(Fact::PastRetention, 1).into_iter();
        let days = past.filter_map(|category| retention_period(periods, pack.vocabulary(), category));
        if let Some(longest) = days.max() {
            self.put("age-days", json!(longest.as_hours() / 24 + 1));
        }
    }

    fn add_relations(&mut self, mask: FactSet) {
        let vocabulary = self.admitted.pack.vocabulary();
        let names = mask.facts().filter(|fact| self.key.facts.get(*fact) != 0).filter_map(|fact| {
            let Fact::Relation(relation) = fact else { return None };
            let name = vocabulary.relations().name(relation);
            Some(match vocabulary.is_bound_only(relation) {
                true => format!("{name}:{}", self.admitted.request.recipient.name),
                false => name.to_owned(),
            })
        });
        let names: Vec<String> = names.collect();
        if !names.is_empty() {
            self.put("relations", json!(names));
        }
    }

    /// States a place that has the same relation to the recipient's: in its region or not, protected by the law of the EEA or
    /// not. The person's own country is not known here.
    fn add_place(&mut self, mask: FactSet) -> Option<()> {
        let (leaves, same) = (mask.contains(Fact::LeavesEea), mask.contains(Fact::SameRegion));
        if !(leaves || same) {
            return Some(());
        }
        let facts = self.key.facts;
        let region = self.admitted.request.region.as_deref();
        let in_eea = region == Some(EEA);
        if same && facts.get(Fact::SameRegion) != 0 {
            self.put("region", region?.into());
        } else if in_eea {
            // Nothing leaves the EEA, wherever the person is.
            self.put("country", if same { NO_COUNTRY } else { "DE" }.into());
        } else if leaves && facts.get(Fact::LeavesEea) == 0 {
            let regions = self.admitted.pack.vocabulary().regions();
            let is_elsewhere =
                |country: &&str| !is_in_eea(country) && regions.of_country(country).as_deref() != region;
            self.put("country", ABROAD.into_iter().find(is_elsewhere)?.into());
        } else {
            self.put("region", EEA.into());
        }
        Some(())
    }
}

/// Returns for how many days the account has been closed; `None` if the pack has no such period.
fn closed_days(pack: &Pack, account: u8) -> Option<i64> {
    let periods = &pack.manifest().account_closed_after;
    let after = match account {
        account if account == AccountFact::PurgeDue as u8 => periods.first()?,
        account if account == AccountFact::PurgeOverdue as u8 => periods.get(1)?,
        _ => return Some(0),
    };
    Some(after.as_hours() / 24 + 1)
}
