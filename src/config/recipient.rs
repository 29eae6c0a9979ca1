//! `[[recipient]]`: who may ask, as what, and how it proves who it is.

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::civil::Date;
use toml::Spanned;
use toml::de::DeValue;

use super::{Config, Part, credential, section, unit};
use crate::decision::RecipientFacts;
use crate::finding::{Table, nearest};
use crate::layer::route::{Agreement, Recipient, Report};
use crate::policy::Pack;
use crate::vocabulary::{PurposeId, Safeguard, TermId, Tree, Vocabulary};

/// Reads every recipient of every file into the configuration.
pub(super) fn read_all(parts: &[Part<'_>], pack: &Arc<Pack>, config: &mut Config) {
    for part in parts {
        for table in part.table.tables("recipient") {
            let position = config.recipients.len();
            let recipient = read(&table, pack.vocabulary());
            credential::read_all(&table, pack.vocabulary(), position, config);
            table.report_unknown();
            // Without one there is an error, and credentials that name its place come to nothing.
            config.recipients.extend(recipient.map(Arc::new));
        }
    }
    let findings = parts.first().map(|part| part.table.findings());
    if let Some(findings) = findings {
        section::report_twins(findings, config.recipients.iter().map(|recipient| &recipient.name), "recipient");
    }
}

fn read(table: &Table<'_>, vocabulary: &Vocabulary) -> Option<Recipient> {
    let name = table.required_text("name");
    let kind = table.required_text("kind").and_then(|kind| {
        let found = vocabulary.kinds().find(&kind.value);
        if found.is_none() {
            report_unknown_name(table, "recipient kind", &kind.value, kind.span, vocabulary.kinds());
        }
        found
    });
    let country = table.text("country").map(|country| Arc::<str>::from(country.value));
    let region = table.text("region").map(|region| Arc::<str>::from(region.value));
    let purposes = purposes(table, "purposes", vocabulary).unwrap_or_default();
    let safeguards: Vec<(&str, Safeguard)> = Safeguard::ALL.iter().map(|safeguard| (safeguard.name(), *safeguard)).collect();
    let safeguard = section::choice(table, "safeguard", &safeguards, Safeguard::None);
    let suspended = table.flag("suspended").is_some_and(|at| at.value);
    let words = [("none", Report::None), ("counts", Report::Counts), ("paths", Report::Paths)];
    let report = section::choice(table, "report", &words, Report::None);
    let agreement = table.table("agreement").map(|agreement| read_agreement(&agreement));
    let name: Arc<str> = Arc::from(name?.value);
    let kind = kind?;
    let facts = |in_force: bool| {
        Arc::new(RecipientFacts {
            name: Arc::clone(&name),
            kind,
            country: country.clone(),
            region: region.clone(),
            purposes: purposes.clone(),
            agreement: in_force,
            safeguard,
            suspended,
        })
    };
    let rate = table.table("rate").and_then(|rate| read_rate(&rate));
    Some(Recipient { in_agreement: facts(true), without_agreement: facts(false), name: Arc::clone(&name), agreement, report, rate })
}

/// `rate = { requests = 100, per = "1s" }`: that many at once, refilled over that time.
fn read_rate(table: &Table<'_>) -> Option<DefaultDirectRateLimiter> {
    let requests = table.integer("requests").and_then(|at| u32::try_from(at.value).ok()).and_then(NonZeroU32::new);
    let per = unit::duration(table, "per", Duration::from_secs(1));
    table.report_unknown();
    let quota = requests.and_then(|requests| Quota::with_period(per / requests.get()).map(|quota| quota.allow_burst(requests)));
    if quota.is_none() {
        let finding = table.error(table.span(), "this is not a rate");
        table.findings().push(finding.hint("write `rate = { requests = 100, per = \"1s\" }`"));
    }
    quota.map(RateLimiter::direct)
}

fn read_agreement(table: &Table<'_>) -> Agreement {
    table.text("type");
    table.text("reference");
    let until = table.value("until").and_then(|value| date(table, value));
    table.report_unknown();
    Agreement { until }
}

fn date(table: &Table<'_>, value: &Spanned<DeValue<'_>>) -> Option<Date> {
    let text = match value.get_ref() {
        DeValue::Datetime(date) => date.to_string(),
        DeValue::String(text) => text.to_string(),
        _ => String::new(),
    };
    let parsed = text.parse::<Date>().ok();
    if parsed.is_none() {
        let finding = table.error(value.span(), "this is not a date");
        table.findings().push(finding.hint("write a date such as 2027-06-30, the last day on which the agreement is in force"));
    }
    parsed
}

/// A list of purposes by name or alias.
pub(super) fn purposes(table: &Table<'_>, key: &'static str, vocabulary: &Vocabulary) -> Option<Vec<PurposeId>> {
    let names = table.texts(key)?;
    let known = names.into_iter().filter_map(|name| {
        let found = vocabulary.declared_purpose(&name.value).ok();
        if found.is_none() {
            report_unknown_name(table, "purpose", &name.value, name.span, vocabulary.purposes());
        }
        found
    });
    Some(known.collect())
}

/// A name that the vocabulary does not have, with the nearest that it has.
pub(super) fn report_unknown_name<I: TermId>(
    table: &Table<'_>,
    what: &str,
    name: &str,
    span: Range<usize>,
    known: &Tree<I>,
) {
    let finding = table.error(span, format!("there is no {what} `{name}`")).label("not in the vocabulary");
    table.findings().push(match nearest(name, known.ids().map(|id| known.name(id))) {
        Some(near) => finding.hint(format!("did you mean `{near}`?")),
        None => finding.hint("`purposegate policy vocabulary` lists what there is"),
    });
}
