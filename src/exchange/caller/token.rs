//! Signed tokens (JWT, RFC 7519): verifies the signature and finds the recipient whose claims a token has.
//!
//! The module holds public keys and patterns of claims. A token is valid only for the audience it was made for and
//! until it expires (RFC 8725, 3.8 to 3.10); a token without an expiry is invalid. Invariant: a token that fits the
//! patterns of two recipients identifies neither.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::Validation;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::key_set::{KeySet, KeySetError};
use super::published_keys::PublishedKeys;
use super::{Caller, Identity, combine};
use crate::exchange::Refusal;
use crate::ledger::boot_time;
use crate::vocabulary::{ActorId, IdReader, SubjectId};

/// Seconds by which the issuer's clock may differ from this one.
const LEEWAY: i64 = 60;

/// An issuer of tokens: its keys, and the audience that its tokens must be made for.
pub struct Issuer {
    /// The token's `iss`.
    url: String,
    keys: IssuerKeys,
    validation: Validation,
}

/// Where the keys of an issuer are from.
enum IssuerKeys {
    /// From a file, until a reload.
    File(Arc<KeySet>),
    /// From the issuer.
    Published(Arc<PublishedKeys>),
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Reads the published keys of an issuer, whose tokens are made for this audience.
    ///
    /// # Errors
    /// [`KeySetError`]
    pub fn new(url: &str, audience: &str, key_set: &str) -> Result<Issuer, KeySetError> {
        let keys = IssuerKeys::File(Arc::new(KeySet::parse(key_set)?));
        Ok(Issuer::with_keys(url, audience, keys))
    }

    /// An issuer whose keys are fetched while exchanges go on.
    pub fn with_published_keys(url: &str, audience: &str, keys: Arc<PublishedKeys>) -> Issuer {
        Issuer::with_keys(url, audience, IssuerKeys::Published(keys))
    }

    fn with_keys(url: &str, audience: &str, keys: IssuerKeys) -> Issuer {
        crate::exchange::caller::signature::install();
        let mut validation = Validation::default();
        validation.set_issuer(&[url]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["iss", "aud"]);
        // `claims` compares the time, which is passed in.
        validation.validate_exp = false;
        Issuer { url: url.to_owned(), keys, validation }
    }

    /// Returns the keys that may verify a token now. `None` if they were never fetched, or not within their lifetime.
    fn keys(&self) -> Option<Arc<KeySet>> {
        match &self.keys {
            IssuerKeys::File(keys) => Some(Arc::clone(keys)),
            IssuerKeys::Published(published) => published.in_force(boot_time()),
        }
    }

    /// Asks for newer keys, if they are fetched.
    fn report_unknown_key(&self) {
        match &self.keys {
            IssuerKeys::File(_) => {}
            IssuerKeys::Published(published) => published.report_unknown_key(),
        }
    }

    /// Returns the claims of a token that this issuer signed for this audience and that is valid now.
    fn claims(&self, token: &str, now: Timestamp) -> Option<Map<String, Value>> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        // A verifier must understand every critical extension (RFC 7515, 4.1.11); this one understands none.
        if header.crit.is_some() {
            return None;
        }
        let Some(keys) = self.keys().filter(|keys| !keys.lacks_key_of(&header)) else {
            self.report_unknown_key();
            return None;
        };
        let mut validation = self.validation.clone();
        validation.algorithms = vec![header.alg];
        let claims = keys
            .fitting(&header)
            .find_map(|key| jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation).ok())?;
        is_valid_at(&claims.claims, now).then_some(claims.claims)
    }
}

/// True from `nbf` (optional) until `exp` (required).
fn is_valid_at(claims: &Map<String, Value>, now: Timestamp) -> bool {
    let now = now.as_second();
    let instant = |name: &str| claims.get(name).map(seconds);
    let ends = matches!(instant("exp"), Some(Some(end)) if now < end.saturating_add(LEEWAY));
    let begins = match instant("nbf") {
        None => true,
        Some(begin) => begin.is_some_and(|begin| begin.saturating_sub(LEEWAY) <= now),
    };
    ends && begins
}

/// Reads a `NumericDate`, with or without a fraction.
fn seconds(value: &Value) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation, reason = "the cast saturates, and drops the fraction")]
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

