//! `audit show`: prints exchanges of one log or of several, in the order of time.

use std::io::{self, BufWriter, Write};

use serde_json::Value;

use super::{AuditContext, AuditedLog, finish, unusable};
use crate::cli::Format;
use crate::cli::error::{EXIT_FINDINGS, with_causes};
use crate::cli::findings::counted;
use crate::cli::ledger_location::LedgerLocation;
use crate::disclosure::{
    self, ActFilter, ExchangeFilter, LogPlace, LogSelection, ReadError, RecordedAct, RepeatedDecision,
};
use crate::finding::nearest;

/// Prints the exchanges that match. A decision that two logs have is a finding.
///
/// # Errors
/// If writing fails.
pub(super) fn exchanges(
    logs: &[LogSelection],
    configured: Option<&AuditContext<'_>>,
    format: Format,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let (mut out, mut is_empty) = (BufWriter::new(out), true);
    let merged = disclosure::merge(logs, |exchange| {
        is_empty = false;
        print(&exchange, logs.len(), format, &mut out)
    });
    let nothing = is_empty && merged.is_ok();
    let status = match merged {
        Ok(repeated) => {
            finish(Ok(()), out, err)?;
            report(&repeated, err)?
        }
        Err(error) => finish(Err(error), out, err)?,
    };
    if !nothing {
        return Ok(status);
    }
    match configured.map(|configured| unknown_name(logs, configured)).transpose() {
        Ok(Some(Some(why))) => unusable(&why, err),
        Ok(Some(None) | None) => {
            writeln!(err, "note: no exchange in the log matches")?;
            Ok(status)
        }
        Err(error) => unusable(&with_causes(&error), err),
    }
}

/// Prints the acts that match, log by log.
///
/// # Errors
/// If writing fails.
pub(super) fn acts(
    logs: &[LogSelection],
    format: Format,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let (mut out, mut is_empty) = (BufWriter::new(out), true);
    for LogSelection { folder, filter, running: _, tags } in logs {
        let filter = ActFilter { since: filter.since, subject: filter.subject.clone() };
        let place = LogPlace { tags: *tags, ..LogPlace::unindexed(folder) };
        let read = disclosure::acts(place, &filter, |act| {
            is_empty = false;
            match format {
                Format::Json => writeln!(out, "{}", serde_json::to_string(act)?),
                Format::Text => writeln!(out, "{}", act_text(act)),
            }
        });
        if let Err(error) = read {
            return finish(Err(error), out, err);
        }
    }
    if is_empty {
        writeln!(err, "note: no act in the log matches")?;
    }
    finish(Ok(()), out, err)
}

/// Renders an act in one line. The reason is escaped: it must not begin a line of its own.
fn act_text(act: &RecordedAct) -> String {
    let RecordedAct { act: id, time, actor, role, resource, subject, of_decision, reason, .. } = act;
    let actor = actor.as_deref().unwrap_or("nobody signed in");
    let role = role.as_deref().unwrap_or("-");
    let object = subject.as_deref().or(of_decision.as_deref()).unwrap_or("-");
    let mut line = format!("{time}  {id}  {actor}  {role}  {resource}  {object}");
    if let Some(reason) = reason {
        line.push_str(&format!("  {reason:?}"));
    }
    line
}

/// Prints the exchange with this decision's id, as each log that contains it has it.
///
/// # Errors
/// If writing fails.
pub(super) fn decision(
    logs: &[AuditedLog],
    id: &str,
    format: Format,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let (mut out, mut holders) = (BufWriter::new(out), Vec::new());
    for log in logs {
        match disclosure::decision(log.place(), id, disclosure::is_running(&log.folder)) {
            Ok(None) => {}
            Ok(Some(exchange)) => {
                holders.push(log.folder.clone());
                print(&exchange, logs.len(), format, &mut out)?;
            }
            Err(error) => return finish(Err(error), out, err),
        }
    }
    finish(Ok(()), out, err)?;
    match holders.as_slice() {
        [] => {
            writeln!(err, "purposegate: the log has no decision with this id")?;
            Ok(EXIT_FINDINGS)
        }
        [_] => Ok(0),
        [one, other, ..] => {
            let folders = [one.clone(), other.clone()];
            report(&[RepeatedDecision { decision: id.to_owned(), folders }], err)
        }
    }
}

fn print(exchange: &Value, logs: usize, format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Json => writeln!(out, "{exchange}"),
        Format::Text => writeln!(out, "{}", exchange_text(exchange, logs > 1)),
    }
}

/// Reports decisions that two logs have, and returns the exit status.
fn report(repeated: &[RepeatedDecision], err: &mut dyn Write) -> io::Result<u8> {
    for repeated in repeated {
        writeln!(err, "finding: {repeated}")?;
    }
    Ok(if repeated.is_empty() { 0 } else { EXIT_FINDINGS })
}

