//! The scenes of the demonstration: requests, their expected responses, and events between them.
//!
//! Data only: `demo` prints the scenes as `curl` commands, `demo --check` sends their requests. Scenes run in order;
//! those that change the ledger come last.

mod consent_states;
mod faults;
mod refusals;
mod releases;
mod withdrawals;

use http::Method;
use serde_json::Value;

use super::expectation::Expectation;
use super::people::{SamplePerson, id};

/// The credential that a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// The API key of `service-desk`.
    ServiceDesk,
    /// The API key of `north-resale`.
    Reseller,
    /// The API key of `swift-pay`.
    PaymentProcessor,
    /// The client certificate of `acme-domains`.
    Registrar,
    /// An API key that belongs to no recipient.
    Unregistered,
}

/// One request to the gateway.
#[derive(Clone, Debug)]
pub(super) struct SceneRequest {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) credentials: Vec<Credential>,
    /// The value of the header `Data-Purpose`.
    pub(super) purpose: Option<&'static str>,
    /// The response is too long for a terminal.
    pub(super) long_answer: bool,
}

/// One event for the ledger, sent to the admin API.
#[derive(Clone, Debug)]
pub(super) struct SceneEvent {
    pub(super) subject: String,
    pub(super) event: Value,
}

/// One step of a scene.
#[derive(Clone, Debug)]
pub(super) enum SceneStep {
    /// A request and its expected response.
    Request(SceneRequest, Expectation),
    /// An event.
    Event(SceneEvent),
    /// A request with an event meanwhile: the event is sent after `after` bytes of the body, and the rest of the body is
    /// read after its acknowledgement.
    RequestWithEvent { request: SceneRequest, after: usize, event: SceneEvent, expected: Expectation },
}

/// One scene.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) title: &'static str,
    /// The clauses of the sample policy that it demonstrates; empty if it demonstrates none.
    pub(super) clause: &'static str,
    pub(super) steps: Vec<SceneStep>,
}

/// Scenes under one heading.
#[derive(Clone, Debug)]
pub(super) struct SceneSection {
    pub(super) heading: &'static str,
    pub(super) scenes: Vec<Scene>,
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

    fn with_purpose(mut self, purpose: &'static str) -> SceneRequest {
        self.purpose = Some(purpose);
        self
    }

    fn long_answer(mut self) -> SceneRequest {
        self.long_answer = true;
        self
    }
}

/// A request for the record of one customer.
pub(super) fn customer(number: u32, credential: Credential, purpose: &'static str) -> SceneRequest {
    customer_without_credential(number).with_credential(credential).with_purpose(purpose)
}

fn customer_without_credential(number: u32) -> SceneRequest {
    SceneRequest::get(format!("/customers/{}", id(number)))
}

fn scene(title: &'static str, clause: &'static str, steps: impl Into<Vec<SceneStep>>) -> Scene {
    Scene { title, clause, steps: steps.into() }
}

/// A scene of a single request.
fn one_request(
    title: &'static str,
    clause: &'static str,
    request: SceneRequest,
    expected: Expectation,
) -> Scene {
    scene(title, clause, [SceneStep::Request(request, expected)])
}

/// Expects nothing that identifies the person.
fn without_identity(expected: Expectation, who: &SamplePerson) -> Expectation {
    expected.excludes(who.family()).excludes(&who.email())
}

/// Returns all scenes, in the order in which they run.
pub(super) fn sections() -> Vec<SceneSection> {
    vec![
        SceneSection { heading: "What each recipient receives for its purpose", scenes: releases::scenes() },
        SceneSection { heading: "What each person's own choice changes", scenes: consent_states::scenes() },
        SceneSection { heading: "Requests that are refused", scenes: refusals::scenes() },
        SceneSection { heading: "A company API that fails", scenes: faults::scenes() },
        SceneSection { heading: "A consent that is withdrawn meanwhile", scenes: withdrawals::scenes() },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Credential::*;
    use super::*;

    fn scenes() -> Vec<Scene> {
        sections().into_iter().flat_map(|section| section.scenes).collect()
    }

    #[test]
    fn there_are_at_least_thirty_scenes_with_distinct_titles() {
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
                SceneStep::Request(request, _) | SceneStep::RequestWithEvent { request, .. } => {
                    Some(request.credentials)
                }
                SceneStep::Event(_) => None,
            })
            .flatten()
            .collect();
        for credential in [ServiceDesk, Reseller, PaymentProcessor, Registrar, Unregistered] {
            assert!(used.contains(&credential), "{credential:?}");
        }
    }

    #[test]
    fn scenes_that_change_the_ledger_come_last() {
        let scenes = scenes();
        let first = scenes
            .iter()
            .position(|scene| scene.steps.iter().any(|step| !matches!(step, SceneStep::Request(..))))
            .unwrap();
        assert_eq!(scenes.len() - first, withdrawals::scenes().len());
    }
}
