//! The addresses of an upstream: those that its URLs name, and those that the names in them resolve to.
//!
//! Invariants: an answer is used for at most [`MAX_ANSWER_AGE`] without asking again, and for at most
//! [`MAX_STALE_AGE`](super::resolve::MAX_STALE_AGE) while asking again fails; at most one question is under way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use rustls::ClientConfig;
use tokio::sync::watch;

use super::balance::{AddressHealth, Balance};
use super::connection::Connector;
use super::endpoint::Endpoint;
use super::resolve::{self, MAX_ANSWER_AGE, REFRESH_AGE, RETRY, ResolvedAddresses};
use crate::config::UpstreamOrigin;
use crate::exchange::upstream_fault::UpstreamFault;

/// Maximum number of addresses of one upstream.
const MAX_ENDPOINTS: usize = 64;

/// The addresses at one time.
pub(super) struct AddressSet {
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    balance: Mutex<Balance>,
    /// The answers that the addresses are from, one for each origin.
    answers: Vec<Option<ResolvedAddresses>>,
    /// When the names are asked for again; `None` if there are no names.
    renewal: Option<AddressRenewal>,
}

/// The times at which names are asked for again.
#[derive(Clone, Copy)]
struct AddressRenewal {
    /// From then on in the background.
    refresh: Instant,
    /// From then on before the next exchange.
    expires: Instant,
}

impl AddressSet {
    pub(super) fn balance(&self) -> MutexGuard<'_, Balance> {
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is known about an endpoint of this set, by its host and address.
    fn health_of(&self, endpoint: &Endpoint) -> Option<(Arc<Endpoint>, AddressHealth)> {
        let is_same =
            |own: &Arc<Endpoint>| own.address() == endpoint.address() && own.authority == endpoint.authority;
        let position = self.endpoints.iter().position(is_same)?;
        Some((Arc::clone(self.endpoints.get(position)?), self.balance().health(position)))
    }

    /// True if an answer is so old that it may not be used.
    fn is_outdated(&self, now: Instant) -> bool {
        self.answers.iter().flatten().any(|answer| !answer.is_usable(now))
    }
}

/// The addresses of an upstream.
pub(super) struct UpstreamAddresses {
    name: Arc<str>,
    origins: Vec<UpstreamOrigin>,
    tls: Option<Arc<ClientConfig>>,
    connect_timeout: Duration,
    reuse: bool,
    current: ArcSwap<AddressSet>,
    is_asking: AtomicBool,
    /// Changes when a question has ended.
    asked: watch::Sender<()>,
}

impl UpstreamAddresses {
    /// The addresses of these origins. `earlier` are those of the same upstream before a reload: what is known about an
    /// address is kept.
    pub(super) fn new(
        name: Arc<str>,
        origins: Vec<UpstreamOrigin>,
        tls: Option<Arc<ClientConfig>>,
        (connect_timeout, reuse): (Duration, bool),
        earlier: Option<&UpstreamAddresses>,
    ) -> UpstreamAddresses {
        let empty = AddressSet {
            endpoints: Vec::new(),
            balance: Mutex::new(Balance::new(Vec::new())),
            answers: Vec::new(),
            renewal: None,
        };
        let addresses = UpstreamAddresses {
            name,
            origins,
            tls,
            connect_timeout,
            reuse,
            current: ArcSwap::from_pointee(empty),
            is_asking: AtomicBool::new(false),
            asked: watch::Sender::new(()),
        };
        let before = earlier.map(|earlier| earlier.current.load_full());
        let (answers, renewal) = match &before {
            // The names are the same: so are their addresses until they are asked for again.
            Some(before) if earlier.is_some_and(|earlier| earlier.origins == addresses.origins) => {
                (before.answers.clone(), before.renewal)
            }
            _ => {
                let answers: Vec<_> = addresses.origins.iter().map(resolve::literal).collect();
                let now = Instant::now();
                let has_names = answers.contains(&None);
                (answers, has_names.then_some(AddressRenewal { refresh: now, expires: now }))
            }
        };
        let set = addresses.build(answers, renewal, |endpoint| {
            let (_, health) = before.as_ref()?.health_of(&endpoint)?;
            Some((endpoint, health))
        });
        addresses.current.store(Arc::new(set));
        addresses
    }

    /// Returns the addresses as they are known, however old.
    pub(super) fn known(&self) -> Arc<AddressSet> {
        self.current.load_full()
    }

