//! Who sends a request to the admin API, and how often.
//!
//! An actor is known by a bearer token, of which the configuration holds the hash, or by a name in a verified client
//! certificate. Credentials are looked up for each request, so one that a reload removed opens nothing more, on open
//! connections neither. Without any configured credential everybody who reaches the listener may do everything:
//! the configuration permits this on the loopback alone.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use super::problem::{AdminCode, AdminProblem};
use super::roles::{ResourceAccess, ResourceRule};
use crate::config::{AdminActor, AdminActors, AdminRole, AdminSection, ClientAuthority};
use crate::credentials::{self, KeyHash};
use crate::exchange::caller::CertificateName;
use crate::gateway::connection_limit::AddressBlock;
use crate::ledger::EventSender;

/// Number of requests with an invalid credential that one peer can send at once.
const FAILURES: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);
/// Number of requests with an invalid credential that one peer can send in a minute.
const FAILURES_PER_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);
/// Maximum number of peers whose failures are counted. Beyond it new ones wait.
const MAX_FAILING_PEERS: usize = 10_000;

/// The other side of a connection.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct AdminPeer {
    pub(in crate::gateway) address: IpAddr,
    /// True over TLS.
    pub(in crate::gateway) is_encrypted: bool,
    pub(in crate::gateway) certificate: Option<ClientCertificate>,
}

/// The client certificate of a connection, which TLS has verified.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct ClientCertificate {
    pub(in crate::gateway) chain: Arc<[CertificateDer<'static>]>,
    pub(in crate::gateway) names: Arc<[CertificateName]>,
}

/// Everything that decides who may use the API. A reload replaces it as a whole.
#[derive(Debug)]
pub(in crate::gateway) struct AdminAccess {
    /// Host names by which the listener may be asked.
    pub(in crate::gateway) authorities: Vec<String>,
    actors: AdminActors,
    client_authority: Option<ClientAuthority>,
    by_actor: DefaultKeyedRateLimiter<Arc<str>>,
    failures: DefaultKeyedRateLimiter<AddressBlock>,
}

impl AdminAccess {
    pub(super) fn new(section: &AdminSection) -> AdminAccess {
        let server = section.tls.as_ref().and_then(|tls| tls.server.as_ref().ok());
        let failures = Quota::per_minute(FAILURES_PER_MINUTE).allow_burst(FAILURES);
        AdminAccess {
            authorities: section.authorities.clone(),
            actors: section.actors.clone(),
            client_authority: server.and_then(|server| server.client_authority.clone()),
            by_actor: RateLimiter::keyed(section.rate),
            failures: RateLimiter::keyed(failures),
        }
    }

    /// True if requests need a credential.
    pub(in crate::gateway) fn needs_credentials(&self) -> bool {
        !self.actors.is_empty()
    }

    /// Identifies the actor by all credentials of a request.
    ///
    /// # Errors
    /// An [`AdminProblem`] if there is no credential, one is unknown or has ended, or two name different actors; or if
    /// the actor, or the peer with invalid credentials, sends too many requests.
    pub(super) fn authenticate(&self, headers: &HeaderMap, peer: &AdminPeer) -> Result<Actor, AdminProblem> {
        self.identify(self.by_token(headers), peer)
    }

    /// Identifies the actor whose token has this hash, for a session that began with the token, or by the certificate.
    ///
    /// # Errors
    /// As [`AdminAccess::authenticate`].
    pub(in crate::gateway) fn authenticate_session(
        &self,
        token: Option<&KeyHash>,
        peer: &AdminPeer,
    ) -> Result<Actor, AdminProblem> {
        let known = token.map(|token| self.actors.tokens.get(token).ok_or_else(invalid));
        self.identify(known.transpose(), peer)
    }

    /// Identifies the actor of a token that somebody typed, and returns the hash of the token. An invalid one counts as
    /// an invalid credential of the API.
    ///
    /// # Errors
    /// As [`AdminAccess::authenticate`].
    pub(in crate::gateway) fn sign_in(
        &self,
        token: &str,
        peer: &AdminPeer,
    ) -> Result<(KeyHash, Actor), AdminProblem> {
        let token = credentials::hash(token.as_bytes());
        Ok((token, self.identify(self.actors.tokens.get(&token).ok_or_else(invalid).map(Some), peer)?))
    }

    /// True if an actor has a token with this hash now.
    pub(in crate::gateway) fn knows_token(&self, token: &KeyHash) -> bool {
        self.actors.tokens.contains_key(token)
    }

    /// True if the client certificate of the connection names an actor now.
    pub(in crate::gateway) fn knows_certificate(&self, peer: &AdminPeer) -> bool {
        self.accepts_certificate(peer) && matches!(self.by_certificate(peer), Ok(Some(_)))
    }

