//! The scenes of the demonstration: what is asked, by whom, for what, and what must come of it.
//!
//! It describes and does nothing: `show` prints the scenes as `curl` lines, `demo --check` plays them.
//! Scenes are played in order; those that change what a person has said come last.

mod consent_states;
mod refusals;
mod releases;
mod withdrawals;

use http::Method;
use serde_json::Value;

use super::expectation::Expectation;
use super::people::{SamplePerson, id};

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
pub struct SceneRequest {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub credentials: Vec<Credential>,
    /// The value of `Data-Purpose`, as sent.
    pub purpose: Option<&'static str>,
    /// The answer is too long for a terminal.
    pub long_answer: bool,
}

/// One event for the ledger, through the admin API.
#[derive(Clone, Debug)]
pub struct SceneEvent {
    pub subject: String,
    pub event: Value,
}

/// One step of a scene.
#[derive(Clone, Debug)]
pub enum SceneStep {
    Request(SceneRequest, Expectation),
    Event(SceneEvent),
    /// The event is sent once `after` bytes of the answer's body have been read; the rest is read when it is acknowledged.
    RequestWithEvent {
        ask: SceneRequest,
        after: usize,
        tell: SceneEvent,
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
    pub steps: Vec<SceneStep>,
}

impl SceneRequest {
    fn get(target: impl Into<String>) -> SceneRequest {
        SceneRequest {
            method: Method::GET,
            target: target.into(),
            credentials: Vec::new(),
            purpose: None,
            long_answer: false,
        }
    }

    fn with_credential(mut self, credential: Credential) -> SceneRequest {
        self.credentials.push(credential);
        self
    }

    fn long_answer(mut self) -> SceneRequest {
        self.long_answer = true;
        self
    }

    fn with_purpose(mut self, purpose: &'static str) -> SceneRequest {
        self.purpose = Some(purpose);
        self
    }
}

fn customer(number: u32) -> SceneRequest {
    SceneRequest::get(format!("/customers/{}", id(number)))
}

fn scene(
    title: &'static str,
    clause: &'static str,
    outcome: &'static str,
    steps: impl Into<Vec<SceneStep>>,
) -> Scene {
    Scene { title, clause, outcome, steps: steps.into() }
}

/// Nothing that says who the person is.
fn without_identity(expected: Expectation, who: &SamplePerson) -> Expectation {
    expected.excludes(who.family()).excludes(&who.email())
}

/// Every scene, in the order of playing.
pub fn scenes() -> Vec<Scene> {
    [
        releases::scenes(),
        consent_states::scenes(),
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
                SceneStep::Request(ask, _) | SceneStep::RequestWithEvent { ask, .. } => Some(ask.credentials),
                SceneStep::Event(_) => None,
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
        let first = scenes
            .iter()
            .position(|s| s.steps.iter().any(|step| !matches!(step, SceneStep::Request(..))))
            .unwrap();
        let later_ones = scenes.len() - first;
        assert_eq!(later_ones, withdrawals::scenes().len());
    }
}
