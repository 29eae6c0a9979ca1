//! Active health checks: a request to each address of an upstream, on a connection of its own.
//!
//! A check tells if an address is used while there are others. It never makes the only address unusable.

use std::sync::Weak;

use futures_util::future::join_all;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Uri};

use super::balance::CheckThresholds;
use super::connection::OpenedConnection;
use super::endpoint::Endpoint;
use super::request::{self, OutgoingBody};
use super::{AddressSet, Upstream};
use crate::config::HealthCheckSection;

/// Checks all addresses in each interval, until the upstream is dropped.
pub(super) async fn check(upstream: Weak<Upstream>) {
    loop {
        let interval = {
            let Some(upstream) = upstream.upgrade() else { return };
            let Some(section) = &upstream.health else { return };
            // An upstream whose name has no address has nothing to check.
            if let Ok(set) = upstream.addresses.current().await {
                upstream.check_all(&set, section).await;
            }
            section.interval
        };
        tokio::time::sleep(interval).await;
    }
}

impl Upstream {
    async fn check_all(&self, set: &AddressSet, section: &HealthCheckSection) {
        let checks = set.endpoints.iter().map(|endpoint| self.is_healthy(endpoint, section));
        let passed = join_all(checks).await;
        let thresholds = CheckThresholds {
            unhealthy_after: section.unhealthy_after,
            healthy_after: section.healthy_after,
        };
        for (position, (endpoint, passed)) in set.endpoints.iter().zip(passed).enumerate() {
            let changed = set.balance().checked(position, passed, thresholds);
            let (upstream, address) = (&*self.name, endpoint.address());
            match changed {
                Some(true) => tracing::info!(upstream, %address, "health checks of an address pass again"),
                Some(false) => tracing::warn!(upstream, %address, "health checks of an address fail"),
                None => {}
            }
        }
        self.export_states();
    }

    /// True if the address answers with an expected status in time.
    async fn is_healthy(&self, endpoint: &Endpoint, section: &HealthCheckSection) -> bool {
        let asked = tokio::time::timeout(section.timeout, self.ask(endpoint, section)).await;
        asked.ok().flatten().is_some_and(|status| section.expects(status))
    }

    /// Returns the status of the answer. Its body is not read.
    async fn ask(&self, endpoint: &Endpoint, section: &HealthCheckSection) -> Option<u16> {
        let mut request = Request::new(OutgoingBody::none());
        *request.uri_mut() = Uri::from(section.path.clone());
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("purposegate-health-check"));
        for (name, value) in &self.headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let response = match endpoint.connector.connect().await.ok()? {
            OpenedConnection::Http1(mut connection) => {
                request::for_http1(&mut request, &endpoint.host, false);
                connection.sender.send_request(request).await
            }
            OpenedConnection::Http2(mut connection) => {
                request::for_http2(&mut request, &endpoint.authority)?;
                connection.sender.send_request(request).await
            }
        };
        response.ok().map(|response| response.status().as_u16())
    }
}
