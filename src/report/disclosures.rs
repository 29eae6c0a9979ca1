//! Lists what was disclosed about one person, from the logs of all gateways.
//!
//! Invariants: the list contains nothing about anybody else, and no disclosure under a case that is still confidential. A
//! log that is not read is named in the list.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::{DisclosureList, ReportError, ReportSources, ReportedDisclosure, titled};
use crate::disclosure::questions::{LogExtent, LogRelation};
use crate::disclosure::{self, Account, AccountedExchange};
use crate::ledger::{self, Entity};
use crate::policy::Pack;
use crate::vocabulary::{SubjectId, Vocabulary};

/// Kinds of events after which a recipient may hold data that are wrong or should not exist.
const CHANGES: [&str; 2] = ["correction", "erasure"];

/// The title in place of a purpose, of an observed exchange that has none.
const NO_PURPOSE: &str = "no purpose that we know was stated";

/// An event by which data of a person were corrected or erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaterChange {
    /// The kind: `correction` or `erasure`.
    pub event: &'static str,
    /// The time from which it counts.
    pub at: Timestamp,
}

/// Returns what was disclosed about the person, except under cases that are still confidential. A log that cannot be read, or
/// that names people by the secrets of another ledger, makes the list incomplete, and so does a gateway whose log is not listed,
/// or a log on record that is lost.
///
/// # Errors
/// [`ReportError`] if the ledger or every log cannot be read.
pub fn disclosures(
    person: &SubjectId,
    sources: &ReportSources<'_>,
    now: Timestamp,
) -> Result<DisclosureList, ReportError> {
    let confidential = sources.archive.confidential_cases(now)?;
    let ledger = sources.archive.ledger_id()?;
    // Before the logs are read: a gateway may state meanwhile that its log has grown.
    let known = sources.archive.known_logs()?.without(sources.retired);
    let (mut all, mut logs, mut failure, mut is_read) = (Vec::new(), Vec::new(), None, false);
    // Taken first: a log that grows meanwhile is read at least as far.
    let extents: Vec<_> = sources.logs.iter().map(|log| LogExtent::of_people(log.folder(), ledger)).collect();
    let read = sources.logs.iter().zip(&extents);
    let relations =
        LogRelation::of_logs(read.map(|(log, extent)| Some(log.folder()).zip(extent.as_ref().ok())));
    for ((log, extent), LogRelation { is_copy, fork }) in sources.logs.iter().zip(extents).zip(relations) {
        if is_copy {
            continue;
        }
        let spellings = sources.archive.logged_persons(person, log.fingerprints())?;
        match extent.and_then(|extent| Ok((disclosure::account(log, &spellings)?, extent))) {
            Ok((Account { exchanges, deleted }, extent)) => {
                is_read = true;
                all.extend(exchanges);
                logs.push(extent.with_fork(fork).without_details(&deleted));
            }
            Err(error) => {
                logs.push(LogExtent::unreadable(&error));
                failure = Some(error);
            }
        }
    }
    LogExtent::compare(&mut logs, &known, None, now);
    let complete = logs.iter().all(|log| log.fault.is_none());
    if let Some(error) = failure.filter(|_| !is_read) {
        return Err(error.into());
    }
    all.sort_by(|a, b| (a.time, &a.decision).cmp(&(b.time, &b.decision)));
    // Of an old log and its copy, which have no origin, and of a log and its fork, each exchange counts once.
    all.dedup();
    all.retain(|one| {
        let cited = one.case.as_ref().and_then(|case| confidential.get(case.as_str()));
        cited.is_none_or(|case| !case.covers(&one.recipient, &one.purpose, sources.archive.terms()))
    });
    let history = sources.archive.history(&Entity::Subject(person.clone()))?;
    let change = |past: &ledger::PastEvent| {
        let event = past.event.kind.name();
        CHANGES.contains(&event).then_some(LaterChange { event, at: past.event.at })
    };
    let changes: Vec<LaterChange> = history.iter().filter_map(change).collect();
    let disclosures = all.into_iter().map(|one| described(one, sources, &changes)).collect();
    Ok(DisclosureList { complete, logs, disclosures })
}

fn described(
    disclosed: AccountedExchange,
    sources: &ReportSources<'_>,
    changes: &[LaterChange],
) -> ReportedDisclosure {
    let recipient = sources.recipients.iter().find(|known| *known.facts.name == *disclosed.recipient);
    let title = |words: &Vocabulary| {
        words.purposes().term(words.purposes().find(&disclosed.purpose)?).map(|term| term.title.clone())
    };
    let legal_name = recipient.and_then(|known| known.legal_name.as_deref());
    ReportedDisclosure {
        purpose_title: match disclosed.purpose.as_str() {
            "" => NO_PURPOSE.to_owned(),
            name => find_in_packs(sources.packs, title).unwrap_or_else(|| name.to_owned()),
        },
        recipient_name: legal_name.unwrap_or(&disclosed.recipient).to_owned(),
        recipient_address: recipient.and_then(|known| known.address.as_deref()).map(str::to_owned),
        recipient_contact: recipient.and_then(|known| known.contact.as_deref()).map(str::to_owned),
        recipient_kind: recipient.and_then(|known| {
            find_in_packs(sources.packs, |words| words.kinds().term(known.facts.kind).map(titled))
        }),
        recipient_country: recipient.and_then(|known| known.facts.country.clone()),
        changed_since: changes.iter().filter(|change| change.at > disclosed.time).cloned().collect(),
        disclosed,
    }
}

/// Returns the first result among the packs' vocabularies.
fn find_in_packs<T>(packs: &[Arc<Pack>], find: impl Fn(&Vocabulary) -> Option<T>) -> Option<T> {
    packs.iter().find_map(|pack| find(pack.vocabulary()))
}
