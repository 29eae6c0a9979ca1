//! The page of a recipient: all that a partner needs to know to receive data, on one page.
//!
//! The settings and the policy determine it alone: no ledger is read, and nothing in it is about a person. Invariant: it holds
//! no secret, nothing about another recipient, and none of the operator's names for routes, upstreams and rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::notices::FEED;
use super::purposes::{DECISIONS, PURPOSES};
use super::recipient_view::{self, FieldResult, ReceivedRoute, RouteResult, Sample};
use crate::exchange::caller::registered::{CredentialKind, RegisteredCredential};
use crate::exchange::route::{Agreement, Notify, Recipient, WithheldReport};
use crate::exchange::{Refusal, Snapshot};
use crate::texts::{HtmlPage, PageLanguage, Sentence, TermKind, escaped};
use crate::vocabulary::{CategoryId, Form, PurposeId, Vocabulary};

/// Maximum number of fields of a table.
const MAX_FIELDS: usize = 200;

const STYLE: &str = "
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1.2rem; }
.pair p { margin: 0; } .pair pre { height: calc(100% - 2.5rem); }
.form-clear { font-weight: 600; } .form-removed { color: var(--quiet); }
@media (max-width: 40rem) { .pair { grid-template-columns: 1fr; } .pair pre { height: auto; } }
";

/// The recipient, and what its page is to say.
#[derive(Debug)]
pub struct PartnerPage<'s> {
    /// The settings.
    pub snapshot: &'s Snapshot,
    /// Position of the recipient in the snapshot.
    pub position: usize,
    /// The one purpose that the page is about; `None`: all purposes.
    pub purpose: Option<PurposeId>,
    /// The language of the page.
    pub language: &'s PageLanguage,
    /// Time at which the page is written.
    pub now: Timestamp,
}

/// Returns the page; `None` if there is no such recipient.
pub fn html(page: &PartnerPage<'_>) -> Option<String> {
    let recipient = page.snapshot.recipients.get(page.position)?;
    let words = page.snapshot.words();
    let credentials = page.snapshot.credentials.of_recipient(page.position);
    let can_declare = |purpose| {
        credentials.is_empty() || credentials.iter().any(|credential| declares(credential, purpose))
    };
    let is_wanted = |purpose| page.purpose.is_none_or(|only| only == purpose) && can_declare(purpose);
    let routes = recipient_view::routes(page.snapshot, recipient, is_wanted, page.now);
    let writer = PageWriter { page, recipient, words: &words, routes: &routes };
    let name = recipient.contact.legal_name.as_deref().unwrap_or(&recipient.name);
    let title = page.language.plain(Sentence::PartnerTitle, &[("recipient", name)]);
    let content = writer.content(&title);
    Some(HtmlPage::new(page.language, title).with_style(STYLE).for_file().with(&content))
}

/// True if requests with this credential can declare the purpose.
fn declares(credential: &RegisteredCredential, purpose: PurposeId) -> bool {
    credential.locked_purpose.is_none_or(|locked| locked == purpose)
}

struct PageWriter<'p> {
    page: &'p PartnerPage<'p>,
    recipient: &'p Recipient,
    words: &'p Vocabulary,
    routes: &'p [ReceivedRoute<'p>],
}

