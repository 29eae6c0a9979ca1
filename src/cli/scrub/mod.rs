//! `scrub`: scrubs stdin to stdout with the gateway's scrubber: by a route's mapping for a recipient, or with `--remove` by
//! JSONPath queries.

pub(super) mod offline;
mod remove;

use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::decision::Denial;
use crate::finding::Finding;
use crate::scrub::{Framing, MappingError, Unreadable};

/// Bytes that are read and written at a time.
const CHUNK_BYTES: usize = 1 << 17;

/// Arguments of `scrub`.
#[derive(Debug, clap::Args)]
pub(super) struct ScrubArgs {
    /// A JSONPath query (RFC 9535) whose nodes are removed; everything else stays (repeatable)
    #[arg(long, value_name = "JSONPATH", conflicts_with_all = ["config", "route", "recipient", "purpose", "subject_json"])]
    remove: Vec<String>,
    /// Read one JSON text a line
    #[arg(long, group = "framing")]
    lines: bool,
    /// Read a JSON text sequence (RFC 7464)
    #[arg(long, group = "framing")]
    sequence: bool,
    /// Read server-sent events with JSON as their data
    #[arg(long, group = "framing", conflicts_with = "remove")]
    events: bool,
    /// Read comma-separated values with a header (RFC 4180); --remove empties the columns that it selects, such as $.email
    #[arg(long, group = "framing")]
    csv: bool,
    /// The configuration file with the route and the recipient
    #[arg(long, value_name = "FILE", default_value = "purposegate.toml")]
    config: PathBuf,
    /// The route whose mapping is used
    #[arg(long, value_name = "NAME", required_unless_present = "remove")]
    route: Option<String>,
    /// The recipient that would receive the output
    #[arg(long, value_name = "NAME", required_unless_present = "remove")]
    recipient: Option<String>,
    /// The purpose that the recipient would declare
    #[arg(long, value_name = "PURPOSE", required_unless_present = "remove")]
    purpose: Option<String>,
    /// Facts about every person in the input, with the keys of a scenario's `subject`; without them, the ledger knows nobody
    #[arg(long, value_name = "JSON")]
    subject_json: Option<String>,
}

/// The reason why the output is empty or incomplete.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScrubError {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Queries(Vec<MappingError>),
    #[error("the input cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    #[error("reading: {0}")]
    Read(#[source] io::Error),
    #[error("writing: {0}")]
    Write(#[source] io::Error),
    /// Findings about the configuration or an argument.
    #[error("the configuration does not load")]
    Findings(Vec<Finding>),
    #[error("{0}")]
    Unknown(String),
    /// The request would be refused.
    #[error("refused: {}", .0.name())]
    Denied(Denial),
    #[error("the input has more than {0} bytes, the route's `max-deny-body`")]
    TooLong(usize),
    /// The answer would be refused because of a person in it.
    #[error("refused: subject-withheld")]
    Withheld,
}

/// Runs the verb. Output that was decided before an error is written. A note about the route goes to `note`.
///
/// # Errors
/// [`ScrubError`].
pub(super) fn run(
    arguments: &ScrubArgs,
    input: impl Read,
    output: impl Write,
    note: impl FnOnce(&str),
) -> Result<(), ScrubError> {
    let framing = match (arguments.lines, arguments.sequence, arguments.events, arguments.csv) {
        (true, _, _, _) => Some(Framing::Lines),
        (_, true, _, _) => Some(Framing::Sequence),
        (_, _, true, _) => Some(Framing::Events),
        (_, _, _, true) => Some(Framing::Rows),
        (false, false, false, false) => None,
    };
    match (&arguments.route, &arguments.recipient, &arguments.purpose) {
        (Some(route), Some(recipient), Some(purpose)) => {
            let trial = offline::OfflineRequest {
                route,
                recipient,
                purpose,
                subject: arguments.subject_json.as_deref(),
            };
            offline::scrub(&arguments.config, &trial, framing, input, output, note)
        }
        _ => remove::remove(&arguments.remove, framing.unwrap_or_default(), input, output),
    }
}

/// Reads the input to its end, chunk by chunk, and writes the output of each step. The last step receives `None`.
fn pump(
    mut input: impl Read,
    mut output: impl Write,
    mut step: impl FnMut(Option<&[u8]>, &mut Vec<u8>) -> Result<(), Unreadable>,
) -> Result<(), ScrubError> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut out = Vec::with_capacity(2 * CHUNK_BYTES);
    loop {
        let length = match input.read(&mut chunk) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ScrubError::Read(error)),
        };
        let read = chunk.get(..length).filter(|read| !read.is_empty());
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
