//! The words of RFC 9537: what a redacted field of an RDAP answer is called, and its entry.
//!
//! Refuses to know values and whether anything may leave. What stands in an answer is put in an entry
//! only if it is one of the words listed here: whatever else is there could be a value.

use std::ops::Range;

use serde::Serialize;

/// What this extension is called in `rdapConformance`.
pub(super) const CONFORMANCE: &str = "redacted";
/// And what every RDAP answer has there (RFC 9083, 4.1).
pub(super) const BASE_CONFORMANCE: &str = "rdap_level_0";

/// How a field was redacted (RFC 9537, 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Method {
    Removal,
    EmptyValue,
    PartialValue,
    ReplacementValue,
}

/// A field's name: registered with IANA, or in our words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Name {
    Type(String),
    Description(String),
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Reason {
    description: &'static str,
}

/// One member of `redacted`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    name: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    pre_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_path: Option<String>,
    path_lang: &'static str,
    method: Method,
    reason: Reason,
}

impl Entry {
    /// What is gone is found by a path in the answer that was, all else in the one that is.
    pub(super) fn new(name: Name, method: Method, path: String) -> Entry {
        let (pre_path, post_path) = match method {
            Method::Removal => (Some(path), None),
            Method::EmptyValue | Method::PartialValue | Method::ReplacementValue => (None, Some(path)),
        };
        let reason = Reason { description: "Server policy" };
        Entry { name, pre_path, post_path, path_lang: "jsonpath", method, reason }
    }

    pub(super) fn json(&self) -> String {
        // Of strings alone: it cannot fail, and nothing would be said then.
        serde_json::to_string(self).unwrap_or_else(|_| "null".to_owned())
    }
}

/// Whose contact an entity is, as its roles say (RFC 9083, 10.2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Contact {
    Registrant,
    Technical,
    Administrative,
    Billing,
    Registrar,
    Abuse,
    #[default]
    Other,
}

impl Contact {
    pub(super) fn of_role(role: &[u8]) -> Contact {
        match role {
            b"registrant" => Contact::Registrant,
            b"technical" => Contact::Technical,
            b"administrative" => Contact::Administrative,
            b"billing" => Contact::Billing,
            b"registrar" => Contact::Registrar,
            b"abuse" => Contact::Abuse,
            _ => Contact::Other,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Contact::Registrant => "Registrant",
            Contact::Technical => "Tech",
            Contact::Administrative => "Administrative",
            Contact::Billing => "Billing",
            Contact::Registrar => "Registrar",
            Contact::Abuse => "Abuse",
            Contact::Other => "Contact",
        }
    }

    /// The name of a property of this contact. IANA lists those that ICANN has redacted.
    pub(super) fn field(self, field: &str) -> Name {
        let name = format!("{} {field}", self.word());
        let registered = match self {
            Contact::Registrant => REGISTERED_OF_REGISTRANT.contains(&field),
            Contact::Technical => REGISTERED_OF_TECHNICAL.contains(&field),
            Contact::Administrative
            | Contact::Billing
            | Contact::Registrar
            | Contact::Abuse
            | Contact::Other => false,
        };
        if registered { Name::Type(name) } else { Name::Description(name) }
    }

    /// The name of its handle.
    pub(super) fn handle(self) -> Name {
        match self {
            Contact::Registrant => Name::Type("Registry Registrant ID".to_owned()),
            Contact::Technical => Name::Type("Registry Tech ID".to_owned()),
            Contact::Administrative
            | Contact::Billing
            | Contact::Registrar
            | Contact::Abuse
            | Contact::Other => Name::Description(format!("{} ID", self.word())),
        }
    }
}

/// Whether a string is a role that IANA lists (RFC 9083, 10.2.4).
pub(super) fn is_role(text: &[u8]) -> bool {
    const ROLES: &[&[u8]] = &[
        b"registrant",
        b"technical",
        b"administrative",
        b"abuse",
        b"billing",
        b"registrar",
        b"reseller",
        b"sponsor",
        b"proxy",
        b"notifications",
        b"noc",
    ];
    ROLES.contains(&text)
}

/// Whether a member of the topmost object holds what was searched for (RFC 9083, 8; RFC 9910). Each of
/// these objects says for itself what of it was redacted.
pub(super) fn is_list_of_results(name: &[u8]) -> bool {
    const LISTS: &[&[u8]] = &[
        b"domainSearchResults",
        b"nameserverSearchResults",
        b"entitySearchResults",
        b"ipSearchResults",
        b"autnumSearchResults",
    ];
    LISTS.contains(&name)
}

