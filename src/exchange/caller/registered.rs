//! The credentials of a recipient as people see them: nothing of them can be presented.

use serde_json::Value;

use super::token::TokenPattern;
use super::{Caller, CertificateName, Credentials};
use crate::credentials::KeyHash;
use crate::vocabulary::PurposeId;

/// Number of bytes of a key's hash that are shown. They tell the keys of a recipient apart.
const SHOWN_BYTES: usize = 6;

/// A registered credential of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredCredential {
    /// The kind.
    pub kind: CredentialKind,
    /// The name of the certificate, the claims of the token, or the beginning of the key's hash.
    pub id: String,
    /// The one purpose that it is locked to.
    pub locked_purpose: Option<PurposeId>,
    /// The URL of the issuer, and the claims, of a token.
    pub token: Option<(String, Vec<String>)>,
}

/// The kind of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CredentialKind {
    /// A key that is sent in a header.
    ApiKey,
    /// A certificate that is presented in the TLS handshake.
    ClientCertificate,
    /// A token that an issuer signed.
    SignedToken,
}

impl CredentialKind {
    /// The kind in words.
    pub fn name(self) -> &'static str {
        match self {
            CredentialKind::ApiKey => "API key",
            CredentialKind::ClientCertificate => "client certificate",
            CredentialKind::SignedToken => "signed token",
        }
    }
}

impl Credentials {
    /// Returns the credentials of the recipient at this position, ordered by kind and id.
    pub fn of_recipient(&self, position: usize) -> Vec<RegisteredCredential> {
        let is_own = |caller: &Caller| caller.recipient == position;
        let described = |kind, id, caller: &Caller| RegisteredCredential {
            kind,
            id,
            locked_purpose: caller.locked_purpose,
            token: None,
        };
        let keys = self.keys.iter().filter(|(_, caller)| is_own(caller));
        let keys = keys.map(|(hash, caller)| described(CredentialKind::ApiKey, key_id(hash), caller));
        let certificates = self.certificates.iter().filter(|(_, caller)| is_own(caller));
        let certificates = certificates
            .map(|(name, caller)| described(CredentialKind::ClientCertificate, certificate_id(name), caller));
        let tokens = self.tokens.patterns().filter(|(_, pattern)| is_own(&pattern.caller));
        let tokens = tokens.map(|(issuer, pattern)| RegisteredCredential {
            token: Some((issuer.to_owned(), claims(pattern))),
            ..described(CredentialKind::SignedToken, token_id(issuer, pattern), &pattern.caller)
        });
        let mut all: Vec<RegisteredCredential> = keys.chain(certificates).chain(tokens).collect();
        all.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
        all
    }
}

fn key_id(hash: &KeyHash) -> String {
    let digits: String = hash.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}…")
}

fn certificate_id(name: &CertificateName) -> String {
    match name {
        CertificateName::Uri(name) | CertificateName::Dns(name) | CertificateName::Email(name) => {
            name.clone()
        }
    }
}

fn claims(pattern: &TokenPattern) -> Vec<String> {
    let claims = pattern.claims.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name} = {text}"),
        other => format!("{name} = {other}"),
    });
    claims.collect()
}

fn token_id(issuer: &str, pattern: &TokenPattern) -> String {
    let claims = claims(pattern);
    if claims.is_empty() { format!("of {issuer}") } else { format!("of {issuer} with {}", claims.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::hash;

    #[test]
    fn a_credential_is_described_without_what_could_be_presented() {
        let mut credentials = Credentials::default();
        let own = Caller { recipient: 1, ..Caller::default() };
        credentials.register_key(hash(b"pgk_secret"), own.clone());
        credentials.register_key(hash(b"pgk_other"), Caller { recipient: 0, ..Caller::default() });
        let name = CertificateName::of_registration("spiffe://example.org/partner");
        credentials.register_certificate(name, own);
        let shown = credentials.of_recipient(1);
        let ids: Vec<(&str, &str)> = shown.iter().map(|shown| (shown.kind.name(), &*shown.id)).collect();
        let digits: String = hash(b"pgk_secret").iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let key = format!("sha256:{digits}…");
        assert_eq!(ids, [("API key", &*key), ("client certificate", "spiffe://example.org/partner")]);
        assert!(credentials.of_recipient(2).is_empty());
    }

    #[test]
    fn a_token_is_described_by_its_issuer_and_its_claims() {
        let claims = vec![("client_id".to_owned(), Value::from("partner")), ("level".to_owned(), 2.into())];
        let pattern = TokenPattern {
            issuer: 0,
            claims,
            subject: None,
            controller: None,
            actor: None,
            caller: Caller::default(),
        };
        assert_eq!(
            token_id("https://sso.example", &pattern),
            "of https://sso.example with client_id = partner, level = 2"
        );
        let any = TokenPattern { claims: Vec::new(), ..pattern };
        assert_eq!(token_id("https://sso.example", &any), "of https://sso.example");
    }
}
