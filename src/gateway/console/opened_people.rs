//! People whose pages somebody has opened. A random handle stands for the person in the URLs of the pages.
//!
//! Invariant: a handle leads its owner alone to the person, for a limited time.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::form_token::FormOwner;
use crate::vocabulary::SubjectId;

/// Time after which the pages of a person have to be opened again, with a reason.
pub(super) const MAX_OPEN: Duration = Duration::from_secs(30 * 60);
/// Maximum number of handles. Beyond it the oldest leads nowhere.
const MAX_OPENED: usize = 1000;
/// Number of random bytes of a handle.
const HANDLE_BYTES: usize = 16;

/// All handles.
#[derive(Debug, Default)]
pub(super) struct OpenedPeople {
    opened: HashMap<String, OpenedPerson>,
}

/// A person whose pages are open, and why.
#[derive(Clone, Debug)]
pub(super) struct OpenedPerson {
    pub(super) person: SubjectId,
    pub(super) reason: Option<String>,
    owner: FormOwner,
    /// Time of the console's clock.
    began: Duration,
}

impl OpenedPeople {
    /// Opens the pages of a person, and returns their handle.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(super) fn open(
        &mut self,
        person: SubjectId,
        reason: Option<String>,
        owner: FormOwner,
        now: Duration,
    ) -> Result<String, getrandom::Error> {
        let handle = random_text::<HANDLE_BYTES>()?;
        self.opened.retain(|_, opened| !opened.is_over(now));
        if self.opened.len() >= MAX_OPENED {
            let oldest = self.opened.iter().min_by_key(|(_, opened)| opened.began);
            let oldest = oldest.map(|(handle, _)| handle.clone());
            oldest.map(|handle| self.opened.remove(&handle));
        }
        self.opened.insert(handle.clone(), OpenedPerson { person, reason, owner, began: now });
        Ok(handle)
    }

    /// Returns the person whose pages this owner has opened.
    pub(super) fn find(&self, handle: &str, owner: &FormOwner, now: Duration) -> Option<OpenedPerson> {
        let opened = self.opened.get(handle)?;
        (opened.owner == *owner && !opened.is_over(now)).then(|| opened.clone())
    }
}

impl OpenedPerson {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.began) >= MAX_OPEN
    }
}

/// Returns random bytes as a text for URLs and forms.
///
/// # Errors
/// If the system has no random numbers.
pub(super) fn random_text<const BYTES: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::IdReader;

    #[test]
    fn a_handle_leads_its_owner_to_the_person_for_a_while() {
        let mut people = OpenedPeople::default();
        let person = IdReader::default().read("ada").unwrap();
        let owner = FormOwner::Session([1; 32]);
        let handle = people.open(person.clone(), Some("why".to_owned()), owner.clone(), Duration::ZERO);
        let handle = handle.unwrap();
        let just_before = MAX_OPEN - Duration::from_millis(1);
        let found = people.find(&handle, &owner, just_before).unwrap();
        assert!(found.person == person && found.reason.as_deref() == Some("why"));
        assert!(people.find(&handle, &owner, MAX_OPEN).is_none());
        assert!(people.find(&handle, &FormOwner::Session([2; 32]), Duration::ZERO).is_none());
        assert!(people.find(&handle, &FormOwner::Process, Duration::ZERO).is_none());
        assert!(people.find("", &owner, Duration::ZERO).is_none());
    }

    #[test]
    fn the_oldest_handle_gives_way() {
        let mut people = OpenedPeople::default();
        let person = IdReader::default().read("ada").unwrap();
        let mut open = |at| people.open(person.clone(), None, FormOwner::Process, at).unwrap();
        let first = open(Duration::ZERO);
        let second = open(Duration::from_millis(1));
        for _ in 2..=MAX_OPENED {
            open(Duration::from_millis(2));
        }
        assert_eq!(people.opened.len(), MAX_OPENED);
        let now = Duration::from_millis(3);
        assert!(people.find(&first, &FormOwner::Process, now).is_none());
        assert!(people.find(&second, &FormOwner::Process, now).is_some());
    }
}
