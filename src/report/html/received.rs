//! Who has received the person's data: each recipient once, with repeated disclosures as first, number and last.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;

use super::{ReportWriter, is_earlier_format};
use crate::disclosure::AccountedCategory;
use crate::disclosure::record::CategoryDisclosure;
use crate::report::{DisclosureList, LaterChange, ReportedDisclosure};
use crate::texts::{Sentence, TermKind, escaped};

/// A recipient as the page names it: parts that are escaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RecipientHeading {
    name: String,
    /// Its kind and its country.
    about: String,
    address: Option<String>,
    contact: Option<String>,
}

/// Disclosures of the same data for the same purpose, after which the same changes were recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RepeatedLine<'d> {
    purpose: &'d str,
    categories: &'d BTreeSet<AccountedCategory>,
    changes: Vec<(&'static str, Timestamp)>,
    is_shared: bool,
}

/// The disclosures of a line.
#[derive(Clone, Debug)]
struct LineExtent<'d> {
    first: Timestamp,
    last: Timestamp,
    number: u64,
    /// The cases that the requests cited.
    cases: BTreeSet<&'d str>,
    /// Number of the disclosures whose request cited a case.
    with_case: u64,
}

impl<'d> LineExtent<'d> {
    fn add(&mut self, reported: &'d ReportedDisclosure) {
        let time = reported.disclosed.time;
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.number += 1;
        self.cases.extend(reported.disclosed.case.as_deref());
        self.with_case += u64::from(reported.disclosed.case.is_some());
    }
}

/// Maximum number of cases that a line names.
const MAX_CASES: usize = 5;

type Lines<'d> = BTreeMap<RepeatedLine<'d>, LineExtent<'d>>;

