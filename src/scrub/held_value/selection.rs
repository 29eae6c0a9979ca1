//! What the queries select that the automaton could not decide.
//!
//! Refuses to know what is selected for; only a record brings the fields of its set with it.

use super::HeldValue;
use crate::scrub::evaluate::Evaluation;
use crate::scrub::query::QuerySegment;
use crate::scrub::record_set::QueryRole;
use crate::scrub::state::QueryPosition;
use crate::scrub::unreadable::BodyFault;

/// Nodes that queries select, as (node, query).
type Selected = Vec<(u32, u16)>;

impl<'a> HeldValue<'a> {
    /// Evaluates the conditions on the value itself, and those that are anchored in it. In document
    /// order, without duplicates.
    pub(super) fn selected(&self, evaluation: &Evaluation<'_>) -> Result<Selected, BodyFault> {
        let mut selected = Selected::new();
        for position in self.placement.conditions {
            let Some((step, rest)) = self.segments(*position).split_first() else { continue };
            if evaluation.selects_root(step, self.placement.key)? {
                self.select(evaluation, position.query, rest, 0, &mut selected)?;
            }
            if step.descendant {
                self.select(evaluation, position.query, self.segments(*position), 0, &mut selected)?;
            }
        }
        for (at, node) in (0..).zip(&self.held.table.nodes) {
            for position in &self.route.plan.automaton.state(node.state).anchors {
                self.select(evaluation, position.query, self.segments(*position), at, &mut selected)?;
            }
        }
        selected.sort_unstable();
        selected.dedup();
        Ok(selected)
    }

    fn segments(&self, position: QueryPosition) -> &'a [QuerySegment] {
        let query = self.route.plan.query(position.query);
        query.and_then(|query| query.segments.get(usize::from(position.segment)..)).unwrap_or_default()
    }

    fn select(
        &self,
        evaluation: &Evaluation<'_>,
        query: u16,
        segments: &[QuerySegment],
        from: u32,
        selected: &mut Selected,
    ) -> Result<(), BodyFault> {
        let plan = self.route.plan;
        let nodes = evaluation.select(segments, from, from)?;
        selected.extend(nodes.iter().map(|&node| (node, query)));
        let Some(QueryRole::Record(set)) = plan.role(query) else { return Ok(()) };
        let fields = plan.sets.get(*set).map(|set| set.fields.as_slice()).unwrap_or_default();
        for &record in &nodes {
            for &field in fields {
                let Some(field_query) = plan.query(field) else { continue };
                let below = evaluation.select(&field_query.segments, record, record)?;
                selected.extend(below.into_iter().map(|node| (node, field)));
            }
        }
        Ok(())
    }
}
