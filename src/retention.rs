//! Which files are past their retention, by what is known of the time that has passed.
//!
//! Pure: times in, a number out. A clock that jumps ahead says nothing about the age of what was written
//! before, and what was removed by it would be gone for good. So time counts only as far as the files
//! themselves show that it passed: a gap between two of them that is longer than [`longest_gap`], or that
//! runs backwards, counts for nothing. The price is that files outlive their retention by as long as a
//! gateway was really switched off.

use jiff::{SignedDuration, Timestamp};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The longest time between two files that counts as time that passed: half of the retention, between two
/// days (one file a day, and some slack) and a week.
pub fn longest_gap(retention: SignedDuration) -> SignedDuration {
    (retention / 2).clamp(DAY * 2, DAY * 7)
}

/// The newest of these files, given by when each began and in their order, that began at least `retention` ago.
pub fn newest_past(begun: &[Timestamp], now: Timestamp, retention: SignedDuration) -> Option<usize> {
    let longest = longest_gap(retention);
    let (mut passed, mut later) = (SignedDuration::ZERO, now);
    for (at, began) in begun.iter().enumerate().rev() {
        let gap = later.duration_since(*began);
        if gap > SignedDuration::ZERO && gap <= longest {
            passed = passed.saturating_add(gap);
        }
        if passed >= retention {
            return Some(at);
        }
        later = *began;
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn day(day: i64) -> Timestamp {
        let first: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        first + DAY * i32::try_from(day).unwrap()
    }

    /// The day of that file.
    fn of(days: &[i64], now: i64, retention: i64) -> Option<i64> {
        let begun: Vec<Timestamp> = days.iter().copied().map(day).collect();
        let newest = newest_past(&begun, day(now), SignedDuration::from_hours(24 * retention));
        newest.map(|at| days[at])
    }

    #[test]
    fn files_are_past_their_retention_by_the_days_between_them() {
        let daily: Vec<i64> = (0..=14).collect();
        assert_eq!(of(&daily, 14, 10), Some(4));
        assert_eq!(of(&daily, 14, 15), None);
        assert_eq!(of(&daily, 15, 15), Some(0));
        assert_eq!(of(&[], 0, 10), None);
        assert_eq!(of(&[0, 5, 10], 14, 10), Some(0));
        assert_eq!(of(&[0, 5, 10], 15, 10), Some(5));
    }

    #[test]
    fn a_clock_that_jumps_ahead_removes_nothing() {
        let daily: Vec<i64> = (0..=14).collect();
        assert_eq!(of(&daily, 14 + 500, 100), None, "at the start");
        let jumped: Vec<i64> = (0..=14).chain([514, 515]).collect();
        assert_eq!(of(&jumped, 516, 100), None, "nor once files were written under it");
        let back: Vec<i64> = jumped.into_iter().chain([15, 16]).collect();
        assert_eq!(of(&back, 17, 100), None, "nor when it goes back");
        assert_eq!(of(&back, 517, 100), None, "and ahead again");
        let on: Vec<i64> = (0..=3).chain([503]).chain(4..=104).collect();
        assert_eq!(of(&on, 105, 100), Some(5), "time that really passes goes on counting");
    }

    #[test]
    fn a_gateway_that_was_off_keeps_files_for_as_long() {
        let files: Vec<i64> = (0..=5).chain(35..=44).collect();
        assert_eq!(of(&files, 45, 15), Some(0), "ten days since it is on, and five before it was off");
        assert_eq!(of(&files, 45, 16), None);
    }
}
