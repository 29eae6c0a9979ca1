//! A value that was held until it is whole: its records are judged, and what may leave is written.
//!
//! Refuses to know chunks and what surrounds the value. The first pass over the table gives every
//! node its class, its record's verdict and so its fate; the second lists what that changes in the
//! bytes; then they are written. Invariant: a node leaves only under the verdict of the innermost
//! record it stands in.

mod concealing;
mod edits;
mod record;
mod selection;

use std::sync::Arc;

use smallvec::SmallVec;

use self::edits::EditFrame;
use super::actions::{Actions, NodeAction};
use super::class::UNCLASSIFIED;
use super::decision_cache::{CacheKey, CachedDecision};
use super::edit::Edit;
use super::evaluate::{Evaluation, MemberKey};
use super::form_policy::FormPolicy;
use super::forms::{Forms, ValueKind, is_coarse_address_part};
use super::node_table::{HeldJson, Node};
use super::parameters::Parameters;
use super::plan::Plan;
use super::rdap::{self, RdapAnswer};
use super::record_set::QueryRole;
use super::shape_cache::ShapeCache;
use super::state::{QueryPosition, RecordStart};
use super::unreadable::BodyFault;
use crate::decision::ClassId;
use crate::vocabulary::Form;

/// What the whole exchange has in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouteContext<'a> {
    pub(super) plan: &'a Plan,
    pub(super) forms: &'a Forms,
    pub(super) parameters: &'a Parameters,
}

impl RouteContext<'_> {
    /// What a verdict comes to for every class.
    fn class_forms<A: FormPolicy>(&self, permit: &A::Permit, policy: &A) -> impl Iterator<Item = Form> {
        let classes = (0..).map(ClassId).take(self.plan.classes().len());
        classes.map(move |class| self.forms.feasible(policy.form(permit, class)))
    }
}

/// What stands around a held value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement<'a> {
    /// The class of the nearest classified container around it.
    pub(super) inherited_class: ClassId,
    /// The conditions to evaluate on the value itself, and where it stands.
    pub(super) conditions: &'a [QueryPosition],
    pub(super) key: MemberKey<'a>,
    /// It is the document.
    pub(super) is_document: bool,
}

/// The verdict over what no record holds, and what was counted under it.
#[derive(Debug)]
pub(super) struct OutsideRecords<V> {
    pub(super) permit: Option<V>,
    /// Its forms, class by class, once it was asked for.
    forms: Vec<Form>,
    pub(super) counts: Vec<u32>,
}

impl<V> OutsideRecords<V> {
    pub(super) fn new(classes: usize) -> OutsideRecords<V> {
        OutsideRecords { permit: None, forms: Vec::new(), counts: vec![0; classes] }
    }

    /// In which form a class leaves. One that no verdict knows is removed.
    #[inline(always)]
    pub(super) fn form<A: FormPolicy<Permit = V>>(
        &mut self,
        class: ClassId,
        route: RouteContext<'_>,
        policy: &mut A,
    ) -> Form {
        if self.permit.is_none() {
            self.request_permit(route, policy);
        }
        self.forms.get(usize::from(class.0)).copied().unwrap_or(Form::Removed)
    }

    #[cold]
    fn request_permit<A: FormPolicy<Permit = V>>(&mut self, route: RouteContext<'_>, policy: &mut A) {
        let permit = policy.document_permit();
        self.forms.extend(route.class_forms(&permit, policy));
        self.permit = Some(permit);
    }

    pub(super) fn count(&mut self, class: ClassId) {
        if let Some(count) = self.counts.get_mut(usize::from(class.0)) {
            *count += 1;
        }
    }
}

/// A container on the way to the current node.
#[derive(Clone, Copy, Debug)]
struct OpenContainer {
    node: u32,
    end: u32,
    class: ClassId,
    /// Records that it is in, itself included; the last one's verdict holds.
    record_count: usize,
    kept: bool,
}

/// What was decided about a value, and buffers that are used again for the next.
#[derive(Clone, Debug, Default)]
pub(super) struct ValueDecision {
    actions: Actions,
    open_containers: Vec<OpenContainer>,
    /// The forms of the root's verdict, if that was asked for first.
    root_forms: Vec<Form>,
    /// Of the records that are open, outermost first, class by class: the forms of their verdicts.
    forms: Vec<Form>,
    /// And how many fields they hold.
    counts: Vec<u32>,
    /// Where what is looked through for echoes stands: records that are in no other.
    outermost_records: Vec<u32>,
    /// What all that changes in the bytes.
    edits: Vec<Edit>,
    edit_stack: Vec<EditFrame>,
    /// Something that is not part of the value's shape had a say.
    depends_on_content: bool,
    /// The fields of the record that ended last.
    last_counts: Vec<u32>,
}

