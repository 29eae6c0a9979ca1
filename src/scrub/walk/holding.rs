//! Values that are held until they are whole. Their nodes are put in a table, and the table is then handed to
//! [`super::super::held_value`].

use super::frames::Mode;
use super::{Expect, Walk, WalkContext, WalkResult};
use crate::scrub::class::UNCLASSIFIED;
use crate::scrub::embedded::ExpandedValue;
use crate::scrub::evaluate::MemberKey;
use crate::scrub::form_policy::FormPolicy;
use crate::scrub::held_value::{HeldValue, Placement};
use crate::scrub::lex::denoted;
use crate::scrub::node_table::{HeldJson, Node};
use crate::scrub::unreadable::BodyFault;

/// The initial capacity of the table, in nodes.
const INITIAL_NODES: usize = 48;

/// The value that is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    /// The offset of the member's name, or of the value if it has no name. Offsets in the table count from here.
    pub(super) base: usize,
    /// The offset of the value.
    pub(super) start: usize,
    /// The number of containers around the value.
    pub(super) depth: usize,
}

impl Walk {
    /// Adds the value at `at` to the table. Returns the number of its node, and true if its content has to be added
    /// as well.
    #[inline(always)]
    pub(super) fn index_node<A: FormPolicy>(
        &mut self,
        at: usize,
        end: Option<usize>,
        context: &WalkContext<'_, A>,
    ) -> (u32, bool) {
        let plan = context.route.plan;
        let state = self.value_state(plan);
        let flags = plan.automaton.flags(state);
        let node = self.table.len();
        let base = self.holding.map_or(0, |holding| holding.base);
        let is_member = !self.frames.top().array;
        let offset = |at: usize| at.wrapping_sub(base) as u32;
        self.table.nodes.push(Node {
            name: offset(if is_member { self.name_start } else { at }),
            start: offset(at),
            end: offset(end.unwrap_or(at)),
            next: node + 1,
            state,
        });
        if flags.embedded && end.is_some() {
            self.table.json_strings.push(node);
        }
        if flags.captures {
            let captures = &plan.automaton.state(state).captures;
            self.table.captures.extend(captures.iter().map(|&query| (query, node)));
        }
        if self.duplicate {
            if let (true, Some(parent)) = (is_member, self.frames.top().node) {
                self.table.duplicates.push((node, parent));
            }
            self.duplicate = false;
        }
        (node, flags.relevant_below || plan.indexes_all)
    }

    /// Begins to hold the value at `at`. A scalar is whole, so it is decided at once.
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
        self.table.nodes.reserve(INITIAL_NODES);
        self.duplicate = false;
        let (node, is_indexed) = self.index_node(at, end, context);
        match end {
            Some(end) => {
                self.finish_held(bytes, end, context)?;
                Ok((end, self.after_value()))
            }
            None => {
                let mode = if is_indexed { Mode::Indexed } else { Mode::Validated };
                self.open(at, byte, mode, Some(node), context)
            }
        }
    }

    /// Decides the held value, which is whole, and writes the result.
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
        let (route, limits) = (context.route, context.limits);
        let held = HeldJson { table: &self.table, bytes: bytes.get(holding.base..end).unwrap_or_default() };
        let name = held.table.node(0).and_then(|root| held.name(root)).map(denoted);
        let placement = Placement {
            inherited_class: self.stream.class().unwrap_or(UNCLASSIFIED),
            conditions: &route.plan.automaton.state(self.frames.top().state).anchors,
            key: match &name {
                Some(name) => MemberKey::Name(name),
                None => MemberKey::Index(self.frames.top().index),
            },
            is_document: self.frames.is_empty(),
        };
        let value = HeldValue { route, held, placement };
        let read_text = |state, text: &[u8]| Walk::index_text(route, state, text, limits).ok();
        let expanded = match ExpandedValue::expand(value, &read_text) {
            Ok(expanded) => expanded,
            Err(fault) => return self.fail(holding.start, fault),
        };
        let value = HeldValue { held: expanded.as_ref().map_or(held, ExpandedValue::held), ..value };
        let stream = &mut self.stream;
        let write_prefix = |keep: bool, out: &mut Vec<u8>| {
            if keep {
                stream.keep(bytes, out);
                stream.write(bytes, holding.start, out);
            } else {
                stream.remove(bytes, holding.start, out);
            }
        };
        let (decision, shapes) = (&mut self.decision, &mut self.shapes);
        let scrubbed =
            value.scrub(decision, shapes, context.policy, context.outside, context.out, write_prefix);
        if let Err(fault) = scrubbed {
            return self.fail(holding.start, fault);
        }
        self.stream.skip_to(end);
        Ok(())
    }
}
