//! The body of an upstream's error: it is held whole, and the members that the route maps leave in the problem document.
//!
//! The refusal is the same with and without members. Invariant: members leave only after they are on record, and only while
//! something may leave at all.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::request::Parts as RequestParts;
use http::response::Parts;
use serde_json::Value;

use super::error_mapping::ErrorMembers;
use super::flow::decode::Decoder;
use super::grant::Grant;
use super::media_type::{MediaType, MediaTypes};
use super::memory::HeldBytes;
use super::record::Extent;
use super::request_values::{EchoedRequest, HeldAccount};
use super::respond::GrantedExchange;
use super::{AdmittedExchange, Refusal, Rejection, response};
use crate::disclosure::record::ExchangeMode;
use crate::scrub::RecordPolicy;
use crate::vocabulary::Form;

/// Maximum bytes of an error's body, decoded. Nothing of a longer one leaves.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// Coded bytes that are decoded at a time.
const CODED_SLICE: usize = 4 * 1024;

/// Reads the body of one error.
pub struct ErrorBody {
    decoder: Decoder,
    state: ErrorBodyState,
    /// Accounts for the bytes.
    held: HeldBytes,
}

enum ErrorBodyState {
    Reading(Vec<u8>),
    Whole(Vec<u8>),
    /// It cannot be decoded, or is too long.
    Unreadable,
}

/// Prints the type's name only: the body is personal data.
impl fmt::Debug for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorBody")
    }
}

impl ErrorBody {
    /// True while the body can have members, and has not ended.
    pub fn wants_more(&self) -> bool {
        matches!(self.state, ErrorBodyState::Reading(_))
    }

    /// Reads the next bytes.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.decoder.is_identity() {
            return self.add(chunk);
        }
        for slice in chunk.chunks(CODED_SLICE) {
            if !self.wants_more() {
                return;
            }
            match self.decoder.feed(slice) {
                Ok(decoded) => self.add(&decoded),
                Err(_) => self.fail(),
            }
        }
    }

    /// Ends the body.
    pub fn finish(&mut self) {
        if self.wants_more() && !self.decoder.is_identity() {
            match self.decoder.finish() {
                Ok(rest) => self.add(&rest),
                Err(_) => self.fail(),
            }
        }
        if let ErrorBodyState::Reading(bytes) = &mut self.state {
            self.state = ErrorBodyState::Whole(std::mem::take(bytes));
        }
    }

    fn add(&mut self, decoded: &[u8]) {
        let ErrorBodyState::Reading(bytes) = &mut self.state else { return };
        if bytes.len() + decoded.len() > MAX_ERROR_BODY || self.held.check_room(decoded.len()).is_err() {
            return self.fail();
        }
        bytes.extend_from_slice(decoded);
        self.held.set(bytes.capacity());
    }

    fn fail(&mut self) {
        self.state = ErrorBodyState::Unreadable;
        self.held.set(0);
    }

    /// Returns the document, if it is whole.
    fn document(&self) -> Option<Value> {
        match &self.state {
            ErrorBodyState::Whole(bytes) => serde_json::from_slice(bytes).ok(),
            ErrorBodyState::Reading(_) | ErrorBodyState::Unreadable => None,
        }
    }
}

impl AdmittedExchange {
    /// Returns a copy of the request for the comparison with an error, if the route maps members of errors.
    /// `forwarded` is the head for the upstream.
    pub(super) fn request_copy(&self, parts: &RequestParts, forwarded: &HeaderMap) -> Option<EchoedRequest> {
        let matched = &self.routing.matched;
        let is_read = matched.route.errors.is_some() && self.routing.mode == ExchangeMode::Enforce;
        let account = || HeldAccount {
            budget: Arc::clone(&self.context.shared.memory),
            recipient: Arc::clone(&self.requester.recipient.name),
        };
        is_read.then(|| EchoedRequest::new(parts, forwarded, &matched.parameters, account()))
    }
}

impl GrantedExchange {
    /// The copy that takes the request's body while it is forwarded, if the route maps members of errors.
    pub fn request_copy(&self) -> Option<Arc<EchoedRequest>> {
        self.request.clone()
    }

