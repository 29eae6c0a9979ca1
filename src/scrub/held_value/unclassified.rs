//! Finds the values of a held value that nothing classifies, with the classes that the decision pass gives to the nodes.

use std::borrow::Cow;

use serde_json::Value;

use super::HeldValue;
use super::decision::classify_selected;
use crate::decision::ClassId;
use crate::scrub::class::UNCLASSIFIED;
use crate::scrub::evaluate::Evaluation;
use crate::scrub::lex;
use crate::scrub::node_table::Node;
use crate::scrub::state::RecordStart;
use crate::scrub::unreadable::BodyFault;

/// The type of a JSON value (RFC 8259, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnclassifiedType {
    /// `{…}`.
    Object,
    /// `[…]`.
    Array,
    /// `"…"`.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
}

impl UnclassifiedType {
    /// All types.
    pub const ALL: [UnclassifiedType; 6] = [
        UnclassifiedType::Object,
        UnclassifiedType::Array,
        UnclassifiedType::String,
        UnclassifiedType::Number,
        UnclassifiedType::Boolean,
        UnclassifiedType::Null,
    ];

    /// Returns the type of a value.
    pub fn of(value: &Value) -> UnclassifiedType {
        match value {
            Value::Object(_) => UnclassifiedType::Object,
            Value::Array(_) => UnclassifiedType::Array,
            Value::String(_) => UnclassifiedType::String,
            Value::Number(_) => UnclassifiedType::Number,
            Value::Bool(_) => UnclassifiedType::Boolean,
            Value::Null => UnclassifiedType::Null,
        }
    }

    /// Returns the name of the type in JSON Schema.
    pub const fn name(self) -> &'static str {
        match self {
            UnclassifiedType::Object => "object",
            UnclassifiedType::Array => "array",
            UnclassifiedType::String => "string",
            UnclassifiedType::Number => "number",
            UnclassifiedType::Boolean => "boolean",
            UnclassifiedType::Null => "null",
        }
    }
}

/// A scalar or an empty container that nothing classifies.
#[derive(Clone, Copy, Debug)]
pub struct UnclassifiedValue<'a> {
    /// The number of the record set of the innermost record that contains it; `None` outside of records.
    pub record: Option<usize>,
    /// The way from the record, or from the document, to the value: the name of each member, `None` for an element.
    pub steps: &'a [Option<String>],
    /// The number of steps that the value shares with the value before it: both are in the same containers.
    pub known: usize,
    /// The type of the value.
    pub value_type: UnclassifiedType,
}

/// Takes the results of a survey.
pub trait SurveyVisitor {
    /// Called for each record of the set with this number, and with `None` for each text.
    fn record(&mut self, set: Option<usize>);
    /// Called for each unclassified value, in document order.
    fn value(&mut self, value: &UnclassifiedValue<'_>);
}

/// Reports the unclassified values of one held value.
struct ValueReporter<'v, V> {
    visitor: &'v mut V,
    /// The names of the members on the path to the current node; `None` for an element.
    path: Vec<Option<String>>,
    /// The number of steps of `path` that were reported as part of an earlier value's path.
    reported: usize,
    /// The innermost record that contains the current node: its set, and the number of steps to it.
    record: (Option<usize>, usize),
}

impl<V: SurveyVisitor> ValueReporter<'_, V> {
    fn report(&mut self, value_type: UnclassifiedType) {
        let (record, base) = self.record;
        let steps = self.path.get(base..).unwrap_or_default();
        let known = self.reported.saturating_sub(base).min(steps.len());
        self.visitor.value(&UnclassifiedValue { record, steps, known, value_type });
        self.reported = self.path.len();
    }

    fn push(&mut self, step: Option<String>) {
        self.path.push(step);
    }

    fn truncate(&mut self, steps: usize) {
        self.path.truncate(steps);
        self.reported = self.reported.min(steps);
    }

    /// Reports all scalars and empty containers in a value.
    fn report_leaves(&mut self, value: &Value) {
        let steps = self.path.len();
        let visit = |reporter: &mut Self, step: Option<String>, child: &Value| {
            reporter.truncate(steps);
            reporter.push(step);
            reporter.report_leaves(child);
        };
        match value {
            Value::Array(elements) if !elements.is_empty() => {
                elements.iter().for_each(|element| visit(self, None, element));
            }
            Value::Object(members) if !members.is_empty() => {
                members.iter().for_each(|(name, member)| visit(self, Some(name.clone()), member));
            }
            leaf => self.report(UnclassifiedType::of(leaf)),
        }
        self.truncate(steps);
    }
}

