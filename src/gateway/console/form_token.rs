//! Form tokens: they show that a form comes from a page that this process made for this session.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;

use super::session::SessionKey;

/// The owner of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FormOwner {
    /// Somebody who signed in with a token.
    Session(SessionKey),
    /// Somebody whose client certificate names this actor.
    Certificate(Arc<str>),
    /// Everybody: there is nobody to sign in, or nobody has signed in yet.
    Process,
}

/// Makes and checks form tokens, with a key of this process.
#[derive(Debug)]
pub(super) struct FormTokens {
    key: hmac::Key,
}

impl FormTokens {
    /// Draws the key.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(super) fn new() -> Result<FormTokens, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(FormTokens { key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    /// Returns the token of all forms of an owner.
    pub(super) fn token(&self, owner: &FormOwner) -> String {
        self.token_for(owner, &[])
    }

    /// Returns the token of a form of an owner that has shown this.
    pub(super) fn token_for(&self, owner: &FormOwner, shown: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &bytes(owner, shown)))
    }

    /// True if the token is that of the owner. Takes the same time for each token of the right length.
    pub(super) fn accepts(&self, owner: &FormOwner, token: &str) -> bool {
        self.accepts_for(owner, &[], token)
    }

    /// True if the token is that of a form of the owner that has shown this.
    pub(super) fn accepts_for(&self, owner: &FormOwner, shown: &[u8], token: &str) -> bool {
        let given = BASE64_URL_SAFE_NO_PAD.decode(token);
        given.is_ok_and(|given| hmac::verify(&self.key, &bytes(owner, shown), &given).is_ok())
    }
}

/// Returns what a token is made of. The length of what was shown stands first, so that no name of an owner can end in it.
fn bytes(owner: &FormOwner, shown: &[u8]) -> Vec<u8> {
    let owner = match owner {
        FormOwner::Session(key) => [b"session:", &key[..]].concat(),
        FormOwner::Certificate(name) => [b"certificate:", name.as_bytes()].concat(),
        FormOwner::Process => b"process".to_vec(),
    };
    [&shown.len().to_be_bytes()[..], &owner, shown].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_accepted_from_its_owner_and_in_its_process_only() {
        let tokens = FormTokens::new().unwrap();
        let owners = [
            FormOwner::Session([1; 32]),
            FormOwner::Session([2; 32]),
            FormOwner::Certificate("ops".into()),
            FormOwner::Process,
        ];
        for owner in &owners {
            let token = tokens.token(owner);
            for other in &owners {
                assert_eq!(tokens.accepts(other, &token), owner == other, "{owner:?} {other:?}");
            }
            assert!(!tokens.accepts(owner, "") && !tokens.accepts(owner, &format!("{token}A")));
            assert!(!FormTokens::new().unwrap().accepts(owner, &token));
            let of_form = tokens.token_for(owner, b"shown");
            assert!(tokens.accepts_for(owner, b"shown", &of_form));
            for (shown, token) in [(&b"other"[..], &of_form), (b"", &of_form), (b"shown", &token)] {
                assert!(!tokens.accepts_for(owner, shown, token), "{owner:?} {shown:?}");
            }
        }
    }
}
