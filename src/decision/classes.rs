//! The classes of a route: the distinct sets of categories of its fields. Each class is decided once.

use std::sync::{Arc, LazyLock};

use crate::policy::Pack;
use crate::vocabulary::CategoryId;

/// The distinct sets of categories on a route. A field's set is its class; the empty set is the class of unclassified
/// fields.
#[derive(Clone, Debug)]
pub struct Classes {
    pub(super) sets: Arc<[Vec<CategoryId>]>,
    pub(super) release_unclassified: bool,
}

impl Classes {
    /// Creates the classes in the order of their ids. Unclassified fields leave only if `release_unclassified` is
    /// true.
    pub fn new(sets: impl Into<Arc<[Vec<CategoryId>]>>, release_unclassified: bool) -> Classes {
        Classes { sets: sets.into(), release_unclassified }
    }

    /// Returns the empty class list, for responses that are forwarded unread. It is static because slices are
    /// keyed by its address.
    pub fn unread() -> &'static Classes {
        static UNREAD: LazyLock<Classes> = LazyLock::new(|| Classes::new(Vec::new(), false));
        &UNREAD
    }

    /// The sets of categories, indexed by class.
    pub fn sets(&self) -> &[Vec<CategoryId>] {
        &self.sets
    }
}

/// True if a field of these categories holds service data.
pub(super) fn with_service_data(pack: &Pack, class: &[CategoryId]) -> bool {
    class.iter().any(|&category| pack.vocabulary().is_service_data(category))
}

/// Returns the classes for which an operation is evaluated: those of the route. If none of these is personal or
/// service data, returns every personal and service-data category as a class of its own: the operation may change
/// unmapped data, and published data still belong to a person.
pub(super) fn operation_classes(pack: &Pack, sets: &[Vec<CategoryId>]) -> Vec<Vec<CategoryId>> {
    let vocabulary = pack.vocabulary();
    let decides = |category: &CategoryId| vocabulary.governs_operations(*category);
    if sets.iter().flatten().any(decides) {
        return sets.to_vec();
    }
    vocabulary.categories().preorder().into_iter().filter(decides).map(|category| vec![category]).collect()
}
