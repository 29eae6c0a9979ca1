//! The verbs of `consent` and their arguments.

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;

use crate::cli::arguments::{EventDetails, ReasonArgs, SubjectArgs, time};

/// The verbs of `consent`.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum ConsentVerb {
    /// Record that a person consents to a purpose
    Give {
        #[command(flatten)]
        consent: ConsentArgs,
        /// When the consent ends [default: never]
        #[arg(long, value_name = "TIME", value_parser = time)]
        valid_until: Option<Timestamp>,
    },
    /// Record that a person refuses a consent
    Refuse(ConsentArgs),
    /// Record that a person withdraws a consent
    Withdraw(ConsentArgs),
    /// Record an objection to a purpose
    Object {
        #[command(flatten)]
        person: SubjectArgs,
        #[command(flatten)]
        purpose: PurposeArgs,
        #[command(flatten)]
        details: EventDetails,
    },
    /// Record that a person opts out of one recipient
    OptOut {
        #[command(flatten)]
        person: SubjectArgs,
        /// The recipient's configured name
        recipient: String,
        #[command(flatten)]
        details: EventDetails,
    },
    /// Record that the processing of a person's data is restricted
    Restrict {
        #[command(flatten)]
        person: SubjectArgs,
        #[command(flatten)]
        details: EventDetails,
    },
    /// Lift the restriction; with an option, an objection or an opt-out instead
    Lift {
        #[command(flatten)]
        person: SubjectArgs,
        /// Lift the objection to this purpose instead
        #[arg(long, value_name = "PURPOSE", conflicts_with = "opt_out")]
        objection: Option<String>,
        /// Lift the opt-out of this recipient instead
        #[arg(long, value_name = "RECIPIENT")]
        opt_out: Option<String>,
        #[command(flatten)]
        details: EventDetails,
    },
    /// Record that a person's data are erased, for good
    Erase {
        #[command(flatten)]
        person: SubjectArgs,
        #[command(flatten)]
        details: EventDetails,
    },
    /// Record facts about a person
    Fact {
        #[command(flatten)]
        person: SubjectArgs,
        /// A fact, such as region=EEA, country=FR, minor=true, transfer-consent=true or origin=referral
        #[arg(required = true, value_name = "NAME=VALUE", value_parser = fact)]
        facts: Vec<(String, Value)>,
        #[command(flatten)]
        details: EventDetails,
    },
    /// Show the consents and facts in force about a person
    Show {
        #[command(flatten)]
        person: SubjectArgs,
        /// The state at this time [default: now]
        #[arg(long, value_name = "TIME", value_parser = time)]
        at: Option<Timestamp>,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Record the events of a file, one JSON object a line
    Import {
        /// The file, or - for the standard input; a repeated import of a file records no line twice
        file: PathBuf,
        /// Also record events about recipients and namespaces that the configuration does not have
        #[arg(long)]
        keep_unknown_recipients: bool,
    },
    /// Print every event, one JSON object a line, in the format of an import
    Export,
}

/// A purpose, as an argument or as an option.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PurposeArgs {
    /// The purpose
    #[arg(required_unless_present = "by_name")]
    pub(super) purpose: Option<String>,
    /// The purpose, as an option
    #[arg(long = "purpose", id = "by_name", value_name = "PURPOSE", conflicts_with = "purpose", hide = true)]
    pub(super) by_name: Option<String>,
}

/// A consent, its refusal or its withdrawal.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ConsentArgs {
    #[command(flatten)]
    pub(super) person: SubjectArgs,
    #[command(flatten)]
    pub(super) purpose: PurposeArgs,
    /// Only for this recipient
    #[arg(long, conflicts_with = "recipient_kind")]
    pub(super) recipient: Option<String>,
    /// Only for recipients of this kind
    #[arg(long, value_name = "KIND")]
    pub(super) recipient_kind: Option<String>,
    #[command(flatten)]
    pub(super) details: EventDetails,
}

/// Parses `minor=true` into a name and a value. The ledger checks the name.
fn fact(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let value = match value {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "" | "unknown" => Value::Null,
        value => value.into(),
    };
    Ok((name.to_owned(), value))
}
