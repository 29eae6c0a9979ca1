//! Signing in and out, and the end of a session.

use std::time::Duration;

use super::*;
use crate::gateway::console::session::{MAX_AGE, MAX_IDLE};

async fn console() -> TestConsole {
    TestConsole::with_actors(&[("ops", &[AdminRole::Operator])]).await
}

impl TestConsole {
    fn wait(&self, time: Duration) {
        self.admin.clock.move_forward(time);
    }

    async fn is_signed_in(&self) -> bool {
        let answer = self.get("/").await;
        let is_led_away = answer.status == StatusCode::SEE_OTHER && answer.location() == "/sign-in";
        assert!(is_led_away || answer.status == StatusCode::OK, "{answer:?}");
        !is_led_away
    }
}

#[tokio::test]
async fn a_token_opens_a_session_until_it_is_ended() {
    let mut console = console().await;
    assert!(!console.is_signed_in().await);
    let answer = console.sign_in("ops").await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/"));
    let page = console.get("/").await;
    assert!(page.body.contains("Signed in as <strong>ops</strong>"), "{}", page.body);
    assert!(!page.body.contains("No credentials are configured"));
    assert_eq!(console.get("/sign-in").await.location(), "/", "nobody signs in twice");
    let answer = console.post("/sign-out", &format!("form-token={}", page.form_token())).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/sign-in"));
    assert!(answer.header(SET_COOKIE).contains("Max-Age=0"));
    assert!(!console.is_signed_in().await, "the cookie that the browser kept opens nothing");
}

#[tokio::test]
async fn after_signing_in_the_page_is_shown_that_was_asked_for() {
    let console = console().await;
    let asked = "/console/decisions?recipient=a%20b";
    let sign_in = console.get(asked).await.location().to_owned();
    assert_eq!(sign_in, "/sign-in?page=%2Fconsole%2Fdecisions%3Frecipient%3Da%2520b");
    let page = console.get(&sign_in).await;
    assert!(page.body.contains(&format!("name=\"page\" value=\"{asked}\"")), "{}", page.body);
    let form = format!("form-token={}&page=%2Fconsole%2Fdecisions", page.form_token());
    let answer = console.post("/sign-in", &format!("{form}&token=pga_other")).await;
    assert!(answer.body.contains("name=\"page\" value=\"/console/decisions\""), "{}", answer.body);
    let answer = console.post("/sign-in", &format!("{form}&token=pga_ops")).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/console/decisions"));
    let form = form.replace("%2Fconsole%2Fdecisions", "%2F%2Fevil.example");
    assert_eq!(console.post("/sign-in", &format!("{form}&token=pga_ops")).await.location(), "/");
}

#[tokio::test]
async fn an_ended_session_is_named() {
    let mut console = console().await;
    let ended = "Your session has ended";
    assert!(!console.get("/sign-in").await.body.contains(ended));
    console.sign_in("ops").await;
    console.wait(MAX_IDLE);
    assert_eq!(console.post("/sign-out", "form-token=x").await.location(), "/sign-in");
    assert!(console.get("/sign-in").await.body.contains(ended));
}

#[tokio::test]
async fn a_wrong_token_opens_nothing_and_is_limited() {
    let mut console = console().await;
    let mut statuses = Vec::new();
    for _ in 0..25 {
        let answer = console.sign_in("other").await;
        assert!(console.cookie.is_none() && !answer.body.contains("pga_other"), "{}", answer.body);
        assert_eq!(answer.title(), "Error: Sign in · purposegate");
        assert!(answer.body.contains("aria-invalid=\"true\"") && answer.body.contains("<h1>Sign in</h1>"));
        statuses.push(answer.status.as_u16());
    }
    assert_eq!((statuses[0], statuses[24]), (401, 429), "{statuses:?}");
    let answer = console.sign_in("ops").await;
    assert_eq!(
        answer.status,
        StatusCode::SEE_OTHER,
        "the limit is for failures: behind a proxy all have one address"
    );
}

#[tokio::test]
async fn somebody_can_sign_in_on_a_second_page_that_was_open_before() {
    let mut console =
        TestConsole::with_actors(&[("ops", &[AdminRole::Operator]), ("ada", &[AdminRole::Read])]).await;
    let second = console.get("/sign-in").await.form_token();
    console.sign_in("ops").await;
    let first = console.cookie.clone();
    let answer = console.post("/sign-in", &format!("form-token={second}&token=pga_ada")).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/"), "{}", answer.body);
    assert!(!console.is_signed_in().await, "the first session has ended");
    console.cookie = answer.header(SET_COOKIE).split(';').next().map(str::to_owned);
    assert!(console.cookie != first && console.get("/").await.body.contains("<strong>ada</strong>"));
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_or_old() {
    let mut console = console().await;
    console.sign_in("ops").await;
    console.wait(MAX_IDLE - Duration::from_secs(60));
    assert!(console.is_signed_in().await);
    console.wait(MAX_IDLE);
    assert!(!console.is_signed_in().await);
    console.sign_in("ops").await;
    for _ in 0..16 {
        console.wait(MAX_IDLE - Duration::from_secs(60));
        assert!(console.is_signed_in().await);
    }
    console.wait(MAX_AGE - 16 * (MAX_IDLE - Duration::from_secs(60)));
    assert!(!console.is_signed_in().await, "used all the time, and too old");
}

#[tokio::test]
async fn a_session_ends_with_its_token_and_follows_its_roles() {
    let mut console = console().await;
    console.sign_in("ops").await;
    let replace = |actors: &[(&str, &[AdminRole])]| {
        let replacement = console.admin.api.replacement(&section(actors)).unwrap();
        console.admin.api.replace(replacement);
    };
    assert!(console.get("/").await.body.contains("Disclosure log"));
    replace(&[("ops", &[AdminRole::Cases])]);
    assert!(!console.get("/").await.body.contains("Disclosure log"), "the figures need another role");
    replace(&[("other", &[AdminRole::Operator])]);
    assert!(!console.is_signed_in().await);
    replace(&[("ops", &[AdminRole::Operator])]);
    assert!(!console.is_signed_in().await, "a session that has ended stays ended");
}

#[tokio::test]
async fn the_cookie_is_for_this_host_and_for_no_script() {
    for (is_encrypted, name, secure) in [(true, "__Host-purposegate=", true), (false, "purposegate=", false)]
    {
        let mut console = console().await;
        console.is_encrypted = is_encrypted;
        let answer = console.sign_in("ops").await;
        let cookie = answer.header(SET_COOKIE);
        assert!(cookie.starts_with(name), "{cookie}");
        for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Strict"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert_eq!(cookie.contains("; Secure"), secure, "{cookie}");
        assert!(!cookie.contains("Domain"), "{cookie}");
        assert!(
            !cookie.contains("Max-Age") && !cookie.contains("Expires"),
            "it ends with the browser: {cookie}"
        );
        assert!(console.is_signed_in().await);
        let id = console.cookie.clone().unwrap();
        // 32 bytes in base64.
        assert_eq!(id.split_once('=').unwrap().1.len(), 43);
        console.is_encrypted = !is_encrypted;
        assert!(!console.is_signed_in().await, "the name says over which transport the cookie came");
    }
}

#[tokio::test]
async fn without_credentials_everybody_may_look_and_a_banner_says_so() {
    let console = TestConsole::open().await;
    let answer = console.get("/").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.contains("No credentials are configured"), "{}", answer.body);
    assert!(answer.body.contains("acts are recorded as unverified"));
    assert_eq!(console.get("/sign-in").await.location(), "/");
}
