//! The next step after a refusal: who has to do what.

/// Returns what an operator does about refusals with this code.
pub(super) fn next_step(code: &str) -> &'static str {
    match code {
        "purpose-missing" | "purpose-malformed" | "purpose-unknown" | "legal-basis-as-purpose" => {
            "The recipient declares no purpose of the policy. Send it the names of its purposes."
        }
        "credential-missing" | "credential-invalid" => {
            "Somebody calls without a registered credential. See in the access log where from; send a registered recipient its key again."
        }
        "purpose-not-permitted" => {
            "Compare the recipient's `purposes` and the route's `purposes` in the configuration with what it declares."
        }
        "recipient-suspended" => "Somebody suspended the recipient. Resume it when the reason is gone.",
        "agreement-not-in-force" => {
            "The agreement has ended, or there is none. Renew it, and change its end in the configuration."
        }
        "legal-reference-missing" => "The authority cites no case in force. Register and approve the case.",
        "no-rule-permits" => {
            "No rule of the pack is for this kind of recipient and this purpose. See the matrix."
        }
        "subject-withheld" => {
            "The route releases all or nothing. A decision shows the fields that are withheld, and why."
        }
        "query-on-withheld-field" => {
            "The request filters or sorts by a field that the recipient may not see. List the parameter in the route's `query`, or leave it out."
        }
        "too-many-requests" => "The recipient exceeds its `rate`. Ask it to wait, or change the rate.",
        "upstream-unreadable" => "The API's answer cannot be judged. The log of the process names the cause.",
        "upstream-unreachable" | "upstream-timeout" => {
            "See if the API works: `purposegate_upstream_endpoints` shows its addresses."
        }
        "upstream-refused" => "The API itself refuses. See its log.",
        "ledger-unavailable" | "ledger-stale" => {
            "See the store of the ledger: nothing that rests on consent leaves until it answers."
        }
        "audit-unavailable" => "The disclosure log cannot be written. See if its disk is full.",
        "overloaded" => {
            "The gateway is at a limit of memory or of exchanges. Add a gateway, or raise the limit."
        }
        "not-found" | "method-not-allowed" | "authority-not-served" => {
            "The recipient asks for what no route serves. Compare its URL with the routes."
        }
        "body-too-large"
        | "uri-too-long"
        | "headers-too-large"
        | "request-malformed"
        | "request-timeout"
        | "expectation-failed"
        | "method-not-implemented" => {
            "The request itself is not accepted. The recipient's program has to change."
        }
        _ => "A decision shows the whole reason.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Refusal;

    /// Codes of the look-up of decisions, which no exchange has.
    const LOOK_UPS: [&str; 2] = ["receipt-pending", "decision-pruned"];

    #[test]
    fn every_refusal_of_an_exchange_has_a_step_of_its_own() {
        for refusal in Refusal::ALL.iter().filter(|refusal| !LOOK_UPS.contains(&refusal.code())) {
            assert_ne!(next_step(refusal.code()), next_step(""), "{}", refusal.code());
        }
    }
}
