//! Countries, regions and dates in the configuration, in records and in facts about a subject.

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};
use purposegate::config;

use crate::gateway::pack;
use crate::program::run_with_input;

const REST: &str = r#"
[listener]
address = "127.0.0.1:0"
[[upstream]]
name = "api"
url = "http://127.0.0.1:9"
[[recipient]]
name = "desk"
kind = "employee"
country = "DE"
purposes = ["customer-support"]
[[recipient]]
name = "partner"
kind = "marketing-partner"
country = "US"
purposes = ["direct-marketing"]
agreement = { reference = "x" }
[[route]]
name = "r"
upstream = "api"
path = "/r"
record = "$[*]"
subject = "@.id"
[route.fields]
"@.id" = "non-personal"
"@.name" = "name"
[route.facts]
country = "@.country"
region = "@.region"
birth-date = "@.dob"
"#;

fn configuration(top: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let policy = pack("one-partner-360").display().to_string();
    std::fs::write(folder.path().join("purposegate.toml"), format!("policy = {policy:?}\n{top}\n{REST}"))
        .unwrap();
    folder
}

/// The codes of findings about places.
const PLACES: [&str; 5] =
    ["unknown-country", "unknown-region", "bad-region", "region-contradicts-country", "exporter-in-eea"];

/// Loads a configuration; returns true if it loads, and its findings about places.
fn check(top: &str) -> (bool, Vec<String>) {
    let folder = configuration(top);
    let (config, findings) = config::load(&folder.path().join("purposegate.toml"));
    let places = findings.iter().filter(|finding| PLACES.contains(&finding.code()));
    (config.is_some(), places.map(ToString::to_string).collect())
}

