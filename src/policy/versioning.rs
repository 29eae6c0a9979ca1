//! Versions of one pack: finds the version in force, and checks that a new version respects the notice period that
//! the previous version promises (P-14).
//!
//! A version that discloses or permits more needs the notice that the version in force promises, in business days.
//! [`super::diff`] finds out if a version discloses or permits more. The module does not read the clock, and does
//! not know when a version became known to the gateway: both are passed in.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use super::diff::Difference;
use super::manifest::Manifest;
use super::pack::Pack;
use crate::finding::Finding;

/// Returns the version in force at `now`. `versions` must be in the order of their effective dates. Returns `None`
/// before the first one takes effect.
pub fn in_force<V>(versions: &[V], pack: impl Fn(&V) -> &Pack, now: Timestamp) -> Option<&V> {
    versions.iter().rev().find(|version| pack(version).manifest().effective_from() <= now)
}

/// Checks that versions of one pack, in the order of their effective dates, can be loaded together. Returns the
/// findings, each with the location of the version at fault.
pub fn sequence_findings<P: Clone>(versions: &[(Arc<Pack>, P)], now: Timestamp) -> Vec<(Finding, P)> {
    let mut found = Vec::new();
    if let Some((first, at)) = versions.first()
        && in_force(versions, |(pack, _)| pack, now).is_none()
    {
        let from = first.manifest().effective;
        let finding =
            Finding::error("pack-not-in-force", format!("no version of this pack is in force before {from}"));
        let today = now.to_zoned(TimeZone::UTC).date();
        let hint = format!(
            "name the version that is in force too: `policy = [\"…\", \"…\"]`; today is {today} by the clock of this machine"
        );
        found.push((finding.label("not in force yet").hint(hint), at.clone()));
    }
    for pair in versions.windows(2) {
        let [(earlier, _), (next, at)] = pair else { continue };
        if earlier.manifest().effective == next.manifest().effective {
            let finding = Finding::error(
                "duplicate-pack-version",
                "two versions of this pack come into force on the same day",
            );
            found.push((finding.label("the second one").hint("change `effective` of one"), at.clone()));
        }
        found.extend(notice_finding(earlier, next).map(|finding| (finding, at.clone())));
    }
    found
}

/// Returns a finding if a version must not replace the one in force, judged by the dates in its manifest.
pub fn notice_finding(in_force: &Pack, next: &Pack) -> Option<Finding> {
    let Manifest { announced, effective, .. } = next.manifest();
    NoticePeriod { announced: *announced, effective: *effective }.finding(in_force, next)
}

/// The notice period of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoticePeriod {
    /// Day on which the version was announced.
    pub announced: Date,
    /// Day on which it takes effect.
    pub effective: Date,
}

impl NoticePeriod {
    /// Returns a finding if a version must not replace the one in force, whose manifest promises the notice
    /// period.
    ///
    /// A version that only discloses less may take effect at once.
    pub fn finding(self, in_force: &Pack, next: &Pack) -> Option<Finding> {
        let (promised, manifest) = (in_force.manifest(), next.manifest());
        // A version with the effective date of the version in force, or an earlier one, gives no notice, whatever
        // its dates say.
        let is_later = manifest.effective > promised.effective;
        let ahead =
            if is_later { business_days(self.announced, self.effective, &promised.holidays) } else { 0 };
        if ahead >= promised.notice_business_days {
            return None;
        }
        let difference = match Difference::of(in_force, next) {
            Ok(difference) => difference,
            Err(finding) => return Some(manifest.place(finding)),
        };
        let example = difference.example()?;
        let verb = if difference.releases_more() { "releases" } else { "allows" };
        let (version, before) = (&manifest.version, &promised.version);
        let since = match self.announced > manifest.announced {
            true => format!("known to this gateway {ahead} business days ahead"),
            false => format!("announced {ahead} business days ahead"),
        };
        let message = format!("version {version} {verb} what version {before} does not, and was {since}");
        let hint = format!("for example {example}; {} business days are due", promised.notice_business_days);
        Some(manifest.place(Finding::error("change-not-announced", message).hint(hint)))
    }
}

