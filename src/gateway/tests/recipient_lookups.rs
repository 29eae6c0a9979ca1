//! Limits of the decisions, receipts and feeds that recipients ask for at a time.

use http::{Request, StatusCode};
use ulid::Ulid;

use super::fixture::GatewayFixture;
use crate::exchange::ExchangeStart;

const PAGES: &str = "/.well-known/data-purposes";

async fn status(state: &GatewayFixture, path: &str) -> StatusCode {
    let request = Request::get(format!("{PAGES}{path}"));
    match state.begin(request, "order-fulfilment").await {
        ExchangeStart::Answered(response) => response.status(),
        ExchangeStart::Forward(..) => panic!("a page is not forwarded"),
    }
}

#[tokio::test]
async fn look_ups_of_some_recipients_do_not_keep_others_waiting() {
    let state = GatewayFixture::new().await;
    let unknown = format!("/decisions/{}", Ulid::generate());
    let receipt = format!("{unknown}/receipt");
    let shared = &state.shared;
    let other = shared.lookups.acquire(&"other".into()).unwrap();
    assert!(shared.lookups.acquire(&"other".into()).is_err(), "one look-up of each recipient");
    assert_eq!(status(&state, &unknown).await, StatusCode::NOT_FOUND);
    assert_eq!(status(&state, &receipt).await, StatusCode::NOT_FOUND);
    let own = shared.lookups.acquire(&"support".into()).unwrap();
    assert_eq!(status(&state, &unknown).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status(&state, &receipt).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status(&state, "/notices").await, StatusCode::OK, "feeds have a limit of their own");
    drop((other, own));
    assert_eq!(status(&state, &unknown).await, StatusCode::NOT_FOUND);
    let _feeds = [(); 2].map(|()| shared.feed_requests.acquire(&"support".into()).unwrap());
    assert_eq!(status(&state, "/notices").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status(&state, &unknown).await, StatusCode::NOT_FOUND);
}
