//! What kind of value a category holds, as far as forms differ by it.

/// The kinds of values that forms tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
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

impl Shape {
    #[cfg(test)]
    pub(crate) const ALL: &'static [Shape] = &[
        Shape::Email,
        Shape::Phone,
        Shape::Card,
        Shape::Name,
        Shape::Date,
        Shape::Ip,
        Shape::Location,
        Shape::Address,
        Shape::Other,
    ];

    /// The shape of a category of the vocabulary; nothing special for one that is not listed.
    pub(crate) fn of(category: &str) -> Shape {
        match category {
            "email" => Shape::Email,
            "phone" => Shape::Phone,
            "payment-card-number" | "payment-card-summary" => Shape::Card,
            "name" | "username" => Shape::Name,
            "date-of-birth" => Shape::Date,
            "ip-address" => Shape::Ip,
            "location" => Shape::Location,
            "postal-address" => Shape::Address,
            _ => Shape::Other,
        }
    }
}

/// Whether a member of an address is coarse enough for its generalised form: country or region.
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
