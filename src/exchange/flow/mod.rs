//! The flow of one response body: it takes the upstream's bytes and returns the bytes that may leave. On a personal
//! route it is the only way from the upstream's bytes to the recipient.
//!
//! A driver (see [`crate::exchange`]) reads the upstream's body and calls the flow:
//!
//! 1. While [`BodyFlow::wants_more`], push ([`BodyFlow::push`], [`BodyFlow::resume`], [`BodyFlow::finish`]). The bytes
//!    are decoded, scrubbed and gathered in a window, whose size depends on the memory that there is. The driver closes
//!    the window early after [`BodyFlow::window_time`].
//! 2. [`BodyFlow::record`] puts the window on the disclosure log before any of it leaves.
//! 3. [`BodyFlow::hand_out`] returns the window part by part. Right before a part leaves, the ledger is asked if the
//!    state of somebody in it has changed since it was judged. If so, the same input is scrubbed again.
//!
//! The flow has no timers and does not read: the driver waits, keeps the deadlines and drains. Invariants, whatever the
//! order in which a driver calls: a byte leaves only after its window is on the log, and only while the facts that it was
//! judged on are in force; nothing leaves after an error. Chunk boundaries have no effect on the output.

mod content;
pub mod decode;
mod hand_out;
mod observed;
mod part;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use self::content::{ContentScrubber, FieldScrubber, path_permit};
use self::decode::{Decoder, Undecodable};
use self::observed::ObservedBytes;
use self::part::WindowPart;
use super::Refusal;
use super::grant::Grant;
use super::memory::HeldBytes;
use super::route::{OnWithheld, Scrubbing};
use super::transfer::Transfer;
use super::upstream_fault::{ResponseError, UpstreamFault};
use crate::scrub::{Framing, PathIds, RecordPolicy, Scrubber};
use crate::vocabulary::{Form, Operation};

/// Maximum time that scrubbed bytes wait for their window to fill.
const WINDOW_TIME: Duration = Duration::from_millis(20);
/// Maximum time that the head of a response waits for the first decision about its document.
const HEAD_TIME: Duration = Duration::from_secs(1);
/// Bytes after which a part is closed: the ledger is asked again before the next part leaves.
pub const PART_SIZE: usize = 64 * 1024;
/// Maximum bytes that are handed out at once, from a part that one large record makes larger than [`PART_SIZE`]. It
/// bounds the bytes that cannot be recalled from a connection whose recipient reads slowly.
const MAX_HANDED_OUT: usize = 2 * PART_SIZE;
/// Coded bytes that are decoded at a time.
const CODED_SLICE: usize = 16 * 1024;

/// The framing, decoder and delimitation of a body.
#[derive(Debug)]
pub(super) struct Framed {
    pub(super) framing: Framing,
    pub(super) decoder: Decoder,
    /// True if a length, chunks or a coding tell where the body ends.
    pub(super) has_length: bool,
}

/// Bytes that were gathered in the current window.
#[derive(Clone, Copy, Debug, Default)]
struct Gathered {
    /// Bytes that went into the scrubber, decoded.
    read: usize,
    /// Bytes that came out of it.
    written: usize,
}

/// Scrubs one body.
pub struct BodyFlow {
    transfer: Transfer,
    on_withheld: OnWithheld,
    /// Maximum bytes of one record that are held until it is whole.
    max_held: usize,
    framing: Framing,
    decoder: Decoder,
    /// Bytes that were pushed and are not decoded yet: decoding may expand them.
    coded: Bytes,
    scrubber: ContentScrubber,
    parts: VecDeque<WindowPart>,
    /// Number of parts at the front that are on the disclosure log. Only these leave.
    recorded: usize,
    gathered: Gathered,
    /// The account of all bytes that the flow holds.
    held: HeldBytes,
    /// The error of an earlier call. After it nothing more leaves, whatever the driver calls.
    failed: Option<ResponseError>,
    /// True after the end of the body.
    finished: bool,
    /// True until the first byte of the document arrives.
    empty: bool,
    /// True while nothing of the response has left, not even its head.
    is_first_window: bool,
    /// The bytes of an observed body that wait for their judgement; `None` if the body is enforced.
    observed: Option<ObservedBytes>,
}

impl std::fmt::Debug for BodyFlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyFlow").field("finished", &self.finished).finish_non_exhaustive()
    }
}

