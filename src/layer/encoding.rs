//! Content codings of the upstream's answer, undone as it streams, with a bound on expansion.

use std::io::Write;

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
/// Bytes given to a decompressor at a time, so that one step cannot expand without bound.
const STEP: usize = 1024;
/// Largest zstd window, as a power of two (8 MiB: what RFC 8878 asks decoders to support).
const ZSTD_WINDOW_LOG: u32 = 23;

/// The body does not decode, or expands beyond the bound.
#[derive(Debug, thiserror::Error)]
#[error("the content coding cannot be undone")]
pub struct Undecodable;

/// Undoes one content coding. Invariant: what it holds is bounded by one step's expansion.
pub struct Decoder {
    inner: Inner,
    read: u64,
    written: u64,
}

enum Inner {
    Identity,
    Gzip(MultiGzDecoder<Vec<u8>>),
    /// `deflate` is zlib by the RFC and raw by habit: the first byte tells.
    Undetermined,
    Zlib(ZlibDecoder<Vec<u8>>),
    Deflate(DeflateDecoder<Vec<u8>>),
    Brotli(Box<brotli::DecompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Vec<u8>>>),
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
            Coding::Gzip => Inner::Gzip(MultiGzDecoder::new(Vec::new())),
            Coding::Deflate => Inner::Undetermined,
            Coding::Brotli => Inner::Brotli(Box::new(brotli::DecompressorWriter::new(Vec::new(), 4096))),
            Coding::Zstd => {
                let mut decoder = zstd::stream::write::Decoder::new(Vec::new()).map_err(|_| Undecodable)?;
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

    /// Decodes a chunk, handing out what comes out piece by piece.
    ///
    /// # Errors
    /// [`Undecodable`], or what `out` returns.
    pub fn feed<E: From<Undecodable>>(
        &mut self,
        chunk: &[u8],
        mut out: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for step in chunk.chunks(STEP) {
            self.read += u64::try_from(step.len()).unwrap_or(u64::MAX);
            self.write(step)?;
            self.drain(&mut out)?;
        }
        Ok(())
    }

    /// Checks that the coded body is complete and hands out the rest.
    ///
    /// # Errors
    /// [`Undecodable`] for a truncated body, or what `out` returns.
    pub fn finish<E: From<Undecodable>>(
        &mut self,
        mut out: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let finished = match &mut self.inner {
            Inner::Identity => Ok(()),
            Inner::Undetermined => return Err(Undecodable.into()),
            Inner::Gzip(decoder) => decoder.try_finish(),
            Inner::Zlib(decoder) => decoder.try_finish(),
            Inner::Deflate(decoder) => decoder.try_finish(),
            Inner::Brotli(decoder) => decoder.close(),
            Inner::Zstd(decoder) => decoder.flush(),
        };
        finished.map_err(|_| Undecodable)?;
        self.drain(&mut out)
    }

    fn write(&mut self, step: &[u8]) -> Result<(), Undecodable> {
        if let (Inner::Undetermined, Some(first)) = (&self.inner, step.first()) {
            // A zlib header's low nibble is 8 (RFC 1950, 2.2); a raw block never begins so.
            self.inner = if first & 0x0f == 8 {
                Inner::Zlib(ZlibDecoder::new(Vec::new()))
            } else {
                Inner::Deflate(DeflateDecoder::new(Vec::new()))
            };
        }
        match &mut self.inner {
            Inner::Identity | Inner::Undetermined => Ok(()),
            Inner::Gzip(decoder) => decoder.write_all(step),
            Inner::Zlib(decoder) => decoder.write_all(step),
            Inner::Deflate(decoder) => decoder.write_all(step),
            Inner::Brotli(decoder) => decoder.write_all(step),
            Inner::Zstd(decoder) => decoder.write_all(step),
        }
        .map_err(|_| Undecodable)
    }

    fn drain<E: From<Undecodable>>(&mut self, out: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let pending = match &mut self.inner {
            Inner::Identity | Inner::Undetermined => return Ok(()),
            Inner::Gzip(decoder) => decoder.get_mut(),
            Inner::Zlib(decoder) => decoder.get_mut(),
            Inner::Deflate(decoder) => decoder.get_mut(),
            Inner::Brotli(decoder) => decoder.get_mut(),
            Inner::Zstd(decoder) => decoder.get_mut(),
        };
        if pending.is_empty() {
            return Ok(());
        }
        self.written += u64::try_from(pending.len()).unwrap_or(u64::MAX);
        if self.written > FREE_EXPANSION.max(self.read.saturating_mul(MAX_RATIO)) {
            return Err(Undecodable.into());
        }
        let taken = out(pending);
        pending.clear();
        taken
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
            decoder.feed(piece, |out| -> Result<(), Undecodable> {
                plain.extend_from_slice(out);
                Ok(())
            })?;
        }
        decoder.finish(|out| -> Result<(), Undecodable> {
            plain.extend_from_slice(out);
            Ok(())
        })?;
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
