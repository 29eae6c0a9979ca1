//! Searches kept text for personal identifiers and for echoes of withheld values, and removes what it finds.
//!
//! Invariant: an action is only ever replaced by one that discloses less.

use std::ops::Range;

use super::{HeldValue, ValueDecision};
use crate::scrub::actions::NodeAction;
use crate::scrub::lex::{self, denoted, unquoted};
use crate::scrub::node_table::Node;
use crate::scrub::redact_text::{SearchTerms, TextRedactor};
use crate::scrub::unreadable::BodyFault;

impl HeldValue<'_> {
    /// Searches all kept nodes. For echoes, each outermost record is searched by itself, together with the records
    /// in it. `is_syntax` is true for strings that belong to the document's format and are not values.
    pub(super) fn conceal(
        &self,
        decision: &mut ValueDecision,
        is_syntax: fn(&[u8]) -> bool,
    ) -> Result<(), BodyFault> {
        let mut from = 0;
        for record in std::mem::take(&mut decision.outermost_records) {
            self.search_nodes(from..record, SearchTerms::default(), decision)?;
            from = self.held.table.node(record).map_or(record, |node| node.next);
            let terms = self.withheld_terms(record..from, decision, is_syntax);
            self.search_nodes(record..from, terms, decision)?;
        }
        self.search_nodes(from..self.held.table.len(), SearchTerms::default(), decision)
    }

    /// Returns the values that a record withholds.
    fn withheld_terms(
        &self,
        record: Range<u32>,
        decision: &ValueDecision,
        is_syntax: fn(&[u8]) -> bool,
    ) -> SearchTerms {
        let mut terms = SearchTerms::default();
        let mut dropped = record.start..record.start;
        for (at, node) in self.nodes(record).filter(|(at, _)| !decision.actions.keeps(*at)) {
            if dropped.contains(&at) {
                // In a container that is dropped whole, names can be values, too.
                self.add_name(node, is_syntax, &mut terms);
            } else {
                dropped = at..node.next;
            }
            if node.next == at + 1 && !self.is_syntax(node, is_syntax) {
                terms.add(self.held.text(node));
            }
        }
        terms
    }

    /// Searches kept nodes for these terms and for personal identifiers. Nodes whose name contains a match are
    /// dropped; matches in a text are replaced by a marker.
    fn search_nodes(
        &self,
        range: Range<u32>,
        terms: SearchTerms,
        decision: &mut ValueDecision,
    ) -> Result<(), BodyFault> {
        let mut redactor = terms.redactor()?;
        for (at, node) in self.nodes(range) {
            let redacts = decision.actions.redacted.binary_search(&at).is_ok();
            if !decision.actions.keeps(at) || !(redacts || redactor.has_terms()) {
                continue;
            }
            if self.name_discloses(node, &mut redactor, redacts)? {
                decision.actions.set(at, NodeAction::Drop);
            } else if node.next == at + 1
                && let Some(text) = redactor.redact(self.held.text(node), redacts)?
            {
                decision.actions.rewrite(at, text);
            }
        }
        Ok(())
    }

    fn is_syntax(&self, node: &Node, is_syntax: fn(&[u8]) -> bool) -> bool {
        let text = self.held.text(node);
        text.first() == Some(&b'"') && is_syntax(&unquoted(text))
    }

    /// Adds the name of a member to the terms, unless it is syntax or in the mapping.
    fn add_name(&self, node: &Node, is_syntax: fn(&[u8]) -> bool, terms: &mut SearchTerms) {
        let Some(name) = self.held.name(node).map(denoted) else { return };
        if !is_syntax(&name) && !self.route.plan.automaton.mentions(&name, lex::hash(&name)) {
            terms.add_name(&name);
        }
    }

    /// Returns these nodes with their numbers.
    fn nodes(&self, range: Range<u32>) -> impl Iterator<Item = (u32, &Node)> {
        let nodes = self.held.table.nodes.get(range.start as usize..range.end as usize);
        range.zip(nodes.unwrap_or_default())
    }

    /// True if a member's name contains a match. A name that the mapping contains is not searched, because it is not
    /// a value.
    fn name_discloses(
        &self,
        node: &Node,
        redactor: &mut TextRedactor,
        redacts: bool,
    ) -> Result<bool, BodyFault> {
        let Some(name) = self.held.name(node).map(denoted) else { return Ok(false) };
        if self.route.plan.automaton.mentions(&name, lex::hash(&name)) {
            return Ok(false);
        }
        redactor.is_found_in(&name, redacts)
    }
}
