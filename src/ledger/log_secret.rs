//! The log secrets of people: the random values under which the disclosure log names them.
//!
//! A secret is made in the transaction of the first event about a person and deleted in the transaction of the event that
//! says so, which follows an erasure. Invariants: a person about whom an event is durable is never logged under the
//! fingerprint; once a secret is deleted, no gateway uses it after it has applied the event; a person with several stored
//! spellings has one secret, the oldest, on every gateway.

use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

use super::Ledger;
use super::entity::Entity;
use super::event::EventDraft;
use super::index::{PersonInForce, SecretInForce};
use super::kinds::EventKind;
use super::outcome::{Acknowledgement, AppendError};
use super::payload::Provenance;
use super::secret_history::PendingErasure;
use crate::decision::Subject;
use crate::keys::{Fingerprint, LoggedPerson};
use crate::vocabulary::SubjectId;

impl Ledger {
    /// Returns a person as the disclosure log names it, and the state in force; `None` if the ledger does not know the person.
    /// Both are read together, from memory or else from the store.
    pub fn person(&self, id: &SubjectId) -> (LoggedPerson, Option<Arc<Subject>>) {
        let fingerprint = self.core.fingerprints.subject(id);
        match self.core.person(id, fingerprint) {
            Some(PersonInForce { state, log_secret }) => (self.logged(fingerprint, log_secret), state),
            None => (LoggedPerson::unknown(fingerprint), None),
        }
    }

    /// Returns a person about whom something was decided as the disclosure log names it now: a secret that was made or deleted
    /// since then counts. The person may not be in memory any more, because a follower that loads the ledger anew clears it
    /// first; then the name is that of the decision.
    pub fn logged_person(&self, judged: LoggedPerson) -> LoggedPerson {
        let in_force = self.core.index.person(judged.fingerprint);
        in_force.map_or(judged, |person| self.logged(judged.fingerprint, person.log_secret))
    }

    fn logged(&self, fingerprint: Fingerprint, log_secret: SecretInForce) -> LoggedPerson {
        match log_secret {
            SecretInForce::NotMade => LoggedPerson::unknown(fingerprint),
            SecretInForce::Stored(secret) => LoggedPerson { fingerprint, secret: Some(secret) },
            SecretInForce::Deleted => {
                LoggedPerson { fingerprint, secret: Some(self.unstored.of(fingerprint)) }
            }
        }
    }

    /// Returns the people who were erased and whose log secret waits for its deletion, as far as they are in memory. The
    /// one who was erased first comes first.
    pub fn pending_erasures(&self) -> Vec<PendingErasure> {
        let mut pending = self.core.index.pending_erasures();
        pending.sort_by_key(|pending| pending.erased);
        pending
    }

    /// True if the state of everybody is in memory.
    pub fn is_loaded(&self) -> bool {
        self.core.warming.is_complete()
    }

    /// Deletes the log secret of a person who was erased. The event names the inquiry that deletes it. Returns when it is deleted
    /// in the store and in memory here; other gateways delete it when they apply the event. A person about whom an event follows the erasure, or who comes back, gets
    /// another secret.
    ///
    /// Cancel safety: the same as for [`Ledger::append`].
    ///
    /// # Errors
    /// [`AppendError`]; a conflict if no erasure waits for it.
    pub async fn erase_log_secret(
        &self,
        person: &SubjectId,
        inquiry: Ulid,
        now: Timestamp,
    ) -> Result<Acknowledgement, AppendError> {
        let evidence = Some(inquiry.to_string().into());
        let provenance = Provenance { evidence, ..Provenance::default() };
        let draft = EventDraft { kind: EventKind::LogSecretErased, at: None, provenance };
        self.append_without_config_check(&Entity::Subject(person.clone()), draft, None, now).await
    }
}
