//! `docs/disclosure-log.cddl` states what the code does.

use std::collections::BTreeMap;

use crate::disclosure::entry::*;

/// A member of a rule: required or not, and the beginning of its comment.
type Members = BTreeMap<u64, (bool, String)>;

/// Reads the rules whose members have numbers as keys.
fn rules(text: &str) -> BTreeMap<String, Members> {
    let mut rules: BTreeMap<String, Members> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(" = {") {
            current = name.to_owned();
            rules.entry(name.to_owned()).or_default();
        } else if let Some((key, rest)) = line.split_once(" => ") {
            let (is_optional, key) = match key.trim().strip_prefix("? ") {
                Some(key) => (true, key),
                None => (false, key.trim()),
            };
            let comment = rest.split_once(';').unwrap_or_else(|| panic!("no name: {line}")).1.trim();
            let word = comment.split([' ', ':', ';', ',']).next().unwrap().to_owned();
            let (key, members) = (key.parse().unwrap(), rules.get_mut(&current).unwrap());
            assert!(members.last_key_value().is_none_or(|(last, _)| *last < key), "{current}: order of keys");
            members.insert(key, (!is_optional, word));
        }
    }
    rules
}

#[test]
fn the_schema_lists_every_kind_and_member() {
    let text = std::fs::read_to_string("docs/disclosure-log.cddl").unwrap();
    let rules = rules(&text);
    for kind in EntryKind::ALL {
        let schema = kind.schema();
        let (name, number) = (kind.name(), kind.number());
        assert!(text.contains(&format!("\n{name} = {{\n  0 => {number} ")), "{name}");
        let set = |allowed: u64, required: u64, names: &dyn Fn(u64) -> String| -> Members {
            let keys = (0..64).filter(|key| allowed & (1 << key) != 0);
            keys.map(|key| (key, (required & (1 << key) != 0, names(key)))).collect()
        };
        let head = set(schema.head_allowed, schema.head_required, &|key| {
            HeadKey::from_number(key).unwrap().name().to_owned()
        });
        assert_eq!(rules[name], head, "{name}");
        let detail = set(schema.detail_allowed, schema.detail_required, &|key| {
            DetailKey::from_number(key).unwrap().name().to_owned()
        });
        assert_eq!(rules[&format!("{name}-detail")], detail, "{name}-detail");
    }
    assert_eq!(rules.len(), EntryKind::ALL.len() * 2, "no rule is left over");
    for table in NameTable::ALL {
        assert!(text.contains(&format!("{}: {}", table.name(), table.number())));
    }
}
