//! Sets of terms in few words.

use crate::vocabulary::{TermId, Tree};

/// A set of terms by its outermost names: `marketing` rather than all its children, and
/// `service-provision` but `invoicing` where a child is left out. A group that is whole stands for its members.
/// `None` for the empty set.
pub(super) fn list_terms<'g, I: TermId + 'g>(
    tree: &Tree<I>,
    set: impl Fn(I) -> bool,
    groups: impl Iterator<Item = (&'g str, &'g [I])>,
) -> Option<String> {
    let (mut names, mut grouped) = (Vec::new(), Vec::new());
    for (name, members) in groups.filter(|(_, members)| members.iter().all(|&member| set(member))) {
        // A group within another that is named already says nothing more.
        if members.iter().all(|member| grouped.contains(member)) {
            continue;
        }
        names.push(format!("`{name}`"));
        grouped.extend(members);
    }
    let top = |id: I| set(id) && !tree.parent(id).is_some_and(&set);
    for outer in tree.preorder().into_iter().filter(|&id| top(id) && !grouped.contains(&id)) {
        let left_out = tree.preorder().into_iter().filter(|&inner| {
            tree.within(inner, outer) && !set(inner) && tree.parent(inner).is_some_and(&set)
        });
        let left_out: Vec<String> = left_out.map(|inner| format!("`{}`", tree.name(inner))).collect();
        let but = if left_out.is_empty() { String::new() } else { format!(" but {}", left_out.join(", ")) };
        names.push(format!("`{}`{but}", tree.name(outer)));
    }
    (!names.is_empty()).then(|| names.join(", "))
}
