//! The sample company API: it answers every caller with complete records.
//!
//! It has no notion of purposes or of the gateway, and no authentication. Some of its paths fail as real services do.
//! All people are invented, see [`super::people`].

use std::borrow::Cow;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::people::{self, SamplePerson, cast, person};
use super::template::fill;

/// The record of one customer.
const CUSTOMER: &str = include_str!("bodies/customer.json");
/// People in one chunk of the long list.
const PEOPLE_PER_CHUNK: u32 = 100;
/// Delay before `/slow` answers.
const SLOW_DELAY: Duration = Duration::from_secs(120);
/// Number of people after whom `/broken/late` stops being JSON.
const BREAKS_AFTER: u32 = 6_000;
/// Pause between chunks of `/broken/late`, so that its beginning has left before it breaks.
const BREAKS_PACE: Duration = Duration::from_millis(5);
/// Longest pause between two chunks that `?pace=` can ask for.
const MAX_PACE: Duration = Duration::from_secs(1);

/// Answers on the listener until the future is dropped.
///
/// # Errors
/// If the listener fails.
pub(super) async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve_connection(stream));
    }
}

/// Answers on one connection until it ends.
pub(super) async fn serve_connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(async |request| Ok::<_, Infallible>(answer(&request).await));
    // A caller may close its connection at any time.
    let _ =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

type ApiResponse = Response<BoxBody<Bytes, Infallible>>;

async fn answer(request: &Request<Incoming>) -> ApiResponse {
    let segments: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    let named = |id: &str| people::number(id).map(person);
    match segments.as_slice() {
        ["customers"] => streamed(PeopleStream::all(pace(request.uri().query()))),
        ["customers", id] => about(named(id), CUSTOMER),
        ["orders"] => whole("application/json", orders()),
        ["tickets", id] => whole("application/json", ticket(id)),
        ["rdap", "domain", name] => whole("application/rdap+json", domain(name)),
        ["payments", "customers", id] => about(named(id), include_str!("bodies/payment-customer.json")),
        ["shop", "customers", id] => about(named(id), include_str!("bodies/shop-customer.json")),
        ["scim", "Users"] => whole("application/scim+json", directory()),
        ["scim", "Users", id] => about(named(id), include_str!("bodies/scim-user.json")),
        ["broken"] => whole("application/json", body(include_str!("bodies/broken.json"), cast::CONSENTING)),
        ["broken", "late"] => streamed(PeopleStream::breaking()),
        ["error"] => failed(),
        ["csv"] => whole("text/csv", body(include_str!("bodies/export.csv"), cast::CONSENTING)),
        ["slow"] => {
            sleep(SLOW_DELAY).await;
            about(Some(person(cast::CONSENTING)), CUSTOMER)
        }
        _ => unknown(),
    }
}

fn full(text: String) -> BoxBody<Bytes, Infallible> {
    Full::new(Bytes::from(text)).boxed()
}

fn respond(status: StatusCode, media_type: &'static str, body: BoxBody<Bytes, Infallible>) -> ApiResponse {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    answer
}

fn whole(media_type: &'static str, text: String) -> ApiResponse {
    respond(StatusCode::OK, media_type, full(text))
}

fn streamed(people: PeopleStream) -> ApiResponse {
    respond(StatusCode::OK, "application/json", people.boxed())
}

fn about(who: Option<SamplePerson>, template: &str) -> ApiResponse {
    match who {
        Some(who) => whole("application/json", render_for(template, &who)),
        None => unknown(),
    }
}