    /// Returns the reader of the body of an upstream's error. `None` if no member of it can leave: the route maps none, the response
    /// is refused for another reason or hides existence, or it is neither JSON nor a problem document.
    pub fn error_body(&self, upstream: &Parts, rejection: &Rejection) -> Option<ErrorBody> {
        let route = self.grant.route();
        let refusal = rejection.refusal;
        let is_read = route.errors.is_some()
            && self.request.is_some()
            && matches!(refusal, Refusal::UpstreamRefused(_))
            && !(route.hide_existence && refusal.hiding_existence() != refusal)
            && !self.is_head_request()
            && !response::forbids_transformation(&upstream.headers, &route.media_types);
        let media_type = MediaType::read(&upstream.headers, &MediaTypes::default()).ok();
        media_type.filter(|media_type| is_read && media_type.is_plain_document())?;
        let decoder = Decoder::new(response::coding(&upstream.headers).ok()?).ok()?;
        let held = self.grant.context.shared.memory.hold(self.grant.recipient(), false);
        Some(ErrorBody { decoder, state: ErrorBodyState::Reading(Vec::new()), held })
    }

    /// Maximum time for reading an error: that of a pause of the upstream, within the time of the whole response.
    pub fn error_timeout(&self) -> Duration {
        let context = &self.grant.context;
        let left = context.listener.response_timeout.saturating_sub(context.began.elapsed());
        self.idle_timeout().min(left)
    }

    /// Adds the mapped members of an error to its refusal. Returns after they are on record.
    pub async fn explain(&self, rejection: Rejection, error: Option<ErrorBody>) -> Rejection {
        let document = error.and_then(|error| error.document());
        let members = match document.zip(self.request.as_deref()) {
            Some((document, request)) => self.grant.release_members(&document, request).await,
            None => None,
        };
        Rejection { upstream: members.map(Box::new), ..rejection }
    }
}

impl Grant {
    /// Selects the members of an error, and records them. `None` if none may leave at this moment.
    async fn release_members(&self, document: &Value, request: &EchoedRequest) -> Option<Value> {
        let errors = self.route().errors.as_ref()?;
        let values = errors.read_request(request)?;
        let judged_at = self.epoch();
        let mut policy = self.policy(self.context.shared.clock.now()).ok()?;
        let permit = policy.document_permit();
        let released = |class| permit.form(class) == Form::Clear;
        let ErrorMembers { members, counts } = errors.members(document, &values, released);
        let members = members?;
        policy.account_outside(&permit, &counts);
        let summary = policy.into_summary();
        // The refusal is the closing record.
        self.record(&summary, Extent::Part).await.ok()?;
        self.may_leave(false).ok()?;
        self.hand_out(judged_at, &summary, || members)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::exchange::flow::decode::ContentCoding;
    use crate::exchange::request_values::tests::held;

    /// Reads a body in chunks of a size.
    fn read(coding: ContentCoding, body: &[u8], size: usize) -> ErrorBody {
        let decoder = Decoder::new(coding).unwrap();
        let mut error = ErrorBody { decoder, state: ErrorBodyState::Reading(Vec::new()), held: held() };
        body.chunks(size).for_each(|chunk| error.push(chunk));
        error
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_whole_body_is_a_document() {
        let body = br#"{"code": "required"}"#;
        for (coding, bytes) in [(ContentCoding::Identity, body.to_vec()), (ContentCoding::Gzip, gzip(body))] {
            for size in [1, 7, 100] {
                let mut error = read(coding, &bytes, size);
                assert!(error.wants_more() && error.document().is_none(), "it may go on");
                error.finish();
                assert_eq!(error.document().unwrap()["code"], "required");
            }
        }
    }

    #[test]
    fn a_body_beyond_the_bound_is_read_no_further() {
        let long = vec![b' '; MAX_ERROR_BODY + 1];
        for (coding, bytes) in [(ContentCoding::Identity, long.clone()), (ContentCoding::Gzip, gzip(&long))] {
            let mut error = read(coding, &bytes, 1000);
            error.finish();
            assert!(!error.wants_more() && matches!(error.state, ErrorBodyState::Unreadable));
        }
        // A small body that decodes to much is decoded no further than the bound.
        let large = gzip(&vec![b' '; 64 * MAX_ERROR_BODY]);
        let mut error = read(ContentCoding::Gzip, &large, large.len());
        let decoded = error.decoder.read();
        error.push(&large);
        assert!(!error.wants_more() && error.decoder.read() == decoded);
        let cut = gzip(br#"{"code": "required"}"#);
        let mut error = read(ContentCoding::Gzip, &cut[..cut.len() - 3], 100);
        error.finish();
        assert_eq!(error.document(), None);
    }
}
