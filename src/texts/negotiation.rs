//! The language that a browser asks for: `Accept-Language` (RFC 9110, 12.5.4), matched by lookup (RFC 4647, 3.4).

/// Maximum number of language ranges that are read. Later ones do not count.
const MAX_RANGES: usize = 32;
/// Maximum length of a language tag: that of RFC 5646, 4.4.1.
const MAX_TAG_BYTES: usize = 35;
/// The quality of a range without one, in thousandths.
const MAX_QUALITY: u16 = 1000;

/// A language range and its quality in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WeightedRange<'h> {
    range: &'h str,
    quality: u16,
}

/// Returns the position of the language that a header asks for, of languages in any order; `None` if it asks for none of them. `default` is
/// the language of somebody who does not care.
pub(super) fn lookup(header: &str, tags: &[&str], default: usize) -> Option<usize> {
    let ranges = ranges(header);
    let mut wanted: Vec<&WeightedRange<'_>> = ranges.iter().filter(|range| range.quality > 0).collect();
    // The sort is stable: of equal qualities the first one counts.
    wanted.sort_by_key(|range| std::cmp::Reverse(range.quality));
    for WeightedRange { range, .. } in wanted {
        if *range == "*" {
            // Lookup skips it where another range follows (RFC 4647, 3.4.1), so it only stands for the default.
            continue;
        }
        for candidate in truncations(range) {
            let found = tags.iter().position(|tag| tag.eq_ignore_ascii_case(candidate));
            if let Some(found) = found.filter(|found| !is_refused(&ranges, tags, *found)) {
                return Some(found);
            }
        }
    }
    let mut accepted = std::iter::once(default).chain(0..tags.len());
    accepted.find(|at| !is_refused(&ranges, tags, *at)).filter(|_| !ranges.is_empty())
}

/// True if the most specific range that covers a language has the quality 0.
fn is_refused(ranges: &[WeightedRange<'_>], tags: &[&str], at: usize) -> bool {
    let tag = tags.get(at).copied().unwrap_or_default();
    let covering = ranges.iter().filter(|range| range.range != "*" && covers(range.range, tag));
    covering.max_by_key(|range| range.range.len()).is_some_and(|range| range.quality == 0)
}

/// True if a range is a language or a prefix of it (RFC 4647, 3.3.1).
fn covers(range: &str, tag: &str) -> bool {
    let head = tag.get(..range.len()).is_some_and(|head| head.eq_ignore_ascii_case(range));
    head && tag.as_bytes().get(range.len()).is_none_or(|next| *next == b'-')
}

/// Returns a range, and the ranges that lookup tries after it: each without the last subtag, and without a single letter
/// or digit before that.
fn truncations(range: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(range), |longer| {
        let shorter = longer.rsplit_once('-')?.0;
        match shorter.rsplit_once('-') {
            Some((before, single)) if single.len() == 1 => Some(before),
            _ => Some(shorter),
        }
    })
}

/// Reads the ranges of a header. A malformed one is left out.
fn ranges(header: &str) -> Vec<WeightedRange<'_>> {
    header.split(',').filter_map(weighted).take(MAX_RANGES).collect()
}

fn weighted(element: &str) -> Option<WeightedRange<'_>> {
    let space = [' ', '\t'];
    let (range, weight) = match element.split_once(';') {
        Some((range, weight)) => (range, Some(weight)),
        None => (element, None),
    };
    let range = range.trim_matches(space);
    if range != "*" && !is_tag(range) {
        return None;
    }
    let quality = match weight {
        None => MAX_QUALITY,
        Some(weight) => {
            let (name, value) = weight.trim_matches(space).split_once('=')?;
            quality(Some(value).filter(|_| name.eq_ignore_ascii_case("q"))?)?
        }
    };
    Some(WeightedRange { range, quality })
}

/// Reads a quality of up to three decimals, in thousandths (RFC 9110, 12.4.2).
fn quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(MAX_QUALITY),
        _ => None,
    }
}

