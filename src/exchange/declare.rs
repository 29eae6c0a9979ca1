//! The purpose of an exchange: the declared one, or that of the credential.

use http::HeaderMap;

use super::exchange_head::Factors;
use super::purpose::{self, Declaration};
use super::{DeclaredExchange, DeclaredPurpose, Refusal, RefusedExchange, RoutedExchange, observe};
use crate::vocabulary::{NotAPurpose, PurposeId};

impl RoutedExchange {
    /// Establishes the purpose: the declared one, which must equal the purpose of a locked credential. Without a
    /// declaration, it is the purpose of the locked credential.
    pub(super) fn declare_purpose(
        self,
        headers: &HeaderMap,
    ) -> Result<DeclaredExchange, Box<RefusedExchange>> {
        let mut factors = Factors::default();
        let (declaration, read) = self.read_purpose(headers);
        let mode = self.routing.mode;
        let (id, noted) = match factors.weigh("purpose", read) {
            Ok(id) => (Some(id), None),
            Err(refusal) => match observe::noted(mode, refusal.into()) {
                Ok(noted) => (None, Some(noted)),
                Err(rejection) => {
                    let mut refused = self.refuse(rejection);
                    (refused.declaration, refused.factors) = (declaration, factors);
                    return Err(refused);
                }
            },
        };
        let RoutedExchange { context, requester, routing } = self;
        let locked = requester.caller.locked_purpose;
        let purpose = DeclaredPurpose { id, declaration, factors, noted };
        let mut declared = DeclaredExchange { context, requester, routing, purpose, permit: None };
        // Without a purpose there is nothing that the credential could cover.
        if id.is_none() {
            return Ok(declared);
        }
        let agrees = locked.is_none_or(|locked| Some(locked) == id);
        let covered = agrees.then_some(()).ok_or(Refusal::PurposeNotPermitted);
        match declared.purpose.factors.weigh("credential", covered) {
            Ok(()) => Ok(declared),
            Err(refusal) => match observe::noted(mode, refusal.into()) {
                Ok(noted) => {
                    declared.purpose.noted = Some(noted);
                    Ok(declared)
                }
                Err(rejection) => Err(declared.refuse(rejection)),
            },
        }
    }

    /// Reads the declaration, and the purpose that it or the credential names.
    fn read_purpose(&self, headers: &HeaderMap) -> (Option<Declaration>, Result<PurposeId, Refusal>) {
        let declaration = match purpose::declared(headers, &self.context.snapshot.purpose_header) {
            Ok(Some(declaration)) => declaration,
            Ok(None) => {
                return (None, self.requester.caller.locked_purpose.ok_or(Refusal::PurposeMissing));
            }
            Err(refusal) => return (None, Err(refusal)),
        };
        let vocabulary = self.routing.decisions.pack().vocabulary();
        let purpose = vocabulary.declared_purpose(&declaration.purpose).map_err(|not| match not {
            NotAPurpose::LegalBasis(_) => Refusal::LegalBasisAsPurpose,
            NotAPurpose::Unknown => Refusal::PurposeUnknown,
        });
        (Some(declaration), purpose)
    }
}