/// Counts the business days from `from` up to, but not including, `to`: Mondays to Fridays that are not holidays.
pub fn business_days(from: Date, to: Date, holidays: &[Date]) -> u32 {
    let mut days = 0;
    let mut day = from;
    while day < to {
        let is_weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        days += u32::from(!is_weekend && !holidays.contains(&day));
        let Ok(next) = day.tomorrow() else { break };
        day = next;
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Source;
    use jiff::civil::date;

    const HOSTING: &str = r#"@id("hosting") @clause("C") @basis("contract") permit (principal in
        Kind::"hosting-provider", action == Action::"hosting", resource in Category::"contact");"#;
    const DESTROYS: &str = r#"@id("destroys") @clause("C") @basis("contract") permit (principal in
        Kind::"user-integration", action == Action::"service-provision", resource in Category::"service-data")
        when { context.operation == "destroy" };"#;

    /// Loads a version that promises 30 business days, unless `top` says otherwise; `tables` are appended to the
    /// manifest.
    fn version(effective: Date, top: &str, tables: &str, rules: &str) -> Pack {
        let notice = if top.contains("notice-business-days") { "" } else { "notice-business-days = 30\n" };
        let manifest = format!(
            "title = \"T\"\nversion = \"{effective}\"\nannounced = 2026-01-05\neffective = {effective}\n\
             contact = \"c\"\n{notice}{top}\n[bases]\ncontract = \"c\"\nlegal-obligation = \"l\"\n[[clauses]]\n\
             id = \"C\"\ntitle = \"t\"\nkept = \"by-rules\"\n{tables}\n"
        );
        let files = [Source::new("pack.toml", manifest), Source::new("rules.cedar", rules)];
        Pack::load(&files).unwrap_or_else(|findings| panic!("{findings:?}"))
    }

    #[test]
    fn every_change_that_discloses_or_does_more_needs_notice() {
        // 2026-01-05 is a Monday; thirty business days later is 2026-02-16.
        let (first, late) = (date(2026, 1, 5), date(2026, 2, 13));
        let on = |basis: &str| HOSTING.replace("contract", basis);
        let both = format!("{HOSTING}\n{DESTROYS}");
        let (kept, longer) =
            ("[retention]\nwebsite-activity = \"30d\"", "[retention]\nwebsite-activity = \"3650d\"");
        let never = |names: &str| format!("never-released = [{names}]");
        type VersionTexts<'s> = (&'s str, &'s str, &'s str);
        let cases: [(VersionTexts<'_>, VersionTexts<'_>, &str); 14] = [
            (("", kept, HOSTING), ("", longer, HOSTING), "30d -> 3650d"),
            (("", kept, HOSTING), ("", "", HOSTING), "30d -> no limit"),
            (("", "", HOSTING), ("", "[regions]\nUS = \"AMER\"\nCA = \"AMER\"", HOSTING), "-> AMER"),
            (("", "", HOSTING), ("", "", &both), "`user-integration` may destroy service-data"),
            (
                ("", "", &both),
                ("", "", &format!("{}\n{DESTROYS}", on("legal-obligation"))),
                "on the basis legal-obligation",
            ),
            (("", "", HOSTING), ("of-age = 16", "", HOSTING), "`of-age`: 18 -> 16"),
            (
                ("account-closed-after = [\"90d\"]", "", HOSTING),
                ("account-closed-after = [\"91d\"]", "", HOSTING),
                "90d -> 91d",
            ),
            (("extends = \"standard\"", "", HOSTING), ("", "", HOSTING), "clear to"),
            (("", "", HOSTING), ("notice-business-days = 5", "", HOSTING), "`notice-business-days`: 30 -> 5"),
            (
                (&never("\"credential\", \"special\""), "", HOSTING),
                (&never("\"special\""), "", HOSTING),
                "`never-released`",
            ),
            (("access-log-limit = \"15d\"", "", HOSTING), ("", "", HOSTING), "`access-log-limit`"),
            (
                ("", "[switches]\nglobal-privacy-control = true", HOSTING),
                ("", "", HOSTING),
                "global-privacy-control",
            ),
            (("holidays = [2027-01-01]", "", HOSTING), ("", "", HOSTING), "`holidays`"),
            (
                ("", "", HOSTING),
                ("", "", &HOSTING.replace("== Action", "in Action").replace("contact", "personal")),
                "clear to",
            ),
        ];
        for (old, new, words) in cases {
            let before = version(first, old.0, old.1, old.2);
            let found = notice_finding(&before, &version(late, new.0, new.1, new.2));
            let found = found.unwrap_or_else(|| panic!("{words}"));
            assert_eq!(found.code(), "change-not-announced");
            assert_eq!((found.report().file, found.report().line), (Some("pack.toml"), Some(4)));
            let text = format!("{found}: {}", found.report().hint.unwrap_or_default());
            assert!(text.contains(words) && text.contains("29 business days ahead"), "{words}: {text}");
        }
    }

    #[test]
    fn notice_in_time_and_reductions_are_accepted() {
        let (first, late, in_time) = (date(2026, 1, 5), date(2026, 2, 13), date(2026, 2, 16));
        let kept = "[retention]\nwebsite-activity = \"30d\"";
        assert!(
            notice_finding(&version(first, "", kept, HOSTING), &version(in_time, "", "", HOSTING)).is_none()
        );
        assert!(
            notice_finding(&version(first, "", "", HOSTING), &version(late, "", kept, HOSTING)).is_none()
        );
    }

    #[test]
    fn holidays_are_taken_from_the_version_in_force() {
        let (first, from) = (date(2026, 1, 5), date(2027, 1, 9));
        let holidays = "holidays = [2026-12-25, 2027-01-01]";
        let notice = NoticePeriod { announced: date(2026, 11, 28), effective: from };
        let next = |top: &str| version(from, top, "", &format!("{HOSTING}\n{DESTROYS}"));
        assert!(notice.finding(&version(first, "", "", HOSTING), &next(holidays)).is_none());
        let found = notice.finding(&version(first, holidays, "", HOSTING), &next(holidays)).unwrap();
        assert!(found.to_string().ends_with("was known to this gateway 28 business days ahead"), "{found}");
    }

    #[test]
    fn business_days_exclude_weekends_and_holidays() {
        // 2026-01-05 is a Monday.
        let monday = date(2026, 1, 5);
        assert_eq!(business_days(monday, monday, &[]), 0);
        assert_eq!(business_days(monday, date(2026, 1, 12), &[]), 5);
        assert_eq!(business_days(date(2026, 1, 10), date(2026, 1, 12), &[]), 0, "a weekend");
        assert_eq!(business_days(monday, date(2026, 2, 16), &[]), 30);
        assert_eq!(business_days(date(2026, 2, 16), monday, &[]), 0);
        let holidays = [date(2026, 12, 25), date(2026, 12, 26), date(2027, 1, 1)];
        let (from, to) = (date(2026, 11, 28), date(2027, 1, 9));
        assert_eq!(business_days(from, to, &[]), 30);
        assert_eq!(business_days(from, to, &holidays), 28, "one of them is a Saturday");
    }
}
