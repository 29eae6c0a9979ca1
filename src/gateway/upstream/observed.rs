//! The byte stream of a connection, with what hyper does not report: the number of bytes received, the cause of a TLS error
//! after the handshake, and exceeded bounds of HTTP/2.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{FrameCounter, FrameViolation};
use super::tls_fault;
use crate::exchange::upstream_fault::UpstreamFault;

/// Bytes that are read for an alert after writing failed.
const READ_AFTER_ERROR: usize = 1024;

/// Observations on a connection so far.
#[derive(Debug, Default)]
pub(super) struct Observations {
    received: AtomicU64,
    fault: OnceLock<UpstreamFault>,
}

impl Observations {
    /// Number of bytes received.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The fault that ended the connection, if it was observed here. With TLS 1.3 a server refuses a client's certificate
    /// only after the handshake.
    pub(super) fn fault(&self) -> Option<UpstreamFault> {
        self.fault.get().copied()
    }
}

/// A stream that is observed.
#[derive(Debug)]
pub(super) struct ObservedStream<S> {
    stream: S,
    observations: Arc<Observations>,
    /// `None` for HTTP/1.1.
    frames: Option<FrameCounter>,
}

impl<S> ObservedStream<S> {
    pub(super) fn new(stream: S) -> ObservedStream<S> {
        ObservedStream { stream, observations: Arc::default(), frames: None }
    }

    /// Observes the frames of HTTP/2, too.
    pub(super) fn with_frames(stream: S) -> ObservedStream<S> {
        ObservedStream { frames: Some(FrameCounter::new()), ..ObservedStream::new(stream) }
    }

    pub(super) fn observations(&self) -> Arc<Observations> {
        Arc::clone(&self.observations)
    }

    fn observe(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.observations.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let Some(frames) = &mut self.frames else { return Ok(()) };
        frames.read(bytes, Instant::now()).map_err(|violation| {
            let _ = self.observations.fault.set(match violation {
                FrameViolation::InterimAnswers => UpstreamFault::InterimAnswers,
                FrameViolation::ControlFrames => UpstreamFault::Protocol,
            });
            io::Error::from(io::ErrorKind::InvalidData)
        })
    }
}

impl<S: AsyncRead + Unpin> ObservedStream<S> {
    /// Notes the cause if an error is one of TLS.
    fn note_error(&self, error: &io::Error) {
        if let Some(fault) = tls_fault::of_io(error) {
            let _ = self.observations.fault.set(UpstreamFault::Tls(fault));
        }
    }

    /// Looks for the alert of a server that closed the connection while something was written to it. Nobody else would read
    /// it: the connection has failed.
    fn note_alert(&mut self, context: &mut Context<'_>) {
        let mut unread = [0; READ_AFTER_ERROR];
        let mut buffer = ReadBuf::new(&mut unread);
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            self.note_error(&error);
        }
    }

    fn written<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(written, Poll::Ready(Err(_))) && self.observations.fault().is_none() {
            self.note_alert(context);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ObservedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match std::task::ready!(Pin::new(&mut self.stream).poll_read(context, buffer)) {
            Ok(()) => Poll::Ready(self.observe(buffer.filled().get(before..).unwrap_or_default())),
            Err(error) => {
                self.note_error(&error);
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ObservedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.written(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
