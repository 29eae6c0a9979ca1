//! Countries and regions as people write them; used for configuration, ledger, records and scenarios.
//!
//! A country is an assigned code of ISO 3166-1 alpha-2. A region is a label; two regions are the same if their
//! labels are equal. `EEA` is the label that matters in law (GDPR Art. 44: transfers to third countries). The
//! module does not guess: a text that neither it nor the pack lists is unreadable, and the caller then uses the
//! value that discloses less.

use std::collections::HashMap;
use std::sync::Arc;

use crate::document::Fields;
use crate::finding::{Finding, suggestion};

/// Label of the European Economic Area.
pub const EEA: &str = "EEA";

/// Label of Europe, the Middle East and Africa, which contains the EEA.
const EMEA: &str = "EMEA";

/// Region labels that are known without being listed by a pack, besides `EEA` and country codes.
const USUAL_LABELS: [&str; 5] = ["AMER", "APAC", EMEA, "LATAM", "MENA"];

/// Maximum length of a region label in bytes.
const MAX_LABEL_BYTES: usize = 64;

/// The officially assigned codes of ISO 3166-1 alpha-2, sorted. Reserved codes (`UK`, `EU`, `AN`, …) and
/// user-assigned ones (`XX`, `ZZ`, Kosovo's `XK`, …) are not among them.
const COUNTRIES: [&str; 249] = [
    "AD", "AE", "AF", "AG", "AI", "AL", "AM", "AO", "AQ", "AR", "AS", "AT", "AU", "AW", "AX", "AZ", "BA",
    "BB", "BD", "BE", "BF", "BG", "BH", "BI", "BJ", "BL", "BM", "BN", "BO", "BQ", "BR", "BS", "BT", "BV",
    "BW", "BY", "BZ", "CA", "CC", "CD", "CF", "CG", "CH", "CI", "CK", "CL", "CM", "CN", "CO", "CR", "CU",
    "CV", "CW", "CX", "CY", "CZ", "DE", "DJ", "DK", "DM", "DO", "DZ", "EC", "EE", "EG", "EH", "ER", "ES",
    "ET", "FI", "FJ", "FK", "FM", "FO", "FR", "GA", "GB", "GD", "GE", "GF", "GG", "GH", "GI", "GL", "GM",
    "GN", "GP", "GQ", "GR", "GS", "GT", "GU", "GW", "GY", "HK", "HM", "HN", "HR", "HT", "HU", "ID", "IE",
    "IL", "IM", "IN", "IO", "IQ", "IR", "IS", "IT", "JE", "JM", "JO", "JP", "KE", "KG", "KH", "KI", "KM",
    "KN", "KP", "KR", "KW", "KY", "KZ", "LA", "LB", "LC", "LI", "LK", "LR", "LS", "LT", "LU", "LV", "LY",
    "MA", "MC", "MD", "ME", "MF", "MG", "MH", "MK", "ML", "MM", "MN", "MO", "MP", "MQ", "MR", "MS", "MT",
    "MU", "MV", "MW", "MX", "MY", "MZ", "NA", "NC", "NE", "NF", "NG", "NI", "NL", "NO", "NP", "NR", "NU",
    "NZ", "OM", "PA", "PE", "PF", "PG", "PH", "PK", "PL", "PM", "PN", "PR", "PS", "PT", "PW", "PY", "QA",
    "RE", "RO", "RS", "RU", "RW", "SA", "SB", "SC", "SD", "SE", "SG", "SH", "SI", "SJ", "SK", "SL", "SM",
    "SN", "SO", "SR", "SS", "ST", "SV", "SX", "SY", "SZ", "TC", "TD", "TF", "TG", "TH", "TJ", "TK", "TL",
    "TM", "TN", "TO", "TR", "TT", "TV", "TW", "TZ", "UA", "UG", "UM", "US", "UY", "UZ", "VA", "VC", "VE",
    "VG", "VI", "VN", "VU", "WF", "WS", "YE", "YT", "ZA", "ZM", "ZW",
];

