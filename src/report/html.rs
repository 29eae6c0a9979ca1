//! Renders the report as one self-contained HTML page, for a browser, a phone or paper.
//!
//! The page addresses the person directly and uses the titles of the vocabulary.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{
    DataSource, DisclosureList, LaterChange, Processing, ReportedDisclosure, RetentionPeriod, SubjectReport,
    TitledTerm,
};
use crate::disclosure::AccountedCategory;
use crate::disclosure::record::CategoryDisclosure;

const STYLE: &str = "
:root { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; padding-top: .6rem; border-top: 1px solid #b5b5b5; }
h3 { font-size: 1rem; margin: 1.1rem 0 .2rem; }
p { margin: .3rem 0 .7rem; max-width: 46rem; }
.small { color: #5a5a5a; font-size: .9rem; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 .8rem; }
th, td { border-bottom: 1px solid #d6d6d6; text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; }
thead th { font-weight: 600; border-bottom: 2px solid #8a8a8a; }
td.time { white-space: nowrap; font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: .2rem 0 .8rem; }
dt { color: #5a5a5a; } dd { margin: 0; }
ul { margin: .2rem 0 .8rem; padding-left: 1.2rem; }
@media (max-width: 40rem) {
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; }
  table, thead, tbody, tr, td { display: block; } thead { display: none; }
  td { border: 0; padding: .05rem 0; } tr { border-bottom: 1px solid #d6d6d6; padding: .4rem 0; }
}
@media print {
  @page { size: A4; margin: 16mm; }
  :root { font-size: 11px; } body { margin: 0; max-width: none; padding: 0; }
  tr, .activity { break-inside: avoid; } h2, h3 { break-after: avoid; }
}
";

/// Renders the page.
pub fn html(report: &SubjectReport) -> String {
    let SubjectReport {
        subject,
        namespace,
        made,
        contacts,
        state,
        events,
        sources,
        processing,
        retention,
        disclosed,
    } = report;
    let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width\">\n");
    page.push_str("<meta name=\"robots\" content=\"noindex\">\n<title>What we know about you</title>\n");
    let _ = writeln!(page, "<style>{STYLE}</style>\n<h1>What we know about you</h1>");
    let of = namespace.as_ref().map_or_else(String::new, |name| format!(" ({})", escaped(name)));
    let _ = writeln!(
        page,
        "<p>About the person with the number <strong>{}</strong>{of}, on {}.</p>",
        escaped(subject),
        day(*made)
    );
    for contact in contacts {
        let _ = writeln!(page, "<p class=\"small\">Questions: {}</p>", escaped(contact));
    }
    write_state(&mut page, state.as_ref());
    write_disclosures(&mut page, disclosed);
    write_processing(&mut page, processing, retention);
    write_sources(&mut page, sources);
    write_events(&mut page, events);
    page.push_str(RIGHTS);
    page.push_str("</html>\n");
    page
}

const RIGHTS: &str = "<h2>Your rights</h2>
<p>You can have data about you corrected, erased or restricted, receive a copy of them that a machine reads, object to what
rests on a legitimate interest, and withdraw every consent at any time. An objection to marketing needs no reason. You can
also complain to a data protection authority, in the country where you live or work.</p>
";

fn write_state(page: &mut String, state: Option<&Map<String, Value>>) {
    page.push_str("<h2>What you have said</h2>\n");
    let Some(state) = state else {
        page.push_str("<p>You have said nothing about the use of your data that we have on record.</p>\n");
        return;
    };
    let mut lines: Vec<(&str, String)> = Vec::new();
    let list = |member: &str| -> String {
        let names = state.get(member).and_then(Value::as_array).into_iter().flatten();
        names.filter_map(Value::as_str).map(in_words).collect::<Vec<_>>().join(", ")
    };
    let consents = state.get("consents").and_then(Value::as_object).into_iter().flatten();
    for (purpose, status) in consents {
        let status = status.as_str().unwrap_or_default();
        lines.push(("Consent", format!("{}: {status}", in_words(purpose))));
    }
    for (member, title) in [
        ("objections", "Objections"),
        ("opt-outs", "Opted out of"),
        ("refused-categories", "Not to be used"),
        ("consents-since-restriction", "Consented to since the restriction"),
        ("relations", "Relations"),
    ] {
        lines.push((title, list(member)));
    }
    for (member, words) in [
        ("erased", "erased: your data are withheld except where the law requires them"),
        ("restricted", "restricted: your data are not used until this is lifted"),
        ("minor", "you are not of age"),
        ("transfer-consent", "you agreed to the transfer of your data to other countries"),
    ] {
        if state.get(member) == Some(&Value::Bool(true)) {
            lines.push(("On record", words.to_owned()));
        }
    }
    for (member, title) in [("country", "Country"), ("region", "Region")] {
        let place = state.get(member).and_then(Value::as_str);
        lines.push((title, place.unwrap_or_default().to_owned()));
    }
    lines.push(("Where your data came from", origin(state.get("origin"))));
    page.push_str("<dl>\n");
    let mut before = "";
    for (title, text) in lines.iter().filter(|(_, text)| !text.is_empty()) {
        let shown = if *title == before { "" } else { title };
        let _ = writeln!(page, "<dt>{shown}</dt><dd>{}</dd>", escaped(text));
        before = title;
    }
    page.push_str("</dl>\n");
}

fn origin(origin: Option<&Value>) -> String {
    match origin {
        Some(Value::String(all)) => origin_in_words(all),
        Some(Value::Object(of)) => {
            let each = of.iter().map(|(category, origin)| {
                let origin = origin_in_words(origin.as_str().unwrap_or_default());
                let category = if category == "personal" { "in general" } else { category };
                format!("{}: {origin}", in_words(category))
            });
            each.collect::<Vec<_>>().join("; ")
        }
        _ => String::new(),
    }
}

fn origin_in_words(origin: &str) -> String {
    if origin == "self" { "from yourself".to_owned() } else { in_words(origin) }
}

fn write_disclosures(page: &mut String, disclosed: &DisclosureList) {
    let DisclosureList { complete, logs, disclosures } = disclosed;
    page.push_str("<h2>Who has received your data</h2>\n");
    if !complete {
        page.push_str(
            "<p><strong>Some of our records are missing or could not be read. This list is not complete.</strong></p>\n",
        );
    }
    if let Some(since) = logs.iter().filter_map(|log| log.since).max() {
        let _ = writeln!(page, "<p>Our records go back to {}.</p>", since.strftime("%-d %B %Y"));
    }
    if disclosures.is_empty() {
        page.push_str("<p>Nobody, as far as our records go back.</p>\n");
        return;
    }
    page.push_str("<table>\n<thead><tr><th>When</th><th>Who</th><th>For what</th><th>Which data</th></tr></thead>\n<tbody>\n");
    let mut shared = false;
    for ReportedDisclosure {
        disclosed,
        purpose_title,
        recipient_name,
        recipient_address,
        recipient_kind,
        recipient_country,
        changed_since,
    } in disclosures
    {
        let mut who = format!("<strong>{}</strong>", escaped(recipient_name));
        let more = recipient_kind.iter().map(|kind| kind.title.as_str()).chain(recipient_country.as_deref());
        let more = more.chain(recipient_address.as_deref()).map(escaped).collect::<Vec<_>>().join(", ");
        if !more.is_empty() {
            let _ = write!(who, "<br><span class=\"small\">{more}</span>");
        }
        let mut which = disclosed_categories(&disclosed.categories);
        if disclosed.people > 1 {
            shared = true;
            let _ = write!(
                which,
                "<br><span class=\"small\">in a list about {} people*</span>",
                disclosed.people
            );
        }
        for LaterChange { event, at } in changed_since {
            let _ = write!(which, "<br><span class=\"small\">{event} since, on {}</span>", day(*at));
        }
        let mut purpose = escaped(purpose_title);
        if let Some(case) = &disclosed.case {
            let _ = write!(purpose, "<br><span class=\"small\">case {}</span>", escaped(case));
        }
        let _ = writeln!(
            page,
            "<tr><td class=\"time\">{}</td><td>{who}</td><td>{purpose}</td><td>{which}</td></tr>",
            moment(disclosed.time)
        );
    }
    page.push_str("</tbody>\n</table>\n");
    if shared {
        page.push_str(
            "<p class=\"small\">* The record of a list says what it held about the people in it, not about each of them: \
             of you it held this or less.</p>\n",
        );
    }
}

/// Lists the disclosed categories, grouped by form and legal basis.
fn disclosed_categories(categories: &BTreeSet<AccountedCategory>) -> String {
    let mut together: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
    for AccountedCategory { category, form, basis } in categories {
        let basis = match basis {
            Some(basis) => format!("legal basis: {}", in_words(basis)),
            None if category == CategoryDisclosure::UNCLASSIFIED => {
                "no legal basis on record: we had not classified these data".to_owned()
            }
            // The exchange was observed.
            None => "no legal basis on record: our rules were not applied to this yet".to_owned(),
        };
        together.entry((form, basis)).or_default().push(in_words(category));
    }
    let each = together.into_iter().map(|((form, basis), names)| {
        let form = (form != "clear").then(|| in_words(form));
        let how = form.into_iter().chain([basis]).collect::<Vec<_>>().join("; ");
        format!("{}<br><span class=\"small\">{}</span>", escaped(&names.join(", ")), escaped(&how))
    });
    each.collect::<Vec<_>>().join("<br>")
}

fn write_processing(page: &mut String, processing: &[Processing], retention: &[RetentionPeriod]) {
    page.push_str("<h2>What we use personal data for</h2>\n");
    for line in processing {
        let titles = |list: &[TitledTerm]| {
            escaped(&list.iter().map(|named| named.title.as_str()).collect::<Vec<_>>().join(", "))
        };
        let _ = writeln!(page, "<div class=\"activity\">\n<h3>{}</h3>\n<dl>", escaped(&line.title));
        for (title, text) in [
            ("Which data", titles(&line.categories)),
            ("Who receives them", titles(&line.recipients)),
            ("Legal basis", escaped(&line.basis_title)),
            ("Kept", escaped(&line.retention)),
            ("To other countries", escaped(&line.transfers)),
        ] {
            let _ = writeln!(page, "<dt>{title}</dt><dd>{text}</dd>");
        }
        page.push_str("</dl>\n</div>\n");
    }
    if !retention.is_empty() {
        page.push_str("<h3>Periods</h3>\n<ul>\n");
        for RetentionPeriod { title, days, .. } in retention {
            let _ = writeln!(page, "<li>{}: {days} days</li>", escaped(title));
        }
        page.push_str("</ul>\n");
    }
}

fn write_sources(page: &mut String, sources: &[DataSource]) {
    if sources.is_empty() {
        return;
    }
    page.push_str("<h2>Where such data come from</h2>\n<dl>\n");
    for DataSource { title, origins, .. } in sources {
        let origins = origins.iter().map(String::as_str).collect::<Vec<_>>().join("; ");
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escaped(title), escaped(&origins));
    }
    page.push_str("</dl>\n");
}

fn write_events(page: &mut String, events: &[Map<String, Value>]) {
    if events.is_empty() {
        return;
    }
    page.push_str("<h2>Everything on record about that</h2>\n<table>\n<thead><tr><th>When</th><th>What</th><th></th></tr></thead>\n<tbody>\n");
    for event in events {
        let text = |member: &str| event.get(member).and_then(Value::as_str).unwrap_or_default();
        let more = event.iter().filter(|(member, _)| !["at", "kind"].contains(&member.as_str()));
        let more = more.map(|(member, value)| format!("{}: {}", in_words(member), plain(value)));
        let at = text("at").parse().map_or_else(|_| text("at").to_owned(), moment);
        let _ = writeln!(
            page,
            "<tr><td class=\"time\">{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&at),
            escaped(&in_words(text("kind"))),
            escaped(&more.collect::<Vec<_>>().join("; "))
        );
    }
    page.push_str("</tbody>\n</table>\n");
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => {
            let each = members.iter().map(|(name, value)| format!("{} {}", in_words(name), plain(value)));
            each.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// Converts a name such as `direct-marketing` into words.
fn in_words(id: &str) -> String {
    id.replace('-', " ").replace(':', ", ")
}

fn moment(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn day(time: jiff::Timestamp) -> String {
    time.strftime("%-d %B %Y").to_string()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
