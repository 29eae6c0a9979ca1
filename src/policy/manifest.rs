//! The manifest of a pack or a base (`pack.toml`): titles, dates, clauses and periods.
//!
//! The module reads and checks the manifest. It does not know the rules.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::base::Base;
use crate::document::{At, Document, Fields};
use crate::finding::{Finding, Source, suggestion};
use crate::vocabulary::{Basis, CategoryId, TermId, Tree, Vocabulary};

/// The manifest of a pack.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The base that the pack extends.
    pub base: Option<Arc<Base>>,
    /// Title of the document.
    pub title: String,
    /// Version of the document.
    pub version: String,
    /// Day on which this version was announced.
    pub announced: Date,
    /// Day on which this version takes effect, at 00:00 UTC.
    pub effective: Date,
    /// Minimum number of business days between the announcement of a version that discloses more and its effective
    /// date (P-14); 0 if the document promises no notice.
    pub notice_business_days: u32,
    /// Holidays: days that are not business days although they fall on Monday to Friday.
    pub holidays: Vec<Date>,
    /// Contact named to refused recipients and to data subjects.
    pub contact: String,
    /// Contact for persons whose data a customer entrusted to the service: the customer is the controller.
    pub controller_contact: Option<String>,
    /// Treatment of signals that browsers send.
    pub switches: Switches,
    /// The legal bases that rules may name.
    pub bases: Vec<StatedBasis>,
    /// The clauses, those of the base first.
    pub clauses: Vec<Clause>,
    /// Retention periods; each also applies to the categories below its own.
    pub retention: Vec<(CategoryId, SignedDuration)>,
    /// Categories that no rule may release, including those below a listed one.
    pub never_released: Vec<CategoryId>,
    /// Age in years from which a person is no longer a minor.
    pub of_age: u8,
    /// Periods after the closing of an account. After the first, the deletion of its service data is due; after
    /// the second, it is overdue. There are at most two periods, in ascending order.
    pub account_closed_after: Vec<SignedDuration>,
    /// Maximum time for which the gateway's own access log may be kept, if the document limits it.
    pub access_log_limit: Option<SignedDuration>,
    /// The record of processing activities (GDPR Art. 30).
    pub processing: Vec<Activity>,
    /// The text of the manifest.
    pub(super) source: Source,
    /// The place of `effective` in it.
    pub(super) effective_at: Range<usize>,
}

/// Age of majority if the pack does not set one, in years.
const DEFAULT_OF_AGE: u8 = 18;
/// Ages of majority that a pack can set.
const OF_AGE_RANGE: RangeInclusive<u8> = 1..=30;
/// Maximum number of periods in `account-closed-after`.
const MAX_ACCOUNT_PERIODS: usize = 2;

/// How the gateway treats signals that browsers send. `DNT` cannot be switched on: it has no accepted meaning, so
/// a pack that sets it to `true` does not load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// True if `Sec-GPC: 1` from the person is recorded as an objection to `marketing`.
    pub global_privacy_control: bool,
}

/// A legal basis that rules may name, with the pack's description of it.
#[derive(Clone, Debug)]
pub struct StatedBasis {
    /// The legal basis.
    pub basis: Basis,
    /// The pack's description of the basis, which reports show.
    pub title: String,
}

/// How a clause is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// By rules of the pack.
    ByRules,
    /// By a mechanism of the gateway, which the note names.
    ByMechanism,
    /// Not at all; the note gives the reason.
    LeftAlone,
}

/// One promise of the document, in the words of the pack.
#[derive(Clone, Debug)]
pub struct Clause {
    /// Id that rules and scenarios cite.
    pub id: Arc<str>,
    /// Summary of the promise.
    pub title: String,
    /// How the clause is enforced.
    pub enforcement: Enforcement,
    /// Names the mechanism, or gives the reason why nothing enforces the clause.
    pub note: Option<String>,
    /// Rules of the base that enforce the clause as well.
    pub(super) base_rules: Vec<At<String>>,
    pub(super) source: Source,
    pub(super) at: Range<usize>,
}