/// The codes of the EEA: the member states of the Union, Iceland, Liechtenstein and Norway, and their parts that
/// have codes of their own (Art. 52(2) TEU with Art. 349 and 355 TFEU; Art. 126 of the EEA Agreement): Åland and
/// the French outermost regions GF, GP, MF, MQ, RE, YT. Not included: Svalbard and Jan Mayen (`SJ`; Protocol 40
/// to the Agreement excludes Svalbard), Greenland and the Faroes, the overseas countries and territories of
/// France and the Netherlands.
const EEA_COUNTRIES: [&str; 37] = [
    "AT", "AX", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GF", "GP", "GR", "HR", "HU",
    "IE", "IS", "IT", "LI", "LT", "LU", "LV", "MF", "MQ", "MT", "NL", "NO", "PL", "PT", "RE", "RO", "SE",
    "SI", "SK", "YT",
];

/// Returns the code of the country that a text names, in capitals. Returns `None` if the text is not an assigned
/// code.
///
/// Case and surrounding white space are ignored. `EL`, which the Union uses for Greece, is read as `GR`. `UK` is
/// not accepted: it is a reserved code, and an unreadable country discloses less than `GB`.
pub fn country(text: &str) -> Option<&'static str> {
    let mut code = <[u8; 2]>::try_from(text.trim().as_bytes()).ok()?;
    code.make_ascii_uppercase();
    let code = std::str::from_utf8(&code).ok()?;
    let code = if code == "EL" { "GR" } else { code };
    let at = COUNTRIES.binary_search(&code).ok()?;
    COUNTRIES.get(at).copied()
}

/// True if the country with this code is in the EEA.
pub fn is_in_eea(country: &str) -> bool {
    EEA_COUNTRIES.binary_search(&country).is_ok()
}

/// True if a person in the region with this label may be in the EEA.
pub fn may_overlap_eea(label: &str) -> bool {
    label == EEA || label == EMEA
}

/// Returns a hint for a text that is not a country.
pub fn country_hint(text: &str) -> &'static str {
    let text = text.trim();
    if text.eq_ignore_ascii_case("UK") {
        "the code of the United Kingdom is `GB`"
    } else if text.eq_ignore_ascii_case("XK") {
        "ISO 3166-1 has not assigned `XK`; omit the country: without one, the place counts as outside the EEA"
    } else if may_mean_eea(text) {
        "this is a region, not a country: write `region = \"EEA\"`"
    } else {
        "the two letters of ISO 3166-1, such as `DE`"
    }
}

/// True if a text that is not accepted as the EEA probably means the EEA.
fn may_mean_eea(text: &str) -> bool {
    let letters: String = text.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect();
    ["eu", "eea", "europe", "europeanunion", "europeaneconomicarea"].contains(&letters.as_str())
}

/// The region labels of one pack, and the region of each country.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    /// The pack's `[regions]`, by country code.
    named: HashMap<&'static str, Arc<str>>,
}

impl Regions {
    /// Reads the table `regions` of a pack. Mistakes are added to the findings of its document.
    pub(super) fn read(root: &mut Fields<'_>) -> Regions {
        let document = root.document();
        let mut regions = Regions::default();
        for (country, item) in root.entries("regions") {
            let Some(label) = item.text() else { continue };
            let Some(code) = self::country(country.value).filter(|code| !is_in_eea(code)) else {
                let finding = Finding::error(
                    "bad-country",
                    format!("`{}` is not a country code to which a region can be assigned", country.value),
                );
                document.find(
                    finding.hint("use the two letters of ISO 3166-1 of a country outside the EEA"),
                    country.at,
                );
                continue;
            };
            match regions.assignable_label(label.value) {
                Some(label) => {
                    regions.named.insert(code, label);
                }
                None => {
                    let finding = Finding::error(
                        "bad-region",
                        format!("`{}` is not a label for a region outside the EEA", label.value),
                    );
                    let hint = "use a word such as `APAC`; names of the EEA and unassigned country codes are not accepted";
                    document.find(finding.hint(hint), label.at);
                }
            }
        }
        regions
    }

