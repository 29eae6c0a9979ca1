//! The statements of the person: the state in force, and the events on record.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{ReportWriter, in_words};
use crate::texts::{Sentence, TermKind, escaped};

impl ReportWriter<'_> {
    pub(super) fn write_state(&self, out: &mut String, state: Option<&Map<String, Value>>) {
        self.heading(out, Sentence::ReportSaid);
        let lines = state.map(|state| self.state_lines(state)).unwrap_or_default();
        if lines.is_empty() {
            let _ = writeln!(out, "<p>{}</p>", self.say(Sentence::ReportSaidNothing));
            return;
        }
        out.push_str("<dl>\n");
        for (title, texts) in lines {
            let _ = write!(out, "<dt>{}</dt>", self.say(title));
            for text in texts {
                let _ = write!(out, "<dd>{text}</dd>");
            }
            out.push('\n');
        }
        out.push_str("</dl>\n");
    }

    /// Returns the members of the state that it has, as titles with escaped texts.
    fn state_lines(&self, state: &Map<String, Value>) -> Vec<(Sentence, Vec<String>)> {
        let names = |member: &str| {
            let names = state.get(member).and_then(Value::as_array).into_iter().flatten();
            names.filter_map(Value::as_str)
        };
        let consents = state.get("consents").and_then(Value::as_object).into_iter().flatten();
        let consents = consents.map(|(about, status)| {
            let status = self.consent_status(status.as_str().unwrap_or_default());
            format!("{}: {status}", self.bound(TermKind::Purpose, about))
        });
        let flags = [
            ("erased", Sentence::StateErased),
            ("restricted", Sentence::StateRestricted),
            ("minor", Sentence::StateMinor),
            ("transfer-consent", Sentence::StateTransferConsent),
        ];
        let flags = flags.into_iter().filter(|(member, _)| state.get(*member) == Some(&Value::Bool(true)));
        let place = |member: &str| {
            state.get(member).and_then(Value::as_str).map(escaped).into_iter().collect::<Vec<String>>()
        };
        let mut lines = vec![
            (Sentence::StateConsent, consents.collect()),
            (
                Sentence::StateObjections,
                names("objections").map(|name| self.bound(TermKind::Purpose, name)).collect(),
            ),
            (Sentence::StateOptOuts, names("opt-outs").map(|name| self.recipient(name)).collect()),
            (
                Sentence::StateRefusedCategories,
                names("refused-categories").map(|name| self.title(TermKind::Category, name)).collect(),
            ),
            (
                Sentence::StateSinceRestriction,
                names("consents-since-restriction").map(|name| self.bound(TermKind::Purpose, name)).collect(),
            ),
            (
                Sentence::StateRelations,
                names("relations").map(|name| self.bound(TermKind::Relation, name)).collect(),
            ),
            (
                Sentence::StateRelationsEnded,
                names("relations-ended").map(|name| self.bound(TermKind::Relation, name)).collect(),
            ),
            (Sentence::StateOnRecord, flags.map(|(_, sentence)| self.say(sentence)).collect()),
            (Sentence::StateCountry, place("country")),
            (Sentence::StateRegion, place("region")),
            (Sentence::StateOrigin, self.origins(state.get("origin"))),
        ];
        lines.retain(|(_, texts): &(Sentence, Vec<String>)| !texts.is_empty());
        lines
    }

    /// Returns a name that may be bound to a recipient or a kind of recipients (`marketing:acme`), escaped.
    fn bound(&self, kind: TermKind, name: &str) -> String {
        let (name, to) = name.split_once(':').map_or((name, None), |(name, to)| (name, Some(to)));
        let title = self.title(kind, name);
        match to {
            None => title,
            Some("upheld") => format!("{title} ({})", self.say(Sentence::StateUpheld)),
            Some(to) => format!("{title} ({})", self.recipient_or_kind(to)),
        }
    }

    fn recipient_or_kind(&self, name: &str) -> String {
        let is_kind = self.words.kinds().find(name).is_some();
        let is_recipient = self.recipients.iter().any(|known| *known.facts.name == *name);
        match is_kind && !is_recipient {
            true => self.title(TermKind::RecipientKind, name),
            false => self.recipient(name),
        }
    }

    fn consent_status(&self, status: &str) -> String {
        self.say(match status {
            "given" => Sentence::StateGiven,
            "refused" => Sentence::StateRefused,
            "withdrawn" => Sentence::StateWithdrawn,
            "expired" => Sentence::StateExpired,
            other => return escaped(&in_words(other)),
        })
    }

    fn origins(&self, origin: Option<&Value>) -> Vec<String> {
        match origin {
            Some(Value::String(all)) => vec![self.origin(all)],
            Some(Value::Object(of)) => {
                let each = of.iter().map(|(category, origin)| {
                    let category = match category.as_str() {
                        "personal" => self.say(Sentence::StateInGeneral),
                        category => self.title(TermKind::Category, category),
                    };
                    format!("{category}: {}", self.origin(origin.as_str().unwrap_or_default()))
                });
                each.collect()
            }
            _ => Vec::new(),
        }
    }

    fn origin(&self, origin: &str) -> String {
        self.say(match origin {
            "self" => Sentence::OriginSelf,
            "automatic" => Sentence::OriginAutomatic,
            "referral" => Sentence::OriginReferral,
            "reselling-partner" => Sentence::OriginResellingPartner,
            "federated-sign-in" => Sentence::OriginFederatedSignIn,
            "event" => Sentence::OriginEvent,
            "social" => Sentence::OriginSocial,
            "published" => Sentence::OriginPublished,
            "customer" => Sentence::OriginCustomer,
            other => return escaped(&in_words(other)),
        })
    }

    pub(super) fn write_events(&self, out: &mut String, events: &[Map<String, Value>]) {
        if events.is_empty() {
            return;
        }
        self.heading(out, Sentence::ReportEvents);
        let columns = [Sentence::ReportWhen, Sentence::EventWhat, Sentence::EventDetails];
        out.push_str(&self.language.table(&columns));
        for event in events {
            let text = |member: &str| event.get(member).and_then(Value::as_str).unwrap_or_default();
            let at = text("at").parse::<Timestamp>();
            let at = at.map_or_else(|_| text("at").to_owned(), |at| self.language.moment(at));
            let details = event.iter().filter(|(member, _)| !["at", "kind"].contains(&member.as_str()));
            let details: Vec<String> = details.map(|(member, value)| self.detail(member, value)).collect();
            let cells = [escaped(&at), self.event_kind(text("kind")), details.join("<br>")];
            let cells =
                columns.iter().zip(cells).map(|(column, content)| self.language.cell(*column, &content));
            let _ = writeln!(out, "<tr>{}</tr>", cells.collect::<String>());
        }
        out.push_str("</tbody>\n</table>\n");
    }

    /// Returns a member of an event in words, escaped.
    fn detail(&self, member: &str, value: &Value) -> String {
        let text = value.as_str().unwrap_or_default();
        let (label, content) = match member {
            "purpose" => (Sentence::DetailPurpose, self.title(TermKind::Purpose, text)),
            "recipient" => (Sentence::DetailRecipient, self.recipient(text)),
            "recipient-kind" => (Sentence::DetailRecipientKind, self.title(TermKind::RecipientKind, text)),
            "category" => (Sentence::DetailCategory, self.title(TermKind::Category, text)),
            "relation" => (Sentence::DetailRelation, self.title(TermKind::Relation, text)),
            "right" => (Sentence::DetailRight, self.title(TermKind::Purpose, text)),
            "valid-until" => {
                let until = text.parse::<Timestamp>();
                (
                    Sentence::DetailUntil,
                    escaped(&until.map_or_else(|_| text.to_owned(), |until| self.language.moment(until))),
                )
            }
            "notice" => (Sentence::DetailNotice, escaped(text)),
            "channel" => (Sentence::DetailChannel, escaped(text)),
            "evidence" => (Sentence::DetailEvidence, escaped(text)),
            "facts" => (Sentence::DetailFacts, self.facts(value)),
            other => return format!("{}: {}", escaped(&in_words(other)), escaped(&plain(value))),
        };
        format!("{}: {content}", self.say(label))
    }

    /// Returns the facts of an event, escaped.
    fn facts(&self, facts: &Value) -> String {
        let each = facts.as_object().into_iter().flatten().map(|(name, value)| {
            let (label, content) = match name.as_str() {
                "country" => (self.say(Sentence::StateCountry), escaped(&plain(value))),
                "region" => (self.say(Sentence::StateRegion), escaped(&plain(value))),
                "origin" => (self.say(Sentence::StateOrigin), self.origins(Some(value)).join(", ")),
                other => (escaped(&in_words(other)), escaped(&plain(value))),
            };
            format!("{label}: {content}")
        });
        each.collect::<Vec<_>>().join(", ")
    }

    fn event_kind(&self, kind: &str) -> String {
        self.say(match kind {
            "notice" => Sentence::EventNotice,
            "consent-given" => Sentence::EventConsentGiven,
            "consent-refused" => Sentence::EventConsentRefused,
            "consent-withdrawn" => Sentence::EventConsentWithdrawn,
            "objection" => Sentence::EventObjection,
            "objection-lifted" => Sentence::EventObjectionLifted,
            "objection-upheld" => Sentence::EventObjectionUpheld,
            "objection-overridden" => Sentence::EventObjectionOverridden,
            "opt-out" => Sentence::EventOptOut,
            "opt-out-lifted" => Sentence::EventOptOutLifted,
            "restriction" => Sentence::EventRestriction,
            "restriction-lifted" => Sentence::EventRestrictionLifted,
            "erasure" => Sentence::EventErasure,
            "log-secret-erased" => Sentence::EventLogSecretErased,
            "category-refused" => Sentence::EventCategoryRefused,
            "category-allowed" => Sentence::EventCategoryAllowed,
            "relation" => Sentence::EventRelation,
            "relation-ended" => Sentence::EventRelationEnded,
            "fact" => Sentence::EventFact,
            "correction" => Sentence::EventCorrection,
            "request-received" => Sentence::EventRequestReceived,
            "request-answered" => Sentence::EventRequestAnswered,
            other => return escaped(&in_words(other)),
        })
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => {
            let each = members.iter().map(|(name, value)| format!("{} {}", in_words(name), plain(value)));
            each.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
