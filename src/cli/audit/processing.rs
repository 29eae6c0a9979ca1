//! `audit processing`: the record of processing activities (GDPR Art. 30) of the packs in force, and its comparison with what
//! the disclosure logs observed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::unusable;
use crate::assembly::ledger_store;
use crate::cli::Format;
use crate::cli::error::{EXIT_FINDINGS, with_causes};
use crate::config::Config;
use crate::decision::Decisions;
use crate::disclosure::observation::observe;
use crate::disclosure::questions::{LogExtent, LogRelation};
use crate::disclosure::storage::LogReader;
use crate::disclosure::{EndOfLog, ReadError};
use crate::keys::Keys;
use crate::ledger::{Archive, KnownLogs};
use crate::policy::{Activity, Pack, versioning};
use crate::report::processing_comparison::{
    self, DeclaredProcessing, EnumeratedPeople, GrownExchanges, ObservedDays, ObservedPeriod,
    ProcessingComparison, RefusedRequests, UntakenCategories,
};

/// Prints the activities of each pack: a line of JSON or a paragraph of text for each.
///
/// # Errors
/// If writing fails.
pub(in crate::cli) fn print(packs: &[&Pack], format: Format, out: &mut dyn Write) -> io::Result<u8> {
    for pack in packs {
        let manifest = pack.manifest();
        match format {
            Format::Json => {
                for activity in &manifest.processing {
                    let Activity { purpose, basis, categories, recipients, origin, retention, transfers } =
                        activity;
                    let line = json!({
                        "pack": manifest.title, "version": manifest.version,
                        "purpose": purpose, "basis": basis.name(), "categories": categories,
                        "recipients": recipients, "origin": origin, "retention": retention, "transfers": transfers,
                    });
                    writeln!(out, "{line}")?;
                }
            }
            Format::Text => {
                writeln!(
                    out,
                    "{}, version {}\ncontact: {}",
                    manifest.title, manifest.version, manifest.contact
                )?;
                for activity in &manifest.processing {
                    paragraph(activity, out)?;
                }
            }
        }
    }
    Ok(0)
}

/// Prints what the logs of a configuration observed beside what its packs declare. Exits with 1 if the comparison is not
/// complete: a log could not be read, or lacks days.
///
/// # Errors
/// If writing fails.
pub(in crate::cli) fn compare(
    config: &Config,
    period: ObservedPeriod,
    format: Format,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let now = Timestamp::now();
    let in_force = |versions: &Vec<_>| versioning::in_force(versions, |pack: &Arc<_>| pack, now).cloned();
    let packs: Vec<Arc<Decisions>> =
        config.packs.iter().filter_map(in_force).map(|pack| Arc::new(Decisions::new(pack))).collect();
    let recipients: Vec<_> =
        config.recipients.iter().map(|recipient| Arc::clone(&recipient.in_agreement)).collect();
    let folders = [&config.audit.directory].into_iter().chain(config.audit.logs.iter().map(|log| &log.path));
    // Before the logs are read: a gateway may state meanwhile that its log has grown.
    let known = known_logs(config);
    let (mut days, mut logs) = (ObservedDays::new(), Vec::new());
    for read in read_logs(folders.map(PathBuf::as_path), period, known.as_ref().ok()) {
        match read {
            Ok((observed, extent)) => {
                processing_comparison::add_days(&mut days, observed);
                logs.push(extent);
            }
            Err(error) => {
                unusable(&with_causes(&error), err)?;
                logs.push(LogExtent::unreadable(&error));
            }
        }
    }
    match known {
        Ok(known) => {
            let begins = period.first_needed().to_zoned(TimeZone::UTC).ok().map(|begin| begin.timestamp());
            LogExtent::compare(&mut logs, &known, begins, now);
        }
        Err(why) => {
            unusable(&why, err)?;
            logs.push(LogExtent::without_origin(Some(why)));
        }
    }
    let exporter_region = &config.exporter_region;
    let declared = DeclaredProcessing { packs: &packs, recipients: &recipients, exporter_region };
    let comparison = processing_comparison::compare(&declared, &days, period, logs);
    match format {
        Format::Json => writeln!(out, "{}", json!(comparison))?,
        Format::Text => print_comparison(&comparison, out)?,
    }
    Ok(if comparison.complete { 0 } else { EXIT_FINDINGS })
}