/// The handle of a domain.
pub(super) fn domain_handle() -> Name {
    Name::Type("Registry Domain ID".to_owned())
}

const REGISTERED_OF_REGISTRANT: &[&str] = &[
    "Name",
    "Organization",
    "Street",
    "City",
    "Postal Code",
    "Phone",
    "Phone Ext",
    "Fax",
    "Fax Ext",
    "Email",
];
const REGISTERED_OF_TECHNICAL: &[&str] = &["Name", "Phone", "Phone Ext", "Email"];

/// A property of a jCard (RFC 7095) that has a name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Property {
    /// `fn` and `n`.
    Name,
    Address,
    Phone,
    /// Any other, in our words.
    Plain(&'static str),
}

impl Property {
    pub(super) fn of(name: &[u8]) -> Option<Property> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"fn" | b"n" => Property::Name,
            b"adr" => Property::Address,
            b"tel" => Property::Phone,
            b"org" => Property::Plain("Organization"),
            b"email" => Property::Plain("Email"),
            b"contact-uri" => Property::Plain("Contact URI"),
            b"title" => Property::Plain("Title"),
            b"role" => Property::Plain("Role"),
            b"lang" => Property::Plain("Language"),
            b"url" => Property::Plain("URL"),
            b"kind" => Property::Plain("Kind"),
            b"nickname" => Property::Plain("Nickname"),
            b"note" => Property::Plain("Note"),
            _ => return None,
        })
    }

    /// Whether it stays with an empty value when it is withheld (ICANN, RDAP response profile): a jCard
    /// without `fn` is none, and what is known of an address stands in its place.
    pub(super) fn stays_empty(self) -> bool {
        match self {
            Property::Name | Property::Address => true,
            Property::Phone | Property::Plain(_) => false,
        }
    }
}

/// What the components of an address are called (RFC 6350, 6.3.1), by their places. Post office box,
/// extended address and street are one field.
pub(super) const ADDRESS: [(Range<usize>, &str); 5] = [
    (0..3, "Street"),
    (3..4, "City"),
    (STATE..STATE + 1, "State/Province"),
    (5..6, "Postal Code"),
    (COUNTRY..COUNTRY + 1, "Country"),
];

/// The components that a generalised address keeps.
pub(super) const STATE: usize = 4;
pub(super) const COUNTRY: usize = 6;

/// The type of a value that a redacted property may keep: what is no such word could be a value.
pub(super) fn is_value_type(text: &[u8]) -> bool {
    const TYPES: &[&[u8]] = &[
        b"text",
        b"uri",
        b"date",
        b"time",
        b"date-time",
        b"date-and-or-time",
        b"timestamp",
        b"boolean",
        b"integer",
        b"float",
        b"utc-offset",
        b"language-tag",
        b"unknown",
    ];
    TYPES.contains(&text)
}

/// Whether a string is one that jCards are made of: no value, wherever it stands.
pub(super) fn is_word(text: &[u8]) -> bool {
    matches!(text, b"vcard" | b"version")
        || is_value_type(text)
        || is_kind(text)
        || Property::of(text).is_some()
}

/// What kind of number or address a property says it holds.
pub(super) fn is_kind(text: &[u8]) -> bool {
    const KINDS: &[&[u8]] =
        &[b"voice", b"fax", b"cell", b"video", b"pager", b"text", b"textphone", b"work", b"home", b"main"];
    KINDS.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_path_of_its_method() {
        let name = Contact::of_role(b"registrant").field("Email");
        assert_eq!(
            Entry::new(name, Method::Removal, "$.a".to_owned()).json(),
            r#"{"name":{"type":"Registrant Email"},"prePath":"$.a","pathLang":"jsonpath","method":"removal","reason":{"description":"Server policy"}}"#
        );
        let name = Contact::of_role(b"jane@x.org").field("Email");
        assert_eq!(
            Entry::new(name, Method::EmptyValue, "$.a".to_owned()).json(),
            r#"{"name":{"description":"Contact Email"},"postPath":"$.a","pathLang":"jsonpath","method":"emptyValue","reason":{"description":"Server policy"}}"#
        );
    }

    #[test]
    fn properties_have_names_in_any_case() {
        assert_eq!(Property::of(b"FN"), Some(Property::Name));
        assert_eq!(Property::of(b"x-jane"), None);
        assert!(Property::Address.stays_empty() && !Property::Phone.stays_empty());
    }
}