/// The claims by which a recipient's tokens are recognised.
#[derive(Clone, Debug)]
pub struct TokenPattern {
    /// Position in the list of issuers.
    pub issuer: usize,
    /// Each claim must have this value or be a list that contains it.
    pub claims: Vec<(String, Value)>,
    /// The claim with the caller's own subject id.
    pub subject: Option<IdentityClaim>,
    /// The claim with the controller's id.
    pub controller: Option<IdentityClaim>,
    /// The claim with the id of the member of staff.
    pub actor: Option<String>,
    /// The caller that such a token identifies.
    pub caller: Caller,
}

/// A claim that holds the id of a person or of a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityClaim {
    /// The name of the claim.
    pub claim: String,
    /// The reader of ids of its namespace.
    pub ids: IdReader,
}

impl IdentityClaim {
    fn read(&self, claims: &Map<String, Value>) -> Option<SubjectId> {
        self.ids.read(&text(claims.get(&self.claim)?)?).ok()
    }
}

/// Reads an id from a string or a whole number: the number `1` is the id `"1"`. An empty string is no id.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

impl TokenPattern {
    fn fits(&self, claims: &Map<String, Value>) -> bool {
        self.claims.iter().all(|(name, wanted)| match claims.get(name) {
            Some(Value::Array(several)) => several.contains(wanted),
            Some(value) => value == wanted,
            None => false,
        })
    }

    /// Returns the caller with the identity that the claims name; `None` if a required claim is missing.
    fn caller(&self, issuer: &str, claims: &Map<String, Value>) -> Option<Caller> {
        let read = |claim: &Option<IdentityClaim>| match claim {
            None => Some(None),
            Some(claim) => claim.read(claims).map(Some),
        };
        let actor = match &self.actor {
            None => None,
            Some(name) => Some(ActorId { issuer: issuer.into(), id: text(claims.get(name)?)?.into() }),
        };
        let identity = Identity { subject: read(&self.subject)?, controller: read(&self.controller)?, actor };
        let end = claims.get("exp").and_then(seconds)?.saturating_add(LEEWAY);
        // A token whose expiry lies beyond the range of `Timestamp` does not end.
        let until = Timestamp::from_second(end).ok();
        Some(Caller { identity, valid_until: until, ..self.caller.clone() })
    }
}

/// All issuers, and the patterns of the recipients' tokens.
#[derive(Debug, Default)]
pub struct Tokens {
    issuers: Vec<Issuer>,
    patterns: Vec<TokenPattern>,
}

impl Tokens {
    /// Tokens of these issuers, without a pattern.
    pub fn new(issuers: Vec<Issuer>) -> Tokens {
        Tokens { issuers, patterns: Vec::new() }
    }

    /// Returns the URL of each issuer whose keys are fetched, with the time since they were, at this time of the machine.
    /// `None` if there are none yet.
    pub fn key_ages(&self, machine: Duration) -> impl Iterator<Item = (&str, Option<Duration>)> {
        self.issuers.iter().filter_map(move |issuer| match &issuer.keys {
            IssuerKeys::File(_) => None,
            IssuerKeys::Published(published) => Some((issuer.url.as_str(), published.age(machine))),
        })
    }

    /// Registers the pattern of a recipient's tokens. Returns the caller of an earlier registration, if there is one.
    pub fn register(&mut self, pattern: TokenPattern) -> Option<Caller> {
        let alike = |known: &&TokenPattern| known.issuer == pattern.issuer && known.claims == pattern.claims;
        let earlier = self.patterns.iter().find(alike).map(|known| known.caller.clone());
        self.patterns.push(pattern);
        earlier
    }

    /// Returns the patterns of all recipients, each with the URL of its issuer.
    pub(super) fn patterns(&self) -> impl Iterator<Item = (&str, &TokenPattern)> {
        let url = |pattern: &TokenPattern| self.issuers.get(pattern.issuer).map(|issuer| issuer.url.as_str());
        self.patterns.iter().map(move |pattern| (url(pattern).unwrap_or_default(), pattern))
    }

