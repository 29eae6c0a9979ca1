//! Sessions of people who signed in with a token. They are known to this process alone, and end with it.
//!
//! Invariant: memory holds the hash of a session's id, and of the token with which it began. The token is looked up in the
//! configuration for each request, so a session ends when its token is no longer registered.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::COOKIE;

use crate::credentials::{self, KeyHash};

/// Time without a request after which a session ends.
pub(super) const MAX_IDLE: Duration = Duration::from_secs(30 * 60);
/// Time after which a session ends, however it is used.
pub(super) const MAX_AGE: Duration = Duration::from_secs(8 * 3600);
/// Maximum number of sessions of one token. Beyond it the one of them that is idle for the longest time ends: nobody ends the
/// sessions of others by signing in often.
pub(super) const MAX_OF_TOKEN: usize = 16;
/// Maximum number of sessions. Beyond it the one that is idle for the longest time ends.
pub(super) const MAX_SESSIONS: usize = 1000;
/// Number of random bytes of an id.
const ID_BYTES: usize = 32;

/// The hash of a session's id.
pub(super) type SessionKey = [u8; 32];

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: HashMap<SessionKey, ConsoleSession>,
}

/// A session. Times are those of the console's clock.
#[derive(Debug)]
struct ConsoleSession {
    token: KeyHash,
    began: Duration,
    used: Duration,
}

impl ConsoleSession {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.used) >= MAX_IDLE || now.saturating_sub(self.began) >= MAX_AGE
    }
}

impl Sessions {
    /// Begins a session. Returns its id, which is only in the cookie.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(super) fn begin(&mut self, token: KeyHash, now: Duration) -> Result<String, getrandom::Error> {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id)?;
        self.sessions.retain(|_, session| !session.is_over(now));
        if self.sessions.values().filter(|session| session.token == token).count() >= MAX_OF_TOKEN {
            self.end_idlest(|session| session.token == token);
        }
        if self.sessions.len() >= MAX_SESSIONS {
            self.end_idlest(|_| true);
        }
        let id = BASE64_URL_SAFE_NO_PAD.encode(id);
        self.sessions.insert(key(&id), ConsoleSession { token, began: now, used: now });
        Ok(id)
    }

    /// Returns the session of a cookie and the hash of its token.
    pub(super) fn find(&mut self, id: &str, now: Duration) -> Option<(SessionKey, KeyHash)> {
        let key = key(id);
        let session = self.sessions.get(&key)?;
        if session.is_over(now) {
            self.sessions.remove(&key);
            return None;
        }
        Some((key, session.token))
    }

    /// Notes the use of a session.
    pub(super) fn renew(&mut self, key: &SessionKey, now: Duration) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.used = now;
        }
    }

    /// Ends the session of these that is idle for the longest time.
    fn end_idlest(&mut self, is_one: impl Fn(&ConsoleSession) -> bool) {
        let candidates = self.sessions.iter().filter(|(_, session)| is_one(session));
        let idlest = candidates.min_by_key(|(_, session)| session.used).map(|(key, _)| *key);
        idlest.map(|key| self.sessions.remove(&key));
    }

    /// Ends a session.
    pub(super) fn end(&mut self, key: &SessionKey) {
        self.sessions.remove(key);
    }
}

fn key(id: &str) -> SessionKey {
    credentials::hash(id.as_bytes())
}

/// Returns the name of the cookie. Over TLS no other host and no plaintext page can set it (`__Host-`).
fn cookie_name(is_encrypted: bool) -> &'static str {
    if is_encrypted { "__Host-purposegate" } else { "purposegate" }
}

/// Returns the id of the session that a request names; `None` if there is none, or several.
pub(super) fn id_of(headers: &HeaderMap, is_encrypted: bool) -> Option<&str> {
    let name = cookie_name(is_encrypted);
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ids = pairs.filter(|(of, _)| *of == name).map(|(_, id)| id);
    ids.next().filter(|_| ids.next().is_none())
}

