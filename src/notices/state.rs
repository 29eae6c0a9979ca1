//! The states of inquiries and notices, as the store keeps them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ulid::Ulid;

use super::{Receiver, clock};
use crate::keys::random;
use crate::ledger::{KnownHistory, Position};
use crate::vocabulary::SubjectId;

/// The events that recipients are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeEvent {
    /// The person's data were erased (GDPR Art. 17).
    Erasure,
    /// Data were corrected (GDPR Art. 16).
    Correction,
    /// Processing is restricted (GDPR Art. 18).
    Restriction,
}

impl NoticeEvent {
    /// Returns the name of the event.
    pub fn name(self) -> &'static str {
        match self {
            NoticeEvent::Erasure => "erasure",
            NoticeEvent::Correction => "correction",
            NoticeEvent::Restriction => "restriction",
        }
    }
}

/// How a recipient is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// The gateway sends a request.
    Webhook,
    /// The recipient reads its feed.
    Feed,
    /// A person tells it.
    Manual,
}

impl Channel {
    /// Returns the name of the channel.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Webhook => "webhook",
            Channel::Feed => "feed",
            Channel::Manual => "manual",
        }
    }
}

/// The status of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeStatus {
    /// The recipient has not been told yet.
    Waiting,
    /// The recipient was told.
    Delivered,
    /// The recipient has read and acknowledged it.
    Acknowledged,
    /// The recipient did not accept it in time. A person has to tell it.
    Expired,
}

impl NoticeStatus {
    /// Returns the name of the status.
    pub fn name(self) -> &'static str {
        match self {
            NoticeStatus::Waiting => "waiting",
            NoticeStatus::Delivered => "delivered",
            NoticeStatus::Acknowledged => "acknowledged",
            NoticeStatus::Expired => "expired",
        }
    }
}

/// A name by which a recipient knows a person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PersonName {
    /// The id, which left in clear or came from the recipient.
    Id(String),
    /// The recipient's pseudonym of the id.
    Pseudonym(String),
}

impl std::fmt::Debug for PersonName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonName")
    }
}

/// The state of an inquiry into who had received data about a person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InquiryState {
    /// The event.
    pub event: NoticeEvent,
    /// Namespace of the person's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The person's id.
    pub subject: String,
    /// The time of the event.
    pub at: Timestamp,
    /// Position of the event in the ledger.
    pub position: u64,
    /// The time at which the event was recorded.
    pub recorded: Timestamp,
    /// The time at which the inquiry began.
    pub begun: Timestamp,
    /// Random text that the ids of the notices follow from.
    pub salt: String,
    /// True if all logs were read, and have everything that left before the event was in force everywhere.
    pub complete: bool,
    /// Number of searches.
    pub searches: u32,
    /// The part of this inquiry in the deletion of the person's log secret.
    pub secret: SecretDeletion,
}

/// The part of an inquiry into an erasure in the deletion of the person's log secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretDeletion {
    /// This inquiry does not delete it yet.
    #[default]
    Waits,
    /// This inquiry is about to delete it, or has deleted it; the disclosure log may lack the record.
    Begun,
    /// It was deleted, and that is on record.
    Recorded,
}

/// An event that an inquiry is about.
#[derive(Clone, Debug)]
pub(super) struct InquiredEvent {
    pub(super) event: NoticeEvent,
    pub(super) person: SubjectId,
    pub(super) at: Timestamp,
    pub(super) id: Ulid,
    pub(super) position: Position,
    pub(super) recorded: Timestamp,
}

impl std::fmt::Debug for InquiryState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InquiryState")
    }
}

impl InquiryState {
    pub(super) fn new(event: &InquiredEvent, now: Timestamp) -> Result<InquiryState, getrandom::Error> {
        let InquiredEvent { event, person, at, id: _, position, recorded } = event;
        Ok(InquiryState {
            event: *event,
            namespace: person.namespace().map(ToString::to_string),
            subject: person.id().to_string(),
            at: *at,
            position: position.0,
            recorded: *recorded,
            begun: now,
            salt: format!("{:032x}", random::bits()?),
            complete: false,
            searches: 0,
            secret: SecretDeletion::default(),
        })
    }

    /// True if what left in an exchange that began at `begun`, judged at this position of the ledger, left after the event:
    /// the recipient was given it in spite of the event, and need not be told. An exchange that began before the event may
    /// hold content from before it.
    pub fn is_after(&self, begun: Timestamp, position: u64) -> bool {
        position >= self.position && begun > clock::after(self.recorded, clock::SETTLED)
    }

    /// Returns the id of the notice to a recipient. Whichever gateway begins the notice, there is one. Without the salt, the
    /// id of a notice with a pseudonym would confirm a guess of the person's id. Of the time, the id has the day only: the
    /// disclosure log keeps the id, and the ledger the time of the event.
    pub(super) fn notice_id(&self, recipient: &str) -> Ulid {
        let text = format!("{} {recipient}", self.salt);
        let hash = blake3::derive_key("purposegate 2026 v1 notice", text.as_bytes());
        let random = hash.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
        Ulid::from_parts(u64::try_from(clock::day_of(self.begun).as_millisecond()).unwrap_or(0), random)
    }
}