/// Returns the ids of the records whose name leaves.
fn named(top: &str, recipient: &str, purpose: &str, person: &str, records: &[(&str, String)]) -> Vec<String> {
    let folder = configuration(top);
    let body: Vec<serde_json::Value> = records
        .iter()
        .map(|(id, facts)| {
            let mut record: serde_json::Value = serde_json::from_str(facts).unwrap();
            record["id"] = (*id).into();
            record["name"] = "Ada Example".into();
            record
        })
        .collect();
    let file = folder.path().join("purposegate.toml");
    let question = ["scrub", "--route", "r", "--recipient", recipient, "--purpose", purpose];
    let facts = ["--subject-json", person, "--config", file.to_str().unwrap()];
    let body = serde_json::to_string(&body).unwrap();
    let (status, out, words) = run_with_input([question.as_slice(), &facts].concat(), &body);
    assert_eq!(status, 0, "{words}");
    let records: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    let named = records.iter().filter(|record| record.get("name").is_some());
    named.map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn unknown_countries_and_regions_of_a_recipient_are_errors() {
    let recipient = |place: &str| {
        check(&format!(
            "[[recipient]]\nname = \"x\"\nkind = \"employee\"\npurposes = [\"customer-support\"]\n{place}\n"
        ))
    };
    for sound in [
        "country = \"de \"",
        "country = \"RE\"",
        "country = \"SJ\"",
        "region = \"EU\"",
        "region = \"apac\"",
        "country = \"DE\"\nregion = \"EEA\"",
        "country = \"US\"\nregion = \"AMER\"",
    ] {
        assert_eq!(recipient(sound), (true, Vec::new()), "{sound}");
    }
    for (wrong, words) in [
        ("country = \"Germany\"", "`Germany` is no country"),
        ("country = \"DEU\"", "`DEU` is no country"),
        ("country = \"UK\"", "`UK` is no country"),
        ("country = \"EU\"", "`EU` is no country"),
        ("country = \"XX\"", "`XX` is no country"),
        ("country = \"\"", "`` is no country"),
        ("region = \"Europe\"", "`Europe` is no region"),
        ("region = \"ZZ\"", "`ZZ` is no region"),
        ("country = \"US\"\nregion = \"EEA\"", "`US` does not lie in the region `EEA`"),
        ("country = \"DE\"\nregion = \"US\"", "`DE` does not lie in the region `US`"),
    ] {
        assert_eq!(recipient(wrong), (false, vec![words.to_owned()]), "{wrong}");
    }
}

#[test]
fn an_unknown_exporter_region_is_an_error() {
    let exporter = |region: &str| check(&format!("[deployment]\nexporter-region = {region:?}\n"));
    for region in ["EEA", "US", "APAC", "EMEA"] {
        assert_eq!(exporter(region), (true, Vec::new()), "{region}");
    }
    for region in ["DE", "EU", "eea", "NO"] {
        assert_eq!(exporter(region), (true, vec![format!("`{region}` counts as `EEA`")]));
    }
    for region in ["Europe", "UK", "Germany", "XX", ""] {
        assert_eq!(exporter(region), (false, vec![format!("`{region}` is no region")]));
    }
}

const GIVEN: &str = r#"{"region":"US","consents":{"direct-marketing":"given"}}"#;

#[test]
fn an_eea_country_as_exporter_region_counts_as_eea() {
    let american = [("1", r#"{"region":"US"}"#.to_owned())];
    for (region, leaves) in [("DE", false), ("EU", false), ("EMEA", false), ("US", true), ("APAC", true)] {
        let top = format!("[deployment]\nexporter-region = {region:?}\n");
        assert_eq!(
            !named(&top, "partner", "direct-marketing", GIVEN, &american).is_empty(),
            leaves,
            "{region}"
        );
    }
}

#[test]
fn a_record_with_any_eea_or_unreadable_place_counts_as_eea() {
    let words = ["EEA", "eea", "EU", "Europe", "EEA ", "de", "EMEA", "UK", "XX", "", "Mars", "AX"];
    let by = |member: &str, word: &str| format!("{{{member:?}:{word:?}}}");
    let inside = words.iter().flat_map(|word| [("in", by("region", word)), ("in", by("country", word))]);
    let outside = [
        ("out", by("region", "US")),
        ("out", by("region", " us")),
        ("out", by("region", "APAC")),
        ("out", by("country", "gb")),
        ("out", by("country", "SJ")),
        ("out", "{\"region\":null,\"country\":null}".to_owned()),
    ];
    let count = outside.len();
    let contradicted =
        [("in", r#"{"region":"US","country":"DE"}"#), ("in", r#"{"region":"US","country":"Germany"}"#)];
    let contradicted = contradicted.map(|(id, facts)| (id, facts.to_owned()));
    let records: Vec<(&str, String)> = inside.chain(contradicted).chain(outside).collect();
    let top = "[deployment]\nexporter-region = \"US\"\n";
    let left = named(top, "partner", "direct-marketing", GIVEN, &records);
    assert_eq!(left, vec!["out"; count]);
}

#[test]
fn a_person_in_an_unreadable_place_counts_as_eea() {
    let top = "[deployment]\nexporter-region = \"US\"\n";
    let record = [("1", "{}".to_owned())];
    for (place, leaves) in [
        (r#""region":"US""#, true),
        (r#""country":"us""#, true),
        (r#""region":"eea""#, false),
        (r#""region":"Europe""#, false),
        (r#""country":"Germany""#, false),
        (r#""country":"ZZ""#, false),
        (r#""region":"US","country":"DE""#, false),
    ] {
        let person = format!(r#"{{{place},"consents":{{"direct-marketing":"given"}}}}"#);
        assert_eq!(
            !named(top, "partner", "direct-marketing", &person, &record).is_empty(),
            leaves,
            "{place}"
        );
    }
}

#[test]
fn a_partial_birth_date_counts_as_its_latest_day() {
    let born = |date: &str| format!("{{\"dob\":{date:?}}}");
    // The date 18 years ago in the westernmost time zone.
    let today = Timestamp::now().to_zoned(TimeZone::fixed(Offset::constant(-12))).date();
    let adult = today.checked_sub(18.years()).unwrap();
    let records = [
        ("0", born("1985-04-12")),
        ("1", born("1985-04-12T00:00:00")),
        ("2", born("1985-04-12T00:00:00.0000000")),
        ("3", born("1985-04-12 00:00:00")),
        ("4", born("1985-04")),
        ("5", born("1985")),
        ("6", born(&adult.to_string())),
        ("7", born(&format!("{adult}T00:00:00.000Z"))),
        ("never-set", born("0001-01-01T00:00:00")),
        ("never-set", born("1900-01-01")),
        ("never-set", born("9999-12-31")),
        ("next-day", born(&format!("{adult}T23:00:00.000Z"))),
        ("microsoft", born("/Date(482112000000)/")),
        ("year", born(&(adult.year() + 1).to_string())),
        ("number", "{\"dob\":482112000000}".to_owned()),
    ];
    let left = named("", "desk", "customer-support", "{}", &records);
    assert_eq!(left, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}