impl PageWriter<'_> {
    fn say(&self, sentence: Sentence) -> String {
        self.page.language.html(sentence, &[])
    }

    fn say_with(&self, sentence: Sentence, values: &[(&str, &str)]) -> String {
        self.page.language.html(sentence, values)
    }

    fn title(&self, kind: TermKind, id: &str) -> String {
        escaped(&self.page.language.title(kind, id, self.words))
    }

    fn content(&self, title: &str) -> String {
        let today = self.page.language.day(self.page.now);
        let mut out = format!(
            "<h1>{}</h1>\n<p>{}</p>\n",
            escaped(title),
            self.say_with(Sentence::PartnerAbout, &[("date", &today)])
        );
        self.write_registration(&mut out);
        self.write_credentials(&mut out);
        self.write_headers(&mut out);
        self.write_purposes(&mut out);
        self.write_routes(&mut out);
        self.write_questions(&mut out);
        self.write_notices(&mut out);
        self.write_refusals(&mut out);
        out
    }

    fn write_registration(&self, out: &mut String) {
        let recipient = self.recipient;
        let kind = self.words.kinds().name(recipient.in_agreement.kind);
        let mut lines = vec![(Sentence::PartnerRegistered, self.title(TermKind::RecipientKind, kind))];
        if let Some(country) = &recipient.in_agreement.country {
            lines.push((Sentence::PartnerCountry, escaped(country)));
        }
        if recipient.agreement.is_some() || self.words.needs_agreement(recipient.in_agreement.kind) {
            lines.push((Sentence::PartnerAgreement, self.agreement(recipient.agreement.as_ref())));
        }
        let addresses = &self.page.snapshot.addresses;
        let address = match addresses.is_empty() {
            true => self.say(Sentence::PartnerAddressAsk),
            false => {
                let each = addresses.iter().map(|address| format!("<code>{}</code>", escaped(address)));
                each.collect::<Vec<_>>().join("<br>")
            }
        };
        lines.push((Sentence::PartnerAddress, address));
        out.push_str("<dl>\n");
        for (title, value) in lines {
            let _ = writeln!(out, "<dt>{}</dt><dd>{value}</dd>", self.say(title));
        }
        out.push_str("</dl>\n");
        for contact in self.contacts() {
            let _ = writeln!(out, "<p>{}</p>", self.say_with(Sentence::Questions, &[("contact", contact)]));
        }
        if recipient.in_agreement.suspended {
            let _ = writeln!(out, "<p class=\"alert\">{}</p>", self.say(Sentence::PartnerSuspended));
        }
    }

    /// Returns the contact of each pack in force.
    fn contacts(&self) -> Vec<&str> {
        let in_force =
            self.page.snapshot.packs.iter().filter_map(|versions| versions.in_force(self.page.now));
        let mut contacts: Vec<&str> = in_force.map(|version| &*version.pack().manifest().contact).collect();
        contacts.dedup();
        contacts
    }

    fn agreement(&self, agreement: Option<&Agreement>) -> String {
        let Some(agreement) = agreement else { return self.say(Sentence::PartnerAgreementNone) };
        let today = self.page.now.to_zoned(TimeZone::UTC).date();
        let language = self.page.language;
        let state = match agreement.until {
            None => self.say(Sentence::PartnerAgreementOpen),
            Some(until) if today <= until => {
                self.say_with(Sentence::PartnerAgreementUntil, &[("date", &language.date(until))])
            }
            Some(until) => {
                let ended =
                    self.say_with(Sentence::PartnerAgreementEnded, &[("date", &language.date(until))]);
                format!("<span class=\"alert\">{ended}</span>")
            }
        };
        let reference = agreement.reference.as_deref().map(|text| format!("{}, ", escaped(text)));
        format!("{}{state}", reference.unwrap_or_default())
    }

    fn credentials(&self) -> Vec<RegisteredCredential> {
        self.page.snapshot.credentials.of_recipient(self.page.position)
    }

    fn write_credentials(&self, out: &mut String) {
        let _ = writeln!(out, "<h2>{}</h2>", self.say(Sentence::PartnerAuthenticate));
        let credentials = self.credentials();
        if credentials.is_empty() {
            let _ = writeln!(out, "<p class=\"alert\">{}</p>", self.say(Sentence::PartnerNoCredential));
            return;
        }
        let of = |kind| credentials.iter().filter(move |credential| credential.kind == kind);
        let keys = of(CredentialKind::ApiKey).count();
        if keys > 0 {
            let key = self.say(Sentence::PartnerYourKey);
            let _ = writeln!(
                out,
                "<p>{}</p>\n<pre>Authorization: Bearer {key}\nX-Api-Key: {key}</pre>",
                self.say(Sentence::PartnerKey)
            );
            if keys > 1 {
                let number = self.say_with(Sentence::PartnerKeyCount, &[("number", &keys.to_string())]);
                let _ = writeln!(out, "<p>{number}</p>");
            }
            self.write_locks(out, of(CredentialKind::ApiKey));
        }
        for certificate in of(CredentialKind::ClientCertificate) {
            let id = escaped(&certificate.id);
            let _ = writeln!(out, "<p>{}</p>\n<pre>{id}</pre>", self.say(Sentence::PartnerCertificate));
            self.write_locks(out, [certificate].into_iter());
        }
        for credential in of(CredentialKind::SignedToken) {
            let Some((issuer, claims)) = &credential.token else { continue };
            let claims: String = claims.iter().map(|claim| format!("\n{}", escaped(claim))).collect();
            let _ = writeln!(
                out,
                "<p>{}</p>\n<pre>Authorization: Bearer {}\niss = {}{claims}</pre>",
                self.say(Sentence::PartnerToken),
                self.say(Sentence::PartnerYourToken),
                escaped(issuer)
            );
            self.write_locks(out, [credential].into_iter());
        }
    }

    /// States the purposes that credentials are locked to.
    fn write_locks<'c>(&self, out: &mut String, credentials: impl Iterator<Item = &'c RegisteredCredential>) {
        let mut all = 0;
        let mut locked: BTreeMap<PurposeId, usize> = BTreeMap::new();
        for credential in credentials {
            all += 1;
            if let Some(purpose) = credential.locked_purpose {
                *locked.entry(purpose).or_default() += 1;
            }
        }
        for (purpose, number) in locked {
            let name = self.words.purposes().name(purpose);
            let sentence = match number == all {
                true => self.say_with(Sentence::PartnerLocked, &[("purpose", name)]),
                false => {
                    let values = [("number", &*number.to_string()), ("purpose", name)];
                    self.say_with(Sentence::PartnerLockedSome, &values)
                }
            };
            let _ = writeln!(out, "<p>{sentence}</p>");
        }
    }

    fn write_headers(&self, out: &mut String) {
        let header = escaped(&header_name(self.page.snapshot.purpose_header.as_str()));
        let _ = writeln!(out, "<h2>{}</h2>\n<dl>", self.say(Sentence::PartnerHeaders));
        for (name, sentence) in [
            (&*header, Sentence::PartnerPurposeHeader),
            ("Data-Purpose-Applied", Sentence::PartnerAnswerHeader),
        ] {
            let _ = writeln!(out, "<dt><code>{name}</code></dt><dd>{}</dd>", self.say(sentence));
        }
        out.push_str("</dl>\n");
        let withheld = match self.recipient.report {
            WithheldReport::None => Sentence::PartnerWithheldNothing,
            WithheldReport::Counts => Sentence::PartnerWithheldCounts,
            WithheldReport::Paths => Sentence::PartnerWithheldPaths,
        };
        let _ = writeln!(out, "<p>{}</p>", self.say(withheld));
        if let Some(example) = self.example_request(&header) {
            let _ = writeln!(out, "<p>{}</p>\n<pre>{example}</pre>", self.say(Sentence::PartnerExample));
        }
    }

    /// Returns a request as a command line, escaped.
    fn example_request(&self, header: &str) -> Option<String> {
        let credentials = self.credentials();
        let (credential, view, purpose) = credentials.iter().find_map(|credential| {
            self.routes.iter().find_map(|view| {
                let purpose = view.purposes.iter().find(|purpose| declares(credential, **purpose))?;
                Some((credential, view, *purpose))
            })
        })?;
        let purpose = escaped(self.words.purposes().name(purpose));
        let credential = match credential.kind {
            CredentialKind::ApiKey => {
                format!("-H 'Authorization: Bearer {}'", self.say(Sentence::PartnerYourKey))
            }
            CredentialKind::ClientCertificate => "--cert client.pem --key client.key".to_owned(),
            CredentialKind::SignedToken => {
                format!("-H 'Authorization: Bearer {}'", self.say(Sentence::PartnerYourToken))
            }
        };
        let address = self.page.snapshot.addresses.first().map_or("https://…", String::as_str);
        let method = match view.methods.first()?.as_str() {
            "GET" => String::new(),
            other => format!("-X {other} "),
        };
        let (address, path) = (escaped(address), escaped(&view.route.pattern));
        Some(format!("curl {method}{credential} \\\n  -H '{header}: {purpose}' \\\n  '{address}{path}'"))
    }

    fn write_purposes(&self, out: &mut String) {
        let tree = self.words.purposes();
        let is_served = |purpose: &PurposeId| self.routes.iter().any(|view| view.purposes.contains(purpose));
        let served: Vec<PurposeId> = tree.preorder().into_iter().filter(is_served).collect();
        let _ = writeln!(out, "<h2>{}</h2>", self.say(Sentence::PartnerPurposes));
        if self.routes.iter().any(|view| view.result.needs_case) {
            let _ = writeln!(out, "<p>{}</p>", self.say(Sentence::PartnerCase));
        } else if served.is_empty()
            && let Some(purpose) = self.page.purpose
        {
            let values = [("purpose", tree.name(purpose))];
            let sentence = self.say_with(Sentence::PartnerNotForPurpose, &values);
            let _ = writeln!(out, "<p class=\"alert\">{sentence}</p>");
        } else if self.routes.is_empty() {
            let _ = writeln!(out, "<p class=\"alert\">{}</p>", self.say(Sentence::PartnerNoPurposes));
        }
        if served.is_empty() {
            return;
        }
        out.push_str(&self.page.language.table(&[Sentence::PartnerName, Sentence::PartnerMeaning]));
        for purpose in served {
            let name = tree.name(purpose);
            let meaning = self.title(TermKind::Purpose, name);
            let meaning = self.page.language.cell(Sentence::PartnerMeaning, &meaning);
            let _ = writeln!(out, "<tr><th scope=\"row\"><code>{}</code></th>{meaning}</tr>", escaped(name));
        }
        out.push_str("</tbody>\n</table>\n");
    }

    fn write_routes(&self, out: &mut String) {
        if self.routes.is_empty() {
            return;
        }
        let _ = writeln!(
            out,
            "<h2>{}</h2>\n<p>{}</p>",
            self.say(Sentence::PartnerRoutes),
            self.say(Sentence::PartnerRoutesMeaning)
        );
        for view in self.routes {
            self.write_route(out, view);
        }
    }

    fn write_route(&self, out: &mut String, view: &ReceivedRoute<'_>) {
        let methods: Vec<&str> = view.methods.iter().map(|method| method.as_str()).collect();
        let _ = writeln!(
            out,
            "<section>\n<h3><code>{} {}</code></h3>",
            methods.join(", "),
            escaped(&view.route.pattern)
        );
        if view.purposes.is_empty() {
            let date = view.route.observe_until.map(|until| self.page.language.date(until));
            let values = [("date", &*date.unwrap_or_default())];
            let sentence = self.say_with(Sentence::PartnerObservedOnly, &values);
            let _ = writeln!(out, "<p>{sentence}</p>\n</section>");
            return;
        }
        let purposes: Vec<&str> =
            view.purposes.iter().map(|purpose| self.words.purposes().name(*purpose)).collect();
        let purposes = purposes.join(", ");
        let _ = writeln!(out, "<p>{}</p>", self.say_with(Sentence::PartnerFor, &[("purposes", &purposes)]));
        if view.result.needs_case {
            let _ = writeln!(out, "<p>{}</p>", self.say(Sentence::PartnerNeedsCase));
        }
        if let Some(until) = view.route.observe_until.filter(|_| view.is_observed) {
            let date = self.page.language.date(until);
            let _ = writeln!(out, "<p>{}</p>", self.say_with(Sentence::PartnerObserved, &[("date", &date)]));
        }
        match &view.result.fields {
            None => {
                let _ = writeln!(out, "<p>{}</p>", self.say(Sentence::PartnerUnread));
            }
            Some(fields) => self.write_fields(out, fields),
        }
        if let Some(leave) = view.result.releases_unclassified {
            let sentence = if leave { Sentence::PartnerOthersLeave } else { Sentence::PartnerOthersWithheld };
            let _ = writeln!(out, "<p>{}</p>", self.say(sentence));
        }
        if view.result.is_whole {
            let _ = writeln!(out, "<p>{}</p>", self.say(Sentence::PartnerWhole));
        }
        self.write_query(out, &view.result);
        if let Some(sample) = view.result.sample.as_ref().filter(|_| !view.result.is_empty()) {
            self.write_sample(out, sample);
        }
        out.push_str("</section>\n");
    }

    fn write_fields(&self, out: &mut String, fields: &[FieldResult]) {
        out.push_str(&self.page.language.table(&[
            Sentence::PartnerField,
            Sentence::PartnerHolds,
            Sentence::PartnerForm,
        ]));
        for FieldResult { path, categories, form, depends } in fields.iter().take(MAX_FIELDS) {
            let name = |category: &CategoryId| {
                self.title(TermKind::Category, self.words.categories().name(*category))
            };
            let holds = categories.iter().map(name).collect::<Vec<_>>().join(" + ");
            let when = match (form, depends) {
                (Form::Removed, _) => String::new(),
                (_, true) => {
                    format!("<br><span class=\"quiet\">{}</span>", self.say(Sentence::PartnerDepends))
                }
                (_, false) => {
                    format!("<br><span class=\"quiet\">{}</span>", self.say(Sentence::PartnerAlways))
                }
            };
            let form = format!(
                "<span class=\"form-{}\">{}</span>{when}",
                form.name(),
                self.say(form_sentence(*form))
            );
            let holds = self.page.language.cell(Sentence::PartnerHolds, &holds);
            let form = self.page.language.cell(Sentence::PartnerForm, &form);
            let _ =
                writeln!(out, "<tr><th scope=\"row\"><code>{}</code></th>{holds}{form}</tr>", escaped(path));
        }
        out.push_str("</tbody>\n</table>\n");
        if let Some(more) = fields.len().checked_sub(MAX_FIELDS).filter(|more| *more > 0) {
            let values = [("number", &*more.to_string()), ("url", PURPOSES)];
            let _ = writeln!(out, "<p>{}</p>", self.say_with(Sentence::PartnerFewer, &values));
        }
    }

    fn write_query(&self, out: &mut String, result: &RouteResult) {
        let written = |(name, values): &(String, Vec<String>)| match values.is_empty() {
            true => name.clone(),
            false => format!("{name} ({})", values.join(" | ")),
        };
        let names = result.query.iter().map(written).collect::<Vec<_>>().join(", ");
        let sentence = match names.is_empty() {
            true => self.say(Sentence::PartnerNoQuery),
            false => self.say_with(Sentence::PartnerQuery, &[("names", &names)]),
        };
        let _ = writeln!(out, "<p>{sentence}</p>");
    }

    fn write_sample(&self, out: &mut String, sample: &Sample) {
        let after = match sample.after.is_empty() {
            true => self.say(Sentence::PartnerNothingLeft),
            false => escaped(&sample.after),
        };
        out.push_str("<div class=\"pair\">\n");
        for (title, body) in
            [(Sentence::PartnerBefore, escaped(&sample.before)), (Sentence::PartnerAfter, after)]
        {
            let title = self.say(title);
            let _ = writeln!(out, "<div><p class=\"quiet\">{title}</p>\n<pre>{body}</pre></div>");
        }
        out.push_str("</div>\n");
    }

    /// Writes the resources of the gateway itself that the recipient can read.
    fn write_questions(&self, out: &mut String) {
        let _ = writeln!(out, "<h2>{}</h2>\n<dl>", self.say(Sentence::PartnerOwn));
        let decision = format!("{DECISIONS}{{id}}");
        for (path, sentence) in
            [(PURPOSES, Sentence::PartnerOwnPurposes), (&*decision, Sentence::PartnerOwnDecision)]
        {
            let _ = writeln!(out, "<dt><code>GET {path}</code></dt><dd>{}</dd>", self.say(sentence));
        }
        out.push_str("</dl>\n");
    }

    fn write_notices(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "<h2>{}</h2>\n<p>{}</p>",
            self.say(Sentence::PartnerNotices),
            self.say(Sentence::PartnerNoticesDuty)
        );
        let how = match &self.recipient.notify {
            Notify::Manual => Sentence::PartnerNoticesManual,
            Notify::Webhook(_) => Sentence::PartnerNoticesWebhook,
            Notify::Feed => Sentence::PartnerNoticesFeed,
        };
        let _ = writeln!(out, "<p>{}</p>", self.say(how));
        if let Notify::Feed = self.recipient.notify {
            let _ = writeln!(
                out,
                "<pre>GET {FEED}\nGET {FEED}?after={{next}}</pre>\n<p>{}</p>\n<pre>POST {FEED}/{{id}}/acknowledge</pre>",
                self.say(Sentence::PartnerNoticesAcknowledge)
            );
        }
    }

    fn write_refusals(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "<h2>{}</h2>\n<p>{}</p>",
            self.say(Sentence::PartnerRefusals),
            self.say(Sentence::PartnerRefusalsMeaning)
        );
        out.push_str(&self.page.language.table(&[
            Sentence::PartnerStatus,
            Sentence::PartnerCode,
            Sentence::PartnerDo,
        ]));
        let kind = self.recipient.in_agreement.kind;
        let can_occur = |refusal: &Refusal| match refusal {
            Refusal::AgreementNotInForce => self.words.needs_agreement(kind),
            Refusal::LegalReferenceMissing => self.words.legal_reference_for(kind).is_some(),
            _ => true,
        };
        for refusal in Refusal::ALL.iter().copied().filter(can_occur) {
            self.write_refusal(out, refusal.status().as_str(), refusal);
        }
        let of_api = self.say(Sentence::PartnerStatusOfApi);
        self.write_refusal(out, &of_api, Refusal::UpstreamRefused(http::StatusCode::NOT_FOUND));
        out.push_str("</tbody>\n</table>\n");
    }

    fn write_refusal(&self, out: &mut String, status: &str, refusal: Refusal) {
        let status = self.page.language.cell(Sentence::PartnerStatus, status);
        let advice = self.page.language.cell(Sentence::PartnerDo, &self.say(advice(refusal)));
        let code = refusal.code();
        let _ = writeln!(out, "<tr>{status}<th scope=\"row\"><code>{code}</code></th>{advice}</tr>");
    }
}

