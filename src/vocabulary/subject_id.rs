//! The identity of a data subject or a controller. All inputs of the gateway yield this one type.
//!
//! Invariant: only an [`IdReader`] makes a [`SubjectId`], so the rule of the namespace is always applied, and two
//! spellings of one id yield equal values wherever they were read.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

use super::namespace::{IdError, IdRule, MAX_ID_BYTES};

/// Name of the default namespace in configuration and requests.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The identity of a person or controller, normalized by the rule of its namespace.
///
/// `Debug` prints the type's name only: an id never reaches a log.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SubjectId {
    namespace: Option<Arc<str>>,
    /// Short ids, which are the most common, are stored inline.
    id: SmolStr,
}

impl SubjectId {
    /// Returns the namespace; `None` is the default one.
    pub fn namespace(&self) -> Option<&Arc<str>> {
        self.namespace.as_ref()
    }

    /// Returns the id within its namespace.
    pub fn id(&self) -> &SmolStr {
        &self.id
    }
}

impl fmt::Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectId")
    }
}

/// A person who acts for a recipient, as the issuer of their token names them. Actors are not data subjects: the
/// ledger does not know them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ActorId {
    /// Issuer of the token.
    pub issuer: Arc<str>,
    /// Id of the person with that issuer.
    pub id: SmolStr,
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ActorId")
    }
}

/// Reads the ids of one namespace. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdReader {
    namespace: Option<Arc<str>>,
    /// The rule; `None` accepts ids as they are spelled.
    rule: Option<Arc<IdRule>>,
}

impl IdReader {
    /// Returns the id that a spelling stands for.
    ///
    /// # Errors
    /// [`IdError`].
    pub fn read(&self, spelled: &str) -> Result<SubjectId, IdError> {
        let id = match &self.rule {
            Some(rule) => rule.read(spelled)?,
            None if spelled.is_empty() || spelled.len() > MAX_ID_BYTES => return Err(IdError::Length),
            None => SmolStr::new(spelled),
        };
        Ok(SubjectId { namespace: self.namespace.clone(), id })
    }

    /// Returns the id for a spelling that was recorded under an earlier rule, in the ledger or in a link. A text
    /// that does not match the pattern is taken as an id that was already extracted.
    pub fn read_recorded(&self, spelled: &str) -> SubjectId {
        let id = self.rule.as_ref().map_or_else(|| SmolStr::new(spelled), |rule| rule.read_recorded(spelled));
        SubjectId { namespace: self.namespace.clone(), id }
    }

    /// Returns an id for a dry run without a request. It need not satisfy the rule.
    pub fn placeholder(&self) -> SubjectId {
        SubjectId { namespace: self.namespace.clone(), id: SmolStr::new_static("anybody") }
    }
}

/// The rules of all namespaces. A namespace without a rule accepts ids as they are spelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    default: Option<Arc<IdRule>>,
    named: HashMap<Arc<str>, Arc<IdRule>>,
}

impl Namespaces {
    /// Creates the namespaces from their names and rules. The name `default` stands for the default namespace.
    pub fn new(rules: impl IntoIterator<Item = (Arc<str>, IdRule)>) -> Namespaces {
        let mut namespaces = Namespaces::default();
        for (name, rule) in rules.into_iter().filter(|(_, rule)| !rule.is_exact()) {
            if *name == *DEFAULT_NAMESPACE {
                namespaces.default = Some(Arc::new(rule));
            } else {
                namespaces.named.insert(name, Arc::new(rule));
            }
        }
        namespaces
    }

    /// Returns the reader of a namespace; `None` and `default` are the default one.
    pub fn reader(&self, namespace: Option<&str>) -> IdReader {
        match namespace.filter(|name| *name != DEFAULT_NAMESPACE) {
            None => IdReader { namespace: None, rule: self.default.clone() },
            Some(name) => match self.named.get_key_value(name) {
                Some((name, rule)) => {
                    IdReader { namespace: Some(Arc::clone(name)), rule: Some(Arc::clone(rule)) }
                }
                None => IdReader { namespace: Some(Arc::from(name)), rule: None },
            },
        }
    }

    /// Returns the namespaces whose ids can have several spellings; `None` is the default one.
    pub fn with_rules(&self) -> impl Iterator<Item = Option<&Arc<str>>> {
        self.default.iter().map(|_| None).chain(self.named.keys().map(Some))
    }

    /// Returns a digest that is equal for two sets of rules if every spelling stands for the same id in both.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("purposegate 2026 v1 namespaces");
        let mut rules: Vec<(&str, &IdRule)> =
            self.named.iter().map(|(name, rule)| (&**name, &**rule)).collect();
        rules.extend(self.default.iter().map(|rule| (DEFAULT_NAMESPACE, &**rule)));
        rules.sort_unstable_by_key(|(name, _)| *name);
        for (name, rule) in rules {
            let normalise = rule.normalise();
            hasher.update(&[
                u8::from(normalise.trim),
                u8::from(normalise.lowercase),
                u8::from(normalise.nfc),
                u8::from(rule.pattern().is_some()),
            ]);
            for text in [name, rule.pattern().unwrap_or_default()] {
                hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
            }
        }
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Normalization;

    fn lowercase() -> IdRule {
        IdRule::new(Normalization { lowercase: true, ..Normalization::default() }, None).unwrap()
    }

    #[test]
    fn a_rule_applies_to_its_own_namespace_only() {
        let namespaces =
            Namespaces::new([(Arc::from("email"), lowercase()), (Arc::from("crm"), IdRule::default())]);
        let read = |namespace, spelled| namespaces.reader(namespace).read(spelled).unwrap();
        assert!(read(Some("email"), "Ada@X.org") == read(Some("email"), "ada@x.org"));
        assert!(read(Some("crm"), "Ada") != read(Some("crm"), "ada"));
        assert!(read(None, "Ada") != read(None, "ada"));
        assert!(read(None, "ada") != read(Some("email"), "ada"));
        assert_eq!(namespaces.with_rules().flatten().map(|name| &**name).collect::<Vec<_>>(), ["email"]);
    }

    #[test]
    fn the_name_default_is_the_default_namespace() {
        let namespaces = Namespaces::new([(Arc::from(DEFAULT_NAMESPACE), lowercase())]);
        let read = |namespace, spelled| namespaces.reader(namespace).read(spelled).unwrap();
        assert!(read(None, "Ada") == read(Some("default"), "ada"));
        assert_eq!(read(Some("default"), "Ada").namespace(), None);
    }

    #[test]
    fn the_digest_distinguishes_rules() {
        let email = || Arc::from("email");
        let patterned = || IdRule::new(Normalization::default(), Some("(.)")).unwrap();
        let all = [
            Namespaces::default(),
            Namespaces::new([(email(), lowercase())]),
            Namespaces::new([(email(), patterned())]),
            Namespaces::new([(Arc::from(DEFAULT_NAMESPACE), lowercase())]),
            Namespaces::new([(email(), lowercase()), (Arc::from("crm"), patterned())]),
        ];
        let digests: std::collections::HashSet<_> = all.iter().map(Namespaces::digest).collect();
        assert_eq!(digests.len(), all.len());
        assert_eq!(Namespaces::default().digest(), Namespaces::new([(email(), IdRule::default())]).digest());
    }

    #[test]
    fn debug_shows_no_id() {
        let person = IdReader::default().read("ada").unwrap();
        assert_eq!(format!("{person:?}"), "SubjectId");
    }
}
