//! The opt-out link of every marketing e-mail (P-6b): one click, no credential (RFC 8058).
//!
//! A `POST` of `List-Unsubscribe=One-Click` to a person's link records an objection to marketing. It is in force when
//! the response leaves. The driver reads the body of the `POST`. Invariants: only that `POST` changes anything (mail
//! scanners follow links); every page names the contact; no response discloses if the person is known. Pages are in the
//! language that the browser asks for, say whose marketing it is, and need no script.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    REFERRER_POLICY, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use jiff::Timestamp;

use crate::decision::{ConsentStatus, Subject};
use crate::exchange::concurrency::{ConcurrencyPermit, LimitReached};
use crate::exchange::{Refusal, RequestBodyLimits, SharedState, screen};
use crate::ledger::{self, Entity, EntityKind, Ledger};
use crate::texts::{HtmlPage, PageLanguage, Sentence};
use crate::vocabulary::{PurposeId, SubjectId};

/// Path of the links; the person's token follows.
pub const PATH: &str = "/.well-known/data-purposes/opt-out/";

/// The body of the request that records the objection.
pub const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

/// Maximum bytes of a request's body.
const MAX_BODY: usize = 4096;
/// Maximum time for the body to arrive.
const BODY_TIME: Duration = Duration::from_secs(5);
const PURPOSE: &str = "marketing";
const OBJECTION: &[u8] = br#"{"kind": "objection", "purpose": "marketing", "channel": "one-click"}"#;

const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// True if a request is for an opt-out link.
pub(crate) fn is_opt_out_path(path: &str) -> bool {
    path.starts_with(PATH)
}

/// The next step of a request for an opt-out link.
pub(crate) enum OptOutStep {
    /// The exchange ends with this response.
    Answered(Response<Bytes>),
    /// The response depends on the body.
    ReadBody(OptOutPost),
}

/// The request that records the objection, before its body has been read.
pub(crate) struct OptOutPost {
    person: SubjectId,
    reader: Reader,
    content_type: Option<HeaderValue>,
    /// The bounds of the body.
    pub(crate) body_limits: RequestBodyLimits,
    _permit: ConcurrencyPermit<SubjectId>,
}

/// Begins to answer a request for an opt-out link.
pub(crate) fn begin(shared: &SharedState, parts: &Parts) -> OptOutStep {
    let reader = Reader::of(shared, &parts.headers);
    let step = attempt(shared, parts, &reader);
    step.unwrap_or_else(|refusal| OptOutStep::Answered(refused(shared, &reader, refusal)))
}

fn attempt(shared: &SharedState, parts: &Parts, reader: &Reader) -> Result<OptOutStep, Refusal> {
    let listener = shared.listener(&parts.extensions);
    screen::screen(parts, &listener.authorities).map_err(|rejection| rejection.refusal)?;
    let token = parts.uri.path().strip_prefix(PATH).unwrap_or_default();
    let is_head = parts.method == Method::HEAD;
    let Some(person) = shared.opt_out.links.person(token, shared.ledger.terms().namespaces()) else {
        let page = reader.unchanged(shared, Sentence::OptOutUnreadable, Sentence::OptOutUnreadableMeans);
        return Ok(OptOutStep::Answered(reader.page(StatusCode::NOT_FOUND, &page, is_head)));
    };
    match parts.method {
        Method::GET | Method::HEAD => {
            Ok(OptOutStep::Answered(reader.page(StatusCode::OK, &reader.question(shared), is_head)))
        }
        Method::POST => {
            let permit = shared.opt_out.posts.acquire(&person).map_err(too_many)?;
            Ok(OptOutStep::ReadBody(OptOutPost {
                person,
                reader: reader.clone(),
                content_type: parts.headers.get(CONTENT_TYPE).cloned(),
                body_limits: RequestBodyLimits {
                    max_bytes: MAX_BODY,
                    time: listener.request_timeout.min(BODY_TIME),
                    min_rate: listener.min_body_rate,
                },
                _permit: permit,
            }))
        }
        _ => Err(Refusal::MethodNotAllowed),
    }
}

