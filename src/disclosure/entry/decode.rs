//! Decodes heads and details, strictly: each entry has exactly one encoding.

use jiff::civil::Date;
use smallvec::SmallVec;
use ulid::Ulid;

use super::cbor::CborReader;
use super::encoder::FormerLogEnd;
use super::leaf::operation;
use super::schema::{CIRCUMSTANCES, DetailKey, EntryKind, HeadKey, NameTable, OBSERVED};
use super::{EntryError, MAX_ENTRY, SALT};
use crate::disclosure::record::ExchangeMode;
use crate::keys::Pseudonym;
use crate::vocabulary::Operation;

/// The head of an entry, decoded from its leaf. Numbers that stand for names count from the entry at [`DecodedHead::base`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodedHead<'e> {
    /// The kind.
    pub kind: EntryKind,
    /// Milliseconds since the start of the day.
    pub time: u64,
    /// SHA-256 of the detail.
    pub commitment: [u8; 32],
    /// The offset, from the day's first entry, of the entry from which numbers count.
    pub base: u64,
    /// The id of the decision, the act or the notice.
    pub id: Option<Ulid>,
    /// The number of the recipient's name.
    pub recipient: Option<u64>,
    /// The number of the accepted purpose.
    pub purpose: Option<u64>,
    /// The number of the route's name.
    pub route: Option<u64>,
    /// The operation.
    pub operation: Option<Operation>,
    /// The number of the policy's revision.
    pub policy: Option<u64>,
    /// The outcome.
    pub outcome: Option<RecordedOutcome>,
    /// The table of a name.
    pub table: Option<NameTable>,
    /// The text of a name.
    pub text: Option<&'e str>,
    /// The date of a day.
    pub date: Option<&'e str>,
    /// The gateway's name, in an entry that begins a day, a process or a resumption.
    pub gateway: Option<&'e str>,
    /// The number of checkpoints of earlier days that are kept.
    pub checkpoints: u64,
    /// The check value of the pseudonym key.
    pub pseudonym_key: Option<[u8; 16]>,
    /// The version of the program.
    pub version: Option<&'e str>,
    /// True if the previous process ended without a stop.
    pub unclean: bool,
    /// Bytes of an incomplete write that were cut off.
    pub torn_bytes: u64,
    /// The end of the old log: its id, the number of its records, its last chain value.
    pub former: (Option<&'e str>, u64, Option<[u8; 32]>),
    /// Time of the failure after which writing goes on, in milliseconds since 1970.
    pub since: Option<u64>,
    /// The first entry that is not deleted.
    pub below: Option<u64>,
    /// The number of segments of the old log that are deleted.
    pub former_segments: u64,
    /// The number of the first record of the old log that is kept; `None` if no segment of it is deleted, or none is kept.
    pub former_first: Option<u64>,
    /// The id of the ledger whose log secrets name people on the day. Days that an earlier version began have none.
    pub ledger: Option<[u8; 16]>,
    /// The first of the entries whose details are deleted; the last one is before `below`.
    pub from: Option<u64>,
    /// The number of details that are deleted.
    pub details: u64,
    /// The last entry of an earlier day with the circumstances of the exchange, if this one has them again.
    pub continues: Option<u64>,
    /// The number of refusals that have no entry.
    pub refusals: u64,
}

/// The outcome in a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedOutcome {
    /// The answer was sent completely.
    Released,
    /// The exchange was refused, with the problem code of this number.
    Refused(u64),
    /// The recipient disconnected or the answer was cut short.
    Aborted,
}