impl ValueDecision {
    fn clear(&mut self) {
        self.actions.clear();
        self.open_containers.clear();
        self.root_forms.clear();
        self.forms.clear();
        self.counts.clear();
        self.outermost_records.clear();
        self.depends_on_content = false;
    }

    /// What something stays in stays.
    fn keep_ancestors(&mut self) {
        for level in self.open_containers.iter_mut().rev().take_while(|level| !level.kept) {
            level.kept = true;
            self.actions.set(level.node, NodeAction::Keep);
        }
    }
}

/// A held value and all there is to know for deciding it.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldValue<'a> {
    pub(super) route: RouteContext<'a>,
    pub(super) held: HeldJson<'a>,
    pub(super) placement: Placement<'a>,
}

impl HeldValue<'_> {
    /// Judges what the value holds, accounts for each record and writes what stays, after `lead` was told
    /// whether anything does and has written what stands before it.
    ///
    /// # Errors
    /// If evaluating the plan's conditions takes too long.
    pub(super) fn scrub<A: FormPolicy>(
        &self,
        decision: &mut ValueDecision,
        shapes: &mut Arc<ShapeCache>,
        policy: &mut A,
        outside: &mut OutsideRecords<A::Permit>,
        out: &mut Vec<u8>,
        lead: impl FnOnce(bool, &mut Vec<u8>),
    ) -> Result<(), BodyFault> {
        decision.clear();
        let nodes = self.held.table.nodes.as_slice();
        let evaluation = Evaluation::new(self.held, self.route.plan.options.on_duplicate);
        let mut first = None;
        if let Some((root, start)) = self.cacheable_root() {
            let permit = self.request_permit(&evaluation, 0, root, start, policy)?;
            decision.root_forms.extend(self.route.class_forms(&permit, policy));
            let key = self.cache_key(&decision.root_forms);
            if let Some(cached) = shapes.decisions.find(key, nodes) {
                policy.account(&permit, &cached.fields);
                lead(cached.keep, out);
                if cached.keep {
                    self.write_edits(&cached.edits, decision, out);
                }
                return Ok(());
            }
            first = Some(permit);
        }
        let may_add = first.is_some() && shapes.decisions.may_add(nodes.len());
        let stays = self.decide_actions(first, &evaluation, decision, policy, outside)?;
        self.list_edits(decision);
        lead(stays, out);
        if stays {
            self.write_edits(&decision.edits, decision, out);
        }
        if may_add && !decision.depends_on_content {
            let key = self.cache_key(&decision.root_forms);
            let cached = CachedDecision::new(key, nodes, &decision.last_counts, &decision.edits, stays);
            Arc::make_mut(shapes).decisions.add(cached);
        }
        Ok(())
    }

    /// The value's root and its start, if it is a record of which nothing but its shape and its verdict's
    /// forms may decide.
    fn cacheable_root(&self) -> Option<(&Node, RecordStart)> {
        let (plan, table) = (self.route.plan, self.held.table);
        let simple = !(plan.evaluates || plan.conceals || plan.options.lists_redactions);
        let whole = table.undecodable.is_empty() && table.embedded.is_empty();
        let root = table.node(0).filter(|_| simple && whole)?;
        let start = plan.automaton.state(root.state).start;
        (start != RecordStart::None).then_some((root, start))
    }

    fn cache_key<'f>(&self, forms: &'f [Form]) -> CacheKey<'f> {
        CacheKey { class: self.placement.inherited_class, root: self.placement.is_document, forms }
    }

    /// Judges what the value holds, settles the fate of every node, and accounts for each record.
    /// `first` is the verdict over the root, if it was asked for. Tells whether the value stays.
    fn decide_actions<A: FormPolicy>(
        &self,
        mut first: Option<A::Permit>,
        evaluation: &Evaluation<'_>,
        decision: &mut ValueDecision,
        policy: &mut A,
        outside: &mut OutsideRecords<A::Permit>,
    ) -> Result<bool, BodyFault> {
        let plan = self.route.plan;
        let selected = if plan.evaluates { self.selected(evaluation)? } else { Vec::new() };
        let mut selected = selected.as_slice();
        let mut opaque = self.held.table.undecodable.as_slice();
        // The verdicts over the records that are open.
        let mut permits: SmallVec<[A::Permit; 1]> = SmallVec::new();
        // Whether what is around stays is not decided here.
        let around = OpenContainer {
            node: 0,
            end: u32::MAX,
            class: self.placement.inherited_class,
            record_count: 0,
            kept: true,
        };
        let mut inmost = around;
        decision.actions.reserve(self.held.table.nodes.len());
        for (at, node) in (0..).zip(&self.held.table.nodes) {
            while inmost.end <= at {
                decision.open_containers.pop();
                let left = inmost.record_count;
                inmost = decision.open_containers.last().copied().unwrap_or(around);
                self.end_records(left - inmost.record_count, decision, &mut permits, policy);
            }
            let unreadable = match opaque.split_first() {
                Some((&first, rest)) if first == at => {
                    opaque = rest;
                    self.should_be_json(at, node, selected)
                }
                Some(_) | None => false,
            };
            let (own, start) = match selected.first() {
                Some(&(selected_at, _)) if selected_at == at => self.selected_class(at, node, &mut selected),
                _ if plan.automaton.flags(node.state).plain => (None, RecordStart::None),
                _ => (plan.state_class(node.state), plan.automaton.state(node.state).start),
            };
            let mut records = inmost.record_count;
            if start != RecordStart::None {
                decision.depends_on_content |= at > 0;
                let permit = match first.take() {
                    Some(permit) => permit,
                    None => self.request_permit(evaluation, at, node, start, policy)?,
                };
                decision.forms.extend(self.route.class_forms(&permit, policy));
                decision.counts.resize(decision.forms.len(), 0);
                permits.push(permit);
                if plan.options.withholds_echoes && records == 0 {
                    decision.outermost_records.push(at);
                }
                records += 1;
            }
            let class = own.unwrap_or(inmost.class);
            let last = records.saturating_sub(1) * plan.classes().len();
            let known = match records {
                0 => outside.form(class, self.route, policy),
                // A class that no verdict knows is removed.
                _ if usize::from(class.0) >= plan.classes().len() => Form::Removed,
                _ => decision.forms.get(last + usize::from(class.0)).copied().unwrap_or(Form::Removed),
            };
            let open = node.next > at + 1;
            let form = match known {
                _ if unreadable => Form::Removed,
                Form::Generalised if own.is_none() => {
                    decision.depends_on_content = true;
                    // What was not noted inside of a container is told apart when it is written.
                    let is_closed = !open && self.is_container(node);
                    if is_closed {
                        Form::Generalised
                    } else {
                        self.address_part_form(evaluation, node, class)
                    }
                }
                form => form,
            };
            let may_be_bone = self.may_be_skeleton(at, node, own, start);
            // Whether a value without children is a container is not said by its shape.
            decision.depends_on_content |= may_be_bone && !open;
            let is_bone = || may_be_bone && self.is_container(node);
            let action = match form {
                Form::Clear => NodeAction::Keep,
                // What is in it changes, node by node.
                Form::Masked | Form::Generalised | Form::Pseudonymised if open => NodeAction::Keep,
                Form::Masked | Form::Generalised | Form::Pseudonymised => NodeAction::Transform(form, class),
                Form::Removed if is_bone() => NodeAction::Keep,
                Form::Removed => NodeAction::Drop,
            };
            if own.is_some() || (class == UNCLASSIFIED && !open && !is_bone()) {
                match decision.counts.get_mut(last + usize::from(class.0)).filter(|_| records > 0) {
                    Some(count) => *count += 1,
                    None => outside.count(class),
                }
            }
            decision.actions.push(action);
            if plan.options.lists_redactions {
                decision.actions.classes.push(class);
            }
            if plan.conceals && action == NodeAction::Keep && plan.redacts(class) {
                decision.actions.redacted.push(at);
            }
            if action != NodeAction::Drop && !inmost.kept {
                decision.keep_ancestors();
                inmost.kept = true;
            }
            if open {
                inmost = OpenContainer {
                    node: at,
                    end: node.next,
                    class,
                    record_count: records,
                    kept: action != NodeAction::Drop,
                };
                decision.open_containers.push(inmost);
            } else {
                self.end_records(records - inmost.record_count, decision, &mut permits, policy);
            }
        }
        self.end_records(permits.len(), decision, &mut permits, policy);
        let actions = &mut decision.actions;
        let answer = plan.options.lists_redactions.then(|| RdapAnswer::repair(plan, self.held, actions));
        if plan.conceals {
            // The words of the format are no values that a record withholds.
            self.conceal(decision, if plan.options.lists_redactions { rdap::is_word } else { |_| false })?;
        }
        if let Some(answer) = answer {
            answer.list_redactions(&mut decision.actions);
        }
        Ok(self.placement.is_document || !decision.actions.drops(0))
    }

    /// Accounts for the innermost records that are open: they end here.
    #[inline]
    fn end_records<A: FormPolicy>(
        &self,
        records: usize,
        decision: &mut ValueDecision,
        permits: &mut SmallVec<[A::Permit; 1]>,
        policy: &mut A,
    ) {
        for _ in 0..records {
            let rest = decision.counts.len().saturating_sub(self.route.plan.classes().len());
            if let Some(permit) = permits.pop() {
                let fields = decision.counts.get(rest..).unwrap_or_default();
                policy.account(&permit, fields);
                decision.last_counts.clear();
                decision.last_counts.extend_from_slice(fields);
            }
            decision.counts.truncate(rest);
            decision.forms.truncate(rest);
        }
    }

    /// What selects a node that queries were evaluated to select: the class that its own fields make,
    /// and the record that begins there.
    fn selected_class(
        &self,
        at: u32,
        node: &Node,
        selected: &mut &[(u32, u16)],
    ) -> (Option<ClassId>, RecordStart) {
        let plan = self.route.plan;
        let state = plan.automaton.state(node.state);
        let here = selected.iter().take_while(|(node, _)| *node == at).count();
        let (on_node, later) = selected.split_at(here);
        *selected = later;
        let fields = |query: &u16| matches!(plan.role(*query), Some(QueryRole::Field { .. }));
        let class = plan.class_of(state, on_node.iter().map(|(_, query)| *query).filter(fields));
        let start = on_node.iter().fold(state.start, |start, (_, query)| match plan.role(*query) {
            Some(QueryRole::Record(set)) => start.and(*set),
            Some(QueryRole::Field { .. } | QueryRole::Capture) | None => start,
        });
        ((class != UNCLASSIFIED).then_some(class), start)
    }

    /// The nodes that conditions select as JSON in a string, in document order.
    pub(in crate::scrub) fn embedded_by_condition(&self) -> Result<Vec<u32>, BodyFault> {
        let selected = self.selected(&Evaluation::new(self.held, self.route.plan.options.on_duplicate))?;
        let embedded = selected.into_iter().filter(|(_, query)| self.route.plan.is_embedded(*query));
        let mut nodes: Vec<u32> = embedded.map(|(at, _)| at).collect();
        nodes.dedup();
        Ok(nodes)
    }

    /// The strings that are JSON, or are if conditions select them.
    pub(in crate::scrub) fn may_be_embedded(&self) -> Vec<u32> {
        let (plan, table) = (self.route.plan, self.held.table);
        let may_be = |at: &u32| {
            let Some(node) = table.node(*at) else { return false };
            let maybe = &plan.automaton.state(node.state).maybe_fields;
            table.json_strings.binary_search(at).is_ok() || maybe.iter().any(|&query| plan.is_embedded(query))
        };
        (0..table.len()).filter(may_be).collect()
    }

    /// Whether a string that is not JSON had to be: one of the fields that select it says so.
    fn should_be_json(&self, at: u32, node: &Node, selected: &[(u32, u16)]) -> bool {
        let plan = self.route.plan;
        let evaluated = selected.iter().take_while(|(node, _)| *node == at).map(|(_, query)| *query);
        let certain = plan.automaton.state(node.state).fields.iter().copied();
        certain.chain(evaluated).any(|query| plan.is_embedded(query))
    }

    /// Whether a node, if it is a container, stays whatever it holds: a record, or on the way to one.
    fn may_be_skeleton(&self, at: u32, node: &Node, own: Option<ClassId>, start: RecordStart) -> bool {
        let document = self.placement.is_document && at == 0 && own.is_none();
        start != RecordStart::None || document || self.route.plan.automaton.state(node.state).skeleton
    }

    fn is_container(&self, node: &Node) -> bool {
        matches!(self.held.bytes.get(node.start as usize), Some(b'{' | b'['))
    }

    /// A member of an address that is generalised: the country and the region remain.
    fn address_part_form(&self, evaluation: &Evaluation<'_>, node: &Node, class: ClassId) -> Form {
        if self.route.plan.value_context(class, None).kind != ValueKind::Address {
            return Form::Generalised;
        }
        match evaluation.name(node) {
            Some(name) if is_coarse_address_part(&name) => Form::Clear,
            Some(_) => Form::Removed,
            None => Form::Generalised,
        }
    }
}
