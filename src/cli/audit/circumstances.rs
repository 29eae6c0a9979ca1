//! `audit circumstances`: prints the counted circumstances of a gateway.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use jiff::civil::Date;

use super::unusable;
use crate::circumstances;

/// Prints a line of JSON for the circumstances of each day. `folder` is that of the configuration; `None` if it counts none.
///
/// # Errors
/// If writing fails.
pub(in crate::cli) fn print(
    folder: Option<&Path>,
    since: Option<Date>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let Some(folder) = folder else {
        return unusable("the configuration counts no circumstances: `[audit] circumstances = false`", err);
    };
    let days = match circumstances::days(folder) {
        Ok(days) => days,
        Err(error) => return unusable(&format!("{}: {error}", folder.display()), err),
    };
    let mut out = BufWriter::new(out);
    for day in days.into_iter().filter(|day| since.is_none_or(|since| *day >= since)) {
        for line in circumstances::lines(folder, day) {
            writeln!(out, "{}", line.to_json())?;
        }
    }
    out.flush().map(|()| 0)
}
