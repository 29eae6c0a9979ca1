//! What is held until it is whole: noted node for node, then handed to [`super::super::held_value`].

use super::{Expect, Mode, Walk, WalkContext, WalkResult};
use crate::scrub::class::UNCLASSIFIED;
use crate::scrub::embedded::ExpandedValue;
use crate::scrub::evaluate::MemberKey;
use crate::scrub::form_policy::FormPolicy;
use crate::scrub::held_value::{HeldValue, Placement};
use crate::scrub::lex::denoted;
use crate::scrub::node_table::{HeldJson, Node};
use crate::scrub::unreadable::BodyFault;

/// Nodes of a record that has not many.
const USUAL_NODES: usize = 48;

/// The value that is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    /// Where its name begins, or itself.
    pub(super) base: usize,
    pub(super) start: usize,
    /// Frames around it.
    pub(super) depth: usize,
}

impl Walk {
    /// Notes the value at `at` in the table: its node, and whether what is in it is noted too.
    #[inline(always)]
    pub(super) fn index_node<A: FormPolicy>(
        &mut self,
        at: usize,
        end: Option<usize>,
        context: &WalkContext<'_, A>,
    ) -> (u32, bool) {
        let plan = context.route.plan;
        let state = self.value_state(plan);
        let mark = plan.automaton.flags(state);
        let node = self.table.len();
        let base = self.holding.map_or(0, |holding| holding.base);
        let member = !self.frames.top().array;
        let offset = |place: usize| place.wrapping_sub(base) as u32;
        self.table.nodes.push(Node {
            name: offset(if member { self.name_start } else { at }),
            start: offset(at),
            end: offset(end.unwrap_or(at)),
            next: node + 1,
            state,
        });
        if mark.embedded && end.is_some() {
            self.table.json_strings.push(node);
        }
        if mark.captures {
            let captures = &plan.automaton.state(state).captures;
            self.table.captures.extend(captures.iter().map(|&query| (query, node)));
        }
        if self.duplicate {
            if let (true, Some(parent)) = (member, self.frames.top().node) {
                self.table.duplicates.push((node, parent));
            }
            self.duplicate = false;
        }
        (node, mark.relevant_below || plan.indexes_all)
    }

    pub(super) fn hold<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        at: usize,
        byte: u8,
        end: Option<usize>,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<(usize, Expect)> {
        let base = if self.frames.top().array { at } else { self.name_start };
        self.holding = Some(Holding { base, start: at, depth: self.frames.depth() });
        self.table.clear();
        self.table.nodes.reserve(USUAL_NODES);
        self.duplicate = false;
        let (node, noted) = self.index_node(at, end, context);
        match end {
            Some(end) => {
                self.finish_held(bytes, end, context)?;
                Ok((end, self.after_value()))
            }
            None => {
                self.open(at, byte, if noted { Mode::Indexed } else { Mode::Validated }, Some(node), context)
            }
        }
    }

    /// The held value is whole.
    pub(super) fn finish_held<A: FormPolicy>(
        &mut self,
        bytes: &[u8],
        end: usize,
        context: &mut WalkContext<'_, A>,
    ) -> WalkResult<()> {
        let Some(holding) = self.holding.take() else { return Ok(()) };
        if end - holding.start > context.limits.record {
            return self.fail(holding.start, BodyFault::TooLong);
        }
        if self.index_only {
            return Ok(());
        }
        let plan = context.route.plan;
        let held = HeldJson { table: &self.table, bytes: bytes.get(holding.base..end).unwrap_or_default() };
        let root = held.table.node(0);
        let name = root.and_then(|root| held.name(root)).map(denoted);
        let around = Placement {
            inherited_class: self.stream.class().unwrap_or(UNCLASSIFIED),
            conditions: &plan.automaton.state(self.frames.top().state).anchors,
            key: match &name {
                Some(name) => MemberKey::Name(name),
                None => MemberKey::Index(self.frames.top().index),
            },
            is_document: self.frames.is_empty(),
        };
        let unit = HeldValue { route: context.route, held, placement: around };
        let (route, limits) = (context.route, context.limits);
        let read_text = |state, text: &[u8]| Walk::index_text(route, state, text, limits).ok();
        let expanded = match ExpandedValue::expand(unit, &read_text) {
            Ok(expanded) => expanded,
            Err(fault) => return self.fail(holding.start, fault),
        };
        let unit = HeldValue { held: expanded.as_ref().map_or(held, ExpandedValue::held), ..unit };
        let stream = &mut self.stream;
        let lead = |stays: bool, out: &mut Vec<u8>| {
            if stays {
                stream.keep(bytes, out);
                stream.write(bytes, holding.start, out);
            } else {
                stream.remove(bytes, holding.start, out);
            }
        };
        let (decision, shapes) = (&mut self.decision, &mut self.shapes);
        let settled = unit.scrub(decision, shapes, context.policy, context.outside, context.out, lead);
        if let Err(fault) = settled {
            return self.fail(holding.start, fault);
        }
        self.stream.skip_to(end);
        Ok(())
    }
}
