//! An issuer of signed tokens for tests.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const URL: &str = "https://id.test";
const AUDIENCE: &str = "purposegate";

/// Signs tokens; its key set lies in a folder of its own.
pub(crate) struct Issuer {
    key: Ed25519KeyPair,
    folder: TempDir,
}

impl Issuer {
    pub(crate) fn new() -> Issuer {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x }] });
        std::fs::write(folder.path().join("jwks.json"), set.to_string()).unwrap();
        Issuer { key, folder }
    }

    /// The section of the configuration that accepts its tokens.
    pub(crate) fn section(&self) -> String {
        let keys = self.folder.path().join("jwks.json");
        format!("[[issuer]]\nurl = \"{URL}\"\naudience = \"{AUDIENCE}\"\nkeys = \"{}\"\n", keys.display())
    }

    /// The header line with a token of these claims, valid for a minute.
    pub(crate) fn bearer(&self, claims: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut all = json!({ "iss": URL, "aud": AUDIENCE, "exp": now + 60 });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": "EdDSA" })), part(&all));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()));
        format!("authorization: Bearer {message}.{signature}")
    }
}
