//! Content codings of the upstream's answer, undone as it streams, with a bound on expansion.

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// A single content coding (RFC 9110, 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// The coding of this name; `None` for an unknown one or a list of them.
    pub fn parse(name: &str) -> Option<Coding> {
        match name.trim().to_ascii_lowercase().as_str() {
            "identity" => Some(Coding::Identity),
            "gzip" | "x-gzip" => Some(Coding::Gzip),
            "deflate" => Some(Coding::Deflate),
            "br" => Some(Coding::Brotli),
            "zstd" => Some(Coding::Zstd),
            _ => None,
        }
    }
}

/// Most bytes out for a byte in, once [`FREE_EXPANSION`] bytes came out.
const MAX_RATIO: u64 = 100;
/// Bytes that may come out before the ratio counts: short bodies compress oddly.
const FREE_EXPANSION: u64 = 1 << 20;
/// Bytes that may come out of one piece, whatever came before: they are all held before they are handed on.
const MOST_AT_ONCE: u64 = 8 << 20;
/// Largest zstd window, as a power of two (8 MiB: what RFC 8878 asks decoders to support).
const ZSTD_WINDOW_LOG: u32 = 23;

/// The body does not decode, or expands beyond the bound.
#[derive(Debug, thiserror::Error)]
#[error("the content coding cannot be undone")]
pub struct Undecodable;

/// Undoes one content coding. Invariant: what it holds is bounded, whatever it is fed.
pub struct Decoder {
    inner: Inner,
    read: u64,
    written: u64,
}

