//! JSON schemas of the answers of the admin API, as components of the document.
//!
//! Most answers are JSON that another module builds from facts, so their schemas stand here and not beside a type. A test
//! of the suite (`openapi`) compares them with answers of a gateway: a member that no schema has fails it.

mod disclosure;

use serde_json::{Map, Value, json};

use self::disclosure::{disclosure_list, disclosure_log};

use crate::disclosure::record::ExchangeMode;
use crate::ledger::{EntityKind, EventForm, any_event};

/// Returns the reference to a component.
pub(super) fn reference(component: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{component}") })
}

/// Returns the schema of an object with these members and no others. A name that ends with `?` is of an optional member.
pub(super) fn object(description: &str, members: Vec<(&str, Value)>) -> Value {
    let mut required = Vec::new();
    let mut properties = Map::new();
    for (name, schema) in members {
        match name.strip_suffix('?') {
            Some(optional) => properties.insert(optional.to_owned(), schema),
            None => {
                required.push(name.to_owned());
                properties.insert(name.to_owned(), schema)
            }
        };
    }
    json!({
        "type": "object",
        "description": description,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// Returns the schema of a list.
pub(super) fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// Returns the schema of a text of JSON lines: as in later versions of OpenAPI, it is that of the list of all lines.
fn lines(description: &str, line: &str) -> Value {
    json!({ "type": "array", "items": reference(line), "description": description })
}

pub(super) fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

pub(super) fn text_or_null(description: &str) -> Value {
    json!({ "type": ["string", "null"], "description": description })
}

fn flag(description: &str) -> Value {
    json!({ "type": "boolean", "description": description })
}

pub(super) fn count(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

pub(super) fn time(description: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "description": description })
}

pub(super) fn date(description: &str) -> Value {
    json!({ "type": "string", "format": "date", "description": description })
}

fn texts(description: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": description })
}

pub(super) fn words(description: &str, words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words, "description": description })
}

