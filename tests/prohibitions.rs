//! Properties of the packs that hold for every combination of facts, not only for samples.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panicking, and says what it skips"
)]

use std::ops::ControlFlow;
use std::path::Path;

use proptest::prelude::*;
use purposegate::config::pack::read_pack;
use purposegate::policy::cell_evaluator::{
    CellEvaluator, CellInput, CellOutcome, Circumstances, EvaluatedCell, outcomes,
};
use purposegate::policy::{Fact, Facts, Pack};
use purposegate::vocabulary::{CategoryId, Form, KindId, PurposeId};

fn packs() -> [Pack; 2] {
    ["one-partner-360", "perspectium"].map(|name| {
        read_pack(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name)).expect("the pack loads")
    })
}

type Point = (KindId, PurposeId, CategoryId);

/// Returns every combination of kind, purpose and category of a pack.
fn points(pack: &Pack) -> impl Iterator<Item = Point> {
    let words = pack.vocabulary();
    words.kinds().ids().flat_map(move |kind| {
        words
            .purposes()
            .ids()
            .flat_map(move |purpose| words.categories().ids().map(move |category| (kind, purpose, category)))
    })
}

fn named(pack: &Pack, (kind, purpose, category): Point) -> String {
    let words = pack.vocabulary();
    let names = [words.kinds().name(kind), words.purposes().name(purpose), words.categories().name(category)];
    names.join(" / ")
}

fn category_within(pack: &Pack, category: CategoryId, outer: &str) -> bool {
    let tree = pack.vocabulary().categories();
    tree.within(category, tree.find(outer).unwrap())
}

fn purpose_within(pack: &Pack, purpose: PurposeId, outers: &[&str]) -> bool {
    let tree = pack.vocabulary().purposes();
    outers.iter().any(|outer| tree.within(purpose, tree.find(outer).unwrap()))
}

/// Checks every outcome and panics at the first wrong one, with its circumstances. Returns the number of checked
/// circumstances.
fn all(
    pack: &Pack,
    point: Point,
    slice: &EvaluatedCell,
    given: Circumstances,
    right: impl Fn(Circumstances, Form) -> bool,
) -> usize {
    let mut count = 0;
    let mut visit = |circumstances: Circumstances, found: &[CellOutcome]| {
        count += 1;
        for outcome in found {
            let right = right(circumstances, outcome.form);
            assert!(
                right,
                "{}: {} when {}",
                named(pack, point),
                outcome.form.name(),
                circumstances.describe(pack.vocabulary())
            );
        }
        ControlFlow::<()>::Continue(())
    };
    let _ = outcomes(&[CellInput { cell: slice, given }], Circumstances::default(), &mut visit);
    count
}

#[test]
fn credentials_never_leave_and_card_numbers_never_leave_in_clear() {
    for pack in packs() {
        let mut search = CellEvaluator::new(pack.rulebook());
        for point in points(&pack) {
            let (kind, purpose, category) = point;
            let credential = category_within(&pack, category, "credential");
            if credential || pack.vocabulary().categories().name(category) == "payment-card-number" {
                let slice = search.cell(kind, purpose, category);
                let right = |_, form| if credential { form == Form::Removed } else { form != Form::Clear };
                assert!(all(&pack, point, &slice, Circumstances::default(), right) > 0);
            }
        }
    }
}

#[test]
fn nothing_leaves_for_sale_or_third_party_advertising() {
    for pack in packs() {
        let mut search = CellEvaluator::new(pack.rulebook());
        for point in points(&pack)
            .filter(|point| purpose_within(&pack, point.1, &["data-sale", "third-party-advertising"]))
        {
            let slice = search.cell(point.0, point.1, point.2);
            assert!(all(&pack, point, &slice, Circumstances::default(), |_, form| form == Form::Removed) > 0);
        }
    }
}

#[test]
fn data_of_minors_leave_only_by_the_listed_exceptions() {
    for pack in packs() {
        let mut search = CellEvaluator::new(pack.rulebook());
        let given = Circumstances::default().with(Fact::Minor, 1);
        let somebodys = |category| {
            ["personal", "service-data", "published"]
                .iter()
                .any(|outer| category_within(&pack, category, outer))
        };
        let elsewhere = |purpose| !purpose_within(&pack, purpose, &["legal", "data-subject-request"]);
        let mut looked = 0;
        for (point, slice) in search.distinct_cells(pack.vocabulary()) {
            if somebodys(point.2) && elsewhere(point.1) {
                looked += all(&pack, point, &slice, given, |circumstances, form| {
                    let fixed =
                        |fact| circumstances.fixed.contains(fact) && circumstances.facts.get(fact) == 1;
                    form == Form::Removed || (fixed(Fact::WithServiceData) && fixed(Fact::Instructed))
                });
            }
        }
        assert!(looked > 100, "{looked}");
    }
}

