//! Schemas of what the disclosure log says: decisions, disclosures about a person, receipts, and the logs that were read.

use serde_json::{Value, json};

use super::{count, flag, list, mode, object, reference, text, text_or_null, texts, time, words};
use crate::decision::Reason;
use crate::vocabulary::{Basis, Form, Operation};

/// Records of the disclosure log, and the accounting of disclosures.
pub(super) fn disclosure_log() -> Vec<(&'static str, Value)> {
    let forms: Vec<&str> = Form::ALL.iter().map(|form| form.name()).collect();
    let bases: Vec<&str> = Basis::ALL.iter().map(|basis| basis.name()).collect();
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    let basis = json!({ "description": "Legal basis; null if there is none.", "anyOf": [reference("Basis"), { "type": "null" }] });
    let released = object(
        "Fields of a category that left in one form, or were withheld for one reason.",
        vec![
            ("form", reference("Form")),
            ("basis", basis.clone()),
            ("rules", texts("The rules that decided.")),
            ("clauses", texts("The clauses that the rules cite.")),
            ("fields", count("Number of fields.")),
            ("reason?", reference("WithheldReason")),
            ("would?", would_release()),
        ],
    );
    let accounted = object(
        "A category that was disclosed.",
        vec![("category", text("Name of the category.")), ("form", reference("Form")), ("basis", basis)],
    );
    vec![
        ("Form", words("The form in which a field leaves.", &forms)),
        ("Basis", words("A legal basis (GDPR Art. 6(1)).", &bases)),
        ("WithheldReason", words("The reason why a field is withheld.", &reasons)),
        ("CategoryRelease", released),
        ("AccountedCategory", accounted),
        ("Decision", decision()),
        (
            "Disclosures",
            json!({
                "description": "Every disclosure, or with `form=hipaa` one line for each recipient and purpose.",
                "oneOf": [reference("DisclosureList"), reference("DisclosureAccounting")],
            }),
        ),
        ("DisclosureList", object("The disclosures about a person, oldest first.", disclosure_list())),
        ("DisclosureAccounting", disclosure_accounting()),
        ("LogExtent", log_extent()),
        ("Decisions", decisions()),
        ("Receipt", receipt()),
        ("Disclosure", disclosure()),
    ]
}

/// A page of decisions.
fn decisions() -> Value {
    object(
        "Decisions, newest first.",
        vec![
            ("decisions", list(&reference("Decision"))),
            ("cursor", text_or_null("The place at which the list goes on; null at its end.")),
            (
                "complete",
                flag(
                    "False if a log was not read: decisions may be missing. `logs` says which one, and why.",
                ),
            ),
            ("logs", list(&reference("LogExtent"))),
        ],
    )
}

/// One disclosure about a person.
fn disclosure() -> Value {
    object(
        "An exchange that disclosed something about the person.",
        vec![
            ("time", time("Start of the exchange.")),
            ("decision", text("Id of the decision.")),
            ("recipient", text("Configured name of the recipient.")),
            ("purpose", text("The accepted purpose.")),
            ("purpose_title", text("Title of the purpose.")),
            ("recipient_name", text("Legal name of the recipient, or its configured name.")),
            ("recipient_address?", text("Address of the recipient.")),
            ("recipient_contact?", text("E-mail address, telephone number or URL of the recipient.")),
            ("case?", text("The case that the request cited.")),
            ("categories", list(&reference("AccountedCategory"))),
            ("people", count("Number of people about whom something left in the same part of the answer.")),
            ("recipient_kind?", reference("TitledTerm")),
            ("recipient_country?", text("Country of the recipient.")),
            (
                "changed_since?",
                list(&object(
                    "A correction or an erasure since the disclosure.",
                    vec![
                        ("event", words("The kind of the event.", &["correction", "erasure"])),
                        ("at", time("Time from which it counts.")),
                    ],
                )),
            ),
        ],
    )
}

/// Members of a list of disclosures.
pub(super) fn disclosure_list() -> Vec<(&'static str, Value)> {
    vec![
        ("complete", flag("False if a log could not be read: disclosures may be missing.")),
        ("logs", list(&reference("LogExtent"))),
        ("disclosures", list(&reference("Disclosure"))),
    ]
}

fn receipt() -> Value {
    let entry = object(
        "An entry of the log, with the proof that it is in the tree of the checkpoint.",
        vec![
            ("index", count("Index of the entry.")),
            ("leaf", text("The leaf (deterministic CBOR), in base64.")),
            ("proof", texts("Hashes of the inclusion proof, from the leaf to the root, in base64.")),
            ("head", json!({ "type": "object", "description": "The head that the leaf encodes." })),
        ],
    );
    object(
        "Proof that a decision is on record.",
        vec![
            ("decision", text("Id of the decision, a ULID.")),
            ("origin", text("Origin of the log.")),
            ("checkpoint", text("The checkpoint, a signed note (C2SP tlog-checkpoint).")),
            ("entries", list(&entry)),
            ("references", list(&entry)),
        ],
    )
}

