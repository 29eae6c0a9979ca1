//! Faults of an upstream: reasons for which nothing of its response can leave, as the operator's log names them.
//!
//! Invariant: a fault holds a kind, a place or a name of a closed list, never a byte of a response or of a request.

use std::{fmt, io};

use crate::exchange::Refusal;
use crate::exchange::flow::decode::ContentCoding;
use crate::scrub::Unreadable;

/// Reason for which there is no response, or no response that can be scrubbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFault {
    /// No upstream has the name that the route names.
    NoUpstream,
    /// The upstream's host name has no address.
    UnknownHost,
    /// All addresses of the upstream's host name are link-local or serve metadata of a cloud.
    ForbiddenAddress,
    /// The upstream refused the connection.
    ConnectionRefused,
    /// No connection within the upstream's `connect-timeout`.
    ConnectTimeout,
    /// Connecting failed in another way, which the system named.
    Connect(io::ErrorKind),
    /// TLS to the upstream failed.
    Tls(TlsFault),
    /// The upstream refused the request before it processed it (HTTP/2).
    RequestRefused,
    /// The connection ended before a response head.
    Closed,
    /// A new connection without TLS ended before a response head: the upstream may want TLS.
    ClosedPlaintext,
    /// The service behind the layer failed with an error of its own.
    ServiceFailed,
    /// No head came within the upstream's `timeout`.
    HeadTimeout,
    /// Nothing came for the upstream's `idle-timeout`.
    IdleTimeout,
    /// All waits for the body together took longer than the upstream's `body-timeout`.
    BodyTimeout,
    /// The head is not that of an HTTP response, or is larger than the bound.
    Head,
    /// The upstream broke the rules of HTTP/2, or sent more frames without content than the bound.
    Protocol,
    /// More interim responses (1xx) came than the bound.
    InterimAnswers,
    /// A transfer coding other than `chunked` alone.
    TransferCoding,
    /// A status of a response that is not whole: a redirect, a partial response, the result of a condition, a number
    /// beyond 599.
    Status(u16),
    /// Nothing tells where the body ends.
    NoLength,
    /// The head names no media type.
    NoMediaType,
    /// The head names two media types.
    TwoMediaTypes,
    /// A media type that is not JSON; its name if that is known.
    MediaType(Option<&'static str>),
    /// Characters that are not UTF-8.
    Charset,
    /// A table whose media type says that it has no header (`header=absent`).
    NoTableHeader,
    /// An unknown content coding, or several.
    ContentCoding,
    /// `Cache-Control: no-transform`.
    NoTransform,
    /// The content cannot be decoded, or expands beyond the bound.
    Undecodable(ContentCoding),
    /// The body does not have the form of its media type.
    Body(Unreadable),
    /// The body is longer than `max-deny-body`.
    TooLong(usize),
    /// The connection ended in the body.
    Broken,
}

impl UpstreamFault {
    /// Returns the refusal that the recipient receives.
    pub fn refusal(self) -> Refusal {
        match self {
            UpstreamFault::NoUpstream
            | UpstreamFault::UnknownHost
            | UpstreamFault::ForbiddenAddress
            | UpstreamFault::ConnectionRefused
            | UpstreamFault::ConnectTimeout
            | UpstreamFault::Connect(_)
            | UpstreamFault::Tls(_)
            | UpstreamFault::RequestRefused
            | UpstreamFault::Closed
            | UpstreamFault::ClosedPlaintext
            | UpstreamFault::ServiceFailed => Refusal::UpstreamUnreachable,
            UpstreamFault::HeadTimeout | UpstreamFault::IdleTimeout | UpstreamFault::BodyTimeout => {
                Refusal::UpstreamTimeout
            }
            UpstreamFault::Head
            | UpstreamFault::Protocol
            | UpstreamFault::InterimAnswers
            | UpstreamFault::TransferCoding
            | UpstreamFault::Status(_)
            | UpstreamFault::NoLength
            | UpstreamFault::NoMediaType
            | UpstreamFault::TwoMediaTypes
            | UpstreamFault::MediaType(_)
            | UpstreamFault::Charset
            | UpstreamFault::NoTableHeader
            | UpstreamFault::ContentCoding
            | UpstreamFault::NoTransform
            | UpstreamFault::Undecodable(_)
            | UpstreamFault::Body(_)
            | UpstreamFault::TooLong(_)
            | UpstreamFault::Broken => Refusal::UpstreamUnreadable,
        }
    }
}

