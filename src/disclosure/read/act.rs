//! Acts of those who administer the gateway: who looked at what is on record about a person, and why.
//!
//! An act is one record of its own kind. It is no disclosure: exchanges, accounts of disclosures and reports leave it out.

use std::io;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::decoded_log::{self, DecodedLog};
use super::exchange_records::earliest_record;
use super::former_records::{self, FormerRecords};
use super::source::{LogPlace, pseudonyms_in};
use crate::disclosure::entry::EntryKind;
use crate::disclosure::storage::ReadError;
use crate::keys::{LoggedPerson, SubjectPseudonyms};
use crate::vocabulary::time_of;

/// An act as the log has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedAct {
    /// The act's id.
    pub act: String,
    /// Time of the request.
    pub time: Timestamp,
    /// The name of the actor; `None` if nobody was signed in.
    pub actor: Option<String>,
    /// The role by which the actor may use the resource.
    pub role: Option<String>,
    /// The resource, as a template without ids.
    pub resource: String,
    /// The person's pseudonym in this act; in acts of earlier versions, that of the day.
    pub subject: Option<String>,
    /// The decision that the resource is about.
    pub of_decision: Option<String>,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// Name of the gateway that wrote the record.
    pub gateway: Option<String>,
    /// `Some(false)` if it is in an old log that was read without the key of its tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags_checked: Option<bool>,
}

/// Selects acts. Each member that is present narrows the selection.
#[derive(Clone, Debug, Default)]
pub struct ActFilter {
    /// Only acts at or after this time.
    pub since: Option<Timestamp>,
    /// Only acts about this person, given by each spelling of the id.
    pub subject: Option<(Vec<LoggedPerson>, SubjectPseudonyms)>,
}

impl ActFilter {
    /// True if the filter selects an act, which was recorded on `day`.
    fn matches(&self, act: &RecordedAct, day: &str) -> bool {
        if self.since.is_some_and(|since| act.time < since) {
            return false;
        }
        let Some((person, pseudonyms)) = &self.subject else { return true };
        let Some(subject) = &act.subject else { return false };
        let of_act = Ulid::from_string(&act.act).map(|id| pseudonyms.act(id));
        // Earlier versions named the person as in the other entries of the day.
        let epochs = of_act.into_iter().chain([pseudonyms.epoch(day)]);
        let mut names = epochs.flat_map(|epoch| pseudonyms_in(&epoch, person));
        names.any(|name| name.to_string() == *subject)
    }
}

/// Passes the acts in a log to `emit`, oldest first.
///
/// # Errors
/// [`ReadError`]. Acts that were emitted before the error remain valid.
pub fn acts(
    LogPlace { folder, index: _, tags }: LogPlace<'_>,
    filter: &ActFilter,
    mut emit: impl FnMut(&RecordedAct) -> io::Result<()>,
) -> Result<(), ReadError> {
    let mut former = FormerRecords::new(former_records::segments(folder, filter.since)?, tags);
    while let Some(act) = former.next_of_kind::<RecordedAct>("act") {
        let act = RecordedAct { tags_checked: tags.is_none().then_some(false), ..act? };
        let day = act.time.to_zoned(TimeZone::UTC).date().to_string();
        if filter.matches(&act, &day) {
            emit(&act).map_err(ReadError::Output)?;
        }
    }
    let Some(mut log) = decoded_log::open(folder)? else { return Ok(()) };
    let first = match filter.since {
        Some(since) => log.first_since(earliest_record(since))?,
        None => log.reader().begin(),
    };
    for index in first..log.reader().size() {
        if let Some((act, day)) = recorded_act(&mut log, index)?
            && filter.matches(&act, &day)
        {
            emit(&act).map_err(ReadError::Output)?;
        }
    }
    Ok(())
}

/// Returns the act in the entry at an index, if it is one, and the day of the entry.
fn recorded_act(
    log: &mut DecodedLog,
    index: u64,
) -> Result<Option<(RecordedAct, std::sync::Arc<str>)>, ReadError> {
    let Some(entry) = log.entry(index)? else { return Ok(None) };
    let head = log.head(&entry)?;
    let (EntryKind::Act, Some(id)) = (head.kind, head.id) else { return Ok(None) };
    let place = log.place(index)?;
    let detail = log.detail(EntryKind::Act, &entry)?;
    let act = RecordedAct {
        act: id.to_string(),
        time: time_of(id),
        actor: detail.administrator.map(str::to_owned),
        role: detail.role.map(str::to_owned),
        // Only a deleted detail has none.
        resource: detail.resource.unwrap_or_default().to_owned(),
        subject: detail.subject.map(|subject| subject.to_string()),
        of_decision: detail.of_decision.map(|decision| decision.to_string()),
        reason: detail.reason.map(str::to_owned),
        gateway: Some(log.gateway(&place, head.base)?.to_string()),
        tags_checked: None,
    };
    Ok(Some((act, place.day.name)))
}
