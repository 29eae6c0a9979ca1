//! The accounting of disclosures in the form of 45 CFR 164.528 (HIPAA).
//!
//! For each disclosure it states the date, who received it, the data, and the purpose (164.528(b)(2)). Repeated disclosures to
//! one recipient for one purpose are one line with the first and the last date and their number (164.528(b)(3)). The law asks
//! for the six years before the request, so the accounting says from which day on the logs hold disclosures.
//!
//! It lists every disclosure on record. The controller may leave out those that 164.528(a)(1) exempts, such as disclosures for
//! treatment, payment and health care operations.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::{DisclosureList, ReportedDisclosure};
use crate::disclosure::AccountedCategory;
use crate::disclosure::questions::LogExtent;

/// An accounting of the disclosures about one person.
#[derive(Clone, Debug, Serialize)]
pub struct DisclosureAccounting {
    /// Time at which it was made.
    pub made: Timestamp,
    /// The day from which on every log holds disclosures; `null` if a log could not be read or is empty.
    pub since: Option<Date>,
    /// False if a log could not be read.
    pub complete: bool,
    /// The logs that were read.
    pub logs: Vec<LogExtent>,
    /// The disclosures, by the date of the first one.
    pub disclosures: Vec<RepeatedDisclosures>,
}

/// Disclosures to one recipient for one purpose.
#[derive(Clone, Debug, Serialize)]
pub struct RepeatedDisclosures {
    /// The recipient's legal name, or its configured name if the configuration has no other.
    pub recipient: String,
    /// The recipient's address, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Title of the purpose.
    pub purpose: String,
    /// The categories that were disclosed, and their forms and bases.
    pub categories: BTreeSet<AccountedCategory>,
    /// The cases that the requests cited.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub cases: BTreeSet<String>,
    /// Time of the first disclosure.
    pub first: Timestamp,
    /// Time of the last disclosure.
    pub last: Timestamp,
    /// The number of disclosures.
    pub number: u64,
}

/// Summarises disclosures as the accounting demands.
pub fn accounting_of(list: &DisclosureList, now: Timestamp) -> DisclosureAccounting {
    let mut lines: BTreeMap<(&str, &str), RepeatedDisclosures> = BTreeMap::new();
    for ReportedDisclosure { disclosed, purpose_title, recipient_name, recipient_address, .. } in
        &list.disclosures
    {
        let line =
            lines.entry((&disclosed.recipient, &disclosed.purpose)).or_insert_with(|| RepeatedDisclosures {
                recipient: recipient_name.clone(),
                address: recipient_address.clone(),
                purpose: purpose_title.clone(),
                categories: BTreeSet::new(),
                cases: BTreeSet::new(),
                first: disclosed.time,
                last: disclosed.time,
                number: 0,
            });
        line.number += 1;
        line.first = line.first.min(disclosed.time);
        line.last = line.last.max(disclosed.time);
        line.categories.extend(disclosed.categories.iter().cloned());
        line.cases.extend(disclosed.case.clone());
    }
    let mut disclosures: Vec<RepeatedDisclosures> = lines.into_values().collect();
    disclosures.sort_by_key(|line| line.first);
    let since = list.logs.iter().map(|log| log.since).collect::<Option<Vec<Date>>>();
    DisclosureAccounting {
        made: now,
        since: since.and_then(|days| days.into_iter().max()),
        complete: list.complete,
        logs: list.logs.clone(),
        disclosures,
    }
}
