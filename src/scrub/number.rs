//! Exact decimal numbers, for comparing JSON numbers without rounding them to doubles.
//!
//! `9007199254740993` and `9007199254740992` differ, while `1`, `1.0` and `10e-1` are equal. Numbers may have any number
//! of digits.

use std::cmp::Ordering;

/// A JSON number as an exact decimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    /// Significant digits in ASCII, without zeros at either end; empty for zero.
    digits: Vec<u8>,
    /// The value is `0.digits × 10^point`. An exponent out of range saturates: two such numbers are equal if their
    /// digits are equal.
    point: i64,
}

impl Decimal {
    /// Reads a number in the grammar of JSON. The texts to which Rust formats doubles (`1e5`) are within that
    /// grammar.
    pub(super) fn read(text: &[u8]) -> Option<Decimal> {
        let (negative, text) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            _ => (false, text),
        };
        let e = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
        let (mantissa, exponent) = text.split_at(e);
        let exponent = match exponent.split_first() {
            Some((_, digits)) => read_exponent(digits)?,
            None => 0,
        };
        let dot = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(mantissa.len());
        let mut digits: Vec<u8> = mantissa.iter().copied().filter(|&byte| byte != b'.').collect();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
        digits.drain(..zeros);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Some(Decimal { negative: false, digits, point: 0 });
        }
        let point =
            exponent.saturating_add(i64::try_from(dot).ok()?).saturating_sub(i64::try_from(zeros).ok()?);
        Some(Decimal { negative, digits, point })
    }

    /// Converts an integer.
    pub(super) fn of(count: u64) -> Decimal {
        let mut digits = count.to_string().into_bytes();
        let point = digits.len() as i64;
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let point = if digits.is_empty() { 0 } else { point };
        Decimal { negative: false, digits, point }
    }

    /// Returns the value if it is an integer within the range of `i64`.
    pub(super) fn integer(&self) -> Option<i64> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let places = usize::try_from(self.point).ok().filter(|&places| places <= 19)?;
        if self.digits.len() > places {
            return None;
        }
        let mut value: i128 = 0;
        for place in 0..places {
            let digit = self.digits.get(place).map_or(0, |digit| digit - b'0');
            value = value * 10 + i128::from(digit);
        }
        i64::try_from(if self.negative { -value } else { value }).ok()
    }
}

fn read_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // The bound is half of the range, so that adding the length of a text cannot overflow.
    let size = digits
        .iter()
        .try_fold(0i64, |sum, digit| sum.checked_mul(10)?.checked_add(i64::from(digit - b'0')))
        .unwrap_or(i64::MAX)
        .min(i64::MAX / 2);
    Some(if negative { -size } else { size })
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Decimal| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = || self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits));
        match sign(self).cmp(&sign(other)) {
            Ordering::Equal if sign(self) < 0 => size().reverse(),
            Ordering::Equal if sign(self) > 0 => size(),
            order => order,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn spellings_of_one_value_are_equal() {
        for (one, other) in
            [("1", "1.0"), ("1", "10e-1"), ("-0", "0.000e9"), ("100", "1E+2"), ("0.05", "5e-2"), ("1e0", "1")]
        {
            assert_eq!(number(one), number(other), "{one} {other}");
        }
    }

    #[test]
    fn numbers_are_ordered_exactly() {
        let ascending = [
            "-1e999999999999999999999",
            "-1e400",
            "-10.5",
            "-10",
            "-0.1",
            "0",
            "1e-400",
            "0.1",
            "1",
            "1.0000000000000000000001",
            "2",
            "9007199254740992",
            "9007199254740993",
            "1e400",
        ];
        for pair in ascending.windows(2) {
            assert!(number(pair[0]) < number(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn integers_are_recognised_in_any_spelling() {
        assert_eq!(number("12e1").integer(), Some(120));
        assert_eq!(number("-9223372036854775808").integer(), Some(i64::MIN));
        assert_eq!(number("9223372036854775808").integer(), None);
        assert_eq!(number("1.5").integer(), None);
        assert_eq!(number("1e99").integer(), None);
    }
}