impl DecodedHead<'_> {
    /// True if the entry has the circumstances of an exchange.
    pub fn has_circumstances(&self) -> bool {
        self.route.is_some()
    }

    /// True if the entry is the first one with the circumstances of an exchange, in a log of which the entries before
    /// `first_kept` were pruned.
    pub fn begins_exchange(&self, first_kept: u64) -> bool {
        self.has_circumstances() && self.continues.is_none_or(|entry| entry < first_kept)
    }

    /// Returns the date of a day entry.
    pub fn day(&self) -> Option<Date> {
        self.date?.parse().ok()
    }

    /// Returns the end of the old log that a start entry states.
    pub fn former_end(&self) -> Option<FormerLogEnd> {
        let (log, records, chain) = self.former;
        Some(FormerLogEnd { log: log?.to_owned(), records, chain: chain? })
    }

    /// Returns the numbers in the head, each with the table of the name for which it stands.
    pub fn numbers(&self) -> impl Iterator<Item = (NameTable, u64)> + use<> {
        let code = match self.outcome {
            Some(RecordedOutcome::Refused(code)) => Some(code),
            _ => None,
        };
        [
            (NameTable::Recipient, self.recipient),
            (NameTable::Purpose, self.purpose),
            (NameTable::Route, self.route),
            (NameTable::Policy, self.policy),
            (NameTable::Code, code),
        ]
        .into_iter()
        .filter_map(|(table, number)| Some((table, number?)))
    }

    fn empty() -> DecodedHead<'static> {
        DecodedHead {
            kind: EntryKind::Padding,
            time: 0,
            commitment: [0; 32],
            base: 0,
            id: None,
            recipient: None,
            purpose: None,
            route: None,
            operation: None,
            policy: None,
            outcome: None,
            table: None,
            text: None,
            date: None,
            gateway: None,
            checkpoints: 0,
            pseudonym_key: None,
            version: None,
            unclean: false,
            torn_bytes: 0,
            former: (None, 0, None),
            since: None,
            below: None,
            former_segments: 0,
            former_first: None,
            ledger: None,
            from: None,
            details: 0,
            continues: None,
            refusals: 0,
        }
    }
}

/// Reads a number that is written only if it is not 0.
fn count(reader: &mut CborReader<'_>) -> Result<u64, EntryError> {
    match reader.unsigned()? {
        0 => Err(EntryError("a member that states 0 is superfluous")),
        count => Ok(count),
    }
}

/// Decodes a leaf.
///
/// # Errors
/// [`EntryError`] if it is not the one encoding of a head.
pub fn decode_head(leaf: &[u8]) -> Result<DecodedHead<'_>, EntryError> {
    if leaf.len() > MAX_ENTRY {
        return Err(EntryError("a leaf is too long"));
    }
    let mut head = DecodedHead::empty();
    let (mut present, mut outcome, mut code) = (0_u64, None, None);
    CborReader::new(leaf).map(|key, reader| {
        let key = HeadKey::from_number(u64::from(key)).ok_or(EntryError("a member of a head is unknown"))?;
        present |= 1 << key.number();
        match key {
            HeadKey::Outcome => outcome = Some(reader.unsigned()?),
            HeadKey::Code => code = Some(reader.unsigned()?),
            key => head.read(key, reader)?,
        }
        Ok(())
    })?;
    let schema = head.kind.schema();
    if present & schema.head_required != schema.head_required {
        return Err(EntryError("a head lacks a member"));
    }
    if present & !schema.head_allowed != 0 {
        return Err(EntryError("a head has a member that its kind does not have"));
    }
    head.outcome = match (outcome, code) {
        (None, None) => None,
        (Some(0), None) => Some(RecordedOutcome::Released),
        (Some(1), Some(code)) => Some(RecordedOutcome::Refused(code)),
        (Some(2), None) => Some(RecordedOutcome::Aborted),
        _ => return Err(EntryError("an outcome is unknown")),
    };
    head.check(present)?;
    Ok(head)
}

