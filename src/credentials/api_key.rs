//! Generates API keys of recipients and tokens of the admin API: a prefix, an id and a secret.

use super::hash;

/// A new API key or token, and the hash that registers it.
#[derive(Debug, serde::Serialize)]
pub struct NewKey {
    /// `pgk_` or `pga_` + key id + `_` + secret; 160 random bits in the secret.
    pub key: String,
    /// `sha256:` + the hash of the whole key.
    pub credential: String,
}

/// Crockford's Base 32 in lower case, without characters that look alike.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl NewKey {
    /// Generates the API key of a recipient: `pgk_…`.
    ///
    /// # Errors
    /// If the operating system provides no random bytes.
    pub fn for_recipient() -> Result<NewKey, getrandom::Error> {
        NewKey::random("pgk")
    }

    /// Generates a token for the admin API: `pga_…`.
    ///
    /// # Errors
    /// If the operating system provides no random bytes.
    pub fn for_admin() -> Result<NewKey, getrandom::Error> {
        NewKey::random("pga")
    }

    fn random(prefix: &str) -> Result<NewKey, getrandom::Error> {
        let key = format!("{prefix}_{}_{}", random(8)?, random(32)?);
        let hash = hash(key.as_bytes());
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(NewKey { key, credential: format!("sha256:{digits}") })
    }
}

/// Returns random characters of five bits each.
fn random(length: usize) -> Result<String, getrandom::Error> {
    let mut bytes = vec![0u8; length];
    getrandom::fill(&mut bytes)?;
    Ok(bytes
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(byte & 31)))
        .map(|byte| char::from(*byte))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_format_and_a_hash_of_its_own() {
        for (make, prefix) in [(NewKey::for_recipient as fn() -> _, "pgk"), (NewKey::for_admin, "pga")] {
            let key: NewKey = make().unwrap();
            let parts: Vec<&str> = key.key.split('_').collect();
            assert_eq!((parts[0], parts[1].len(), parts[2].len()), (prefix, 8, 32));
            assert_eq!(key.credential.len(), "sha256:".len() + 64);
            assert_ne!(key.key, make().unwrap().key);
        }
    }
}
