//! Finds the files that are past their retention period without trusting the clock.
//!
//! This module is pure: it takes times and returns an index. A clock that jumps ahead proves nothing about the age of
//! earlier files, and a deletion cannot be undone. Time therefore counts only as far as the files themselves show
//! that it passed: a gap between two files that is longer than [`longest_gap`], or negative, counts as zero.
//! Consequently files outlive their retention period by as long as a gateway was switched off.

use jiff::{SignedDuration, Timestamp};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Returns the longest gap between two files that counts as time passed: half of the retention period, but at least
/// two days (files are daily) and at most a week.
pub fn longest_gap(retention: SignedDuration) -> SignedDuration {
    (retention / 2).clamp(DAY * 2, DAY * 7)
}

/// Returns the index of the newest file that began at least `retention` ago. `begun` holds the start times of the
/// files, oldest first.
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
mod tests {
    use super::*;

    fn day(day: i64) -> Timestamp {
        let first: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        first + DAY * i32::try_from(day).unwrap()
    }

    /// Returns the day on which the newest expired file began.
    fn of(days: &[i64], now: i64, retention: i64) -> Option<i64> {
        let begun: Vec<Timestamp> = days.iter().copied().map(day).collect();
        let newest = newest_past(&begun, day(now), SignedDuration::from_hours(24 * retention));
        newest.map(|at| days[at])
    }

    #[test]
    fn files_expire_by_the_days_between_them() {
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
        assert_eq!(of(&jumped, 516, 100), None, "nor after files were written with the wrong clock");
        let back: Vec<i64> = jumped.into_iter().chain([15, 16]).collect();
        assert_eq!(of(&back, 17, 100), None, "nor when it is set back");
        assert_eq!(of(&back, 517, 100), None, "nor when it jumps ahead again");
        let on: Vec<i64> = (0..=3).chain([503]).chain(4..=104).collect();
        assert_eq!(of(&on, 105, 100), Some(5), "time that passes between files still counts");
    }

    #[test]
    fn files_outlive_their_retention_by_the_time_a_gateway_was_off() {
        let files: Vec<i64> = (0..=5).chain(35..=44).collect();
        assert_eq!(
            of(&files, 45, 15),
            Some(0),
            "ten days since it was started, and five before it was stopped"
        );
        assert_eq!(of(&files, 45, 16), None);
    }
}
