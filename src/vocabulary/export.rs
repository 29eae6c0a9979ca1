//! Export of the vocabulary: as JSON, as text for people, and as Turtle (SKOS) with links to equivalent terms of DPV.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Basis, Form, Operation, Origin, Safeguard, Term, TermId, Tree, Vocabulary, dpv_iri};

impl Vocabulary {
    /// Returns the four trees, the groups and the closed lists as JSON.
    pub fn to_json(&self) -> Value {
        let names = |names: Vec<&'static str>| json!(names);
        json!({
            "purposes": terms(&self.purposes),
            "categories": terms(&self.categories),
            "recipient_kinds": terms(&self.kinds),
            "relations": terms(&self.relations),
            "groups": self.kind_groups.iter().map(|group| {
                let kinds: Vec<&str> = group.members.iter().map(|&kind| self.kinds.name(kind)).collect();
                json!({ "id": group.name, "kinds": kinds })
            }).collect::<Vec<_>>(),
            "category_groups": self.category_groups.iter().map(|group| {
                let categories = group.members.iter().map(|&category| self.categories.name(category));
                json!({ "id": group.name, "categories": categories.collect::<Vec<_>>() })
            }).collect::<Vec<_>>(),
            "forms": names(Form::ALL.iter().map(|form| form.name()).collect()),
            "bases": names(Basis::ALL.iter().map(|basis| basis.name()).collect()),
            "operations": names(Operation::ALL.iter().map(|operation| operation.name()).collect()),
            "origins": names(Origin::ALL.iter().map(|origin| origin.name()).collect()),
            "safeguards": names(Safeguard::ALL.iter().map(|safeguard| safeguard.name()).collect()),
        })
    }

    /// Returns the four trees for people to read: each term on a line, below its parent, and the groups.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        list_tree(&mut text, "purposes", &self.purposes);
        list_tree(&mut text, "categories", &self.categories);
        list_tree(&mut text, "recipient kinds", &self.kinds);
        list_tree(&mut text, "relations", &self.relations);
        for group in &self.kind_groups {
            let members: Vec<&str> = group.members.iter().map(|&kind| self.kinds.name(kind)).collect();
            let _ = writeln!(text, "group of recipient kinds {}: {}", group.name, members.join(", "));
        }
        for group in &self.category_groups {
            let members: Vec<&str> = group.members.iter().map(|&one| self.categories.name(one)).collect();
            let _ = writeln!(text, "group of categories {}: {}", group.name, members.join(", "));
        }
        text
    }

    /// Returns a SKOS concept scheme for each tree, in Turtle.
    pub fn to_turtle(&self) -> String {
        let mut text = String::from(
            "@prefix skos: <http://www.w3.org/2004/02/skos/core#> .\n@prefix pg: <urn:purposegate:vocabulary:> .\n",
        );
        write_tree(&mut text, "purpose", &self.purposes);
        write_tree(&mut text, "category", &self.categories);
        write_tree(&mut text, "recipient-kind", &self.kinds);
        write_tree(&mut text, "relation", &self.relations);
        text
    }
}

fn terms<I: TermId>(tree: &Tree<I>) -> Vec<Value> {
    let term = |(id, term): (I, &Term)| {
        json!({
            "id": *term.id,
            "parent": tree.parent(id).map(|parent| tree.name(parent)),
            "title": term.title,
            "description": term.description,
            "dpv": term.dpv.as_deref().and_then(dpv_iri),
            "fideslang": term.fideslang,
        })
    };
    tree.terms().map(term).collect()
}

fn list_tree<I: TermId>(text: &mut String, name: &str, tree: &Tree<I>) {
    let _ = writeln!(text, "{name}");
    for id in tree.preorder() {
        let title = tree.term(id).map_or("", |term| &term.title);
        let indented = format!("{}{}", "  ".repeat(tree.depth(id) + 1), tree.name(id));
        let _ = writeln!(text, "{indented:<40}{title}");
    }
    text.push('\n');
}

fn write_tree<I: TermId>(text: &mut String, scheme: &str, tree: &Tree<I>) {
    let _ = writeln!(text, "\npg:{scheme} a skos:ConceptScheme .");
    for (id, term) in tree.terms() {
        let _ = writeln!(
            text,
            "\n<urn:purposegate:vocabulary:{scheme}/{}> a skos:Concept ;\n  skos:inScheme pg:{scheme} ;",
            term.id
        );
        let _ = writeln!(text, "  skos:notation {} ;", quoted(&term.id));
        if let Some(parent) = tree.parent(id) {
            let _ = writeln!(
                text,
                "  skos:broader <urn:purposegate:vocabulary:{scheme}/{}> ;",
                tree.name(parent)
            );
        }
        if let Some(same) = term.dpv.as_deref().and_then(dpv_iri) {
            let _ = writeln!(text, "  skos:exactMatch <{same}> ;");
        }
        if let Some(same) = &term.fideslang {
            let _ = writeln!(text, "  skos:exactMatch <urn:fideslang:{same}> ;");
        }
        let _ = writeln!(
            text,
            "  skos:prefLabel {}@en ;\n  skos:definition {}@en .",
            quoted(&term.title),
            quoted(&term.description)
        );
    }
}

/// Returns a text as a Turtle string literal.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_lists_every_term_below_its_parent() {
        let text = Vocabulary::standard().to_text();
        assert_eq!(text.lines().filter(|line| line.starts_with("  ")).count(), 63 + 60 + 24 + 7);
        let lines: Vec<&str> = text.lines().collect();
        let at = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap_or_default();
        assert_eq!(at("    technical-support ") - at("  customer-support "), 1, "{text}");
        assert!(text.contains("group of recipient kinds staff: employee, contractor"), "{text}");
    }

    #[test]
    fn both_formats_contain_every_term() {
        let words = Vocabulary::standard();
        let json = words.to_json();
        let listed = |key: &str| json.get(key).and_then(Value::as_array).map_or(0, Vec::len);
        assert_eq!(
            (listed("purposes"), listed("categories"), listed("recipient_kinds"), listed("relations")),
            (63, 60, 24, 7)
        );
        let turtle = words.to_turtle();
        assert_eq!(turtle.matches("a skos:Concept ;").count(), 63 + 60 + 24 + 7);
        assert!(turtle.contains("skos:exactMatch <https://w3id.org/dpv/pd#EmailAddress>"));
    }
}