impl BodyFlow {
    pub(super) fn new(transfer: Transfer, framed: Framed, scrubbing: &Scrubbing) -> BodyFlow {
        let Framed { framing, decoder, has_length } = framed;
        let scrubber = scrubber(&transfer, scrubbing, framing, has_length);
        let is_observed = transfer.grant.is_observed();
        let on_withheld = if is_observed { OnWithheld::Strip } else { scrubbing.on_withheld };
        let is_streamed = on_withheld == OnWithheld::Strip;
        let memory = &transfer.grant.context.shared.memory;
        BodyFlow {
            held: memory.hold(transfer.grant.recipient(), is_streamed),
            on_withheld,
            max_held: scrubbing.limits.record,
            framing,
            decoder,
            coded: Bytes::new(),
            scrubber,
            // Most bodies are one part.
            parts: VecDeque::with_capacity(1),
            recorded: 0,
            gathered: Gathered::default(),
            failed: None,
            finished: false,
            empty: true,
            is_first_window: true,
            observed: is_observed.then(ObservedBytes::default),
            transfer,
        }
    }

    /// Abandons the flow before anything has left, and ends the exchange on the log as refused. The driver then
    /// answers with [`GrantedExchange::refuse`](super::GrantedExchange::refuse).
    pub fn refuse(self, error: ResponseError) {
        self.transfer.grant.end_refused(error.refusal);
    }

    /// The account of the response.
    pub fn transfer(&mut self) -> &mut Transfer {
        &mut self.transfer
    }

    /// True if the window has room and the body has not ended.
    pub fn wants_more(&self) -> bool {
        let bound = match self.on_withheld {
            OnWithheld::Deny { max_body } => max_body.saturating_add(1),
            // While nothing can leave, a refusal can still replace the response.
            OnWithheld::Strip if self.holds_head() => self.held.max_window().saturating_add(self.max_held),
            OnWithheld::Strip => self.held.max_window(),
        };
        !self.finished && self.gathered() < bound
    }

    /// The bytes that went into the window or the bytes that came out, whichever number is larger: both are held until
    /// they leave.
    pub fn gathered(&self) -> usize {
        self.gathered.read.max(self.gathered.written)
    }

    /// The time after which the driver closes the window even if it has room, counted from the last change of this
    /// value; `None` while the window has no deadline.
    pub fn window_time(&self) -> Option<Duration> {
        match self.on_withheld {
            OnWithheld::Deny { .. } => None,
            OnWithheld::Strip if self.gathered() == 0 => None,
            OnWithheld::Strip if self.holds_head() => Some(HEAD_TIME),
            OnWithheld::Strip => Some(WINDOW_TIME),
        }
    }

    /// True if all bytes read so far are held, most likely as part of one record; then the head is held too. The head
    /// of a response that may have no end is not held, because its recipient waits for it.
    fn holds_head(&self) -> bool {
        self.is_first_window && !self.transfer.is_endless() && self.parts.iter().all(WindowPart::is_held)
    }

    /// True after the end of the body. The gathered bytes may still have to be recorded and handed out.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Waits until the next bytes may be scrubbed: a recipient has a few turns at a time. The driver drops the turn after
    /// [`BodyFlow::push`] or [`BodyFlow::resume`].
    pub fn turn(&self) -> impl Future<Output = Option<OwnedSemaphorePermit>> + Send + use<> {
        self.held.turn()
    }

    /// Scrubs the next bytes of the body. `last` is true if the driver knows that the body ends with these bytes.
    ///
    /// A chunk in a content coding is decoded in slices: while [`BodyFlow::has_coded`] is true, [`BodyFlow::resume`]
    /// decodes the next slice.
    ///
    /// # Errors
    /// [`ResponseError`] if the body cannot be read, or if more of it would have to be held than there is memory for.
    pub fn push(&mut self, chunk: Bytes, last: bool) -> Result<(), ResponseError> {
        if self.decoder.is_identity() && self.observed.is_some() {
            self.finished = last;
            return self.observe(chunk, last);
        }
        if self.decoder.is_identity() {
            // `last` tells that the body has ended, so the driver need not wait for an end of stream.
            self.finished = last;
            self.transfer.received(chunk.len());
            return self.scrub(chunk, last);
        }
        // Only the decoder knows if the coded body is complete: `finish` asks it.
        self.coded = chunk;
        self.resume()
    }

