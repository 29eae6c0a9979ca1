//! `subject`: what data subjects ask for, from the shell.
//!
//! It reads the ledger's file and the log's folder, also while a gateway runs; what it records goes
//! the way that is open ([`super::way`]).

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use jiff::Timestamp;

use super::consent::{Person, subject};
use super::place::{self, Failure, Place, unusable};
use super::way::Trouble;
use crate::decision::RecipientFacts;
use crate::keys::Keys;
use crate::policy::Pack;
use crate::report::{self, Sources};

/// What can be done for data subjects.
#[derive(Debug, clap::Subcommand)]
pub enum SubjectVerb {
    /// Write what a person is told about themselves (right of access)
    Report {
        #[command(flatten)]
        person: Person,
        /// `html` is one page that needs nothing else
        #[arg(long, value_enum, default_value = "json")]
        format: PageFormat,
    },
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageFormat {
    Json,
    Html,
}

/// Where the disclosure log is, and what the configuration knows of those it names.
#[derive(Clone, Copy, Debug)]
pub struct Log<'l> {
    pub folder: &'l Path,
    pub packs: &'l [Arc<Pack>],
    pub recipients: &'l [Arc<RecipientFacts>],
}

/// Runs a verb; the answer goes to `out`, words to `words`. Returns the exit status.
///
/// # Errors
/// When writing fails.
pub fn run(
    verb: &SubjectVerb,
    place: &Place<'_>,
    log: Log<'_>,
    now: Timestamp,
    out: &mut dyn Write,
    words: &mut dyn Write,
) -> io::Result<u8> {
    let outcome = match verb {
        SubjectVerb::Report { person, format } => write_report(person, *format, place, log, now, out),
    };
    place::tell(outcome, words)
}

fn write_report(
    person: &Person,
    format: PageFormat,
    place: &Place<'_>,
    log: Log<'_>,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let person = subject(person)?;
    let keys = Keys::open(place.keys).map_err(|error| unusable(&error))?;
    let archive = place.archive()?;
    let sources = Sources {
        archive: &archive,
        log: log.folder,
        fingerprint: keys.fingerprints().subject(&person),
        pseudonyms: &keys.subject_pseudonyms(),
        packs: log.packs,
        recipients: log.recipients,
    };
    let report = report::report(&person, &sources, now).map_err(|error| unusable(&error))?;
    let report = report.ok_or_else(|| {
        Trouble::Refused(
            "the ledger has never heard of this person, and nothing about them has left".to_owned(),
        )
    })?;
    match format {
        PageFormat::Json => {
            let text = serde_json::to_string_pretty(&report).map_err(|error| unusable(&error))?;
            writeln!(out, "{text}")?;
        }
        PageFormat::Html => out.write_all(report::html(&report).as_bytes())?,
    }
    Ok(0)
}
