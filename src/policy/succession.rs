//! May this version follow that one? Changes are announced 30 business days ahead (P-14).

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};

use super::diff::{Change, changes};
use super::pack::Pack;
use crate::finding::Finding;

/// The version in force at an instant, of versions in the order of their effective dates; `None`
/// before the first.
pub fn in_force<V>(versions: &[V], pack: impl Fn(&V) -> &Pack, now: Timestamp) -> Option<&V> {
    versions.iter().rev().find(|version| pack(version).manifest().effective_from() <= now)
}

/// What keeps versions of one pack, in the order of their effective dates, from being loaded together,
/// each with the place of the version that is at fault.
pub fn objections<P: Clone>(versions: &[(Arc<Pack>, P)], now: Timestamp) -> Vec<(Finding, P)> {
    let mut found = Vec::new();
    if let Some((first, at)) = versions.first()
        && in_force(versions, |(pack, _)| pack, now).is_none()
    {
        let from = first.manifest().effective;
        let finding =
            Finding::error("pack-not-in-force", format!("no version of this pack is in force before {from}"));
        let hint = "name the version that is in force too: `policy = [\"…\", \"…\"]`";
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
        found.extend(objection(earlier, next).map(|finding| (finding, at.clone())));
    }
    found
}

/// Why a version may not take the place of the one in force, which is the one that promised notice.
/// A first version follows none.
///
/// One that only discloses less may take effect at once.
pub fn objection(in_force: &Pack, next: &Pack) -> Option<Finding> {
    let (due, manifest) = (in_force.manifest().notice, next.manifest());
    // A change of what is in force already was announced by nobody, whatever its dates say.
    let is_later = manifest.effective > in_force.manifest().effective;
    let ahead = if is_later { business_days(manifest.announced, manifest.effective) } else { 0 };
    if ahead >= due {
        return None;
    }
    let changes = match changes(in_force, next) {
        Ok(changes) => changes,
        Err(finding) => return Some(finding),
    };
    let more = changes.iter().find(|change| change.is_more())?;
    let Change { kind, purpose, categories, new, .. } = more;
    let message = format!(
        "version {} releases what version {} does not, and was announced {ahead} business days ahead",
        manifest.version,
        in_force.manifest().version
    );
    let example = format!("for example {} {} to `{kind}` for `{purpose}`", categories.join(", "), new.name());
    Some(
        Finding::error("change-not-announced", message)
            .hint(format!("{example}; {due} business days are due")),
    )
}

/// Mondays to Fridays from one day to the other, the second not counted.
pub fn business_days(from: Date, to: Date) -> u32 {
    let mut days = 0;
    let mut day = from;
    while day < to {
        days += u32::from(!matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday));
        let Ok(next) = day.tomorrow() else { break };
        day = next;
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn business_days_leave_weekends_out() {
        // 2026-01-05 is a Monday.
        let monday = date(2026, 1, 5);
        assert_eq!(business_days(monday, monday), 0);
        assert_eq!(business_days(monday, date(2026, 1, 12)), 5);
        assert_eq!(business_days(date(2026, 1, 10), date(2026, 1, 12)), 0, "a weekend");
        assert_eq!(business_days(monday, date(2026, 2, 16)), 30);
        assert_eq!(business_days(date(2026, 2, 16), monday), 0);
    }
}
