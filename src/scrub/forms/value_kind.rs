//! The kind of value that a category holds, as far as forms depend on it.

/// The kinds of values that have forms of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    Email,
    Phone,
    Card,
    Name,
    Date,
    Ip,
    Location,
    Address,
    Other,
}

impl ValueKind {
    #[cfg(test)]
    pub(crate) const ALL: &'static [ValueKind] = &[
        ValueKind::Email,
        ValueKind::Phone,
        ValueKind::Card,
        ValueKind::Name,
        ValueKind::Date,
        ValueKind::Ip,
        ValueKind::Location,
        ValueKind::Address,
        ValueKind::Other,
    ];

    /// Returns the kind of a category of the vocabulary: `Other` for a category that is not listed.
    pub(crate) fn of(category: &str) -> ValueKind {
        match category {
            "email" => ValueKind::Email,
            "phone" => ValueKind::Phone,
            "payment-card-number" | "payment-card-summary" => ValueKind::Card,
            "name" | "username" => ValueKind::Name,
            "date-of-birth" => ValueKind::Date,
            "ip-address" => ValueKind::Ip,
            "location" => ValueKind::Location,
            "postal-address" => ValueKind::Address,
            _ => ValueKind::Other,
        }
    }
}

/// True if a member of an address stays in its generalised form: a country or a region.
pub(crate) fn is_coarse_address_part(name: &[u8]) -> bool {
    let plain: Vec<u8> =
        name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect();
    matches!(
        plain.as_slice(),
        b"country"
            | b"countrycode"
            | b"countryname"
            | b"cc"
            | b"region"
            | b"regioncode"
            | b"state"
            | b"statecode"
            | b"stateprovince"
            | b"province"
            | b"provincecode"
            | b"addresscountry"
            | b"addressregion"
            | b"administrativearea"
    )
}
