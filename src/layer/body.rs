//! The only way from the upstream's bytes to the recipient: decoded, scrubbed, recorded, handed out.
//!
//! Bytes gather in windows (1 MiB or 20 ms). A window is on the disclosure log before any of it
//! leaves. It is handed out in frames, and right before a frame leaves the ledger is asked whether
//! somebody in it has changed since: then the same input is scrubbed again. Invariant: no byte of
//! a record leaves that was judged on what was no longer in force when it left.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::exchange::Refusal;
use crate::exchange::flow::decode::{Decoder, Undecodable};
use crate::exchange::grant::Grant;
use crate::exchange::upstream_fault::{ResponseError, UpstreamFault};
use crate::exchange::window::WindowSummary;
use crate::ledger::Epoch;
use crate::scrub::Scrubber;

/// Most bytes of a window.
const WINDOW: usize = 1 << 20;
/// Longest time that scrubbed bytes wait for their window to fill.
const WINDOW_TIME: Duration = Duration::from_millis(20);
/// Longest time that the head of an answer waits for something of its document to be decided.
const HEAD_TIME: Duration = Duration::from_secs(1);
/// Bytes after which a frame is closed: what is handed out between two looks at the ledger.
const FRAME: usize = 64 * 1024;
/// Most bytes that are handed out at once, of a piece that one large record makes larger than that: a recipient
/// that takes them byte by byte leaves no more beyond recall.
const AT_ONCE: usize = 2 * FRAME;

/// Bytes of a body that leaves nowhere that are read to its end, so that its connection can be used again.
const MAX_DRAINED: usize = 64 * 1024;
/// Time for that.
const DRAIN_TIME: Duration = Duration::from_millis(250);

/// Coded bytes that are undone at a time.
const CODED: usize = 16 * 1024;

/// What an upstream sent.
enum Came {
    Chunk(Bytes),
    /// The body is over.
    End,
    /// Nothing, for as long as that could be waited for.
    Nothing,
}

/// Bytes that went into the scrubber, decoded, and that came out.
#[derive(Clone, Copy, Default)]
struct Taken {
    read: usize,
    written: usize,
}

impl AddAssign for Taken {
    fn add_assign(&mut self, more: Taken) {
        self.read += more.read;
        self.written += more.written;
    }
}

/// Some of a window: what went in, what comes out, and what it was judged on.
struct Piece {
    /// The scrubber before this input, to scrub it again.
    before: Box<Scrubber>,
    /// The upstream's own chunks, not copied.
    input: Vec<Bytes>,
    /// Bytes of them together.
    read: usize,
    /// Whether the document ends with this input.
    last: bool,
    output: Vec<u8>,
    /// What is left of the output once some of it has left.
    rest: Bytes,
    /// What is on record, and so whose changes concern it.
    tally: WindowSummary,
    /// The last judgement's account, where that was not the first.
    again: Option<WindowSummary>,
    judged_at: Epoch,
    /// The piece before it was scrubbed again: this one was written for the state that it left then.
    is_stale: bool,
}

/// Scrubs one upstream body.
pub struct Pump<U> {
    upstream: Pin<Box<U>>,
    decoder: Decoder,
    /// What has come and is not undone: it may become much more.
    coded: Bytes,
    scrubber: Scrubber,
    release: Arc<Grant>,
    pieces: VecDeque<Piece>,
    finished: bool,
    /// Nothing of a document has come.
    empty: bool,
    /// Something was handed out just now.
    busy: bool,
    /// Nothing of the answer has left, not even its head.
    fresh: bool,
}

impl<U> std::fmt::Debug for Pump<U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump").field("finished", &self.finished).finish_non_exhaustive()
    }
}

