//! German titles of the standard vocabulary's terms.

use super::TermKind;

/// Returns the German title of a term of the standard vocabulary.
pub(super) fn title(kind: TermKind, id: &str) -> Option<&'static str> {
    let titles: &[(&str, &str)] = match kind {
        TermKind::Purpose => PURPOSES,
        TermKind::Category => CATEGORIES,
        TermKind::RecipientKind => RECIPIENT_KINDS,
        TermKind::Relation => RELATIONS,
    };
    titles.iter().find(|(known, _)| *known == id).map(|(_, title)| *title)
}

const PURPOSES: &[(&str, &str)] = &[
    ("service-provision", "Erbringung des Dienstes"),
    ("account-management", "Kontoverwaltung"),
    ("identity-verification", "Prüfung der Identität"),
    ("order-fulfilment", "Ausführung von Bestellungen"),
    ("domain-registration", "Registrierung von Domains"),
    ("hosting", "Hosting"),
    ("backup-and-restore", "Sicherung und Wiederherstellung"),
    ("collaboration", "Zusammenarbeit"),
    ("invoicing", "Rechnungsmodul"),
    ("campaign-delivery", "Kampagnenmodul"),
    ("push-notification", "Push-Mitteilungen"),
    ("mapping", "Kartendienste"),
    ("information-request", "Anfrage nach Informationen"),
    ("service-communication", "Mitteilungen zum Dienst"),
    ("essential-notice", "Notwendige Mitteilungen"),
    ("customer-support", "Kundendienst"),
    ("technical-support", "Technische Hilfe"),
    ("error-resolution", "Fehlerbehebung"),
    ("security", "Sicherheit"),
    ("fraud-prevention", "Betrugsverhütung"),
    ("account-verification", "Prüfung von Konten"),
    ("policy-enforcement", "Durchsetzung der Regeln"),
    ("payment", "Zahlung"),
    ("payment-processing", "Zahlungsabwicklung"),
    ("billing", "Abrechnung"),
    ("marketing", "Werbung"),
    ("direct-marketing", "Direktwerbung"),
    ("product-news", "Produktneuigkeiten"),
    ("event-promotion", "Werbung für Veranstaltungen"),
    ("website-personalisation", "Anpassung der Website"),
    ("campaign-measurement", "Messung von Kampagnen"),
    ("feedback", "Rückmeldungen"),
    ("survey", "Umfrage"),
    ("analytics", "Auswertung"),
    ("product-improvement", "Verbesserung der Produkte"),
    ("usage-analytics", "Auswertung der Nutzung"),
    ("trend-analysis", "Analyse von Trends"),
    ("website-statistics", "Statistik der Website"),
    ("event-management", "Durchführung von Veranstaltungen"),
    ("reseller-follow-up", "Kontakt durch Vertriebspartner"),
    ("prospecting", "Suche nach neuen Kunden"),
    ("testimonial-publication", "Veröffentlichung von Kundenstimmen"),
    ("corporate-transaction", "Unternehmensübertragung"),
    ("administration", "Verwaltung"),
    ("suppression-list", "Sperrliste"),
    ("legal", "Rechtliches"),
    ("legal-obligation", "Rechtliche Verpflichtung"),
    ("court-order", "Gerichtliche Anordnung"),
    ("law-enforcement", "Strafverfolgung"),
    ("legal-claims", "Rechtsansprüche"),
    ("vital-interest", "Lebenswichtiges Interesse"),
    ("data-subject-request", "Antrag der betroffenen Person"),
    ("access", "Auskunft"),
    ("rectification", "Berichtigung"),
    ("erasure", "Löschung"),
    ("restriction", "Einschränkung"),
    ("portability", "Übertragbarkeit"),
    ("objection", "Widerspruch"),
    ("machine-learning", "Maschinelles Lernen"),
    ("algorithm-improvement", "Verbesserung von Algorithmen"),
    ("organisation-model", "Eigenes Modell der Organisation"),
    ("third-party-advertising", "Werbung Dritter"),
    ("data-sale", "Verkauf von Daten"),
];

