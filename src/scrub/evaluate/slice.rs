//! Positions of elements that an index or a slice selects (RFC 9535, 2.3.3 and 2.3.4).

/// Returns the position of an index, which counts from the end if it is negative.
pub(super) fn element_position(index: i64, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

/// Returns the positions of a slice, as computed in RFC 9535, 2.3.4.2.2.
pub(super) fn slice_positions(
    start: Option<i64>,
    end: Option<i64>,
    step: i64,
    length: usize,
) -> impl Iterator<Item = usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let normal = |bound: i64| if bound >= 0 { bound } else { length.saturating_add(bound) };
    let (first, stop) = if step >= 0 {
        let start = normal(start.unwrap_or(0)).clamp(0, length);
        (start, normal(end.unwrap_or(length)).clamp(0, length))
    } else {
        let start = start.map_or(length - 1, normal).clamp(-1, length - 1);
        (start, end.map_or(-1, normal).clamp(-1, length - 1))
    };
    let within = move |at: &i64| if step > 0 { *at < stop } else { step < 0 && *at > stop };
    std::iter::successors(Some(first).filter(within), move |at| at.checked_add(step).filter(within))
        .filter_map(|at| usize::try_from(at).ok())
}

/// True if a slice selects a position. The slice must not count from the end.
pub(super) fn slice_contains(start: Option<i64>, end: Option<i64>, step: i64, index: u64) -> bool {
    let Ok(index) = i64::try_from(index) else { return false };
    let start = start.unwrap_or(0);
    step > 0 && index >= start && end.is_none_or(|end| index < end) && (index - start) % step == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_follow_the_rfc() {
        let of = |start, end, step| slice_positions(start, end, step, 5).collect::<Vec<_>>();
        assert_eq!(of(Some(1), Some(3), 1), [1, 2]);
        assert_eq!(of(None, None, 2), [0, 2, 4]);
        assert_eq!(of(None, None, -1), [4, 3, 2, 1, 0]);
        assert_eq!(of(Some(-2), None, 1), [3, 4]);
        assert_eq!(of(Some(5), Some(1), -2), [4, 2]);
        assert!(of(Some(0), Some(3), 0).is_empty());
        assert_eq!(of(Some(i64::MIN), Some(i64::MAX), i64::MAX), [0]);
        assert!(of(None, Some(-1), -1).is_empty());
        for (start, end, step) in
            [(Some(1), Some(4), 2), (None, None, 3), (Some(2), None, 1), (Some(3), Some(2), 1)]
        {
            let direct: Vec<_> = (0..5).filter(|&at| slice_contains(start, end, step, at)).collect();
            let listed: Vec<_> = slice_positions(start, end, step, 5).map(|at| at as u64).collect();
            assert_eq!(direct, listed);
        }
    }
}
