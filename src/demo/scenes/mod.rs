//! The scenes of the demonstration: what is asked, by whom, for what, and what must come of it.
//!
//! It describes and does nothing: `show` prints the scenes as `curl` lines, `demo --check` plays them.
//! Scenes are played in order; those that change what a person has said come last.

mod each_by_their_own;
mod refusals;
mod releases;
mod withdrawals;

use http::Method;
use serde_json::Value;

use super::expectation::Expectation;
use super::people::{Person, id};

/// What the caller shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `service-desk`, by API key.
    ServiceDesk,
    /// `north-resale`, by API key.
    Reseller,
    /// `swift-pay`, by API key.
    PaymentProcessor,
    /// `acme-domains`, by client certificate.
    Registrar,
    /// An API key that nobody registered.
    Unregistered,
}

/// One request to the gateway.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub credentials: Vec<Credential>,
    /// The value of `Data-Purpose`, as sent.
    pub purpose: Option<&'static str>,
    /// The answer is too long for a terminal.
    pub long: bool,
}

/// One event for the ledger, through the admin API.
#[derive(Clone, Debug)]
pub struct Tell {
    pub subject: String,
    pub event: Value,
}

/// One step of a scene.
#[derive(Clone, Debug)]
pub enum Step {
    Ask(Ask, Expectation),
    Tell(Tell),
    /// The event is sent once `after` bytes of the answer's body have been read; the rest is read when it is acknowledged.
    AskMeanwhile {
        ask: Ask,
        after: usize,
        tell: Tell,
        expected: Expectation,
    },
}

/// One thing to see.
#[derive(Clone, Debug)]
pub struct Scene {
    pub title: &'static str,
    /// The clause it shows, or the issue of a refusal.
    pub clause: &'static str,
    /// What to expect, for people.
    pub outcome: &'static str,
    pub steps: Vec<Step>,
}

impl Ask {
    fn get(target: impl Into<String>) -> Ask {
        Ask {
            method: Method::GET,
            target: target.into(),
            credentials: Vec::new(),
            purpose: None,
            long: false,
        }
    }

    fn by(mut self, credential: Credential) -> Ask {
        self.credentials.push(credential);
        self
    }

    fn long(mut self) -> Ask {
        self.long = true;
        self
    }

    fn for_(mut self, purpose: &'static str) -> Ask {
        self.purpose = Some(purpose);
        self
    }
}

fn customer(number: u32) -> Ask {
    Ask::get(format!("/customers/{}", id(number)))
}

fn scene(
    title: &'static str,
    clause: &'static str,
    outcome: &'static str,
    steps: impl Into<Vec<Step>>,
) -> Scene {
    Scene { title, clause, outcome, steps: steps.into() }
}

/// Nothing that says who the person is.
fn without(expected: Expectation, who: &Person) -> Expectation {
    expected.nowhere(who.family()).nowhere(&who.email())
}

/// Every scene, in the order of playing.
pub fn scenes() -> Vec<Scene> {
    [
        releases::scenes(),
        each_by_their_own::scenes(),
        refusals::scenes(),
        refusals::faults(),
        withdrawals::scenes(),
    ]
    .concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::Credential::*;
    use super::*;

    #[test]
    fn there_is_enough_to_see_and_no_title_stands_twice() {
        let scenes = scenes();
        let titles: HashSet<_> = scenes.iter().map(|scene| scene.title).collect();
        assert_eq!(titles.len(), scenes.len());
        assert!(scenes.len() >= 30, "{}", scenes.len());
        assert!(scenes.iter().all(|scene| !scene.steps.is_empty()));
    }

    #[test]
    fn every_recipient_has_a_scene() {
        let used: Vec<_> = scenes()
            .iter()
            .flat_map(|scene| scene.steps.clone())
            .filter_map(|step| match step {
                Step::Ask(ask, _) | Step::AskMeanwhile { ask, .. } => Some(ask.credentials),
                Step::Tell(_) => None,
            })
            .flatten()
            .collect();
        for credential in [ServiceDesk, Reseller, PaymentProcessor, Registrar, Unregistered] {
            assert!(used.contains(&credential), "{credential:?}");
        }
    }

    #[test]
    fn what_a_scene_tells_comes_after_everything_that_it_would_change() {
        let scenes = scenes();
        let first =
            scenes.iter().position(|s| s.steps.iter().any(|step| !matches!(step, Step::Ask(..)))).unwrap();
        let later_ones = scenes.len() - first;
        assert_eq!(later_ones, withdrawals::scenes().len());
    }
}