    /// Identifies the caller by a token.
    ///
    /// # Errors
    /// [`Refusal::CredentialInvalid`] if the token is not valid for this audience at this time, or fits no recipient
    /// or several.
    pub fn identify(&self, token: &str, now: Timestamp) -> Result<Caller, Refusal> {
        #[derive(Deserialize)]
        struct Issued {
            iss: String,
        }
        // The unverified `iss` only selects the issuer; the claims are read after the signature is verified.
        let claimed: Issued =
            jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| Refusal::CredentialInvalid)?;
        let issuer = self.issuers.iter().position(|issuer| issuer.url == claimed.iss);
        let (position, issuer) = issuer
            .and_then(|position| Some((position, self.issuers.get(position)?)))
            .ok_or(Refusal::CredentialInvalid)?;
        let claims = issuer.claims(token, now).ok_or(Refusal::CredentialInvalid)?;
        let fitting =
            self.patterns.iter().filter(|pattern| pattern.issuer == position && pattern.fits(&claims));
        let mut caller = None;
        for pattern in fitting {
            let named = pattern.caller(&issuer.url, &claims).ok_or(Refusal::CredentialInvalid)?;
            caller = Some(combine(caller, named)?);
        }
        caller.ok_or(Refusal::CredentialInvalid)
    }
}