/// Describes a recipient or a purpose of the filter that neither the configuration nor the log knows. The log may name
/// some that the configuration no longer has.
fn unknown_name(logs: &[LogSelection], configured: &AuditContext<'_>) -> Result<Option<String>, ReadError> {
    // The logs differ in the person's pseudonyms only.
    let Some(LogSelection { filter, .. }) = logs.first() else { return Ok(None) };
    let is_on_record = |filter: ExchangeFilter| -> Result<bool, ReadError> {
        let mut found = false;
        for LogSelection { folder, .. } in logs {
            disclosure::fold(folder, &filter, true, |_| {
                found = true;
                Ok(())
            })?;
        }
        Ok(found)
    };
    let say = |what: &str, name: &str, near: Option<&str>| {
        let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Some(format!("there is no {what} `{name}` in the configuration or in the log{hint}"))
    };
    let AuditContext { location: LedgerLocation { recipients, .. }, vocabulary } = configured;
    if let Some(name) = &filter.recipient
        && !recipients.iter().any(|known| **known == **name)
        && !is_on_record(ExchangeFilter { recipient: Some(name.clone()), ..ExchangeFilter::default() })?
    {
        let known = recipients.iter().map(|known| &**known);
        return Ok(say("recipient", name, nearest(name, known)));
    }
    if let Some(name) = &filter.purpose
        && vocabulary.purposes().find(name).is_none()
        && !is_on_record(ExchangeFilter { purpose: Some(name.clone()), ..ExchangeFilter::default() })?
    {
        let known = vocabulary.purposes().terms().map(|(_, term)| &*term.id);
        return Ok(say("purpose", name, nearest(name, known)));
    }
    Ok(None)
}

/// Renders an exchange: a line with time, recipient, purpose and outcome, and below it a line for each category and form.
/// The name of the gateway is added where several logs are read.
fn exchange_text(exchange: &Value, of_several: bool) -> String {
    let named = |member: &str| exchange.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
    let text = |member: &str| named(member).unwrap_or("-");
    let number = |member: &str| exchange.get(member).and_then(Value::as_u64).unwrap_or(0);
    let people = exchange.get("subjects").and_then(Value::as_array).map_or(0, Vec::len);
    let mut line = format!(
        "{}  {}  {}  {}  {}  {}  {}, {} withheld, {people} {}",
        text("time"),
        text("decision"),
        text("recipient"),
        text("purpose"),
        text("route"),
        exchange.get("outcome").and_then(Value::as_str).unwrap_or("under way"),
        counted(usize::try_from(number("records")).unwrap_or(usize::MAX), "record"),
        number("withheld_records"),
        if people == 1 { "person" } else { "people" },
    );
    if let Some(case) = exchange.get("case").and_then(Value::as_str) {
        // The recipient chose the text, so it is escaped: it must not begin a line of its own.
        line.push_str(&format!(", case {case:?}"));
    }
    if exchange.get("stale").and_then(Value::as_bool) == Some(true) {
        line.push_str(", stale");
    }
    if text("mode") == "observe" {
        line.push_str(", observed");
        if let Some(code) = exchange.pointer("/would/refused").and_then(Value::as_str) {
            line.push_str(&format!(", would be refused: {code}"));
        }
    }
    if of_several && let Some(gateway) = exchange.get("gateway").and_then(Value::as_str) {
        line.push_str(&format!(", gateway {gateway}"));
    }
    let categories = exchange.get("categories").and_then(Value::as_object).into_iter().flatten();
    for (category, entries) in categories {
        for entry in entries.as_array().into_iter().flatten() {
            let of = |member: &str| entry.get(member).and_then(Value::as_str);
            line.push_str(&format!("\n    {category}: {}", of("form").unwrap_or("-")));
            for reason in [of("basis"), of("reason")].into_iter().flatten() {
                line.push_str(&format!(", {reason}"));
            }
            let clauses = entry.get("clauses").and_then(Value::as_array).into_iter().flatten();
            let clauses: Vec<_> = clauses.filter_map(Value::as_str).collect();
            let fields = entry.get("fields").and_then(Value::as_u64).unwrap_or(0);
            let fields = usize::try_from(fields).unwrap_or(usize::MAX);
            line.push_str(&format!(", {}", counted(fields, "field")));
            if !clauses.is_empty() {
                line.push_str(&format!(" ({})", clauses.join(", ")));
            }
            line.push_str(&would_text(entry));
        }
    }
    line
}

/// Renders the form in which an observed category would leave if the route were enforced, if it is another one.
fn would_text(entry: &Value) -> String {
    let would = |member: &str| entry.pointer(&format!("/would/{member}")).and_then(Value::as_str);
    let form = would("form").filter(|form| entry.get("form").and_then(Value::as_str) != Some(form));
    let reason = would("reason").map_or(String::new(), |reason| format!(", {reason}"));
    form.map_or(String::new(), |form| format!("; would be {form}{reason}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_text_marks_a_release_while_the_ledger_was_stale() {
        let marked = exchange_text(&json!({ "recipient": "acme", "stale": true }), false);
        assert!(marked.ends_with("0 people, stale"), "{marked}");
        let current = exchange_text(&json!({ "recipient": "acme" }), false);
        assert!(current.ends_with("0 people"), "{current}");
    }

    #[test]
    fn the_text_says_what_enforcing_would_have_done() {
        let of = |would: Value| json!([{ "form": "clear", "fields": 1, "would": would }]);
        let text = exchange_text(
            &json!({
                "recipient": "desk",
                "purpose": "",
                "mode": "observe",
                "would": { "refused": "purpose-missing" },
                "categories": {
                    "email": of(json!({ "form": "removed", "reason": "no-rule" })),
                    "name": of(json!({ "form": "clear", "reason": null })),
                    "phone": of(json!({ "form": "masked", "reason": null })),
                },
            }),
            false,
        );
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("  desk  -  "), "{text}");
        assert!(lines[0].ends_with("0 people, observed, would be refused: purpose-missing"), "{text}");
        assert_eq!(
            lines[1..],
            [
                "    email: clear, 1 field; would be removed, no-rule",
                "    name: clear, 1 field",
                "    phone: clear, 1 field; would be masked"
            ]
        );
        let enforced = exchange_text(&json!({ "recipient": "desk", "mode": "enforce" }), false);
        assert!(enforced.ends_with("0 people"), "{enforced}");
    }
}
