//! A value that was held until it is whole: its records are judged, and what may leave is written.
//!
//! Refuses to know chunks and what surrounds the value. The first pass over the table gives every
//! node its class, its record's verdict and so its fate; the second lists what that changes in the
//! bytes; then they are written. Invariant: a node leaves only under the verdict of the innermost
//! record it stands in.

mod about;
mod concealing;
mod edits;
mod precedents;
mod selection;

pub(super) use edits::{after_comma, replacement};
pub(super) use precedents::DecisionCache;

use std::sync::Arc;

use smallvec::SmallVec;

use self::edits::{Edit, Open};
use self::precedents::{CacheKey, CachedDecision};
use super::actions::{Actions, NodeAction};
use super::arbiter::FormPolicy;
use super::automaton::{QueryPosition, RecordStart};
use super::evaluate::{Evaluation, MemberKey};
use super::forms::{Forms, ValueKind, is_coarse_address_part};
use super::habits::ShapeCache;
use super::plan::{Plan, QueryRole, UNCLASSIFIED};
use super::rdap::{self, RdapAnswer};
use super::scrubber::Parameters;
use super::table::{Held, Node};
use super::unreadable::BodyFault;
use crate::decision::ClassId;
use crate::vocabulary::Form;

/// What the whole exchange has in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common<'a> {
    pub(super) plan: &'a Plan,
    pub(super) forms: &'a Forms,
    pub(super) parameters: &'a Parameters,
}

impl Common<'_> {
    /// What a verdict comes to for every class.
    fn forms<A: FormPolicy>(&self, verdict: &A::Permit, arbiter: &A) -> impl Iterator<Item = Form> {
        let classes = (0..).map(ClassId).take(self.plan.classes().len());
        classes.map(move |class| self.forms.feasible(arbiter.form(verdict, class)))
    }
}

/// What stands around a held value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    /// The class of the nearest classified container around it.
    pub(super) class: ClassId,
    /// The conditions to evaluate on the value itself, and where it stands.
    pub(super) conditions: &'a [QueryPosition],
    pub(super) place: MemberKey<'a>,
    /// It is the document.
    pub(super) root: bool,
}

/// The verdict over what no record holds, and what was counted under it.
#[derive(Debug)]
pub(super) struct Outside<V> {
    pub(super) verdict: Option<V>,
    /// Its forms, class by class, once it was asked for.
    forms: Vec<Form>,
    pub(super) fields: Vec<u32>,
}

impl<V> Outside<V> {
    pub(super) fn new(classes: usize) -> Outside<V> {
        Outside { verdict: None, forms: Vec::new(), fields: vec![0; classes] }
    }

    /// In which form a class leaves. One that no verdict knows is removed.
    #[inline(always)]
    pub(super) fn form<A: FormPolicy<Permit = V>>(
        &mut self,
        class: ClassId,
        common: Common<'_>,
        arbiter: &mut A,
    ) -> Form {
        if self.verdict.is_none() {
            self.ask(common, arbiter);
        }
        self.forms.get(usize::from(class.0)).copied().unwrap_or(Form::Removed)
    }

    #[cold]
    fn ask<A: FormPolicy<Permit = V>>(&mut self, common: Common<'_>, arbiter: &mut A) {
        let verdict = arbiter.document_permit();
        self.forms.extend(common.forms(&verdict, arbiter));
        self.verdict = Some(verdict);
    }

    pub(super) fn count(&mut self, class: ClassId) {
        if let Some(count) = self.fields.get_mut(usize::from(class.0)) {
            *count += 1;
        }
    }
}

/// A container on the way to the current node.
#[derive(Clone, Copy, Debug)]
struct Level {
    node: u32,
    next: u32,
    class: ClassId,
    /// Records that it is in, itself included; the last one's verdict holds.
    records: usize,
    stays: bool,
}