    /// Returns the label if a pack can give it to a country outside the EEA.
    fn assignable_label(&self, label: &str) -> Option<Arc<str>> {
        if let Some(known) = self.label(label) {
            return (*known != *EEA).then_some(known);
        }
        let label = label.trim();
        let is_code = label.len() == 2 && label.bytes().all(|byte| byte.is_ascii_alphabetic());
        let is_label = (1..=MAX_LABEL_BYTES).contains(&label.len()) && !label.chars().any(char::is_control);
        (is_label && !is_code && !may_mean_eea(label)).then(|| Arc::from(label))
    }

    /// Returns the label of the region that a text names. Returns `None` if it is unreadable.
    ///
    /// Case and surrounding white space are ignored. `EU` and the countries of the EEA are read as the EEA; other
    /// countries, the known labels and the pack's labels stand for themselves.
    pub fn label(&self, text: &str) -> Option<Arc<str>> {
        let text = text.trim();
        let is = |label: &str| label.eq_ignore_ascii_case(text);
        if is(EEA) || is("EU") {
            return Some(Arc::from(EEA));
        }
        if let Some(code) = country(text) {
            return Some(Arc::from(if is_in_eea(code) { EEA } else { code }));
        }
        if let Some(usual) = USUAL_LABELS.into_iter().find(|label| is(label)) {
            return Some(Arc::from(usual));
        }
        self.named.values().find(|label| is(label)).cloned()
    }

    /// Returns the region of a country: `EEA`, the label that the pack gives it, or else the code itself.
    ///
    /// Returns `None` if the text is not a country.
    pub fn of_country(&self, country: &str) -> Option<Arc<str>> {
        let code = self::country(country)?;
        if is_in_eea(code) {
            return Some(Arc::from(EEA));
        }
        Some(self.named.get(code).cloned().unwrap_or_else(|| Arc::from(code)))
    }

