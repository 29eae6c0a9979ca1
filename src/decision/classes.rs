//! The classes of a route: the sets of categories that its fields hold, of which each is decided once.

use std::sync::{Arc, LazyLock};

use crate::policy::Pack;
use crate::vocabulary::CategoryId;

/// The distinct sets of categories on a route. A field's set is its class; the empty set holds what
/// nothing classifies.
#[derive(Clone, Debug)]
pub struct Classes {
    pub(super) sets: Arc<[Vec<CategoryId>]>,
    pub(super) release_unclassified: bool,
}

impl Classes {
    /// The classes in the order of their ids; what nothing classifies leaves only where the route says so.
    pub fn new(sets: impl Into<Arc<[Vec<CategoryId>]>>, release_unclassified: bool) -> Classes {
        Classes { sets: sets.into(), release_unclassified }
    }

    /// Those of an answer that passes unread: none. The same each time, as decisions are remembered
    /// for the classes that they are about.
    pub fn unread() -> &'static Classes {
        static UNREAD: LazyLock<Classes> = LazyLock::new(|| Classes::new(Vec::new(), false));
        &UNREAD
    }

    pub fn sets(&self) -> &[Vec<CategoryId>] {
        &self.sets
    }
}

/// True if a field of these categories holds service data.
pub(super) fn with_service_data(pack: &Pack, class: &[CategoryId]) -> bool {
    class.iter().any(|&category| pack.vocabulary().is_service_data(category))
}

/// The classes that an operation is asked about: those of the route, or, where none of them is personal or service data,
/// everything that there can be of somebody. What is not mapped may be changed all the same, and what somebody published
/// is still theirs.
pub(super) fn operation_classes(pack: &Pack, sets: &[Vec<CategoryId>]) -> Vec<Vec<CategoryId>> {
    let words = pack.vocabulary();
    let decides = |category: &CategoryId| words.governs_operations(*category);
    if sets.iter().flatten().any(decides) {
        return sets.to_vec();
    }
    words.categories().preorder().into_iter().filter(decides).map(|category| vec![category]).collect()
}