/// A container around the current node.
struct OpenAncestor {
    /// The first node after the container.
    end: u32,
    class: ClassId,
    /// The number of steps to the container.
    steps: usize,
    record: (Option<usize>, usize),
}

impl HeldValue<'_> {
    /// Visits every record, and every value that nothing classifies: scalars and empty containers, but no empty record
    /// and nothing that only leads to records.
    ///
    /// # Errors
    /// Returns an error if evaluating the plan's conditions takes too long, or if a condition depends on a duplicate name.
    pub(in crate::scrub) fn visit_unclassified<V: SurveyVisitor>(
        &self,
        visitor: &mut V,
    ) -> Result<(), BodyFault> {
        let plan = self.route.plan;
        let evaluation = Evaluation::new(self.held, plan.options.on_duplicate);
        let selected = if plan.evaluates { self.selected(&evaluation)? } else { Vec::new() };
        let mut selected = selected.as_slice();
        let mut reporter = ValueReporter { visitor, path: Vec::new(), reported: 0, record: (None, 0) };
        let mut open: Vec<OpenAncestor> = Vec::new();
        reporter.visitor.record(None);
        for (at, node) in (0..).zip(&self.held.table.nodes) {
            while open.last().is_some_and(|inner| inner.end <= at) {
                open.pop();
            }
            let parent = open.last();
            reporter.truncate(parent.map_or(0, |parent| parent.steps));
            reporter.record = parent.map_or((None, 0), |parent| parent.record);
            if at > 0 {
                reporter.push(self.step(node));
            }
            let here = selected.iter().take_while(|(selected_at, _)| *selected_at == at).count();
            let (here, later) = selected.split_at(here);
            selected = later;
            let (own_class, start) = classify_selected(plan, node, here);
            if let RecordStart::Of(set) = start {
                reporter.visitor.record(Some(set));
                reporter.record = (Some(set), reporter.path.len());
            }
            let class = own_class.or(parent.map(|parent| parent.class)).unwrap_or(UNCLASSIFIED);
            if node.next > at + 1 {
                let (steps, record) = (reporter.path.len(), reporter.record);
                open.push(OpenAncestor { end: node.next, class, steps, record });
            } else if class == UNCLASSIFIED {
                match serde_json::from_slice::<Value>(self.held.text(node)) {
                    Ok(value) if is_empty(&value) && self.leads_to_records(node, start) => {}
                    Ok(value) => reporter.report_leaves(&value),
                    // Nested deeper than the parser reads.
                    Err(_) => reporter.report(self.container_type(node)),
                }
            }
        }
        Ok(())
    }

    /// Returns the name of a member; `None` for an element.
    fn step(&self, node: &Node) -> Option<String> {
        let name = self.held.name(node).map(lex::denoted)?;
        Some(match name {
            Cow::Borrowed(name) => String::from_utf8_lossy(name).into_owned(),
            Cow::Owned(name) => String::from_utf8_lossy(&name).into_owned(),
        })
    }

    /// True for a container that stays even if it is empty.
    fn leads_to_records(&self, node: &Node, start: RecordStart) -> bool {
        let is_skeleton = start != RecordStart::None || self.route.plan.automaton.state(node.state).skeleton;
        is_skeleton && self.is_container(node)
    }

    fn container_type(&self, node: &Node) -> UnclassifiedType {
        if self.held.text(node).first() == Some(&b'[') {
            UnclassifiedType::Array
        } else {
            UnclassifiedType::Object
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}