impl<U> Pump<U>
where
    U: Body<Data = Bytes>,
{
    /// Boxed, as it outlives the future that makes it: else each future around would hold it once more.
    pub fn new(upstream: U, decoder: Decoder, scrubber: Scrubber, release: Arc<Grant>) -> Box<Pump<U>> {
        // Most bodies are one piece.
        let (upstream, pieces) = (Box::pin(upstream), VecDeque::with_capacity(1));
        Box::new(Pump {
            upstream,
            decoder,
            coded: Bytes::new(),
            scrubber,
            release,
            pieces,
            finished: false,
            empty: true,
            busy: false,
            fresh: true,
        })
    }

    /// Reads and scrubs until a window is full, its time is over or the body ends; then puts it on
    /// record. After this, [`Pump::next`] hands it out.
    ///
    /// # Errors
    /// [`Cut`]: the upstream stalls or breaks, the body cannot be read, the record cannot be written.
    pub async fn fill(&mut self) -> Result<(), ResponseError> {
        self.gather(WINDOW, Some(WINDOW_TIME)).await?;
        self.record().await
    }

    /// Reads and scrubs the whole body, up to `bound` bytes, and withholds all of it where a field
    /// of a subject is withheld.
    ///
    /// # Errors
    /// As [`Pump::fill`]; [`Refusal::SubjectWithheld`]; [`Refusal::UpstreamUnreadable`] over the bound.
    pub async fn fill_whole(&mut self, bound: usize) -> Result<(), ResponseError> {
        let gathered = self.gather(bound.saturating_add(1), None).await?;
        if !self.finished || gathered > bound {
            return Err(UpstreamFault::TooLong(bound).into());
        }
        if self.pieces.iter().any(|piece| self.release.withholds(&piece.tally)) {
            return Err(Refusal::SubjectWithheld.into());
        }
        self.record().await
    }

    /// The body as it leaves. One that is whole already, and not large, leaves with its length.
    ///
    /// # Errors
    /// [`Cut`], as [`Pump::next`]: nothing has left yet.
    pub async fn into_answer(mut self: Box<Self>) -> Result<ResponseBody, ResponseError>
    where
        U: Send + 'static,
    {
        let is_large = self.pieces.front().is_some_and(|piece| piece.output.len() > AT_ONCE);
        if !self.finished || self.pieces.len() > 1 || is_large || self.release.reports() {
            return Ok(ResponseBody::streamed(self));
        }
        let bytes = self.next().await?.unwrap_or_default();
        self.release.close();
        Ok(ResponseBody::whole(bytes))
    }

    /// Reads what is left of a body that does not leave; see [`drain`].
    pub async fn drain(&mut self) {
        if !self.finished {
            drain(self.upstream.as_mut()).await;
        }
    }

    /// The next bytes to leave; `None` at the end of the body.
    ///
    /// # Errors
    /// [`Cut`], as [`Pump::fill`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, ResponseError> {
        if std::mem::take(&mut self.busy) {
            // A window is much to write at once: what is small gets in between.
            tokio::task::yield_now().await;
        }
        loop {
            if let Some(mut piece) = self.pieces.pop_front() {
                let release = Arc::clone(&self.release);
                let output = loop {
                    let left = if piece.is_stale { None } else { piece.leave(&release)? };
                    match left {
                        Some(output) => break output,
                        None => self.scrub_again(&mut piece).await?,
                    }
                };
                if !piece.rest.is_empty() {
                    self.pieces.push_front(piece);
                }
                if !output.is_empty() {
                    self.busy = true;
                    return Ok(Some(output));
                }
            } else if self.finished {
                return Ok(None);
            } else {
                self.fill().await?;
            }
        }
    }

    /// Scrubs the first piece again. What it leaves open may differ now (whether an array has an element
    /// yet), so the piece after it goes on from there, and is scrubbed again in its turn.
    async fn scrub_again(&mut self, piece: &mut Piece) -> Result<(), ResponseError> {
        let after = piece.scrub_again(&self.release).await?;
        match self.pieces.front_mut() {
            Some(next) => {
                *next.before = after;
                next.is_stale = true;
            }
            None => self.scrubber = after,
        }
        Ok(())
    }

    /// Reads and scrubs that many bytes at least, unless the time is over or the body ends before. How many went in
    /// or came out, whichever is more: both are held until they leave.
    async fn gather(&mut self, bytes: usize, time: Option<Duration>) -> Result<usize, ResponseError> {
        let (mut taken, mut gathered, mut unyielded) = (Taken::default(), 0, 0);
        let mut deadline: Option<Instant> = None;
        // As long as nothing can leave, what is wrong with the body can still be said instead of it.
        let held = if time.is_some() { bytes.saturating_add(self.release.most_held()) } else { bytes };
        let mut waiting = self.is_waiting();
        while !self.finished && gathered < if waiting { held } else { bytes } {
            let came = self.read(deadline).await?;
            taken += match came {
                Came::Chunk(chunk) => self.scrub(chunk)?,
                Came::End => self.scrub_end()?,
                Came::Nothing => break,
            };
            let before = std::mem::replace(&mut gathered, taken.read.max(taken.written));
            let waited = std::mem::replace(&mut waiting, self.is_waiting());
            if gathered > 0 && (deadline.is_none() || waited != waiting) {
                deadline = time.map(|time| Instant::now() + if waiting { HEAD_TIME } else { time });
            }
            // The work on a large body yields to other exchanges.
            unyielded += gathered - before;
            if unyielded >= FRAME {
                unyielded = 0;
                tokio::task::yield_now().await;
            }
        }
        self.fresh = false;
        Ok(gathered)
    }

    /// Whether all of the answer that was read is held, so far: part of one record, most likely. The head
    /// of one that may have no end leaves nonetheless: its recipient waits for that.
    fn is_waiting(&self) -> bool {
        let nothing_decided = || self.pieces.iter().all(|piece| piece.output.is_empty());
        self.fresh && !self.release.is_endless() && nothing_decided()
    }

    /// What the upstream sends next, until the deadline; of what is coded, some of it.
    async fn read(&mut self, deadline: Option<Instant>) -> Result<Came, ResponseError> {
        if self.coded.is_empty() {
            match self.receive(deadline).await? {
                Came::Chunk(chunk) if !self.decoder.is_identity() => self.coded = chunk,
                came => return Ok(came),
            }
        }
        Ok(Came::Chunk(self.coded.split_to(self.coded.len().min(CODED))))
    }

    /// What the upstream sends next. Trailers are dropped.
    async fn receive(&mut self, deadline: Option<Instant>) -> Result<Came, ResponseError> {
        let upstream = &mut self.upstream;
        let mut next = pin!(async {
            loop {
                match upstream.frame().await {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(chunk) if chunk.is_empty() => {}
                        Ok(chunk) => return Ok(Came::Chunk(chunk)),
                        Err(_trailers) => {}
                    },
                    Some(Err(_)) => return Err(ResponseError::from(UpstreamFault::Broken)),
                    None => return Ok(Came::End),
                }
            }
        });
        // Often it is here already, and there is nothing to time.
        if let Poll::Ready(next) = futures_util::poll!(next.as_mut()) {
            return next;
        }
        let waiting = Instant::now();
        let idle = self.release.upstream_idle();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(waiting));
        let came = tokio::time::timeout(left.map_or(idle, |left| left.min(idle)), next).await;
        self.release.waited(waiting.elapsed())?;
        came.unwrap_or(match left {
            Some(left) if left <= idle => Ok(Came::Nothing),
            _ => Err(UpstreamFault::IdleTimeout.into()),
        })
    }

    fn scrub(&mut self, chunk: Bytes) -> Result<Taken, ResponseError> {
        self.release.received(chunk.len());
        if self.decoder.is_identity() {
            // Whoever said how long the body is has said when it ends: nothing else need be awaited. A decoder has
            // to be asked for its own end.
            self.finished = self.upstream.is_end_stream();
            return self.feed(chunk, self.finished);
        }
        let (mut decoded, mut taken) =
            (Bytes::from(self.decode(|decoder| decoder.feed(&chunk))?), Taken::default());
        while !decoded.is_empty() {
            taken += self.feed(decoded.split_to(decoded.len().min(FRAME)), false)?;
        }
        Ok(taken)
    }

    /// Scrubs what is left when the body ends. A body of no bytes is none: it is as empty as it came.
    fn scrub_end(&mut self) -> Result<Taken, ResponseError> {
        self.finished = true;
        if self.empty && self.decoder.read() == 0 {
            return Ok(Taken::default());
        }
        let rest = self.decode(Decoder::finish)?;
        if self.empty && rest.is_empty() {
            return Ok(Taken::default());
        }
        self.feed(Bytes::from(rest), true)
    }

    fn decode(
        &mut self,
        undo: impl FnOnce(&mut Decoder) -> Result<Vec<u8>, Undecodable>,
    ) -> Result<Vec<u8>, ResponseError> {
        undo(&mut self.decoder)
            .map_err(|Undecodable| UpstreamFault::Undecodable(self.decoder.coding()).into())
    }

    fn feed(&mut self, input: Bytes, last: bool) -> Result<Taken, ResponseError> {
        self.empty &= input.is_empty();
        let judged_at = self.release.epoch();
        // What is held is one piece, however much it is: each keeps the scrubber before it.
        let has_room = |piece: &Piece| piece.output.is_empty() || piece.output.len().max(piece.read) < FRAME;
        let open = self.pieces.back().is_some_and(has_room);
        if !open {
            let before = Box::new(self.scrubber.clone());
            let piece = Piece {
                before,
                input: Vec::new(),
                read: 0,
                last: false,
                output: Vec::with_capacity(input.len()),
                rest: Bytes::new(),
                tally: WindowSummary::default(),
                again: None,
                judged_at,
                is_stale: false,
            };
            self.pieces.push_back(piece);
        }
        let Some(piece) = self.pieces.back_mut() else { return Ok(Taken::default()) };
        piece.read += input.len();
        piece.last = last;
        let before = piece.output.len();
        let mut judgement = self.release.judgement(Timestamp::now()).ok_or(Refusal::UpstreamUnreadable)?;
        self.scrubber.feed(&input, &mut judgement, &mut piece.output)?;
        if last {
            self.scrubber.finish(&mut judgement, &mut piece.output)?;
        }
        piece.tally.merge(judgement.into_summary());
        let taken = Taken { read: input.len(), written: piece.output.len() - before };
        piece.input.push(input);
        Ok(taken)
    }

    /// Puts the window on the disclosure log.
    async fn record(&mut self) -> Result<(), ResponseError> {
        let mut together = WindowSummary::default();
        let window = match self.pieces.front() {
            Some(only) if self.pieces.len() == 1 => &only.tally,
            _ => {
                self.pieces.iter().for_each(|piece| together.merge(piece.tally.clone()));
                &together
            }
        };
        if self.pieces.iter().all(|piece| piece.output.is_empty()) && window.records == 0 {
            return Ok(());
        }
        self.release.record(window).await.map_err(ResponseError::from)
    }
}

