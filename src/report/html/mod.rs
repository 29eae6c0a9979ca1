//! Renders the report as one self-contained HTML page, for a browser, a phone or paper.
//!
//! The page addresses the person directly, in a language of the configuration, and uses the titles of the vocabulary.
//! Invariants: it has no id of a decision, route, rule or clause, and names a recipient by the configured name only if
//! nothing else is known of it; it names the namespace of the person's id only if there are several; it escapes every value.

mod received;
mod said;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::sync::Arc;

use super::{
    DataSource, DisclosureList, Processing, ReportedRecipient, RetentionPeriod, SubjectReport, TitledTerm,
};
use crate::disclosure::questions::LogExtent;
use crate::policy::Pack;
use crate::texts::{HtmlPage, PageLanguage, Sentence, TermKind, escaped};
use crate::vocabulary::Vocabulary;

/// The language of the page, and the words that it needs.
#[derive(Clone, Copy, Debug)]
pub struct ReportPage<'p> {
    /// The language.
    pub language: &'p PageLanguage,
    /// The policy packs that are in force.
    pub packs: &'p [Arc<Pack>],
    /// The registered recipients.
    pub recipients: &'p [ReportedRecipient],
}

/// Renders the page.
pub fn html(report: &SubjectReport, page: &ReportPage<'_>) -> String {
    let standard;
    let words = match page.packs.first() {
        Some(pack) => &**pack.vocabulary(),
        None => {
            standard = Vocabulary::standard();
            &standard
        }
    };
    let writer = ReportWriter { language: page.language, words, recipients: page.recipients };
    let title = page.language.plain(Sentence::ReportTitle, &[]);
    let content = writer.content(report);
    HtmlPage::new(page.language, title).for_file().with(&content)
}

struct ReportWriter<'p> {
    language: &'p PageLanguage,
    words: &'p Vocabulary,
    recipients: &'p [ReportedRecipient],
}