    fn identify(
        &self,
        token: Result<Option<&Arc<AdminActor>>, AdminProblem>,
        peer: &AdminPeer,
    ) -> Result<Actor, AdminProblem> {
        if !self.needs_credentials() {
            return Ok(Actor::default());
        }
        let actor = match (token, self.by_certificate(peer)) {
            _ if !self.accepts_certificate(peer) => Err(invalid()),
            (_, Err(ambiguous)) => Err(ambiguous),
            (Ok(None), Ok(None)) => Err(AdminProblem::unauthenticated(AdminCode::CredentialMissing)),
            (Ok(Some(token)), Ok(Some(certificate))) if token != certificate => {
                Err(AdminProblem::disagreeing())
            }
            (Ok(Some(actor)), Ok(_)) | (Ok(None), Ok(Some(actor))) => Ok(actor),
            (Err(invalid), Ok(_)) => Err(invalid),
        };
        let actor = actor.map_err(|problem| self.count_failure(peer.address).err().unwrap_or(problem))?;
        self.by_actor.check_key(&actor.name).map_err(|not_until| too_many(&not_until))?;
        Ok(Actor { signed_in: Some(Arc::clone(actor)) })
    }

    /// Only requests that fail are refused for the failures of their peer: behind a proxy all actors have one address.
    fn count_failure(&self, peer: IpAddr) -> Result<(), AdminProblem> {
        if self.failures.len() >= MAX_FAILING_PEERS {
            self.failures.retain_recent();
        }
        if self.failures.len() >= MAX_FAILING_PEERS {
            return Err(AdminProblem::too_many_requests(60));
        }
        self.failures.check_key(&AddressBlock::of(peer)).map_err(|not_until| too_many(&not_until))
    }

    fn by_token(&self, headers: &HeaderMap) -> Result<Option<&Arc<AdminActor>>, AdminProblem> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let token = value.to_str().ok().and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let known =
            token.and_then(|(_, token)| self.actors.of_token(token.trim_start_matches(' ').as_bytes()));
        known.filter(|_| values.next().is_none()).map(Some).ok_or_else(invalid)
    }

    /// True if TLS would accept the client's certificate now, or its absence. Asked for each request: the certificate may
    /// have ended, or a reload may have replaced its authority, revoked it or begun to require one.
    fn accepts_certificate(&self, peer: &AdminPeer) -> bool {
        let Some(authority) = &self.client_authority else { return true };
        let chain = peer.certificate.as_ref().map_or(&[][..], |certificate| &certificate.chain);
        authority.accepts(chain, Timestamp::now())
    }

    /// A verified certificate that is not registered names nobody; one with the names of two actors is invalid.
    fn by_certificate(&self, peer: &AdminPeer) -> Result<Option<&Arc<AdminActor>>, AdminProblem> {
        let certificate = peer.certificate.as_ref().filter(|_| self.client_authority.is_some());
        let names = certificate.map_or(&[][..], |certificate| &certificate.names);
        let mut actors = names.iter().filter_map(|name| self.actors.certificates.get(name));
        let first = actors.next();
        if actors.any(|other| Some(other) != first) { Err(invalid()) } else { Ok(first) }
    }
}

fn invalid() -> AdminProblem {
    AdminProblem::unauthenticated(AdminCode::CredentialInvalid)
}

fn too_many(not_until: &NotUntil<<DefaultClock as Clock>::Instant>) -> AdminProblem {
    let wait = not_until.wait_time_from(DefaultClock::default().now());
    AdminProblem::too_many_requests(wait.as_secs().saturating_add(1))
}

/// The sender of a request. The default is somebody who is not signed in, because nobody can be.
#[derive(Clone, Debug, Default)]
pub(in crate::gateway) struct Actor {
    signed_in: Option<Arc<AdminActor>>,
}

impl Actor {
    /// Returns the name, if it is verified.
    pub(in crate::gateway) fn name(&self) -> Option<&Arc<str>> {
        self.signed_in.as_ref().map(|actor| &actor.name)
    }

    /// Returns the actor as the sender of events.
    pub(in crate::gateway) fn sender(&self) -> EventSender<'_> {
        match &self.signed_in {
            None => EventSender::Unknown,
            Some(actor) => {
                EventSender::SignedIn { name: &actor.name, cases: self.has_role(AdminRole::Cases) }
            }
        }
    }

    /// True if the actor may do what a role permits.
    pub(in crate::gateway) fn has_role(&self, role: AdminRole) -> bool {
        self.signed_in.as_ref().is_none_or(|actor| actor.roles.contains(&role))
    }

    /// Returns the role by which the actor may use the resource; `None` if it needs no role.
    ///
    /// # Errors
    /// [`AdminCode::RoleMissing`].
    pub(in crate::gateway) fn role_for(
        &self,
        rule: &ResourceRule,
    ) -> Result<Option<AdminRole>, AdminProblem> {
        let ResourceAccess::Roles(roles) = rule.access else { return Ok(None) };
        match (&self.signed_in, roles.iter().find(|role| self.has_role(**role))) {
            (None, _) => Ok(None),
            (Some(_), Some(role)) => Ok(Some(*role)),
            (Some(_), None) => Err(AdminProblem::role_missing(roles)),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = AdminProblem;

    /// Somebody who is not signed in if no actor was identified: only resources for anyone have none.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Actor, AdminProblem> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}