impl ReportWriter<'_> {
    pub(super) fn write_received(&self, out: &mut String, disclosed: &DisclosureList) {
        let DisclosureList { complete, logs, disclosures } = disclosed;
        self.heading(out, Sentence::ReportReceived);
        if !complete {
            let _ = writeln!(out, "<p class=\"alert\">{}</p>", self.say(Sentence::ReportIncomplete));
        }
        // A log of an earlier version does not say how far it goes back, and is older than the others.
        let since = logs.iter().filter_map(|log| log.since).min();
        if let Some(since) = since.filter(|_| !logs.iter().any(is_earlier_format)) {
            let since = self.language.date(since);
            let _ = writeln!(out, "<p>{}</p>", self.say_with(Sentence::ReportSince, &[("date", &since)]));
        }
        if disclosures.is_empty() {
            let _ = writeln!(out, "<p>{}</p>", self.say(Sentence::ReportNobody));
            return;
        }
        let mut recipients: BTreeMap<RecipientHeading, Lines<'_>> = BTreeMap::new();
        for reported in disclosures {
            let lines = recipients.entry(self.recipient_heading(reported)).or_default();
            let time = reported.disclosed.time;
            let none =
                LineExtent { first: time, last: time, number: 0, cases: BTreeSet::new(), with_case: 0 };
            lines.entry(repeated_line(reported)).or_insert(none).add(reported);
        }
        for (heading, lines) in &recipients {
            self.write_recipient(out, heading, lines);
        }
        if disclosures.iter().any(|reported| reported.disclosed.people > 1) {
            let _ = writeln!(out, "<p class=\"quiet\">{}</p>", self.say(Sentence::ReportSharedMeans));
        }
    }

    fn recipient_heading(&self, reported: &ReportedDisclosure) -> RecipientHeading {
        let kind = match &reported.recipient_kind {
            Some(kind) => self.title(TermKind::RecipientKind, &kind.id),
            None => self.say(Sentence::ReportFormerRecipient),
        };
        let country = reported.recipient_country.as_deref().map(escaped);
        RecipientHeading {
            name: self.recipient(&reported.disclosed.recipient),
            about: [kind].into_iter().chain(country).collect::<Vec<_>>().join(", "),
            address: reported.recipient_address.as_deref().map(escaped),
            contact: reported.recipient_contact.as_deref().map(escaped),
        }
    }

    fn write_recipient(&self, out: &mut String, heading: &RecipientHeading, lines: &Lines<'_>) {
        let RecipientHeading { name, about, address, contact } = heading;
        let _ = writeln!(out, "<h3>{name}</h3>\n<p>{about}");
        for (title, text) in [(Sentence::ReportAddress, address), (Sentence::ReportContact, contact)] {
            if let Some(text) = text {
                let _ = writeln!(out, "<br>{}: {text}", self.say(title));
            }
        }
        out.push_str("</p>\n");
        let columns = [Sentence::ReportWhy, Sentence::ReportWhat, Sentence::ReportWhen];
        out.push_str(&self.language.table(&columns));
        let mut lines: Vec<(&RepeatedLine<'_>, &LineExtent<'_>)> = lines.iter().collect();
        lines.sort_by_key(|(_, extent)| extent.first);
        for (line, extent) in lines {
            let cells = [self.purpose(line.purpose, extent), self.data(line), self.times(extent)];
            let cells =
                columns.iter().zip(cells).map(|(column, content)| self.language.cell(*column, &content));
            let _ = writeln!(out, "<tr>{}</tr>", cells.collect::<String>());
        }
        out.push_str("</tbody>\n</table>\n");
    }

    fn purpose(&self, purpose: &str, extent: &LineExtent<'_>) -> String {
        let LineExtent { cases, number, with_case, .. } = extent;
        let title = match purpose {
            "" => self.say(Sentence::ReportNoPurpose),
            name => self.title(TermKind::Purpose, name),
        };
        if cases.is_empty() {
            return title;
        }
        let more = if cases.len() > MAX_CASES { ", …" } else { "" };
        let cases = cases.iter().take(MAX_CASES).copied().collect::<Vec<_>>().join(", ") + more;
        let sentence = if with_case == number { Sentence::ReportCases } else { Sentence::ReportCasesSome };
        let cases = self.say_with(sentence, &[("cases", &cases)]);
        format!("{title}<br><span class=\"quiet\">{cases}</span>")
    }

    fn times(&self, extent: &LineExtent<'_>) -> String {
        let LineExtent { first, last, number, .. } = extent;
        if *number == 1 {
            return escaped(&self.language.moment(*first));
        }
        let (first, last, number) =
            (self.language.moment(*first), self.language.moment(*last), number.to_string());
        self.say_with(Sentence::ReportTimes, &[("number", &number), ("first", &first), ("last", &last)])
    }

    /// Lists the categories of a line, by form and legal basis.
    fn data(&self, line: &RepeatedLine<'_>) -> String {
        let mut together: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
        for AccountedCategory { category, form, basis } in line.categories {
            let is_unclassified = category == CategoryDisclosure::UNCLASSIFIED;
            let basis = match basis {
                Some(basis) => {
                    let basis = self.basis(basis);
                    // It is escaped already, so it does not go through a sentence again.
                    self.say_with(Sentence::ReportBasis, &[("basis", "\u{1}")]).replace('\u{1}', &basis)
                }
                None if is_unclassified => self.say(Sentence::ReportNoBasisUnclassified),
                // The exchange was observed.
                None => self.say(Sentence::ReportNoBasisObserved),
            };
            let name = match is_unclassified {
                true => self.say(Sentence::ReportUnclassified),
                false => self.title(TermKind::Category, category),
            };
            together.entry((form, basis)).or_default().push(name);
        }
        let each = together.into_iter().map(|((form, basis), names)| {
            let form = (form != "clear").then(|| self.form(form));
            let how = form.into_iter().chain([basis]).collect::<Vec<_>>().join("; ");
            format!("{}<br><span class=\"quiet\">{how}</span>", names.join(", "))
        });
        let mut parts: Vec<String> = each.collect();
        if line.is_shared {
            parts.push(format!("<span class=\"quiet\">{}</span>", self.say(Sentence::ReportShared)));
        }
        for (event, at) in &line.changes {
            let sentence =
                if *event == "erasure" { Sentence::ReportErased } else { Sentence::ReportCorrected };
            let change = self.say_with(sentence, &[("date", &self.language.day(*at))]);
            parts.push(format!("<span class=\"quiet\">{change}</span>"));
        }
        parts.join("<br>")
    }

    fn form(&self, form: &str) -> String {
        self.say(match form {
            "masked" => Sentence::FormMasked,
            "generalised" => Sentence::FormGeneralised,
            "pseudonymised" => Sentence::FormPseudonymised,
            "removed" => Sentence::FormRemoved,
            _ => Sentence::FormClear,
        })
    }
}

fn repeated_line(reported: &ReportedDisclosure) -> RepeatedLine<'_> {
    let changes = reported.changed_since.iter().map(|LaterChange { event, at }| (*event, *at));
    RepeatedLine {
        purpose: &reported.disclosed.purpose,
        categories: &reported.disclosed.categories,
        changes: changes.collect(),
        is_shared: reported.disclosed.people > 1,
    }
}
