//! The pass over the nodes of a held value that decides the action on each of them.
//!
//! A node gets a class (its own, or that of its container), the class gets a form from the permit of the innermost
//! record, and the form gives the action. Invariant: no node has an action before the permit that covers it is known.

use smallvec::SmallVec;

use super::{HeldValue, OutsideRecords};
use crate::decision::ClassId;
use crate::scrub::actions::{Actions, NodeAction};
use crate::scrub::class::UNCLASSIFIED;
use crate::scrub::edit::{Edit, EditFrame};
use crate::scrub::evaluate::Evaluation;
use crate::scrub::form_policy::FormPolicy;
use crate::scrub::forms::{ValueKind, is_coarse_address_part};
use crate::scrub::node_table::Node;
use crate::scrub::plan::Plan;
use crate::scrub::record_set::QueryRole;
use crate::scrub::state::RecordStart;
use crate::scrub::unreadable::BodyFault;
use crate::vocabulary::Form;

/// A container that contains the current node.
#[derive(Clone, Copy, Debug)]
struct OpenContainer {
    node: u32,
    /// The first node after the container.
    end: u32,
    /// The class of the nodes in it that have no class of their own.
    class: ClassId,
    /// The number of records that contain its children; the container counts if it is a record. The permit for the
    /// innermost of these records applies.
    record_count: usize,
    /// True if the container is kept.
    kept: bool,
}

/// The decision about a held value. The buffers are reused for the next value.
#[derive(Clone, Debug, Default)]
pub(in crate::scrub) struct ValueDecision {
    pub(super) actions: Actions,
    open_containers: Vec<OpenContainer>,
    /// The forms of the root's permit, by class. Filled if the decision may be cached.
    pub(super) root_forms: Vec<Form>,
    /// The forms of the open records' permits, by class; the outermost record's come first.
    forms: Vec<Form>,
    /// The counts of fields of the open records, by class; the outermost record's come first.
    counts: Vec<u32>,
    /// The records that no other record contains. Each is searched for echoes by itself.
    pub(super) outermost_records: Vec<u32>,
    /// The edits that the actions need.
    pub(super) edits: Vec<Edit>,
    pub(super) edit_stack: Vec<EditFrame>,
    /// True if the decision depends on more than the value's shape and the forms, so that it is not cached.
    pub(super) depends_on_content: bool,
    /// The counts of fields of the record that ended last.
    pub(super) last_counts: Vec<u32>,
}

impl ValueDecision {
    pub(super) fn clear(&mut self) {
        self.actions.clear();
        self.open_containers.clear();
        self.root_forms.clear();
        self.forms.clear();
        self.counts.clear();
        self.outermost_records.clear();
        self.depends_on_content = false;
    }

    /// Keeps the containers of a node that is kept.
    fn keep_ancestors(&mut self) {
        for container in self.open_containers.iter_mut().rev().take_while(|container| !container.kept) {
            container.kept = true;
            self.actions.set(container.node, NodeAction::Keep);
        }
    }
}

/// The properties of a node from which its action follows.
#[derive(Clone, Copy)]
struct NodeFacts<'a> {
    at: u32,
    node: &'a Node,
    /// The class that fields of the mapping give to the node itself.
    own_class: Option<ClassId>,
    /// The node's own class, or its container's.
    class: ClassId,
    /// The number of records that contain the node; the node counts if it is a record.
    records: usize,
    /// The index of the class in the lists of the innermost record's forms and counts.
    index: usize,
    /// True if the node is a container whose children are in the table.
    has_children: bool,
    /// True if the node is part of the document's skeleton, provided that it is a container.
    may_be_skeleton: bool,
}