fn log_extent() -> Value {
    object(
        "A disclosure log that was read, and how far.",
        vec![
            (
                "origin",
                text_or_null("Origin of the log; null if it could not be read or is of an earlier version."),
            ),
            ("size", count("Number of entries up to which it was read.")),
            (
                "since",
                json!({
                    "type": ["string", "null"], "format": "date",
                    "description": "First day that it holds; null if it is empty, of an earlier version, or could not be read.",
                }),
            ),
            ("fault?", text("Why it was not read, or why people may not be found in it.")),
        ],
    )
}

fn disclosure_accounting() -> Value {
    let line = object(
        "Disclosures to one recipient for one purpose.",
        vec![
            ("recipient", text("Legal name of the recipient, or its configured name.")),
            ("address?", text("Address of the recipient.")),
            ("purpose", text("Title of the purpose.")),
            ("categories", list(&reference("AccountedCategory"))),
            ("cases?", texts("The cases that the requests cited.")),
            ("first", time("Time of the first disclosure.")),
            ("last", time("Time of the last disclosure.")),
            ("number", count("Number of disclosures.")),
        ],
    );
    object(
        "An accounting of disclosures (45 CFR 164.528).",
        vec![
            ("made", time("Time at which it was made.")),
            (
                "since",
                json!({
                    "type": ["string", "null"], "format": "date",
                    "description": "Day from which on every log holds disclosures; null if that is not known.",
                }),
            ),
            ("complete", flag("False if a log could not be read: disclosures may be missing.")),
            ("logs", list(&reference("LogExtent"))),
            ("disclosures", list(&line)),
        ],
    )
}

/// The member `would` of a category of an observed decision.
fn would_release() -> Value {
    let reason = json!({ "description": "The reason for which the fields would have been withheld.",
        "anyOf": [reference("WithheldReason"), { "type": "null" }] });
    object(
        "The release that enforcing would have made, in observed exchanges.",
        vec![
            ("form", reference("Form")),
            ("rules", texts("The rules that decided.")),
            ("clauses", texts("The clauses that the rules cite.")),
            ("reason", reason),
        ],
    )
}

/// The member `would` of an observed decision.
fn would() -> Value {
    let refused = object(
        "The refusal that enforcing would have been.",
        vec![(
            "refused",
            text("Problem code with which enforcing would have refused the exchange as a whole."),
        )],
    );
    json!({
        "description": "In observed exchanges: the refusal that enforcing would have been; null if it would have answered.",
        "anyOf": [refused, { "type": "null" }],
    })
}

fn decision() -> Value {
    let operations: Vec<&str> = Operation::ALL.iter().map(|operation| operation.name()).collect();
    let verdicts = words("Verdict of the factor.", &["permits", "refuses", "in-part"]);
    let categories = json!({
        "type": "object",
        "additionalProperties": list(&reference("CategoryRelease")),
        "description": "For each category, one entry for each form, basis and reason.",
    });
    object(
        "The record of one decision. People are pseudonyms.",
        vec![
            ("decision", text("Id of the decision, a ULID.")),
            ("time", time("Time of the request.")),
            ("recipient", text("Configured name of the recipient; empty if it was not identified.")),
            ("actor", text_or_null("Pseudonym of the person who acts for the recipient.")),
            ("purpose", text("The accepted purpose; empty if none was accepted.")),
            ("declared", text_or_null("The purpose as the request declared it.")),
            ("case", text_or_null("The case that the request cites.")),
            ("route", text("Name of the route; empty if there is none.")),
            ("operation", words("The operation on the data.", &operations)),
            ("policy", text("Revision of the policy.")),
            ("position", reference("LedgerPlace")),
            (
                "outcome",
                text_or_null(
                    "`released`, `aborted` or `refused:CODE`; null while the exchange is under way.",
                ),
            ),
            ("records", count("Number of records.")),
            ("withheld_records", count("Number of records of which nothing personal left.")),
            ("subjects", texts("Pseudonyms of the people.")),
            ("withheld_subjects", texts("Pseudonyms of those about whom nothing personal left.")),
            ("categories", categories),
            (
                "factors",
                json!({ "type": "object", "additionalProperties": verdicts, "description": "Verdict of each factor." }),
            ),
            (
                "gateway",
                text_or_null("Name of the gateway that wrote the record; null in records of version 0.1.0."),
            ),
            ("mode", mode("The mode in which the exchange was decided.")),
            ("would?", would()),
            ("trace?", text("Id of the gateway's trace, if exchanges were traced.")),
            (
                "stale?",
                json!({ "const": true, "description": "Something was released while the ledger was stale." }),
            ),
            (
                "detail?",
                json!({ "const": "deleted", "description": "Details were deleted: people, numbers and categories are missing, and not none." }),
            ),
        ],
    )
}