fn unknown() -> ApiResponse {
    respond(StatusCode::NOT_FOUND, "application/json", full(r#"{"error": "no such thing"}"#.to_owned()))
}

/// An error of a database, with a customer's e-mail address in the body and in the reason phrase.
fn failed() -> ApiResponse {
    let who = person(cast::CONSENTING);
    let mut answer = respond(
        StatusCode::INTERNAL_SERVER_ERROR,
        "application/json",
        full(render_for(include_str!("bodies/error.json"), &who)),
    );
    if let Ok(reason) = ReasonPhrase::try_from(format!("Duplicate {}", who.email()).into_bytes()) {
        answer.extensions_mut().insert(reason);
    }
    answer
}

/// Renders a template for one person. A key without a value yields `null`; a test excludes it for all templates.
fn render_for(template: &str, who: &SamplePerson) -> String {
    render(template, |key| who.attribute(key))
}

/// The record of a customer, as `/customers/{id}` answers it.
#[cfg(test)]
pub(super) fn customer(number: u32) -> String {
    body(CUSTOMER, number)
}

fn body(template: &str, number: u32) -> String {
    render_for(template, &person(number))
}

fn render(template: &str, mut value: impl FnMut(&str) -> Option<Cow<'static, str>>) -> String {
    fill(template, |key| value(key).map(|text| escaped(&text))).unwrap_or_else(|_| "null".to_owned())
}

/// Escapes a text for a JSON string.
fn escaped(text: &str) -> String {
    serde_json::Value::from(text).to_string().trim_matches('"').to_owned()
}

/// Buyers, and receivers of their gifts.
const ORDERS: &[(u32, Option<u32>)] = &[
    (cast::CONSENTING, None),
    (cast::ERASED, None),
    (cast::NEVER_ASKED, Some(cast::MINOR)),
    (cast::MINOR, Some(cast::CONSENTING)),
    (cast::UNKNOWN, None),
];

fn orders() -> String {
    let order = |(place, &(buyer, gift)): (usize, &(u32, Option<u32>))| {
        let gift = gift.map_or_else(
            || "null".to_owned(),
            |to| body(include_str!("bodies/gift.json"), to).trim().to_owned(),
        );
        let buyer = person(buyer);
        fill(include_str!("bodies/order.json"), |key| match key {
            "order" => Some((4101 + place).to_string()),
            "gift" => Some(gift.clone()),
            other => buyer.attribute(other).map(|text| escaped(&text)),
        })
        .map_or_else(|_| "null".to_owned(), |text| text.trim_end().to_owned())
    };
    let all: Vec<String> = ORDERS.iter().enumerate().map(order).collect();
    format!("{{\n  \"orders\": [\n{}\n  ],\n  \"count\": {}\n}}\n", all.join(",\n"), all.len())
}

fn ticket(id: &str) -> String {
    let requester = person(cast::NEVER_ASKED);
    render(include_str!("bodies/ticket.json"), |key| match key {
        "ticket" => Some(id.to_owned().into()),
        other => requester.attribute(other),
    })
}

fn domain(name: &str) -> String {
    let (registrant, technical) = (person(cast::REGISTRANT), person(cast::NEVER_ASKED));
    render(include_str!("bodies/rdap-domain.json"), |key| match key.split_once('.') {
        Some(("registrant", key)) => registrant.attribute(key),
        Some(("technical", key)) => technical.attribute(key),
        _ => (key == "domain").then(|| name.to_owned().into()),
    })
}

fn directory() -> String {
    let people = [cast::CONSENTING, cast::NEVER_ASKED, cast::RESTRICTED, cast::NO_PHONE];
    let users: Vec<String> =
        people.map(|number| body(include_str!("bodies/scim-user.json"), number)).to_vec();
    format!(
        "{{\n\"schemas\": [\"urn:ietf:params:scim:api:messages:2.0:ListResponse\"],\n\"totalResults\": {},\n\"Resources\": [{}]\n}}\n",
        users.len(),
        users.join(",")
    )
}

/// Reads `?pace=20`: milliseconds between two chunks of the long list.
fn pace(query: Option<&str>) -> Duration {
    let asked = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("pace=")));
    let pace = asked.and_then(|text| text.parse().ok()).map_or(Duration::ZERO, Duration::from_millis);
    pace.min(MAX_PACE)
}

/// The body of the long list, which is made chunk by chunk and never held in memory as a whole.
struct PeopleStream {
    next: u32,
    /// Number of people after whom it stops being JSON, if it does.
    breaks: Option<u32>,
    pace: Duration,
    pause: Pin<Box<Sleep>>,
}

impl PeopleStream {
    fn all(pace: Duration) -> PeopleStream {
        PeopleStream { next: 1, breaks: None, pace, pause: Box::pin(sleep(Duration::ZERO)) }
    }

    fn breaking() -> PeopleStream {
        PeopleStream { breaks: Some(BREAKS_AFTER), ..PeopleStream::all(BREAKS_PACE) }
    }

