//! Reads `mode` and `observe-until` of a `[[route]]`: whether the route withholds, or only records what it would withhold.
//!
//! Invariant: no route on which a recipient outside of the controller's own organisation can be registered is observed. It does
//! not depend on the time: a clock can be set back.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::document::{Fields, Item, join};
use crate::exchange::route::{Recipient, after};
use crate::finding::Finding;
use crate::vocabulary::{PurposeId, Vocabulary};

/// A route that may be observed, and the recipients that are registered for one of its purposes.
pub(super) struct ObservedAudience<'a> {
    /// The route's configured name.
    pub(super) route: &'a str,
    /// All registered recipients.
    pub(super) recipients: &'a [Arc<Recipient>],
    /// The purposes that the route serves, each with its children; `None`: all.
    pub(super) purposes: Option<&'a [PurposeId]>,
    pub(super) vocabulary: &'a Vocabulary,
}

/// Reads both keys. Returns the last day on which the route is observed; `None`: it is enforced.
pub(super) fn read(fields: &mut Fields<'_>, audience: &ObservedAudience<'_>, now: Timestamp) -> Option<Date> {
    let mode = fields.item("mode");
    let observes =
        mode.as_ref().and_then(|mode| mode.choice(&[("enforce", false), ("observe", true)])) == Some(true);
    let written = fields.item("observe-until");
    let until = written.as_ref().and_then(Item::date).map(|until| until.value);
    match (mode.filter(|_| observes), written) {
        (Some(mode), Some(written)) => audience.find(fields, [&mode, &written], until?, now),
        (Some(_), None) => fields.missing("observe-until"),
        (None, Some(written)) => {
            let finding = Finding::warning(
                "observe-until-without-effect",
                format!("`observe-until` has no effect: route `{}` is enforced", audience.route),
            );
            let hint = "add `mode = \"observe\"`, or take it out";
            let finding = finding.label("without `mode = \"observe\"`").hint(hint);
            fields.document().find(finding, written.at());
        }
        (None, None) => {}
    }
    until.filter(|_| observes)
}

impl ObservedAudience<'_> {
    /// Says that the route is observed, until when, and by whom it must not be.
    fn find(&self, fields: &Fields<'_>, [mode, written]: [&Item<'_>; 2], until: Date, now: Timestamp) {
        let route = self.route;
        let outside = self.outside_recipients();
        if !outside.is_empty() {
            let finding = Finding::error(
                "observe-mode-recipients",
                format!(
                    "observe mode is for employees and contractors: route `{route}` also serves {}",
                    join(outside)
                ),
            );
            let hint = "observe mode withholds nothing. Restrict the route's `purposes` to those of your own organisation, give the \
                        others a route of their own, or write `mode = \"enforce\"`";
            fields.document().find(finding.label("would release everything to them").hint(hint), mode.at());
            return;
        }
        if after(until).is_none() {
            let finding = Finding::error(
                "observe-until-too-late",
                format!("route `{route}` would be observed until {until}, which has no end"),
            );
            let hint = "write the day by which enough is learnt";
            fields.document().find(finding.label("too late").hint(hint), written.at());
            return;
        }
        if until < now.to_zoned(TimeZone::UTC).date() {
            let finding = Finding::warning(
                "observe-mode-ended",
                format!("route `{route}` was observed until {until}, and is enforced since"),
            );
            let hint =
                "take out `mode` and `observe-until`; or write a later date, if more has to be learnt first";
            fields.document().find(finding.label("over").hint(hint), mode.at());
            return;
        }
        let finding = Finding::warning(
            "observe-mode",
            format!("route `{route}` is observed until {until}: everything leaves, whatever the policy says"),
        );
        let hint = "`audit show` and `purposegate_would_withhold_total` say what enforcing would withhold; it begins by itself \
                    after that day (UTC)";
        fields.document().find(finding.label("withholds nothing").hint(hint), mode.at());
    }

    /// Returns the names of the recipients outside of the controller's own organisation that are registered for a purpose of
    /// the route.
    fn outside_recipients(&self) -> Vec<&str> {
        let ObservedAudience { recipients, purposes, vocabulary, .. } = self;
        let tree = vocabulary.purposes();
        let is_served = |purpose: &PurposeId| {
            purposes.is_none_or(|served| served.iter().any(|served| tree.within(*purpose, *served)))
        };
        let is_taken = |recipient: &Recipient| {
            let facts = &recipient.in_agreement;
            tree.ids().any(|purpose| is_served(&purpose) && facts.is_registered_for(vocabulary, purpose))
        };
        let outside = recipients.iter().filter(|recipient| {
            !vocabulary.is_own_organisation(recipient.in_agreement.kind) && is_taken(recipient)
        });
        outside.map(|recipient| &*recipient.name).collect()
    }
}
