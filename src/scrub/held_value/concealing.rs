//! What was found to stay, looked through once more where the route asks for it.
//!
//! Refuses to release anything: a fate only ever becomes one that discloses less.

use std::ops::Range;

use super::{HeldValue, ValueDecision};
use crate::scrub::actions::NodeAction;
use crate::scrub::lex;
use crate::scrub::lex::{denoted, unquoted};
use crate::scrub::node_table::Node;
use crate::scrub::redact_text::{SearchTerms, TextRedactor};
use crate::scrub::unreadable::BodyFault;

impl HeldValue<'_> {
    /// Looks through what stays: of a route that withholds echoes each record by itself, with the
    /// records in it. `is_syntax` is true of strings that belong to the document's format and are no values.
    pub(super) fn conceal(
        &self,
        decision: &mut ValueDecision,
        is_syntax: fn(&[u8]) -> bool,
    ) -> Result<(), BodyFault> {
        let mut from = 0;
        for record in std::mem::take(&mut decision.outermost_records) {
            self.look_through(from..record, None, decision)?;
            from = self.held.table.node(record).map_or(record, |node| node.next);
            self.look_through(record..from, Some(is_syntax), decision)?;
        }
        self.look_through(from..self.held.table.len(), None, decision)
    }

    /// Looks through a record, whose strings may be syntax, or through what stands in none.
    fn look_through(
        &self,
        range: Range<u32>,
        record: Option<fn(&[u8]) -> bool>,
        decision: &mut ValueDecision,
    ) -> Result<(), BodyFault> {
        let nodes = range.clone().zip(self.nodes(&range));
        let mut sought = SearchTerms::default();
        if let Some(is_syntax) = record {
            // Of what goes whole, names may be values too.
            let mut gone = range.start..range.start;
            for (at, node) in nodes.clone().filter(|(at, _)| !decision.actions.keeps(*at)) {
                if gone.contains(&at) {
                    self.seek_name(node, is_syntax, &mut sought);
                } else {
                    gone = at..node.next;
                }
                if node.next == at + 1 && !self.is_syntax(node, is_syntax) {
                    sought.add(self.held.text(node));
                }
            }
        }
        let mut search = sought.redactor()?;
        for (at, node) in nodes {
            let redacts = decision.actions.redacted.binary_search(&at).is_ok();
            if !decision.actions.keeps(at) || !(redacts || search.has_terms()) {
                continue;
            }
            if self.is_named_after(node, &mut search, redacts)? {
                decision.actions.set(at, NodeAction::Drop);
            } else if node.next == at + 1
                && let Some(concealed) = search.redact(self.held.text(node), redacts)?
            {
                decision.actions.rewrite(at, concealed);
            }
        }
        Ok(())
    }

    fn is_syntax(&self, node: &Node, is_syntax: fn(&[u8]) -> bool) -> bool {
        let text = self.held.text(node);
        text.first() == Some(&b'"') && is_syntax(&unquoted(text))
    }

    fn seek_name(&self, node: &Node, is_syntax: fn(&[u8]) -> bool, sought: &mut SearchTerms) {
        let Some(name) = self.held.name(node).map(denoted) else { return };
        if !is_syntax(&name) && !self.route.plan.automaton.mentions(&name, lex::hash(&name)) {
            sought.add_name(&name);
        }
    }

    fn nodes(&self, range: &Range<u32>) -> std::slice::Iter<'_, Node> {
        let nodes = self.held.table.nodes.get(range.start as usize..range.end as usize);
        nodes.unwrap_or_default().iter()
    }

    /// Whether a member's name says what must not be said. A name that the mapping knows is no value.
    fn is_named_after(
        &self,
        node: &Node,
        search: &mut TextRedactor,
        redacts: bool,
    ) -> Result<bool, BodyFault> {
        let Some(name) = self.held.name(node) else { return Ok(false) };
        let name = denoted(name);
        if self.route.plan.automaton.mentions(&name, lex::hash(&name)) {
            return Ok(false);
        }
        search.is_found_in(&name, redacts)
    }
}
