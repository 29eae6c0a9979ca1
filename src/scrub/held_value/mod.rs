//! Scrubs a value that was held until it was whole: requests a permit for each of its records, and writes the part
//! that may leave.
//!
//! The module does not know about chunks, nor about the bytes around the value. It works in three steps: a pass over
//! the nodes decides the action on each ([`decision`]), a second pass lists the edits that these actions
//! need, and then the bytes are written ([`edits`]). Invariant: a node leaves only under the permit of the innermost
//! record that contains it.

mod concealing;
mod decision;
mod edits;
mod outside;
mod record;
mod selection;
mod unclassified;

pub(super) use self::decision::ValueDecision;
pub(super) use self::outside::OutsideRecords;
pub use self::unclassified::{SurveyVisitor, UnclassifiedType, UnclassifiedValue};

use std::sync::Arc;

use self::decision::DecisionPass;
use super::decision_cache::{CacheKey, ShapeDecision};
use super::evaluate::{Evaluation, MemberKey};
use super::form_policy::FormPolicy;
use super::forms::Forms;
use super::node_table::{HeldJson, Node};
use super::parameters::Parameters;
use super::plan::Plan;
use super::rdap::{self, RdapAnswer};
use super::shape_cache::ShapeCache;
use super::state::{QueryPosition, RecordStart};
use super::unreadable::BodyFault;
use crate::decision::ClassId;
use crate::vocabulary::Form;

/// The plan of the route, and the forms and path parameters of the exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouteContext<'a> {
    pub(super) plan: &'a Plan,
    pub(super) forms: &'a Forms,
    pub(super) parameters: &'a Parameters,
    /// True if the document is a row of a table.
    pub(super) is_row: bool,
}

impl RouteContext<'_> {
    /// Returns the form that a permit gives to each class, in the order of the classes.
    fn class_forms<A: FormPolicy>(&self, permit: &A::Permit, policy: &A) -> impl Iterator<Item = Form> {
        let classes = (0..).map(ClassId).take(self.plan.classes().len());
        classes.map(move |class| self.forms.feasible(policy.form(permit, class)))
    }
}

/// The place of a held value in its document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement<'a> {
    /// The class of the nearest classified container around the value.
    pub(super) inherited_class: ClassId,
    /// Queries whose next segment is a condition on the value itself.
    pub(super) conditions: &'a [QueryPosition],
    /// The value's name or position in its container.
    pub(super) key: MemberKey<'a>,
    /// True if the value is the whole document.
    pub(super) is_document: bool,
}

/// A held value, with everything that a decision about it depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldValue<'a> {
    pub(super) route: RouteContext<'a>,
    pub(super) held: HeldJson<'a>,
    pub(super) placement: Placement<'a>,
}

impl HeldValue<'_> {
    /// Decides what leaves of the value, reports the counts of each record to the policy, and writes the result.
    ///
    /// `write_prefix` is called once before the value is written. Its argument is true if any part of the value is
    /// kept. It writes the comma and the name before the value; if nothing is kept, it removes them or writes a
    /// placeholder instead.
    ///
    /// # Errors
    /// Returns an error if evaluating the plan's conditions takes too long, if a table's columns differ from the
    /// mapping's, or if a condition depends on a duplicate name.
    pub(super) fn scrub<A: FormPolicy>(
        &self,
        decision: &mut ValueDecision,
        shapes: &mut Arc<ShapeCache>,
        policy: &mut A,
        outside: &mut OutsideRecords<A::Permit>,
        out: &mut Vec<u8>,
        write_prefix: impl FnOnce(bool, &mut Vec<u8>),
    ) -> Result<(), BodyFault> {
        decision.clear();
        let nodes = self.held.table.nodes.as_slice();
        let evaluation = Evaluation::new(self.held, self.route.plan.options.on_duplicate);
        let mut root_permit = None;
        if let Some((root, start)) = self.cacheable_root() {
            let permit = self.request_permit(&evaluation, 0, root, start, policy)?;
            decision.root_forms.extend(self.route.class_forms(&permit, policy));
            let key = self.cache_key(&decision.root_forms);
            if let Some(cached) = shapes.decisions.find(key, nodes) {
                policy.account(&permit, &cached.counts);
                write_prefix(cached.keep, out);
                if cached.keep {
                    self.write_edits(&cached.edits, decision, out);
                }
                return Ok(());
            }
            root_permit = Some(permit);
        }
        let may_cache = root_permit.is_some() && shapes.decisions.may_add(nodes.len());
        let keep = self.decide_actions(root_permit, &evaluation, decision, policy, outside)?;
        self.list_edits(decision);
        write_prefix(keep, out);
        if keep {
            self.write_edits(&decision.edits, decision, out);
        }
        if may_cache && !decision.depends_on_content {
            let key = self.cache_key(&decision.root_forms);
            let cached = ShapeDecision::new(key, nodes, &decision.last_counts, &decision.edits, keep);
            Arc::make_mut(shapes).decisions.add(cached);
        }
        Ok(())
    }

    /// Returns the root and the record that begins there, if a cached decision may apply to the value: neither the
    /// plan nor a string with JSON makes the actions depend on the content.
    fn cacheable_root(&self) -> Option<(&Node, RecordStart)> {
        let (plan, table) = (self.route.plan, self.held.table);
        let ignores_content = !(plan.evaluates || plan.conceals || plan.options.lists_redactions);
        let has_no_embedded = table.undecodable.is_empty() && table.embedded.is_empty();
        let root = table.node(0).filter(|_| ignores_content && has_no_embedded)?;
        let start = plan.automaton.state(root.state).start;
        (start != RecordStart::None).then_some((root, start))
    }

    fn cache_key<'f>(&self, forms: &'f [Form]) -> CacheKey<'f> {
        let Placement { inherited_class: class, is_document, .. } = self.placement;
        CacheKey { class, is_document, forms, is_row: self.route.is_row }
    }

    /// Decides the action on every node, and reports the counts of each record to the policy.
    ///
    /// `root_permit` is the permit for the record at the root, if it was requested already. Returns true if the
    /// value is kept.
    fn decide_actions<A: FormPolicy>(
        &self,
        root_permit: Option<A::Permit>,
        evaluation: &Evaluation<'_>,
        decision: &mut ValueDecision,
        policy: &mut A,
        outside: &mut OutsideRecords<A::Permit>,
    ) -> Result<bool, BodyFault> {
        let plan = self.route.plan;
        let selected = if plan.evaluates { self.selected(evaluation)? } else { Vec::new() };
        let pass = DecisionPass::new(self, evaluation, &selected, root_permit, policy, outside);
        pass.run(decision)?;
        let lists_redactions = plan.options.lists_redactions;
        let actions = &mut decision.actions;
        let answer = lists_redactions.then(|| RdapAnswer::repair(plan, self.held, actions));
        if plan.conceals {
            // Words of the document's format are not searched for, because they are not personal values.
            self.conceal(decision, if lists_redactions { rdap::is_word } else { |_| false })?;
        }
        if let Some(answer) = answer {
            answer.list_redactions(&mut decision.actions);
        }
        Ok(self.placement.is_document || !decision.actions.drops(0))
    }

    /// True if the node is an object or an array.
    fn is_container(&self, node: &Node) -> bool {
        matches!(self.held.bytes.get(node.start as usize), Some(b'{' | b'['))
    }
}
