//! People whose pages somebody has opened. A random handle stands for the person in the URLs of the pages.
//!
//! Invariant: a handle leads its owner alone to the person, for a limited time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::form_token::FormOwner;
use crate::vocabulary::SubjectId;

/// Time without use after which the pages of a person have to be opened again, with a reason.
pub(super) const MAX_UNUSED: Duration = Duration::from_secs(30 * 60);
/// Time after which they have to be opened again, however they are used.
pub(super) const MAX_OPEN: Duration = Duration::from_secs(2 * 3600);
/// Maximum number of handles of one actor, in all of their sessions. Beyond it their oldest leads nowhere: nobody closes the
/// pages of others by opening many.
pub(super) const MAX_OF_ACTOR: usize = 16;
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
    /// Name of the actor who opened them; `None` if nobody is signed in.
    actor: Option<Arc<str>>,
    /// Times of the console's clock.
    began: Duration,
    used: Duration,
}

impl OpenedPeople {
    /// Opens the pages of a person for an actor, and returns their handle.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(super) fn open(
        &mut self,
        person: SubjectId,
        reason: Option<String>,
        (owner, actor): (FormOwner, Option<Arc<str>>),
        now: Duration,
    ) -> Result<String, getrandom::Error> {
        let handle = random_text::<HANDLE_BYTES>()?;
        self.opened.retain(|_, opened| !opened.is_over(now));
        if self.opened.values().filter(|opened| opened.actor == actor).count() >= MAX_OF_ACTOR {
            self.close_oldest(|opened| opened.actor == actor);
        }
        if self.opened.len() >= MAX_OPENED {
            self.close_oldest(|_| true);
        }
        let opened = OpenedPerson { person, reason, owner, actor, began: now, used: now };
        self.opened.insert(handle.clone(), opened);
        Ok(handle)
    }

    /// Returns the person whose pages this owner has opened, and notes the use.
    pub(super) fn find(&mut self, handle: &str, owner: &FormOwner, now: Duration) -> Option<OpenedPerson> {
        let opened = self.opened.get_mut(handle).filter(|opened| opened.owner == *owner)?;
        if opened.is_over(now) {
            return None;
        }
        opened.used = now;
        Some(opened.clone())
    }

    fn close_oldest(&mut self, is_one: impl Fn(&OpenedPerson) -> bool) {
        let candidates = self.opened.iter().filter(|(_, opened)| is_one(opened));
        let oldest = candidates.min_by_key(|(_, opened)| opened.began).map(|(handle, _)| handle.clone());
        oldest.map(|handle| self.opened.remove(&handle));
    }
}

impl OpenedPerson {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.used) >= MAX_UNUSED || now.saturating_sub(self.began) >= MAX_OPEN
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

    const MINUTE: Duration = Duration::from_secs(60);

    fn owner(number: u8) -> FormOwner {
        FormOwner::Session([number; 32])
    }

    impl OpenedPeople {
        fn opened_by(&mut self, actor: usize, at: Duration) -> String {
            let person = IdReader::default().read("ada").unwrap();
            let actor = Some(actor.to_string().into());
            self.open(person, Some("why".to_owned()), (owner(1), actor), at).unwrap()
        }
    }

    #[test]
    fn a_handle_leads_its_owner_to_the_person_while_it_is_used() {
        let mut people = OpenedPeople::default();
        let handle = people.opened_by(0, Duration::ZERO);
        let found = people.find(&handle, &owner(1), MAX_UNUSED - MINUTE).unwrap();
        assert!(found.person.id() == "ada" && found.reason.as_deref() == Some("why"));
        assert!(people.find(&handle, &owner(2), MAX_UNUSED).is_none());
        assert!(people.find(&handle, &FormOwner::Process, MAX_UNUSED).is_none());
        assert!(people.find("", &owner(1), MAX_UNUSED).is_none());
        assert!(people.find(&handle, &owner(1), MAX_UNUSED).is_some(), "it was used");
        assert!(people.find(&handle, &owner(1), 2 * MAX_UNUSED).is_none());
        let handle = people.opened_by(0, Duration::ZERO);
        let mut now = Duration::ZERO;
        while now + MAX_UNUSED / 2 < MAX_OPEN {
            now += MAX_UNUSED / 2;
            assert!(people.find(&handle, &owner(1), now).is_some(), "{now:?}");
        }
        assert!(people.find(&handle, &owner(1), MAX_OPEN).is_none(), "however it is used");
    }

    #[test]
    fn the_oldest_handle_gives_way() {
        let mut people = OpenedPeople::default();
        let first = people.opened_by(0, Duration::ZERO);
        let second = people.opened_by(1, Duration::from_millis(1));
        for actor in 2..=MAX_OPENED {
            people.opened_by(actor, Duration::from_millis(2));
        }
        assert_eq!(people.opened.len(), MAX_OPENED);
        assert!(people.find(&first, &owner(1), MINUTE).is_none());
        assert!(people.find(&second, &owner(1), MINUTE).is_some());
    }

    #[test]
    fn an_actor_closes_their_own_pages_only() {
        let mut people = OpenedPeople::default();
        let other = people.opened_by(1, Duration::ZERO);
        let first = people.opened_by(0, Duration::from_millis(1));
        for _ in 0..MAX_OPENED {
            people.opened_by(0, Duration::from_millis(2));
        }
        assert_eq!(people.opened.len(), MAX_OF_ACTOR + 1);
        assert!(people.find(&first, &owner(1), MINUTE).is_none());
        assert!(people.find(&other, &owner(1), MINUTE).is_some());
    }
}
