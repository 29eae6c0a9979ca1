//! Explains the refusal of a request by its problem code: the reason, and the changes that would avoid it.

use std::fmt::Write as _;

use serde::Serialize;

use crate::decision::{Denial, RequiredChanges, no_rule_permits};
use crate::exchange::route::{Recipient, Route};
use crate::policy::Pack;
use crate::vocabulary::{Operation, PurposeId, Vocabulary};

/// A refusal, its reason, and the changes that would avoid it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RefusalExplanation {
    pub code: String,
    pub why: String,
    #[serde(flatten)]
    pub changes: RequiredChanges,
}

impl RefusalExplanation {
    fn new(code: &str, why: impl Into<String>, changes: RequiredChanges) -> RefusalExplanation {
        RefusalExplanation { code: code.to_owned(), why: why.into(), changes }
    }

    pub(super) fn write(&self, text: &mut String) {
        let RefusalExplanation { code, why, changes } = self;
        let _ = writeln!(text, "refused: {code}: {why}");
        if let Some(changes) = changes.to_text() {
            let _ = writeln!(text, "  would have to change: {changes}");
        }
    }
}

/// The parts of a request that its refusals depend on.
#[derive(Clone, Copy)]
pub(super) struct ExplainedRequest<'a> {
    pub pack: &'a Pack,
    pub route: &'a Route,
    pub recipient: &'a Recipient,
    pub purpose: PurposeId,
    pub operation: Operation,
    /// The status of the cited case, for a sentence.
    pub case_status: Option<&'static str>,
}

impl ExplainedRequest<'_> {
    fn vocabulary(&self) -> &Vocabulary {
        self.pack.vocabulary()
    }

    fn purpose_name(&self) -> &str {
        self.vocabulary().purposes().name(self.purpose)
    }

    /// Returns the refusal of a purpose that the route does not serve; `None` if the route serves it.
    pub(super) fn route_refusal(&self) -> Option<RefusalExplanation> {
        if self.route.serves_purpose(self.vocabulary(), self.purpose) {
            return None;
        }
        let (route, purpose) = (&self.route.name, self.purpose_name());
        let served = quoted(self.vocabulary(), self.route.purposes.as_deref().unwrap_or_default());
        let why = format!("the route `{route}` is for {served}");
        let changes =
            RequiredChanges::one("route", format!("`purposes` of the route `{route}`: with `{purpose}`"));
        Some(RefusalExplanation::new(Denial::PurposeNotPermitted.name(), why, changes))
    }

    /// Returns the refusal of an admission.
    pub(super) fn admission_refusal(&self, denial: Denial) -> RefusalExplanation {
        let (recipient, purpose) = (&self.recipient.name, self.purpose_name());
        let (why, changes) = match denial {
            Denial::PurposeNotPermitted => {
                let registered = quoted(self.vocabulary(), &self.recipient.in_agreement.purposes);
                (
                    format!("`{recipient}` is registered for {registered}"),
                    RequiredChanges::one(
                        "registration",
                        format!("`purposes` of the recipient `{recipient}`: with `{purpose}`"),
                    ),
                )
            }
            Denial::RecipientSuspended => (
                format!("`{recipient}` is suspended"),
                RequiredChanges::one(
                    "suspension",
                    format!(
                        "the suspension of `{recipient}` lifted: by an event, or by `suspended` in its registration"
                    ),
                ),
            ),
            Denial::AgreementNotInForce => {
                let until = self.recipient.agreement.as_ref().and_then(|agreement| agreement.until);
                let why = match until {
                    Some(until) => format!("the agreement with `{recipient}` ended on {until}"),
                    None => format!("`{recipient}` has no agreement"),
                };
                (
                    why,
                    RequiredChanges::one(
                        "agreement",
                        format!("an agreement with `{recipient}` that is in force: `agreement`"),
                    ),
                )
            }
            Denial::LegalReferenceMissing => {
                let why = match self.case_status {
                    None => "the request cites no registered case".to_owned(),
                    Some(case) => format!("the cited case {case}"),
                };
                let case = format!(
                    "a cited case that is registered for `{recipient}` and `{purpose}`, approved by two people and not ended"
                );
                (why, RequiredChanges::one("case", case))
            }
            Denial::NoRulePermits => {
                no_rule_permits(self.pack, self.recipient.in_agreement.kind, self.purpose, self.operation)
            }
        };
        RefusalExplanation::new(denial.name(), why, changes)
    }
}

/// Returns the refusal of an answer that leaves as a whole or not at all.
pub(super) fn whole_answer(hides_existence: bool, why: &str, changes: RequiredChanges) -> RefusalExplanation {
    // The code that the recipient receives.
    let code = if hides_existence { "not-found" } else { "subject-withheld" };
    RefusalExplanation::new(code, why, changes)
}

/// Returns the refusal of a purpose other than the one that the credential is locked to.
pub(super) fn locked_credential(code: &str) -> RefusalExplanation {
    let changes = RequiredChanges::one("credential", "a credential that is not locked to another purpose");
    RefusalExplanation::new(code, "the credential is locked to another purpose", changes)
}

/// Returns a logged refusal that does not depend on registration, route or rules.
pub(super) fn other_refusal(code: &str) -> RefusalExplanation {
    let (why, what, change) = match code {
        "purpose-missing" | "purpose-malformed" | "purpose-unknown" | "legal-basis-as-purpose" => (
            "the declared purpose is not valid",
            "request",
            "the request's purpose header: one purpose of the policy",
        ),
        "query-on-withheld-field" => (
            "the query uses a parameter that the route does not pass, or one about a withheld field",
            "request",
            "the request's query, or `[route.query]`",
        ),
        "ledger-unavailable" | "ledger-stale" | "audit-unavailable" | "overloaded" | "too-many-requests" => (
            "the gateway could not answer at that time",
            "gateway",
            "a later request: see the log and the metrics of the gateway",
        ),
        code if code.starts_with("upstream-") => (
            "the upstream gave no answer that may leave",
            "upstream",
            "the answer of the upstream: the log of the gateway has the cause of this decision",
        ),
        _ => ("the request was refused before its rules were evaluated", "request", "the request"),
    };
    RefusalExplanation::new(code, why, RequiredChanges::one(what, change))
}

fn quoted(words: &Vocabulary, purposes: &[PurposeId]) -> String {
    let names: Vec<String> =
        purposes.iter().map(|purpose| format!("`{}`", words.purposes().name(*purpose))).collect();
    if names.is_empty() { "no purpose".to_owned() } else { names.join(", ") + " only" }
}
