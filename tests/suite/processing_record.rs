//! The record of processing activities (GDPR Art. 30) of both packs agrees with their rules.

use std::path::Path;

use purposegate::config::pack::read_pack;
use purposegate::vocabulary::{Basis, KindId, TermId, Tree};

/// True if the rule applies to a term within this one.
fn reaches<I: TermId>(tree: &Tree<I>, outer: I, of_rule: impl Fn(I) -> bool) -> bool {
    tree.ids().filter(|&id| tree.within(id, outer)).any(of_rule)
}

/// Each line of the record has permits of its basis, and each permit is in a line.
#[test]
fn the_record_of_processing_agrees_with_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for name in ["one-partner-360", "perspectium"] {
        let pack = read_pack(&root.join(name)).unwrap();
        let words = pack.vocabulary();
        let (purposes, categories) = (words.purposes(), words.categories());
        let kinds = |recipient: &str| -> Vec<KindId> {
            let group = words.kind_groups().iter().find(|group| group.name == recipient);
            let kind = || words.kinds().find(recipient).into_iter().collect();
            group.map_or_else(kind, |group| group.members.clone())
        };
        let permits = || pack.rulebook().rules().iter().filter(|rule| rule.is_permit());
        for activity in &pack.manifest().processing {
            let purpose = purposes.find(&activity.purpose).unwrap();
            for recipient in &activity.recipients {
                for category in &activity.categories {
                    let category_id = categories.find(category).unwrap();
                    let rests = permits().any(|rule| {
                        rule.basis == Some(activity.basis)
                            && kinds(recipient).into_iter().any(rule.kinds())
                            && reaches(purposes, purpose, rule.purposes())
                            && reaches(categories, category_id, rule.categories())
                    });
                    assert!(rests, "{name}: {} of {category} to {recipient}", activity.purpose);
                }
            }
        }
        for rule in permits().filter(|rule| rule.basis != Some(Basis::NotPersonal)) {
            let recorded = pack.manifest().processing.iter().any(|activity| {
                let purpose = purposes.find(&activity.purpose).unwrap();
                rule.basis == Some(activity.basis)
                    && activity.recipients.iter().flat_map(|name| kinds(name)).any(rule.kinds())
                    && reaches(purposes, purpose, rule.purposes())
            });
            assert!(recorded, "{name}: {} is in no line of the record", rule.id);
        }
    }
}
