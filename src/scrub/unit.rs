//! A value that was held until it is whole: its records are judged, and what may leave is written.
//!
//! Refuses to know chunks and what surrounds the value. Two passes over the table: the first gives
//! every node its class, its record's verdict and so its fate; the second copies the spans that
//! stay. Invariant: a node leaves only under the verdict of the innermost record it stands in.

use smallvec::SmallVec;

use super::arbiter::Arbiter;
use super::automaton::{Position, Start};
use super::evaluate::{Evaluation, Place, TooCostly};
use super::facts;
use super::forms::{Forms, Shape, is_coarse_address_part};
use super::judge::{Record, SubjectId};
use super::mapping::RemovedAs;
use super::plan::{Capture, From, Plan, Role, Set, Source};
use super::query::Anchor;
use super::scrubber::Parameters;
use super::table::{Held, Node};
use crate::decision::{ClassId, RecordFacts};
use crate::vocabulary::Form;

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Copied; for a container whose content is in the table, its brackets.
    Stays,
    /// Written in a form of its class.
    Changes(Form, ClassId),
    Goes,
}

/// Buffers that are used again from one value to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    fates: Vec<Fate>,
    levels: Vec<Level>,
    /// Fields by verdict and class.
    counts: Vec<u32>,
    open: Vec<Open>,
}

/// A container on the way to the current node.
#[derive(Clone, Copy, Debug)]
struct Level {
    node: u32,
    next: u32,
    class: ClassId,
    /// Position among the value's verdicts.
    verdict: Option<usize>,
    stays: bool,
}

/// A container that is being written.
#[derive(Clone, Copy, Debug)]
struct Open {
    next: u32,
    /// The end of the last child, or of the opening bracket.
    after: usize,
    first: bool,
    written: bool,
}

/// The verdict over what no record holds, and what was counted under it.
#[derive(Debug)]
pub(super) struct Outside<V> {
    pub(super) verdict: Option<V>,
    pub(super) fields: Vec<u32>,
}

impl<V> Outside<V> {
    pub(super) fn verdict<A: Arbiter<Verdict = V>>(&mut self, arbiter: &mut A) -> &V {
        self.verdict.get_or_insert_with(|| arbiter.document())
    }

    pub(super) fn count(&mut self, class: ClassId) {
        if let Some(count) = self.fields.get_mut(usize::from(class.0)) {
            *count += 1;
        }
    }
}

/// What stands around a held value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    /// The class of the nearest classified container around it.
    pub(super) class: ClassId,
    /// The conditions to evaluate on the value itself, and where it stands.
    pub(super) conditions: &'a [Position],
    pub(super) place: Place<'a>,
    /// It is the document.
    pub(super) root: bool,
}

/// What the whole exchange has in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common<'a> {
    pub(super) plan: &'a Plan,
    pub(super) forms: &'a Forms,
    pub(super) parameters: &'a Parameters,
}

/// A decided value.
pub(super) struct Unit<'a, A: Arbiter> {
    common: Common<'a>,
    held: Held<'a>,
    evaluation: Evaluation<'a>,
    /// Nodes that evaluated queries select, as (node, query), in document order.
    selected: Vec<(u32, u16)>,
    verdicts: SmallVec<[A::Verdict; 1]>,
}

impl<'a, A: Arbiter> Unit<'a, A> {
    /// Judges what the value holds and settles the fate of every node. Tells whether it stays.
    ///
    /// # Errors
    /// If evaluating the plan's conditions takes too long.
    pub(super) fn decide(
        common: Common<'a>,
        held: Held<'a>,
        around: Surroundings<'_>,
        scratch: &mut Scratch,
        arbiter: &mut A,
        outside: &mut Outside<A::Verdict>,
    ) -> Result<(Unit<'a, A>, bool), TooCostly> {
        let mut unit = Unit {
            common,
            held,
            evaluation: Evaluation::new(held),
            selected: Vec::new(),
            verdicts: SmallVec::new(),
        };
        if common.plan.evaluates {
            unit.evaluate(around)?;
        }
        scratch.fates.clear();
        scratch.counts.clear();
        scratch.levels.clear();
        let mut selected = std::mem::take(&mut unit.selected);
        let mut rest = selected.as_slice();
        for (at, node) in (0..).zip(&held.table.nodes) {
            let here = rest.iter().take_while(|(node, _)| *node == at).count();
            let (on_node, later) = rest.split_at(here);
            rest = later;
            unit.settle(at, node, on_node, around, scratch, arbiter, outside)?;
        }
        selected.clear();
        unit.selected = selected;
        let stays = around.root || scratch.fates.first().is_some_and(|fate| *fate != Fate::Goes);
        Ok((unit, stays))
    }