/// Returns the logs that the ledger knows; none before it was created.
fn known_logs(config: &Config) -> Result<KnownLogs, String> {
    if config.ledger.url.is_file_to_create() {
        return Ok(KnownLogs::default());
    }
    let keys = Keys::open(&config.keys.path).map_err(|error| with_causes(&error))?;
    let store = ledger_store::open_read_only(&config.ledger, &keys).map_err(|error| with_causes(&error))?;
    let archive = Archive::new(store, config.language()).map_err(|error| with_causes(&error))?;
    let known = archive.known_logs().map_err(|error| with_causes(&error))?;
    Ok(known.without(&config.audit.retired))
}

/// Observes the days of logs that a comparison needs, of a log and its copies once, and so the entries that its forks share with it.
fn read_logs<'f>(
    folders: impl Iterator<Item = &'f Path>,
    period: ObservedPeriod,
    known: Option<&KnownLogs>,
) -> Vec<Result<(ObservedDays, LogExtent), ReadError>> {
    let opened: Vec<_> = folders.map(|folder| open(folder, period, known)).collect();
    let known = opened.iter().map(|log| log.as_ref().ok().map(|(log, extent)| (log.folder(), extent)));
    let relations = LogRelation::of_logs(known);
    let days = period.first_needed()..period.to.tomorrow().unwrap_or(period.to);
    let read = |(log, LogRelation { fork, .. }): (Result<(LogReader, LogExtent), ReadError>, LogRelation)| {
        let (mut log, extent) = log?;
        let first = fork.as_ref().map_or(0, |fork| fork.shared);
        Ok((observe(&mut log, &days, first)?, extent.with_fork(fork)))
    };
    opened.into_iter().zip(relations).filter(|(_, relation)| !relation.is_copy).map(read).collect()
}

/// Opens a log. The extent has a fault if the log ends before the period.
fn open(
    folder: &Path,
    period: ObservedPeriod,
    known: Option<&KnownLogs>,
) -> Result<(LogReader, LogExtent), ReadError> {
    // Read first: a log that grows meanwhile goes further.
    let end = EndOfLog::of_folder(folder)?;
    let mut log = LogReader::open(folder)?;
    let mut extent = LogExtent::of(&mut log)?;
    let has_ended =
        |end: &EndOfLog| end.is_stopped || known.is_some_and(|known| known.has_ended(&end.origin, end.size));
    let last = end.filter(|end| !has_ended(end)).and_then(|end| end.last);
    let last = last.map(|last| last.to_zoned(TimeZone::UTC).date());
    // The log of a gateway that runs begins each day. After a stop there is nothing, and neither is there if the gateway has died.
    if let Some(last) = last.filter(|last| *last < period.to) {
        extent.fault = Some(format!("{} ends on {last}, before the end of the period", folder.display()));
    }
    Ok((log, extent))
}

/// Prints a table for each kind of finding.
fn print_comparison(comparison: &ProcessingComparison, out: &mut dyn Write) -> io::Result<()> {
    let ProcessingComparison {
        from,
        to,
        complete,
        logs,
        unused_purposes,
        beyond_registration,
        untaken_categories,
        growth,
        enumeration,
    } = comparison;
    let first = ObservedPeriod { from: *from, to: *to }.first_needed();
    let partly = match complete {
        true => String::new(),
        false => format!(" (incomplete: not every log has all days from {first} to {to})"),
    };
    writeln!(out, "{from} to {to}{partly}")?;
    for fault in logs.iter().filter_map(|log| log.fault.as_ref()) {
        writeln!(out, "  {fault}")?;
    }
    section("purposes that nobody used", unused_purposes, out, String::clone)?;
    section("requests beyond the registration", beyond_registration, out, |line| {
        let RefusedRequests { recipient, code, requests, observed, declared } = line;
        let declared = declared.iter().cloned().collect::<Vec<_>>().join(", ");
        let answered = match observed {
            0 => String::new(),
            _ => format!("  ({observed} answered, as their routes are observed)"),
        };
        format!("{recipient:24}  {code:28}  {requests:>8}  {declared}{answered}")
    })?;
    section("categories granted and never taken", untaken_categories, out, |line| {
        let UntakenCategories { recipient, purpose, categories } = line;
        format!("{recipient:24}  {purpose:28}  {}", categories.join(", "))
    })?;
    section("exchanges: the period before, and this one", growth, out, |line| {
        let GrownExchanges { recipient, purpose, before, exchanges } = line;
        format!("{recipient:24}  {purpose:28}  {before:>8}  {exchanges:>8}")
    })?;
    section("people in a day, and the median of 28 days", enumeration, out, |line| {
        let EnumeratedPeople { recipient, day, people, median } = line;
        format!("{recipient:24}  {:28}  {people:>8}  {median:>8}", day.to_string())
    })
}

