//! The purpose header: one RFC 9651 item, parsed once.
//!
//! The module does not know the vocabulary; unknown purposes are refused later.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Item, Parser};

use crate::exchange::Refusal;

/// Maximum length of the field value, in bytes.
const MAX_VALUE: usize = 256;

/// Header names that browsers use for prefetch. They are never read as a purpose.
pub const PREFETCH_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("sec-purpose"),
];

/// The purpose as the recipient declared it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The name, alias or IRI of a purpose. The vocabulary may lack it.
    pub purpose: Arc<str>,
    /// An order or ticket number, or the id of a disclosure case.
    pub case: Option<Arc<str>>,
}

/// Reads the declaration; `None` if the header is absent.
///
/// # Errors
/// [`Refusal::PurposeMalformed`] for more than one field, a list, an item of another type, and a value that is too long or
/// not ASCII.
pub fn declared(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Declaration>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || value.len() > MAX_VALUE {
        return Err(Refusal::PurposeMalformed);
    }
    let item: Item = Parser::new(value.as_bytes()).parse().map_err(|_| Refusal::PurposeMalformed)?;
    let purpose = word(&item.bare_item)?;
    let case = match item.params.get("case") {
        Some(case) => Some(case_number(case, value.as_bytes())?),
        None => None,
    };
    Ok(Some(Declaration { purpose, case }))
}

fn word(item: &BareItem) -> Result<Arc<str>, Refusal> {
    let text = match item {
        BareItem::Token(token) => token.as_str(),
        BareItem::String(string) => string.as_str(),
        _ => return Err(Refusal::PurposeMalformed),
    };
    if text.is_empty() { Err(Refusal::PurposeMalformed) } else { Ok(text.into()) }
}

/// Returns the text of a case: a word, or an integer in decimal digits, because order and ticket numbers often are numbers. The
/// digits of an integer are lost where they begin with a zero; then it could be the number of another case.
fn case_number(item: &BareItem, value: &[u8]) -> Result<Arc<str>, Refusal> {
    let begins_with_zero =
        || value.windows(3).any(|text| matches!(text, [b'=', b'0', b'0'..=b'9'] | [b'=', b'-', b'0']));
    match item {
        BareItem::Integer(_) if begins_with_zero() => Err(Refusal::PurposeMalformed),
        BareItem::Integer(number) => Ok(number.to_string().into()),
        _ => word(item),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(values: &[&[u8]]) -> Result<Option<Declaration>, Refusal> {
        let name = HeaderName::from_static("data-purpose");
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_bytes(value).unwrap());
        }
        declared(&headers, &name)
    }

    #[test]
    fn a_token_or_a_string_with_parameters_is_a_purpose() {
        let support = |case: Option<&str>| Declaration {
            purpose: "customer-support".into(),
            case: case.map(Into::into),
        };
        assert_eq!(read(&[b"customer-support"]), Ok(Some(support(None))));
        assert_eq!(read(&[b"\"customer-support\""]), Ok(Some(support(None))));
        assert_eq!(read(&[b"customer-support;case=\"C-1042\""]), Ok(Some(support(Some("C-1042")))));
        assert_eq!(read(&[b"customer-support;case=1042"]), Ok(Some(support(Some("1042")))));
        assert_eq!(read(&[b"customer-support;case=-7"]), Ok(Some(support(Some("-7")))));
        assert_eq!(read(&[b" dpv:DirectMarketing "]).unwrap().unwrap().purpose, "dpv:DirectMarketing".into());
        assert_eq!(read(&[b"\"https://w3id.org/dpv#DirectMarketing\";v=1"]).unwrap().unwrap().case, None);
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn any_other_value_is_malformed() {
        let long = [b'a'; 257];
        let cases: &[&[&[u8]]] = &[
            &[b"a", b"a"],
            &[b"a, b"],
            &[b""],
            &[b"\"\""],
            &[b"42"],
            &[b"?1"],
            &[b"(a b)"],
            &[b"\"open"],
            &[b"caf\xc3\xa9"],
            &[b"a;case=1.5"],
            &[b"a;case=007"],
            &[b"a;case=-0"],
            &[b"a;case=7;case=-07"],
            &[b"a;case"],
            &[b"a;case=@1659578233"],
            &[b"a;case=1234567890123456"],
            &[b"a b"],
            &[&long],
        ];
        for case in cases {
            assert_eq!(read(case), Err(Refusal::PurposeMalformed), "{case:?}");
        }
    }
}
