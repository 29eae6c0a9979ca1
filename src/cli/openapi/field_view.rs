//! The view of one recipient on the fields of a route: which can leave, in which forms, and whether that depends on the
//! person.
//!
//! It asks the same questions as the page of purposes (the most revealing form of each category) and as the policy matrix
//! (every form that a category can have). Forms are overestimated where several categories meet in one field.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use crate::decision::{Admitted, ClassId};
use crate::exchange::route::Scrubbing;
use crate::policy::cell_evaluator::{CellEvaluator, CellInput, Circumstances, outcomes};
use crate::scrub::{ContainingRecord, PathCursor, PossibleNode};
use crate::vocabulary::{CategoryId, Form, KindId, PurposeId};

/// The presence of a field in the answers to a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Presence {
    /// It leaves in no answer.
    Never,
    /// It depends on the person, or on the record.
    Sometimes,
    /// It leaves wherever the upstream sends it.
    Always,
}

/// The presence and the possible forms of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldView {
    pub(super) presence: Presence,
    /// The forms in which it can leave, without [`Form::Removed`]; the most revealing one first.
    pub(super) forms: BTreeSet<Form>,
}

impl FieldView {
    /// Returns the most revealing form.
    pub(super) fn best(&self) -> Form {
        self.forms.first().copied().unwrap_or(Form::Removed)
    }

    /// True if the field leaves as it is, whenever it leaves.
    pub(super) fn is_clear(&self) -> bool {
        self.forms.iter().all(|form| *form == Form::Clear)
    }

    fn never() -> FieldView {
        FieldView { presence: Presence::Never, forms: BTreeSet::new() }
    }

    /// Returns the view of a field that is one or the other.
    fn or(self, other: FieldView) -> FieldView {
        let presence = if self.presence == other.presence { self.presence } else { Presence::Sometimes };
        FieldView { presence, forms: self.forms.into_iter().chain(other.forms).collect() }
    }
}

/// The fields of one route, as a recipient sees them for a purpose.
pub(super) struct RouteFieldView<'v> {
    pub(super) scrubbing: &'v Scrubbing,
    admitted: &'v Admitted,
    evaluator: RefCell<CellEvaluator<'v>>,
    point: (KindId, PurposeId),
    forms: RefCell<HashMap<CategoryId, BTreeSet<Form>>>,
}

impl<'v> RouteFieldView<'v> {
    pub(super) fn new(
        scrubbing: &'v Scrubbing,
        admitted: &'v Admitted,
        point: (KindId, PurposeId),
    ) -> RouteFieldView<'v> {
        let evaluator = RefCell::new(CellEvaluator::new(admitted.pack().rulebook()));
        RouteFieldView { scrubbing, admitted, evaluator, point, forms: RefCell::default() }
    }

    /// Returns the view of the field at a path.
    pub(super) fn at(&self, path: &PathCursor) -> FieldView {
        let views = path.nodes().map(|node| self.of_node(node));
        views.reduce(FieldView::or).unwrap_or_else(FieldView::never)
    }

    fn of_node(&self, node: &PossibleNode) -> FieldView {
        let has_nobody = match node.record {
            ContainingRecord::Outside => true,
            ContainingRecord::Of(set) => {
                self.scrubbing.records.get(set).is_none_or(|set| set.subjects.is_empty())
            }
            ContainingRecord::Unknown => false,
        };
        let without_person = self.admitted.no_subject().form(node.class);
        if without_person != Form::Removed {
            return FieldView { presence: Presence::Always, forms: BTreeSet::from([without_person]) };
        }
        // The class could leave in the record of some person.
        if has_nobody || !self.admitted.withholds(node.class, Form::Removed) {
            return FieldView::never();
        }
        // On such a route an answer with a withheld field does not leave at all.
        let is_whole = self.scrubbing.is_all_or_nothing();
        let forms = self.forms_of(node.class);
        let presence = match is_whole {
            _ if forms.is_empty() => Presence::Never,
            true => Presence::Always,
            false => Presence::Sometimes,
        };
        FieldView { presence, forms }
    }

    /// Returns the forms in which a class can leave. The least revealing form of its categories decides.
    fn forms_of(&self, class: ClassId) -> BTreeSet<Form> {
        let categories = self.scrubbing.classes.sets().get(usize::from(class.0));
        let categories = categories.map(Vec::as_slice).unwrap_or_default();
        let of_each = categories.iter().map(|category| self.forms_of_category(*category));
        let best = of_each.clone().map(|forms| forms.first().copied().unwrap_or(Form::Removed)).max();
        let best = best.unwrap_or(Form::Clear);
        let possible = of_each.flatten().chain([best]);
        possible.filter(|form| *form >= best && *form != Form::Removed).collect()
    }

    /// Returns every form that the rules can give to a category, for any facts, but none that is more revealing than the most
    /// revealing one of this request.
    fn forms_of_category(&self, category: CategoryId) -> BTreeSet<Form> {
        let (kind, purpose) = self.point;
        let mut known = self.forms.borrow_mut();
        let forms = known.entry(category).or_insert_with(|| {
            let cell = self.evaluator.borrow_mut().cell(kind, purpose, category);
            let best = self.admitted.best(category);
            let mut forms = BTreeSet::new();
            let input = CellInput { cell: &cell, given: Circumstances::default() };
            let _: ControlFlow<()> = outcomes(&[input], Circumstances::default(), &mut |_, cells| {
                forms.extend(cells.iter().map(|cell| cell.form.max(best)));
                ControlFlow::Continue(())
            });
            forms
        });
        forms.clone()
    }
}
