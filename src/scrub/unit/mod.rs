//! A value that was held until it is whole: its records are judged, and what may leave is written.
//!
//! Refuses to know chunks and what surrounds the value. Two passes over the table: the first gives
//! every node its class, its record's verdict and so its fate; the second copies the spans that
//! stay. Invariant: a node leaves only under the verdict of the innermost record it stands in.

mod about;
mod selection;
mod write;

pub(super) use write::{after_comma, replacement};

use smallvec::SmallVec;

use super::arbiter::Arbiter;
use super::automaton::{Position, Start};
use super::evaluate::{Evaluation, Place, TooCostly};
use super::forms::{Forms, Shape, is_coarse_address_part};
use super::plan::{Plan, Role, UNCLASSIFIED};
use super::scrubber::Parameters;
use super::table::{Held, Node};
use crate::decision::ClassId;
use crate::vocabulary::Form;

/// What the whole exchange has in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common<'a> {
    pub(super) plan: &'a Plan,
    pub(super) forms: &'a Forms,
    pub(super) parameters: &'a Parameters,
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

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Copied; for a container whose content is in the table, its brackets.
    Stays,
    /// Written in a form of its class.
    Changes(Form, ClassId),
    Goes,
}

/// A container on the way to the current node.
#[derive(Clone, Copy, Debug)]
struct Level {
    node: u32,
    next: u32,
    class: ClassId,
    ruling: Ruling,
    stays: bool,
}

/// Whose verdict holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ruling {
    /// That over what no record holds.
    Outside,
    /// A record's: where its forms begin, and its counts.
    Record { forms: usize, counts: usize },
}

/// What was decided about a value, and buffers that are used again for the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Decision {
    fates: Vec<Fate>,
    levels: Vec<Level>,
    /// The forms of each verdict, class by class.
    forms: Vec<Form>,
    /// The fields of each record, class by class.
    counts: Vec<u32>,
    outside_at: Option<usize>,
    open: Vec<write::Open>,
}

impl Decision {
    fn clear(&mut self) {
        self.fates.clear();
        self.levels.clear();
        self.forms.clear();
        self.counts.clear();
        self.outside_at = None;
    }

