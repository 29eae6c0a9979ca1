//! Decodes the content codings of a body as it streams, with a bound on expansion.
//!
//! Invariant: a decoder holds a bounded number of bytes, whatever it is fed.

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, GzDecoder, ZlibDecoder};
use zstd::stream::raw::{self, DParameter};
use zstd::stream::zio;

/// One content coding (RFC 9110, 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentCoding {
    /// No coding.
    Identity,
    /// `gzip`
    Gzip,
    /// `deflate`: zlib, or raw deflate
    Deflate,
    /// `br`
    Brotli,
    /// `zstd`
    Zstd,
}

impl ContentCoding {
    /// Returns the coding of this name; `None` for an unknown one or a list.
    pub fn parse(name: &str) -> Option<ContentCoding> {
        match name.trim().to_ascii_lowercase().as_str() {
            // Some origins name a coding although the body has none.
            "identity" | "none" | "" => Some(ContentCoding::Identity),
            "gzip" | "x-gzip" => Some(ContentCoding::Gzip),
            "deflate" => Some(ContentCoding::Deflate),
            "br" => Some(ContentCoding::Brotli),
            "zstd" => Some(ContentCoding::Zstd),
            _ => None,
        }
    }

    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            ContentCoding::Identity => "identity",
            ContentCoding::Gzip => "gzip",
            ContentCoding::Deflate => "deflate",
            ContentCoding::Brotli => "br",
            ContentCoding::Zstd => "zstd",
        }
    }
}

/// Maximum bytes out for a byte in, after [`FREE_EXPANSION`] bytes came out.
const MAX_RATIO: u64 = 100;
/// Bytes that may come out before the ratio counts: short bodies may compress well.
const FREE_EXPANSION: u64 = 1 << 20;
/// Maximum bytes that may come out of one input, whatever came before: all of them are held at once.
const MAX_OUTPUT_AT_ONCE: u64 = 8 << 20;
/// Largest zstd window, as a power of two (8 MiB: the size that RFC 8878 asks decoders to support).
const ZSTD_WINDOW_LOG: u32 = 23;

/// The last bytes of a sync flush: an empty stored block, which ends at the end of a byte (RFC 1951, 3.2.4).
const SYNC_FLUSH: [u8; 4] = [0, 0, 0xff, 0xff];

/// The body does not decode, or expands beyond the bound.
#[derive(Debug, thiserror::Error)]
#[error("the content coding cannot be decoded")]
pub struct Undecodable;

/// Decodes one content coding.
pub struct Decoder {
    coding: ContentCoding,
    inner: Inner,
    read: u64,
    written: u64,
    /// The last bytes that went in.
    tail: [u8; SYNC_FLUSH.len()],
}