/// One entry of the record of processing activities (GDPR Art. 30).
#[derive(Clone, Debug)]
pub struct Activity {
    /// Purpose of the processing.
    pub purpose: String,
    /// Its legal basis.
    pub basis: Basis,
    /// Categories of data.
    pub categories: Vec<String>,
    /// Recipient kinds and groups of them.
    pub recipients: Vec<String>,
    /// Source of the data, as text.
    pub origin: String,
    /// Retention, as text.
    pub retention: String,
    /// Transfers to third countries, as text.
    pub transfers: String,
}

impl Manifest {
    /// Places a finding about this version: at the day on which it takes effect.
    pub fn place(&self, finding: Finding) -> Finding {
        finding.at(&self.source, self.effective_at.clone()).label("of this version")
    }

    /// Returns the instant at which this version takes effect: the start of the day, UTC.
    pub fn effective_from(&self) -> Timestamp {
        // The conversion fails only for the first and the last day of the calendar.
        TimeZone::UTC.to_timestamp(self.effective.at(0, 0, 0, 0)).unwrap_or(Timestamp::MAX)
    }

    /// Returns the clause with this id.
    pub fn clause(&self, id: &str) -> Option<&Clause> {
        self.clauses.iter().find(|clause| *clause.id == *id)
    }

    /// Returns the retention period of a category.
    pub fn retention(&self, vocabulary: &Vocabulary, category: CategoryId) -> Option<SignedDuration> {
        retention_period(&self.retention, vocabulary, category)
    }

    /// Reads a pack's manifest and its vocabulary. Returns `None` if either has an error, which is added to
    /// `findings`.
    pub(super) fn read(
        source: &Source,
        available_bases: &[Arc<Base>],
        findings: &mut Vec<Finding>,
    ) -> Option<(Manifest, Vocabulary)> {
        let document = Document::parse(source);
        let read = read(&document, source, available_bases, findings);
        let found = document.into_findings();
        let broken = found.iter().any(Finding::is_error);
        findings.extend(found);
        let (manifest, vocabulary) = read;
        manifest.filter(|_| !broken).map(|manifest| (manifest, vocabulary))
    }
}

fn read(
    document: &Document<'_>,
    source: &Source,
    available_bases: &[Arc<Base>],
    findings: &mut Vec<Finding>,
) -> (Option<Manifest>, Vocabulary) {
    let mut root = document.root("the pack");
    let vocabulary = Vocabulary::of_pack(&mut root);
    let base = root.text("extends").and_then(|name| base(&name, available_bases, document));
    let of_base = base.as_ref().map(|base| read_base(base, &vocabulary, findings));
    let title = root.needed_text("title");
    let version = root.needed_text("version");
    let announced = needed_date(&mut root, "announced");
    let effective = needed_date(&mut root, "effective");
    let notice = root.number("notice-business-days").map_or(0, |days| days.value);
    let holidays = root.item("holidays").map(|item| item.items()).unwrap_or_default();
    let holidays = holidays.iter().filter_map(|item| Some(item.date()?.value)).collect();
    let contact = root.needed_text("contact");
    let controller_contact = root.text("controller-contact").map(|contact| contact.value.to_owned());
    let switches = switches(&mut root);
    let bases = bases(&mut root);
    let clauses = clauses(&mut root, source, of_base.as_ref());
    let retention = retention(&mut root, &vocabulary);
    let mut never_released = never_released(&mut root, &vocabulary);
    never_released.extend(of_base.iter().flat_map(|base| &base.never_released));
    never_released.sort_unstable();
    never_released.dedup();
    let of_age = of_age(&mut root);
    let account_closed_after = account_closed_after(&mut root);
    let access_log_limit = root.text("access-log-limit").and_then(|text| period(&text, document));
    let processing = root.tables("processing", "a processing activity");
    let processing = processing.into_iter().filter_map(|fields| activity(fields, &vocabulary)).collect();
    root.end();
    if let (Some(announced), Some(effective)) = (&announced, &effective)
        && effective.value < announced.value
    {
        let finding = Finding::error("bad-pack-dates", "the pack takes effect before it was announced");
        document.find(finding.label("earlier than `announced`"), effective.at.clone());
    }
    let manifest = (|| {
        let effective = effective?;
        Some(Manifest {
            base,
            title: title?.value.to_owned(),
            version: version?.value.to_owned(),
            announced: announced?.value,
            effective: effective.value,
            notice_business_days: notice,
            holidays,
            contact: contact?.value.to_owned(),
            controller_contact,
            switches,
            bases,
            clauses,
            retention,
            never_released,
            of_age,
            account_closed_after,
            access_log_limit,
            processing,
            source: source.clone(),
            effective_at: effective.at,
        })
    })();
    (manifest, vocabulary)
}