impl ReportWriter<'_> {
    fn say(&self, sentence: Sentence) -> String {
        self.language.html(sentence, &[])
    }

    fn say_with(&self, sentence: Sentence, values: &[(&str, &str)]) -> String {
        self.language.html(sentence, values)
    }

    /// Returns the title of a term, escaped.
    fn title(&self, kind: TermKind, id: &str) -> String {
        escaped(&self.language.title(kind, id, self.words))
    }

    /// Returns how people know a recipient, escaped: by its name in law if the configuration has it.
    fn recipient(&self, name: &str) -> String {
        let known = self.recipients.iter().find(|known| *known.facts.name == *name);
        let legal_name = known.and_then(|known| known.legal_name.as_deref());
        match (legal_name, known) {
            (Some(legal_name), _) => escaped(legal_name),
            (None, Some(known)) if self.words.is_own_organisation(known.facts.kind) => {
                self.say(Sentence::ReportOwnStaff)
            }
            (None, _) => escaped(name),
        }
    }

    fn content(&self, report: &SubjectReport) -> String {
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
        let about = [("subject", &**subject), ("date", &*self.language.day(*made))];
        let mut out = format!(
            "<h1>{}</h1>\n<p>{}</p>\n",
            self.say(Sentence::ReportTitle),
            self.say_with(Sentence::ReportAbout, &about)
        );
        if let Some(namespace) = namespace {
            let namespace = self.say_with(Sentence::ReportNamespace, &[("namespace", namespace)]);
            let _ = writeln!(out, "<p>{namespace}</p>");
        }
        for contact in contacts {
            let contact = self.say_with(Sentence::Questions, &[("contact", contact)]);
            let _ = writeln!(out, "<p class=\"quiet\">{contact}</p>");
        }
        self.write_received(&mut out, disclosed);
        self.write_state(&mut out, state.as_ref());
        self.write_processing(&mut out, processing, retention);
        self.write_sources(&mut out, sources);
        self.write_events(&mut out, events);
        let rights =
            [Sentence::ReportRights, Sentence::ReportRightsMeaning].map(|sentence| self.say(sentence));
        let [heading, meaning] = rights;
        let _ = writeln!(out, "<h2>{heading}</h2>\n<p>{meaning}</p>");
        self.write_logs(&mut out, report);
        out
    }

    fn heading(&self, out: &mut String, sentence: Sentence) {
        let _ = writeln!(out, "<h2>{}</h2>", self.say(sentence));
    }

    fn write_processing(&self, out: &mut String, processing: &[Processing], retention: &[RetentionPeriod]) {
        self.heading(out, Sentence::ReportUsed);
        for line in processing {
            let titles = |kind, list: &[TitledTerm]| {
                list.iter().map(|term| self.term(kind, term)).collect::<Vec<_>>().join(", ")
            };
            let purpose = self.language.title(TermKind::Purpose, &line.purpose, self.words);
            let _ = writeln!(out, "<div class=\"together\">\n<h3>{}</h3>\n<dl>", escaped(&purpose));
            for (title, text) in [
                (Sentence::ReportWhat, titles(TermKind::Category, &line.categories)),
                (Sentence::ReportRecipients, titles(TermKind::RecipientKind, &line.recipients)),
                (Sentence::ReportLegalBasis, self.basis(line.basis)),
                (Sentence::ReportKept, escaped(&line.retention)),
                (Sentence::ReportTransfers, escaped(&line.transfers)),
            ] {
                let _ = writeln!(out, "<dt>{}</dt><dd>{text}</dd>", self.say(title));
            }
            out.push_str("</dl>\n</div>\n");
        }
        if !retention.is_empty() {
            let _ = writeln!(out, "<h3>{}</h3>\n<ul>", self.say(Sentence::ReportPeriods));
            for RetentionPeriod { category, days, .. } in retention {
                let days = self.say_with(Sentence::ReportDays, &[("days", &days.to_string())]);
                let _ = writeln!(out, "<li>{}: {days}</li>", self.title(TermKind::Category, category));
            }
            out.push_str("</ul>\n");
        }
    }

    /// Returns the title of a term of the record of processing, escaped. A group of terms has no title in the vocabulary: its
    /// members are named.
    fn term(&self, kind: TermKind, term: &TitledTerm) -> String {
        let title = self.language.title(kind, &term.id, self.words);
        if let Some(members) = self.members(kind, &term.id).filter(|_| title == term.id) {
            return members.iter().map(|member| self.title(kind, member)).collect::<Vec<_>>().join(", ");
        }
        escaped(if title == term.id { &term.title } else { &title })
    }

    /// Returns the terms of a group; `None` if there is no such group.
    fn members(&self, kind: TermKind, id: &str) -> Option<Vec<&str>> {
        match kind {
            TermKind::RecipientKind => {
                let group = self.words.kind_groups().iter().find(|group| *group.name == *id)?;
                Some(group.members.iter().map(|member| self.words.kinds().name(*member)).collect())
            }
            TermKind::Category => {
                let group = self.words.category_groups().iter().find(|group| *group.name == *id)?;
                Some(group.members.iter().map(|member| self.words.categories().name(*member)).collect())
            }
            TermKind::Purpose | TermKind::Relation => None,
        }
    }

    fn write_sources(&self, out: &mut String, sources: &[DataSource]) {
        if sources.is_empty() {
            return;
        }
        self.heading(out, Sentence::ReportOrigins);
        out.push_str("<dl>\n");
        for DataSource { category, title, origins } in sources {
            let term = TitledTerm { id: category.clone(), title: title.clone() };
            let origins = origins.iter().map(String::as_str).collect::<Vec<_>>().join("; ");
            let title = self.term(TermKind::Category, &term);
            let _ = writeln!(out, "<dt>{title}</dt><dd>{}</dd>", escaped(&origins));
        }
        out.push_str("</dl>\n");
    }

    /// States the logs that were read, up to where, and what is missing. Why it is missing is for the operator.
    fn write_logs(&self, out: &mut String, report: &SubjectReport) {
        let DisclosureList { logs, .. } = &report.disclosed;
        self.heading(out, Sentence::ReportLogs);
        if logs.is_empty() {
            let _ = writeln!(out, "<p>{}</p>", self.say(Sentence::ReportLogsNone));
            return;
        }
        let moment = self.language.moment(report.made);
        let _ =
            writeln!(out, "<p>{}</p>", self.say_with(Sentence::ReportLogsMeaning, &[("moment", &moment)]));
        let columns = [
            Sentence::ReportLog,
            Sentence::ReportLogFrom,
            Sentence::ReportLogUpTo,
            Sentence::ReportLogMissing,
        ];
        out.push_str(&self.language.table(&columns));
        for (number, log) in (1..).zip(logs) {
            let LogExtent { origin, size, since, fault, .. } = log;
            let name = match origin {
                Some(origin) => format!("{number}<br><span class=\"quiet\">{}</span>", escaped(origin)),
                None => number.to_string(),
            };
            let since = since.map_or_else(String::new, |since| self.language.date(since));
            let up_to = match (*size, fault) {
                (0, Some(_)) => String::new(),
                (0, None) if is_earlier_format(log) => self.say(Sentence::ReportLogEarlier),
                (0, None) => self.say(Sentence::ReportLogEmpty),
                (size, _) => self.say_with(Sentence::ReportLogEntry, &[("number", &size.to_string())]),
            };
            let missing = match (fault, *size) {
                (None, _) => Sentence::ReportLogNothing,
                (Some(_), 0) => Sentence::ReportLogUnread,
                (Some(_), _) => Sentence::ReportLogPart,
            };
            let cells = [name, escaped(&since), up_to, self.say(missing)];
            let cells =
                columns.iter().zip(cells).map(|(column, content)| self.language.cell(*column, &content));
            let _ = writeln!(out, "<tr>{}</tr>", cells.collect::<String>());
        }
        out.push_str("</tbody>\n</table>\n");
    }

    /// Returns a legal basis in words, escaped.
    fn basis(&self, basis: &str) -> String {
        let sentence = match basis {
            "consent" => Sentence::BasisConsent,
            "contract" => Sentence::BasisContract,
            "legitimate-interest" => Sentence::BasisLegitimateInterest,
            "legal-obligation" => Sentence::BasisLegalObligation,
            "vital-interest" => Sentence::BasisVitalInterest,
            "public-task" => Sentence::BasisPublicTask,
            "not-personal" => Sentence::BasisNotPersonal,
            other => return escaped(&in_words(other)),
        };
        self.say(sentence)
    }
}

/// True for a log of an earlier version: it was read, but has no origin and no number of entries.
fn is_earlier_format(log: &LogExtent) -> bool {
    log.origin.is_none() && log.fault.is_none()
}

/// Converts a name such as `direct-marketing` into words.
fn in_words(id: &str) -> String {
    id.replace('-', " ").replace(':', ", ")
}
