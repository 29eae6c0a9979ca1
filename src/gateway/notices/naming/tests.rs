//! Tests of the way in which a person's id left, as far as that is certain.

use std::slice;

use jiff::Timestamp;

use super::*;
use crate::disclosure::AccountedCategory;
use crate::scrub::FieldMapping;
use crate::vocabulary::IdReader;

fn person() -> SubjectId {
    IdReader::default().read("42").unwrap()
}

/// A record set with one source of people, and with one field.
fn record(path: &str, subject: &str, field: (&str, &str)) -> RecordMapping {
    let words = Vocabulary::standard();
    let (field, category) = field;
    let categories = vec![words.categories().find(category).unwrap()];
    RecordMapping {
        path: path.to_owned(),
        subjects: vec![SubjectSource { path: subject.to_owned(), ids: IdReader::default(), optional: false }],
        fields: vec![FieldMapping { path: field.to_owned(), categories, embedded: false }],
        ..RecordMapping::default()
    }
}

fn left(category: &str, form: Form) -> AccountedCategory {
    AccountedCategory { category: category.to_owned(), form: form.name().to_owned(), basis: None }
}

fn exchange(categories: &[AccountedCategory], not_personal: &[AccountedCategory]) -> AccountedExchange {
    AccountedExchange {
        time: at(10),
        decision: String::new(),
        recipient: "acme".to_owned(),
        purpose: String::new(),
        case: None,
        categories: categories.iter().cloned().collect(),
        people: 1,
        route: "members".to_owned(),
        withheld: BTreeSet::new(),
        not_personal: not_personal.iter().cloned().collect(),
        position: 1,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn way(records: &[RecordMapping], exchange: &AccountedExchange) -> Option<LeftAs> {
    let words = Vocabulary::standard();
    let mapping = IdMapping { records, releases_unclassified: false, words: &words };
    left_as(mapping, &person(), exchange)
}

const ID: &str = "subject-identifier";

fn pseudonym() -> LeftAs {
    LeftAs::Pseudonym(ID.to_owned())
}

/// A member of an account has left under a pseudonym only, but the id in the path is that of the account's owner.
#[test]
fn an_id_in_the_path_counts_only_if_nobody_else_is_in_the_answer() {
    let owner = record("$.owner", "{account}", ("@.name", "name"));
    let members = record("$.members[*]", "@.id", ("@.id", ID));
    let pseudonymised = exchange(&[left("name", Form::Clear), left(ID, Form::Pseudonymised)], &[]);
    assert_eq!(way(slice::from_ref(&owner), &pseudonymised), Some(LeftAs::Clear));
    assert_eq!(way(slice::from_ref(&members), &pseudonymised), Some(pseudonym()));
    assert_eq!(way(&[owner.clone(), members.clone()], &pseudonymised), None);
    assert_eq!(way(&[members.clone(), owner.clone()], &pseudonymised), None);
    let clear = exchange(&[left(ID, Form::Clear)], &[]);
    assert_eq!(way(&[owner, members], &clear), Some(LeftAs::Clear), "both say the same");
    assert_eq!(way(&[], &clear), None);
}

#[test]
fn an_id_counts_only_if_its_category_left_in_one_form() {
    let records = [record("$", "@.id", ("@.id", ID))];
    let both = exchange(&[left(ID, Form::Clear), left(ID, Form::Pseudonymised)], &[]);
    assert_eq!(way(&records, &both), None);
    assert_eq!(way(&records, &exchange(&[left("name", Form::Clear)], &[])), None, "it did not leave");
    let withheld =
        AccountedExchange { withheld: [ID.to_owned()].into(), ..exchange(&[left(ID, Form::Clear)], &[]) };
    assert_eq!(way(&records, &withheld), None);
    // An id that counts as no personal data leaves on record, too.
    let records = [record("$", "@.id", ("@.id", "non-personal"))];
    let name = left("name", Form::Clear);
    assert_eq!(way(&records, &exchange(slice::from_ref(&name), &[])), None);
    let with_id = exchange(&[name], &[left("non-personal", Form::Clear)]);
    assert_eq!(way(&records, &with_id), Some(LeftAs::Clear));
}

#[test]
fn an_unclassified_id_counts_only_if_it_left() {
    let words = Vocabulary::standard();
    let records = [record("$", "@.id", ("@.name", "name"))];
    let way = |releases_unclassified, exchange: &AccountedExchange| {
        left_as(IdMapping { records: &records, releases_unclassified, words: &words }, &person(), exchange)
    };
    let unclassified = exchange(&[left("name", Form::Clear), left("unclassified", Form::Clear)], &[]);
    assert_eq!(way(true, &unclassified), Some(LeftAs::Clear));
    assert_eq!(way(false, &unclassified), None);
    assert_eq!(way(true, &exchange(&[left("name", Form::Clear)], &[])), None);
}

#[test]
fn a_recipient_is_told_the_pseudonym_only_if_everything_left_under_it() {
    let ways = |ways: &[Option<LeftAs>]| only_way(ways.iter().cloned());
    assert_eq!(ways(&[Some(pseudonym()), Some(pseudonym())]), Some(pseudonym()));
    assert_eq!(ways(&[Some(pseudonym()), None]), None, "something else may have left");
    assert_eq!(ways(&[Some(pseudonym()), Some(LeftAs::Pseudonym("email".to_owned()))]), None);
    assert_eq!(ways(&[None, Some(LeftAs::Clear), Some(pseudonym())]), Some(LeftAs::Clear));
    assert_eq!(ways(&[]), None);
}

/// A recipient that has pseudonyms of two epochs, or of an epoch that is over, is told neither of them.
#[test]
fn settings_count_only_from_the_time_at_which_they_were_in_force() {
    let settings = |epoch: &str, mapping: &str| -> BTreeMap<String, String> {
        [(EPOCH, epoch), ("route members", mapping), ("recipient acme", "x")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into()
    };
    let naming = Naming::default().updated(&settings("1", "a"), at(0)).updated(&settings("2", "a"), at(20));
    let logged = |second| LoggedExchange {
        exchange: AccountedExchange { time: at(second), ..exchange(&[], &[]) },
        naming: Arc::new(naming.clone()),
    };
    let now = settings("2", "a");
    assert!(was_in_force(&now, &logged(20), true));
    assert!(!was_in_force(&now, &logged(19), true), "of the epoch before");
    assert!(was_in_force(&now, &logged(19), false), "the mapping was the same");
    assert!(!was_in_force(&settings("2", "b"), &logged(25), false), "another mapping");
    let mut replaced = now.clone();
    replaced.insert("recipient acme".to_owned(), "y".to_owned());
    assert!(!was_in_force(&replaced, &logged(25), false), "another recipient has the name");
    let unknown = LoggedExchange { naming: Arc::default(), ..logged(25) };
    assert!(!was_in_force(&now, &unknown, false), "its gateway has stated nothing");
}

#[test]
fn the_digest_of_a_mapping_tells_mappings_apart() {
    let words = Vocabulary::standard();
    let digest = |records: &[RecordMapping], releases_unclassified| {
        IdMapping { records, releases_unclassified, words: &words }.digest()
    };
    let first = record("$", "@.id", ("@.id", ID));
    let others = [
        record("$", "{id}", ("@.id", ID)),
        record("$", "@.id", ("@", ID)),
        record("$", "@.id", ("@.id", "email")),
    ];
    let known = digest(slice::from_ref(&first), false);
    assert_eq!(digest(slice::from_ref(&first), false), known);
    assert_ne!(digest(slice::from_ref(&first), true), known);
    for other in others {
        assert_ne!(digest(&[other], false), known);
    }
    assert_ne!(digest(&[first.clone(), first], false), known);
}
