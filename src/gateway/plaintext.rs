//! A plaintext connection: detects HTTP/2 by the first bytes, and makes a cut distinguishable from a regular end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// First bytes of an HTTP/2 connection (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A TCP stream that is reset if it is dropped in the middle of a response without a length. In HTTP/1.0 the end of the
/// connection is the end of such a response, so a cut response must not close the connection regularly.
#[derive(Debug)]
pub(super) struct PlaintextStream {
    stream: TcpStream,
    /// Bytes that were read to detect the protocol; they are read once more by the protocol itself.
    first: BytesMut,
    /// True while an HTTP/1.0 response without a length is under way.
    unframed: Arc<AtomicBool>,
    /// True after a regular shutdown.
    ended: bool,
}

impl PlaintextStream {
    pub(super) fn new(stream: TcpStream) -> PlaintextStream {
        PlaintextStream { stream, first: BytesMut::new(), unframed: Arc::default(), ended: false }
    }

    /// Returns the flag to set while a response without a length is under way.
    pub(super) fn unframed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.unframed)
    }

    /// True if the connection begins with the preface of HTTP/2.
    ///
    /// # Errors
    /// The connection ends or fails before the protocol is known.
    pub(super) async fn begins_http2(&mut self) -> io::Result<bool> {
        loop {
            // Reads at most the length of the preface, as these bytes are copied once more.
            let missing = PREFACE.len().saturating_sub(self.first.len());
            if self.stream.read_buf(&mut (&mut self.first).limit(missing)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !PREFACE.starts_with(&self.first) {
                return Ok(false);
            }
            if self.first.len() == PREFACE.len() {
                return Ok(true);
            }
        }
    }
}

impl AsyncRead for PlaintextStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let PlaintextStream { stream, first, .. } = self.get_mut();
        if !first.is_empty() {
            let some = first.len().min(buffer.remaining());
            buffer.put_slice(&first.split_to(some));
            return Poll::Ready(Ok(()));
        }
        Pin::new(stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for PlaintextStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let plain = self.get_mut();
        plain.ended = true;
        Pin::new(&mut plain.stream).poll_shutdown(context)
    }
}

impl Drop for PlaintextStream {
    fn drop(&mut self) {
        if !self.ended && self.unframed.load(Ordering::Relaxed) {
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_protocol_is_detected_by_the_first_bytes_which_are_read_again() {
        let after = b"\0\0\0\x04\0\0\0\0\0";
        let http2 = [PREFACE, after].concat();
        let cases: [(&[u8], bool); 5] = [
            (&http2, true),
            (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", false),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rx", false),
            (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nP", false),
            (b"G", false),
        ];
        for (bytes, expected) in cases {
            // All at once, and byte by byte.
            for step in [bytes.len(), 1] {
                let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = socket.local_addr().unwrap();
                let sent = bytes.to_vec();
                let sending = tokio::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    for some in sent.chunks(step) {
                        stream.write_all(some).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                });
                let mut plain = PlaintextStream::new(socket.accept().await.unwrap().0);
                assert_eq!(plain.begins_http2().await.unwrap(), expected);
                sending.await.unwrap();
                let mut read = Vec::new();
                plain.read_to_end(&mut read).await.unwrap();
                assert_eq!(read, bytes);
            }
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_within_the_preface_is_an_error() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        stream.write_all(b"PRI").await.unwrap();
        drop(stream);
        let mut plain = PlaintextStream::new(socket.accept().await.unwrap().0);
        assert_eq!(plain.begins_http2().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
