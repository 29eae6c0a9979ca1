//! An issuer of signed tokens for tests.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const URL: &str = "https://id.test";
const AUDIENCE: &str = "purposegate";

/// The section of the configuration that accepts its tokens, without the place of the keys.
pub(crate) const SECTION: &str = "[[issuer]]\nurl = \"https://id.test\"\naudience = \"purposegate\"\n";

/// Signs tokens; its key set lies in a folder of its own.
pub(crate) struct Issuer {
    key: Ed25519KeyPair,
    /// The name of the key, in tokens and in the key set.
    key_id: Option<&'static str>,
    folder: TempDir,
}

impl Issuer {
    pub(crate) fn new() -> Issuer {
        Issuer::make(7, None)
    }

    /// An issuer with a key of its own, which has a name.
    pub(crate) fn with_key(seed: u8, key_id: &'static str) -> Issuer {
        Issuer::make(seed, Some(key_id))
    }

    fn make(seed: u8, key_id: Option<&'static str>) -> Issuer {
        let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let issuer = Issuer { key, key_id, folder };
        std::fs::write(issuer.folder.path().join("jwks.json"), issuer.key_set()).unwrap();
        issuer
    }

    /// The key set that the issuer publishes.
    pub(crate) fn key_set(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
        json!({ "keys": [with_key_id(key, self.key_id)] }).to_string()
    }

    /// The section of the configuration that accepts its tokens.
    pub(crate) fn section(&self) -> String {
        let keys = self.folder.path().join("jwks.json");
        format!("{SECTION}keys = \"{}\"\n", keys.display())
    }

    /// The header line with a token of these claims, valid for a minute.
    pub(crate) fn bearer(&self, claims: Value) -> String {
        self.bearer_with(&with_key_id(json!({ "alg": "EdDSA" }), self.key_id), claims)
    }

    /// As [`Issuer::bearer`], with this header of the token.
    pub(crate) fn bearer_with(&self, header: &Value, claims: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut all = json!({ "iss": URL, "aud": AUDIENCE, "exp": now + 60 });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(&all));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()));
        format!("authorization: Bearer {message}.{signature}")
    }
}

/// Adds the name of a key to a key or to the header of a token.
fn with_key_id(mut value: Value, key_id: Option<&str>) -> Value {
    if let (Some(key_id), Some(members)) = (key_id, value.as_object_mut()) {
        members.insert("kid".to_owned(), key_id.into());
    }
    value
}
