//! Acts of those who administer the gateway: who looked at what is on record about a person, and why.
//!
//! An act is one record of its own kind. It is no disclosure: exchanges, accounts of disclosures and reports leave it out.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::fold::{ReadError, RecordReader, segments_since};
use super::object_writer::{ObjectWriter, RecordBody};
use super::{Log, LogError, record, segment};
use crate::keys::{EpochPseudonyms, Fingerprint, Pseudonym, SubjectPseudonyms};

/// The kind of the records of acts.
const KIND: &str = "act";

/// The use of a resource that shows what is on record about a person.
#[derive(Clone, Debug)]
pub struct AdministrativeAct<'a> {
    /// Time of the request.
    pub time: Timestamp,
    /// The name of the actor, if one is signed in.
    pub actor: Option<&'a str>,
    /// The role by which the actor may use the resource.
    pub role: Option<&'static str>,
    /// The resource, as a template without ids.
    pub resource: &'static str,
    /// The person whom the resource is about.
    pub subject: Option<Fingerprint>,
    /// The decision that the resource is about.
    pub decision: Option<Ulid>,
    /// Why, in the actor's words.
    pub reason: Option<&'a str>,
}

fn body(act: &AdministrativeAct<'_>, pseudonyms: &EpochPseudonyms) -> RecordBody {
    let AdministrativeAct { time, actor, role, resource, subject, decision, reason } = act;
    let mut members = ObjectWriter::begin_record(KIND, ("act", &Ulid::generate().to_string()), *time);
    if let Some(actor) = actor {
        members.text("actor", actor);
    }
    if let Some(role) = role {
        members.word("role", role);
    }
    members.text("resource", resource);
    if let Some(subject) = subject {
        members.word("subject", &pseudonyms.of(*subject).to_string());
    }
    if let Some(decision) = decision {
        members.word("of_decision", &decision.to_string());
    }
    if let Some(reason) = reason {
        members.text("reason", reason);
    }
    members.into_body()
}

impl Log {
    /// Records an act, and waits until the record is as durable as configured.
    ///
    /// # Errors
    /// [`LogError`]: what the resource shows may not leave.
    pub fn act(
        &self,
        act: &AdministrativeAct<'_>,
    ) -> impl Future<Output = Result<(), LogError>> + Send + use<> {
        let pseudonyms = self.pseudonyms().epoch(&record::epoch(act.time));
        self.append(body(act, &pseudonyms))
    }
}

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
    /// The person's pseudonym of that day.
    pub subject: Option<String>,
    /// The decision that the resource is about.
    pub of_decision: Option<String>,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// Name of the gateway that wrote the record.
    pub gateway: Option<String>,
}

/// Selects acts. Each member that is present narrows the selection.
#[derive(Clone, Debug, Default)]
pub struct ActFilter {
    /// Only acts at or after this time.
    pub since: Option<Timestamp>,
    /// Only acts about this person, given by the fingerprint of each spelling of the id.
    pub subject: Option<(Vec<Fingerprint>, SubjectPseudonyms)>,
}

impl ActFilter {
    fn matches(&self, act: &RecordedAct) -> bool {
        if self.since.is_some_and(|since| act.time < since) {
            return false;
        }
        let Some((person, pseudonyms)) = &self.subject else { return true };
        let Some(subject) = &act.subject else { return false };
        let pseudonyms = pseudonyms.epoch(&record::epoch(act.time));
        let mut names = person.iter().map(|fingerprint| pseudonyms.of(*fingerprint));
        names.any(|name: Pseudonym| name.to_string() == *subject)
    }
}

/// Passes the acts in a log's folder to `emit`, oldest first.
///
/// # Errors
/// [`ReadError`]. Acts that were emitted before the error remain valid.
pub fn acts(
    folder: &Path,
    filter: &ActFilter,
    mut emit: impl FnMut(&RecordedAct) -> io::Result<()>,
) -> Result<(), ReadError> {
    let mut records = RecordReader::new(segments_since(folder, filter.since)?);
    let is_act = |line: &[u8]| segment::has_kind(line, KIND);
    while let Some(act) = records.next_of(is_act, |line| serde_json::from_slice::<RecordedAct>(line)) {
        let act = act?;
        if filter.matches(&act) {
            emit(&act).map_err(ReadError::Output)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Durability, ExchangeFilter, accounting, fold, verify};
    use super::*;
    use crate::keys::Keys;

    #[tokio::test]
    async fn an_act_is_verified_and_found_and_is_no_disclosure() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::random().unwrap();
        let log = Log::open(folder.path(), &keys, "g", Durability::BeforeRelease, Duration::MAX).unwrap();
        let (ada, ben) = (keys.fingerprints().recipient("ada"), keys.fingerprints().recipient("ben"));
        for (subject, reason) in [(ada, Some("request \"17\"\n")), (ben, None)] {
            let act = AdministrativeAct {
                time: Timestamp::now(),
                actor: reason.map(|_| "kim"),
                role: reason.map(|_| "privacy"),
                resource: "/v1/subjects/{id}",
                subject: Some(subject),
                decision: None,
                reason,
            };
            log.act(&act).await.unwrap();
        }
        let found = |subject: Option<Fingerprint>| {
            let subject = subject.map(|subject| (vec![subject], keys.subject_pseudonyms()));
            let mut found = Vec::new();
            let filter = ActFilter { since: None, subject };
            acts(folder.path(), &filter, |act| {
                found.push(act.clone());
                Ok(())
            })
            .unwrap();
            found
        };
        assert_eq!(found(None).len(), 2);
        let of_ada = found(Some(ada));
        assert_eq!(of_ada.len(), 1);
        assert_eq!((of_ada[0].actor.as_deref(), of_ada[0].gateway.as_deref()), (Some("kim"), Some("g")));
        assert_eq!(of_ada[0].reason.as_deref(), Some("request \"17\"\n"));
        let mut exchanges = 0;
        fold(folder.path(), &ExchangeFilter::default(), true, |_| {
            exchanges += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!((exchanges, accounting(log.source(), &[ada]).unwrap().len()), (0, 0));
        drop(log);
        let verified = verify(folder.path(), Some(&keys.log_tags()), None).unwrap();
        assert_eq!(verified.findings, Vec::<String>::new());
    }
}
