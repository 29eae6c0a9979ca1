//! Countries and the regions they lie in.
//!
//! A region is a label; two are the same when their labels are equal. `EEA` is the one that the law
//! knows (GDPR Art. 44: transfers to third countries), and a pack cannot rename it.

use std::collections::HashMap;
use std::sync::Arc;

/// The region of the European Economic Area.
pub const EEA: &str = "EEA";

/// The member states of the European Union, and Iceland, Liechtenstein and Norway. `EL` is the
/// Union's own code for Greece.
const EEA_COUNTRIES: [&str; 31] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "EL", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS",
    "IT", "LI", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// Which region a country lies in.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    named: HashMap<String, Arc<str>>,
}

impl Regions {
    /// Gives a country outside the EEA a region. `false` where the code is none, or lies in the EEA.
    pub(super) fn name(&mut self, country: &str, region: &str) -> bool {
        let free =
            is_code(country) && !EEA_COUNTRIES.contains(&country) && !region.is_empty() && region != EEA;
        if free {
            self.named.insert(country.to_owned(), Arc::from(region));
        }
        free
    }

    /// The region of a country: `EEA`, what the pack names it, else the code itself.
    ///
    /// `None` where the text is no code of two letters: then the country is not known.
    pub fn of(&self, country: &str) -> Option<Arc<str>> {
        let code = country.trim().to_ascii_uppercase();
        if !is_code(&code) {
            return None;
        }
        if EEA_COUNTRIES.contains(&code.as_str()) {
            return Some(Arc::from(EEA));
        }
        Some(self.named.get(&code).cloned().unwrap_or_else(|| Arc::from(code)))
    }
}

fn is_code(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_follows_the_country() {
        let mut regions = Regions::default();
        assert!(regions.name("JP", "APAC"));
        assert!(!regions.name("DE", "APAC") && !regions.name("XX", EEA) && !regions.name("Japan", "APAC"));
        for (country, region) in [
            ("DE", Some("EEA")),
            ("no", Some("EEA")),
            ("CH", Some("CH")),
            ("JP", Some("APAC")),
            ("Germany", None),
            ("", None),
        ] {
            assert_eq!(regions.of(country).as_deref(), region, "{country}");
        }
    }
}