/// What came out and was not handed on, and how much more may.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    room: u64,
}

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room.checked_sub(bytes.len() as u64);
        self.room = room.ok_or_else(|| io::Error::other("more comes out than may"))?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Inner {
    Identity,
    Gzip(MultiGzDecoder<Pending>),
    /// `deflate` is zlib by the RFC and raw by habit: the first byte tells.
    Undetermined,
    Zlib(ZlibDecoder<Pending>),
    Deflate(DeflateDecoder<Pending>),
    Brotli(Box<brotli::DecompressorWriter<Pending>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Pending>>),
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("read", &self.read)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// # Errors
    /// [`Undecodable`] where the decompressor cannot be set up.
    pub fn new(coding: Coding) -> Result<Decoder, Undecodable> {
        let inner = match coding {
            Coding::Identity => Inner::Identity,
            Coding::Gzip => Inner::Gzip(MultiGzDecoder::new(Pending::default())),
            Coding::Deflate => Inner::Undetermined,
            Coding::Brotli => {
                Inner::Brotli(Box::new(brotli::DecompressorWriter::new(Pending::default(), 4096)))
            }
            Coding::Zstd => {
                let mut decoder =
                    zstd::stream::write::Decoder::new(Pending::default()).map_err(|_| Undecodable)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| Undecodable)?;
                Inner::Zstd(Box::new(decoder))
            }
        };
        Ok(Decoder { inner, read: 0, written: 0 })
    }

    /// Whether bytes come out as they went in, so that the caller need not copy them.
    pub fn is_identity(&self) -> bool {
        matches!(self.inner, Inner::Identity)
    }

    /// Decodes a piece: what comes of it.
    ///
    /// # Errors
    /// [`Undecodable`].
    pub fn feed(&mut self, piece: &[u8]) -> Result<Vec<u8>, Undecodable> {
        self.read += piece.len() as u64;
        self.write(piece)?;
        Ok(self.take())
    }

    /// Checks that the coded body is complete: the rest of it.
    ///
    /// # Errors
    /// [`Undecodable`] for a truncated body.
    pub fn finish(&mut self) -> Result<Vec<u8>, Undecodable> {
        self.make_room();
        let finished = match &mut self.inner {
            Inner::Identity => Ok(()),
            Inner::Undetermined => return Err(Undecodable),
            Inner::Gzip(decoder) => decoder.try_finish(),
            Inner::Zlib(decoder) => decoder.try_finish(),
            Inner::Deflate(decoder) => decoder.try_finish(),
            Inner::Brotli(decoder) => decoder.close(),
            Inner::Zstd(decoder) => decoder.flush(),
        };
        finished.map_err(|_| Undecodable)?;
        Ok(self.take())
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Undecodable> {
        if let (Inner::Undetermined, Some(first)) = (&self.inner, piece.first()) {
            // A zlib header's low nibble is 8 (RFC 1950, 2.2); a raw block never begins so.
            self.inner = if first & 0x0f == 8 {
                Inner::Zlib(ZlibDecoder::new(Pending::default()))
            } else {
                Inner::Deflate(DeflateDecoder::new(Pending::default()))
            };
        }
        self.make_room();
        match &mut self.inner {
            Inner::Identity | Inner::Undetermined => Ok(()),
            Inner::Gzip(decoder) => decoder.write_all(piece),
            Inner::Zlib(decoder) => decoder.write_all(piece),
            Inner::Deflate(decoder) => decoder.write_all(piece),
            Inner::Brotli(decoder) => decoder.write_all(piece),
            Inner::Zstd(decoder) => decoder.write_all(piece),
        }
        .map_err(|_| Undecodable)
    }

    fn take(&mut self) -> Vec<u8> {
        let bytes = self.pending().map(|pending| std::mem::take(&mut pending.bytes)).unwrap_or_default();
        self.written += bytes.len() as u64;
        bytes
    }

    /// Lets come out what may, for what went in.
    fn make_room(&mut self) {
        let most = FREE_EXPANSION.max(self.read.saturating_mul(MAX_RATIO));
        let room = most.saturating_sub(self.written).min(MOST_AT_ONCE);
        if let Some(pending) = self.pending() {
            pending.room = room;
        }
    }

    fn pending(&mut self) -> Option<&mut Pending> {
        match &mut self.inner {
            Inner::Identity | Inner::Undetermined => None,
            Inner::Gzip(decoder) => Some(decoder.get_mut()),
            Inner::Zlib(decoder) => Some(decoder.get_mut()),
            Inner::Deflate(decoder) => Some(decoder.get_mut()),
            Inner::Brotli(decoder) => Some(decoder.get_mut()),
            Inner::Zstd(decoder) => Some(decoder.get_mut()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    fn decode(coding: Coding, bytes: &[u8], chunk: usize) -> Result<Vec<u8>, Undecodable> {
        let mut decoder = Decoder::new(coding)?;
        let mut plain = Vec::new();
        for piece in bytes.chunks(chunk) {
            plain.extend(decoder.feed(piece)?);
        }
        plain.extend(decoder.finish()?);
        Ok(plain)
    }

    fn encoded(text: &[u8]) -> Vec<(Coding, Vec<u8>)> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text).unwrap();
        zlib.write_all(text).unwrap();
        raw.write_all(text).unwrap();
        let mut brotli = Vec::new();
        {
            let mut writer = brotli::CompressorWriter::new(&mut brotli, 4096, 5, 20);
            writer.write_all(text).unwrap();
        }
        vec![
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, raw.finish().unwrap()),
            (Coding::Brotli, brotli),
            (Coding::Zstd, zstd::encode_all(text, 3).unwrap()),
        ]
    }

    #[test]
    fn every_coding_is_undone_whatever_the_chunks() {
        let text: Vec<u8> = (0..20_000u32).flat_map(|n| format!("{{\"n\":{n}}}").into_bytes()).collect();
        for (coding, bytes) in encoded(&text) {
            for chunk in [1, 7, 4096, bytes.len()] {
                assert_eq!(decode(coding, &bytes, chunk).unwrap(), text, "{coding:?} {chunk}");
            }
        }
    }

    #[test]
    fn a_truncated_body_is_undecodable() {
        let text = vec![b'x'; 5000];
        for (coding, bytes) in encoded(&text) {
            let cut = &bytes[..bytes.len() - 3];
            let result = decode(coding, cut, 64);
            assert!(result.is_err() || result.unwrap() != text, "{coding:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_early() {
        let bomb = vec![b' '; 64 << 20];
        for (coding, bytes) in encoded(&bomb) {
            assert!(decode(coding, &bytes, 4096).is_err(), "{coding:?}");
            // Nor does what came before make room for it.
            let mut decoder = Decoder::new(coding).unwrap();
            decoder.read = 1 << 40;
            assert!(decoder.feed(&bytes).and_then(|_| decoder.finish()).is_err(), "{coding:?}");
            let held = decoder.pending().map_or(0, |pending| pending.bytes.capacity());
            assert!(held as u64 <= 2 * MOST_AT_ONCE, "{coding:?} held {held}");
        }
    }

    #[test]
    fn two_gzip_members_are_one_body() {
        let member = |text: &[u8]| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(text).unwrap();
            gzip.finish().unwrap()
        };
        let both = [member(b"[1,"), member(b"2]")].concat();
        assert_eq!(decode(Coding::Gzip, &both, 5).unwrap(), b"[1,2]");
    }
}
