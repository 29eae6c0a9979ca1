//! What is known about people, accounts, recipients and cases: the ledger's file, read beside a gateway that has it.

use std::sync::Arc;

use crate::cli::error::CliError;
use crate::cli::ledger_location::{LedgerLocation, unusable_error};
use crate::decision::{Controller, Subject};
use crate::keys::{Fingerprint, Fingerprints, Keys};
use crate::ledger::{self, Archive, Case, Entity, PolicyMemory};
use crate::vocabulary::SubjectId;

/// The ledger as it is; of one that is not there yet nothing is known.
pub(super) struct LedgerFacts {
    opened: Option<(Archive, Fingerprints)>,
}

impl LedgerFacts {
    pub(super) fn open(place: &LedgerLocation<'_>) -> Result<LedgerFacts, CliError> {
        if !place.ledger.exists() {
            return Ok(LedgerFacts { opened: None });
        }
        let keys = Keys::open(place.keys).map_err(|error| unusable_error(&error))?;
        Ok(LedgerFacts { opened: Some((place.archive()?, keys.fingerprints())) })
    }

    pub(super) fn exists(&self) -> bool {
        self.opened.is_some()
    }

    /// What is in force about a person; `None`: the ledger has never heard of them.
    pub(super) fn subject(&self, id: &SubjectId) -> Result<Option<Subject>, CliError> {
        let Some((archive, _)) = &self.opened else { return Ok(None) };
        let past = archive.history(&Entity::Subject(id.clone())).map_err(|error| unusable_error(&error))?;
        let events = || past.iter().map(|past| &past.event);
        Ok((!past.is_empty()).then(|| ledger::fold_subject(events(), archive.terms())))
    }

    /// What is in force about an account; `None`: the ledger has never heard of it.
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

    /// A registered case; `None`: there is none of this id.
    pub(super) fn case(&self, id: &str) -> Result<Option<Case>, CliError> {
        let Some((archive, fingerprints)) = &self.opened else { return Ok(None) };
        let Ok(id) = ledger::case_id(id) else { return Ok(None) };
        archive.registered_case(&id, fingerprints).map_err(|error| unusable_error(&error))
    }

    /// What is remembered of the policies that were in force.
    pub(super) fn policies(&self) -> Result<PolicyMemory, CliError> {
        let Some((archive, _)) = &self.opened else { return Ok(PolicyMemory::default()) };
        archive.policies().map_err(|error| unusable_error(&error))
    }

    pub(super) fn fingerprint(&self, id: &SubjectId) -> Option<Fingerprint> {
        self.opened.as_ref().map(|(_, fingerprints)| fingerprints.subject(id))
    }
}
