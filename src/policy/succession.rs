//! May this version follow that one? Changes are announced 30 business days ahead (P-14).

use jiff::civil::{Date, Weekday};

use super::diff::{Change, changes};
use super::pack::Pack;
use crate::finding::Finding;

/// How far ahead a version that discloses more is announced.
const BUSINESS_DAYS: u32 = 30;

/// Why a version may not take the place of the one in force. A first version follows none.
///
/// One that only discloses less may take effect at once.
pub fn objection(in_force: &Pack, next: &Pack) -> Option<Finding> {
    let manifest = next.manifest();
    let ahead = business_days(manifest.announced, manifest.effective);
    if ahead >= BUSINESS_DAYS {
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
    Some(Finding::error(message).hint(format!("{example}; {BUSINESS_DAYS} business days are due")))
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