/// The parts of a base's manifest that an extending pack inherits.
#[derive(Debug)]
struct BaseManifest {
    clauses: Vec<Clause>,
    never_released: Vec<CategoryId>,
}

/// Reads a base's `pack.toml` with the vocabulary of the pack that extends it.
fn read_base(base: &Base, vocabulary: &Vocabulary, findings: &mut Vec<Finding>) -> BaseManifest {
    let source = &base.manifest;
    let document = Document::parse(source);
    let mut root = document.root("the base");
    root.needed_text("title");
    let clauses = clauses(&mut root, source, None);
    let never_released = never_released(&mut root, vocabulary);
    root.end();
    findings.extend(document.into_findings());
    BaseManifest { clauses, never_released }
}

fn base(name: &At<&str>, available_bases: &[Arc<Base>], document: &Document<'_>) -> Option<Arc<Base>> {
    let known = available_bases.iter().find(|base| base.name == name.value);
    if known.is_none() {
        let names = || available_bases.iter().map(|base| base.name.as_str());
        let otherwise = format!("known: {}", crate::document::join(names()));
        document.find_unknown("unknown-base", "base", name, names(), &otherwise);
    }
    known.cloned()
}

fn needed_date(root: &mut Fields<'_>, key: &'static str) -> Option<At<Date>> {
    let item = root.item(key);
    if item.is_none() {
        root.missing(key);
    }
    item?.date()
}

fn switches(root: &mut Fields<'_>) -> Switches {
    let document = root.document();
    let Some(mut fields) = root.fields("switches", "`switches`") else { return Switches::default() };
    if let Some(item) = fields.item("do-not-track").filter(|item| item.flag() == Some(true)) {
        let finding = Finding::error("do-not-track-without-meaning", "`do-not-track` cannot be switched on")
            .label("would have no effect");
        let hint = "the header has no accepted meaning (W3C ended the work in 2019), so no request is treated \
                    otherwise for it; leave the key out, and turn on `global-privacy-control` for `Sec-GPC`";
        document.find(finding.hint(hint), item.at());
    }
    let switches = Switches { global_privacy_control: fields.flag("global-privacy-control") == Some(true) };
    fields.end();
    switches
}

fn bases(root: &mut Fields<'_>) -> Vec<StatedBasis> {
    let document = root.document();
    let mut stated = Vec::new();
    for (name, item) in root.entries("bases") {
        let title = item.text();
        let Some(basis) = Basis::parse(name.value) else {
            let finding = Finding::error("unknown-basis", format!("unknown basis `{}`", name.value));
            let known = Basis::ALL.iter().map(|basis| basis.name());
            let hint = suggestion(name.value, known.clone())
                .unwrap_or_else(|| format!("the closed set is {}", crate::document::join(known)));
            document.find(finding.hint(hint), name.at);
            continue;
        };
        stated.extend(title.map(|title| StatedBasis { basis, title: title.value.to_owned() }));
    }
    stated
}

