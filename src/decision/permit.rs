//! What one record may disclose.

use std::sync::Arc;

use serde::Serialize;

use crate::vocabulary::{Basis, Form};

/// One of a route's distinct sets of data categories, numbered when the route is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u16);

/// Why a class of fields is withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nothing classifies the field, and the route releases no such field.
    Unclassified,
    /// It belongs to nobody: the record has no usable subject, or it stands outside of every record.
    NoSubject,
    /// The ledger does not know the person, or knows nothing but refusals.
    UnknownSubject,
    /// A mapped fact of the record is there and cannot be read; without it a rule would release.
    Unreadable,
    /// The person refused, withdrew, objected or opted out; nothing else stands in the way.
    Refused,
    /// A prohibition forbids it.
    Prohibited,
    /// No rule permits it.
    NoRule,
}

impl Reason {
    pub const ALL: [Reason; 7] = [
        Reason::Unclassified,
        Reason::NoSubject,
        Reason::UnknownSubject,
        Reason::Unreadable,
        Reason::Refused,
        Reason::Prohibited,
        Reason::NoRule,
    ];

    /// The word in logs and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Unclassified => "unclassified",
            Reason::NoSubject => "no-subject",
            Reason::UnknownSubject => "unknown-subject",
            Reason::Unreadable => "unreadable",
            Reason::Refused => "refused",
            Reason::Prohibited => "prohibited",
            Reason::NoRule => "no-rule",
        }
    }
}

/// The form in which one class of fields leaves, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRelease {
    /// The form; [`Form::Removed`] when nothing leaves.
    pub form: Form,
    /// The legal basis of the release; absent when nothing leaves, and of what nothing classifies, which
    /// leaves on the operator's word alone.
    pub basis: Option<Basis>,
    /// Why nothing leaves; absent when something does.
    pub reason: Option<Reason>,
    /// Ids of the rules that decided: the permit that released, or the forbids that withheld.
    pub rules: Arc<[Arc<str>]>,
    /// The clauses those rules cite, each once.
    pub clauses: Arc<[Arc<str>]>,
}

/// What a decision allows one record to disclose, per class of fields.
///
/// Its constructors are private to `decision`: whoever discloses asks for one and cannot make one.
#[derive(Clone, Debug)]
pub struct Permit {
    releases: Arc<[ClassRelease]>,
}

impl Permit {
    /// A permit over the classes of one route.
    pub(in crate::decision) fn new(releases: Arc<[ClassRelease]>) -> Permit {
        Permit { releases }
    }

    /// A permit of the scrubber's tests, which have forms and no policy.
    #[cfg(test)]
    pub(crate) fn of(forms: &[Form]) -> Permit {
        let release = |&form| ClassRelease {
            form,
            basis: None,
            reason: (form == Form::Removed).then_some(Reason::NoRule),
            rules: Arc::new([]),
            clauses: Arc::new([]),
        };
        Permit::new(forms.iter().map(release).collect())
    }

    /// What several permits for one record allow together: for each class the least revealing.
    ///
    /// Of nothing it is nothing.
    pub fn strictest(permits: &[Permit]) -> Permit {
        let Some((first, others)) = permits.split_first() else { return Permit::new(Arc::default()) };
        if others.iter().all(|other| other.is_equivalent(first)) {
            return first.clone();
        }
        // A class that one of them does not know is removed.
        let classes = permits.iter().map(|permit| permit.releases.len()).min().unwrap_or(0);
        let least = |class: usize| {
            let releases = permits.iter().filter_map(|permit| permit.releases.get(class));
            releases.reduce(|least, next| if next.form > least.form { next } else { least }).cloned()
        };
        Permit::new((0..classes).filter_map(least).collect())
    }

    /// This permit with another reason where a class is withheld that the other permit releases.
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

    /// The form of a class. A class the permit does not know is removed.
    pub fn form(&self, class: ClassId) -> Form {
        self.releases.get(usize::from(class.0)).map_or(Form::Removed, |release| release.form)
    }

    /// All releases, indexed by class.
    pub fn releases(&self) -> &[ClassRelease] {
        &self.releases
    }

    /// Whether this is that very permit, or a copy of it.
    pub fn is_same_instance(&self, other: &Permit) -> bool {
        Arc::ptr_eq(&self.releases, &other.releases)
    }

    /// Whether two permits are the same decision (so that a record judged again need not be scrubbed again).
    pub fn is_equivalent(&self, other: &Permit) -> bool {
        self.is_same_instance(other) || self.releases == other.releases
    }
}
