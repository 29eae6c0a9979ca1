//! Word lists of RDAP (RFC 9083), jCard (RFC 7095) and redacted fields (RFC 9537).
//!
//! Text of an answer is repeated in an entry of `redacted`, a path or a filter only if it is one of these words:
//! any other text could be a personal value.

use std::ops::Range;

use serde::Serialize;

/// The name of the RFC 9537 extension in `rdapConformance`.
pub(super) const CONFORMANCE: &str = "redacted";
/// The conformance that every RDAP answer has (RFC 9083, 4.1).
pub(super) const BASE_CONFORMANCE: &str = "rdap_level_0";

/// The name of a redacted field: one registered with IANA, or a description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum FieldName {
    Type(String),
    Description(String),
}

/// The role of a contact, by the roles of its entity (RFC 9083, 10.2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ContactRole {
    Registrant,
    Technical,
    Administrative,
    Billing,
    Registrar,
    Abuse,
    #[default]
    Other,
}

impl ContactRole {
    pub(super) fn named(role: &[u8]) -> ContactRole {
        match role {
            b"registrant" => ContactRole::Registrant,
            b"technical" => ContactRole::Technical,
            b"administrative" => ContactRole::Administrative,
            b"billing" => ContactRole::Billing,
            b"registrar" => ContactRole::Registrar,
            b"abuse" => ContactRole::Abuse,
            _ => ContactRole::Other,
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            ContactRole::Registrant => "Registrant",
            ContactRole::Technical => "Tech",
            ContactRole::Administrative => "Administrative",
            ContactRole::Billing => "Billing",
            ContactRole::Registrar => "Registrar",
            ContactRole::Abuse => "Abuse",
            ContactRole::Other => "Contact",
        }
    }

    /// Returns the name of a field of this contact. The names that IANA has registered are those of the fields that
    /// ICANN requires registries to redact.
    pub(super) fn field(self, field: &str) -> FieldName {
        let name = format!("{} {field}", self.prefix());
        let registered = match self {
            ContactRole::Registrant => REGISTERED_OF_REGISTRANT.contains(&field),
            ContactRole::Technical => REGISTERED_OF_TECHNICAL.contains(&field),
            ContactRole::Administrative
            | ContactRole::Billing
            | ContactRole::Registrar
            | ContactRole::Abuse
            | ContactRole::Other => false,
        };
        if registered { FieldName::Type(name) } else { FieldName::Description(name) }
    }

    /// Returns the name of the contact's handle.
    pub(super) fn handle(self) -> FieldName {
        match self {
            ContactRole::Registrant => FieldName::Type("Registry Registrant ID".to_owned()),
            ContactRole::Technical => FieldName::Type("Registry Tech ID".to_owned()),
            ContactRole::Administrative
            | ContactRole::Billing
            | ContactRole::Registrar
            | ContactRole::Abuse
            | ContactRole::Other => FieldName::Description(format!("{} ID", self.prefix())),
        }
    }
}

/// True if the string is a role that IANA lists (RFC 9083, 10.2.4).
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

/// True if a member of the topmost object holds search results (RFC 9083, 8; RFC 9910). Each of these objects
/// lists what was redacted in it.
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

/// Returns the name of a domain's handle.
pub(super) fn domain_handle() -> FieldName {
    FieldName::Type("Registry Domain ID".to_owned())
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

/// A property of a jCard (RFC 7095) that has a field name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CardProperty {
    /// `fn` and `n`.
    Name,
    Address,
    Phone,
    /// Any other property, with its field name.
    Other(&'static str),
}

impl CardProperty {
    /// Returns the property of this name, in any case of letters.
    pub(super) fn named(name: &[u8]) -> Option<CardProperty> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"fn" | b"n" => CardProperty::Name,
            b"adr" => CardProperty::Address,
            b"tel" => CardProperty::Phone,
            b"org" => CardProperty::Other("Organization"),
            b"email" => CardProperty::Other("Email"),
            b"contact-uri" => CardProperty::Other("Contact URI"),
            b"title" => CardProperty::Other("Title"),
            b"role" => CardProperty::Other("Role"),
            b"lang" => CardProperty::Other("Language"),
            b"url" => CardProperty::Other("URL"),
            b"kind" => CardProperty::Other("Kind"),
            b"nickname" => CardProperty::Other("Nickname"),
            b"note" => CardProperty::Other("Note"),
            _ => return None,
        })
    }

    /// True if a withheld property stays with an empty value (ICANN, RDAP response profile): a jCard without `fn` is
    /// invalid, and the components of an address that may leave keep their positions.
    pub(super) fn stays_empty(self) -> bool {
        match self {
            CardProperty::Name | CardProperty::Address => true,
            CardProperty::Phone | CardProperty::Other(_) => false,
        }
    }
}

/// The field names of an address's components (RFC 6350, 6.3.1), by position. Post office box, extended address
/// and street are one field.
pub(super) const ADDRESS: [(Range<usize>, &str); 5] = [
    (0..3, "Street"),
    (3..4, "City"),
    (STATE..STATE + 1, "State/Province"),
    (5..6, "Postal Code"),
    (COUNTRY..COUNTRY + 1, "Country"),
];

/// The positions of the components that a generalised address keeps.
pub(super) const STATE: usize = 4;
pub(super) const COUNTRY: usize = 6;

/// True if the string is a value type of jCard. A redacted property may keep it; any other string could be a
/// value.
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

/// True if the string is a word of the jCard format. Such a word is never a personal value.
pub(in crate::scrub) fn is_word(text: &[u8]) -> bool {
    matches!(text, b"vcard" | b"version")
        || is_value_type(text)
        || is_kind(text)
        || CardProperty::named(text).is_some()
}

/// True if the string is a kind of number or address, as the parameter `type` of a property has it.
pub(super) fn is_kind(text: &[u8]) -> bool {
    const KINDS: &[&[u8]] =
        &[b"voice", b"fax", b"cell", b"video", b"pager", b"text", b"textphone", b"work", b"home", b"main"];
    KINDS.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn property_names_are_case_insensitive() {
        assert_eq!(CardProperty::named(b"FN"), Some(CardProperty::Name));
        assert_eq!(CardProperty::named(b"x-jane"), None);
        assert!(CardProperty::Address.stays_empty() && !CardProperty::Phone.stays_empty());
    }
}
