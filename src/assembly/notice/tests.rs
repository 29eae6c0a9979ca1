use super::*;
use crate::finding::Source;

const HOSTING: &str = r#"@id("hosting") @clause("C") @basis("contract") permit (principal in
    Kind::"hosting-provider", action == Action::"hosting", resource in Category::"contact");"#;
/// Does more than [`HOSTING`] alone.
const MAPS: &str = r#"@id("maps") @clause("C") @basis("contract") permit (principal in
    Kind::"mapping-provider", action == Action::"mapping", resource == Category::"location");"#;
/// Does more still.
const MAIL: &str = r#"@id("mail") @clause("C") @basis("contract") permit (principal in
    Kind::"email-provider", action == Action::"service-communication", resource == Category::"email");"#;

/// The texts of a version that was announced long ago, by its own account.
fn texts(title: &str, effective: &str, rules: &[&str]) -> [Source; 2] {
    let manifest = format!(
        "title = \"{title}\"\nversion = \"{effective}\"\nannounced = 2025-01-06\neffective = {effective}\n\
         contact = \"c\"\nnotice-business-days = 30\n[bases]\ncontract = \"c\"\n[[clauses]]\nid = \"C\"\ntitle = \"t\"\n\
         kept = \"by-rules\"\n"
    );
    [Source::new("pack.toml", manifest), Source::new("rules.cedar", rules.join("\n"))]
}

fn titled(title: &str, effective: &str, rules: &[&str]) -> Arc<Pack> {
    Arc::new(Pack::load(&texts(title, effective, rules)).unwrap())
}

fn version(effective: &str, rules: &[&str]) -> Arc<Pack> {
    titled("T", effective, rules)
}

/// A ledger's memory over several starts of gateways.
#[derive(Clone, Default)]
struct Remembered(PolicyMemory);

impl Remembered {
    /// A gateway starts, or reloads, on a day with these packs.
    fn load_all(&mut self, day: &str, places: &[(&str, &[Arc<Pack>])]) -> Result<(), String> {
        let now = format!("{day}T09:00:00Z").parse().unwrap();
        let places =
            ConfiguredPlaces(places.iter().map(|(place, pack)| ((*place).to_owned(), *pack)).collect());
        let NoticeResult { findings, memory } = examine(&self.0, &places, now);
        for (digest, seen) in &memory.first_seen {
            self.0.first_seen.entry(*digest).or_insert(*seen);
        }
        if !findings.is_empty() {
            return Err(NoticeError::Unannounced(findings).to_string());
        }
        self.0.texts.extend(memory.texts);
        self.0.places.extend(memory.places);
        Ok(())
    }

    fn load(&mut self, day: &str, versions: &[Arc<Pack>]) -> Result<(), String> {
        self.load_all(day, &[(DEFAULT, versions)])
    }
}

/// After a start on 2026-01-05, a Monday.
fn started() -> Remembered {
    let mut remembered = Remembered::default();
    remembered.load("2026-01-05", &[version("2025-02-03", &[HOSTING])]).unwrap();
    remembered
}

#[test]
fn an_edit_where_the_pack_lies_is_no_way_round_the_notice_and_nor_is_another_folder() {
    let mut remembered = started();
    let edited = [version("2025-02-03", &[HOSTING, MAPS])];
    let why = remembered.load("2026-03-02", &edited).unwrap_err();
    assert!(
        why.starts_with("change-not-announced: version 2025-02-03 releases what version 2025-02-03 does not"),
        "{why}"
    );
    // Nor waiting: it never came after what is in force.
    assert!(remembered.load("2027-03-02", &edited).is_err());
    // A later version that claims to have been announced in time, seen on this very day.
    let backdated = [version("2026-03-02", &[HOSTING, MAPS])];
    let why = remembered.load("2026-03-02", &backdated).unwrap_err();
    assert!(why.contains("was known to this gateway 0 business days ahead"), "{why}");
    // It was seen, though refused: 2026-04-13 is thirty business days later.
    assert!(remembered.load("2026-04-10", &backdated).is_err());
    remembered.load("2026-04-13", &backdated).unwrap();
    remembered.load("2026-04-14", &backdated).unwrap();
}

#[test]
fn what_discloses_less_takes_effect_at_once_and_the_way_back_needs_notice() {
    let mut remembered = Remembered::default();
    let wide = [version("2025-02-03", &[HOSTING, MAPS])];
    remembered.load("2026-01-05", &wide).unwrap();
    remembered.load("2026-01-06", &[version("2025-02-03", &[HOSTING])]).unwrap();
    assert!(remembered.load("2026-01-07", &wide).is_err());
    let again = [version("2025-02-03", &[HOSTING]), version("2026-02-18", &[HOSTING, MAPS])];
    remembered.load("2026-01-07", &again).unwrap();
}

