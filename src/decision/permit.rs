//! Permits: what one record may disclose.

use std::sync::Arc;

use super::classes::Classes;
use crate::vocabulary::{Basis, BasisSet, CategoryId, Form, terms};

/// Index of one of a route's distinct sets of data categories, assigned when the route is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u16);

terms!(
    /// The reason why a class of fields is withheld.
    Reason {
        /// Nothing classifies the field, and the route does not release such fields.
        Unclassified = "unclassified",
        /// The record has no usable subject, or the field is outside every record.
        NoSubject = "no-subject",
        /// The ledger does not know the person, or knows only refusals.
        UnknownSubject = "unknown-subject",
        /// A mapped fact of the record is present but unreadable. If the fact were absent, a rule would release the
        /// class.
        Unreadable = "unreadable",
        /// The person refused, withdrew, objected or opted out, and nothing else prevents the release.
        Refused = "refused",
        /// A prohibition applies.
        Prohibited = "prohibited",
        /// No rule permits the release.
        NoRule = "no-rule",
        /// The ledger is stale, and the release rests on another basis than those that do not need its latest events.
        Stale = "stale",
    }
);

/// The form in which one class of fields leaves, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRelease {
    /// The form; [`Form::Removed`] if nothing leaves.
    pub form: Form,
    /// The legal basis; absent if nothing leaves, and for unclassified fields, which leave only because the
    /// operator configured it.
    pub basis: Option<Basis>,
    /// The bases of all categories of the class: `basis` names only one of them. Empty if nothing leaves, and for
    /// unclassified fields.
    pub bases: BasisSet,
    /// The reason why nothing leaves; absent if something leaves.
    pub reason: Option<Reason>,
    /// Ids of the rules that decided: permits if something leaves, prohibitions if nothing does.
    pub rules: Arc<[Arc<str>]>,
    /// The clauses those rules cite, each once.
    pub clauses: Arc<[Arc<str>]>,
}

impl ClassRelease {
    /// Withholds a class for this reason, without a rule that decided.
    pub fn withheld(reason: Reason) -> ClassRelease {
        ClassRelease {
            form: Form::Removed,
            basis: None,
            bases: BasisSet::default(),
            reason: Some(reason),
            rules: Arc::default(),
            clauses: Arc::default(),
        }
    }
}

/// The outcome of a decision: what one record may disclose, by class of fields.
///
/// Its constructors are private to `decision`: code that discloses receives a permit and cannot create one.
#[derive(Clone, Debug)]
pub struct Permit {
    releases: Arc<[ClassRelease]>,
}

impl Permit {
    /// Creates a permit for the classes of one route.
    pub(in crate::decision) fn new(releases: Arc<[ClassRelease]>) -> Permit {
        Permit { releases }
    }

    /// Creates the permit of a request that is refused: it releases no field of these classes, for this reason.
    pub fn withholding(classes: &Classes, reason: Reason) -> Permit {
        let withheld = |class: &Vec<CategoryId>| {
            ClassRelease::withheld(if class.is_empty() { Reason::Unclassified } else { reason })
        };
        Permit::new(classes.sets.iter().map(withheld).collect())
    }

    /// Creates a permit for tests of the scrubber, which have forms but no policy.
    #[cfg(test)]
    pub(crate) fn of(forms: &[Form]) -> Permit {
        let release = |&form| ClassRelease {
            form,
            basis: None,
            bases: BasisSet::default(),
            reason: (form == Form::Removed).then_some(Reason::NoRule),
            rules: Arc::new([]),
            clauses: Arc::new([]),
        };
        Permit::new(forms.iter().map(release).collect())
    }

    /// Combines several permits for one record: for each class the least revealing form applies.
    ///
    /// An empty slice yields a permit that releases nothing.
    pub fn strictest(permits: &[Permit]) -> Permit {
        let Some((first, others)) = permits.split_first() else { return Permit::new(Arc::default()) };
        if others.iter().all(|other| other.is_equivalent(first)) {
            return first.clone();
        }
        // A class that one of the permits does not have is removed.
        let classes = permits.iter().map(|permit| permit.releases.len()).min().unwrap_or(0);
        let least = |class: usize| {
            let releases = permits.iter().filter_map(|permit| permit.releases.get(class));
            releases.reduce(|least, next| if next.form > least.form { next } else { least }).cloned()
        };
        Permit::new((0..classes).filter_map(least).collect())
    }

    /// Returns this permit with `reason` for each class that it withholds and `other` releases.
    pub(in crate::decision) fn with_reason(self, other: &Permit, reason: Reason) -> Permit {
        let decisive = |(class, release): (u16, &ClassRelease)| {
            release.form == Form::Removed && other.form(ClassId(class)) != Form::Removed
        };
        if !(0..).zip(self.releases()).any(decisive) {
            return self;
        }
        let releases = (0..).zip(self.releases()).map(|(class, release)| match decisive((class, release)) {
            true => ClassRelease { reason: Some(reason), ..release.clone() },
            false => release.clone(),
        });
        Permit::new(releases.collect())
    }

    /// Returns the permit without every release that rests on another basis than these, or on none.
    #[must_use]
    pub fn limited_to(&self, bases: BasisSet) -> Permit {
        let is_kept = |release: &ClassRelease| {
            release.form == Form::Removed || (!release.bases.is_empty() && release.bases.is_within(bases))
        };
        if self.releases().iter().all(is_kept) {
            return self.clone();
        }
        let limited = |release: &ClassRelease| match is_kept(release) {
            true => release.clone(),
            false => ClassRelease::withheld(Reason::Stale),
        };
        Permit::new(self.releases().iter().map(limited).collect())
    }

    /// Returns the form of a class. A class that the permit does not have is removed.
    pub fn form(&self, class: ClassId) -> Form {
        self.releases.get(usize::from(class.0)).map_or(Form::Removed, |release| release.form)
    }

    /// Returns the releases, indexed by class.
    pub fn releases(&self) -> &[ClassRelease] {
        &self.releases
    }

    /// True if both are clones of one permit. Compares pointers only.
    pub fn is_same_instance(&self, other: &Permit) -> bool {
        Arc::ptr_eq(&self.releases, &other.releases)
    }

    /// True if both permits are the same decision, so that a record judged again need not be scrubbed again.
    pub fn is_equivalent(&self, other: &Permit) -> bool {
        self.is_same_instance(other) || self.releases == other.releases
    }
}