/// Prints the lines of a section, or that there are none.
fn section<T>(title: &str, lines: &[T], out: &mut dyn Write, text: impl Fn(&T) -> String) -> io::Result<()> {
    writeln!(out, "\n{title}")?;
    if lines.is_empty() {
        writeln!(out, "  none")?;
    }
    lines.iter().try_for_each(|line| writeln!(out, "  {}", text(line)))
}

fn paragraph(activity: &Activity, out: &mut dyn Write) -> io::Result<()> {
    let Activity { purpose, basis, categories, recipients, origin, retention, transfers } = activity;
    writeln!(out, "\n{purpose} ({})", basis.name())?;
    writeln!(out, "  categories  {}", categories.join(", "))?;
    writeln!(out, "  recipients  {}", recipients.join(", "))?;
    writeln!(out, "  origin      {origin}")?;
    writeln!(out, "  kept        {retention}")?;
    writeln!(out, "  transfers   {transfers}")
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;
    use crate::cli::audit::tests::settings;
    use crate::config::pack::read_pack;
    use crate::disclosure::Log;
    use crate::ledger::LogOnRecord;

    #[test]
    fn each_activity_has_the_members_of_article_30() {
        let pack = read_pack(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/perspectium")).unwrap();
        let printed = |format| {
            let mut out = Vec::new();
            print(&[&pack], format, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let lines: Vec<serde_json::Value> =
            printed(Format::Json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), pack.manifest().processing.len());
        for line in &lines {
            for member in ["purpose", "basis", "categories", "recipients", "origin", "retention", "transfers"]
            {
                assert!(
                    line.get(member).is_some_and(|value| *value != json!("") && *value != json!([])),
                    "{line}"
                );
            }
        }
        let text = printed(Format::Text);
        assert!(lines.iter().all(|line| text.contains(line["purpose"].as_str().unwrap())), "{text}");
    }

    fn copy_folder(from: &Path, to: &Path) {
        let copied = std::process::Command::new("cp").arg("-r").args([from, to]).status().unwrap();
        assert!(copied.success());
    }

    #[test]
    fn a_log_is_read_once_and_has_to_reach_the_end_of_the_period() {
        let (outer, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
        let [folder, copy] = ["audit", "copy"].map(|name| outer.path().join(name));
        let log = Log::open(settings(&folder, "gateway-1"), &keys).unwrap();
        copy_folder(&folder, &copy);
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let faults = |days: i64| {
            let period = ObservedPeriod { from: today, to: today.saturating_add(days.days()) };
            let read = read_logs([&*folder, &*copy].into_iter(), period, None);
            read.into_iter().map(|read| read.unwrap().1.fault).collect::<Vec<_>>()
        };
        assert_eq!(faults(-1), [None]);
        let [Some(fault)] = &*faults(2) else { panic!("the log goes on") };
        assert!(fault.starts_with(&format!("{} ends on ", folder.display())), "{fault}");
        drop(log);
        assert_eq!(faults(2), [None], "nothing follows the stop");
        drop(Log::open(settings(&copy, "gateway-1"), &keys).unwrap());
        let forked = faults(-1);
        assert_eq!(forked.len(), 2, "each has an end of its own");
        assert!(forked.iter().flatten().all(|fault| fault.contains("is no copy of it")), "{forked:?}");
    }

    #[test]
    fn the_log_of_a_gateway_that_died_is_complete_once_it_is_known_to_have_ended() {
        let (outer, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
        let [folder, copy] = ["audit", "copy"].map(|name| outer.path().join(name));
        let log = Log::open(settings(&folder, "gateway-1"), &keys).unwrap();
        // The folder as it was when the gateway died.
        copy_folder(&folder, &copy);
        drop(log);
        let EndOfLog { origin, size, .. } = EndOfLog::of_folder(&copy).unwrap().unwrap();
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let period = ObservedPeriod { from: today, to: today.saturating_add(2.days()) };
        let is_complete = |on_record: u64, running: &str| {
            let log = LogOnRecord {
                origin: origin.clone(),
                gateway: "gateway-1".to_owned(),
                folder: "/data/audit".to_owned(),
                size: on_record,
                since: today,
                until: Timestamp::now(),
                retention: u64::MAX,
                lost: None,
                former: false,
            };
            let running = [Arc::from(running)].into();
            let known = KnownLogs { logs: vec![log], running, is_shared: true };
            let read = read_logs([&*copy].into_iter(), period, Some(&known));
            read.into_iter().all(|read| read.unwrap().1.fault.is_none())
        };
        assert!(is_complete(size, "gateway-2"));
        assert!(!is_complete(size, "gateway-1"), "it runs, and may write");
        assert!(!is_complete(size + 1, "gateway-2"), "the end is missing");
    }
}
