//! Divides a disclosure that is too large for one detail.

use smallvec::{SmallVec, smallvec};

use crate::disclosure::record::Disclosure;
use crate::keys::LoggedPerson;

/// Number of bytes of a detail that categories and people may take. The rest is left for the other members.
const MAX_BYTES: usize = 60_000;

/// Maximum length of a pair of a ruling's number and a number of fields, in bytes.
const PAIR: usize = 1 + 9 + 9;

/// Length of a pseudonym, in bytes.
const PSEUDONYM: usize = 12;

/// The categories and people of one entry.
#[derive(Clone, Debug, Default)]
pub(super) struct DisclosurePart<'d> {
    /// The number of a ruling, and the number of fields.
    pub(super) categories: &'d [(u64, u64)],
    pub(super) subjects: &'d [LoggedPerson],
    pub(super) withheld_subjects: &'d [LoggedPerson],
}

/// Divides a disclosure into as many parts as needed, at least one.
pub(super) fn split<'d>(
    disclosure: Option<&'d Disclosure>,
    mut categories: &'d [(u64, u64)],
) -> SmallVec<[DisclosurePart<'d>; 1]> {
    let Some(disclosure) = disclosure else { return smallvec![DisclosurePart::default()] };
    let (mut subjects, mut withheld_subjects) = (&*disclosure.subjects, &*disclosure.withheld_subjects);
    let mut parts = SmallVec::new();
    loop {
        let mut room = MAX_BYTES;
        parts.push(DisclosurePart {
            categories: take(&mut categories, PAIR, &mut room),
            subjects: take(&mut subjects, PSEUDONYM, &mut room),
            withheld_subjects: take(&mut withheld_subjects, PSEUDONYM, &mut room),
        });
        if categories.is_empty() && subjects.is_empty() && withheld_subjects.is_empty() {
            return parts;
        }
    }
}

/// Takes as many items as fit, each of `size` bytes.
fn take<'d, T>(items: &mut &'d [T], size: usize, room: &mut usize) -> &'d [T] {
    let (taken, rest) = items.split_at(items.len().min(*room / size));
    *room -= taken.len() * size;
    *items = rest;
    taken
}
