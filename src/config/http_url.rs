//! URLs of servers that this program sends requests to.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::Uri;
use http::uri::{PathAndQuery, Scheme};

/// An `http` or `https` URL without user information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    is_tls: bool,
    /// Name or IP address, without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// The authority as it was written.
    authority: String,
    target: PathAndQuery,
}

/// Reason for which a text is not an [`HttpUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpUrlError {
    /// It does not parse, or has no host.
    #[error("this is not a URL with a host")]
    Malformed,
    /// The scheme is neither `http` nor `https`.
    #[error("the URL must begin with https:// or http://")]
    Scheme,
    /// It holds a user or a password.
    #[error("the URL must not hold a user or a password")]
    UserInfo,
}

impl FromStr for HttpUrl {
    type Err = HttpUrlError;

    fn from_str(text: &str) -> Result<HttpUrl, HttpUrlError> {
        let uri: Uri = text.parse().map_err(|_| HttpUrlError::Malformed)?;
        let is_tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(_) | None => return Err(HttpUrlError::Scheme),
        };
        let authority = uri.authority().ok_or(HttpUrlError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(HttpUrlError::UserInfo);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(HttpUrlError::Malformed);
        }
        Ok(HttpUrl {
            is_tls,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.to_string(),
            target: uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
        })
    }
}

impl std::fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        let target = if self.target == "/" { "" } else { self.target.as_str() };
        write!(f, "{scheme}://{}{target}", self.authority)
    }
}

impl HttpUrl {
    /// The URL of an address.
    pub fn of_address(address: SocketAddr, is_tls: bool) -> HttpUrl {
        HttpUrl {
            is_tls,
            host: address.ip().to_string(),
            port: address.port(),
            authority: address.to_string(),
            target: PathAndQuery::from_static("/"),
        }
    }

    /// Name or IP address of the host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, which is that of the scheme if the URL has none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as they were written.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// True for `https`.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// True if the host is this machine by its form: `localhost` or an IP address of the loopback.
    pub fn is_loopback(&self) -> bool {
        let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse().is_ok_and(is_loopback)
    }

    /// True if the URL names nothing but the server.
    pub fn is_origin(&self) -> bool {
        self.target == "/"
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        self.target.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_http_or_https_without_a_password() {
        let url: HttpUrl = "https://Gate.internal/prefix?x=1".parse().unwrap();
        assert_eq!((url.is_tls(), url.port, url.is_loopback(), url.is_origin()), (true, 443, false, false));
        assert_eq!(
            (url.target(), url.to_string()),
            ("/prefix?x=1", "https://Gate.internal/prefix?x=1".into())
        );
        for loopback in
            ["http://localhost", "http://127.9.0.1:81/", "https://[::1]:8443", "http://[::ffff:127.0.0.1]"]
        {
            assert!(loopback.parse::<HttpUrl>().unwrap().is_loopback(), "{loopback}");
        }
        for other in ["http://localhost.example.org", "http://10.0.0.1", "http://0.0.0.0"] {
            assert!(!other.parse::<HttpUrl>().unwrap().is_loopback(), "{other}");
        }
        for (text, error) in [
            ("ftp://host", HttpUrlError::Scheme),
            ("127.0.0.1:9901", HttpUrlError::Scheme),
            ("https://me:pw@host", HttpUrlError::UserInfo),
            ("https://", HttpUrlError::Malformed),
            ("", HttpUrlError::Malformed),
        ] {
            assert_eq!(text.parse::<HttpUrl>(), Err(error), "{text}");
        }
    }
}
