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
}
