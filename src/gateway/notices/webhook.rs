//! Sends a notice to the server of a recipient, signed as Standard Webhooks describes (<https://www.standardwebhooks.com>).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, InvalidHeaderValue};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use ring::hmac;
use serde_json::json;

use crate::config::TlsError;
use crate::config::http_url::HttpUrlError;
use crate::config::tls_client::ClientTlsFiles;
use crate::exchange::route::NoticeWebhook;
use crate::gateway::http_client::{HttpClient, HttpLimits, PostError};
use crate::notices::Notice;

/// Bounds of one answer. Its body is not used.
const LIMITS: HttpLimits = HttpLimits { time: Duration::from_secs(20), max_body: 64 << 10 };

/// The outcome of an attempt to send a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Posting {
    /// The recipient has accepted it.
    Accepted,
    /// The recipient has answered, and has not accepted it.
    Refused,
    /// There was no answer.
    Unreachable,
}

/// Reason for which no request can be sent to a recipient: the files that were checked at load can have changed since.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebhookClientError {
    #[error(transparent)]
    Url(#[from] HttpUrlError),
    #[error("the authorities of its server cannot be used: {0}")]
    Tls(#[from] TlsError),
    #[error("it has no secret")]
    NoSecret,
}

/// Sends notices to one recipient.
pub(super) struct WebhookClient {
    http: HttpClient,
    key: hmac::Key,
}

impl WebhookClient {
    /// Makes a client that signs with this secret. Blocks while the authorities are read.
    ///
    /// # Errors
    /// [`WebhookClientError`].
    pub(super) fn new(webhook: &NoticeWebhook, secret: &[u8]) -> Result<WebhookClient, WebhookClientError> {
        let url = webhook.url.parse()?;
        let files = ClientTlsFiles { ca: webhook.ca.clone(), identity: None };
        let http = HttpClient::new(url, &files, LIMITS)?;
        Ok(WebhookClient { http, key: hmac::Key::new(hmac::HMAC_SHA256, secret) })
    }

    /// Sends a notice. The id stays the same with each repetition, so that the recipient recognises one that it has.
    pub(super) async fn post(&self, notice: &Notice, now: Timestamp) -> Posting {
        let kind = format!("data.{}", notice.state.event.name());
        let body = json!({ "type": kind, "timestamp": now, "data": notice.state.data() }).to_string();
        let id = notice.id().to_string();
        let Ok(headers) = self.headers(&id, now.as_second(), &body) else { return Posting::Unreachable };
        match self.http.post(headers, Bytes::from(body)).await {
            Ok(()) => Posting::Accepted,
            Err(PostError::Status(status, _)) => {
                let (recipient, status) = (notice.recipient(), status.as_u16());
                tracing::info!(%recipient, status, "a recipient does not accept a notice; it is sent again");
                Posting::Refused
            }
            Err(PostError::Http(error)) => {
                let recipient = notice.recipient();
                tracing::info!(%recipient, %error, "a notice cannot be sent; it is sent again");
                Posting::Unreachable
            }
        }
    }

    fn headers(&self, id: &str, seconds: i64, body: &str) -> Result<HeaderMap, InvalidHeaderValue> {
        let signature = signature(&self.key, id, seconds, body);
        Ok(HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (HeaderName::from_static("webhook-id"), HeaderValue::from_str(id)?),
            (HeaderName::from_static("webhook-timestamp"), HeaderValue::from(seconds)),
            (HeaderName::from_static("webhook-signature"), HeaderValue::from_str(&signature)?),
        ]))
    }
}

/// Returns the value of `webhook-signature`: `v1,` and the HMAC-SHA256 of id, time and body in base64.
fn signature(key: &hmac::Key, id: &str, seconds: i64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let signed =
            signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn authorities_that_are_gone_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("authorities.pem");
        let webhook =
            NoticeWebhook { url: "https://hooks.example/in".to_owned(), secret: None, ca: Some(ca.clone()) };
        let error = WebhookClient::new(&webhook, b"secret").err().unwrap();
        assert!(error.to_string().contains(ca.to_str().unwrap()), "{error}");
    }
}