#[test]
fn a_waiting_version_is_known_since_it_was_seen_and_takes_over_without_a_start() {
    let [first, soon, in_time] = [
        version("2025-02-03", &[HOSTING]),
        version("2026-02-13", &[HOSTING, MAPS]),
        version("2026-02-16", &[HOSTING, MAPS]),
    ];
    let mut remembered = started();
    let why = remembered.load("2026-01-05", &[Arc::clone(&first), soon]).unwrap_err();
    assert!(why.contains("29 business days ahead"), "{why}");
    let both = [first, in_time];
    remembered.load("2026-01-05", &both).unwrap();
    // While nobody looked the second came into force; then it is what counts, also where its files change.
    let mut later = remembered.clone();
    later.load("2026-02-16", &both).unwrap();
    assert!(remembered.load("2026-02-17", &[version("2026-02-16", &[HOSTING, MAIL])]).is_err());
    remembered.load("2026-02-17", &[version("2026-02-16", &[HOSTING])]).unwrap();
    assert!(remembered.load("2026-02-18", &both).is_err());
}

#[test]
fn a_first_version_has_no_waiting_time() {
    let mut remembered = Remembered::default();
    remembered.load("2026-01-05", &[version("2026-01-05", &[HOSTING, MAPS, MAIL])]).unwrap();
}

#[test]
fn a_correction_of_a_waiting_version_is_known_as_long_as_that_one() {
    let first = version("2025-02-03", &[HOSTING]);
    let with = |effective: &str, rules: &[&str]| [Arc::clone(&first), version(effective, rules)];
    let mut remembered = started();
    remembered.load("2026-01-05", &with("2026-02-16", &[HOSTING, MAPS])).unwrap();
    let mut corrected = remembered.clone();
    corrected.load("2026-02-02", &with("2026-02-16", &[HOSTING, "// What maps are for.\n", MAPS])).unwrap();
    corrected.load("2026-02-03", &with("2026-02-23", &[HOSTING, MAPS])).unwrap();
    assert!(corrected.load("2026-02-04", &with("2026-02-18", &[HOSTING, MAPS])).is_err(), "sooner again");
    assert!(remembered.load("2026-02-02", &with("2026-02-16", &[HOSTING, MAPS, MAIL])).is_err(), "more");
}

#[test]
fn another_name_of_a_route_is_no_way_round_the_notice() {
    let [pack, wider] = [&[HOSTING][..], &[HOSTING, MAPS]].map(|rules| [version("2025-02-03", rules)]);
    let other = [titled("U", "2025-02-03", &[HOSTING, MAIL])];
    let mut remembered = Remembered::default();
    remembered.load_all("2026-01-05", &[(DEFAULT, &other), ("route crm", &pack)]).unwrap();
    let renamed = remembered.load_all("2026-01-06", &[(DEFAULT, &other), ("route sales", &wider)]);
    assert!(renamed.unwrap_err().contains("releases what version"));
    remembered.load_all("2026-01-06", &[(DEFAULT, &other), ("route sales", &pack)]).unwrap();
    // A route that was away is remembered, and one that gets another pack is compared with what it had.
    assert!(remembered.load_all("2026-01-07", &[(DEFAULT, &other), ("route crm", &wider)]).is_err());
    assert!(remembered.load_all("2026-01-07", &[(DEFAULT, &other), ("route crm", &other)]).is_err());
    // Another document is a first version where there was none.
    let foreign = [titled("V", "2025-02-03", &[HOSTING, MAPS])];
    remembered.load_all("2026-01-07", &[(DEFAULT, &other), ("route new", &foreign)]).unwrap();
}

#[test]
fn neither_a_clock_that_jumps_back_nor_an_older_ledger_discloses_more() {
    let [narrow, wide] = [&[HOSTING][..], &[HOSTING, MAPS]];
    // The second version withholds what the first released.
    let both = [version("2025-02-03", wide), version("2026-02-16", narrow)];
    let mut remembered = Remembered::default();
    remembered.load("2026-02-17", &both).unwrap();
    assert!(remembered.load("2026-02-10", &both).is_err(), "the first is in force again by the clock");
    let mut seen_late = started();
    let backup = seen_late.clone();
    let next = [version("2026-04-01", wide)];
    assert!(seen_late.load("2026-05-04", &next).is_err());
    assert!(seen_late.load("2026-03-02", &next).is_err(), "its first sight is to come");
    seen_late.load("2026-06-15", &next).unwrap();
    // The backup knows neither that it was seen nor that it is in force.
    assert!(backup.clone().load("2026-06-16", &next).is_err());
}