/// Returns the `Set-Cookie` of a session: the cookie ends with the browser. An empty id removes it.
pub(super) fn cookie(id: &str, is_encrypted: bool) -> String {
    let (name, secure) = (cookie_name(is_encrypted), if is_encrypted { "; Secure" } else { "" });
    let age = if id.is_empty() { "; Max-Age=0" } else { "" };
    format!("{name}={id}; Path=/{age}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    impl Sessions {
        /// Uses a session; true if there is one.
        fn uses(&mut self, id: &str, now: Duration) -> bool {
            let found = self.find(id, now);
            found.inspect(|(key, _)| self.renew(key, now)).is_some()
        }
    }

    /// Returns a hash of its own for each number.
    fn token(number: usize) -> KeyHash {
        credentials::hash(&number.to_be_bytes())
    }

    #[test]
    fn a_session_ends_when_it_is_idle_or_old() {
        let mut sessions = Sessions::default();
        let id = sessions.begin([1; 32], Duration::ZERO).unwrap();
        let mut now = Duration::ZERO;
        while now + 29 * MINUTE < MAX_AGE {
            now += 29 * MINUTE;
            assert_eq!(sessions.find(&id, now).unwrap().1, [1; 32], "{now:?}");
            assert!(sessions.uses(&id, now));
        }
        assert!(sessions.find(&id, MAX_AGE).is_none(), "however it is used");
        let id = sessions.begin([1; 32], Duration::ZERO).unwrap();
        assert!(sessions.find(&id, MAX_IDLE).is_none());
        assert!(sessions.find(&id, MINUTE).is_none(), "a session that has ended stays ended");
    }

    #[test]
    fn a_look_at_a_session_is_no_use() {
        let mut sessions = Sessions::default();
        let id = sessions.begin([1; 32], Duration::ZERO).unwrap();
        assert!(sessions.find(&id, MAX_IDLE - MINUTE).is_some());
        assert!(sessions.find(&id, MAX_IDLE).is_none());
    }

    #[test]
    fn the_session_that_is_idle_for_the_longest_time_gives_way() {
        let mut sessions = Sessions::default();
        let first = sessions.begin(token(0), Duration::ZERO).unwrap();
        let second = sessions.begin(token(1), Duration::from_millis(1)).unwrap();
        for number in 2..MAX_SESSIONS {
            sessions.begin(token(number), Duration::from_millis(2)).unwrap();
        }
        assert!(sessions.uses(&first, Duration::from_millis(3)));
        let last = sessions.begin(token(0), Duration::from_millis(4)).unwrap();
        assert_eq!(sessions.sessions.len(), MAX_SESSIONS);
        assert!(!sessions.uses(&second, Duration::from_millis(5)));
        assert!(sessions.uses(&first, Duration::from_millis(5)));
        assert!(sessions.uses(&last, Duration::from_millis(5)));
    }

    #[test]
    fn a_token_ends_its_own_sessions_only() {
        let mut sessions = Sessions::default();
        let other = sessions.begin(token(1), Duration::ZERO).unwrap();
        let first = sessions.begin(token(0), MINUTE).unwrap();
        let last = (0..MAX_SESSIONS).map(|_| sessions.begin(token(0), 2 * MINUTE).unwrap()).last().unwrap();
        assert_eq!(sessions.sessions.len(), MAX_OF_TOKEN + 1);
        assert!(sessions.uses(&other, 3 * MINUTE) && sessions.uses(&last, 3 * MINUTE));
        assert!(!sessions.uses(&first, 3 * MINUTE));
    }

    #[test]
    fn a_cookie_is_read_by_its_exact_name_once() {
        let read = |texts: &[&str], is_encrypted| {
            let mut headers = HeaderMap::new();
            for text in texts {
                headers.append(COOKIE, text.parse().unwrap());
            }
            id_of(&headers, is_encrypted).map(str::to_owned)
        };
        assert_eq!(read(&["a=b; purposegate=x; c=d"], false).as_deref(), Some("x"));
        assert_eq!(read(&["__Host-purposegate=x"], true).as_deref(), Some("x"));
        for (texts, is_encrypted) in [
            (&["purposegate=x"][..], true),
            (&["__Host-purposegate=x"], false),
            (&["purposegate=x; purposegate=y"], false),
            (&["purposegate=x", "purposegate=x"], false),
            (&["Purposegate=x"], false),
            (&[], false),
        ] {
            assert_eq!(read(texts, is_encrypted), None, "{texts:?}");
        }
    }
}
