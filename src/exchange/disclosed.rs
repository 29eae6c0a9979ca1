//! The disclosures of a window, as the metrics count them and the log records them.
//!
//! Of an observed exchange everything left in clear, whatever was decided; the decision stands beside it.

use std::sync::Arc;

use super::grant::Grant;
use super::observe;
use super::window::{People, ReleaseCount, WindowSummary};
use crate::decision::{ClassRelease, Reason};
use crate::disclosure::record::{CategoryDisclosure, Disclosure, ExchangeMode, WouldRelease};
use crate::keys::LoggedPerson;
use crate::scrub::PathIds;
use crate::vocabulary::{Basis, Form, Term};

impl Grant {
    /// Returns the disclosures of a window as the log records them.
    pub(super) fn disclosure(&self, window: &WindowSummary) -> Disclosure {
        let ledger = &self.context.shared.ledger;
        let (mut released, withheld) = window.people();
        // The head leaves with the first window.
        let unread = self.takes_unread_head() || window.unread;
        if unread {
            let is_known = |person: &LoggedPerson| {
                released.iter().any(|one: &LoggedPerson| one.fingerprint == person.fingerprint)
            };
            let of_path = self.people_of_path().into_iter();
            let of_path: People = of_path.filter(|person| !is_known(person)).collect();
            released.extend(of_path);
        }
        let logged = |people: People| people.into_iter().map(|person| ledger.logged_person(person)).collect();
        Disclosure {
            position: ledger.position(),
            stale: window.stale,
            records: window.records,
            withheld_records: window.withheld_records,
            subjects: logged(released),
            withheld_subjects: logged(withheld),
            categories: self.categories(window, unread),
            would_refuse: self.would_refuse(),
        }
    }

    /// Returns the people whom the path names.
    fn people_of_path(&self) -> People {
        let matched = &self.routing.matched;
        let ledger = &self.context.shared.ledger;
        let named = matched.route.mapping().map(|mapping| mapping.plan.path_identities(&matched.parameters));
        match named.map(|named| named.subjects) {
            Some(PathIds::Ids(people)) => people.iter().map(|id| ledger.person(id).0).collect(),
            Some(PathIds::Unusable | PathIds::None) | None => People::new(),
        }
    }

    /// Counts a window in the metrics.
    pub(super) fn count(&self, window: &WindowSummary) {
        let metrics = &self.context.shared.metrics;
        let route = &*self.route().name;
        let purpose = observe::named_purpose(&self.purpose_name, self.mode());
        let records = |outcome| metrics.records.with_label_values(&[route, purpose, outcome]);
        let released = window.records.saturating_sub(window.withheld_records);
        if released > 0 {
            records("released").inc_by(released);
        }
        if window.withheld_records > 0 {
            records("withheld").inc_by(window.withheld_records);
        }
        // These counts are rare, and resolving a label costs time, so zeros are skipped.
        for (metric, counted) in [
            (&metrics.unknown_subjects, window.unknown_subjects),
            (&metrics.minor_records, window.minors),
            (&metrics.closed_account_records, window.closed_accounts),
            (&metrics.retention_withheld, window.past_retention),
        ] {
            if counted > 0 {
                metric.with_label_values(&[route]).inc_by(counted);
            }
        }
        self.for_each_release(window, |category, release, fields| {
            let category = category.map(|category| category.name);
            if let (true, Some(reason)) = (self.is_observed(), release.reason) {
                let category = category.map_or(CategoryDisclosure::UNCLASSIFIED, |category| category);
                let labels = [route, category, observe::reason(reason)];
                metrics.would_withhold.with_label_values(&labels).inc_by(fields);
            }
            match category {
                Some(category) => {
                    let form = if self.is_observed() { Form::Clear } else { release.form };
                    let labels = [route, purpose, category, form.name()];
                    metrics.fields.with_label_values(&labels).inc_by(fields);
                }
                None => metrics.unclassified_fields.with_label_values(&[route]).inc_by(fields),
            }
        });
    }

    /// Returns the categories of a window as the log records them. `unread` is true if something in it was not read.
    fn categories(&self, window: &WindowSummary, unread: bool) -> Vec<CategoryDisclosure> {
        let mut left: Vec<CategoryDisclosure> = Vec::with_capacity(window.released.len());
        self.for_each_release(window, |category, release, fields| {
            let one = recorded(category, release, fields, self.mode());
            let same = |known: &&mut CategoryDisclosure| {
                known.category == one.category
                    && (known.form, known.basis, known.reason) == (one.form, one.basis, one.reason)
                    && (&known.rules, &known.would) == (&one.rules, &one.would)
            };
            match left.iter_mut().find(same) {
                Some(known) => known.fields += fields,
                None => left.push(one),
            }
        });
        if unread {
            left.push(recorded(None, &ClassRelease::withheld(Reason::Unreadable), 0, self.mode()));
        }
        left
    }

    /// Visits each category of each class with each release that occurred. The category is `None` for unclassified fields. If
    /// enforcing would have refused the exchange by now, it would release none of them.
    fn for_each_release<'s>(
        &'s self,
        window: &WindowSummary,
        mut visit: impl FnMut(Option<RecordedCategory<'s>>, &ClassRelease, u64),
    ) {
        let Some(scrubbing) = &self.route().scrubbing else { return };
        let words = self.routing.decisions.pack().vocabulary();
        let refused = self.noted().map(observe::reason_of_fields);
        for ReleaseCount { class, release, fields } in &window.released {
            let Some(categories) = scrubbing.classes.sets().get(*class) else { continue };
            let withheld = refused.filter(|_| release.form != Form::Removed).map(|reason| {
                ClassRelease::withheld(if categories.is_empty() { Reason::Unclassified } else { reason })
            });
            let release = withheld.as_ref().unwrap_or(release);
            if categories.is_empty() {
                visit(None, release, *fields);
            }
            for category in categories {
                let term = words.categories().term(*category);
                let of = |term: &'s Term| RecordedCategory {
                    name: &term.id,
                    has_owner: words.has_owner(*category),
                };
                visit(term.map(of), release, *fields);
            }
        }
    }
}

/// A category as it is recorded.
#[derive(Clone, Copy)]
struct RecordedCategory<'v> {
    name: &'v Arc<str>,
    /// True if its data are about somebody.
    has_owner: bool,
}

/// Returns a category as the log records it. Of an observed exchange everything left in clear, and no basis was applied.
fn recorded(
    category: Option<RecordedCategory<'_>>,
    release: &ClassRelease,
    fields: u64,
    mode: ExchangeMode,
) -> CategoryDisclosure {
    let ClassRelease { form, basis, bases: _, reason, rules, clauses } = release.clone();
    // Where enforcing would have released nothing, it states no basis, and the data are about nobody all the same.
    let is_about_nobody = category.is_some_and(|category| !category.has_owner);
    let would_basis = basis.or_else(|| is_about_nobody.then_some(Basis::NotPersonal));
    let category = category.map(|category| Arc::clone(category.name));
    match mode {
        ExchangeMode::Enforce => {
            CategoryDisclosure { category, form, basis, reason, rules, clauses, fields, would: None }
        }
        ExchangeMode::Observe => CategoryDisclosure {
            category,
            form: Form::Clear,
            basis: None,
            reason: None,
            rules: Arc::default(),
            clauses: Arc::default(),
            fields,
            would: Some(WouldRelease { form, basis: would_basis, reason, rules, clauses }),
        },
    }
}