impl Piece {
    /// Its next bytes; `None` where somebody in it has changed since it was judged.
    fn leave(&mut self, release: &Grant) -> Result<Option<Bytes>, ResponseError> {
        release.may_leave().map_err(ResponseError::from)?;
        let (output, rest) = (&mut self.output, &mut self.rest);
        let begins = rest.is_empty();
        let bytes = release.hand_out(self.judged_at, &self.tally, || {
            if begins {
                *rest = Bytes::from(std::mem::take(output));
            }
            rest.split_to(rest.len().min(AT_ONCE))
        });
        if let Some(bytes) = &bytes {
            if begins {
                release.report(self.again.as_ref().unwrap_or(&self.tally));
            }
            release.sent(bytes.len());
        }
        Ok(bytes)
    }

    /// Scrubs it again from what is known now; on record again where more would leave than was. Returns the
    /// scrubber after it.
    async fn scrub_again(&mut self, release: &Grant) -> Result<Scrubber, ResponseError> {
        if !self.rest.is_empty() {
            // The beginning of it has left.
            return Err(Refusal::SubjectWithheld.into());
        }
        self.judged_at = release.epoch();
        self.is_stale = false;
        self.output.clear();
        let mut scrubber = (*self.before).clone();
        let mut judgement = release.judgement(Timestamp::now()).ok_or(Refusal::UpstreamUnreadable)?;
        for chunk in &self.input {
            scrubber.feed(chunk, &mut judgement, &mut self.output)?;
        }
        if self.last {
            scrubber.finish(&mut judgement, &mut self.output)?;
        }
        let judged = judgement.into_summary();
        if release.is_all_or_nothing() && release.withholds(&judged) {
            return Err(Refusal::SubjectWithheld.into());
        }
        let ask_again = judged.valid_until;
        if judged.discloses_more_than(&self.tally) {
            release.record(&judged).await.map_err(ResponseError::from)?;
            self.tally.merge(judged.clone());
        }
        self.tally.valid_until = ask_again;
        self.again = Some(judged);
        Ok(scrubber)
    }
}

