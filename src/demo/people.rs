//! Ten thousand invented people. Each is computed from a number, so the population is the same in every run.
//!
//! Names are combined from lists, domains are `example.*` (RFC 2606), phone numbers come from the ranges that
//! regulators reserve for fiction, IP addresses from the blocks for documentation (RFC 5737). A few numbers have a name
//! of their own and a part in the scenes. HTTP and consents are not the subject of this module.

use std::borrow::Cow;

/// Number of people in the sample directory.
pub(super) const POPULATION: u32 = 10_000;

/// Numbers of the people who have a part in the scenes.
pub(super) mod cast {
    /// Consented to marketing.
    pub(in crate::demo) const CONSENTING: u32 = 1;
    /// Is known, and was never asked for consent.
    pub(in crate::demo) const NEVER_ASKED: u32 = 2;
    /// Gave consent and withdrew it.
    pub(in crate::demo) const WITHDRAWN: u32 = 3;
    /// Had the data erased.
    pub(in crate::demo) const ERASED: u32 = 4;
    /// The data are restricted while an objection is examined.
    pub(in crate::demo) const RESTRICTED: u32 = 5;
    /// Is a minor.
    pub(in crate::demo) const MINOR: u32 = 6;
    /// Objected to marketing.
    pub(in crate::demo) const OBJECTING: u32 = 7;
    /// Downloaded a product that a reselling partner may follow up.
    pub(in crate::demo) const DOWNLOADER: u32 = 8;
    /// Like the downloader, but opted out of that partner.
    pub(in crate::demo) const OPTED_OUT: u32 = 9;
    /// Like the downloader, but lives in another region than that partner.
    pub(in crate::demo) const OVERSEAS: u32 = 10;
    /// Registered the sample domain.
    pub(in crate::demo) const REGISTRANT: u32 = 11;
    /// Is not in the ledger.
    pub(in crate::demo) const UNKNOWN: u32 = 12;
    /// Refuses the use of the phone number.
    pub(in crate::demo) const NO_PHONE: u32 = 13;
    /// Withdraws the consent between two requests.
    pub(in crate::demo) const CHANGING: u32 = 14;
    /// Is near the end of the list, and withdraws the consent while the list is being read.
    pub(in crate::demo) const LEAVING: u32 = 9_990;
    /// Is next in the list, and does not withdraw.
    pub(in crate::demo) const STAYING: u32 = 9_991;

    pub(super) const NAMES: &[(u32, &str, &str)] = &[
        (CONSENTING, "Marta", "Lindqvale"),
        (NEVER_ASKED, "Jonas", "Okaforsen"),
        (WITHDRAWN, "Priya", "Ramanthal"),
        (ERASED, "Tomasz", "Wierzbolt"),
        (RESTRICTED, "Ines", "Carvalhade"),
        (MINOR, "Lou", "Petitjardin"),
        (OBJECTING, "Henrik", "Aaldersund"),
        (DOWNLOADER, "Chiara", "Montefalden"),
        (OPTED_OUT, "Ruben", "Vanderheem"),
        (OVERSEAS, "Dolores", "Whitcastle"),
        (REGISTRANT, "Oskar", "Brandtner"),
        (UNKNOWN, "Noor", "Haddadine"),
        (NO_PHONE, "Femke", "Oosterwold"),
        (CHANGING, "Mirela", "Stanculet"),
        (LEAVING, "Sunniva", "Ravnsborgtveit"),
        (STAYING, "Aurelio", "Quintabrava"),
    ];
}

struct Locality {
    country: &'static str,
    city: &'static str,
    street: &'static str,
    postal: &'static str,
    language: &'static str,
    zone: &'static str,
    /// Prefix of the range that the regulator reserves for fiction; the last digits are appended.
    phone: &'static str,
    phone_digits: usize,
}

