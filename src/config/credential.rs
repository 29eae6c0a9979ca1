//! Reads `credentials = […]` of a recipient: hashes of API keys, names of client certificates, claims of tokens.
//!
//! The configuration holds hashes and no keys. Invariant: a credential names one recipient and at most one locked purpose.

use std::ops::Range;

use serde_json::Value;

use super::issuer::Issuers;
use super::namespace::check_name;
use super::terms::PackTerms;
use crate::credentials::KeyHash;
use crate::document::{At, Document, Fields};
use crate::exchange::caller::token::{IdentityClaim, TokenPattern};
use crate::exchange::caller::{Caller, CertificateName, Credentials, HolderKind};
use crate::finding::Finding;

/// Registers the credentials of the recipient at `position`.
pub(super) fn read_all(
    recipient: &mut Fields<'_>,
    words: &PackTerms<'_>,
    position: usize,
    kind: Option<HolderKind>,
    issuers: &Issuers,
    credentials: &mut Credentials,
) {
    for mut fields in recipient.tables("credentials", "a credential") {
        let (document, at) = (fields.document(), fields.at());
        let locked = fields.text("purpose").and_then(|name| words.purpose(document, &name));
        let caller = Caller { recipient: position, locked_purpose: locked, ..Caller::default() };
        let key = fields.text("api-key");
        let certificate = fields.text("certificate");
        let token = fields.fields("jwt", "`jwt`");
        fields.end();
        if token.is_none() {
            check_identifies_holder(document, at.clone(), kind);
        }
        let registered = match (key, certificate, token) {
            (Some(key), None, None) => match hash(key.value) {
                Some(hash) => Some((credentials.register_key(hash, caller.clone()), key.at)),
                None => {
                    let finding = Finding::error("bad-key-hash", "this is not the hash of an API key")
                        .label("not a SHA-256");
                    let hint = "`purposegate recipient key NAME` makes a key and prints its hash: `sha256:` and 64 hexadecimal digits";
                    document.find(finding.hint(hint), key.at);
                    None
                }
            },
            (None, Some(At { value, at }), None) => {
                let name = CertificateName::of_registration(value);
                Some((credentials.register_certificate(name, caller.clone()), at))
            }
            (None, None, Some(token)) => {
                let at = token.at();
                read_token(token, kind, words, issuers, caller.clone())
                    .map(|pattern| (credentials.register_token(pattern), at))
            }
            _ => {
                let finding = Finding::error(
                    "bad-credential",
                    "a credential is one of `api-key`, `certificate` and `jwt`",
                );
                document.find(finding.hint("write one table for each credential"), at);
                None
            }
        };
        if let Some((Some(earlier), at)) = registered
            && earlier != caller
        {
            let finding = Finding::error("duplicate-credential", "this credential is registered twice")
                .label("the second time");
            let hint = "a credential names one recipient and at most one locked purpose";
            document.find(finding.hint(hint), at);
        }
    }
}

/// Reports a key or a certificate where a token is needed, as only a token identifies a person or an account.
fn check_identifies_holder(document: &Document<'_>, at: Range<usize>, kind: Option<HolderKind>) {
    match kind {
        Some(HolderKind::DataSubject) => {
            let finding = Finding::error(
                "data-subject-without-token",
                "a data subject is named by a signed token alone",
            );
            let hint = "write `jwt = { issuer = …, claims = { … }, subject-claim = \"sub\" }`: a key or a certificate does not say who the person is";
            document.find(finding.label("says nothing about who it is").hint(hint), at);
        }
        Some(HolderKind::CustomerAdministrator) => {
            let finding = Finding::warning(
                "administrator-without-token",
                "this credential does not say whose account its holder administers",
            );
            let hint = "write `jwt = { issuer = …, claims = { … }, controller-claim = \"account\" }`; without it no service data leaves";
            document.find(finding.label("releases nothing of an account").hint(hint), at);
        }
        Some(HolderKind::Other) | None => {}
    }
}

/// Reads `jwt = { issuer = "…", claims = { azp = "acme" }, actor-claim = "sub" }`.
fn read_token(
    mut fields: Fields<'_>,
    kind: Option<HolderKind>,
    words: &PackTerms<'_>,
    issuers: &Issuers,
    caller: Caller,
) -> Option<TokenPattern> {
    let (document, at) = (fields.document(), fields.at());
    let issuer = fields.needed_text("issuer").and_then(|url| issuers.position(document, &url));
    let claims = fields.entries("claims");
    let claims: Vec<(String, Value)> =
        claims.into_iter().filter_map(|(name, item)| Some((name.value.to_owned(), item.scalar()?))).collect();
    let actor = fields.text("actor-claim").map(|claim| claim.value.to_owned());
    let subject = identity_claim(&mut fields, "subject-claim", words);
    let controller = identity_claim(&mut fields, "controller-claim", words);
    fields.end();
    if claims.is_empty() {
        let finding =
            Finding::error("token-without-claims", "every token of this issuer would name this recipient");
        let hint = "add `claims = { azp = \"…\" }`: what its tokens, and no other's, say";
        document.find(finding.label("without `claims`").hint(hint), at.clone());
    }
    let needed = match kind {
        Some(HolderKind::DataSubject) if subject.is_none() => Some("subject-claim"),
        Some(HolderKind::CustomerAdministrator) if controller.is_none() => Some("controller-claim"),
        Some(HolderKind::DataSubject | HolderKind::CustomerAdministrator | HolderKind::Other) | None => None,
    };
    if let Some(claim) = needed {
        let finding = Finding::error(
            "token-without-identity",
            format!("tokens of this kind of recipient need a `{claim}`"),
        );
        let hint = format!("add `{claim} = \"sub\"`: the claim that says who it is");
        document.find(finding.label("says nothing about who it is").hint(hint), at);
    }
    Some(TokenPattern { issuer: issuer?, claims, subject, controller, actor, caller })
}

/// Reads `subject-claim = "sub"` or `{ claim = "sub", namespace = "crm" }`.
fn identity_claim(
    fields: &mut Fields<'_>,
    key: &'static str,
    words: &PackTerms<'_>,
) -> Option<IdentityClaim> {
    let item = fields.item(key)?;
    if !item.is_table() {
        let ids = words.namespaces.reader(None);
        return item.text().map(|claim| IdentityClaim { claim: claim.value.to_owned(), ids });
    }
    let mut table = item.fields("an identity claim")?;
    let claim = table.needed_text("claim");
    let namespace = table.text("namespace");
    if let Some(name) = &namespace {
        check_name(table.document(), name);
    }
    table.end();
    let ids = words.namespaces.reader(namespace.map(|name| name.value));
    Some(IdentityClaim { claim: claim?.value.to_owned(), ids })
}

/// Reads the hash of an API key or a token: `sha256:` and 64 hexadecimal digits.
pub(super) fn hash(text: &str) -> Option<KeyHash> {
    let digits = text.strip_prefix("sha256:")?;
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = KeyHash::default();
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}