/// Reads a body that does not leave to its end, within bounds. A connection whose body is dropped before is closed: a
/// refusal would cost the next request more than a release, and so tell of it what is not to be told.
pub async fn drain<U: Body<Data = Bytes>>(mut body: Pin<&mut U>) {
    if body.is_end_stream() || body.size_hint().lower() > MAX_DRAINED as u64 {
        return;
    }
    let drained = async {
        let mut left = MAX_DRAINED;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else { break };
            left = rest;
        }
    };
    // What takes longer is closed.
    let _ = tokio::time::timeout(DRAIN_TIME, drained).await;
}

/// Whether a body has no bytes, however it is framed. What it has is drained.
///
/// # Errors
/// The [`Cause`]: nothing comes within `idle`, or the connection ends.
pub async fn is_empty<U: Body<Data = Bytes>>(body: U, idle: Duration) -> Result<bool, UpstreamFault> {
    let mut body = pin!(body);
    let first = async {
        loop {
            match body.frame().await {
                Some(Ok(frame)) if frame.data_ref().is_none_or(Bytes::is_empty) => {}
                Some(Ok(_)) => return Ok(false),
                Some(Err(_)) => return Err(UpstreamFault::Broken),
                None => return Ok(true),
            }
        }
    };
    let is_empty = tokio::time::timeout(idle, first).await.unwrap_or(Err(UpstreamFault::IdleTimeout))?;
    if !is_empty {
        drain(body).await;
    }
    Ok(is_empty)
}

