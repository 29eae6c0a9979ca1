//! The kinds of entries and their members. `docs/disclosure-log.cddl` states the same; a test compares both.

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $number,)+ }

        impl $name {
            /// Every value, in the order of its numbers.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// Returns the name in the schema and in JSON.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// Returns the number in an entry.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// Returns the value with this number, if there is one.
            pub const fn from_number(number: u64) -> Option<$name> {
                match number { $($number => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

numbered!(
    /// The kind of an entry.
    EntryKind {
        /// Fills the last bundle of a day.
        Padding = 0 "padding",
        /// The first entry of a day.
        Day = 1 "day",
        /// A process begins to write.
        Start = 2 "start",
        /// A process ends. Nothing follows but a start or a new day.
        Stop = 3 "stop",
        /// Defines a number that stands for a name.
        Name = 4 "name",
        /// Defines a number that stands for a category with its form, basis, reason, rules and clauses.
        Ruling = 5 "ruling",
        /// Defines a number that stands for a list of factors with their verdicts.
        Factors = 6 "factors",
        /// A whole exchange.
        Exchange = 7 "exchange",
        /// A refused exchange.
        Refusal = 8 "refusal",
        /// An exchange that is about to happen.
        Intent = 9 "intent",
        /// A part of an answer that is about to leave.
        Window = 10 "window",
        /// The end of an exchange that has windows or an intent.
        Close = 11 "close",
        /// Another end, or a further disclosure, of an exchange that was recorded as released.
        Correction = 12 "correction",
        /// The use of a resource that shows what is on record about a person.
        Act = 13 "act",
        /// The deletion of log secrets.
        SecretErasure = 14 "secret-erasure",
        /// A recipient was told of an erasure, a correction or a restriction.
        Notice = 15 "notice",
        /// Entries are about to be deleted.
        Pruning = 16 "pruning",
        /// Writing goes on after a failed write.
        Resume = 17 "resume",
        /// Details are about to be deleted. The leaves stay.
        DetailDeletion = 18 "detail-deletion",
        /// Refusals that have no entry of their own: they arrived faster than they could be written.
        DroppedRefusals = 19 "dropped-refusals",
    }
);

numbered!(
    /// The key of a member of a leaf.
    HeadKey {
        /// The kind of the entry.
        Kind = 0 "kind",
        /// Milliseconds since the start of the day. They never decrease within a day.
        Time = 1 "time",
        /// SHA-256 of the detail.
        Commitment = 2 "commitment",
        /// The number, from the day's first entry, to which the numbers of names are added. Absent if 0.
        Base = 3 "base",
        /// The id of the decision, the act or the notice, a ULID.
        Id = 4 "id",
        /// The number of the recipient's name.
        Recipient = 5 "recipient",
        /// The number of the accepted purpose; absent if none was accepted.
        Purpose = 6 "purpose",
        /// The number of the route's name.
        Route = 7 "route",
        /// The operation: 0 disclose, 1 collect, 2 alter, 3 destroy.
        Operation = 8 "operation",
        /// The number of the policy's revision.
        Policy = 9 "policy",
        /// The outcome: 0 released, 1 refused, 2 aborted.
        Outcome = 10 "outcome",
        /// The number of the problem code of a refusal.
        Code = 11 "code",
        /// The table of a name.
        Table = 14 "table",
        /// The text of a name.
        Text = 15 "text",
        /// The date of the day (UTC).
        Date = 16 "date",
        /// The name of the gateway.
        Gateway = 17 "gateway",
        /// The number of checkpoints of earlier days that are kept.
        Checkpoints = 18 "checkpoints",
        /// The check value of the pseudonym key.
        PseudonymKey = 19 "pseudonym-key",
        /// The version of the program.
        Version = 20 "version",
        /// The previous process ended without a stop.
        Unclean = 21 "unclean",
        /// Bytes of an incomplete write that were cut off.
        TornBytes = 22 "torn-bytes",
        /// The id of the old log that this log continues.
        FormerLog = 23 "former-log",
        /// The number of records of the old log.
        FormerRecords = 24 "former-records",
        /// The last chain value of the old log.
        FormerChain = 25 "former-chain",
        /// Time of the failure after which writing goes on, in milliseconds since 1970.
        Since = 26 "since",
        /// The first entry that is not deleted.
        Below = 27 "below",
        /// The number of segments of the old log that are deleted.
        FormerSegments = 28 "former-segments",
        /// The id of the ledger whose log secrets name people.
        Ledger = 29 "ledger",
        /// The first of the entries whose details are deleted.
        From = 30 "from",
        /// The number of details that are deleted.
        Details = 31 "details",
        /// The number of the first record of the old log that is kept. Absent if none is.
        FormerFirst = 32 "former-first",
        /// The last entry of an earlier day with the circumstances of the exchange, which this one has again.
        Continues = 33 "continues",
        /// The number of refusals that have no entry.
        Refusals = 34 "refusals",
    }
);

numbered!(
    /// The key of a member of a detail.
    DetailKey {
        /// The last ledger position that was in force.
        Position = 0 "position",
        /// Something was judged on what was last known.
        Stale = 1 "stale",
        /// Number of records.
        Records = 2 "records",
        /// Number of records of which nothing personal left.
        WithheldRecords = 3 "withheld-records",
        /// Pairs: the number of a ruling, the number of fields.
        Categories = 4 "categories",
        /// The pseudonyms of those about whom something personal left.
        Subjects = 5 "subjects",
        /// The pseudonyms of those about whom nothing personal left.
        WithheldSubjects = 6 "withheld-subjects",
        /// The number of the list of factors.
        Factors = 7 "factors",
        /// The pseudonym of the individual who acts for the recipient.
        Actor = 8 "actor",
        /// The purpose as declared.
        Declared = 9 "declared",
        /// The case that the request cites.
        Case = 10 "case",
        /// The mode in which the exchange was decided: 1 observe. Absent if it was enforced.
        Mode = 11 "mode",
        /// The problem code with which enforcing would have refused an observed exchange.
        Would = 12 "would",
        /// The id of the trace, if exchanges are traced.
        Trace = 13 "trace",
        /// The category of a ruling; absent for fields that nothing classifies.
        Category = 14 "category",
        /// The form of a ruling.
        Form = 15 "form",
        /// The legal basis of a ruling.
        Basis = 16 "basis",
        /// The reason of a ruling, an act, an erasure or a deletion.
        Reason = 17 "reason",
        /// The ids of a ruling's rules.
        Rules = 18 "rules",
        /// The clauses of a ruling's rules.
        Clauses = 19 "clauses",
        /// Pairs: the name of a factor; 0 permits, 1 refuses.
        Verdicts = 20 "verdicts",
        /// The name of the person who administers the gateway; absent if nobody is signed in.
        Administrator = 21 "administrator",
        /// The role of an act.
        Role = 22 "role",
        /// The resource of an act.
        Resource = 23 "resource",
        /// The pseudonym of the person whom an act is about, or in entries of earlier versions a notice.
        Subject = 24 "subject",
        /// The decision that an act is about.
        OfDecision = 25 "of-decision",
        /// The number of deleted log secrets.
        Secrets = 26 "secrets",
        /// The event of a notice.
        Event = 27 "event",
        /// The way of a notice.
        Channel = 28 "channel",
        /// The outcome of a notice.
        Result = 29 "result",
        /// The number of this part, from 1. Absent if there is one part.
        Part = 30 "part",
        /// The number of parts. Absent if there is one.
        Parts = 31 "parts",
        /// The form that enforcing would have given the fields of a ruling.
        WouldForm = 32 "would-form",
        /// The legal basis that enforcing would have stated; `not-personal` for data about nobody in any case.
        WouldBasis = 33 "would-basis",
        /// The reason for which enforcing would have withheld the fields.
        WouldReason = 34 "would-reason",
        /// The ids of the rules that decided what enforcing would have done.
        WouldRules = 35 "would-rules",
        /// The clauses of those rules.
        WouldClauses = 36 "would-clauses",
        /// The pseudonym of the person or the account that the caller is, if each caller of the recipient is another one.
        Holder = 37 "holder",
    }
);

numbered!(
    /// The table of a name.
    NameTable {
        /// The configured names of recipients.
        Recipient = 0 "recipient",
        /// The purposes.
        Purpose = 1 "purpose",
        /// The configured names of routes.
        Route = 2 "route",
        /// The revisions of policies.
        Policy = 3 "policy",
        /// The problem codes of refusals.
        Code = 4 "code",
    }
);

/// The members that entries of a kind have.
pub(super) struct EntrySchema {
    pub(super) head_required: u64,
    pub(super) head_allowed: u64,
    pub(super) detail_required: u64,
    pub(super) detail_allowed: u64,
}

const fn heads(keys: &[HeadKey]) -> u64 {
    let (mut set, mut rest) = (0, keys);
    while let [first, others @ ..] = rest {
        set |= 1 << *first as u8;
        rest = others;
    }
    set
}

const fn details(keys: &[DetailKey]) -> u64 {
    let (mut set, mut rest) = (0, keys);
    while let [first, others @ ..] = rest {
        set |= 1 << *first as u8;
        rest = others;
    }
    set
}

/// Members of every leaf.
const EACH: u64 = heads(&[HeadKey::Kind, HeadKey::Time, HeadKey::Commitment]);
/// Members of the head of an exchange.
pub(super) const CIRCUMSTANCES: u64 =
    heads(&[HeadKey::Recipient, HeadKey::Route, HeadKey::Operation, HeadKey::Policy]);
const BASE: u64 = heads(&[HeadKey::Base]);
const ID: u64 = heads(&[HeadKey::Id]);
const PURPOSE: u64 = heads(&[HeadKey::Purpose]);
const OUTCOME: u64 = heads(&[HeadKey::Outcome]);
const CODE: u64 = heads(&[HeadKey::Code]);

/// Details of the head of an exchange.
const REQUEST: u64 = details(&[
    DetailKey::Position,
    DetailKey::Stale,
    DetailKey::Factors,
    DetailKey::Actor,
    DetailKey::Declared,
    DetailKey::Case,
    DetailKey::Mode,
    DetailKey::Would,
    DetailKey::Trace,
    DetailKey::Holder,
]);
/// Details of a ruling that was observed.
pub(super) const OBSERVED: u64 =
    details(&[DetailKey::WouldForm, DetailKey::WouldRules, DetailKey::WouldClauses]);
/// Details of a disclosure.
const DISCLOSURE: u64 = details(&[
    DetailKey::Position,
    DetailKey::Stale,
    DetailKey::Records,
    DetailKey::WithheldRecords,
    DetailKey::Categories,
    DetailKey::Subjects,
    DetailKey::WithheldSubjects,
    DetailKey::Would,
    DetailKey::Part,
    DetailKey::Parts,
]);

const fn schema(
    [head_required, head_optional]: [u64; 2],
    [detail_required, detail_optional]: [u64; 2],
) -> EntrySchema {
    EntrySchema {
        head_required: EACH | head_required,
        head_allowed: EACH | head_required | head_optional,
        detail_required,
        detail_allowed: detail_required | detail_optional,
    }
}

impl EntryKind {
    /// True for kinds whose details can be about people. Only such details can be deleted: others explain further entries.
    pub const fn has_personal_detail(self) -> bool {
        match self {
            EntryKind::Exchange
            | EntryKind::Refusal
            | EntryKind::Intent
            | EntryKind::Window
            | EntryKind::Correction
            | EntryKind::Act
            | EntryKind::Notice => true,
            EntryKind::Padding
            | EntryKind::Day
            | EntryKind::Start
            | EntryKind::Stop
            | EntryKind::Name
            | EntryKind::Ruling
            | EntryKind::Factors
            | EntryKind::Close
            | EntryKind::SecretErasure
            | EntryKind::Pruning
            | EntryKind::Resume
            | EntryKind::DetailDeletion
            | EntryKind::DroppedRefusals => false,
        }
    }

    /// Returns the members of entries of this kind.
    pub(super) const fn schema(self) -> EntrySchema {
        use DetailKey as D;
        use HeadKey as H;
        match self {
            EntryKind::Padding | EntryKind::Stop => schema([0, 0], [0, 0]),
            EntryKind::Day => {
                let optional = heads(&[H::Checkpoints, H::Ledger]);
                schema([heads(&[H::Date, H::Gateway, H::PseudonymKey]), optional], [0, 0])
            }
            EntryKind::Start => schema(
                [
                    heads(&[H::Gateway, H::Version]),
                    heads(&[H::Unclean, H::TornBytes, H::FormerLog, H::FormerRecords, H::FormerChain]),
                ],
                [0, 0],
            ),
            EntryKind::Name => schema([heads(&[H::Table, H::Text]), 0], [0, 0]),
            EntryKind::Ruling => schema(
                [0, 0],
                [
                    details(&[D::Form, D::Rules, D::Clauses]),
                    OBSERVED | details(&[D::Category, D::Basis, D::Reason, D::WouldBasis, D::WouldReason]),
                ],
            ),
            EntryKind::Factors => schema([0, 0], [details(&[D::Verdicts]), 0]),
            // The second and later parts have no circumstances.
            EntryKind::Exchange => {
                schema([ID | OUTCOME, CIRCUMSTANCES | PURPOSE | BASE], [0, REQUEST | DISCLOSURE])
            }
            EntryKind::Refusal => schema([ID | OUTCOME | CODE | CIRCUMSTANCES, PURPOSE | BASE], [0, REQUEST]),
            EntryKind::Intent => schema([ID | CIRCUMSTANCES, PURPOSE | BASE], [0, REQUEST]),
            EntryKind::Window => {
                let optional = CIRCUMSTANCES | PURPOSE | BASE | heads(&[H::Continues]);
                schema([ID, optional], [0, REQUEST | DISCLOSURE])
            }
            EntryKind::Close => schema([ID | OUTCOME, CODE | BASE], [0, 0]),
            EntryKind::Correction => schema([ID | OUTCOME, CODE | BASE], [0, DISCLOSURE]),
            EntryKind::Act => schema(
                [ID, 0],
                [
                    details(&[D::Resource]),
                    details(&[D::Administrator, D::Role, D::Subject, D::OfDecision, D::Reason]),
                ],
            ),
            EntryKind::SecretErasure => schema([0, 0], [details(&[D::Secrets, D::Reason]), 0]),
            EntryKind::Notice => schema(
                [ID | heads(&[H::Recipient]), BASE],
                [details(&[D::Event, D::Channel, D::Result]), details(&[D::Subject])],
            ),
            EntryKind::Pruning => {
                schema([heads(&[H::Below]), heads(&[H::FormerSegments, H::FormerFirst])], [0, 0])
            }
            EntryKind::Resume => schema([heads(&[H::Gateway, H::Since]), 0], [0, 0]),
            EntryKind::DetailDeletion => {
                schema([heads(&[H::Below, H::From, H::Details]), 0], [details(&[D::Reason]), 0])
            }
            EntryKind::DroppedRefusals => schema([heads(&[H::Refusals]), 0], [0, 0]),
        }
    }
}