/// True if a text has the form of a language tag: letters, then subtags of letters and digits, with hyphens between them.
pub fn is_tag(text: &str) -> bool {
    let mut subtags = text.split('-');
    let is_subtag = |subtag: &str| {
        (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let first = subtags.next().unwrap_or_default();
    let is_language = is_subtag(first) && first.bytes().all(|byte| byte.is_ascii_alphabetic());
    text.len() <= MAX_TAG_BYTES && is_language && subtags.all(is_subtag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGS: [&str; 4] = ["en", "de", "fr", "zh-Hant-TW"];

    fn chosen(header: &str) -> Option<&'static str> {
        lookup(header, &TAGS, 0).map(|at| TAGS[at])
    }

    #[test]
    fn the_highest_quality_counts_and_of_equal_ones_the_first() {
        for (header, expected) in [
            ("de", "de"),
            ("DE", "de"),
            ("de-AT", "de"),
            ("de-DE-1996", "de"),
            ("en;q=0.5, de;q=0.6", "de"),
            ("fr;q=0.6,de;q=0.6", "fr"),
            ("en;q=0.001, de;q=0.01, fr;q=0.1", "fr"),
            ("de;q=0.999, fr", "fr"),
            ("de ;\tq=1.000 , fr;q=0.9", "de"),
            ("de;Q=0.8, en;q=0.2", "de"),
            ("es, pt;q=0.9, fr-CA;q=0.1", "fr"),
            ("zh-Hant-TW-x-y", "zh-Hant-TW"),
            ("zh-hant-tw", "zh-Hant-TW"),
            ("de-x-a-b", "de"),
        ] {
            assert_eq!(chosen(header), Some(expected), "{header}");
        }
    }

    #[test]
    fn a_refused_language_is_not_chosen_while_another_is_left() {
        for (header, expected) in [
            ("de;q=0, *", Some("en")),
            ("en;q=0", Some("de")),
            ("en;q=0, de;q=0.0", Some("fr")),
            ("de-CH, de;q=0, fr;q=0.1", Some("fr")),
            ("de, de-CH;q=0", Some("de")),
            ("*", Some("en")),
            ("*;q=0", Some("en")),
            ("es, *;q=0.5", Some("en")),
            ("es", Some("en")),
            ("en;q=0, de;q=0, fr;q=0, zh;q=0", None),
        ] {
            assert_eq!(chosen(header), expected, "{header}");
        }
        assert_eq!(lookup("es, *", &TAGS, 1), Some(1), "the default");
        assert_eq!(lookup("de;q=0, *", &TAGS, 1), Some(0), "not the default");
    }

    #[test]
    fn what_does_not_read_does_not_count() {
        for header in [
            "",
            ",",
            "d e",
            "de;q=2",
            "de;q=0.1234",
            "de;q=",
            "de;q",
            "de;x=1",
            "1de",
            "de_DE",
            "ä",
            "de-",
            "zh",
        ] {
            let found = chosen(header);
            assert!(found.is_none() || found == Some("en"), "{header}: {found:?}");
        }
        assert_eq!(chosen("de;q=1.5, fr;q=0.2"), Some("fr"));
        let many = "es,".repeat(MAX_RANGES) + "de";
        assert_eq!(chosen(&many), Some("en"), "ranges beyond the bound do not count");
        assert_eq!(chosen(&"a-".repeat(5000)), None);
    }

    #[test]
    fn a_tag_has_letters_first_and_short_subtags() {
        for tag in ["de", "zh-Hant-TW", "es-419", "x-private", "i-klingon"] {
            assert!(is_tag(tag), "{tag}");
        }
        for wrong in
            ["", "-", "de-", "-de", "de_AT", "d€", "123", "abcdefghi", "de-abcdefghi", &"a-".repeat(20)]
        {
            assert!(!is_tag(wrong), "{wrong}");
        }
    }
}