/// Reads the clauses and appends them to those of the base.
fn clauses(root: &mut Fields<'_>, source: &Source, base: Option<&BaseManifest>) -> Vec<Clause> {
    let document = root.document();
    let of_base: &[Clause] = base.map_or(&[], |base| &base.clauses);
    let mut clauses: Vec<Clause> = of_base.to_vec();
    for mut fields in root.tables("clauses", "a clause") {
        let at = fields.at();
        let id = fields.needed_text("id");
        let title = fields.needed_text("title");
        let kept = fields.needed_text("kept");
        let note = fields.text("note").map(|note| note.value.to_owned());
        let base_rules = fields.texts("base-rules");
        fields.end();
        let kept = kept.and_then(|word| match word.value {
            "by-rules" => Some(Enforcement::ByRules),
            "by-mechanism" => Some(Enforcement::ByMechanism),
            "left-alone" => Some(Enforcement::LeftAlone),
            other => {
                let finding = Finding::error("unknown-value", format!("`{other}` is not a value of `kept`"));
                document.find(finding.hint("`by-rules`, `by-mechanism` or `left-alone`"), word.at);
                None
            }
        });
        let (Some(id), Some(title), Some(kept)) = (id, title, kept) else { continue };
        if kept != Enforcement::ByRules && note.is_none() {
            let finding = Finding::error(
                "clause-without-note",
                format!("clause `{}` is not enforced by rules and has no note", id.value),
            );
            document.find(
                finding.hint("name the mechanism, or give the reason why there is none"),
                id.at.clone(),
            );
        }
        if clauses.iter().any(|clause| *clause.id == *id.value) {
            let mut finding =
                Finding::error("duplicate-clause", format!("clause `{}` is listed twice", id.value));
            if of_base.iter().any(|clause| *clause.id == *id.value) {
                finding = finding.hint("the base has it: a pack inherits the clauses of its base");
            }
            document.find(finding, id.at.clone());
        }
        clauses.push(Clause {
            id: Arc::from(id.value),
            title: title.value.to_owned(),
            enforcement: kept,
            note,
            base_rules: base_rules
                .into_iter()
                .map(|name| At { value: name.value.to_owned(), at: name.at })
                .collect(),
            source: source.clone(),
            at,
        });
    }
    clauses
}

/// Returns a category's retention period: its own, or that of the nearest category above it that has one.
pub fn retention_period(
    periods: &[(CategoryId, SignedDuration)],
    vocabulary: &Vocabulary,
    category: CategoryId,
) -> Option<SignedDuration> {
    let own = |at| periods.iter().find(|(of, _)| *of == at).map(|(_, period)| *period);
    vocabulary.categories().lineage(category).find_map(own)
}

/// Reads `[retention]`: periods by category.
pub(crate) fn retention(root: &mut Fields<'_>, vocabulary: &Vocabulary) -> Vec<(CategoryId, SignedDuration)> {
    let document = root.document();
    let mut periods = Vec::new();
    for (name, item) in root.entries("retention") {
        let period = item.text().and_then(|text| period(&text, document));
        let category = resolve_terms(vec![name], "category", vocabulary.categories(), document).pop();
        periods.extend(category.zip(period));
    }
    periods
}

/// Reads `never-released` and adds every category below a listed one.
fn never_released(root: &mut Fields<'_>, vocabulary: &Vocabulary) -> Vec<CategoryId> {
    let tree = vocabulary.categories();
    let listed = resolve_terms(root.texts("never-released"), "category", tree, root.document());
    tree.ids().filter(|&id| listed.iter().any(|&outer| tree.within(id, outer))).collect()
}