/// True if a bearer credential has the form of a token: three parts, the first a JSON object in base64url.
pub(super) fn is_token(credential: &str) -> bool {
    credential.starts_with("eyJ") && credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::json;

    use super::*;
    use crate::exchange::caller::published_keys::KeyChange;
    use crate::vocabulary::PurposeId;

    const URL: &str = "https://id.example.org";
    const NOW: i64 = 1_800_000_000;

    struct Signer(Ed25519KeyPair);

    impl Signer {
        fn new(seed: u8) -> Signer {
            Signer(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
        }

        fn key_set(&self) -> String {
            let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
            json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x }] }).to_string()
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let message = format!("{}.{}", part(header), part(claims));
            let signature = URL_SAFE_NO_PAD.encode(self.0.sign(message.as_bytes()));
            format!("{message}.{signature}")
        }
    }

    fn issuer(signer: &Signer) -> Issuer {
        Issuer::new(URL, "purposegate", &signer.key_set()).unwrap()
    }

    fn pattern(recipient: usize, claims: &[(&str, Value)]) -> TokenPattern {
        TokenPattern {
            issuer: 0,
            claims: claims.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            subject: None,
            controller: None,
            actor: None,
            caller: Caller { recipient, ..Caller::default() },
        }
    }

    fn claims(more: Value) -> Value {
        let mut claims = json!({ "iss": URL, "aud": "purposegate", "exp": NOW + 60, "role": "support" });
        let (Value::Object(all), Value::Object(more)) = (&mut claims, more) else { return claims };
        all.extend(more);
        claims
    }

    fn header() -> Value {
        json!({ "alg": "EdDSA", "kid": "k1", "typ": "at+jwt" })
    }

    fn support() -> Tokens {
        let mut tokens = Tokens::new(vec![issuer(&Signer::new(1))]);
        tokens.register(pattern(3, &[("role", json!("support"))]));
        tokens
    }

    fn identify(tokens: &Tokens, token: &str) -> Result<Caller, Refusal> {
        tokens.identify(token, Timestamp::from_second(NOW).unwrap())
    }

    #[test]
    fn a_token_identifies_the_recipient_whose_claims_it_has() {
        let fitting = [
            json!({}),
            json!({ "role": ["sales", "support"] }),
            json!({ "aud": ["other", "purposegate"] }),
            json!({ "exp": NOW - 59, "nbf": NOW + 60 }),
            json!({ "exp": NOW as f64 + 0.5 }),
        ];
        for more in fitting {
            let caller =
                identify(&support(), &Signer::new(1).sign(&header(), &claims(more.clone()))).unwrap();
            assert_eq!(caller.recipient, 3, "{more}");
            assert!(caller.valid_until.unwrap().as_second() > NOW, "{more}");
        }
        let no_key_named = Signer::new(1).sign(&json!({ "alg": "EdDSA" }), &claims(json!({})));
        assert_eq!(identify(&support(), &no_key_named).unwrap().recipient, 3);
    }

    #[test]
    fn a_token_that_is_not_valid_here_and_now_is_refused() {
        let invalid = [
            json!({ "role": "sales" }),
            json!({ "role": null }),
            json!({ "iss": "https://elsewhere.example" }),
            json!({ "aud": "another-api" }),
            json!({ "aud": null }),
            json!({ "exp": NOW - 60 }),
            json!({ "exp": (NOW + 60).to_string() }),
            json!({ "exp": null }),
            json!({ "nbf": NOW + 61 }),
            json!({ "nbf": "0" }),
        ];
        for more in invalid {
            let token = Signer::new(1).sign(&header(), &claims(more.clone()));
            assert_eq!(identify(&support(), &token), Err(Refusal::CredentialInvalid), "{more}");
        }
        let mut without_end = claims(json!({}));
        without_end.as_object_mut().unwrap().remove("exp");
        let broken = [
            Signer::new(1).sign(&header(), &without_end),
            Signer::new(2).sign(&header(), &claims(json!({}))),
            Signer::new(1).sign(&json!({ "alg": "EdDSA", "kid": "k2" }), &claims(json!({}))),
            Signer::new(1).sign(&json!({ "alg": "EdDSA", "crit": ["b64"] }), &claims(json!({}))),
            Signer::new(1).sign(&json!({ "alg": "none" }), &claims(json!({}))),
            Signer::new(1).sign(&json!({ "alg": "HS256" }), &claims(json!({}))),
            Signer::new(1).sign(&json!({ "alg": "ES256" }), &claims(json!({}))),
            "eyJ.eyJ.".to_owned(),
            "..".to_owned(),
        ];
        for token in broken {
            assert_eq!(identify(&support(), &token), Err(Refusal::CredentialInvalid), "{token}");
        }
        let whole = Signer::new(1).sign(&header(), &claims(json!({})));
        let (message, _) = whole.rsplit_once('.').unwrap();
        assert_eq!(identify(&support(), &format!("{message}.")), Err(Refusal::CredentialInvalid));
    }

    #[test]
    fn a_token_of_two_recipients_is_refused_and_two_locks_must_agree() {
        let mut tokens = support();
        tokens.register(pattern(4, &[("team", json!(7))]));
        let both = Signer::new(1).sign(&header(), &claims(json!({ "team": 7 })));
        assert_eq!(identify(&tokens, &both), Err(Refusal::CredentialInvalid));

        let mut tokens = support();
        let mut locked = pattern(3, &[("team", json!(7))]);
        locked.caller.locked_purpose = Some(PurposeId(2));
        tokens.register(locked);
        assert_eq!(identify(&tokens, &both).unwrap().locked_purpose, Some(PurposeId(2)));
    }

    fn crm() -> IdReader {
        crate::vocabulary::Namespaces::default().reader(Some("crm"))
    }

    #[test]
    fn a_token_without_a_required_identity_claim_is_refused() {
        let mut tokens = Tokens::new(vec![issuer(&Signer::new(1))]);
        let mut person = pattern(5, &[("azp", json!("portal"))]);
        person.subject = Some(IdentityClaim { claim: "sub".into(), ids: crm() });
        person.actor = Some("sid".into());
        tokens.register(person);
        let ask = |more| identify(&tokens, &Signer::new(1).sign(&header(), &claims(more)));
        let caller = ask(json!({ "azp": "portal", "sub": 42, "sid": "s" })).unwrap();
        let expected = crm().read("42").unwrap();
        assert_eq!(caller.identity.subject, Some(expected));
        assert!(caller.identity.actor.is_some());
        for incomplete in [
            json!({ "azp": "portal", "sid": "s" }),
            json!({ "azp": "portal", "sid": "s", "sub": "" }),
            json!({ "azp": "portal", "sid": "s", "sub": ["42"] }),
            json!({ "azp": "portal", "sid": "s", "sub": 4.2 }),
            json!({ "azp": "portal", "sub": "42" }),
        ] {
            assert_eq!(ask(incomplete.clone()), Err(Refusal::CredentialInvalid), "{incomplete}");
        }
    }

    fn published(lifetime: Duration) -> (Arc<PublishedKeys>, Tokens) {
        let keys = Arc::new(PublishedKeys::new(lifetime));
        let issuer = Issuer::with_published_keys(URL, "purposegate", Arc::clone(&keys));
        let mut tokens = Tokens::new(vec![issuer]);
        tokens.register(pattern(3, &[("role", json!("support"))]));
        (keys, tokens)
    }

    const LIFETIME: Duration = Duration::from_secs(100);

    fn key_set_of(seed: u8) -> KeySet {
        KeySet::parse(&Signer::new(seed).key_set()).unwrap()
    }

    #[test]
    fn fetched_keys_count_until_they_are_replaced_or_their_lifetime_ends() {
        let (keys, tokens) = published(LIFETIME);
        let at = Duration::from_secs;
        let in_force = |second: u64| keys.in_force(at(second)).is_some();
        assert!(!in_force(0), "no keys yet");
        assert_eq!(keys.replace(key_set_of(1), at(10)), KeyChange::Changed);
        assert!(in_force(10) && in_force(109) && !in_force(110), "the lifetime has ended");
        assert_eq!(keys.replace(key_set_of(1), at(60)), KeyChange::Confirmed);
        assert!(in_force(159) && !in_force(160));
        assert_eq!(keys.replace(key_set_of(2), at(60)), KeyChange::Changed);
        let ages: Vec<_> = tokens.key_ages(at(70)).collect();
        assert_eq!(ages, [(URL, Some(at(10)))]);

        let (later, _) = published(LIFETIME);
        later.adopt(&keys);
        assert_eq!(later.age(at(70)), Some(at(10)));

        let is_valid = |tokens: &Tokens, seed: u8| {
            identify(tokens, &Signer::new(seed).sign(&header(), &claims(json!({})))).is_ok()
        };
        keys.replace(key_set_of(1), boot_time());
        assert!(is_valid(&tokens, 1) && !is_valid(&tokens, 2));
        keys.replace(key_set_of(2), boot_time());
        assert!(is_valid(&tokens, 2) && !is_valid(&tokens, 1), "the old key is not in the set any more");
        let (ended, tokens) = published(Duration::ZERO);
        ended.replace(key_set_of(1), boot_time());
        assert!(!is_valid(&tokens, 1), "the lifetime has ended");
    }

    #[test]
    fn a_step_of_the_clock_leaves_fetched_keys_in_force() {
        let (keys, tokens) = published(LIFETIME);
        keys.replace(key_set_of(1), boot_time());
        let token = Signer::new(1).sign(&header(), &claims(json!({ "exp": NOW + 1_000_000 })));
        for step in [0, -7200, 7200, -100_000, 100_000] {
            let now = Timestamp::from_second(NOW + step).unwrap();
            assert!(tokens.identify(&token, now).is_ok(), "{step}");
        }
    }

    #[tokio::test]
    async fn a_token_whose_key_is_not_at_hand_asks_for_newer_keys() {
        let (keys, tokens) = published(LIFETIME);
        let asked =
            async || tokio::time::timeout(Duration::from_millis(20), keys.unknown_key()).await.is_ok();
        let known = Signer::new(1).sign(&header(), &claims(json!({})));
        identify(&tokens, &known).unwrap_err();
        assert!(asked().await, "there are no keys");
        keys.replace(key_set_of(1), boot_time());
        identify(&tokens, &known).unwrap();
        identify(&tokens, &Signer::new(2).sign(&header(), &claims(json!({})))).unwrap_err();
        assert!(!asked().await, "the key is known");
        let unknown = Signer::new(2).sign(&json!({ "alg": "EdDSA", "kid": "k2" }), &claims(json!({})));
        identify(&tokens, &unknown).unwrap_err();
        assert!(asked().await);
        assert!(!asked().await, "once");
    }

    /// The tokens were made once by another implementation, with keys that were discarded.
    #[test]
    fn tokens_of_every_kind_of_key_are_verified() {
        let file = include_str!("../../../tests/tokens/signed.json");
        let file: Value = serde_json::from_str(file).unwrap();
        let issuer = Issuer::new(URL, "purposegate", &file["key_set"].to_string()).unwrap();
        let mut tokens = Tokens::new(vec![issuer]);
        tokens.register(pattern(3, &[("role", json!("support"))]));
        for (algorithm, token) in file["tokens"].as_object().unwrap() {
            let token = token.as_str().unwrap();
            assert_eq!(identify(&tokens, token).unwrap().recipient, 3, "{algorithm}");
            let (message, signature) = token.rsplit_once('.').unwrap();
            let forged = format!("{message}.{}", signature.chars().rev().collect::<String>());
            assert_eq!(identify(&tokens, &forged), Err(Refusal::CredentialInvalid), "{algorithm}");
        }
    }
}