    /// True if bytes were pushed that are not decoded yet.
    pub fn has_coded(&self) -> bool {
        !self.coded.is_empty()
    }

    /// Decodes and scrubs the next slice of the pushed bytes.
    ///
    /// # Errors
    /// As [`BodyFlow::push`].
    pub fn resume(&mut self) -> Result<(), ResponseError> {
        let slice = self.coded.split_to(self.coded.len().min(CODED_SLICE));
        if self.observed.is_some() {
            return self.observe(slice, false);
        }
        self.transfer.received(slice.len());
        let mut decoded = Bytes::from(self.decode(|decoder| decoder.feed(&slice))?);
        while !decoded.is_empty() {
            self.scrub(decoded.split_to(decoded.len().min(PART_SIZE)), false)?;
        }
        Ok(())
    }

    /// Scrubs the rest when the body ends. An empty body is no document, and leaves as an empty body; one that is a field is
    /// decided.
    ///
    /// # Errors
    /// As [`BodyFlow::push`].
    pub fn finish(&mut self) -> Result<(), ResponseError> {
        self.finished = true;
        if self.observed.is_some() {
            return self.finish_observed();
        }
        let is_field = self.scrubber.is_field();
        if self.empty && self.decoder.read() == 0 {
            return if is_field { self.scrub(Bytes::new(), true) } else { Ok(()) };
        }
        let rest = self.decode(Decoder::finish)?;
        if self.empty && rest.is_empty() && !is_field {
            return Ok(());
        }
        self.scrub(Bytes::from(rest), true)
    }

    /// Ends the body before its end, because the gateway drains. Bytes of an incomplete text do not leave.
    pub fn end_early(&mut self) {
        self.finished = true;
        self.coded = Bytes::new();
        if let Some(observed) = &mut self.observed {
            observed.clear();
        }
    }

    fn decode(
        &mut self,
        decode: impl FnOnce(&mut Decoder) -> Result<Vec<u8>, Undecodable>,
    ) -> Result<Vec<u8>, ResponseError> {
        decode(&mut self.decoder).map_err(|Undecodable| {
            let error = ResponseError::from(UpstreamFault::Undecodable(self.decoder.coding()));
            self.failed = Some(error);
            error
        })
    }

    fn scrub(&mut self, input: Bytes, last: bool) -> Result<(), ResponseError> {
        self.empty &= input.is_empty();
        self.check_room(input.len()).inspect_err(|error| self.failed = Some(*error))?;
        self.open_part(input.len());
        let Some(part) = self.parts.back_mut() else { return Ok(()) };
        self.gathered.read += input.len();
        let policy = self.transfer.grant.policy(Timestamp::now()).inspect_err(|refusal| {
            self.failed = Some((*refusal).into());
        })?;
        let written = part.scrub(&mut self.scrubber, policy, input, last).inspect_err(|error| {
            self.failed = Some(*error);
        })?;
        self.gathered.written += written;
        self.account();
        Ok(())
    }

    /// Begins a part for this many bytes, unless the last one has room.
    fn open_part(&mut self, capacity: usize) {
        let judged_at = self.transfer.grant.epoch();
        // Held input is one part, even if it is large, because each part keeps a copy of the scrubber.
        let is_open = self.parts.len() > self.recorded && self.parts.back().is_some_and(WindowPart::has_room);
        if !is_open {
            self.parts.push_back(WindowPart::new(&self.scrubber, capacity, judged_at));
        }
    }

    /// Checks that there is memory for more input if nothing of the window can leave without it.
    fn check_room(&self, more: usize) -> Result<(), ResponseError> {
        let can_leave = || self.parts.iter().any(|part| !part.is_held());
        match self.on_withheld {
            OnWithheld::Strip if can_leave() => Ok(()),
            OnWithheld::Strip | OnWithheld::Deny { .. } => {
                self.held.check_room(more).map_err(|_| Refusal::Overloaded.into())
            }
        }
    }

    /// Accounts for the bytes that the flow holds now.
    fn account(&mut self) {
        let in_parts: usize = self.parts.iter().map(WindowPart::held_bytes).sum();
        let waiting = self.observed.as_ref().map_or(0, ObservedBytes::held);
        self.held.set(in_parts + self.coded.len() + self.scrubber.undecided() + waiting);
    }

    fn check_usable(&self) -> Result<(), ResponseError> {
        self.failed.map_or(Ok(()), Err)
    }