const CATEGORIES: &[(&str, &str)] = &[
    ("personal", "Personenbezogene Daten"),
    ("identity", "Identität"),
    ("name", "Name"),
    ("username", "Benutzername"),
    ("date-of-birth", "Geburtsdatum"),
    ("photo", "Foto"),
    ("government-id", "Amtliche Kennung"),
    ("contact", "Kontaktdaten"),
    ("email", "E-Mail-Adresse"),
    ("phone", "Telefonnummer"),
    ("postal-address", "Postanschrift"),
    ("profile", "Profil"),
    ("company", "Unternehmen"),
    ("job-title", "Berufsbezeichnung"),
    ("country", "Land"),
    ("language", "Sprache"),
    ("time-zone", "Zeitzone"),
    ("preferences", "Einstellungen"),
    ("social-profile", "Profil in sozialen Netzwerken"),
    ("credential", "Zugangsdaten"),
    ("password", "Passwort"),
    ("security-question", "Sicherheitsfrage"),
    ("secret", "Geheimnis"),
    ("payment", "Zahlungsdaten"),
    ("billing", "Rechnungsdaten"),
    ("payment-card-number", "Kartennummer"),
    ("payment-card-summary", "Kurzangaben zur Karte"),
    ("network", "Netzdaten"),
    ("ip-address", "IP-Adresse"),
    ("domain-name", "Domainname"),
    ("cookie-identifier", "Cookie-Kennung"),
    ("device", "Gerät"),
    ("referrer", "Verweisende Seite"),
    ("usage", "Nutzung"),
    ("product-usage", "Nutzung der Produkte"),
    ("website-activity", "Verhalten auf der Website"),
    ("location", "Standort"),
    ("communications", "Kommunikation"),
    ("support-content", "Inhalt von Hilfeanfragen"),
    ("call-recording", "Gesprächsaufzeichnung"),
    ("message-content", "Inhalt von Nachrichten"),
    ("device-content", "Inhalte des Geräts"),
    ("event-participation", "Teilnahme an Veranstaltungen"),
    ("testimonial", "Kundenstimme"),
    ("subject-identifier", "Kennung der Person"),
    ("special", "Besondere Kategorien"),
    ("health", "Gesundheit"),
    ("biometric", "Biometrische Daten"),
    ("genetic", "Genetische Daten"),
    ("ethnic-origin", "Ethnische Herkunft"),
    ("beliefs", "Überzeugungen"),
    ("union-membership", "Gewerkschaftszugehörigkeit"),
    ("sexual-life", "Sexualleben"),
    ("criminal-offence", "Straftaten"),
    ("service-data", "Daten des Dienstes"),
    ("agent-log", "Agentenprotokoll"),
    ("published", "Veröffentlichtes"),
    ("de-identified", "Ohne Personenbezug gemachte Daten"),
    ("aggregate", "Zusammengefasste Daten"),
    ("non-personal", "Nicht personenbezogen"),
];

const RECIPIENT_KINDS: &[(&str, &str)] = &[
    ("employee", "Beschäftigte"),
    ("contractor", "Auftragnehmer"),
    ("affiliate", "Verbundenes Unternehmen"),
    ("service-provider", "Dienstleister"),
    ("hosting-provider", "Hosting-Anbieter"),
    ("email-provider", "E-Mail-Anbieter"),
    ("administrative-provider", "Verwaltungsdienstleister"),
    ("developer", "Entwickler"),
    ("marketing-partner", "Werbepartner"),
    ("web-analytics-provider", "Anbieter für Webanalyse"),
    ("payment-processor", "Zahlungsdienstleister"),
    ("event-organiser", "Veranstalter"),
    ("mapping-provider", "Anbieter von Kartendiensten"),
    ("push-notification-provider", "Anbieter von Push-Mitteilungen"),
    ("sub-processor", "Unterauftragsverarbeiter"),
    ("reselling-partner", "Vertriebspartner"),
    ("domain-registrar", "Domain-Registrar"),
    ("business-partner", "Geschäftspartner"),
    ("public-authority", "Behörde"),
    ("acquirer", "Erwerber"),
    ("customer-administrator", "Administrator des Kunden"),
    ("user-integration", "Vom Nutzer verbundener Dienst"),
    ("collaborator", "Mitwirkende"),
    ("data-subject", "Betroffene Person"),
];

const RELATIONS: &[(&str, &str)] = &[
    ("domain-registrant", "Inhaber einer Domain"),
    ("product-download", "Herunterladen eines Produkts"),
    ("service-signup", "Anmeldung zu einem Dienst"),
    ("event-registrant", "Anmeldung zu einer Veranstaltung"),
    ("integration-enabled", "Verbundener Dienst"),
    ("notifications-enabled", "Eingeschaltete Mitteilungen"),
    ("referred", "Empfohlen"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Vocabulary;

    #[test]
    fn every_term_of_the_standard_vocabulary_has_a_german_title() {
        let words = Vocabulary::standard();
        let ids = |kind| -> Vec<String> {
            match kind {
                TermKind::Purpose => words.purposes().terms().map(|(_, term)| term.id.to_string()).collect(),
                TermKind::Category => {
                    words.categories().terms().map(|(_, term)| term.id.to_string()).collect()
                }
                TermKind::RecipientKind => {
                    words.kinds().terms().map(|(_, term)| term.id.to_string()).collect()
                }
                TermKind::Relation => {
                    words.relations().terms().map(|(_, term)| term.id.to_string()).collect()
                }
            }
        };
        for kind in TermKind::ALL {
            let ids = ids(kind);
            for id in &ids {
                assert!(title(kind, id).is_some(), "{kind:?} {id}");
            }
            let number = match kind {
                TermKind::Purpose => PURPOSES.len(),
                TermKind::Category => CATEGORIES.len(),
                TermKind::RecipientKind => RECIPIENT_KINDS.len(),
                TermKind::Relation => RELATIONS.len(),
            };
            assert_eq!(number, ids.len(), "{kind:?}");
        }
    }
}
