//! The next step after a field was withheld.

/// Returns what would have to change, by the reason of the disclosure log.
pub(super) fn withheld_step(reason: &str) -> &'static str {
    match reason {
        "unclassified" => "Give the field a category in the route's `fields`.",
        "no-subject" => "Nothing says whom the record is about: map its `subject`.",
        "unknown-subject" => {
            "The ledger has no event about the person, other than a refusal: record what the person was told or has chosen."
        }
        "unreadable" => "A fact of the record cannot be read: see the format of the mapped facts.",
        "no-rule" => {
            "No rule permits it for this kind of recipient and this purpose. Try a decision to see the nearest rule."
        }
        "prohibited" => "A rule forbids it, whatever else permits it.",
        "refused" => "The person refused it. Only the person can change that.",
        "stale" => "The ledger was stale. It leaves again when the ledger is current.",
        _ => "See the rules of the pack.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Reason;

    #[test]
    fn every_reason_has_a_step_of_its_own() {
        for reason in [
            Reason::Unclassified,
            Reason::NoSubject,
            Reason::UnknownSubject,
            Reason::Unreadable,
            Reason::NoRule,
            Reason::Prohibited,
            Reason::Refused,
            Reason::Stale,
        ] {
            assert_ne!(withheld_step(reason.name()), withheld_step(""), "{}", reason.name());
        }
    }
}