#[test]
fn special_categories_leave_only_to_the_person_and_under_a_case() {
    for pack in packs() {
        let mut search = CellEvaluator::new(pack.rulebook());
        let mut released = 0;
        for point in points(&pack).filter(|point| category_within(&pack, point.2, "special")) {
            let slice = search.cell(point.0, point.1, point.2);
            released += usize::from(slice.releasing_circumstances().is_some());
            all(&pack, point, &slice, Circumstances::default(), |circumstances, form| {
                let fixed = |fact| circumstances.fixed.contains(fact) && circumstances.facts.get(fact) == 1;
                form == Form::Removed
                    || (purpose_within(&pack, point.1, &["data-subject-request"]) && fixed(Fact::OwnData))
                    || (purpose_within(&pack, point.1, &["legal"]) && fixed(Fact::LegalReference))
            });
        }
        assert!(released > 0, "the exceptions exist");
    }
}

/// Each fact with values in an order in which a later value never discloses more.
fn worsening(pack: &Pack) -> Vec<(Fact, Vec<u8>)> {
    let on = |fact| (fact, vec![0, 1]);
    let off = |fact| (fact, vec![1, 0]);
    let mut facts: Vec<(Fact, Vec<u8>)> = [
        Fact::OptedOut,
        Fact::Restricted,
        Fact::Erased,
        Fact::Minor,
        Fact::LeavesEea,
        Fact::Refused,
        Fact::PastRetention,
        Fact::Backup,
    ]
    .map(on)
    .into();
    facts.extend(
        [
            Fact::ConsentedSinceRestriction,
            Fact::SameRegion,
            Fact::TransferConsent,
            Fact::Instructed,
            Fact::LegalReference,
            Fact::OwnData,
            Fact::OwnAccount,
        ]
        .map(off),
    );
    facts.extend(pack.vocabulary().relations().ids().map(|relation| off(Fact::Relation(relation))));
    for consent in [0, 2, 3, 4] {
        facts.push((Fact::Consent, vec![1, consent]));
    }
    facts.push((Fact::Objection, vec![0, 1, 2]));
    facts.push((Fact::Account, vec![0, 1, 2, 3]));
    facts.push((Fact::Safeguard, vec![2, 0]));
    facts.push((Fact::Origin, vec![0, 3, 2]));
    facts
}

#[test]
fn less_permission_never_discloses_more() {
    for pack in packs() {
        let mut search = CellEvaluator::new(pack.rulebook());
        let mut compared = 0;
        for (point, slice) in search.distinct_cells(pack.vocabulary()) {
            for (fact, values) in worsening(&pack) {
                for step in values.windows(2) {
                    let given =
                        |value| CellInput { cell: &slice, given: Circumstances::default().with(fact, value) };
                    let pair = [given(step[0]), given(step[1])];
                    let mut visit = |circumstances: Circumstances, found: &[CellOutcome]| {
                        compared += 1;
                        assert!(
                            found[1].form >= found[0].form,
                            "{}: {fact:?} {step:?} when {}",
                            named(&pack, point),
                            circumstances.describe(pack.vocabulary())
                        );
                        ControlFlow::<()>::Continue(())
                    };
                    let _ = outcomes(&pair, Circumstances::default(), &mut visit);
                }
            }
        }
        assert!(compared > 10_000, "{compared}");
    }
}

/// The search finds the same outcomes as Cedar.
#[test]
fn the_search_agrees_with_cedar() {
    let [pack, _] = packs();
    let mut search = CellEvaluator::new(pack.rulebook());
    let distinct = search.distinct_cells(pack.vocabulary());
    let relations = pack.vocabulary().relations().len();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(2000));
    let case = (0..distinct.len(), prop::collection::vec(any::<u8>(), 30));
    runner
        .run(&case, |(at, values)| {
            let ((kind, purpose, category), slice) = &distinct[at];
            let facts = Fact::all(relations).zip(values).fold(Facts::default(), |facts, (fact, value)| {
                facts.with(fact, value % u8::try_from(fact.values().len()).unwrap())
            });
            let given = Circumstances {
                facts,
                fixed: Fact::all(relations).filter(|fact| *fact != Fact::Form).collect(),
            };
            let mut visit = |_: Circumstances, found: &[CellOutcome]| ControlFlow::Break(found[0].form);
            let found = outcomes(&[CellInput { cell: slice, given }], Circumstances::default(), &mut visit)
                .break_value();
            let asked = pack.rulebook().judge(*kind, *purpose, *category, facts).form;
            prop_assert_eq!(found, Some(asked));
            Ok(())
        })
        .unwrap();
}