    /// True if the whole body is recorded and can leave at once, with its length and without a trailer.
    pub fn is_whole(&self) -> bool {
        let is_large = self.parts.front().is_some_and(|part| part.output_len() > MAX_HANDED_OUT);
        self.finished && self.parts.len() <= 1 && !is_large && !self.transfer.reports()
    }

    /// The trailer that the response ends in, if it has one.
    pub fn trailer(&self) -> Option<HeaderMap> {
        self.transfer.trailer()
    }
}

/// Returns the scrubber of a body.
fn scrubber(
    transfer: &Transfer,
    scrubbing: &Scrubbing,
    framing: Framing,
    has_length: bool,
) -> ContentScrubber {
    if let Some(field) = field_scrubber(&transfer.grant, scrubbing) {
        return ContentScrubber::Field(field);
    }
    let parameters = &transfer.grant.routing.matched.parameters;
    let plan = Arc::clone(&scrubbing.plan);
    let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (&**name, &**value)).collect();
    let scrubber = Scrubber::new(plan, transfer.grant.forms(), &parameters, scrubbing.limits, framing);
    ContentScrubber::Texts(if has_length { scrubber } else { scrubber.of_unknown_length() })
}

/// Returns the scrubber of a body that is one field; `None` if the bodies of the route are texts.
fn field_scrubber(grant: &Grant, scrubbing: &Scrubbing) -> Option<FieldScrubber> {
    let plan = Arc::clone(&scrubbing.plan);
    Some(FieldScrubber::new(plan, scrubbing.whole_body?, &grant.routing.matched.parameters))
}

/// Judges a body that is one field before any of it is read: nothing in it is needed for that. The time of the refusal then
/// tells nothing about the body.
///
/// # Errors
/// The [`Refusal`] for which the body may not leave.
pub(super) fn judge_field(grant: &Grant, scrubbing: &Scrubbing) -> Result<(), Refusal> {
    let Some(field) = field_scrubber(grant, scrubbing) else { return Ok(()) };
    let mut policy = grant.policy(Timestamp::now())?;
    if field.judge(&mut policy) {
        return Ok(());
    }
    let summary = policy.into_summary();
    grant.count_circumstances(&summary);
    // Some rule may release another form of the field, which cannot be made.
    Err(if grant.withholds(&summary) { grant.denial(&summary) } else { Refusal::SubjectWithheld })
}

