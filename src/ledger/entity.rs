//! Entities that events are about: data subjects, controllers, recipients and disclosure cases.

use std::fmt;
use std::sync::Arc;

use crate::vocabulary::SubjectId;

/// The entity that an event is about. `Debug` prints the type's name only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Entity {
    /// A data subject.
    Subject(SubjectId),
    /// A controller that the operator processes data for.
    Controller(SubjectId),
    /// A recipient, by its configured name.
    Recipient(Arc<str>),
    /// A disclosure case, by its id.
    Case(Arc<str>),
}

impl Entity {
    /// Returns the kind of this entity.
    pub fn kind(&self) -> EntityKind {
        match self {
            Entity::Subject(_) => EntityKind::Subject,
            Entity::Controller(_) => EntityKind::Controller,
            Entity::Recipient(_) => EntityKind::Recipient,
            Entity::Case(_) => EntityKind::Case,
        }
    }
}

impl fmt::Debug for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entity")
    }
}

/// The kinds of [`Entity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntityKind {
    /// A data subject.
    Subject,
    /// A controller that the operator processes data for.
    Controller,
    /// A recipient.
    Recipient,
    /// A disclosure case.
    Case,
}

impl EntityKind {
    /// Returns the name of the kind, as messages use it.
    pub fn name(self) -> &'static str {
        match self {
            EntityKind::Subject => "data subject",
            EntityKind::Controller => "controller",
            EntityKind::Recipient => "recipient",
            EntityKind::Case => "case",
        }
    }

    /// Returns the number that stands for the kind in stores and in digests of idempotency keys. It never changes.
    ///
    /// The column of a store is called `sort`: another name would need a migration of every ledger.
    pub(crate) const fn code(self) -> u8 {
        match self {
            EntityKind::Subject => 0,
            EntityKind::Controller => 1,
            EntityKind::Recipient => 2,
            EntityKind::Case => 3,
        }
    }

    /// Returns the kind that a number stands for.
    #[cfg(any(feature = "sqlite", feature = "postgres", test))]
    pub(crate) fn from_code(code: u8) -> Option<EntityKind> {
        let kinds = [EntityKind::Subject, EntityKind::Controller, EntityKind::Recipient, EntityKind::Case];
        kinds.into_iter().find(|kind| kind.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_existing_ledgers() {
        let kinds = [EntityKind::Subject, EntityKind::Controller, EntityKind::Recipient, EntityKind::Case];
        for (code, kind) in (0..).zip(kinds) {
            assert_eq!((kind.code(), EntityKind::from_code(code)), (code, Some(kind)));
        }
        assert_eq!(EntityKind::from_code(4), None);
    }
}