impl<'e> DecodedHead<'e> {
    /// Reads the value of a member other than the outcome.
    fn read(&mut self, key: HeadKey, reader: &mut CborReader<'e>) -> Result<(), EntryError> {
        match key {
            HeadKey::Kind => {
                let kind = EntryKind::from_number(reader.unsigned()?);
                self.kind = kind.ok_or(EntryError("the kind of an entry is unknown"))?;
            }
            HeadKey::Time => self.time = reader.unsigned()?,
            HeadKey::Commitment => self.commitment = reader.chunk()?,
            HeadKey::Base => self.base = count(reader)?,
            HeadKey::Id => self.id = Some(Ulid::from_bytes(reader.chunk()?)),
            HeadKey::Recipient => self.recipient = Some(count(reader)?),
            HeadKey::Purpose => self.purpose = Some(count(reader)?),
            HeadKey::Route => self.route = Some(count(reader)?),
            HeadKey::Operation => self.operation = Some(operation(reader.unsigned()?)?),
            HeadKey::Policy => self.policy = Some(count(reader)?),
            // Read by the caller, because the outcome and its code are one value.
            HeadKey::Outcome | HeadKey::Code => return Err(EntryError("an outcome is unknown")),
            HeadKey::Table => {
                let table = NameTable::from_number(reader.unsigned()?);
                self.table = Some(table.ok_or(EntryError("the table of a name is unknown"))?);
            }
            HeadKey::Text => self.text = Some(reader.text()?),
            HeadKey::Date => self.date = Some(reader.text()?),
            HeadKey::Gateway => self.gateway = Some(reader.text()?),
            HeadKey::Checkpoints => self.checkpoints = count(reader)?,
            HeadKey::PseudonymKey => self.pseudonym_key = Some(reader.chunk()?),
            HeadKey::Version => self.version = Some(reader.text()?),
            HeadKey::Unclean => self.unclean = reader.flag()?,
            HeadKey::TornBytes => self.torn_bytes = count(reader)?,
            HeadKey::FormerLog => self.former.0 = Some(reader.text()?),
            HeadKey::FormerRecords => self.former.1 = reader.unsigned()?,
            HeadKey::FormerChain => self.former.2 = Some(reader.chunk()?),
            HeadKey::Since => self.since = Some(reader.unsigned()?),
            HeadKey::Below => self.below = Some(reader.unsigned()?),
            HeadKey::FormerSegments => self.former_segments = count(reader)?,
            HeadKey::Ledger => self.ledger = Some(reader.chunk()?),
            HeadKey::From => self.from = Some(reader.unsigned()?),
            HeadKey::Details => self.details = count(reader)?,
            HeadKey::FormerFirst => self.former_first = Some(count(reader)?),
            HeadKey::Continues => self.continues = Some(reader.unsigned()?),
            HeadKey::Refusals => self.refusals = count(reader)?,
        }
        Ok(())
    }

    /// Checks what depends on several members.
    fn check(&self, present: u64) -> Result<(), EntryError> {
        let has = |key: HeadKey| present & (1 << key.number()) != 0;
        let circumstances = present & CIRCUMSTANCES;
        let complete = circumstances == CIRCUMSTANCES;
        let circumstances_are_right = match self.kind {
            // Later parts, and later windows, have none.
            EntryKind::Exchange | EntryKind::Window => circumstances == 0 || complete,
            _ => true,
        };
        if !circumstances_are_right || ((has(HeadKey::Purpose) || has(HeadKey::Continues)) && !complete) {
            return Err(EntryError("the circumstances of an exchange are incomplete, or not expected"));
        }
        if self.kind == EntryKind::Exchange && self.outcome != Some(RecordedOutcome::Released) {
            return Err(EntryError("an exchange is not released"));
        }
        if self.date.is_some_and(|text| self.day().is_none_or(|day| day.to_string() != text)) {
            return Err(EntryError("a date is not a date"));
        }
        let former = [HeadKey::FormerLog, HeadKey::FormerRecords, HeadKey::FormerChain].map(has);
        if former != [former[0]; 3] {
            return Err(EntryError("the end of the old log is incomplete"));
        }
        if self.former_first.is_some() && self.former_segments == 0 {
            return Err(EntryError("an old log begins later, and no segment of it is deleted"));
        }
        if self.from.zip(self.below).is_some_and(|(from, below)| below.saturating_sub(from) < self.details) {
            return Err(EntryError("more details are deleted than there are entries"));
        }
        Ok(())
    }
}

/// A category in a detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodedCategory {
    /// The number of the ruling.
    pub ruling: u64,
    /// The number of fields.
    pub fields: u64,
}