/// Judges an answer without a record on a route that hides existence: if nothing about the people whom the path names may leave,
/// an answer would tell that they exist.
///
/// # Errors
/// The [`Refusal`] for which the answer may not leave.
pub(super) fn judge_absence(grant: &Grant) -> Result<(), Refusal> {
    let route = grant.route();
    let hides = route.hide_existence && grant.is_all_or_nothing() && !grant.is_observed();
    let Some(scrubbing) = route.scrubbing.as_ref().filter(|_| hides) else { return Ok(()) };
    // The account, the place and the origin that a record states are not known without one.
    if !scrubbing.plan.is_decided_by_path() {
        return Ok(());
    }
    let named = scrubbing.plan.path_identities(&grant.routing.matched.parameters);
    let is_read = route.operation(&grant.context.method) == Operation::Disclose;
    if matches!(named.subjects, PathIds::None) || scrubbing.whole_body.is_some() || !is_read {
        return Ok(());
    }
    let mut policy = grant.policy(Timestamp::now())?;
    let permit = path_permit(&named, &mut policy);
    let may_leave = permit.releases().iter().zip(&scrubbing.personal);
    if may_leave.clone().any(|(release, personal)| *personal && release.form != Form::Removed) {
        return Ok(());
    }
    let counts: Vec<u32> = scrubbing.personal.iter().map(|personal| u32::from(*personal)).collect();
    policy.account(&permit, &counts);
    let summary = policy.into_summary();
    grant.count_circumstances(&summary);
    if grant.withholds(&summary) { Err(grant.denial(&summary)) } else { Ok(()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;
    use std::path::Path;

    use http::{Request, Response};
    use tempfile::TempDir;

    use super::*;
    use crate::assembly::assemble;
    use crate::config;
    use crate::credentials::hash;
    use crate::exchange::{BodyTreatment, ExchangeStart, SharedState, begin};
    use crate::ledger::{Batch, LineResult};

    pub(crate) const KEY: &str = "pgk_test_flow";
    const BODY: &str =
        r#"{"items": [{"id": "p-1", "name": "Ada"}, {"id": "p-2", "name": "Ben"}], "total": 2}"#;

    const ROUTE: &str = r#"
    record = "$.items[*]"
    subject = "@.id"
    [route.fields]
    "$.total" = "aggregate"
    "@.id" = "non-personal"
    "@.name" = "name"
    "#;

    /// The state of a gateway with one route, in a folder of its own. `p-1` and `p-2` consent to marketing.
    pub(crate) struct TestState {
        _folder: TempDir,
        pub(crate) shared: Arc<SharedState>,
    }

    impl TestState {
        pub(crate) async fn new(keys_of_route: &str) -> TestState {
            TestState::with_sections(keys_of_route, "").await
        }

        /// As [`TestState::new`], with further sections of the configuration.
        pub(crate) async fn with_sections(keys_of_route: &str, sections: &str) -> TestState {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("purposegate.toml");
            std::fs::write(&file, configuration(keys_of_route) + sections).unwrap();
            let (config, findings) = config::load(&file);
            let config = config.unwrap_or_else(|| panic!("{findings:#?}"));
            let state = TestState { _folder: folder, shared: assemble(config).unwrap() };
            state.tell("p-1", "consent-given").await;
            state.tell("p-2", "consent-given").await;
            state
        }

        async fn tell(&self, subject: &str, kind: &str) {
            let line =
                format!(r#"{{"subject": "{subject}", "kind": "{kind}", "purpose": "direct-marketing"}}"#);
            let batch = Batch::default();
            let accepted = |line: LineResult| assert!(line.outcome.is_ok(), "{:?}", line.outcome);
            self.shared.ledger.import(line.as_bytes(), batch, Timestamp::now(), accepted).await;
        }

        /// Runs an exchange up to a response in this coding, and returns its flow.
        async fn flow(&self, coding: &str) -> Box<BodyFlow> {
            let request =
                Request::get("/people").header("host", "x").header("data-purpose", "direct-marketing");
            let request = request.header("authorization", format!("Bearer {KEY}")).body(()).unwrap();
            let start = begin(&self.shared, &request.into_parts().0, false).await;
            let ExchangeStart::Forward(granted, _) = start else { panic!("{start:?}") };
            granted.record_intent().await.unwrap();
            let upstream = Response::builder().header("content-type", "application/json");
            let upstream = upstream.header("content-encoding", coding).body(()).unwrap();
            match granted.respond(&upstream.into_parts().0, None).await.unwrap().body {
                BodyTreatment::Scrub(flow) => flow,
                other => panic!("{other:?}"),
            }
        }
    }

    fn configuration(keys_of_route: &str) -> String {
        let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/one-partner-360");
        let hash: String = hash(KEY.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "policy = {:?}\n[listener]\naddress = \"127.0.0.1:0\"\n\
             [[upstream]]\nname = \"crm\"\nurl = \"http://127.0.0.1:9\"\n\
             [[recipient]]\nname = \"support\"\nkind = \"employee\"\ncountry = \"DE\"\n\
             purposes = [\"direct-marketing\"]\ncredentials = [{{ api-key = \"sha256:{hash}\" }}]\n\
             [[route]]\nname = \"people\"\nupstream = \"crm\"\npath = \"/people\"\n{keys_of_route}{ROUTE}",
            pack.display().to_string()
        )
    }

    /// Pushes a body in chunks of a size, records each window and returns all that leaves.
    async fn scrubbed(mut flow: Box<BodyFlow>, body: &[u8], size: usize) -> Result<Vec<u8>, ResponseError> {
        let mut left = Vec::new();
        let mut chunks = body.chunks(size);
        while !flow.is_finished() {
            while flow.wants_more() {
                match chunks.next() {
                    _ if flow.has_coded() => flow.resume()?,
                    Some(chunk) => flow.push(Bytes::copy_from_slice(chunk), false)?,
                    None => flow.finish()?,
                }
            }
            flow.record().await?;
            while let Some(bytes) = flow.hand_out().await? {
                left.extend_from_slice(&bytes);
            }
        }
        flow.transfer().close();
        Ok(left)
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn chunk_boundaries_do_not_matter() {
        let state = TestState::new("").await;
        for (coding, body) in [("identity", BODY.as_bytes().to_vec()), ("gzip", gzip(BODY))] {
            for size in [1, 7, body.len()] {
                let left = scrubbed(state.flow(coding).await, &body, size).await.unwrap();
                assert_eq!(String::from_utf8(left).unwrap(), BODY, "{coding} in chunks of {size}");
            }
        }
    }

    #[tokio::test]
    async fn a_withdrawal_between_push_and_hand_out_takes_effect() {
        let state = TestState::new("").await;
        let mut flow = state.flow("identity").await;
        flow.push(Bytes::from_static(BODY.as_bytes()), true).unwrap();
        flow.record().await.unwrap();
        state.tell("p-1", "consent-withdrawn").await;
        let left = flow.hand_out().await.unwrap().unwrap();
        let left = String::from_utf8(left.to_vec()).unwrap();
        assert!(!left.contains("Ada") && left.contains("Ben"), "{left}");
        assert_eq!(flow.hand_out().await.unwrap(), None);
    }

    #[tokio::test]
    async fn nothing_leaves_before_its_window_is_on_the_log() {
        let state = TestState::new("").await;
        let mut flow = state.flow("identity").await;
        let (first, second) = BODY.as_bytes().split_at(45);
        flow.push(Bytes::from_static(first), false).unwrap();
        assert_eq!(flow.hand_out().await.unwrap(), None, "nothing is recorded yet");
        flow.record().await.unwrap();
        flow.push(Bytes::from_static(second), true).unwrap();
        let left = flow.hand_out().await.unwrap().unwrap();
        assert!(left.len() <= first.len(), "only the recorded part leaves");
        assert_eq!(flow.hand_out().await.unwrap(), None);
        flow.record().await.unwrap();
        let rest = flow.hand_out().await.unwrap().unwrap();
        assert_eq!([left, rest].concat(), BODY.as_bytes());
    }

    #[tokio::test]
    async fn nothing_leaves_after_an_error() {
        let state = TestState::new("").await;
        let mut flow = state.flow("identity").await;
        flow.push(Bytes::from_static(&BODY.as_bytes()[..45]), false).unwrap();
        flow.record().await.unwrap();
        flow.push(Bytes::from_static(b"}]}"), true).unwrap_err();
        assert!(flow.record().await.is_err() && flow.hand_out().await.is_err());
    }

    #[tokio::test]
    async fn a_body_that_ends_without_a_byte_leaves_empty() {
        let state = TestState::new("").await;
        for coding in ["identity", "gzip"] {
            let mut flow = state.flow(coding).await;
            flow.finish().unwrap();
            assert!(!flow.wants_more() && flow.is_finished());
            flow.record().await.unwrap();
            assert_eq!(flow.hand_out().await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn an_unreadable_rest_is_an_error_after_what_came_before() {
        let state = TestState::new("").await;
        let mut flow = state.flow("identity").await;
        flow.push(Bytes::from_static(br#"{"items": [{"id": "p-1", "name": "Ada"}, "#), false).unwrap();
        let error = flow.push(Bytes::from_static(b"}]}"), true).unwrap_err();
        assert!(matches!(error.fault, Some(UpstreamFault::Body(_))), "{error:?}");
        let truncated = gzip(BODY);
        let truncated = &truncated[..truncated.len() - 5];
        let error = scrubbed(state.flow("gzip").await, truncated, 3).await.unwrap_err();
        assert!(matches!(error.fault, Some(UpstreamFault::Undecodable(_))), "{error:?}");
    }

    #[tokio::test]
    async fn a_route_that_denies_releases_all_or_nothing_up_to_its_bound() {
        let state = TestState::new("withheld = \"deny\"\nmax-deny-body = \"1KiB\"\n").await;
        let left = scrubbed(state.flow("identity").await, BODY.as_bytes(), 10).await.unwrap();
        assert_eq!(left, BODY.as_bytes());
        let long = format!("{}{}", " ".repeat(1024), BODY);
        let error = scrubbed(state.flow("identity").await, long.as_bytes(), 100).await.unwrap_err();
        assert_eq!(error.fault, Some(UpstreamFault::TooLong(1024)));
        state.tell("p-2", "consent-withdrawn").await;
        let error = scrubbed(state.flow("identity").await, BODY.as_bytes(), 10).await.unwrap_err();
        assert_eq!(error.refusal, Refusal::SubjectWithheld);
    }
}