#[test]
fn what_cannot_be_read_again_cannot_be_followed() {
    let mut remembered = started();
    remembered.0.texts.values_mut().for_each(|texts| *texts = texts.replace("hosting-provider", "host"));
    remembered.load("2026-03-02", &[version("2025-02-03", &[HOSTING])]).unwrap();
    remembered.0.texts.values_mut().for_each(|texts| *texts = texts.replace("hosting-provider", "host"));
    let why = remembered.load("2026-03-03", &[version("2025-02-03", &[HOSTING, "// Another text."])]);
    assert!(why.unwrap_err().starts_with("policy-not-comparable"));
    // It may disclose more, so that it waits like one that does.
    remembered.load("2026-04-14", &[version("2025-02-03", &[HOSTING, "// Another text."])]).unwrap();
}

#[test]
fn a_clock_that_was_put_back_shortens_no_waiting_time() {
    let [base, soon] = [version("2025-02-03", &[HOSTING]), version("2026-11-27", &[HOSTING, MAPS])];
    let both = [Arc::clone(&base), soon];
    let mut remembered = Remembered::default();
    remembered.load("2026-11-02", &[Arc::clone(&base)]).unwrap();
    // It would come into force as soon as the clock is right, in the gateway that runs too.
    let why = remembered.load("2026-01-06", &both).unwrap_err();
    assert!(why.starts_with("change-not-announced") && why.contains("the clock says 2026-01-06"), "{why}");
    assert!(why.contains("used at 2026-11-02"), "{why}");
    let why = remembered.load("2026-11-28", &both).unwrap_err();
    assert!(why.contains("known to this gateway 20 business days ahead") && !why.contains("clock"), "{why}");
    // Meanwhile the version in force starts, and so does a version that waits long enough by clock and ledger.
    remembered.load("2026-01-06", &[Arc::clone(&base)]).unwrap();
    remembered.load("2026-01-06", &[base, version("2026-12-14", &[HOSTING, MAPS])]).unwrap();
}

#[test]
fn a_clock_that_was_put_forward_once_neither_brings_a_version_nor_keeps_one() {
    let base = version("2025-02-03", &[HOSTING]);
    let with = |effective: &str, rules: &[&str]| [Arc::clone(&base), version(effective, rules)];
    let both = with("2027-03-01", &[HOSTING, MAPS]);
    let mut remembered = Remembered::default();
    remembered.load("2026-11-02", &both).unwrap();
    remembered.load("2027-03-02", &both).unwrap();
    remembered.load("2027-03-03", &both).unwrap();
    let edited = with("2026-11-03", &[HOSTING, MAPS]);
    let why = remembered.load("2026-11-03", &edited).unwrap_err();
    assert!(why.contains("the clock says 2026-11-03"), "{why}");
    // The version in force starts, alone and with the waiting one; so does one that waits long enough by either.
    for versions in [&both[..1], &both, &with("2027-04-19", &[HOSTING, MAIL])] {
        let mut again = remembered.clone();
        again.load("2026-11-03", versions).unwrap();
        again.load("2026-11-04", versions).unwrap();
        assert!(again.load("2026-11-05", &edited).is_err());
        again.load("2027-04-20", versions).unwrap();
    }
    let why = remembered.load("2026-11-03", &with("2027-02-01", &[HOSTING, MAIL])).unwrap_err();
    assert!(why.contains("the ledger was used at 2027-03-03"), "{why}");
}

#[test]
fn a_version_that_does_less_and_should_be_in_force_by_the_ledger_is_put_in_force_at_once() {
    let base = version("2025-02-03", &[HOSTING, MAPS]);
    let mut remembered = Remembered::default();
    remembered.load("2027-03-02", &[Arc::clone(&base)]).unwrap();
    let why = remembered.load("2026-11-03", &[Arc::clone(&base), version("2026-12-15", &[HOSTING])]);
    assert!(why.unwrap_err().contains("the clock says 2026-11-03"));
    remembered.load("2026-11-03", &[Arc::clone(&base), version("2026-11-03", &[HOSTING])]).unwrap();
    assert!(remembered.load("2026-12-16", &[base]).is_err());
}