    /// What something stays in stays.
    fn keep_around(&mut self) {
        for level in self.levels.iter_mut().rev().take_while(|level| !level.stays) {
            level.stays = true;
            if let Some(fate) = self.fates.get_mut(level.node as usize) {
                *fate = Fate::Stays;
            }
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
    /// Judges what the value holds and settles the fate of every node. Tells whether it stays, and
    /// the verdicts over its records.
    ///
    /// # Errors
    /// If evaluating the plan's conditions takes too long.
    pub(super) fn decide<A: Arbiter>(
        &self,
        decision: &mut Decision,
        arbiter: &mut A,
        outside: &mut Outside<A::Verdict>,
        verdicts: &mut SmallVec<[A::Verdict; 1]>,
    ) -> Result<bool, TooCostly> {
        decision.clear();
        verdicts.clear();
        let evaluation = Evaluation::new(self.held);
        let selected = if self.common.plan.evaluates { self.selected(&evaluation)? } else { Vec::new() };
        let mut selected = selected.as_slice();
        let around = Level {
            node: 0,
            next: u32::MAX,
            class: self.around.class,
            ruling: Ruling::Outside,
            // Whatever is around is not decided here.
            stays: true,
        };
        let mut inmost = around;
        for (at, node) in (0..).zip(&self.held.table.nodes) {
            while inmost.next <= at {
                decision.levels.pop();
                inmost = decision.levels.last().copied().unwrap_or(around);
            }
            let (own, start) = self.selection(at, node, &mut selected);
            let ruling = match start {
                Start::None => inmost.ruling,
                Start::Of(_) | Start::Disputed => {
                    verdicts.push(self.judge(&evaluation, at, node, start, arbiter)?);
                    self.rule(decision, verdicts.last(), arbiter)
                }
            };
            let class = own.unwrap_or(inmost.class);
            let form = match self.form(decision, ruling, class, arbiter, outside) {
                Form::Generalised if own.is_none() => self.address_part(&evaluation, node, class),
                form => form,
            };
            let open = node.next > at + 1;
            let is_bone = || self.is_bone(at, node, own, start);
            let fate = match form {
                Form::Clear => Fate::Stays,
                // What is in it changes, node by node.
                Form::Masked | Form::Generalised | Form::Pseudonymised if open => Fate::Stays,
                Form::Masked | Form::Generalised | Form::Pseudonymised => Fate::Changes(form, class),
                Form::Removed if is_bone() => Fate::Stays,
                Form::Removed => Fate::Goes,
            };
            if own.is_some() || (class == UNCLASSIFIED && !open && !is_bone()) {
                match ruling {
                    Ruling::Record { counts, .. } => count(&mut decision.counts, counts, class),
                    Ruling::Outside => outside.count(class),
                }
            }
            decision.fates.push(fate);
            if fate != Fate::Goes && !decision.levels.last().is_none_or(|level| level.stays) {
                decision.keep_around();
            }
            if open {
                inmost = Level { node: at, next: node.next, class, ruling, stays: fate != Fate::Goes };
                decision.levels.push(inmost);
            }
        }
        Ok(self.around.root || decision.fates.first().is_some_and(|fate| *fate != Fate::Goes))
    }

    /// What selects a node: the class that its own fields make, and the record that begins there.
    fn selection(&self, at: u32, node: &Node, selected: &mut &[(u32, u16)]) -> (Option<ClassId>, Start) {
        let plan = self.common.plan;
        let state = plan.automaton.state(node.state);
        let here = selected.iter().take_while(|(node, _)| *node == at).count();
        let (on_node, later) = selected.split_at(here);
        *selected = later;
        if on_node.is_empty() {
            return (plan.state_class(node.state), state.start);
        }
        let fields = |query: &u16| matches!(plan.role(*query), Some(Role::Field { .. }));
        let class = plan.class_of(&state.fields, on_node.iter().map(|(_, query)| *query).filter(fields));
        let start = on_node.iter().fold(state.start, |start, (_, query)| match plan.role(*query) {
            Some(Role::Record(set)) => start.and(*set),
            Some(Role::Field { .. } | Role::Capture) | None => start,
        });
        ((class != UNCLASSIFIED).then_some(class), start)
    }

    /// Works a record's verdict out for every class.
    fn rule<A: Arbiter>(&self, decision: &mut Decision, verdict: Option<&A::Verdict>, arbiter: &A) -> Ruling {
        let (forms, counts) = (decision.forms.len(), decision.counts.len());
        decision.forms.extend(self.forms(verdict, arbiter));
        decision.counts.resize(counts + self.common.plan.classes().len(), 0);
        Ruling::Record { forms, counts }
    }

    fn forms<A: Arbiter>(&self, verdict: Option<&A::Verdict>, arbiter: &A) -> impl Iterator<Item = Form> {
        let classes = (0..).map(ClassId).take(self.common.plan.classes().len());
        classes.map(move |class| {
            let form = verdict.map_or(Form::Removed, |verdict| arbiter.form(verdict, class));
            self.common.forms.feasible(form)
        })
    }

    fn form<A: Arbiter>(
        &self,
        decision: &mut Decision,
        ruling: Ruling,
        class: ClassId,
        arbiter: &mut A,
        outside: &mut Outside<A::Verdict>,
    ) -> Form {
        let forms = match ruling {
            Ruling::Record { forms, .. } => forms,
            Ruling::Outside => match decision.outside_at {
                Some(forms) => forms,
                None => {
                    let forms = decision.forms.len();
                    outside.verdict(arbiter);
                    decision.forms.extend(self.forms(outside.verdict.as_ref(), arbiter));
                    decision.outside_at = Some(forms);
                    forms
                }
            },
        };
        // A class that no verdict knows is removed.
        decision.forms.get(forms + usize::from(class.0)).copied().unwrap_or(Form::Removed)
    }

    /// Whether a node is a container that stays whatever it holds: a record, or on the way to one.
    fn is_bone(&self, at: u32, node: &Node, own: Option<ClassId>, start: Start) -> bool {
        let document = self.around.root && at == 0 && own.is_none();
        let bone = start != Start::None || document || self.common.plan.automaton.state(node.state).structure;
        bone && matches!(self.held.bytes.get(node.start as usize), Some(b'{' | b'['))
    }

    /// A member of an address that is generalised: the country and the region remain.
    fn address_part(&self, evaluation: &Evaluation<'_>, node: &Node, class: ClassId) -> Form {
        if self.common.plan.kind(class, None).shape != Shape::Address {
            return Form::Generalised;
        }
        match evaluation.name(node) {
            Some(name) if is_coarse_address_part(&name) => Form::Clear,
            Some(_) => Form::Removed,
            None => Form::Generalised,
        }
    }

    /// Tells the arbiter what was written.
    pub(super) fn account<A: Arbiter>(&self, decision: &Decision, verdicts: &[A::Verdict], arbiter: &mut A) {
        let counts = decision.counts.chunks(self.common.plan.classes().len().max(1));
        for (verdict, fields) in verdicts.iter().zip(counts) {
            arbiter.account(verdict, fields);
        }
    }
}

fn count(counts: &mut [u32], of: usize, class: ClassId) {
    if let Some(count) = counts.get_mut(of + usize::from(class.0)) {
        *count += 1;
    }
}