#[rustfmt::skip]
const LOCALITIES: &[Locality] = &[
    Locality { country: "DE", city: "Musterstadt", street: "Lindenweg", postal: "00117", language: "de", zone: "Europe/Berlin", phone: "+49 30 23125 ", phone_digits: 3 },
    Locality { country: "FR", city: "Valmonteil", street: "rue des Tilleuls", postal: "00230", language: "fr", zone: "Europe/Paris", phone: "+33 1 99 00 ", phone_digits: 4 },
    Locality { country: "SE", city: "Granholm", street: "Björkgatan", postal: "000 41", language: "sv", zone: "Europe/Stockholm", phone: "+46 8 465 004 ", phone_digits: 2 },
    Locality { country: "NL", city: "Oudewaterdam", street: "Molenpad", postal: "0012 AB", language: "nl", zone: "Europe/Amsterdam", phone: "+31 20 555 0", phone_digits: 3 },
    Locality { country: "IE", city: "Ballynavoe", street: "Harbour Row", postal: "Z00 X0X0", language: "en", zone: "Europe/Dublin", phone: "+353 20 915 0", phone_digits: 3 },
    Locality { country: "US", city: "Springvale", street: "Elm Street", postal: "00501", language: "en", zone: "America/New_York", phone: "+1 202 555 01", phone_digits: 2 },
    Locality { country: "GB", city: "Little Harrow", street: "Mill Lane", postal: "ZZ1 1ZZ", language: "en", zone: "Europe/London", phone: "+44 20 7946 0", phone_digits: 3 },
];

#[rustfmt::skip]
const GIVEN: &[&str] = &[
    "Ada", "Bruno", "Clara", "Daan", "Elif", "Farid", "Greta", "Hugo", "Ida", "Jari", "Kemal", "Lina", "Milo", "Nadia", "Otto", "Paula",
    "Quentin", "Rosa", "Sami", "Thea", "Ugo", "Vera", "Wim", "Xenia", "Yusuf", "Zoë", "Amélie", "Björn", "Chloé", "Dagný", "Émile", "Fleur",
];

#[rustfmt::skip]
const FAMILY: &[&str] = &[
    "Abendrot", "Birkeland", "Castellan", "Dornbach", "Eikelboom", "Fontaval", "Greifeld", "Hollander", "Ilmarinen", "Jungmark", "Kestrel", "Lorimer",
    "Marchetti", "Nordahl", "O'Rourke", "Pellerin", "Quast", "Rosendal", "Silvestre", "Tannhof", "Uhlmann", "Valdemar", "Westerly", "Ximenes",
    "Ystad", "Zanderling", "Müllrose", "Ångstad", "Çelikan", "Dvořánek",
];

const COMPANIES: &[&str] = &[
    "Example Bakery",
    "Example Freight",
    "Sample Studios",
    "Placeholder Partners",
    "Specimen Labs",
    "Example Law",
];

const JOBS: &[&str] = &["accountant", "carpenter", "designer", "engineer", "florist", "translator"];

/// One invented person.
#[derive(Clone, Debug)]
pub(super) struct SamplePerson {
    number: u32,
    given: &'static str,
    family: &'static str,
    place: &'static Locality,
    /// Uniformly distributed bits, from which all other attributes are chosen.
    bits: u64,
}

impl std::fmt::Debug for Locality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.city)
    }
}

/// Returns the subject id of a number: `c-00001`.
pub(super) fn id(number: u32) -> String {
    format!("c-{number:05}")
}

/// Returns the number of a subject id, if a person of the population has it.
pub(super) fn number(id: &str) -> Option<u32> {
    let digits = id.strip_prefix("c-").filter(|digits| digits.len() == 5)?;
    digits.parse().ok().filter(|number| (1..=POPULATION).contains(number))
}

/// Hashes a number with SplitMix64 (Steele, Lea, Flood 2014), which is uniform enough and reproducible.
pub(super) fn scatter(number: u32) -> u64 {
    let mut z = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn pick<T>(list: &'static [T], first: &'static T, bits: u64) -> &'static T {
    let at = usize::try_from(bits % list.len().max(1) as u64).unwrap_or(0);
    list.get(at).unwrap_or(first)
}

/// Returns the person with this number.
pub(super) fn person(number: u32) -> SamplePerson {
    let bits = scatter(number);
    let (given, family) = match cast::NAMES.iter().find(|(cast, _, _)| *cast == number) {
        Some((_, given, family)) => (*given, *family),
        None => (*pick(GIVEN, &"Ada", bits), *pick(FAMILY, &"Kestrel", bits >> 8)),
    };
    static HOME: Locality = Locality {
        country: "DE",
        city: "Musterstadt",
        street: "Ahornallee",
        postal: "00117",
        language: "de",
        zone: "Europe/Berlin",
        phone: "+49 30 23125 ",
        phone_digits: 3,
    };
    static ABROAD: Locality = Locality {
        country: "US",
        city: "Springvale",
        street: "Walnut Avenue",
        postal: "00501",
        language: "en",
        zone: "America/New_York",
        phone: "+1 202 555 01",
        phone_digits: 2,
    };
    let place = match number {
        cast::OVERSEAS => &ABROAD,
        cast::DOWNLOADER | cast::OPTED_OUT => &HOME,
        _ => pick(LOCALITIES, &HOME, bits >> 16),
    };
    SamplePerson { number, given, family, place, bits }
}

