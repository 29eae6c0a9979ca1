//! The URLs of an upstream: one, or several addresses of one API.

use std::net::IpAddr;
use std::ops::Range;

use http::Uri;
use http::uri::Authority;
use rustls::pki_types::ServerName;

use crate::document::{At, Document, Fields};
use crate::finding::Finding;

/// Maximum number of URLs of one upstream.
pub(super) const MAX_URLS: usize = 32;

/// The hint of every finding about a URL.
const HINT: &str =
    "write `https://host:port` or `http://host:port`, optionally with a path, without user and query";

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamOrigin {
    /// Host, and port if the URL has one.
    pub authority: Authority,
    /// The name that the certificate must have. `None`: plaintext.
    pub server_name: Option<ServerName<'static>>,
}

impl UpstreamOrigin {
    /// Returns the host without brackets.
    pub fn host(&self) -> &str {
        host(&self.authority)
    }

    /// Returns the port: that of the URL, or the default of its scheme.
    pub fn port(&self) -> u16 {
        let default = if self.server_name.is_some() { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(default)
    }
}

/// Returns the host of an authority without brackets.
pub(super) fn host(authority: &Authority) -> &str {
    authority.host().trim_start_matches('[').trim_end_matches(']')
}

/// The URLs as they are written.
#[derive(Debug)]
pub(super) struct UpstreamUrls {
    pub(super) authorities: Vec<Authority>,
    pub(super) prefix: String,
    pub(super) is_https: bool,
    /// Place of the first URL.
    pub(super) at: Range<usize>,
}

/// One URL, parsed.
#[derive(PartialEq, Eq)]
struct ParsedUrl {
    is_https: bool,
    prefix: String,
    authority: Authority,
}

impl UpstreamUrls {
    /// Reads `url` or `urls`.
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<UpstreamUrls> {
        let document = fields.document();
        let (one, several) = (fields.text("url"), fields.item("urls"));
        let written = match (one, several) {
            (None, None) => {
                fields.missing("url");
                return None;
            }
            (Some(_), Some(several)) => {
                let finding = Finding::error("bad-upstream-url", "`url` and `urls` are both there");
                document.find(finding.label("a second one").hint("keep one of them"), several.at());
                return None;
            }
            (Some(one), None) => vec![one],
            (None, Some(several)) => {
                let written = several.texts();
                if written.is_empty() || written.len() > MAX_URLS {
                    let words = format!("`urls` has {} addresses", written.len());
                    let hint = format!("list 1 to {MAX_URLS}");
                    document.find(Finding::error("bad-upstream-url", words).hint(hint), several.at());
                    return None;
                }
                written
            }
        };
        let parsed: Vec<Option<ParsedUrl>> = written.iter().map(|url| parse(document, url)).collect();
        let first = written.first()?.at.clone();
        let parsed: Vec<ParsedUrl> = parsed.into_iter().collect::<Option<_>>()?;
        are_one_api(document, &parsed, &written).then_some(())?;
        let ParsedUrl { is_https, prefix, .. } = parsed.first()?;
        let (is_https, prefix) = (*is_https, prefix.clone());
        let mut authorities: Vec<Authority> = parsed.into_iter().map(|url| url.authority).collect();
        authorities.dedup();
        let urls = UpstreamUrls { authorities, prefix, is_https, at: first };
        urls.warn_of_plaintext(document);
        Some(urls)
    }

    fn warn_of_plaintext(&self, document: &Document<'_>) {
        if self.is_https || self.authorities.iter().all(|authority| is_loopback(host(authority))) {
            return;
        }
        let finding =
            Finding::warning("plaintext-upstream", "this upstream is asked in plaintext beyond the loopback");
        let hint = "write `https://`: whole records travel in clear, before anything is removed";
        document.find(finding.label("readable on the network").hint(hint), self.at.clone());
    }
}

fn parse(document: &Document<'_>, url: &At<&str>) -> Option<ParsedUrl> {
    let parsed = url.value.parse::<Uri>().ok().and_then(|uri| {
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority().filter(|authority| is_usable(authority))?.clone();
        let prefix = uri.path().trim_end_matches('/').to_owned();
        uri.query().is_none().then_some(ParsedUrl { is_https, prefix, authority })
    });
    if parsed.is_none() {
        let finding = Finding::error("bad-upstream-url", "this is not the URL of an upstream");
        document.find(finding.hint(HINT), url.at.clone());
    }
    parsed
}

/// True for a host with or without a port, without a user.
fn is_usable(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    !authority.host().is_empty() && port.is_some_and(|port| port.is_empty() || authority.port_u16().is_some())
}

/// True if all URLs have the same scheme and path. Reports each that differs from the first.
fn are_one_api(document: &Document<'_>, parsed: &[ParsedUrl], written: &[At<&str>]) -> bool {
    let Some(first) = parsed.first() else { return false };
    let mut is_one = true;
    for (url, at) in parsed.iter().zip(written) {
        if (url.is_https, &url.prefix) != (first.is_https, &first.prefix) {
            let words = "this URL has another scheme or path than the first";
            let hint = "the addresses of one upstream are one API: write another upstream, or the same scheme and path";
            document.find(Finding::error("bad-upstream-url", words).hint(hint), at.at.clone());
            is_one = false;
        }
    }
    is_one
}

/// True if a host is on this machine by its name.
fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_depends_on_the_scheme() {
        let origin = |authority: &str, is_https: bool| UpstreamOrigin {
            authority: authority.parse().unwrap(),
            server_name: is_https.then(|| ServerName::try_from("crm").unwrap()),
        };
        for (authority, host, plain, tls) in [
            ("crm", "crm", 80, 443),
            ("crm:9000", "crm", 9000, 9000),
            ("127.0.0.1", "127.0.0.1", 80, 443),
            ("[::1]", "::1", 80, 443),
            ("[::1]:9000", "::1", 9000, 9000),
        ] {
            let (plaintext, encrypted) = (origin(authority, false), origin(authority, true));
            assert_eq!((plaintext.host(), plaintext.port(), encrypted.port()), (host, plain, tls));
        }
    }

    #[test]
    fn a_port_that_is_none_is_not_the_default_port() {
        for (authority, usable) in
            [("crm", true), ("crm:1", true), ("[::1]:1", true), ("crm:", false), ("u@crm", false)]
        {
            let parsed = authority.parse::<Authority>();
            assert_eq!(parsed.is_ok_and(|authority| is_usable(&authority)), usable, "{authority}");
        }
    }

    #[test]
    fn only_hosts_of_this_machine_are_loopback() {
        for host in ["127.0.0.1", "127.9.9.9", "::1", "LocalHost", "api.localhost", "::ffff:127.0.0.1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["10.0.0.1", "crm", "localhost.example.org", "::", "0.0.0.0"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