/// The detail of an entry. Members that its kind does not have are absent or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecodedDetail<'e> {
    /// The last ledger position that was in force.
    pub position: u64,
    /// True if something was judged on what was last known.
    pub stale: bool,
    /// Number of records.
    pub records: u64,
    /// Number of records of which nothing personal left.
    pub withheld_records: u64,
    /// The categories.
    pub categories: SmallVec<[DecodedCategory; 8]>,
    /// The pseudonyms of those about whom something personal left.
    pub subjects: &'e [[u8; 12]],
    /// The pseudonyms of those about whom nothing personal left.
    pub withheld_subjects: &'e [[u8; 12]],
    /// The number of the list of factors.
    pub factors: Option<u64>,
    /// The individual who acts for the recipient.
    pub actor: Option<Pseudonym>,
    /// The person or the account that the caller is.
    pub holder: Option<Pseudonym>,
    /// The purpose as declared.
    pub declared: Option<&'e str>,
    /// The case that the request cites.
    pub case: Option<&'e str>,
    /// The mode.
    pub mode: ExchangeMode,
    /// The problem code with which enforcing would have refused an observed exchange.
    pub would: Option<&'e str>,
    /// The id of the trace, if exchanges are traced.
    pub trace: Option<[u8; 16]>,
    /// The category of a ruling.
    pub category: Option<&'e str>,
    /// The form of a ruling.
    pub form: Option<&'e str>,
    /// The legal basis of a ruling.
    pub basis: Option<&'e str>,
    /// The reason of a ruling, an act or an erasure.
    pub reason: Option<&'e str>,
    /// The ids of a ruling's rules.
    pub rules: Vec<&'e str>,
    /// The clauses of a ruling's rules.
    pub clauses: Vec<&'e str>,
    /// The factors, with true for those that permit.
    pub verdicts: Vec<(&'e str, bool)>,
    /// The name of the person who administers the gateway.
    pub administrator: Option<&'e str>,
    /// The role of an act.
    pub role: Option<&'e str>,
    /// The resource of an act.
    pub resource: Option<&'e str>,
    /// The person whom an act is about; in entries of earlier versions also that of a notice.
    pub subject: Option<Pseudonym>,
    /// The decision that an act is about.
    pub of_decision: Option<Ulid>,
    /// The number of deleted log secrets.
    pub secrets: u64,
    /// The event of a notice.
    pub event: Option<&'e str>,
    /// The way of a notice.
    pub channel: Option<&'e str>,
    /// The outcome of a notice.
    pub result: Option<&'e str>,
    /// The form that enforcing would have given the fields of an observed ruling.
    pub would_form: Option<&'e str>,
    /// The basis that enforcing would have stated.
    pub would_basis: Option<&'e str>,
    /// The reason for which enforcing would have withheld the fields.
    pub would_reason: Option<&'e str>,
    /// The ids of the rules that decided what enforcing would have done.
    pub would_rules: Vec<&'e str>,
    /// The clauses of those rules.
    pub would_clauses: Vec<&'e str>,
    part: u64,
    parts: u64,
}

/// Decodes the detail of an entry of this kind. `None` if the detail was deleted.
///
/// # Errors
/// [`EntryError`] if it is not the one encoding of a detail.
pub fn decode_detail(kind: EntryKind, detail: &[u8]) -> Result<Option<DecodedDetail<'_>>, EntryError> {
    if detail.is_empty() {
        return Ok(None);
    }
    let Some((_, map)) = detail.split_at_checked(SALT).filter(|_| detail.len() <= MAX_ENTRY) else {
        return Err(EntryError("the length of a detail is wrong"));
    };
    let (mut decoded, mut present) = (DecodedDetail::default(), 0_u64);
    CborReader::new(map).map(|key, reader| {
        let key =
            DetailKey::from_number(u64::from(key)).ok_or(EntryError("a member of a detail is unknown"))?;
        present |= 1 << key.number();
        decoded.read(key, reader)
    })?;
    let schema = kind.schema();
    if present & schema.detail_required != schema.detail_required {
        return Err(EntryError("a detail lacks a member"));
    }
    if present & !schema.detail_allowed != 0 {
        return Err(EntryError("a detail has a member that its kind does not have"));
    }
    if present & OBSERVED != 0 && present & OBSERVED != OBSERVED {
        return Err(EntryError("an observed ruling lacks a member"));
    }
    let has = |key: DetailKey| present & (1 << key.number()) != 0;
    if (has(DetailKey::WouldBasis) || has(DetailKey::WouldReason)) && !has(DetailKey::WouldForm) {
        return Err(EntryError("a ruling that is not observed says what enforcing would have done"));
    }
    if has(DetailKey::Part) != has(DetailKey::Parts)
        || decoded.part > decoded.parts
        || (has(DetailKey::Parts) && decoded.parts < 2)
    {
        return Err(EntryError("the number of a part is wrong"));
    }
    Ok(Some(decoded))
}

impl<'e> DecodedDetail<'e> {
    /// Returns the number of this part, from 1, among the parts of one record.
    pub fn part(&self) -> u64 {
        self.part.max(1)
    }

    /// Returns the number of parts of the record.
    pub fn parts(&self) -> u64 {
        self.parts.max(1)
    }

