//! Reads `[[issuer]]`: the issuers of accepted tokens, and where their public keys are from: a file, or the address at which
//! the issuer publishes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::files::existing;
use super::http_url::HttpUrl;
use super::section::UniqueNames;
use super::tls::TlsError;
use super::tls_client::{ClientTlsFiles, client};
use super::{Host, Part};
use crate::document::{At, Document, Fields};
use crate::exchange::caller::published_keys::PublishedKeys;
use crate::exchange::caller::token::Issuer;
use crate::finding::Finding;

/// Hint for a file with keys that does not exist.
const PUBLISHED: &str =
    "save what the issuer publishes at its `jwks_uri` there, or write `jwks-uri` instead of `keys`";
/// Default of `jwks-refresh`.
const REFRESH: Duration = Duration::from_secs(10 * 60);
/// Minimum of `jwks-refresh`.
const MIN_REFRESH: Duration = Duration::from_secs(1);
/// Default of `jwks-lifetime`.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// `[[issuer]]` with `jwks-uri`: an issuer whose keys are fetched.
#[derive(Clone)]
pub struct IssuerSection {
    /// The `iss` of its tokens.
    pub url: Arc<str>,
    /// Where it publishes its keys.
    pub jwks_uri: HttpUrl,
    /// Time between two fetches.
    pub refresh: Duration,
    /// TLS to the issuer. `None` for a URL without TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// Digest of the file with the authorities of its server. `None`: those of the system.
    pub ca: Option<[u8; 32]>,
    /// The keys that verify its tokens. Nobody else fetches them.
    pub keys: Arc<PublishedKeys>,
}

impl std::fmt::Debug for IssuerSection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuerSection").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The issuers of all files, in the order that token patterns refer to.
pub(super) struct Issuers {
    /// URL of each issuer, including those with errors.
    urls: Vec<String>,
    issuers: Vec<Issuer>,
    /// Issuers whose keys are fetched.
    pub(super) fetched: Vec<IssuerSection>,
    /// Files that the keys were read from, and authorities of TLS.
    pub(super) files: Vec<PathBuf>,
}

/// Keys of `[[issuer]]` that only `jwks-uri` needs.
#[derive(Debug, Default)]
struct FetchFields<'d> {
    ca: Option<At<&'d str>>,
    refresh: Option<Duration>,
    lifetime: Option<Duration>,
}

