//! Connections to the admin listener: TLS, and a bound for every wait.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::TryFutureExt;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use super::authentication::{AdminPeer, ClientCertificate};
use crate::config::TlsServer;
use crate::config::descriptors::MAX_ADMIN_CONNECTIONS;
use crate::exchange::TrustedProxies;
use crate::gateway::client_certificate::peer_names;
use crate::gateway::connection::{HEAD_TIME, STALL_TIME};
use crate::gateway::connection_limit::ConnectionLimit;
use crate::gateway::gateway_end::GatewayEnd;
use crate::gateway::transport::{TransportFailures, accept_tls};

/// Maximum number of open connections of one peer address beyond the loopback.
const MAX_CONNECTIONS_PER_PEER: usize = 16;
/// Addresses of this machine. Its connections count only in total.
const LOOPBACK: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
];
/// Maximum age of a connection. Then it ends after the request under way.
const MAX_AGE: Duration = Duration::from_secs(10 * 60);
/// Time for the request under way when a connection has reached its maximum age.
const CLOSE_TIME: Duration = Duration::from_secs(120);

/// Returns the limit of connections to the admin listener. `refused` counts those beyond.
pub(in crate::gateway) fn connection_limit(refused: IntCounter) -> ConnectionLimit {
    let limit = ConnectionLimit::new(MAX_ADMIN_CONNECTIONS, refused);
    limit.per_address(MAX_CONNECTIONS_PER_PEER, TrustedProxies::new(LOOPBACK.to_vec()))
}

/// Serves one connection until it ends.
pub(super) async fn serve(
    stream: TcpStream,
    address: IpAddr,
    (tls, failures): (Option<TlsServer>, &TransportFailures),
    router: Router,
    end: GatewayEnd,
) {
    let Some(TlsServer { config, .. }) = tls else {
        let peer = AdminPeer { address, is_encrypted: false, certificate: None };
        return serve_http(stream, peer, router, end).await;
    };
    let Some(stream) = accept_tls(stream, config, failures).await else { return };
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().map(|chain| ClientCertificate {
        chain: chain.into(),
        names: peer_names(chain, Timestamp::now()).names,
    });
    serve_http(stream, AdminPeer { address, is_encrypted: true, certificate }, router, end).await;
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: AdminPeer,
    router: Router,
    end: GatewayEnd,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALL_TIME));
    let watched = end.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let (answered, end) = (router.clone().oneshot(request.map(Body::new)), watched.clone());
        end.note_request();
        answered.map_ok(move |mut response| {
            end.mark(&mut response);
            response
        })
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = pin!(connection);
    let closing = async {
        tokio::select! {
            () = sleep(MAX_AGE) => true,
            () = end.begins() => false,
        }
    };
    let is_too_old = tokio::select! {
        ended = connection.as_mut() => return log_end(ended),
        is_too_old = closing => is_too_old,
    };
    connection.as_mut().graceful_shutdown();
    if !is_too_old {
        // The gateway waits for the requests under way.
        return log_end(connection.await);
    }
    if let Ok(ended) = timeout(CLOSE_TIME, connection).await {
        log_end(ended);
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "admin connection ended");
    }
}
