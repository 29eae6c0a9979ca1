//! Arguments that several verbs share: a person, the details of an event, a time.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::admin_client::{AdminArgs, percent_encoded, with_query};
use super::error::CliError;
use crate::ledger::{self, TermLookup};
use crate::vocabulary::{SubjectId, date};

/// The configuration file of verbs that are given none.
pub(super) const DEFAULT_CONFIG: &str = "purposegate.toml";

/// The configuration of a gateway on this machine, or the admin API of a gateway anywhere.
#[derive(Debug, clap::Args)]
pub(super) struct GatewayArgs {
    /// The configuration file, unless a gateway does the work [default: purposegate.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) admin: AdminArgs,
}

impl GatewayArgs {
    /// The configuration file.
    pub(super) fn config_file(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG))
    }
}

/// A person, by an id.
#[derive(Debug, clap::Args)]
pub(super) struct SubjectArgs {
    /// The person's id
    pub(super) subject: String,
    /// The namespace of the id, unless it is the default one
    #[arg(long)]
    namespace: Option<String>,
}

impl SubjectArgs {
    /// Returns the id in its namespace.
    ///
    /// # Errors
    /// [`CliError::Refused`] for an unknown namespace, or an id that does not fit it.
    pub(super) fn id(&self, terms: &dyn TermLookup) -> Result<SubjectId, CliError> {
        ledger::person(&self.subject, self.namespace.as_deref(), terms)
            .map_err(|error| CliError::Refused(error.to_string()))
    }

    /// Returns the path of a resource of the admin API below the person, with these parameters.
    pub(super) fn path(&self, below: &str, parameters: &[(&str, Option<&str>)]) -> String {
        let path = format!("/v1/subjects/{}{below}", percent_encoded(&self.subject));
        let namespace = [("namespace", self.namespace.as_deref())];
        with_query(path, &[&namespace[..], parameters].concat())
    }
}

/// The reason for which a person's data are read.
#[derive(Debug, clap::Args)]
pub(super) struct ReasonArgs {
    /// Why the data are read; the gateway that --admin names records it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl ReasonArgs {
    pub(super) fn text(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

/// Details that every event can have.
#[derive(Debug, clap::Args)]
pub(super) struct EventDetails {
    /// When it happened [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    /// The version of the notice that was shown
    #[arg(long)]
    notice: Option<String>,
    /// How the person said it, such as web, phone or paper
    #[arg(long)]
    channel: Option<String>,
    /// A reference to the evidence
    #[arg(long)]
    evidence: Option<String>,
}

impl EventDetails {
    /// Adds the details to an event.
    pub(super) fn add_to(self, mut event: Map<String, Value>) -> Map<String, Value> {
        let EventDetails { at, notice, channel, evidence } = self;
        let at = at.map(|at| at.to_string());
        for (member, value) in [("at", at), ("notice", notice), ("channel", channel), ("evidence", evidence)]
        {
            if let Some(value) = value {
                event.insert(member.to_owned(), value.into());
            }
        }
        event
    }
}

/// Parses a time as in RFC 3339; or a date, which stands for its beginning in UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let date = || match date::full_date(text)? {
        never if never.year() == 9999 => Some(Timestamp::MAX),
        date => Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()),
    };
    let time = date::expiry(text).or_else(date);
    time.ok_or_else(|| "expected a time like 2026-11-21T09:30:00Z, or a date".to_owned())
}
