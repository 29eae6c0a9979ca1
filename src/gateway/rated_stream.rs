//! A connection whose peer has to take what is written at a lowest rate.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::delivery_rate::{MinimumRate, RateMeter};

/// A stream whose writes fail with [`io::ErrorKind::TimedOut`] if its peer takes the bytes too slowly.
#[derive(Debug)]
pub(super) struct RatedStream<T> {
    stream: T,
    meter: RateMeter,
    /// Wakes the writer when the peer may be too slow. Made when a write first has to wait.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T> RatedStream<T> {
    pub(super) fn new(stream: T, minimum: MinimumRate) -> RatedStream<T> {
        RatedStream { stream, meter: RateMeter::new(minimum), timer: None }
    }

    /// Measures the outcome of a write.
    fn measured(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.wait(context).map(Err),
            Poll::Ready(Ok(bytes)) => {
                self.meter.take(bytes, Instant::now());
                Poll::Ready(Ok(bytes))
            }
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }

    /// Waits until the peer is too slow.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.meter.offer(Instant::now());
        while let Some(deadline) = self.meter.deadline() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(context).is_pending() {
                break;
            }
            if self.meter.is_too_slow(Instant::now()) {
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the peer reads too slowly"));
            }
        }
        Poll::Pending
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for RatedStream<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for RatedStream<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let rated = self.get_mut();
        let written = Pin::new(&mut rated.stream).poll_write(context, bytes);
        rated.measured(written, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let rated = self.get_mut();
        let written = Pin::new(&mut rated.stream).poll_write_vectored(context, bytes);
        rated.measured(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// TLS holds bytes that a flush sends: while it waits, they are offered.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let rated = self.get_mut();
        let flushed = Pin::new(&mut rated.stream).poll_flush(context).map_ok(|()| 0);
        rated.measured(flushed, context).map_ok(|_| ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let rated = self.get_mut();
        let ended = Pin::new(&mut rated.stream).poll_shutdown(context).map_ok(|()| 0);
        rated.measured(ended, context).map_ok(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// 5,000 bytes in each period.
    const RATE: MinimumRate = MinimumRate { bytes_per_second: 10_000, period: Duration::from_millis(500) };

    /// Writes 64 KiB to a peer that reads `bytes` every `pause`.
    async fn write(bytes: usize, pause: Duration) -> io::Result<()> {
        let (near, mut far) = duplex(4096);
        let reading = tokio::spawn(async move {
            let mut some = vec![0; bytes];
            while far.read_exact(&mut some).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        });
        let mut stream = RatedStream::new(near, RATE);
        let written = stream.write_all(&vec![0; 64 << 10]).await;
        reading.abort();
        written
    }

    #[tokio::test]
    async fn a_peer_that_reads_too_slowly_fails_the_write() {
        let millisecond = Duration::from_millis(1);
        for (bytes, pause) in [(1, 20 * millisecond), (100, 100 * millisecond), (1, 1000 * millisecond)] {
            let written = write(bytes, pause).await;
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut, "{bytes} {pause:?}");
        }
        for (bytes, pause) in [(4096, millisecond), (4096, 100 * millisecond)] {
            write(bytes, pause).await.unwrap();
        }
    }
}
