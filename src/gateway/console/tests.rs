//! The console as a browser sees it: requests go to the router, without a socket.

mod cases;
mod certificates;
mod contents;
mod forms;
mod notices;
mod pages;
mod people;
mod recipients;
mod requests;
mod sessions;

use axum::body::Body;
use axum::extract::Request;
use http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::config::{AdminRole, AdminSection};
use crate::exchange::flow::tests::TestState;
use crate::gateway::admin::authentication::{AdminPeer, ClientCertificate};
use crate::gateway::admin::tests::TestAdmin;
use crate::gateway::admin::tests::actors::section;

/// A console, and the browser of one person.
struct TestConsole {
    admin: TestAdmin,
    is_encrypted: bool,
    /// The cookie of the browser: name and value.
    cookie: Option<String>,
    certificate: Option<ClientCertificate>,
}

/// An answer of the console.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: impl http::header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn location(&self) -> &str {
        self.header(LOCATION)
    }

    fn title(&self) -> &str {
        let (_, rest) = self.body.split_once("<title>").unwrap();
        rest.split_once("</title>").unwrap().0
    }

    /// Returns the form token of the page.
    fn form_token(&self) -> String {
        self.hidden("form-token")
    }

    /// Returns the value of a hidden field.
    fn hidden(&self, name: &str) -> String {
        let (_, rest) = self.body.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }
}

impl TestConsole {
    /// Starts a console without credentials.
    async fn open() -> TestConsole {
        TestConsole::with(&AdminSection::default()).await
    }

    async fn with(section: &AdminSection) -> TestConsole {
        TestConsole::on(section, "").await
    }

    /// Starts a console of a gateway whose route has these keys.
    async fn on(section: &AdminSection, keys_of_route: &str) -> TestConsole {
        let admin = TestAdmin::start_on(section, keys_of_route).await;
        TestConsole { admin, is_encrypted: false, cookie: None, certificate: None }
    }

    /// As [`TestConsole::with_actors`], with further sections of the configuration.
    async fn with_sections(actors: &[(&str, &[AdminRole])], sections: &str) -> TestConsole {
        let state = TestState::with_sections("", sections).await;
        let admin = TestAdmin::of_state(&section(actors), state).await;
        TestConsole { admin, is_encrypted: false, cookie: None, certificate: None }
    }

    /// Starts a console with a token for each name, which is the token, too.
    async fn with_actors(actors: &[(&str, &[AdminRole])]) -> TestConsole {
        TestConsole::with(&section(actors)).await
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = match &self.cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        };
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        let peer = AdminPeer {
            address: [127, 0, 0, 1].into(),
            is_encrypted: self.is_encrypted,
            certificate: self.certificate.clone(),
        };
        request.extensions_mut().insert(peer);
        let router = self.admin.console.clone().router();
        let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// Sends a form as a browser does.
    async fn post(&self, path: &str, body: &str) -> Answer {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        let headers = [
            (CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded"),
            (ORIGIN.as_str(), &format!("{scheme}://localhost")),
            ("sec-fetch-site", "same-origin"),
        ];
        self.send(Method::POST, path, &headers, body).await
    }

    /// Sends a form with the token of the session.
    async fn form(&self, path: &str, fields: &str) -> Answer {
        let overview = self.get("/").await;
        // Without credentials the overview has no form to sign out.
        let has_form = overview.body.contains("name=\"form-token\"");
        let page = if has_form { overview } else { self.get("/console/subjects").await };
        self.post(path, &format!("form-token={}&{fields}", page.form_token())).await
    }

    /// Sends a form, and answers the question of the page that asks, with more fields.
    async fn confirm(&self, path: &str, fields: &str, more: &str) -> Answer {
        let question = self.form(path, fields).await;
        let confirmed = question.hidden("confirmed");
        self.form(path, &format!("{fields}&confirmed={confirmed}{more}")).await
    }

    /// Signs in with the token of a name, and keeps the cookie.
    async fn sign_in(&mut self, name: &str) -> Answer {
        let token = self.get("/sign-in").await.form_token();
        let answer = self.post("/sign-in", &format!("form-token={token}&token=pga_{name}")).await;
        let cookie = answer.header(SET_COOKIE).split(';').next().unwrap();
        self.cookie = Some(cookie.to_owned()).filter(|cookie| !cookie.is_empty());
        answer
    }
}

/// A text that would be a script if a page did not escape it, and the same percent-encoded.
const SCRIPT: &str = "<script>alert(1)</script>";
const ENCODED_SCRIPT: &str = "%3Cscript%3Ealert%281%29%3C%2Fscript%3E";

fn assert_has(body: &str, texts: &[&str]) {
    for text in texts {
        assert!(body.contains(text), "no {text} in\n{body}");
    }
}
