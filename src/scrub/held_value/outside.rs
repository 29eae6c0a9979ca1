//! The permit for everything that no record contains.

use super::RouteContext;
use crate::decision::ClassId;
use crate::scrub::form_policy::FormPolicy;
use crate::vocabulary::Form;

/// The permit for nodes outside of all records, and the number of such nodes by class. The permit is requested when
/// the first of them is decided.
#[derive(Debug)]
pub(in crate::scrub) struct OutsideRecords<V> {
    permit: Option<V>,
    /// The form that the permit gives to each class. Empty before the permit is requested.
    forms: Vec<Form>,
    counts: Vec<u32>,
}

impl<V> OutsideRecords<V> {
    /// Creates the counts for this number of classes.
    pub(in crate::scrub) fn new(classes: usize) -> OutsideRecords<V> {
        OutsideRecords { permit: None, forms: Vec::new(), counts: vec![0; classes] }
    }

    /// Returns the form in which a class leaves. A class that is in no permit is removed.
    #[inline(always)]
    pub(in crate::scrub) fn form<A: FormPolicy<Permit = V>>(
        &mut self,
        class: ClassId,
        route: RouteContext<'_>,
        policy: &mut A,
    ) -> Form {
        if self.permit.is_none() {
            self.request_permit(route, policy);
        }
        self.forms.get(usize::from(class.0)).copied().unwrap_or(Form::Removed)
    }

    #[cold]
    fn request_permit<A: FormPolicy<Permit = V>>(&mut self, route: RouteContext<'_>, policy: &mut A) {
        let permit = policy.document_permit();
        self.forms.extend(route.class_forms(&permit, policy));
        self.permit = Some(permit);
    }

    /// Counts a node of this class.
    #[inline]
    pub(in crate::scrub) fn count(&mut self, class: ClassId) {
        if let Some(count) = self.counts.get_mut(usize::from(class.0)) {
            *count += 1;
        }
    }

    /// Reports the counts to the policy, if any node was counted.
    pub(in crate::scrub) fn account<A: FormPolicy<Permit = V>>(&self, policy: &mut A) {
        let any = self.counts.iter().any(|&count| count > 0);
        if let Some(permit) = self.permit.as_ref().filter(|_| any) {
            policy.account_outside(permit, &self.counts);
        }
    }
}
