//! Reads one escape at the beginning of a text: percent-encoding (RFC 3986, 2.1), an escape of JSON
//! (RFC 8259, 7) or of a programming language, or a character reference of HTML.
//!
//! The module does not know the format of the text: everything that can be read as an escape is decoded. Of the named
//! references of HTML it knows only those for signs that occur in addresses, for spaces and for Latin-1 letters.

/// Bytes of the longest known reference name.
const MAX_NAME: usize = 21;

/// The byte or the character that an escape stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unescaped {
    Byte(u8),
    Char(char),
}

impl Unescaped {
    pub(super) fn append(self, to: &mut Vec<u8>) {
        match self {
            Unescaped::Byte(byte) => to.push(byte),
            Unescaped::Char(char) => to.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Returns the value and the length in bytes of the escape at the beginning of a text.
pub(super) fn read(text: &[u8]) -> Option<(Unescaped, usize)> {
    match text.first()? {
        b'%' => Some((Unescaped::Byte(number(text.get(1..3)?, 16)? as u8), 3)),
        b'\\' => json_escape(text)
            .or_else(|| language_escape(text))
            .map(|(char, length)| (Unescaped::Char(char), length)),
        b'&' => html_reference(text).map(|(char, length)| (Unescaped::Char(char), length)),
        _ => None,
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let value = |sum: u32, digit: &u8| {
        let digit = char::from(*digit).to_digit(radix)?;
        sum.checked_mul(radix)?.checked_add(digit)
    };
    digits.iter().try_fold(0, value)
}

/// Reads an escape of a JSON string. Control characters become spaces.
fn json_escape(text: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let escape = text.get(at..at + 6)?;
        if escape.starts_with(b"\\u") { number(escape.get(2..)?, 16) } else { None }
    };
    Some(match text.get(1)? {
        b'n' | b'r' | b't' | b'b' | b'f' => (' ', 2),
        &sign @ (b'"' | b'/' | b'\\') => (char::from(sign), 2),
        b'u' => match (unit(0)?, unit(6)) {
            (high @ 0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
                (char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))?, 12)
            }
            (point, _) => (char::from_u32(point)?, 6),
        },
        _ => return None,
    })
}

/// Reads an escape of a programming language: `\x40`, `\u{40}`, octal `\100`, or `\40 ` of CSS.
fn language_escape(text: &[u8]) -> Option<(char, usize)> {
    let rest = text.get(1..)?;
    let hexadecimal =
        |digits: &[u8], max: usize| digits.iter().take(max).take_while(|d| d.is_ascii_hexdigit()).count();
    // Only printable ASCII occurs in addresses. Other values are left alone, because Windows paths look alike.
    let sign =
        |digits: &[u8], radix: u32| char::from_u32(number(digits, radix)?).filter(char::is_ascii_graphic);
    match rest {
        [b'x', digits @ ..] => Some((sign(digits.get(..2)?, 16)?, 4)),
        [b'u', b'{', digits @ ..] => {
            let count = hexadecimal(digits, 6);
            let closes = count > 0 && digits.get(count) == Some(&b'}');
            Some((char::from_u32(number(digits.get(..count)?, 16)?).filter(|_| closes)?, count + 4))
        }
        [b'0'..=b'9', ..] => {
            let octal =
                rest.get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
            if let Some(char) = octal.and_then(|digits| sign(digits, 8)) {
                return Some((char, 4));
            }
            let count = hexadecimal(rest, 6);
            let space = usize::from(rest.get(count).is_some_and(u8::is_ascii_whitespace));
            // A single digit is taken for a group reference of a regular expression, such as `\9`.
            Some((sign(rest.get(..count).filter(|digits| digits.len() > 1)?, 16)?, 1 + count + space))
        }
        _ => None,
    }
}

/// Reads a character reference of HTML: `&#64;`, `&#x40;` or `&commat;`.
fn html_reference(text: &[u8]) -> Option<(char, usize)> {
    let rest = text.get(1..)?;
    if let Some(digits) = rest.strip_prefix(b"#") {
        let (radix, mark) = if let [b'x' | b'X', ..] = digits { (16, 1) } else { (10, 0) };
        let digits = digits.get(mark..)?;
        let of_radix = |byte: &&u8| char::from(**byte).is_digit(radix);
        // There may be many leading zeros.
        let count = digits.iter().take(16).take_while(of_radix).count();
        let char = char::from_u32(number(digits.get(..count).filter(|some| !some.is_empty())?, radix)?)?;
        let semicolon = usize::from(digits.get(count) == Some(&b';'));
        return Some((char, 2 + mark + count + semicolon));
    }
    let length = rest.iter().take(MAX_NAME + 1).position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(rest.get(..length)?).ok()?;
    let sign = NAMED_SIGNS.iter().find(|(known, _)| *known == name).map(|(_, char)| *char);
    let letter = || {
        let at = LATIN_1_LETTERS.iter().position(|known| *known == name)?;
        char::from_u32(0xc0 + at as u32)
    };
    Some((sign.or_else(letter)?, length + 2))
}

/// Names of signs and spaces, with the characters that they stand for.
const NAMED_SIGNS: &[(&str, char)] = &[
    ("commat", '@'),
    ("period", '.'),
    ("lowbar", '_'),
    ("hyphen", '-'),
    ("dash", '-'),
    ("colon", ':'),
    ("num", '#'),
    ("plus", '+'),
    ("nbsp", ' '),
    ("amp", '&'),
    ("quot", '"'),
    ("apos", '\''),
    ("lt", '<'),
    ("gt", '>'),
    ("sol", '/'),
    ("bsol", '\\'),
    ("percnt", '%'),
    ("comma", ','),
    ("Tab", ' '),
    ("NewLine", ' '),
    ("lpar", '('),
    ("rpar", ')'),
    ("lsqb", '['),
    ("rsqb", ']'),
    ("ensp", ' '),
    ("emsp", ' '),
    ("thinsp", ' '),
    ("ndash", '-'),
    ("mdash", '-'),
    ("excl", '!'),
    ("quest", '?'),
    ("equals", '='),
    ("semi", ';'),
    ("shy", '\u{ad}'),
    ("zwj", '\u{200d}'),
    ("zwnj", '\u{200c}'),
    ("lrm", '\u{200e}'),
    ("rlm", '\u{200f}'),
    ("NoBreak", '\u{2060}'),
    ("ZeroWidthSpace", '\u{200b}'),
    ("NegativeVeryThinSpace", '\u{200b}'),
    ("NegativeThinSpace", '\u{200b}'),
    ("NegativeMediumSpace", '\u{200b}'),
    ("NegativeThickSpace", '\u{200b}'),
    ("ApplyFunction", '\u{2061}'),
    ("af", '\u{2061}'),
    ("InvisibleTimes", '\u{2062}'),
    ("it", '\u{2062}'),
    ("InvisibleComma", '\u{2063}'),
    ("ic", '\u{2063}'),
    ("NonBreakingSpace", ' '),
    ("MediumSpace", ' '),
    ("ThinSpace", ' '),
    ("VeryThinSpace", ' '),
    ("hairsp", ' '),
    ("numsp", ' '),
    ("puncsp", ' '),
    ("emsp13", ' '),
    ("emsp14", ' '),
];

/// The names of the letters from U+00C0 on, in order.
const LATIN_1_LETTERS: &[&str] = &[
    "Agrave", "Aacute", "Acirc", "Atilde", "Auml", "Aring", "AElig", "Ccedil", "Egrave", "Eacute", "Ecirc",
    "Euml", "Igrave", "Iacute", "Icirc", "Iuml", "ETH", "Ntilde", "Ograve", "Oacute", "Ocirc", "Otilde",
    "Ouml", "times", "Oslash", "Ugrave", "Uacute", "Ucirc", "Uuml", "Yacute", "THORN", "szlig", "agrave",
    "aacute", "acirc", "atilde", "auml", "aring", "aelig", "ccedil", "egrave", "eacute", "ecirc", "euml",
    "igrave", "iacute", "icirc", "iuml", "eth", "ntilde", "ograve", "oacute", "ocirc", "otilde", "ouml",
    "divide", "oslash", "ugrave", "uacute", "ucirc", "uuml", "yacute", "thorn", "yuml",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_with_their_length() {
        for (text, char, length) in [
            ("&#64", '@', 4),
            ("&#0000064;x", '@', 10),
            ("&#X40;;", '@', 6),
            ("&yuml;", '\u{ff}', 6),
            ("&Agrave;", '\u{c0}', 8),
            ("\\ud83d\\ude00", '\u{1f600}', 12),
        ] {
            assert_eq!(read(text.as_bytes()), Some((Unescaped::Char(char), length)), "{text}");
        }
        assert_eq!(read(b"%E9"), Some((Unescaped::Byte(0xe9), 3)));
        for text in
            ["", "%", "%4", "%4g", "\\", "\\u004", "\\ud83d", "&", "&#", "&#x;", "&commat", "&com", "a"]
        {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
