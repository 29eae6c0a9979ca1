//! Formats an explanation as text: categories with equal explanations are grouped, and named by their outermost
//! ancestors.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::term_list::list_terms;
use super::{CategoryOutcome, Explanation, NearestRule, OperationExplanation, RequiredChanges};
use crate::vocabulary::{CategoryId, Form, Vocabulary};

/// The common parts of the categories in one block.
#[derive(PartialEq, Eq)]
struct BlockKey<'e> {
    form: Form,
    may_hold: Option<&'e str>,
    basis: Option<&'static str>,
    rules: &'e [String],
    clauses: &'e [String],
    nearest: Vec<&'e NearestRule>,
    changes: &'e RequiredChanges,
}

impl<'e> BlockKey<'e> {
    fn of(line: &'e CategoryOutcome) -> BlockKey<'e> {
        let CategoryOutcome { category: _, may_hold, form, basis, clauses, rules, nearest, changes } = line;
        // If a category is never released for this purpose, the changes already name the purposes for which it is.
        let is_told = |near: &&NearestRule| changes.never.is_none() || !near.is_elsewhere;
        let nearest = nearest.iter().filter(is_told).collect();
        let may_hold = may_hold.as_deref();
        BlockKey { form: *form, may_hold, basis: *basis, rules, clauses, nearest, changes }
    }
}

impl Explanation {
    /// Formats the categories in blocks of equal explanations. Unless `all` is true, the categories that no near rule
    /// would release are listed together on one line.
    pub fn to_text(&self, vocabulary: &Vocabulary, all: bool) -> String {
        let mut text = format!("`{}` asks for `{}`\n", self.kind, self.purpose);
        if let Some(code) = self.refused {
            let why = self.refusal.as_ref().map(|refusal| format!(": {}", refusal.why));
            let _ = writeln!(text, "refused before anything is read: {code}{}", why.unwrap_or_default());
        }
        if let Some(changes) = self.refusal.as_ref().and_then(|refusal| refusal.changes.to_text()) {
            let _ = writeln!(text, "{:13}   would have to change: {changes}", "");
        }
        if let Some(OperationExplanation { name, carried_out, changes }) = &self.operation {
            let done = if *carried_out { "is carried out" } else { "is not carried out" };
            let _ = match self.refused {
                Some(_) => writeln!(text, "`{name}` {done}:"),
                None => writeln!(text, "`{name}` {done}; the response is judged as `disclose`:"),
            };
            if let Some(changes) = changes.to_text() {
                let _ = writeln!(text, "{:13}   would have to change: {changes}", "");
            }
        }
        let is_far = |line: &&CategoryOutcome| {
            !all && line.form == Form::Removed && line.nearest.is_empty() && line.may_hold.is_none()
        };
        let (far, near): (Vec<&CategoryOutcome>, Vec<&CategoryOutcome>) =
            self.categories.iter().partition(is_far);
        let mut blocks: Vec<(BlockKey<'_>, Vec<&str>)> = Vec::new();
        for line in near {
            let shared = BlockKey::of(line);
            match blocks.iter_mut().find(|(known, _)| *known == shared) {
                Some((_, categories)) => categories.push(&line.category),
                None => blocks.push((shared, vec![&line.category])),
            }
        }
        blocks.sort_by_key(|(shared, _)| shared.form);
        for (shared, categories) in &blocks {
            block(&mut text, shared, &folded(vocabulary, categories), self.refused);
        }
        if !far.is_empty() {
            let names: Vec<&str> = far.iter().map(|line| line.category.as_str()).collect();
            let rest = folded(vocabulary, &names);
            let _ = writeln!(text, "no rule for this kind or for this purpose releases {rest}");
        }
        for note in &self.unknown {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

fn block(text: &mut String, shared: &BlockKey<'_>, categories: &str, refused: Option<&str>) {
    let BlockKey { form, may_hold, basis, rules, clauses, nearest, changes } = shared;
    let head = format!("{:13} {categories}", form.name());
    let _ = match basis {
        Some(basis) => writeln!(text, "{head}: {basis}"),
        None => writeln!(text, "{head}"),
    };
    if let Some(held) = may_hold {
        let _ = writeln!(text, "{:13}   may contain `{held}`, which is judged with it", "");
    }
    if !rules.is_empty() {
        let verb = if *form == Form::Removed { "forbidden by" } else { "permitted by" };
        let _ = writeln!(text, "{:13}   {verb} {} [{}]", "", rules.join(", "), clauses.join(", "));
    }
    // If every named rule has several unmet conditions, the rules are about other recipients, and one of them
    // suffices as an example.
    let shown = if nearest.iter().all(|near| near.lacks.len() > 1) { 1 } else { nearest.len() };
    for near in nearest.iter().take(shown) {
        let lacks = match refused {
            _ if !near.lacks.is_empty() => near.lacks.join("; "),
            Some(code) if rules.is_empty() => format!("would release, but the request is refused: {code}"),
            _ => "would release, but a prohibition wins".to_owned(),
        };
        let _ = writeln!(text, "{:13}   near: {} [{}]: {lacks}", "", near.rule, near.clauses.join(", "));
    }
    if let Some(changes) = changes.to_text() {
        let _ = writeln!(text, "{:13}   would have to change: {changes}", "");
    }
}

/// Names a set of categories by its outermost members.
fn folded(vocabulary: &Vocabulary, categories: &[&str]) -> String {
    let named: HashSet<CategoryId> =
        categories.iter().filter_map(|name| vocabulary.categories().find(name)).collect();
    let tree = vocabulary.categories();
    list_terms(tree, |id| named.contains(&id), std::iter::empty()).unwrap_or_default()
}