/// The refusal of one more objection whose body would be awaited.
fn too_many(limit: LimitReached) -> Refusal {
    match limit {
        LimitReached::Total => Refusal::Overloaded,
        LimitReached::PerHolder => Refusal::TooManyRequests,
    }
}

impl OptOutPost {
    /// Returns the response, after the body was read or the read failed.
    pub(crate) async fn finish(self, shared: &SharedState, body: Result<Bytes, Refusal>) -> Response<Bytes> {
        let reader = self.reader.clone();
        self.record(shared, body).await.unwrap_or_else(|refusal| refused(shared, &reader, refusal))
    }

    async fn record(
        self,
        shared: &SharedState,
        body: Result<Bytes, Refusal>,
    ) -> Result<Response<Bytes>, Refusal> {
        let content_type = self.content_type.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
        if !is_one_click(content_type, &body?) {
            return Err(Refusal::RequestMalformed);
        }
        record_objection(shared, self.person.clone(), OBJECTION, || shared.opt_out.check_rate()).await?;
        // The page is the same if the objection was recorded before, because others may hold the link.
        Ok(self.reader.page(StatusCode::OK, &self.reader.done(shared), false))
    }
}

/// Returns the purpose that the objections apply to.
///
/// # Errors
/// [`Refusal::LedgerUnavailable`]: nothing can be recorded.
pub(crate) fn purpose(ledger: &Ledger) -> Result<PurposeId, Refusal> {
    if !ledger.healthy() {
        return Err(Refusal::LedgerUnavailable);
    }
    ledger.terms().purpose(PURPOSE).ok_or(Refusal::LedgerUnavailable)
}

/// True if a person's objection to marketing is in force.
pub(crate) fn has_objected(ledger: &Ledger, marketing: PurposeId, person: &SubjectId) -> bool {
    let is_in_force = |known: Arc<Subject>| {
        let objection = known.objections.iter().find(|objection| objection.purpose == marketing);
        // A later consent may have replaced it in part.
        objection.is_some_and(|objection| {
            known
                .consents
                .iter()
                .all(|consent| consent.status != ConsentStatus::Given || consent.order < objection.order)
        })
    };
    ledger.subject(person).1.is_some_and(is_in_force)
}

/// Records the objection unless it is in force already. It is in force when this returns.
pub(crate) async fn record_objection(
    shared: &SharedState,
    person: SubjectId,
    objection: &[u8],
    check_rate: impl FnOnce() -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let received = Instant::now();
    let ledger = &shared.ledger;
    let marketing = purpose(ledger)?;
    if has_objected(ledger, marketing, &person) {
        return Ok(());
    }
    check_rate()?;
    let draft = ledger::parse(objection, EntityKind::Subject, ledger.terms());
    let draft = draft.map_err(|_| Refusal::LedgerUnavailable)?;
    let kind = draft.kind.name();
    let person = Entity::Subject(person);
    let recorded = ledger.append_without_config_check(&person, draft, None, Timestamp::now()).await;
    recorded.map_err(|_| Refusal::LedgerUnavailable)?;
    shared.metrics.count_event(kind, Some(received.elapsed()));
    Ok(())
}

/// True if a body is `List-Unsubscribe=One-Click`, in either coding of a form (RFC 8058, 3.2).
fn is_one_click(content_type: &[u8], body: &[u8]) -> bool {
    let content_type = String::from_utf8_lossy(content_type).to_ascii_lowercase();
    let Ok(body) = std::str::from_utf8(body) else { return false };
    if content_type.starts_with("multipart/form-data") {
        return body.split("\r\n--").any(|part| {
            let Some((head, value)) = part.split_once("\r\n\r\n") else { return false };
            let head = head.to_ascii_lowercase();
            head.contains("name=\"list-unsubscribe\"") && value.trim_end_matches("\r\n") == "One-Click"
        });
    }
    body.trim_end().split('&').any(|pair| pair == ONE_CLICK)
}