/// What was decided about a value, and buffers that are used again for the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Decision {
    actions: Actions,
    levels: Vec<Level>,
    /// The forms of the root's verdict, if that was asked for first.
    root: Vec<Form>,
    /// Of the records that are open, outermost first, class by class: the forms of their verdicts.
    forms: Vec<Form>,
    /// And how many fields they hold.
    counts: Vec<u32>,
    /// Where what is looked through for echoes stands: records that are in no other.
    records: Vec<u32>,
    /// What all that changes in the bytes.
    edits: Vec<Edit>,
    open: Vec<Open>,
    /// Something that is not part of the value's shape had a say.
    read: bool,
    /// The fields of the record that ended last.
    fields: Vec<u32>,
}

impl Decision {
    fn clear(&mut self) {
        self.actions.clear();
        self.levels.clear();
        self.root.clear();
        self.forms.clear();
        self.counts.clear();
        self.records.clear();
        self.read = false;
    }

    /// What something stays in stays.
    fn keep_around(&mut self) {
        for level in self.levels.iter_mut().rev().take_while(|level| !level.stays) {
            level.stays = true;
            self.actions.set(level.node, NodeAction::Keep);
        }
    }
}

/// A held value and all there is to know for deciding it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit<'a> {
    pub(super) common: Common<'a>,
    pub(super) held: Held<'a>,
    pub(super) around: Surroundings<'a>,
}