    /// Returns the addresses for an exchange. Waits for an answer if there is none that may be used, at most for the
    /// upstream's connect timeout.
    ///
    /// # Errors
    /// [`UpstreamFault::UnknownHost`], or [`UpstreamFault::ForbiddenAddress`].
    pub(super) async fn current(self: &Arc<UpstreamAddresses>) -> Result<Arc<AddressSet>, UpstreamFault> {
        let set = self.current.load_full();
        let Some(renewal) = set.renewal else { return Ok(set) };
        let now = Instant::now();
        if now < renewal.refresh {
            return usable(set, now);
        }
        let mut asked = self.asked.subscribe();
        self.ask();
        if now >= renewal.expires {
            let _ = tokio::time::timeout(self.connect_timeout, asked.changed()).await;
        }
        usable(self.current.load_full(), Instant::now())
    }

    /// Asks for the addresses of all names in a task of its own, unless one does already.
    fn ask(self: &Arc<UpstreamAddresses>) {
        if self.is_asking.swap(true, Ordering::AcqRel) {
            return;
        }
        let addresses = Arc::clone(self);
        tokio::spawn(async move {
            addresses.renew().await;
            addresses.is_asking.store(false, Ordering::Release);
            addresses.asked.send_replace(());
        });
    }

    async fn renew(&self) {
        let before = self.current.load_full();
        let answers = join_all(self.origins.iter().map(async |origin| match resolve::literal(origin) {
            Some(literal) => Some(literal),
            None => resolve::look_up(origin).await,
        }));
        let answers = answers.await;
        let now = Instant::now();
        let failed = answers.contains(&None);
        let answers: Vec<_> = answers
            .into_iter()
            .enumerate()
            .map(|(at, answer)| {
                let earlier = || before.answers.get(at).cloned().flatten();
                answer.or_else(|| earlier().filter(|answer| answer.is_usable(now)))
            })
            .collect();
        self.report(&before, &answers, failed);
        let (refresh, expires) = match failed {
            false => (now + REFRESH_AGE, now + MAX_ANSWER_AGE),
            true if answers.iter().all(Option::is_none) => (now, now),
            // At the end of the oldest answer exchanges wait for the next one, which leaves that name out.
            true => {
                let ends = answers.iter().flatten().filter_map(ResolvedAddresses::usable_until);
                (now + RETRY, ends.min().map_or(now + MAX_ANSWER_AGE, |end| end.min(now + MAX_ANSWER_AGE)))
            }
        };
        // Endpoints whose address stays keep their connections.
        let set = self.build(answers, Some(AddressRenewal { refresh, expires }), |endpoint| {
            before.health_of(&endpoint)
        });
        self.current.store(Arc::new(set));
    }

    /// Logs what an operator should know about an answer, once.
    fn report(&self, before: &AddressSet, answers: &[Option<ResolvedAddresses>], failed: bool) {
        let forbidden = |answers: &[Option<ResolvedAddresses>]| -> usize {
            answers.iter().flatten().map(|answer| answer.forbidden).sum()
        };
        let (count, earlier) = (forbidden(answers), forbidden(&before.answers));
        if count > 0 && count != earlier {
            tracing::warn!(
                upstream = &*self.name,
                count,
                "link-local and metadata addresses of the host name are not used"
            );
        }
        if failed {
            tracing::debug!(upstream = &*self.name, "a host name could not be resolved");
        }
    }

    /// Makes the endpoints of these answers. `known` returns an endpoint that there is already, with what is known about
    /// it.
    fn build(
        &self,
        answers: Vec<Option<ResolvedAddresses>>,
        renewal: Option<AddressRenewal>,
        known: impl Fn(Arc<Endpoint>) -> Option<(Arc<Endpoint>, AddressHealth)>,
    ) -> AddressSet {
        let resolved = self.origins.iter().zip(&answers).flat_map(|(origin, answer)| {
            answer.iter().flat_map(|answer| &answer.addresses).map(move |address| (origin, *address))
        });
        let endpoints = resolved.take(MAX_ENDPOINTS).map(|(origin, address)| {
            let tls = self.tls.clone().zip(origin.server_name.clone());
            let connector = Connector { address, tls, timeout: self.connect_timeout };
            let new = Arc::new(Endpoint::new(origin, connector, self.reuse));
            known(Arc::clone(&new)).unwrap_or((new, AddressHealth::default()))
        });
        let (endpoints, health): (Vec<_>, Vec<_>) = endpoints.unzip();
        AddressSet { endpoints, balance: Mutex::new(Balance::new(health)), answers, renewal }
    }
}

fn usable(set: Arc<AddressSet>, now: Instant) -> Result<Arc<AddressSet>, UpstreamFault> {
    if !set.endpoints.is_empty() && !set.is_outdated(now) {
        return Ok(set);
    }
    let is_forbidden = set.answers.iter().flatten().any(|answer| answer.forbidden > 0);
    Err(if is_forbidden { UpstreamFault::ForbiddenAddress } else { UpstreamFault::UnknownHost })
}