/// Returns the response of a refusal: a page for a browser, a problem document for a mail program.
fn refused(shared: &SharedState, reader: &Reader, refusal: Refusal) -> Response<Bytes> {
    shared.metrics.refusals.with_label_values(&[refusal.code(), ""]).inc();
    let mut response = match reader.is_browser {
        true => {
            let page = reader.unchanged(shared, Sentence::OptOutFailed, Sentence::OptOutFailedMeans);
            reader.page(refusal.status(), &page, false)
        }
        false => problem_document(shared, refusal),
    };
    let headers = response.headers_mut();
    if refusal == Refusal::MethodNotAllowed {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
    }
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if refusal.closes_connection() {
        headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn problem_document(shared: &SharedState, refusal: Refusal) -> Response<Bytes> {
    let contact = contact(shared);
    let problem = refusal.problem(None, contact.as_deref(), None);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

const STYLE: &str = "
main { max-width: 38rem; padding-top: 6vh; }
.choices { display: grid; gap: 1rem; margin: 1.2rem 0 1.6rem; }
.choice { border: 1px solid var(--line); border-radius: .5rem; padding: .9rem 1.1rem 1.1rem; }
.choice h2 { margin: 0 0 .3rem; padding: 0; border: 0; font-size: 1.1rem; } .choice p { margin: 0 0 .8rem; } .choice p:last-child { margin: 0; }
button { font: inherit; font-weight: 600; min-height: 2.9rem; padding: .6rem 1.3rem; border: 0; border-radius: .4rem; background: var(--accent); color: var(--on-accent); cursor: pointer; }
button:hover { background: var(--accent-hover); } button:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; }
@media print { button { border: 1px solid #000; background: #fff; color: #000; } }
";

/// The reader of a page: their language, and the media types that they take.
#[derive(Clone, Debug)]
struct Reader {
    language: PageLanguage,
    /// True if a refusal is shown as a page. Mail programs do not ask for one.
    is_browser: bool,
}

impl Reader {
    fn of(shared: &SharedState, headers: &HeaderMap) -> Reader {
        let joined = |name: HeaderName| {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.collect::<Vec<_>>().join(",")
        };
        Reader {
            language: shared.snapshot().texts.for_header(&joined(ACCEPT_LANGUAGE)),
            is_browser: joined(ACCEPT).to_ascii_lowercase().contains("text/html"),
        }
    }

    /// Returns a heading: with the name of the organisation, if the configuration has it.
    fn heading(&self, named: Sentence, unnamed: Sentence) -> String {
        let text = match self.language.texts().organisation() {
            Some(name) => self.language.html(named, &[("organisation", name)]),
            None => self.language.html(unnamed, &[]),
        };
        format!("<h1>{text}</h1>\n")
    }

    fn paragraph(&self, sentence: Sentence) -> String {
        format!("<p>{}</p>\n", self.language.html(sentence, &[]))
    }

    /// Returns the contact of the policy, for questions.
    fn contact(&self, shared: &SharedState) -> String {
        let contact = contact(shared);
        let contact =
            contact.map(|contact| self.language.html(Sentence::Questions, &[("contact", &contact)]));
        contact.map_or_else(String::new, |contact| format!("<p class=\"quiet\">{contact}</p>\n"))
    }

    /// The page with both choices.
    fn question(&self, shared: &SharedState) -> String {
        let say = |sentence| self.language.html(sentence, &[]);
        format!(
            "{}{}<div class=\"choices\">\n<section class=\"choice\"><h2>{stop}</h2>\n<p>{}</p>\n\
             <form method=\"post\"><input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">\
             <button>{stop}</button></form></section>\n\
             <section class=\"choice\"><h2>{}</h2>\n<p>{}</p></section>\n</div>\n{}",
            self.heading(Sentence::OptOutQuestion, Sentence::OptOutQuestionUnnamed),
            self.paragraph(Sentence::OptOutAbout),
            say(Sentence::OptOutStopMeans),
            say(Sentence::OptOutKeep),
            say(Sentence::OptOutKeepMeans),
            self.contact(shared),
            stop = say(Sentence::OptOutStop),
        )
    }

    /// The page after the objection was recorded.
    fn done(&self, shared: &SharedState) -> String {
        let heading = self.heading(Sentence::OptOutDone, Sentence::OptOutDoneUnnamed);
        let paragraphs =
            [Sentence::OptOutDoneMeans, Sentence::OptOutAgain].map(|sentence| self.paragraph(sentence));
        format!("{heading}{}{}", paragraphs.concat(), self.contact(shared))
    }

    /// A page that says that nothing was changed.
    fn unchanged(&self, shared: &SharedState, heading: Sentence, meaning: Sentence) -> String {
        let heading = self.language.html(heading, &[]);
        format!("<h1>{heading}</h1>\n{}{}", self.paragraph(meaning), self.contact(shared))
    }

    fn page(&self, status: StatusCode, content: &str, head_only: bool) -> Response<Bytes> {
        let title = self.language.plain(Sentence::OptOutTitle, &[]);
        let text = HtmlPage::new(&self.language, title).with_style(STYLE).with(content);
        let mut response = Response::new(if head_only { Bytes::new() } else { Bytes::from(text) });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        for (name, value) in [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
            (REFERRER_POLICY, "no-referrer"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (ROBOTS, "noindex"),
            (VARY, "accept-language, accept"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(tag) = HeaderValue::from_str(self.language.tag()) {
            headers.insert(CONTENT_LANGUAGE, tag);
        }
        response
    }
}

fn contact(shared: &SharedState) -> Option<String> {
    let snapshot = shared.snapshot();
    let version = snapshot.packs.first()?.in_force(Timestamp::now())?;
    Some(version.pack().manifest().contact.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::pages::opt_out_state::OptOut;
    use crate::keys::Keys;

    #[test]
    fn objections_are_recorded_no_faster_than_the_bound() {
        let opt_out = OptOut::new(Keys::random().unwrap().opt_out_links());
        let mut outcomes = (0..100_000).map(|_| opt_out.check_rate());
        assert!(outcomes.by_ref().take(100).all(|outcome| outcome.is_ok()), "a hundred at once");
        assert!(outcomes.any(|outcome| outcome == Err(Refusal::TooManyRequests)));
    }

    #[test]
    fn one_click_is_read_in_either_coding_of_a_form_and_in_no_other_words() {
        let form = b"application/x-www-form-urlencoded";
        let parts = b"multipart/form-data; boundary=x";
        let multipart = |name: &str, value: &str| {
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--x--\r\n")
        };
        assert!(is_one_click(form, b"List-Unsubscribe=One-Click"));
        assert!(is_one_click(form, b"a=b&List-Unsubscribe=One-Click\r\n"));
        assert!(is_one_click(b"", b"List-Unsubscribe=One-Click"));
        assert!(is_one_click(parts, multipart("List-Unsubscribe", "One-Click").as_bytes()));
        for body in [
            "",
            "List-Unsubscribe",
            "List-Unsubscribe=",
            "list-unsubscribe=no",
            "xList-Unsubscribe=One-Click",
        ] {
            assert!(!is_one_click(form, body.as_bytes()), "{body}");
        }
        assert!(!is_one_click(parts, multipart("List-Unsubscribe", "Two-Clicks").as_bytes()));
        assert!(!is_one_click(parts, multipart("Something", "One-Click").as_bytes()));
        assert!(!is_one_click(parts, b"List-Unsubscribe=One-Click"));
        assert!(!is_one_click(form, b"\xff\xfe"));
    }
}