    fn chunk(&mut self) -> Option<String> {
        let mut text = match self.next {
            1 => format!("{{\"total\":{},\"items\":[\n", people::POPULATION),
            n if n > people::POPULATION => return None,
            _ => String::new(),
        };
        let last = (self.next + PEOPLE_PER_CHUNK - 1).min(people::POPULATION);
        for number in self.next..=last {
            text.push_str(body(include_str!("bodies/customer-row.json"), number).trim_end());
            text.push_str(if number == people::POPULATION { "\n]}\n" } else { ",\n" });
        }
        self.next = last + 1;
        if self.breaks.is_some_and(|at| last >= at) {
            self.next = people::POPULATION + 1;
            text.push_str("%PDF-1.7 this is not a list any more");
        }
        Some(text)
    }
}

impl Body for PeopleStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.pace.is_zero() {
            ready!(self.pause.as_mut().poll(cx));
            let until = Instant::now() + self.pace;
            self.pause.set(sleep_until(until));
        }
        Poll::Ready(self.chunk().map(|text| Ok(Frame::data(Bytes::from(text)))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn every_template_is_filled_and_is_json() {
        for template in [
            CUSTOMER,
            include_str!("bodies/customer-row.json"),
            include_str!("bodies/payment-customer.json"),
            include_str!("bodies/shop-customer.json"),
            include_str!("bodies/scim-user.json"),
            include_str!("bodies/error.json"),
        ] {
            for number in [1, 2, 6, 4711, people::POPULATION] {
                let text = body(template, number);
                assert!(read(&text).is_object(), "{template}");
            }
        }
        assert!(body(include_str!("bodies/export.csv"), 1).contains("Marta Lindqvale"));
    }

    #[test]
    fn composed_answers_are_json() {
        assert_eq!(read(&orders())["orders"][3]["gift"]["to"]["customer_id"], "c-00001");
        assert_eq!(read(&ticket("T-7"))["id"], "T-7");
        assert_eq!(read(&domain("brandtner.example"))["entities"][0]["handle"], "c-00011");
        assert_eq!(read(&directory())["Resources"][3]["externalId"], "c-00013");
    }

    #[tokio::test]
    async fn the_long_list_holds_everybody_in_order() {
        let mut people = PeopleStream::all(Duration::ZERO);
        let text: String = std::iter::from_fn(|| people.chunk()).collect();
        let list = read(&text);
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), 10_000);
        assert_eq!(items[9_989]["id"], "c-09990");
    }

    #[tokio::test]
    async fn the_breaking_list_is_not_json() {
        let mut people = PeopleStream::breaking();
        let text: String = std::iter::from_fn(|| people.chunk()).collect();
        assert!(text.contains("c-06000") && !text.contains("c-06101"));
        assert!(serde_json::from_str::<Value>(&text).is_err());
    }

    #[test]
    fn a_pace_is_bounded() {
        assert_eq!(pace(Some("a=1&pace=20")), Duration::from_millis(20));
        assert_eq!(
            (pace(None), pace(Some("pace=x")), pace(Some("pace=99999"))),
            (Duration::ZERO, Duration::ZERO, MAX_PACE)
        );
    }

    /// Returns the bytes of a response, up to the end of the connection.
    async fn fetched(target: &str) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let server = tokio::spawn(serve(listener));
        let request = format!("GET {target} HTTP/1.1\r\nHost: crm.example\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        server.abort();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn responses_arrive_over_a_socket() {
        let customer = fetched("/customers/c-00001").await;
        assert!(
            customer.starts_with("HTTP/1.1 200 OK\r\n") && customer.contains("Marta Lindqvale"),
            "{customer}"
        );
        assert!(fetched("/customers/c-99999").await.starts_with("HTTP/1.1 404 "));
        assert!(fetched("/customers").await.contains("transfer-encoding: chunked"));
    }

    #[tokio::test]
    async fn errors_contain_personal_data() {
        let error = fetched("/error").await;
        assert!(error.starts_with("HTTP/1.1 500 Duplicate marta.lindqvale.1@example.org\r\n"), "{error}");
        assert!(fetched("/broken").await.contains("Marta"));
    }
}
