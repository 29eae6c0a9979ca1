//! `scrub`: the gateway's own scrubber between two pipes, either with a route's mapping and a
//! recipient's permissions, or bare with queries that say what goes.

mod offline;
mod remove;

use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::decision::Denial;
use crate::finding::Finding;
use crate::scrub::{Framing, MappingError, Unreadable};

/// Bytes read at a time, and written at a time.
const CHUNK_BYTES: usize = 1 << 17;

/// What is scrubbed, and how.
#[derive(Debug, clap::Args)]
pub struct ScrubArgs {
    /// A JSONPath (RFC 9535); what it selects goes, the rest stays. Repeatable
    #[arg(long, value_name = "JSONPATH", conflicts_with_all = ["config", "route", "recipient", "purpose", "subject_json"])]
    remove: Vec<String>,
    /// The input is one JSON text a line
    #[arg(long, group = "framing")]
    lines: bool,
    /// The input is a sequence of JSON texts (RFC 7464)
    #[arg(long, group = "framing")]
    sequence: bool,
    /// The input is a stream of server-sent events whose data is JSON
    #[arg(long, group = "framing", conflicts_with = "remove")]
    events: bool,
    /// The configuration file with the route and the recipient
    #[arg(long, value_name = "FILE", default_value = "purposegate.toml")]
    config: PathBuf,
    /// The route whose mapping is tried
    #[arg(long, value_name = "NAME", required_unless_present = "remove")]
    route: Option<String>,
    /// The recipient that would receive the output
    #[arg(long, value_name = "NAME", required_unless_present = "remove")]
    recipient: Option<String>,
    /// The purpose it would declare
    #[arg(long, value_name = "PURPOSE", required_unless_present = "remove")]
    purpose: Option<String>,
    /// What is known about everybody in the input, with the keys of a scenario's `subject`;
    /// without it the ledger has never heard of them
    #[arg(long, value_name = "JSON")]
    subject_json: Option<String>,
}

/// Why nothing, or not everything, came out.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Queries(Vec<MappingError>),
    #[error("the input cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    #[error("reading: {0}")]
    Read(#[source] io::Error),
    #[error("writing: {0}")]
    Write(#[source] io::Error),
    /// The configuration or an argument, with places.
    #[error("the configuration does not load")]
    Findings(Vec<Finding>),
    #[error("{0}")]
    Unknown(String),
    /// The exchange would be refused before anything is read.
    #[error("refused: {}", .0.code())]
    Denied(Denial),
    #[error("the input has more than {0} bytes, the route's `max-deny-body`")]
    TooLong(usize),
    /// It would be refused because of somebody in it.
    #[error("refused: subject-withheld")]
    Withheld,
}

/// Runs the verb. What was decided before an error is written.
///
/// # Errors
/// [`ScrubError`].
pub fn run(arguments: &ScrubArgs, input: impl Read, output: impl Write) -> Result<(), ScrubError> {
    let framing = match (arguments.lines, arguments.sequence, arguments.events) {
        (true, _, _) => Some(Framing::Lines),
        (_, true, _) => Some(Framing::Sequence),
        (_, _, true) => Some(Framing::Events),
        (false, false, false) => None,
    };
    match (&arguments.route, &arguments.recipient, &arguments.purpose) {
        (Some(route), Some(recipient), Some(purpose)) => {
            let trial = offline::OfflineRequest {
                route,
                recipient,
                purpose,
                subject: arguments.subject_json.as_deref(),
            };
            offline::scrub(&arguments.config, &trial, framing, input, output)
        }
        _ => remove::remove(&arguments.remove, framing.unwrap_or_default(), input, output),
    }
}

/// Reads to the end, a piece at a time, and writes what each step decides; `None` is the end.
fn pump(
    mut input: impl Read,
    mut output: impl Write,
    mut step: impl FnMut(Option<&[u8]>, &mut Vec<u8>) -> Result<(), Unreadable>,
) -> Result<(), ScrubError> {
    let mut piece = vec![0; CHUNK_BYTES];
    let mut out = Vec::with_capacity(2 * CHUNK_BYTES);
    loop {
        let length = match input.read(&mut piece) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ScrubError::Read(error)),
        };
        let read = piece.get(..length).filter(|read| !read.is_empty());
        let decided = step(read, &mut out);
        if length == 0 || decided.is_err() || out.len() >= CHUNK_BYTES {
            output.write_all(&out).map_err(ScrubError::Write)?;
            out.clear();
        }
        decided?;
        if length == 0 {
            return output.flush().map_err(ScrubError::Write);
        }
    }
}