/// Cause of a failed TLS handshake with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The upstream's certificate has expired.
    Expired,
    /// The validity of the upstream's certificate has not begun.
    NotYetValid,
    /// No trusted authority issued the upstream's certificate.
    UnknownAuthority,
    /// The upstream's certificate is for other names.
    OtherName,
    /// The upstream's certificate is revoked.
    Revoked,
    /// The upstream's certificate is not for servers.
    OtherPurpose,
    /// The upstream's certificate is wrong in another way.
    BadCertificate,
    /// The upstream demands a client certificate.
    ClientCertificateMissing,
    /// The upstream refused the client certificate.
    ClientCertificateRefused,
    /// Both sides have no TLS version or cipher suite in common.
    NothingInCommon,
    /// The upstream does not speak TLS.
    NotTls,
    /// The upstream closed the connection during the handshake.
    Interrupted,
    /// TLS failed in another way.
    Other,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsFault::Expired => "the certificate has expired",
            TlsFault::NotYetValid => "the certificate is not valid yet",
            TlsFault::UnknownAuthority => "the certificate is from an unknown authority",
            TlsFault::OtherName => "the certificate is for other names",
            TlsFault::Revoked => "the certificate is revoked",
            TlsFault::OtherPurpose => "the certificate is not for servers",
            TlsFault::BadCertificate => "the certificate cannot be used",
            TlsFault::ClientCertificateMissing => "the upstream demands a client certificate",
            TlsFault::ClientCertificateRefused => "the upstream refused the client certificate",
            TlsFault::NothingInCommon => "no TLS version or cipher suite in common",
            TlsFault::NotTls => "the upstream does not speak TLS",
            TlsFault::Interrupted => "the connection was closed during the handshake",
            TlsFault::Other => "the handshake failed",
        })
    }
}

impl std::error::Error for UpstreamFault {}

impl fmt::Display for UpstreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UpstreamFault::NoUpstream => "no upstream has this name",
            UpstreamFault::UnknownHost => "the host name cannot be resolved",
            UpstreamFault::ForbiddenAddress => {
                "the host name resolves to link-local or metadata addresses only"
            }
            UpstreamFault::ConnectionRefused => "the connection was refused",
            UpstreamFault::ConnectTimeout => "no connection within connect-timeout",
            UpstreamFault::RequestRefused => "the upstream refused the request before processing it",
            UpstreamFault::Closed => "the connection was closed before an answer",
            UpstreamFault::ClosedPlaintext => {
                "the connection was closed before an answer; if the API speaks TLS, write `https://`"
            }
            UpstreamFault::ServiceFailed => "the service failed",
            UpstreamFault::HeadTimeout => "no answer within timeout",
            UpstreamFault::IdleTimeout => "nothing more of the body within idle-timeout",
            UpstreamFault::BodyTimeout => "the body was waited for longer than body-timeout",
            UpstreamFault::Head => "the head is not HTTP, or too large",
            UpstreamFault::Protocol => "the upstream broke the rules of HTTP/2",
            UpstreamFault::InterimAnswers => "too many interim answers (1xx)",
            UpstreamFault::TransferCoding => "a transfer coding other than chunked",
            UpstreamFault::NoLength => "neither a length nor chunks",
            UpstreamFault::NoMediaType => "no media type",
            UpstreamFault::TwoMediaTypes => "two media types",
            UpstreamFault::MediaType(None) => "another media type",
            UpstreamFault::Charset => "a charset other than UTF-8",
            UpstreamFault::NoTableHeader => "a table without a header",
            UpstreamFault::ContentCoding => "an unknown content coding, or several",
            UpstreamFault::NoTransform => "no-transform",
            UpstreamFault::Broken => "the connection ended in the body",
            UpstreamFault::Connect(kind) => return write!(f, "connecting failed: {kind}"),
            UpstreamFault::Tls(fault) => return write!(f, "TLS failed: {fault}"),
            UpstreamFault::Status(status) => return write!(f, "status {status}"),
            UpstreamFault::MediaType(Some(name)) => return write!(f, "media type {name}"),
            UpstreamFault::Undecodable(coding) => {
                return write!(f, "the content coding {} cannot be undone", coding.name());
            }
            UpstreamFault::Body(unreadable) => return write!(f, "the body is {unreadable}"),
            UpstreamFault::TooLong(bound) => {
                return write!(f, "the body has more than {bound} bytes (max-deny-body)");
            }
        })
    }
}

/// Reason for which a response does not leave, or is cut before its end. The recipient of a cut response sees the connection
/// break.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the answer was cut: {}", .refusal.code())]
pub struct ResponseError {
    /// The refusal that the recipient receives if nothing has left yet.
    pub refusal: Refusal,
    /// The fault for the operator's log, if the upstream is the reason.
    pub fault: Option<UpstreamFault>,
}

impl From<Refusal> for ResponseError {
    fn from(refusal: Refusal) -> ResponseError {
        ResponseError { refusal, fault: None }
    }
}

impl From<UpstreamFault> for ResponseError {
    fn from(fault: UpstreamFault) -> ResponseError {
        ResponseError { refusal: fault.refusal(), fault: Some(fault) }
    }
}

impl From<Unreadable> for ResponseError {
    fn from(unreadable: Unreadable) -> ResponseError {
        UpstreamFault::Body(unreadable).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_to_connect_names_its_kind() {
        let fault = UpstreamFault::Connect(io::ErrorKind::HostUnreachable);
        assert_eq!(fault.to_string(), "connecting failed: host unreachable");
    }
}