/// Returns the components of all answers.
pub(super) fn components() -> Vec<(&'static str, Value)> {
    [
        acknowledgements(),
        subjects(),
        notices(),
        requests(),
        process(),
        cases(),
        disclosure_log(),
        circumstances(),
        report(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Answers to events.
fn acknowledgements() -> Vec<(&'static str, Value)> {
    let position = || {
        json!({
            "type": "string",
            "pattern": "^[A-Za-z0-9_-]{55}$",
            "description": "Position of the event, for `Ledger-Position`. Only a gateway of this ledger can make it.",
        })
    };
    let in_force = || words("The gateways in which the event is in force.", &["here", "everywhere"]);
    let changed = || flag("False if the event had no effect.");
    let acknowledgement = |case: bool| {
        let case = case.then(|| ("case", reference("CaseId")));
        let members = [
            ("event", reference("EventId")),
            ("position", position()),
            ("durable", json!({ "const": true })),
            ("in_force", in_force()),
            ("changed", changed()),
            (
                "again?",
                json!({ "const": true, "description": "The event was recorded by an earlier request." }),
            ),
        ];
        object("The event is durable and in force.", members.into_iter().chain(case).collect())
    };
    let recorded = object(
        "The event of a line is recorded.",
        vec![
            ("line", count("Number of the line.")),
            ("event", reference("EventId")),
            ("position", position()),
            ("again", flag("True if the event was recorded earlier.")),
            ("changed", changed()),
            ("in_force?", in_force()),
        ],
    );
    let refused = object(
        "The line is not recorded.",
        vec![("line", count("Number of the line.")), ("error", text("The error in the line."))],
    );
    vec![
        ("Acknowledgement", acknowledgement(false)),
        ("CaseAcknowledgement", acknowledgement(true)),
        ("LineResult", json!({ "description": "The result of one line.", "oneOf": [recorded, refused] })),
        ("LineResults", lines("One result a line.", "LineResult")),
        ("EventLines", lines("One event a line. Empty lines are skipped.", "EventLine")),
    ]
}

/// Answers about data subjects, beside what the disclosure log has.
fn subjects() -> Vec<(&'static str, Value)> {
    vec![
        ("SubjectState", subject_state()),
        ("History", list(&any_event(EventForm::Recorded, &[EntityKind::Subject]))),
        (
            "OptOutLink",
            object(
                "Header values for a person's marketing e-mails.",
                vec![
                    ("path", text("Path of the link; the gateway does not know its public address.")),
                    ("list-unsubscribe-post", json!({ "const": "List-Unsubscribe=One-Click" })),
                ],
            ),
        ),
    ]
}

/// Answers about notices to recipients.
fn notices() -> Vec<(&'static str, Value)> {
    vec![
        (
            "Notices",
            object(
                "A page of notices to recipients.",
                vec![
                    ("notices", list(&reference("Notice"))),
                    (
                        "next",
                        json!({ "type": ["string", "null"], "description": "The `cursor` of the next page." }),
                    ),
                    (
                        "complete",
                        flag(
                            "False while a disclosure log does not show yet who had received data: there may be more to tell.",
                        ),
                    ),
                ],
            ),
        ),
        ("Notice", notice()),
        (
            "ClosedNotice",
            object(
                "A notice that was closed.",
                vec![("id", text("Id of the notice.")), ("status", json!({ "const": "delivered" }))],
            ),
        ),
    ]
}

/// Answers about requests of data subjects.
fn requests() -> Vec<(&'static str, Value)> {
    vec![
        ("OpenRequests", list(&reference("OpenRequest"))),
        (
            "OpenRequest",
            object(
                "A request of a person that nobody has answered yet.",
                vec![
                    ("subject", text("Id of the person.")),
                    ("namespace?", reference("Namespace")),
                    ("right", reference("Right")),
                    ("received", time("Time at which the request was received.")),
                    ("due", time("Time at which the answer is due.")),
                    ("overdue", flag("True if the answer was due before now.")),
                ],
            ),
        ),
        (
            "AnsweredRequests",
            object(
                "A page of answered requests.",
                vec![
                    ("requests", list(&reference("AnsweredRequest"))),
                    (
                        "next",
                        json!({ "type": ["string", "null"], "description": "The `cursor` of the next page." }),
                    ),
                ],
            ),
        ),
        (
            "AnsweredRequest",
            object(
                "A request of a person that was answered.",
                vec![
                    ("subject", text("Id of the person.")),
                    ("namespace?", reference("Namespace")),
                    ("right", reference("Right")),
                    (
                        "received?",
                        time(
                            "Time at which the request was received; absent if the answer is dated before it.",
                        ),
                    ),
                    ("due?", time("Time at which the answer was due.")),
                    ("overdue", flag("True if the answer came after it was due.")),
                    ("answered", time("Time of the answer.")),
                ],
            ),
        ),
    ]
}

/// A notice that is open.
fn notice() -> Value {
    let known_as = json!({
        "description": "The name by which the recipient knows the person; null if a person has to find out.",
        "oneOf": [
            { "type": "null" },
            object("The id.", vec![("id", text("Id of the person."))]),
            object("A pseudonym.", vec![("pseudonym", text("The recipient's pseudonym of the id."))]),
        ],
    });
    object(
        "Something that a recipient has to be told (GDPR Art. 19).",
        vec![
            ("id", text("Id of the notice.")),
            ("recipient", text("Name of the recipient.")),
            ("event", words("The event.", &["erasure", "correction", "restriction"])),
            ("time", time("Time of the event.")),
            ("subject", text("Id of the person.")),
            ("namespace?", reference("Namespace")),
            (
                "channel",
                words("How the recipient is told; `manual`: by a person.", &["webhook", "feed", "manual"]),
            ),
            ("status", words("The status.", &["waiting", "expired"])),
            ("attempts", count("Number of attempts that failed.")),
            ("known-as", known_as),
            ("categories", texts("Categories that the recipient had received.")),
            ("first", time("First disclosure on record.")),
            ("last", time("Last disclosure on record.")),
        ],
    )
}

/// The keys of a scenario's `subject`, and `position`.
fn subject_state() -> Value {
    let statuses = words("What the person said last.", &["given", "refused", "withdrawn", "expired"]);
    let origins = json!({
        "type": "object",
        "propertyNames": reference("Category"),
        "additionalProperties": reference("Origin"),
    });
    object(
        "The state that is in force about a person.",
        vec![
            (
                "consents",
                json!({
                    "type": "object",
                    "additionalProperties": statuses,
                    "description": "Purpose, or `purpose:recipient-or-kind`, and what the person said.",
                }),
            ),
            ("consents-since-restriction", list(&reference("Purpose"))),
            ("objections", texts("Purposes, with `:upheld` if the organisation upheld the objection.")),
            ("opt-outs", texts("Names of recipients.")),
            ("restricted", flag("Processing is restricted (GDPR Art. 18).")),
            ("erased", flag("The person's data are erased (GDPR Art. 17).")),
            ("minor", flag("The person is a minor.")),
            ("region?", text_or_null("Region of residence. Null: two were stated for one instant.")),
            (
                "country?",
                text_or_null(
                    "Country of residence, ISO 3166-1 alpha-2. Null: two were stated for one instant.",
                ),
            ),
            (
                "relations",
                texts("Names of relations, with `:recipient` if the relation is to one recipient."),
            ),
            (
                "relations-ended?",
                texts("Relations in force that ended for one recipient: their names with `:recipient`."),
            ),
            (
                "origin",
                json!({
                    "description": "One origin for all data, or an origin for each category.",
                    "anyOf": [reference("Origin"), origins],
                }),
            ),
            ("transfer-consent", flag("The person consents to transfers to third countries.")),
            ("refused-categories", list(&reference("RefusableCategory"))),
            ("position", reference("LedgerPlace")),
        ],
    )
}

/// Answers about the process and its configuration.
fn process() -> Vec<(&'static str, Value)> {
    vec![
        (
            "Readiness",
            object(
                "Readiness of the gateway, and of each of its parts.",
                vec![
                    ("ready", flag("True if the gateway takes requests.")),
                    ("ledger", flag("The ledger is there and current.")),
                    ("audit", flag("The disclosure log can be written.")),
                    ("policy", flag("A policy is loaded.")),
                    ("draining", flag("The gateway is about to end.")),
                ],
            ),
        ),
        ("Policies", list(&reference("PolicyVersion"))),
        ("Recipients", list(&reference("Recipient"))),
        ("Routes", list(&reference("Route"))),
        (
            "PolicyVersion",
            object(
                "A version of a policy pack.",
                vec![
                    ("pack", text("Title of the pack.")),
                    ("version", text("Version.")),
                    ("revision", text("Digest of the rules and the vocabulary.")),
                    ("announced", date("Day of the announcement.")),
                    ("effective", date("First day.")),
                    ("in_force", flag("True if this version decides now.")),
                    ("contact", text("Contact of the pack.")),
                ],
            ),
        ),
        recipient(),
        route(),
    ]
}

/// A configured recipient.
fn recipient() -> (&'static str, Value) {
    let revision = text("Revision of the configuration.");
    (
        "Recipient",
        object(
            "A configured recipient.",
            vec![
                ("name", reference("RecipientName")),
                ("revision", revision),
                ("kind", text("Kind in the vocabulary.")),
                ("purposes", texts("Purposes for which it is registered; their children are covered.")),
                ("legal_name", text_or_null("Name in law.")),
                ("country", text_or_null("ISO code of its country.")),
                ("region", text_or_null("Configured region. Without one, the country's region counts.")),
                ("safeguard", text("Safeguard for transfers to third countries.")),
                ("report", text("Detail in which withheld fields are reported to it.")),
                ("suspended", flag("True if nothing is disclosed to it.")),
                ("agreement", flag("True if an agreement is configured.")),
                (
                    "agreement_until",
                    json!({ "type": ["string", "null"], "format": "date", "description": "Last day of the agreement." }),
                ),
            ],
        ),
    )
}

/// A configured route.
fn route() -> (&'static str, Value) {
    let revision = text("Revision of the configuration.");
    (
        "Route",
        object(
            "A configured route.",
            vec![
                ("name", text("Name.")),
                ("revision", revision),
                ("path", text("Pattern of paths.")),
                ("methods", texts("Methods.")),
                ("upstream", text("Name of the upstream.")),
                (
                    "purposes",
                    json!({ "type": ["array", "null"], "items": { "type": "string" }, "description": "Purposes that it serves, with their children; null: all." }),
                ),
                ("operation", text_or_null("Operation; null: it follows from the method.")),
                ("personal", flag("True if answers are scrubbed.")),
                ("mode", mode("The mode in which exchanges with employees and contractors are decided now.")),
                ("observe_until", observe_until()),
            ],
        ),
    )
}

/// Disclosure cases. The body of a registration is that of the event, with an optional id.
fn cases() -> Vec<(&'static str, Value)> {
    let people = json!({ "type": "array", "items": reference("PersonOfCase") });
    let case = (
        "Case",
        object(
            "A disclosure case.",
            vec![
                ("case", reference("CaseId")),
                ("recipient", reference("RecipientName")),
                ("purpose", reference("Purpose")),
                ("subjects", people),
                ("categories", list(&reference("Category"))),
                ("end", time("Time from which the case is no longer in force.")),
                ("reference", text("The authority's reference number.")),
                ("confidential-until?", time("Until then, reports to the people omit the case.")),
                (
                    "approvers",
                    list(&object(
                        "Somebody who approved the case.",
                        vec![
                            ("name", text("Name of the approver.")),
                            ("verified", flag("True if the approver was signed in.")),
                        ],
                    )),
                ),
                ("state", words("State of the case.", &["registered", "in-force", "ended"])),
            ],
        ),
    );
    vec![case, ("Cases", list(&reference("Case")))]
}

/// Counted circumstances.
fn circumstances() -> Vec<(&'static str, Value)> {
    let keys = |of: &str| {
        let description = format!("Facts with the keys of `{of}` in a scenario of a policy pack.");
        json!({ "type": "object", "description": description })
    };
    let subject = || {
        let known = keys("subject");
        json!({ "anyOf": [known, { "type": "null" }], "description": "The person; null if the record has no usable subject." })
    };
    let also = object(
        "One more person of the same records.",
        vec![("subject", subject()), ("request", keys("request"))],
    );
    let seen = object(
        "Records of one day under the same circumstances.",
        vec![
            ("day", date("The day (UTC).")),
            ("route", text("Name of the route.")),
            ("recipient", text("Name of the recipient.")),
            ("kind", text("Kind of the recipient.")),
            ("purpose", text("The purpose.")),
            ("operation", text("The operation of the request.")),
            ("pack", text("Title of the policy pack that decided.")),
            ("subject", subject()),
            ("request", keys("request")),
            ("also?", list(&also)),
            ("recipient_facts", keys("recipient")),
            (
                "categories",
                texts("Categories of the fields; those of a field with several are joined by `+`."),
            ),
            ("releases_unclassified?", json!({ "const": true })),
            (
                "compares?",
                texts("Facts about people that the rules in force compared: no others are stated."),
            ),
            ("records", count("Number of records.")),
        ],
    );
    let merged = |description: &str, key| {
        let members = vec![
            ("day", date("The day (UTC).")),
            ("route", text("Name of the route.")),
            (key, count("Number of records.")),
        ];
        object(description, members)
    };
    let other = merged("Records of a route whose circumstances are not told apart.", "other");
    let rare =
        merged("Records of a route whose circumstances fewer than five records of the day have.", "rare");
    vec![
        ("CircumstanceLine", json!({ "description": "Counted records.", "oneOf": [seen, other, rare] })),
        ("CircumstanceLines", lines("The circumstances of one day a line.", "CircumstanceLine")),
    ]
}

fn mode(what: &str) -> Value {
    words(what, &[ExchangeMode::Enforce.name(), ExchangeMode::Observe.name()])
}

fn observe_until() -> Value {
    json!({ "type": ["string", "null"], "format": "date",
        "description": "The last day (UTC) on which the route is observed; null if it never is." })
}

/// The report to a person about their data.
fn report() -> Vec<(&'static str, Value)> {
    let titled = |what: &str| vec![("category", text("Name of the category.")), ("title", text(what))];
    let mut source = titled("Title of the category.");
    source.push(("origins", texts("Origins that the record of processing states.")));
    let mut retention = titled("Title of the category.");
    retention.push(("days", json!({ "type": "integer", "description": "Retention period in days." })));
    // The report shows events as they were recorded, without id and position.
    let event = json!({ "type": "object", "required": ["kind", "at"], "properties": { "kind": { "type": "string" } } });
    let activity = object(
        "A processing activity of the record of processing.",
        vec![
            ("purpose", text("Name of the purpose.")),
            ("title", text("Title of the purpose.")),
            ("basis", reference("Basis")),
            ("basis_title", text("Title that the pack gives to the basis.")),
            ("categories", list(&reference("TitledTerm"))),
            ("recipients", list(&reference("TitledTerm"))),
            ("origin", text("Origin of the data.")),
            ("retention", text("Retention of the data.")),
            ("transfers", text("Transfers to third countries.")),
        ],
    );
    vec![
        (
            "TitledTerm",
            object(
                "A term of the vocabulary with its title.",
                vec![("id", text("Name of the term.")), ("title", text("Title for people."))],
            ),
        ),
        (
            "SubjectReport",
            object(
                "The report that a person receives about themselves (GDPR Art. 15).",
                [vec![
                    ("subject", text("Id of the person.")),
                    ("namespace?", text("Namespace of the id; absent if the configuration has no other.")),
                    ("made", time("Time at which the report was compiled.")),
                    ("contacts", texts("Contact of each pack.")),
                    (
                        "state",
                        json!({ "description": "The state in force; null if the ledger does not know the person.",
                            "anyOf": [reference("SubjectState"), { "type": "null" }] }),
                    ),
                    ("events", list(&event)),
                    ("sources", list(&object("Origins of the data of a category.", source))),
                    ("processing", list(&activity)),
                    ("retention", list(&object("Retention period of a category.", retention))),
                ], disclosure_list()].concat(),
            ),
        ),
    ]
}
