//! The time that an id contains: decisions, acts, events and notices have ULIDs.

use jiff::Timestamp;
use ulid::Ulid;

/// Returns the time at which an id was made. An id that names a time after the year 9999 was made up: the result is the
/// earliest time, from which a search leaves nothing out.
pub(crate) fn time_of(id: Ulid) -> Timestamp {
    let millisecond = i64::try_from(id.timestamp_ms()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millisecond).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_the_time_at_which_it_was_made() {
        let made: Timestamp = "2026-03-01T12:00:00.123Z".parse().unwrap();
        let id = Ulid::from_parts(made.as_millisecond().try_into().unwrap(), 7);
        assert_eq!(time_of(id), made);
        assert_eq!(time_of(Ulid::from_parts((1 << 48) - 1, 7)), Timestamp::MIN, "in the year 10889");
    }
}