/// Returns a header name in its usual spelling.
fn header_name(name: &str) -> String {
    let capital = |part: &str| {
        let mut letters = part.chars();
        letters
            .next()
            .map_or_else(String::new, |first| format!("{}{}", first.to_ascii_uppercase(), letters.as_str()))
    };
    name.split('-').map(capital).collect::<Vec<_>>().join("-")
}

fn form_sentence(form: Form) -> Sentence {
    match form {
        Form::Clear => Sentence::FormClear,
        Form::Masked => Sentence::FormMasked,
        Form::Generalised => Sentence::FormGeneralised,
        Form::Pseudonymised => Sentence::FormPseudonymised,
        Form::Removed => Sentence::FormRemoved,
    }
}

/// Returns what the recipient does about a refusal.
fn advice(refusal: Refusal) -> Sentence {
    match refusal {
        Refusal::PurposeMissing => Sentence::DoPurposeMissing,
        Refusal::PurposeMalformed => Sentence::DoPurposeMalformed,
        Refusal::PurposeUnknown => Sentence::DoPurposeUnknown,
        Refusal::LegalBasisAsPurpose => Sentence::DoLegalBasis,
        Refusal::RequestMalformed => Sentence::DoRequestMalformed,
        Refusal::CredentialMissing => Sentence::DoCredentialMissing,
        Refusal::CredentialInvalid => Sentence::DoCredentialInvalid,
        Refusal::PurposeNotPermitted => Sentence::DoPurposeNotPermitted,
        Refusal::RecipientSuspended => Sentence::DoRecipientSuspended,
        Refusal::AgreementNotInForce => Sentence::DoAgreementNotInForce,
        Refusal::LegalReferenceMissing => Sentence::DoLegalReferenceMissing,
        Refusal::NoRulePermits => Sentence::DoNoRulePermits,
        Refusal::SubjectWithheld => Sentence::DoSubjectWithheld,
        Refusal::NotFound => Sentence::DoNotFound,
        Refusal::ReceiptPending => Sentence::DoReceiptPending,
        Refusal::MethodNotAllowed => Sentence::DoMethodNotAllowed,
        Refusal::RequestTimeout => Sentence::DoRequestTimeout,
        Refusal::DecisionPruned => Sentence::DoDecisionPruned,
        Refusal::BodyTooLarge => Sentence::DoBodyTooLarge,
        Refusal::UriTooLong => Sentence::DoUriTooLong,
        Refusal::ExpectationFailed => Sentence::DoExpectationFailed,
        Refusal::AuthorityNotServed => Sentence::DoAuthorityNotServed,
        Refusal::QueryOnWithheldField => Sentence::DoQueryOnWithheldField,
        Refusal::TooManyRequests => Sentence::DoTooManyRequests,
        Refusal::HeadersTooLarge => Sentence::DoHeadersTooLarge,
        Refusal::MethodNotImplemented => Sentence::DoMethodNotImplemented,
        Refusal::UpstreamUnreadable => Sentence::DoUpstreamUnreadable,
        Refusal::UpstreamUnreachable | Refusal::UpstreamTimeout => Sentence::DoUpstreamUnreachable,
        Refusal::LedgerUnavailable | Refusal::AuditUnavailable | Refusal::LedgerStale => {
            Sentence::DoUnavailable
        }
        Refusal::Overloaded => Sentence::DoOverloaded,
        Refusal::UpstreamRefused(_) => Sentence::DoUpstreamRefused,
    }
}