/// Decoded bytes that were not taken yet, and the number that may still come.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    room: u64,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room.checked_sub(bytes.len() as u64);
        self.room = room.ok_or_else(|| io::Error::other("the body expands beyond the bound"))?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Inner {
    Identity,
    /// One member, or the padding after one. Members follow each other (RFC 1952, 2.2), and zeros fill up blocks.
    Gzip {
        member: GzDecoder<Output>,
        ended: bool,
    },
    /// `deflate` is zlib by the RFC, and raw deflate in practice. The first byte decides.
    Undetermined,
    Zlib(ZlibDecoder<Output>),
    Deflate(DeflateDecoder<Output>),
    Brotli(Box<brotli_decompressor::DecompressorWriter<Output>>),
    Zstd(Box<zio::Writer<Output, raw::Decoder<'static>>>),
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
    /// A decoder for this coding.
    ///
    /// # Errors
    /// [`Undecodable`] if the decompressor cannot be set up.
    pub fn new(coding: ContentCoding) -> Result<Decoder, Undecodable> {
        let inner = match coding {
            ContentCoding::Identity => Inner::Identity,
            ContentCoding::Gzip => Inner::Gzip { member: GzDecoder::new(Output::default()), ended: false },
            ContentCoding::Deflate => Inner::Undetermined,
            ContentCoding::Brotli => {
                Inner::Brotli(Box::new(brotli_decompressor::DecompressorWriter::new(Output::default(), 4096)))
            }
            ContentCoding::Zstd => {
                let mut decoder = raw::Decoder::new().map_err(|_| Undecodable)?;
                let window = DParameter::WindowLogMax(ZSTD_WINDOW_LOG);
                decoder.set_parameter(window).map_err(|_| Undecodable)?;
                Inner::Zstd(Box::new(zio::Writer::new(Output::default(), decoder)))
            }
        };
        Ok(Decoder { coding, inner, read: 0, written: 0, tail: [u8::MAX; SYNC_FLUSH.len()] })
    }

    /// The coding that it decodes.
    pub fn coding(&self) -> ContentCoding {
        self.coding
    }

    /// Bytes that went in so far.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// True if the output equals the input, so that the caller need not copy it.
    pub fn is_identity(&self) -> bool {
        matches!(self.inner, Inner::Identity)
    }

    /// True if everything that went in has come out. False if this is not known: a coding holds back a block that is not
    /// whole. Data can look like a sync flush by chance; then less than one symbol is held back.
    pub fn is_drained(&self) -> bool {
        match &self.inner {
            Inner::Identity | Inner::Gzip { ended: true, .. } => true,
            Inner::Gzip { .. } | Inner::Zlib(_) | Inner::Deflate(_) => self.tail == SYNC_FLUSH,
            Inner::Undetermined | Inner::Brotli(_) | Inner::Zstd(_) => false,
        }
    }

    /// Decodes some input and returns all output that it yields by now.
    ///
    /// # Errors
    /// [`Undecodable`].
    pub fn feed(&mut self, input: &[u8]) -> Result<Vec<u8>, Undecodable> {
        self.read += input.len() as u64;
        for byte in input.get(input.len().saturating_sub(self.tail.len())..).unwrap_or_default() {
            self.tail.rotate_left(1);
            if let Some(last) = self.tail.last_mut() {
                *last = *byte;
            }
        }
        self.write(input)?;
        self.flush()?;
        Ok(self.take())
    }

    /// Empties the buffer of the decompressor, so that a stream is not delayed until it is full.
    fn flush(&mut self) -> Result<(), Undecodable> {
        match &mut self.inner {
            Inner::Identity | Inner::Undetermined | Inner::Gzip { ended: true, .. } => Ok(()),
            Inner::Gzip { member, .. } => member.flush(),
            Inner::Zlib(decoder) => decoder.flush(),
            Inner::Deflate(decoder) => decoder.flush(),
            Inner::Brotli(decoder) => decoder.flush(),
            Inner::Zstd(decoder) => decoder.flush(),
        }
        .map_err(|_| Undecodable)
    }

    /// Checks that the coded body is complete, and returns the rest of the output.
    ///
    /// # Errors
    /// [`Undecodable`] for a truncated body.
    pub fn finish(&mut self) -> Result<Vec<u8>, Undecodable> {
        self.make_room();
        let finished = match &mut self.inner {
            Inner::Identity => Ok(()),
            Inner::Undetermined => return Err(Undecodable),
            Inner::Gzip { ended: true, .. } => Ok(()),
            Inner::Gzip { member, .. } => member.try_finish(),
            Inner::Zlib(decoder) => decoder.try_finish(),
            Inner::Deflate(decoder) => decoder.try_finish(),
            Inner::Brotli(decoder) => decoder.close(),
            // Only `finish` checks that the frame is whole, with its checksum.
            Inner::Zstd(decoder) => decoder.flush().and_then(|()| decoder.finish()),
        };
        finished.map_err(|_| Undecodable)?;
        Ok(self.take())
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Undecodable> {
        if let (Inner::Undetermined, Some(first)) = (&self.inner, piece.first()) {
            // A zlib header's low nibble is 8 (RFC 1950, 2.2); a raw block never begins so.
            self.inner = if first & 0x0f == 8 {
                Inner::Zlib(ZlibDecoder::new(Output::default()))
            } else {
                Inner::Deflate(DeflateDecoder::new(Output::default()))
            };
        }
        self.make_room();
        match &mut self.inner {
            Inner::Identity | Inner::Undetermined => Ok(()),
            Inner::Gzip { member, ended } => write_members(member, ended, piece),
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

    /// Sets the number of bytes that may come out for the bytes that went in.
    fn make_room(&mut self) {
        let max = FREE_EXPANSION.max(self.read.saturating_mul(MAX_RATIO));
        let room = max.saturating_sub(self.written).min(MAX_OUTPUT_AT_ONCE);
        if let Some(pending) = self.pending() {
            pending.room = room;
        }
    }

    fn pending(&mut self) -> Option<&mut Output> {
        match &mut self.inner {
            Inner::Identity | Inner::Undetermined => None,
            Inner::Gzip { member, .. } => Some(member.get_mut()),
            Inner::Zlib(decoder) => Some(decoder.get_mut()),
            Inner::Deflate(decoder) => Some(decoder.get_mut()),
            Inner::Brotli(decoder) => Some(decoder.get_mut()),
            Inner::Zstd(decoder) => Some(decoder.writer_mut()),
        }
    }
}

/// Decodes gzip members one after the other. Zeros between them and after the last are padding.
fn write_members(member: &mut GzDecoder<Output>, ended: &mut bool, mut piece: &[u8]) -> io::Result<()> {
    while let Some(first) = piece.first() {
        if *ended {
            if *first == 0 {
                piece = piece.get(1..).unwrap_or_default();
                continue;
            }
            *member = GzDecoder::new(std::mem::take(member.get_mut()));
            *ended = false;
        }
        let taken = member.write(piece)?;
        if taken == 0 {
            // Checks checksum and length.
            member.try_finish()?;
            *ended = true;
        }
        piece = piece.get(taken..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    fn decode(coding: ContentCoding, bytes: &[u8], chunk: usize) -> Result<Vec<u8>, Undecodable> {
        let mut decoder = Decoder::new(coding)?;
        let mut plain = Vec::new();
        for piece in bytes.chunks(chunk) {
            plain.extend(decoder.feed(piece)?);
        }
        plain.extend(decoder.finish()?);
        Ok(plain)
    }

    fn encoded(text: &[u8]) -> Vec<(ContentCoding, Vec<u8>)> {
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
            (ContentCoding::Gzip, gzip.finish().unwrap()),
            (ContentCoding::Deflate, zlib.finish().unwrap()),
            (ContentCoding::Deflate, raw.finish().unwrap()),
            (ContentCoding::Brotli, brotli),
            (ContentCoding::Zstd, zstd::encode_all(text, 3).unwrap()),
        ]
    }

    #[test]
    fn every_coding_is_decoded_whatever_the_chunks() {
        let text: Vec<u8> = (0..20_000u32).flat_map(|n| format!("{{\"n\":{n}}}").into_bytes()).collect();
        for (coding, bytes) in encoded(&text) {
            for chunk in [1, 7, 4096, bytes.len()] {
                assert_eq!(decode(coding, &bytes, chunk).unwrap(), text, "{coding:?} {chunk}");
            }
        }
    }

    #[test]
    fn a_flushed_chunk_is_decoded_at_once() {
        let (text, rest) = (b"data: {\"n\":1}\n\n", b"data: {\"n\":2}\n\n");
        let flushed = |encoder: &mut dyn FnMut(&[u8]) -> Vec<u8>| (encoder(text), encoder(rest));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        let mut brotli = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        macro_rules! chunks {
            ($encoder:ident) => {
                flushed(&mut |text| {
                    $encoder.write_all(text).unwrap();
                    $encoder.flush().unwrap();
                    std::mem::take($encoder.get_mut())
                })
            };
        }
        for (coding, tells, (first, second)) in [
            (ContentCoding::Gzip, true, chunks!(gzip)),
            (ContentCoding::Deflate, true, chunks!(zlib)),
            (ContentCoding::Deflate, true, chunks!(raw)),
            (ContentCoding::Zstd, false, chunks!(zstd)),
            (ContentCoding::Brotli, false, {
                let mut chunk = move |text: &[u8]| {
                    brotli.write_all(text).unwrap();
                    brotli.flush().unwrap();
                    brotli.get_ref().clone()
                };
                let first = chunk(text);
                let second = chunk(rest).split_off(first.len());
                (first, second)
            }),
        ] {
            let mut decoder = Decoder::new(coding).unwrap();
            assert_eq!(decoder.feed(&first).unwrap(), text, "{coding:?}");
            assert_eq!(decoder.is_drained(), tells, "{coding:?}");
            let (begin, end) = second.split_at(second.len() - 1);
            let mut decoded = decoder.feed(begin).unwrap();
            assert!(!decoder.is_drained(), "{coding:?}");
            decoded.extend(decoder.feed(end).unwrap());
            assert_eq!((decoded.as_slice(), decoder.is_drained()), (&rest[..], tells), "{coding:?}");
        }
    }

    #[test]
    fn a_truncated_body_is_undecodable() {
        let text: Vec<u8> = (0..2000u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let mut all = encoded(&text);
        let mut summed = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        summed.include_checksum(true).unwrap();
        summed.write_all(&text).unwrap();
        all.push((ContentCoding::Zstd, summed.finish().unwrap()));
        for (coding, bytes) in all {
            assert_eq!(decode(coding, &bytes, 64).unwrap(), text, "{coding:?}");
            for missing in 1..10 {
                let cut = &bytes[..bytes.len() - missing];
                for chunk in [1, 64, bytes.len()] {
                    assert!(decode(coding, cut, chunk).is_err(), "{coding:?} without {missing}");
                }
            }
        }
    }

    #[test]
    fn a_compression_bomb_is_refused_early() {
        let bomb = vec![b' '; 64 << 20];
        for (coding, bytes) in encoded(&bomb) {
            assert!(decode(coding, &bytes, 4096).is_err(), "{coding:?}");
            // Earlier input makes no room for it.
            let mut decoder = Decoder::new(coding).unwrap();
            decoder.read = 1 << 40;
            assert!(decoder.feed(&bytes).and_then(|_| decoder.finish()).is_err(), "{coding:?}");
            let held = decoder.pending().map_or(0, |pending| pending.bytes.capacity());
            assert!(held as u64 <= 2 * MAX_OUTPUT_AT_ONCE, "{coding:?} held {held}");
        }
    }

    #[test]
    fn only_zeros_are_padding_of_gzip() {
        let member = |text: &[u8]| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(text).unwrap();
            gzip.finish().unwrap()
        };
        let zeros = vec![0; 600];
        let all = [member(b"[1,"), zeros.clone(), member(b"2]"), zeros.clone()].concat();
        for chunk in [1, 5, 4096] {
            assert_eq!(decode(ContentCoding::Gzip, &all, chunk).unwrap(), b"[1,2]");
            for wrong in [&b"jane"[..], b"\x1f", b"\x1f\x8b\x08\0"] {
                assert!(decode(ContentCoding::Gzip, &[&all, wrong].concat(), chunk).is_err(), "{wrong:?}");
            }
            let mut broken = member(b"[1]");
            let sum = broken.len() - 5;
            broken[sum] ^= 1;
            assert!(decode(ContentCoding::Gzip, &broken, chunk).is_err());
            assert!(decode(ContentCoding::Gzip, &[broken, zeros.clone()].concat(), chunk).is_err());
            assert!(decode(ContentCoding::Gzip, &zeros, chunk).is_err());
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
        assert_eq!(decode(ContentCoding::Gzip, &both, 5).unwrap(), b"[1,2]");
    }
}