impl Issuers {
    pub(super) fn read_all(parts: &mut [Part<'_>], host: Host) -> Issuers {
        let (urls, issuers, fetched, files) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut all = Issuers { urls, issuers, fetched, files };
        let mut names = UniqueNames::of("issuer");
        for part in parts.iter_mut() {
            for fields in part.fields.tables("issuer", "an issuer") {
                all.read(part, fields, host, &mut names);
            }
        }
        all
    }

    fn read(&mut self, part: &Part<'_>, mut fields: Fields<'_>, host: Host, names: &mut UniqueNames) {
        let (document, at) = (fields.document(), fields.at());
        let url = fields.needed_text("url");
        let audience = fields.needed_text("audience");
        let (keys, jwks_uri) = (fields.text("keys"), fields.text("jwks-uri"));
        let fetch = FetchFields {
            ca: fields.text("ca"),
            refresh: fields.duration("jwks-refresh"),
            lifetime: fields.duration("jwks-lifetime"),
        };
        fields.end();
        let source = match (keys, jwks_uri) {
            (Some(keys), None) => Ok(keys),
            (None, Some(uri)) => Err(uri),
            (Some(_), Some(_)) | (None, None) => {
                let finding =
                    Finding::error("issuer-keys-source", "an issuer has either `keys` or `jwks-uri`");
                let hint =
                    "`keys` names a file, `jwks-uri` the address at which the issuer publishes its keys";
                document.find(finding.hint(hint), at);
                return self.add_url(document, url.as_ref(), names);
            }
        };
        self.add_url(document, url.as_ref(), names);
        let (Some(url), Some(audience)) = (url, audience) else { return };
        let issuer = match source {
            Ok(keys) => self.of_file(part, (url.value, audience.value), &keys),
            Err(uri) => self.of_uri(part, (url.value, audience.value), &uri, fetch, host),
        };
        self.issuers.extend(issuer);
    }

    fn add_url(&mut self, document: &Document<'_>, url: Option<&At<&str>>, names: &mut UniqueNames) {
        let Some(url) = url else { return };
        names.add(document, url);
        self.urls.push(url.value.to_owned());
    }

    fn of_file(&mut self, part: &Part<'_>, (url, audience): (&str, &str), keys: &At<&str>) -> Option<Issuer> {
        let file = existing(part, keys, PUBLISHED)?;
        let key_set = read_keys(part, &file, keys);
        self.files.push(file);
        let read = Issuer::new(url, audience, &key_set?);
        let document = part.fields.document();
        read.map_err(|error| document.find(not_a_key_set(&error.to_string()), keys.at.clone())).ok()
    }

    fn of_uri(
        &mut self,
        part: &Part<'_>,
        (url, audience): (&str, &str),
        uri: &At<&str>,
        fetch: FetchFields<'_>,
        host: Host,
    ) -> Option<Issuer> {
        let FetchFields { ca, refresh, lifetime } = fetch;
        let document = part.fields.document();
        let (refresh, lifetime) = (refresh.unwrap_or(REFRESH), lifetime.unwrap_or(LIFETIME));
        if refresh < MIN_REFRESH || lifetime < refresh {
            let text = "`jwks-refresh` must be a second or more, and `jwks-lifetime` not shorter than it";
            document
                .find(Finding::error("bad-jwks-times", text).label("keys of this issuer"), uri.at.clone());
        }
        if host == Host::Application {
            let finding =
                Finding::error("issuer-keys-source", "only the gateway fetches the keys of an issuer");
            document.find(finding.hint("save them in a file and write `keys`"), uri.at.clone());
        }
        let jwks_uri = jwks_uri(document, uri)?;
        let ca = match &ca {
            Some(ca) => {
                Some(existing(part, ca, "`ca` is a PEM file with the authorities of the issuer's server")?)
            }
            None => None,
        };
        self.files.extend(ca.clone());
        // A file that cannot be read is an error of TLS.
        let digest =
            |file: &PathBuf| std::fs::read(file).map_or([0; 32], |bytes| *blake3::hash(&bytes).as_bytes());
        let ca_digest = ca.as_ref().map(digest);
        let tls = jwks_uri.is_tls().then(|| client(&ClientTlsFiles { ca, identity: None })).transpose();
        let tls = tls.map_err(|error| document.find(unusable_tls(&error), uri.at.clone())).ok()?;
        let keys = Arc::new(PublishedKeys::new(lifetime));
        self.fetched.push(IssuerSection {
            url: url.into(),
            jwks_uri,
            refresh,
            tls,
            ca: ca_digest,
            keys: Arc::clone(&keys),
        });
        Some(Issuer::with_published_keys(url, audience, keys))
    }

    /// Takes the issuers, in the order of [`Issuers::position`]. An issuer with errors is left out. Positions are wrong
    /// then, but the configuration is not used.
    pub(super) fn take(&mut self) -> Vec<Issuer> {
        std::mem::take(&mut self.issuers)
    }

    /// Returns the position of an issuer. A URL that no file has is a finding.
    pub(super) fn position(&self, document: &Document<'_>, url: &At<&str>) -> Option<usize> {
        let position = self.urls.iter().position(|known| known == url.value);
        if position.is_none() {
            let add = format!(
                "add `[[issuer]]` with `url = \"{}\"`, `audience` and `keys` or `jwks-uri`",
                url.value
            );
            document.find_unknown(
                "unknown-issuer",
                "issuer",
                url,
                self.urls.iter().map(String::as_str),
                &add,
            );
        }
        position
    }
}

fn read_keys(part: &Part<'_>, file: &Path, keys: &At<&str>) -> Option<String> {
    match std::fs::read_to_string(file) {
        Ok(text) => Some(text),
        Err(error) => {
            part.fields.document().find(not_a_key_set(&error.to_string()), keys.at.clone());
            None
        }
    }
}

/// Reads the address of published keys. Without TLS somebody on the way could publish keys of their own.
fn jwks_uri(document: &Document<'_>, uri: &At<&str>) -> Option<HttpUrl> {
    let parsed = uri.value.parse::<HttpUrl>().map_err(|error| error.to_string());
    let usable = parsed.and_then(|parsed| match parsed.is_tls() || parsed.is_loopback() {
        true => Ok(parsed),
        false => Err("keys that are fetched without TLS can be replaced on the way".to_owned()),
    });
    let hint = "write the `jwks_uri` of the issuer's metadata, `https://…`";
    let finding =
        |why: String| Finding::error("bad-jwks-uri", why).label("not the address of keys").hint(hint);
    usable.map_err(|why| document.find(finding(why), uri.at.clone())).ok()
}

fn unusable_tls(error: &TlsError) -> Finding {
    let words = format!("TLS to the issuer cannot be set up: {error}");
    let finding = match error.denied {
        true => Finding::warning("unreadable-tls", words),
        false => Finding::error("bad-tls", words),
    };
    finding.label("to this server").hint("`ca` is a PEM file with the authorities of the issuer's server")
}

fn not_a_key_set(why: &str) -> Finding {
    let hint = "save what the issuer publishes at its `jwks_uri`; the file is read again when it changes";
    Finding::error("bad-issuer-keys", format!("the keys cannot be used: {why}")).label("no keys").hint(hint)
}