    /// Returns the numbers of rulings, and that of the list of factors, each with the kind of the entry that defines it.
    pub fn numbers(&self) -> impl Iterator<Item = (EntryKind, u64)> + '_ {
        let rulings = self.categories.iter().map(|category| (EntryKind::Ruling, category.ruling));
        rulings.chain(self.factors.map(|number| (EntryKind::Factors, number)))
    }

    fn read(&mut self, key: DetailKey, reader: &mut CborReader<'e>) -> Result<(), EntryError> {
        match key {
            DetailKey::Position => self.position = count(reader)?,
            DetailKey::Stale => self.stale = reader.flag()?,
            DetailKey::Records => self.records = count(reader)?,
            DetailKey::WithheldRecords => self.withheld_records = count(reader)?,
            DetailKey::Categories => {
                for _ in 0..elements(reader)? {
                    reader.array_of(2)?;
                    let (ruling, fields) = (count(reader)?, reader.unsigned()?);
                    self.categories.push(DecodedCategory { ruling, fields });
                }
            }
            DetailKey::Subjects => self.subjects = people(reader)?,
            DetailKey::WithheldSubjects => self.withheld_subjects = people(reader)?,
            DetailKey::Factors => self.factors = Some(count(reader)?),
            DetailKey::Actor => self.actor = Some(Pseudonym::from_bytes(reader.chunk()?)),
            DetailKey::Declared => self.declared = Some(reader.text()?),
            DetailKey::Case => self.case = Some(reader.text()?),
            DetailKey::Mode => match reader.unsigned()? {
                1 => self.mode = ExchangeMode::Observe,
                _ => return Err(EntryError("a mode is unknown")),
            },
            DetailKey::Would => self.would = Some(reader.text()?),
            DetailKey::Trace => self.trace = Some(reader.chunk()?),
            DetailKey::Category => self.category = Some(reader.text()?),
            DetailKey::Form => self.form = Some(reader.text()?),
            DetailKey::Basis => self.basis = Some(reader.text()?),
            DetailKey::Reason => self.reason = Some(reader.text()?),
            DetailKey::Rules => self.rules = texts(reader)?,
            DetailKey::Clauses => self.clauses = texts(reader)?,
            DetailKey::Verdicts => {
                for _ in 0..reader.array()? {
                    reader.array_of(2)?;
                    let name = reader.text()?;
                    let permits = match reader.unsigned()? {
                        0 => true,
                        1 => false,
                        _ => return Err(EntryError("a verdict is unknown")),
                    };
                    self.verdicts.push((name, permits));
                }
            }
            DetailKey::Administrator => self.administrator = Some(reader.text()?),
            DetailKey::Role => self.role = Some(reader.text()?),
            DetailKey::Resource => self.resource = Some(reader.text()?),
            DetailKey::Subject => self.subject = Some(Pseudonym::from_bytes(reader.chunk()?)),
            DetailKey::OfDecision => self.of_decision = Some(Ulid::from_bytes(reader.chunk()?)),
            DetailKey::Secrets => self.secrets = reader.unsigned()?,
            DetailKey::Event => self.event = Some(reader.text()?),
            DetailKey::Channel => self.channel = Some(reader.text()?),
            DetailKey::Result => self.result = Some(reader.text()?),
            DetailKey::Part => self.part = count(reader)?,
            DetailKey::Parts => self.parts = count(reader)?,
            DetailKey::WouldForm => self.would_form = Some(reader.text()?),
            DetailKey::WouldBasis => self.would_basis = Some(reader.text()?),
            DetailKey::WouldReason => self.would_reason = Some(reader.text()?),
            DetailKey::WouldRules => self.would_rules = texts(reader)?,
            DetailKey::WouldClauses => self.would_clauses = texts(reader)?,
            DetailKey::Holder => self.holder = Some(Pseudonym::from_bytes(reader.chunk()?)),
        }
        Ok(())
    }
}

/// Reads the head of an array, which is written only if it has elements.
fn elements(reader: &mut CborReader<'_>) -> Result<usize, EntryError> {
    match reader.array()? {
        0 => Err(EntryError("an empty array is superfluous")),
        elements => Ok(elements),
    }
}

fn texts<'e>(reader: &mut CborReader<'e>) -> Result<Vec<&'e str>, EntryError> {
    (0..reader.array()?).map(|_| reader.text()).collect()
}

fn people<'e>(reader: &mut CborReader<'e>) -> Result<&'e [[u8; 12]], EntryError> {
    match reader.bytes()?.as_chunks() {
        ([], _) => Err(EntryError("an empty list of pseudonyms is superfluous")),
        (people, []) => Ok(people),
        _ => Err(EntryError("a list of pseudonyms has another length")),
    }
}