    /// Evaluates what the automaton left open: the conditions on the value itself, and those that
    /// are anchored in it.
    fn evaluate(&mut self, around: Surroundings<'_>) -> Result<(), TooCostly> {
        for position in around.conditions {
            let Some((step, rest)) = self.segments(*position).split_first() else { continue };
            if self.evaluation.selects_held(step, around.place)? {
                self.select(position.query, rest, 0)?;
            }
            if step.descendant {
                self.select(position.query, self.segments(*position), 0)?;
            }
        }
        for (at, node) in (0..).zip(&self.held.table.nodes) {
            for position in &self.common.plan.automaton.state(node.state).anchors {
                self.select(position.query, self.segments(*position), at)?;
            }
        }
        self.selected.sort_unstable();
        self.selected.dedup();
        Ok(())
    }

    fn segments(&self, position: Position) -> &'a [super::query::Segment] {
        let query = self.common.plan.query(position.query);
        query.and_then(|query| query.segments.get(usize::from(position.segment)..)).unwrap_or_default()
    }

    /// Notes what a query selects; a record among it brings its fields with it.
    fn select(&mut self, query: u16, segments: &[super::query::Segment], from: u32) -> Result<(), TooCostly> {
        let plan = self.common.plan;
        let nodes = self.evaluation.select(segments, from, from)?;
        self.selected.extend(nodes.iter().map(|&node| (node, query)));
        let Some(Role::Record(set)) = plan.role(query) else { return Ok(()) };
        let fields = plan.sets.get(*set).map(|set| set.fields.as_slice()).unwrap_or_default();
        for &record in &nodes {
            for &field in fields {
                let Some(field_query) = plan.query(field) else { continue };
                let below = self.evaluation.select(&field_query.segments, record, record)?;
                self.selected.extend(below.into_iter().map(|node| (node, field)));
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn settle(
        &mut self,
        at: u32,
        node: &Node,
        selected: &[(u32, u16)],
        around: Surroundings<'_>,
        scratch: &mut Scratch,
        arbiter: &mut A,
        outside: &mut Outside<A::Verdict>,
    ) -> Result<(), TooCostly> {
        let plan = self.common.plan;
        while scratch.levels.last().is_some_and(|level| level.next <= at) {
            scratch.levels.pop();
        }
        let state = plan.automaton.state(node.state);
        let (inherited, inherited_verdict) = match scratch.levels.last() {
            Some(level) => (level.class, level.verdict),
            None => (around.class, None),
        };

        let own = if selected.is_empty() {
            plan.state_classes.get(node.state.0 as usize).copied().flatten()
        } else {
            let fields = |query: &u16| matches!(plan.role(*query), Some(Role::Field { .. }));
            let evaluated = selected.iter().map(|(_, query)| *query).filter(fields);
            let class = plan.class_of(&state.fields, evaluated);
            (class != super::plan::UNCLASSIFIED).then_some(class)
        };
        let class = own.unwrap_or(inherited);

        let start = selected.iter().fold(state.start, |start, (_, query)| match plan.role(*query) {
            Some(Role::Record(set)) => start.and(*set),
            Some(Role::Field { .. } | Role::Capture) | None => start,
        });
        let verdict = match start {
            Start::None => inherited_verdict,
            Start::Of(_) | Start::Disputed => {
                let verdict = self.judge(at, node, start, arbiter)?;
                self.verdicts.push(verdict);
                scratch.counts.resize(self.verdicts.len() * plan.classes().len(), 0);
                Some(self.verdicts.len() - 1)
            }
        };

        let first = self.held.bytes.get(node.start as usize).copied().unwrap_or(0);
        let container = matches!(first, b'{' | b'[');
        let form = match verdict.and_then(|number| self.verdicts.get(number)) {
            Some(verdict) => arbiter.form(verdict, class),
            None => {
                outside.verdict(arbiter);
                outside.verdict.as_ref().map_or(Form::Removed, |verdict| arbiter.form(verdict, class))
            }
        };
        let mut form = self.common.forms.feasible(form);
        if form == Form::Generalised && own.is_none() && plan.kind(class, None).shape == Shape::Address {
            form = self.address_part(node, form);
        }
        let open = container && node.next > at + 1;
        let document = around.root && at == 0 && own.is_none();
        let bone = container && (start != Start::None || state.structure || document);
        let fate = match form {
            Form::Clear => Fate::Stays,
            Form::Masked | Form::Generalised | Form::Pseudonymised if open => Fate::Stays,
            Form::Masked | Form::Generalised | Form::Pseudonymised => Fate::Changes(form, class),
            Form::Removed if bone => Fate::Stays,
            Form::Removed => Fate::Goes,
        };
        if own.is_some() || (class == super::plan::UNCLASSIFIED && !open && !bone) {
            match verdict {
                Some(number) => {
                    let count = number * plan.classes().len() + usize::from(class.0);
                    if let Some(count) = scratch.counts.get_mut(count) {
                        *count += 1;
                    }
                }
                None => outside.count(class),
            }
        }
        scratch.fates.push(fate);
        if fate != Fate::Goes {
            // What something stays in stays.
            for level in scratch.levels.iter_mut().rev().take_while(|level| !level.stays) {
                level.stays = true;
                if let Some(fate) = scratch.fates.get_mut(level.node as usize) {
                    *fate = Fate::Stays;
                }
            }
        }
        if open {
            scratch.levels.push(Level { node: at, next: node.next, class, verdict, stays: fate != Fate::Goes });
        }
        Ok(())
    }

    /// A member of an address that is generalised: the country and the region remain.
    fn address_part(&self, node: &Node, form: Form) -> Form {
        match self.evaluation.name(node) {
            Some(name) if is_coarse_address_part(&name) => Form::Clear,
            Some(_) => Form::Removed,
            None => form,
        }
    }

    fn judge(&self, at: u32, node: &Node, start: Start, arbiter: &mut A) -> Result<A::Verdict, TooCostly> {
        let set = match start {
            Start::Of(set) => set,
            Start::None | Start::Disputed => {
                let record = Record { set: 0, subjects: None, controller: None, facts: &RecordFacts::default() };
                return Ok(arbiter.record(&record));
            }
        };
        let nothing = Set::default();
        let mapping = self.common.plan.sets.get(set).unwrap_or(&nothing);
        let mut subjects: Option<SmallVec<[SubjectId; 1]>> = Some(SmallVec::new());
        for (number, source) in mapping.subjects.iter().enumerate() {
            let found = self.ids(source, self.common.parameters.subject(set, number), at, node, mapping)?;
            match (&mut subjects, found) {
                (Some(all), Some(found)) => all.extend(found),
                _ => subjects = None,
            }
        }
        let controller = match &mapping.controller {
            Some(source) => self.ids(source, self.common.parameters.controller(set), at, node, mapping)?,
            None => None,
        };
        let controller = controller.filter(|ids| ids.len() == 1).and_then(|ids| ids.into_iter().next());
        let mut facts = RecordFacts::default();
        for (key, capture) in &mapping.facts {
            match self.captured(*capture, at, node, mapping)?.as_deref() {
                Some([]) => {}
                Some(&[one]) => facts::set(&mut facts, *key, self.text(one)),
                Some(_) | None => facts::set(&mut facts, *key, None),
            }
        }
        let record =
            Record { set, subjects: subjects.as_deref(), controller: controller.as_ref(), facts: &facts };
        Ok(arbiter.record(&record))
    }

    /// Everybody that a source names; `None` if that is nobody, or not to be told.
    fn ids(
        &self,
        source: &Source,
        parameter: Option<&SubjectId>,
        at: u32,
        node: &Node,
        set: &Set,
    ) -> Result<Option<SmallVec<[SubjectId; 1]>>, TooCostly> {
        let capture = match &source.from {
            From::Parameter(_) => return Ok(parameter.cloned().map(|id| SmallVec::from_iter([id]))),
            From::Body(capture) => *capture,
        };
        let Some(nodes) = self.captured(capture, at, node, set)? else { return Ok(None) };
        let read = |&node: &u32| {
            let id = facts::id(self.text(node)?, source.normalise)?;
            Some(SubjectId { namespace: source.namespace.clone(), id })
        };
        let ids: Option<SmallVec<[SubjectId; 1]>> = nodes.iter().map(read).collect();
        Ok(ids.filter(|ids| !ids.is_empty()))
    }

    fn text(&self, at: u32) -> Option<&'a [u8]> {
        self.held.table.node(at).map(|node| self.held.text(node))
    }

    /// The nodes that a capture of the record at `at` selects; `None` if a repeated name makes it
    /// unclear which of them count.
    fn captured(
        &self,
        capture: Capture,
        at: u32,
        node: &Node,
        set: &Set,
    ) -> Result<Option<SmallVec<[u32; 2]>>, TooCostly> {
        let from = match capture.anchor {
            Anchor::Record => at,
            Anchor::Document => 0,
        };
        let nodes: SmallVec<[u32; 2]> = if set.evaluated || capture.anchor == Anchor::Document {
            let Some(query) = self.common.plan.query(capture.query) else { return Ok(None) };
            self.evaluation.select(&query.segments, from, from)?.into()
        } else {
            let found = &self.held.table.captures;
            let first = found.partition_point(|(_, node)| *node < at);
            let here = found.iter().skip(first).take_while(|(_, found)| *found < node.next);
            here.filter(|(query, _)| *query == capture.query).map(|(_, node)| *node).collect()
        };
        let several = capture.singular && nodes.len() > 1;
        let unclear = several || nodes.iter().any(|&found| self.is_repeated(from, found, set.evaluated));
        Ok((!unclear).then_some(nodes))
    }

    /// Whether some name between `from` and `found` occurs twice in its object.
    fn is_repeated(&self, from: u32, found: u32, evaluated: bool) -> bool {
        let within = |container: u32| {
            let next = self.held.table.node(container).map_or(0, |node| node.next);
            (container..next).contains(&found)
        };
        self.held.table.repeated.iter().filter(|(_, parent)| *parent >= from).any(|&(repeated, parent)| {
            // A condition may have read the other occurrence.
            if evaluated {
                return true;
            }
            let name = |at: u32| self.held.table.node(at).and_then(|node| self.evaluation.name(node));
            within(parent)
                && self.held.children(parent).any(|(child, node)| {
                    (child..node.next).contains(&found) && name(child) == name(repeated)
                })
        })
    }

    /// Writes what stays of the value, from its first byte to its last.
    pub(super) fn write(&self, scratch: &mut Scratch, out: &mut Vec<u8>) {
        let held = self.held;
        let Some(root) = held.table.node(0) else { return };
        let fate = |at: u32| scratch.fates.get(at as usize).copied().unwrap_or(Fate::Goes);
        let copy = |from: usize, to: usize, out: &mut Vec<u8>| {
            out.extend_from_slice(held.bytes.get(from..to).unwrap_or_default());
        };
        // Everything before is written or gone.
        let mut done = root.start as usize;
        scratch.open.clear();
        let mut at = 0;
        while let Some(node) = held.table.node(at) {
            while scratch.open.last().is_some_and(|open| open.next <= at) {
                scratch.open.pop();
            }
            let (start, end) = (node.start as usize, node.end as usize);
            let fate = fate(at);
            if let Some(parent) = scratch.open.last_mut() {
                let goes = fate == Fate::Goes && self.common.plan.removed_as == RemovedAs::Omit;
                if goes {
                    copy(done, parent.after, out);
                    done = end;
                } else if !parent.written && !parent.first {
                    // The first that stays: the comma before it has nothing to separate.
                    copy(done, parent.after, out);
                    done = after_comma(held.bytes, parent.after);
                }
                parent.after = end;
                parent.first = false;
                parent.written |= !goes;
                if goes {
                    at = node.next;
                    continue;
                }
            }
            let open = node.next > at + 1;
            match fate {
                Fate::Stays if open => {
                    let after = start + 1;
                    scratch.open.push(Open { next: node.next, after, first: true, written: false });
                    at += 1;
                }
                Fate::Stays => at += 1,
                Fate::Changes(form, class) => {
                    copy(done, start, out);
                    let name = self.evaluation.name(node);
                    let kind = self.common.plan.kind(class, name.as_deref());
                    self.common.forms.write(form, kind, held.text(node), out);
                    done = end;
                    at = node.next;
                }
                Fate::Goes => {
                    copy(done, start, out);
                    out.extend_from_slice(replacement(self.common.plan.removed_as, held.text(node)));
                    done = end;
                    at = node.next;
                }
            }
        }
        copy(done, root.end as usize, out);
    }

    /// Tells the arbiter what was written.
    pub(super) fn account(&self, scratch: &Scratch, arbiter: &mut A) {
        let counts = scratch.counts.chunks(self.common.plan.classes().len().max(1));
        for (verdict, fields) in self.verdicts.iter().zip(counts) {
            arbiter.account(verdict, fields);
        }
    }
}

/// Past the comma that is the first thing but white space from `at` on.
pub(super) fn after_comma(bytes: &[u8], at: usize) -> usize {
    let comma = super::lex::space(bytes, at);
    if bytes.get(comma) == Some(&b',') { comma + 1 } else { at }
}

/// What stands for a value that went.
pub(super) fn replacement(removed_as: RemovedAs, value: &[u8]) -> &'static [u8] {
    match (removed_as, value.first()) {
        (RemovedAs::Empty, Some(b'"')) => b"\"\"",
        (RemovedAs::Empty, Some(b'[')) => b"[]",
        (RemovedAs::Empty, Some(b'{')) => b"{}",
        (RemovedAs::Omit | RemovedAs::Null | RemovedAs::Empty, _) => b"null",
    }
}
