//! Describes sets of terms briefly.

use crate::vocabulary::{TermId, Tree};

/// Names a set of terms by its outermost members. A term stands for all its descendants (`marketing`); descendants
/// that are not in the set follow after "but" (`service-provision` but `invoicing`). A group whose members are all
/// in the set stands for these members. Returns `None` for the empty set.
pub(super) fn list_terms<'g, I: TermId + 'g>(
    tree: &Tree<I>,
    set: impl Fn(I) -> bool,
    groups: impl Iterator<Item = (&'g str, &'g [I])>,
) -> Option<String> {
    let (mut names, mut grouped) = (Vec::new(), Vec::new());
    for (name, members) in groups.filter(|(_, members)| members.iter().all(|&member| set(member))) {
        // A group is skipped if the named groups already contain all its members.
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