impl Unit<'_> {
    /// Judges what the value holds, accounts for each record and writes what stays, after `lead` was told
    /// whether anything does and has written what stands before it.
    ///
    /// # Errors
    /// If evaluating the plan's conditions takes too long.
    pub(super) fn settle<A: FormPolicy>(
        &self,
        decision: &mut Decision,
        habits: &mut Arc<ShapeCache>,
        arbiter: &mut A,
        outside: &mut Outside<A::Permit>,
        out: &mut Vec<u8>,
        lead: impl FnOnce(bool, &mut Vec<u8>),
    ) -> Result<(), BodyFault> {
        decision.clear();
        let nodes = self.held.table.nodes.as_slice();
        let evaluation = Evaluation::new(self.held, self.common.plan.on_duplicate);
        let mut first = None;
        if let Some((root, start)) = self.alone() {
            let verdict = self.judge(&evaluation, 0, root, start, arbiter)?;
            decision.root.extend(self.common.forms(&verdict, arbiter));
            let circumstances = self.circumstances(&decision.root);
            if let Some(precedent) = habits.decisions.find(circumstances, nodes) {
                arbiter.account(&verdict, &precedent.fields);
                lead(precedent.keep, out);
                if precedent.keep {
                    self.write(&precedent.edits, decision, out);
                }
                return Ok(());
            }
            first = Some(verdict);
        }
        let may_add = first.is_some() && habits.decisions.may_add(nodes.len());
        let stays = self.decide(first, &evaluation, decision, arbiter, outside)?;
        self.list_edits(decision);
        lead(stays, out);
        if stays {
            self.write(&decision.edits, decision, out);
        }
        if may_add && !decision.read {
            let circumstances = self.circumstances(&decision.root);
            let precedent =
                CachedDecision::new(circumstances, nodes, &decision.fields, &decision.edits, stays);
            Arc::make_mut(habits).decisions.add(precedent);
        }
        Ok(())
    }

    /// The value's root and its start, if it is a record of which nothing but its shape and its verdict's
    /// forms may decide.
    fn alone(&self) -> Option<(&Node, RecordStart)> {
        let (plan, table) = (self.common.plan, self.held.table);
        let simple = !(plan.evaluates || plan.conceals || plan.explains);
        let whole = table.opaque.is_empty() && table.embedded.is_empty();
        let root = table.node(0).filter(|_| simple && whole)?;
        let start = plan.automaton.state(root.state).start;
        (start != RecordStart::None).then_some((root, start))
    }

    fn circumstances<'f>(&self, forms: &'f [Form]) -> CacheKey<'f> {
        CacheKey { class: self.around.class, root: self.around.root, forms }
    }

    /// Judges what the value holds, settles the fate of every node, and accounts for each record.
    /// `first` is the verdict over the root, if it was asked for. Tells whether the value stays.
    fn decide<A: FormPolicy>(
        &self,
        mut first: Option<A::Permit>,
        evaluation: &Evaluation<'_>,
        decision: &mut Decision,
        arbiter: &mut A,
        outside: &mut Outside<A::Permit>,
    ) -> Result<bool, BodyFault> {
        let plan = self.common.plan;
        let selected = if plan.evaluates { self.selected(evaluation)? } else { Vec::new() };
        let mut selected = selected.as_slice();
        let mut opaque = self.held.table.opaque.as_slice();
        // The verdicts over the records that are open.
        let mut verdicts: SmallVec<[A::Permit; 1]> = SmallVec::new();
        // Whether what is around stays is not decided here.
        let around = Level { node: 0, next: u32::MAX, class: self.around.class, records: 0, stays: true };
        let mut inmost = around;
        decision.actions.reserve(self.held.table.nodes.len());
        for (at, node) in (0..).zip(&self.held.table.nodes) {
            while inmost.next <= at {
                decision.levels.pop();
                let left = inmost.records;
                inmost = decision.levels.last().copied().unwrap_or(around);
                self.end_records(left - inmost.records, decision, &mut verdicts, arbiter);
            }
            let unreadable = match opaque.split_first() {
                Some((&first, rest)) if first == at => {
                    opaque = rest;
                    self.should_be_json(at, node, selected)
                }
                Some(_) | None => false,
            };
            let (own, start) = match selected.first() {
                Some(&(selected_at, _)) if selected_at == at => self.selection(at, node, &mut selected),
                _ if plan.automaton.flags(node.state).plain => (None, RecordStart::None),
                _ => (plan.state_class(node.state), plan.automaton.state(node.state).start),
            };
            let mut records = inmost.records;
            if start != RecordStart::None {
                decision.read |= at > 0;
                let verdict = match first.take() {
                    Some(verdict) => verdict,
                    None => self.judge(evaluation, at, node, start, arbiter)?,
                };
                decision.forms.extend(self.common.forms(&verdict, arbiter));
                decision.counts.resize(decision.forms.len(), 0);
                verdicts.push(verdict);
                if plan.withholds_echoes && records == 0 {
                    decision.records.push(at);
                }
                records += 1;
            }
            let class = own.unwrap_or(inmost.class);
            let last = records.saturating_sub(1) * plan.classes().len();
            let known = match records {
                0 => outside.form(class, self.common, arbiter),
                // A class that no verdict knows is removed.
                _ if usize::from(class.0) >= plan.classes().len() => Form::Removed,
                _ => decision.forms.get(last + usize::from(class.0)).copied().unwrap_or(Form::Removed),
            };
            let open = node.next > at + 1;
            let form = match known {
                _ if unreadable => Form::Removed,
                Form::Generalised if own.is_none() => {
                    decision.read = true;
                    // What was not noted inside of a container is told apart when it is written.
                    let is_closed = !open && self.is_container(node);
                    if is_closed { Form::Generalised } else { self.address_part(evaluation, node, class) }
                }
                form => form,
            };
            let may_be_bone = self.may_be_bone(at, node, own, start);
            // Whether a value without children is a container is not said by its shape.
            decision.read |= may_be_bone && !open;
            let is_bone = || may_be_bone && self.is_container(node);
            let fate = match form {
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
            decision.actions.push(fate);
            if plan.explains {
                decision.actions.classes.push(class);
            }
            if plan.conceals && fate == NodeAction::Keep && plan.redacts(class) {
                decision.actions.redacted.push(at);
            }
            if fate != NodeAction::Drop && !inmost.stays {
                decision.keep_around();
                inmost.stays = true;
            }
            if open {
                inmost = Level { node: at, next: node.next, class, records, stays: fate != NodeAction::Drop };
                decision.levels.push(inmost);
            } else {
                self.end_records(records - inmost.records, decision, &mut verdicts, arbiter);
            }
        }
        self.end_records(verdicts.len(), decision, &mut verdicts, arbiter);
        let actions = &mut decision.actions;
        let answer = plan.explains.then(|| RdapAnswer::repair(plan, self.held, actions));
        if plan.conceals {
            // The words of the format are no values that a record withholds.
            self.conceal(decision, if plan.explains { rdap::is_word } else { |_| false })?;
        }
        if let Some(answer) = answer {
            answer.list_redactions(&mut decision.actions);
        }
        Ok(self.around.root || !decision.actions.drops(0))
    }

    /// Accounts for the innermost records that are open: they end here.
    #[inline]
    fn end_records<A: FormPolicy>(
        &self,
        records: usize,
        decision: &mut Decision,
        verdicts: &mut SmallVec<[A::Permit; 1]>,
        arbiter: &mut A,
    ) {
        for _ in 0..records {
            let rest = decision.counts.len().saturating_sub(self.common.plan.classes().len());
            if let Some(verdict) = verdicts.pop() {
                let fields = decision.counts.get(rest..).unwrap_or_default();
                arbiter.account(&verdict, fields);
                decision.fields.clear();
                decision.fields.extend_from_slice(fields);
            }
            decision.counts.truncate(rest);
            decision.forms.truncate(rest);
        }
    }

    /// What selects a node that queries were evaluated to select: the class that its own fields make,
    /// and the record that begins there.
    fn selection(
        &self,
        at: u32,
        node: &Node,
        selected: &mut &[(u32, u16)],
    ) -> (Option<ClassId>, RecordStart) {
        let plan = self.common.plan;
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
        let selected = self.selected(&Evaluation::new(self.held, self.common.plan.on_duplicate))?;
        let embedded = selected.into_iter().filter(|(_, query)| self.common.plan.is_embedded(*query));
        let mut nodes: Vec<u32> = embedded.map(|(at, _)| at).collect();
        nodes.dedup();
        Ok(nodes)
    }

    /// The strings that are JSON, or are if conditions select them.
    pub(in crate::scrub) fn may_be_embedded(&self) -> Vec<u32> {
        let (plan, table) = (self.common.plan, self.held.table);
        let may_be = |at: &u32| {
            let Some(node) = table.node(*at) else { return false };
            let maybe = &plan.automaton.state(node.state).maybe_fields;
            table.texts.binary_search(at).is_ok() || maybe.iter().any(|&query| plan.is_embedded(query))
        };
        (0..table.len()).filter(may_be).collect()
    }

    /// Whether a string that is not JSON had to be: one of the fields that select it says so.
    fn should_be_json(&self, at: u32, node: &Node, selected: &[(u32, u16)]) -> bool {
        let plan = self.common.plan;
        let evaluated = selected.iter().take_while(|(node, _)| *node == at).map(|(_, query)| *query);
        let certain = plan.automaton.state(node.state).fields.iter().copied();
        certain.chain(evaluated).any(|query| plan.is_embedded(query))
    }

    /// Whether a node, if it is a container, stays whatever it holds: a record, or on the way to one.
    fn may_be_bone(&self, at: u32, node: &Node, own: Option<ClassId>, start: RecordStart) -> bool {
        let document = self.around.root && at == 0 && own.is_none();
        start != RecordStart::None || document || self.common.plan.automaton.state(node.state).skeleton
    }

    fn is_container(&self, node: &Node) -> bool {
        matches!(self.held.bytes.get(node.start as usize), Some(b'{' | b'['))
    }

    /// A member of an address that is generalised: the country and the region remain.
    fn address_part(&self, evaluation: &Evaluation<'_>, node: &Node, class: ClassId) -> Form {
        if self.common.plan.value_context(class, None).kind != ValueKind::Address {
            return Form::Generalised;
        }
        match evaluation.name(node) {
            Some(name) if is_coarse_address_part(&name) => Form::Clear,
            Some(_) => Form::Removed,
            None => Form::Generalised,
        }
    }
}
