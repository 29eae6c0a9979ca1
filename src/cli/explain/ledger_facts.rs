//! The state of people, accounts, recipients and cases in the ledger file, which is read while a gateway may use it.

use std::sync::Arc;

use crate::cli::error::{CliError, unusable_error};
use crate::cli::ledger_location::LedgerLocation;
use crate::decision::{Controller, Subject};
use crate::keys::{Fingerprint, Fingerprints, Keys};
use crate::ledger::{self, Archive, Case, Entity, PolicyMemory};
use crate::vocabulary::SubjectId;

/// The ledger. A ledger that does not exist yet knows nobody.
pub(super) struct LedgerFacts {
    opened: Option<(Archive, Fingerprints)>,
}

impl LedgerFacts {
    pub(super) fn open(location: &LedgerLocation<'_>) -> Result<LedgerFacts, CliError> {
        if location.ledger.url.is_file_to_create() {
            return Ok(LedgerFacts { opened: None });
        }
        let keys = Keys::open(location.keys).map_err(|error| unusable_error(&error))?;
        Ok(LedgerFacts { opened: Some((location.archive()?, keys.fingerprints())) })
    }

    pub(super) fn exists(&self) -> bool {
        self.opened.is_some()
    }

    /// Returns the state in force of a person; `None` if the ledger does not know the person.
    pub(super) fn subject(&self, id: &SubjectId) -> Result<Option<Subject>, CliError> {
        let Some((archive, _)) = &self.opened else { return Ok(None) };
        let past = archive.history(&Entity::Subject(id.clone())).map_err(|error| unusable_error(&error))?;
        let events = || past.iter().map(|past| &past.event);
        Ok((!past.is_empty()).then(|| ledger::fold_subject(events(), archive.terms())))
    }

    /// Returns the state in force of an account; `None` if the ledger does not know it.
    pub(super) fn controller(&self, id: &SubjectId) -> Result<Option<Controller>, CliError> {
        let Some((archive, _)) = &self.opened else { return Ok(None) };
        let past =
            archive.history(&Entity::Controller(id.clone())).map_err(|error| unusable_error(&error))?;
        let events = || past.iter().map(|past| &past.event);
        Ok((!past.is_empty()).then(|| ledger::fold_controller(events(), archive.terms())))
    }

    pub(super) fn is_suspended(&self, recipient: &Arc<str>) -> Result<bool, CliError> {
        let Some((archive, _)) = &self.opened else { return Ok(false) };
        archive.is_suspended(recipient).map_err(|error| unusable_error(&error))
    }

    /// Returns a registered case; `None` if no case has this id.
    pub(super) fn case(&self, id: &str) -> Result<Option<Case>, CliError> {
        let Some((archive, fingerprints)) = &self.opened else { return Ok(None) };
        let Ok(id) = ledger::case_id(id) else { return Ok(None) };
        archive.registered_case(&id, fingerprints).map_err(|error| unusable_error(&error))
    }

    /// Returns the record of the policies that were in force.
    pub(super) fn policies(&self) -> Result<PolicyMemory, CliError> {
        let Some((archive, _)) = &self.opened else { return Ok(PolicyMemory::default()) };
        archive.policies().map_err(|error| unusable_error(&error))
    }

    pub(super) fn fingerprint(&self, id: &SubjectId) -> Option<Fingerprint> {
        self.opened.as_ref().map(|(_, fingerprints)| fingerprints.subject(id))
    }
}