/// A body that the gate lets leave.
pub enum ResponseBody {
    /// Known in full when the head leaves.
    Whole(Option<Bytes>),
    /// Handed out piece by piece; an error cuts the connection.
    Streamed(Pin<Box<dyn Body<Data = Bytes, Error = ResponseError> + Send>>),
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

impl ResponseBody {
    pub fn empty() -> ResponseBody {
        ResponseBody::Whole(None)
    }

    pub fn whole(bytes: Bytes) -> ResponseBody {
        ResponseBody::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// A body that passes unread. The release closes when the body has been taken, or is dropped.
    pub fn passing<U>(body: U, release: Arc<Grant>) -> ResponseBody
    where
        U: Body<Data = Bytes> + Send + 'static,
    {
        if body.is_end_stream() {
            release.close();
            return ResponseBody::empty();
        }
        let frames =
            futures_util::stream::unfold((Box::pin(body), release), |(mut body, release)| async move {
                loop {
                    let waiting = Instant::now();
                    let frame = tokio::time::timeout(release.upstream_idle(), body.frame()).await;
                    let waited = release.waited(waiting.elapsed());
                    let cut = match frame {
                        _ if waited.is_err() => ResponseError::from(UpstreamFault::BodyTimeout),
                        Ok(Some(Ok(frame))) => {
                            match frame.into_data().map(|chunk| (chunk, release.may_leave())) {
                                Ok((_, Err(ended))) => ended.into(),
                                Ok((chunk, Ok(()))) => {
                                    release.received(chunk.len());
                                    release.sent(chunk.len());
                                    // Where its length is known nobody asks for what comes after it.
                                    if body.is_end_stream() {
                                        release.close();
                                    }
                                    return Some((Ok(Frame::data(chunk)), (body, release)));
                                }
                                Err(_trailers) => continue,
                            }
                        }
                        Ok(None) => {
                            release.close();
                            return None;
                        }
                        Ok(Some(Err(_))) => UpstreamFault::Broken.into(),
                        Err(_) => UpstreamFault::IdleTimeout.into(),
                    };
                    release.abort(cut);
                    return Some((Err(cut), (body, release)));
                }
            });
        ResponseBody::Streamed(Box::pin(http_body_util::StreamBody::new(frames)))
    }

    /// What a pump hands out, frame by frame. The closing record is written when the last frame was
    /// taken; a pump that is dropped before closes as aborted.
    fn streamed<U>(pump: Box<Pump<U>>) -> ResponseBody
    where
        U: Body<Data = Bytes> + Send + 'static,
    {
        let frames = futures_util::stream::unfold(Some(pump), |pump| async move {
            let mut pump = pump?;
            match pump.next().await {
                Ok(Some(bytes)) => Some((Ok(Frame::data(bytes)), Some(pump))),
                Ok(None) => {
                    pump.release.close();
                    pump.release.trailer().map(|trailer| (Ok(Frame::trailers(trailer)), None))
                }
                Err(cut) => {
                    pump.release.abort(cut);
                    Some((Err(cut), None))
                }
            }
        });
        ResponseBody::Streamed(Box::pin(http_body_util::StreamBody::new(frames)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        match self.get_mut() {
            ResponseBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            ResponseBody::Streamed(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Whole(bytes) => bytes.is_none(),
            ResponseBody::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            ResponseBody::Streamed(body) => body.size_hint(),
        }
    }
}