/// The state of the pass.
pub(super) struct DecisionPass<'p, A: FormPolicy> {
    value: &'p HeldValue<'p>,
    evaluation: &'p Evaluation<'p>,
    policy: &'p mut A,
    outside: &'p mut OutsideRecords<A::Permit>,
    /// The permit for the record at the root, if it was requested already.
    root_permit: Option<A::Permit>,
    /// The permits for the open records, the outermost first.
    permits: SmallVec<[A::Permit; 1]>,
    /// Nodes that evaluated queries select, from the current node on.
    selected: &'p [(u32, u16)],
    /// Undecodable strings, from the current node on.
    undecodable: &'p [u32],
    /// Stands for the container around the value. It counts as kept, because that is not decided here.
    outer: OpenContainer,
    innermost: OpenContainer,
}

impl<'p, A: FormPolicy> DecisionPass<'p, A> {
    pub(super) fn new(
        value: &'p HeldValue<'p>,
        evaluation: &'p Evaluation<'p>,
        selected: &'p [(u32, u16)],
        root_permit: Option<A::Permit>,
        policy: &'p mut A,
        outside: &'p mut OutsideRecords<A::Permit>,
    ) -> DecisionPass<'p, A> {
        let class = value.placement.inherited_class;
        let outer = OpenContainer { node: 0, end: u32::MAX, class, record_count: 0, kept: true };
        let undecodable = value.held.table.undecodable.as_slice();
        let (permits, innermost) = (SmallVec::new(), outer);
        DecisionPass {
            value,
            evaluation,
            policy,
            outside,
            root_permit,
            permits,
            selected,
            undecodable,
            outer,
            innermost,
        }
    }

    /// Decides the action on every node, in document order.
    pub(super) fn run(mut self, decision: &mut ValueDecision) -> Result<(), BodyFault> {
        let nodes = &self.value.held.table.nodes;
        decision.actions.reserve(nodes.len());
        for (at, node) in (0..).zip(nodes) {
            self.decide_node(at, node, decision)?;
        }
        self.end_records(self.permits.len(), decision);
        Ok(())
    }

    #[inline(always)]
    fn decide_node(&mut self, at: u32, node: &Node, decision: &mut ValueDecision) -> Result<(), BodyFault> {
        self.close_containers(at, decision);
        let is_undecodable = self.is_undecodable(at, node);
        let (own_class, start) = self.classify(at, node);
        let mut records = self.innermost.record_count;
        if start != RecordStart::None {
            self.begin_record(at, node, start, decision)?;
            records += 1;
        }
        let class = own_class.unwrap_or(self.innermost.class);
        let class_count = self.value.route.plan.classes().len();
        let facts = NodeFacts {
            at,
            node,
            own_class,
            class,
            records,
            index: records.saturating_sub(1) * class_count + usize::from(class.0),
            has_children: node.next > at + 1,
            may_be_skeleton: self.may_be_skeleton(at, node, own_class, start),
        };
        let form = if is_undecodable {
            // The permit is requested nevertheless: the counts of the document are reported together with its permit.
            self.permitted_form(&facts, decision);
            Form::Removed
        } else {
            self.form(&facts, decision)
        };
        // The shape of a value without children does not say whether it is a container.
        decision.depends_on_content |= facts.may_be_skeleton && !facts.has_children;
        let action = self.action(form, &facts);
        self.count(&facts, decision);
        self.push_action(action, &facts, decision);
        Ok(())
    }

    /// Closes the containers that end before this node, and the records in them.
    #[inline(always)]
    fn close_containers(&mut self, at: u32, decision: &mut ValueDecision) {
        while self.innermost.end <= at {
            decision.open_containers.pop();
            let records = self.innermost.record_count;
            self.innermost = decision.open_containers.last().copied().unwrap_or(self.outer);
            self.end_records(records - self.innermost.record_count, decision);
        }
    }

    /// True if the node is a string that should be JSON and is not.
    #[inline(always)]
    fn is_undecodable(&mut self, at: u32, node: &Node) -> bool {
        match self.undecodable.split_first() {
            Some((&first, rest)) if first == at => {
                self.undecodable = rest;
                self.should_be_json(at, node)
            }
            Some(_) | None => false,
        }
    }

    /// True if a field that selects the node says that it is embedded JSON.
    fn should_be_json(&self, at: u32, node: &Node) -> bool {
        let plan = self.value.route.plan;
        let evaluated = self.selected.iter().take_while(|(node, _)| *node == at).map(|(_, query)| *query);
        let certain = plan.automaton.state(node.state).fields.iter().copied();
        certain.chain(evaluated).any(|query| plan.is_embedded(query))
    }

    /// Returns the class that fields give to a node, and the record that begins there.
    #[inline(always)]
    fn classify(&mut self, at: u32, node: &Node) -> (Option<ClassId>, RecordStart) {
        let plan = self.value.route.plan;
        match self.selected.first() {
            Some(&(selected_at, _)) if selected_at == at => self.classify_selected(at, node),
            _ if plan.automaton.flags(node.state).plain => (None, RecordStart::None),
            _ => (plan.state_class(node.state), plan.automaton.state(node.state).start),
        }
    }

    /// Classifies a node that evaluated queries select.
    fn classify_selected(&mut self, at: u32, node: &Node) -> (Option<ClassId>, RecordStart) {
        let count = self.selected.iter().take_while(|(node, _)| *node == at).count();
        let (here, later) = self.selected.split_at(count);
        self.selected = later;
        classify_selected(self.value.route.plan, node, here)
    }

    /// Requests the permit for the record that begins at a node.
    fn begin_record(
        &mut self,
        at: u32,
        node: &Node,
        start: RecordStart,
        decision: &mut ValueDecision,
    ) -> Result<(), BodyFault> {
        let route = self.value.route;
        decision.depends_on_content |= at > 0;
        let permit = match self.root_permit.take() {
            Some(permit) => permit,
            None => self.value.request_permit(self.evaluation, at, node, start, self.policy)?,
        };
        decision.forms.extend(route.class_forms(&permit, self.policy));
        decision.counts.resize(decision.forms.len(), 0);
        self.permits.push(permit);
        if route.plan.options.withholds_echoes && self.innermost.record_count == 0 {
            decision.outermost_records.push(at);
        }
        Ok(())
    }

    /// Ends the innermost records, and reports their counts to the policy.
    #[inline]
    fn end_records(&mut self, records: usize, decision: &mut ValueDecision) {
        for _ in 0..records {
            let rest = decision.counts.len().saturating_sub(self.value.route.plan.classes().len());
            if let Some(permit) = self.permits.pop() {
                let counts = decision.counts.get(rest..).unwrap_or_default();
                self.policy.account(&permit, counts);
                decision.last_counts.clear();
                decision.last_counts.extend_from_slice(counts);
            }
            decision.counts.truncate(rest);
            decision.forms.truncate(rest);
        }
    }

    /// Returns the form that the innermost record's permit gives to the node's class.
    #[inline(always)]
    fn permitted_form(&mut self, facts: &NodeFacts<'_>, decision: &ValueDecision) -> Form {
        let route = self.value.route;
        match facts.records {
            0 => self.outside.form(facts.class, route, self.policy),
            // A class that is in no permit is removed.
            _ if usize::from(facts.class.0) >= route.plan.classes().len() => Form::Removed,
            _ => decision.forms.get(facts.index).copied().unwrap_or(Form::Removed),
        }
    }

    /// Returns the form of a node. It is the form of its class, except for the parts of a generalised address.
    #[inline(always)]
    fn form(&mut self, facts: &NodeFacts<'_>, decision: &mut ValueDecision) -> Form {
        match self.permitted_form(facts, decision) {
            Form::Generalised if facts.own_class.is_none() => {
                decision.depends_on_content = true;
                // Children that are not in the table get their forms when the container is written.
                let is_closed = !facts.has_children && self.value.is_container(facts.node);
                if is_closed { Form::Generalised } else { self.address_part_form(facts) }
            }
            form => form,
        }
    }

    /// Returns the form of a member of a generalised address: the country and the region remain.
    fn address_part_form(&self, facts: &NodeFacts<'_>) -> Form {
        if self.value.route.plan.value_context(facts.class, None).kind != ValueKind::Address {
            return Form::Generalised;
        }
        match self.evaluation.name(facts.node) {
            Some(name) if is_coarse_address_part(&name) => Form::Clear,
            Some(_) => Form::Removed,
            None => Form::Generalised,
        }
    }

    /// True if a node is kept even if nothing in it is kept, provided that it is a container. Such a node is the
    /// document, a record, or on the path to records.
    #[inline(always)]
    fn may_be_skeleton(&self, at: u32, node: &Node, own_class: Option<ClassId>, start: RecordStart) -> bool {
        let is_document = self.value.placement.is_document && at == 0 && own_class.is_none();
        start != RecordStart::None
            || is_document
            || self.value.route.plan.automaton.state(node.state).skeleton
    }

    #[inline(always)]
    fn is_skeleton(&self, facts: &NodeFacts<'_>) -> bool {
        facts.may_be_skeleton && self.value.is_container(facts.node)
    }

    #[inline(always)]
    fn action(&self, form: Form, facts: &NodeFacts<'_>) -> NodeAction {
        match form {
            Form::Clear => NodeAction::Keep,
            // The children are transformed one by one.
            Form::Masked | Form::Generalised | Form::Pseudonymised if facts.has_children => NodeAction::Keep,
            Form::Masked | Form::Generalised | Form::Pseudonymised => {
                NodeAction::Transform(form, facts.class)
            }
            Form::Removed if self.is_skeleton(facts) => NodeAction::Keep,
            Form::Removed => NodeAction::Drop,
        }
    }

    /// Counts a classified node, or an unclassified value, for the innermost record or for the document.
    #[inline(always)]
    fn count(&mut self, facts: &NodeFacts<'_>, decision: &mut ValueDecision) {
        let is_value = facts.class == UNCLASSIFIED && !facts.has_children && !self.is_skeleton(facts);
        if facts.own_class.is_none() && !is_value {
            return;
        }
        match decision.counts.get_mut(facts.index).filter(|_| facts.records > 0) {
            Some(count) => *count += 1,
            None => self.outside.count(facts.class),
        }
    }

    /// Records the action on a node, and opens the node if it has children.
    #[inline(always)]
    fn push_action(&mut self, action: NodeAction, facts: &NodeFacts<'_>, decision: &mut ValueDecision) {
        let plan = self.value.route.plan;
        let NodeFacts { at, node, class, records, .. } = *facts;
        decision.actions.push(action);
        if plan.options.lists_redactions {
            decision.actions.classes.push(class);
        }
        if plan.conceals && action == NodeAction::Keep && plan.redacts(class) {
            decision.actions.redacted.push(at);
        }
        let kept = action != NodeAction::Drop;
        if kept && !self.innermost.kept {
            decision.keep_ancestors();
            self.innermost.kept = true;
        }
        if facts.has_children {
            self.innermost = OpenContainer { node: at, end: node.next, class, record_count: records, kept };
            decision.open_containers.push(self.innermost);
        } else {
            self.end_records(records - self.innermost.record_count, decision);
        }
    }
}

/// Returns the class that fields give to a node, and the record that begins there. `selected` has the evaluated queries
/// that select the node.
pub(super) fn classify_selected(
    plan: &Plan,
    node: &Node,
    selected: &[(u32, u16)],
) -> (Option<ClassId>, RecordStart) {
    let state = plan.automaton.state(node.state);
    let is_field = |query: &u16| matches!(plan.role(*query), Some(QueryRole::Field { .. }));
    let class = plan.class_of(state, selected.iter().map(|(_, query)| *query).filter(is_field));
    let start = selected.iter().fold(state.start, |start, (_, query)| match plan.role(*query) {
        Some(QueryRole::Record(set)) => start.and(*set),
        Some(QueryRole::Field { .. } | QueryRole::Capture) | None => start,
    });
    ((class != UNCLASSIFIED).then_some(class), start)
}