/// Reads `of-age`; 18 if the pack does not set it.
fn of_age(root: &mut Fields<'_>) -> u8 {
    let Some(years) = root.number("of-age") else { return DEFAULT_OF_AGE };
    let age = u8::try_from(years.value).ok().filter(|age| OF_AGE_RANGE.contains(age));
    if age.is_none() {
        let message = format!("{} is not an age of majority", years.value);
        let hint = format!("years, from {} to {}", OF_AGE_RANGE.start(), OF_AGE_RANGE.end());
        root.document().find(Finding::error("bad-age", message).hint(hint), years.at);
    }
    age.unwrap_or(DEFAULT_OF_AGE)
}

/// Reads `account-closed-after`: one period, or two of which the second is longer.
fn account_closed_after(root: &mut Fields<'_>) -> Vec<SignedDuration> {
    let document = root.document();
    let Some(item) = root.item("account-closed-after") else { return Vec::new() };
    let written = item.texts();
    let periods: Vec<SignedDuration> = written.iter().filter_map(|text| period(text, document)).collect();
    if !(1..=MAX_ACCOUNT_PERIODS).contains(&item.items().len()) || !periods.is_sorted_by(|a, b| a < b) {
        let finding = Finding::error("bad-period", "these are not periods after which an account is purged");
        let hint = "one period or two, the longer one last: when its data are to be deleted, and by when they \
                    should be gone: `[\"90d\", \"120d\"]`";
        document.find(finding.hint(hint), item.at());
    }
    periods
}

/// Parses a period such as `400d`. Days are the only unit, as in the documents.
fn period(text: &At<&str>, document: &Document<'_>) -> Option<SignedDuration> {
    let days = text.value.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    if days.is_none() {
        let finding = Finding::error("bad-period", format!("`{}` is not a period", text.value));
        document.find(finding.hint("a number of days: `400d`"), text.at.clone());
    }
    Some(SignedDuration::from_hours(24 * i64::from(days?)))
}

/// Resolves names to terms, and reports the unknown ones.
pub(crate) fn resolve_terms<I: TermId>(
    names: Vec<At<&str>>,
    what: &str,
    tree: &Tree<I>,
    document: &Document<'_>,
) -> Vec<I> {
    let mut ids = Vec::new();
    for name in names {
        match tree.find(name.value) {
            Some(id) => ids.push(id),
            None => {
                let finding = Finding::error(I::UNKNOWN, format!("unknown {what} `{}`", name.value));
                let hint = tree.hint(name.value);
                document.find(finding.label("not in the vocabulary").hint(hint), name.at);
            }
        }
    }
    ids
}

fn activity(mut fields: Fields<'_>, vocabulary: &Vocabulary) -> Option<Activity> {
    let document = fields.document();
    let purpose = fields.needed_text("purpose");
    let basis = fields.needed_text("basis");
    let categories = fields.texts("categories");
    let recipients = fields.texts("recipients");
    let owned = |text: Option<At<&str>>| text.map(|text| text.value.to_owned());
    let origin = owned(fields.needed_text("origin"));
    let retention = owned(fields.needed_text("retention"));
    let transfers = owned(fields.needed_text("transfers"));
    fields.end();
    let purpose = purpose?;
    let texts = |names: &[At<&str>]| names.iter().map(|name| name.value.to_owned()).collect();
    let group = |name: &At<&str>| vocabulary.kind_groups().iter().any(|group| group.name == name.value);
    let activity = Activity {
        purpose: purpose.value.to_owned(),
        basis: Basis::parse(basis?.value)?,
        categories: texts(&categories),
        recipients: texts(&recipients),
        origin: origin?,
        retention: retention?,
        transfers: transfers?,
    };
    resolve_terms(vec![purpose], "purpose", vocabulary.purposes(), document);
    resolve_terms(categories, "category", vocabulary.categories(), document);
    let kinds = recipients.into_iter().filter(|name| !group(name)).collect();
    resolve_terms(kinds, "recipient kind", vocabulary.kinds(), document);
    Some(activity)
}