/// The state of a notice.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeState {
    /// The event.
    pub event: NoticeEvent,
    /// The time of the event.
    pub at: Timestamp,
    /// Namespace of the person's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The person's id, for whoever has to tell the recipient.
    pub subject: String,
    /// The name by which the recipient knows the person.
    pub name: Option<PersonName>,
    /// The categories that the recipient had received.
    pub categories: Vec<String>,
    /// The first disclosure on record.
    pub first: Timestamp,
    /// The last one.
    pub last: Timestamp,
    /// How the recipient is told.
    pub channel: Channel,
    /// A digest of who the recipient is, as the configuration said when the notice began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The status.
    pub status: NoticeStatus,
    /// Number of attempts that failed.
    pub attempts: u32,
    /// True while the disclosure log lacks the present outcome.
    pub unrecorded: bool,
    /// The time at which the notice began; `None` in states of earlier versions, whose ids have it.
    #[serde(default)]
    pub begun: Option<Timestamp>,
}

/// The members of a notice's state that are kept after the end of its inquiry.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct ClosedState {
    pub(super) status: NoticeStatus,
}

/// The state of an inquiry that has ended, whose acknowledged notices are still known.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct EndedState {
    /// The day.
    pub(super) ended: Timestamp,
}

impl std::fmt::Debug for NoticeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NoticeState")
    }
}

impl NoticeState {
    /// A recipient that does not know the person by a name that can be told is told by a person.
    pub(super) fn new(inquiry: &InquiryState, receiver: Receiver) -> NoticeState {
        let InquiryState { event, namespace, subject, at, begun, .. } = inquiry.clone();
        let Receiver { recipient: _, categories, first, last, name, channel, identity } = receiver;
        let channel = if name.is_some() { channel } else { Channel::Manual };
        NoticeState {
            event,
            at,
            namespace,
            subject,
            name,
            categories,
            first,
            last,
            channel,
            identity,
            status: NoticeStatus::Waiting,
            attempts: 0,
            // That somebody waits for a person is on record; a notice that is about to be sent is not.
            unrecorded: channel == Channel::Manual,
            begun: Some(begun),
        }
    }

    /// True while the recipient has not been told.
    pub fn is_untold(&self) -> bool {
        matches!(self.status, NoticeStatus::Waiting | NoticeStatus::Expired)
    }

    /// True unless the recipient that has the name now is known to be another one.
    pub fn is_for(&self, identity: &str) -> bool {
        self.identity.as_ref().is_none_or(|known| known == identity)
    }

    /// Returns the outcome as the disclosure log names it.
    pub fn outcome(&self) -> &'static str {
        match self.status {
            NoticeStatus::Waiting => Channel::Manual.name(),
            NoticeStatus::Delivered | NoticeStatus::Acknowledged | NoticeStatus::Expired => {
                self.status.name()
            }
        }
    }

    /// Returns what the recipient is told.
    pub fn data(&self) -> Value {
        let NoticeState { at, name, categories, first, last, .. } = self;
        json!({ "time": at, "person": name, "categories": categories, "first": first, "last": last })
    }
}

/// The place up to which events have been examined.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReadPosition {
    position: u64,
    last_event: Option<(u64, String)>,
}

impl ReadPosition {
    pub(super) fn of(known: &KnownHistory) -> ReadPosition {
        let last_event = known.last_event.map(|(position, id)| (position.0, id.to_string()));
        ReadPosition { position: known.position.0, last_event }
    }

    pub(super) fn history(&self) -> KnownHistory {
        let event = |(position, id): &(u64, String)| Some((Position(*position), Ulid::from_string(id).ok()?));
        let last_event = self.last_event.as_ref().and_then(event);
        KnownHistory { position: Position(self.position), last_event }
    }
}

/// The members of a stored event that a search for inquiries reads.
#[derive(Deserialize)]
pub(super) struct EventTime {
    pub(super) kind: String,
    pub(super) at: Option<Timestamp>,
}

/// Returns the id of the inquiry into an event: the same on every gateway, and another one for each event.
pub(super) fn inquiry_id(event: NoticeEvent, id: Ulid) -> Ulid {
    let mut hasher = blake3::Hasher::new_derive_key("purposegate 2026 v1 inquiry");
    hasher.update(event.name().as_bytes()).update(&id.to_bytes());
    let hash = hasher.finalize();
    let random = hash.as_bytes().first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
    Ulid::from_parts(id.timestamp_ms(), random)
}

/// Writes a state as the store keeps it.
pub(super) fn text(state: &impl Serialize) -> String {
    // Cannot fail: the keys are texts.
    serde_json::to_string(state).unwrap_or_default()
}