impl SamplePerson {
    pub(super) fn id(&self) -> String {
        id(self.number)
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.given, self.family)
    }

    pub(super) fn family(&self) -> &'static str {
        self.family
    }

    pub(super) fn country(&self) -> &'static str {
        self.place.country
    }

    /// Returns an address that no other person has, since it contains the number.
    pub(super) fn email(&self) -> String {
        let plain =
            |text: &str| text.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_lowercase();
        format!("{}.{}.{}@example.org", plain(self.given), plain(self.family), self.number)
    }

    pub(super) fn phone(&self) -> String {
        let width = self.place.phone_digits;
        let digits = format!("{:06}", self.number);
        let tail = digits.get(digits.len().saturating_sub(width)..).unwrap_or("00");
        format!("{}{tail}", self.place.phone)
    }

    /// Returns the date of birth: `1984-03-11`.
    pub(super) fn birth_date(&self) -> String {
        let year = match self.number {
            cast::MINOR => 2013,
            _ => 1948 + (self.bits >> 24) % 54,
        };
        format!("{year}-{:02}-{:02}", 1 + (self.bits >> 32) % 12, 1 + (self.bits >> 40) % 28)
    }

    pub(super) fn street(&self) -> String {
        format!("{} {}", self.place.street, 1 + self.number % 180)
    }

    pub(super) fn username(&self) -> String {
        format!(
            "{}{}",
            self.family.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_lowercase(),
            self.number
        )
    }

    /// Returns an address of 198.51.100.0/24.
    pub(super) fn ip_address(&self) -> String {
        format!("198.51.100.{}", 1 + self.number % 254)
    }

    /// Returns the value of a template's `{{key}}`; `None` for an unknown key.
    pub(super) fn attribute(&self, key: &str) -> Option<Cow<'static, str>> {
        Some(match key {
            "id" => self.id().into(),
            "number" => self.number.to_string().into(),
            "name" => self.name().into(),
            "given" => self.given.into(),
            "family" => self.family.into(),
            "email" => self.email().into(),
            "phone" => self.phone().into(),
            "born" => self.birth_date().into(),
            "street" => self.street().into(),
            "postal" => self.place.postal.into(),
            "city" => self.place.city.into(),
            "country" => self.place.country.into(),
            "language" => self.place.language.into(),
            "zone" => self.place.zone.into(),
            "company" => (*pick(COMPANIES, &"Example Bakery", self.bits >> 12)).into(),
            "job" => (*pick(JOBS, &"engineer", self.bits >> 20)).into(),
            "username" => self.username().into(),
            "ip" => self.ip_address().into(),
            "last4" => format!("{:04}", self.bits % 10_000).into(),
            "sessions" => (self.bits >> 44).rem_euclid(90).to_string().into(),
            "storage" => format!("{}.{:02}", self.bits % 40, (self.bits >> 9) % 100).into(),
            "status" => if self.bits.is_multiple_of(11) { "dormant" } else { "active" }.into(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_population_is_the_same_in_every_run() {
        let again: Vec<_> = (1..=50).map(|n| person(n).email()).collect();
        assert_eq!(again, (1..=50).map(|n| person(n).email()).collect::<Vec<_>>());
        assert_eq!(person(cast::LEAVING).email(), "sunniva.ravnsborgtveit.9990@example.org");
    }

    #[test]
    fn addresses_are_unique_and_so_are_the_family_names_of_the_cast() {
        let mails: HashSet<_> = (1..=POPULATION).map(|n| person(n).email()).collect();
        assert_eq!(mails.len(), POPULATION as usize);
        for (number, _, family) in cast::NAMES {
            let others = (1..=POPULATION).filter(|n| n != number);
            assert!(others.map(person).all(|other| other.family != *family), "{family} stands twice");
        }
    }

    #[test]
    fn ids_and_numbers_convert_both_ways() {
        assert_eq!(number("c-09990"), Some(cast::LEAVING));
        assert_eq!(
            (number("c-0"), number("c-00000"), number("c-10001"), number("e-014")),
            (None, None, None, None)
        );
    }
}
