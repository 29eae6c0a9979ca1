//! Resolves the declared purpose: accepts names of other vocabularies, and recognises a legal basis that is
//! declared as a purpose by mistake.

use super::{Basis, PurposeId, Vocabulary};

const DPV: &str = "https://w3id.org/dpv#";
const PD: &str = "https://w3id.org/dpv/pd#";

/// Reason why a text is not a purpose of the pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAPurpose {
    /// The text is a legal basis. A recipient declares its purpose, not the legal ground.
    LegalBasis(Basis),
    /// The text names neither a purpose nor a legal basis.
    Unknown,
}

impl Vocabulary {
    /// Resolves the purpose that a request declares: by its id, a DPV name or IRI, or a Fides id.
    ///
    /// # Errors
    /// [`NotAPurpose`]. A purpose takes precedence over a basis of the same name (`legal-obligation`).
    pub fn declared_purpose(&self, text: &str) -> Result<PurposeId, NotAPurpose> {
        if let Some(purpose) = self.purposes.find(text) {
            return Ok(purpose);
        }
        let short = compact(text);
        if let Some(&purpose) = self.aliases.get(short.as_str()) {
            return Ok(purpose);
        }
        Err(legal_basis(&short).map_or(NotAPurpose::Unknown, NotAPurpose::LegalBasis))
    }
}

/// Shortens `https://w3id.org/dpv#Marketing` to `dpv:Marketing`, and `fideslang:marketing` to `marketing`.
fn compact(text: &str) -> String {
    if let Some(name) = text.strip_prefix(DPV) {
        return format!("dpv:{name}");
    }
    if let Some(name) = text.strip_prefix(PD) {
        return format!("pd:{name}");
    }
    text.strip_prefix("fideslang:").unwrap_or(text).to_owned()
}

/// Expands `dpv:Marketing` to `https://w3id.org/dpv#Marketing` (DPV 2.2).
pub fn dpv_iri(compact: &str) -> Option<String> {
    let (prefix, name) = compact.split_once(':')?;
    match prefix {
        "dpv" => Some(format!("{DPV}{name}")),
        "pd" => Some(format!("{PD}{name}")),
        _ => None,
    }
}

fn legal_basis(short: &str) -> Option<Basis> {
    match short {
        "consent" | "dpv:Consent" => Some(Basis::Consent),
        "contract" | "dpv:Contract" => Some(Basis::Contract),
        "legitimate-interest" | "dpv:LegitimateInterest" => Some(Basis::LegitimateInterest),
        "public-task" | "dpv:PublicInterest" | "dpv:OfficialAuthorityOfController" => Some(Basis::PublicTask),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_vocabularies_are_aliases() {
        let words = Vocabulary::standard();
        let direct = words.purposes().find("direct-marketing");
        for text in [
            "direct-marketing",
            "dpv:DirectMarketing",
            "https://w3id.org/dpv#DirectMarketing",
            "marketing.communications",
        ] {
            assert_eq!(words.declared_purpose(text).ok(), direct, "{text}");
        }
        assert_eq!(words.declared_purpose("dpv:Nothing"), Err(NotAPurpose::Unknown));
        assert_eq!(words.declared_purpose("Direct-Marketing"), Err(NotAPurpose::Unknown));
        assert_eq!(words.declared_purpose("dpv:Consent"), Err(NotAPurpose::LegalBasis(Basis::Consent)));
        assert!(words.declared_purpose("legal-obligation").is_ok());
    }
}