    /// Returns the countries that the pack's `[regions]` lists.
    pub fn countries(&self) -> impl Iterator<Item = &'static str> {
        self.named.keys().copied()
    }

    /// True if a country and a region label cannot describe the same place: exactly one of them is in the EEA, or
    /// the pack gives the country another label.
    pub fn contradict(&self, country: &str, label: &str) -> bool {
        is_in_eea(country) != (label == EEA) || self.named.get(country).is_some_and(|named| **named != *label)
    }

    /// Returns a hint for a text that is not a region.
    pub fn hint(&self, text: &str) -> String {
        if may_mean_eea(text) {
            return format!("did you mean `{EEA}`?");
        }
        if text.trim().eq_ignore_ascii_case("UK") {
            return country_hint(text).to_owned();
        }
        let labels = [EEA].into_iter().chain(USUAL_LABELS).chain(self.named.values().map(|label| &**label));
        suggestion(text.trim(), labels).unwrap_or_else(|| {
            "`EEA`, a country's ISO 3166-1 code, `APAC`, `LATAM`, `AMER`, `MENA`, `EMEA`, or a label of the pack's \
                     `[regions]`"
                .to_owned()
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns the regions of a pack that lists these.
    pub(crate) fn named(regions: &[(&'static str, &str)]) -> Regions {
        Regions { named: regions.iter().map(|(country, label)| (*country, Arc::from(*label))).collect() }
    }

    #[test]
    fn the_lists_are_sorted() {
        assert!(COUNTRIES.is_sorted() && EEA_COUNTRIES.is_sorted() && USUAL_LABELS.is_sorted());
        assert!(EEA_COUNTRIES.iter().all(|code| COUNTRIES.contains(code)));
    }

    #[test]
    fn countries_are_assigned_codes() {
        for (text, code) in
            [("DE", "DE"), ("de ", "DE"), ("Us", "US"), ("EL", "GR"), ("ax", "AX"), ("SJ", "SJ")]
        {
            assert_eq!(country(text), Some(code), "{text}");
        }
        for text in [
            "", "D", "DEU", "Germany", "ZZ", "XX", "AA", "QM", "QZ", "XA", "XK", "XZ", "EU", "UK", "AN",
            "YU", "SU", "IC", "UN", "ÅL", "49", "D E", "null",
        ] {
            assert_eq!(country(text), None, "{text}");
        }
    }

    #[test]
    fn the_eea_has_parts_with_codes_of_their_own() {
        for inside in ["AX", "GF", "GP", "MF", "MQ", "RE", "YT", "NO", "IS", "LI"] {
            assert_eq!(Regions::default().of_country(inside).as_deref(), Some(EEA), "{inside}");
        }
        for outside in
            ["SJ", "GL", "FO", "CH", "GB", "GI", "PF", "NC", "BL", "PM", "WF", "AW", "CW", "BQ", "MC"]
        {
            assert_eq!(Regions::default().of_country(outside).as_deref(), Some(outside), "{outside}");
        }
    }

    #[test]
    fn the_region_follows_the_country() {
        let regions = named(&[("JP", "APAC")]);
        for (country, region) in [
            ("DE", Some("EEA")),
            ("no", Some("EEA")),
            ("CH", Some("CH")),
            ("JP", Some("APAC")),
            ("Germany", None),
            ("ZZ", None),
            ("", None),
        ] {
            assert_eq!(regions.of_country(country).as_deref(), region, "{country}");
        }
    }

    #[test]
    fn labels_are_eea_country_codes_known_names_or_those_of_the_pack() {
        let regions = named(&[("CH", "Alps")]);
        for (text, label) in [
            ("EEA", EEA),
            ("eea", EEA),
            ("EEA ", EEA),
            ("EU", EEA),
            ("de", EEA),
            ("RE", EEA),
            ("us", "US"),
            ("apac", "APAC"),
            ("EMEA", "EMEA"),
            ("alps", "Alps"),
        ] {
            assert_eq!(regions.label(text).as_deref(), Some(label), "{text}");
        }
        for text in ["Europe", "UK", "XX", "USA", "", "European Union", "nowhere", "ROW"] {
            assert_eq!(regions.label(text), None, "{text}");
        }
        assert_eq!(Regions::default().label("Alps"), None);
    }

    #[test]
    fn a_pack_cannot_use_names_of_the_eea_as_labels() {
        let regions = Regions::default();
        for free in ["APAC", "North America", "emea", "US"] {
            assert!(regions.assignable_label(free).is_some(), "{free}");
        }
        for taken in ["EEA", "eu", "Europe", "DE", "European Union", "XX", "UK", "", " ", "a\nb"] {
            assert_eq!(regions.assignable_label(taken), None, "{taken}");
        }
    }

    #[test]
    fn a_country_and_a_region_can_contradict_each_other() {
        let regions = named(&[("JP", "APAC")]);
        for (country, label) in [("US", EEA), ("DE", "US"), ("DE", "EMEA"), ("JP", "JP"), ("JP", "AMER")] {
            assert!(regions.contradict(country, label), "{country} {label}");
        }
        for (country, label) in [("DE", EEA), ("US", "AMER"), ("JP", "APAC"), ("GB", "EMEA"), ("US", "US")] {
            assert!(!regions.contradict(country, label), "{country} {label}");
        }
    }

    #[test]
    fn unreadable_countries_and_regions_have_hints() {
        let regions = named(&[("CH", "Alps")]);
        for (text, hint) in [
            ("Europe", "`EEA`"),
            ("E.U.", "`EEA`"),
            ("UK", "`GB`"),
            ("APAK", "`APAC`"),
            ("Alp", "`Alps`"),
            ("Mars", "ISO 3166-1"),
        ] {
            assert!(regions.hint(text).contains(hint), "{text}: {}", regions.hint(text));
        }
        assert!(country_hint("uk").contains("`GB`") && country_hint("Europe").contains("EEA"));
    }
}
