//! Bounds on the frames of an HTTP/2 upstream that hyper and h2 do not set: interim responses, and frames without content.
//!
//! The module reads the headers of frames (RFC 9113, 4.1) as they arrive, and skips what they hold. It does not check what h2
//! checks: sizes, order, states of streams, header lists.

use std::time::{Duration, Instant};

/// Maximum number of interim responses (1xx) to one request.
pub(super) const MAX_INTERIM: u64 = 32;
/// Maximum number of frames without content in one period: pings, settings, empty data, resets.
const MAX_CONTROL_FRAMES: u32 = 10_000;
const CONTROL_PERIOD: Duration = Duration::from_secs(1);
/// Maximum number of streams whose header sections are counted. The oldest ones are forgotten: they have ended here.
const MAX_COUNTED_STREAMS: usize = 256;
const FRAME_HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;

/// The bound that an upstream exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameViolation {
    /// More interim responses than the bound.
    InterimAnswers,
    /// More frames without content than the bound.
    ControlFrames,
}

/// Counts the frames of one connection.
#[derive(Debug)]
pub(super) struct FrameCounter {
    header: [u8; FRAME_HEADER],
    /// Bytes of the present frame's header that have arrived.
    have: usize,
    /// Bytes of the present frame's payload that are still to come.
    payload_left: usize,
    /// Header sections without the end of the stream, of each stream that has some.
    sections: Vec<(u32, u64)>,
    control_frames: u32,
    period_began: Option<Instant>,
}

impl FrameCounter {
    pub(super) fn new() -> FrameCounter {
        FrameCounter {
            header: [0; FRAME_HEADER],
            have: 0,
            payload_left: 0,
            sections: Vec::new(),
            control_frames: 0,
            period_began: None,
        }
    }

    /// Reads the next bytes of the connection.
    ///
    /// # Errors
    /// The [`FrameViolation`]: the connection must end.
    pub(super) fn read(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), FrameViolation> {
        loop {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
            if let Some(place) = self.header.get_mut(self.have) {
                *place = *first;
                self.have += 1;
            }
            bytes = rest;
            if self.have == FRAME_HEADER {
                self.have = 0;
                self.frame(now)?;
            }
        }
    }

    fn frame(&mut self, now: Instant) -> Result<(), FrameViolation> {
        let [high, middle, low, kind, flags, stream @ ..] = self.header;
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        self.payload_left = u32::from_be_bytes([0, high, middle, low]) as usize;
        let ends = flags & END_STREAM != 0 && matches!(kind, DATA | HEADERS);
        if ends || kind == RST_STREAM {
            self.sections.retain(|(open, _)| *open != stream);
        }
        match kind {
            HEADERS if !ends => self.section(stream),
            HEADERS | CONTINUATION => Ok(()),
            DATA if self.payload_left > 0 || ends => Ok(()),
            // Uploads cause as many as the upstream likes: up to two for each frame of theirs. h2 checks their sums.
            WINDOW_UPDATE => Ok(()),
            _ => self.control_frame(now),
        }
    }

    /// Counts a header section that does not end its stream: an interim response, or the head of a response with a body.
    fn section(&mut self, stream: u32) -> Result<(), FrameViolation> {
        let known = self.sections.iter_mut().find(|(open, _)| *open == stream);
        let count = match known {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                if self.sections.len() >= MAX_COUNTED_STREAMS {
                    self.sections.remove(0);
                }
                self.sections.push((stream, 1));
                1
            }
        };
        if count > MAX_INTERIM + 1 { Err(FrameViolation::InterimAnswers) } else { Ok(()) }
    }

    fn control_frame(&mut self, now: Instant) -> Result<(), FrameViolation> {
        let is_same = |began: Instant| now.saturating_duration_since(began) < CONTROL_PERIOD;
        if !self.period_began.is_some_and(is_same) {
            self.period_began = Some(now);
            self.control_frames = 0;
        }
        self.control_frames += 1;
        if self.control_frames > MAX_CONTROL_FRAMES { Err(FrameViolation::ControlFrames) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// Reads the bytes in pieces of every size up to 32.
    fn read(bytes: &[u8]) -> Result<(), FrameViolation> {
        let now = Instant::now();
        let results: Vec<_> = (1..32)
            .map(|size| {
                let mut counter = FrameCounter::new();
                bytes.chunks(size).try_for_each(|piece| counter.read(piece, now))
            })
            .collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{results:?}");
        results[0]
    }

    #[test]
    fn interim_responses_are_counted_for_each_stream() {
        let sections = |count: u64, stream: u32| -> Vec<u8> {
            (0..count).flat_map(|_| frame(HEADERS, 4, stream, b"head")).collect()
        };
        let body = frame(DATA, END_STREAM, 1, b"body");
        assert_eq!(read(&[sections(MAX_INTERIM + 1, 1), body.clone()].concat()), Ok(()));
        assert_eq!(read(&sections(MAX_INTERIM + 2, 1)), Err(FrameViolation::InterimAnswers));
        // Each stream has its own count, which ends with the stream.
        assert_eq!(read(&[sections(30, 1), sections(30, 3)].concat()), Ok(()));
        assert_eq!(read(&[sections(30, 1), body, sections(30, 1)].concat()), Ok(()));
    }

    #[test]
    fn credit_for_uploads_is_not_bounded() {
        let credit =
            frame(WINDOW_UPDATE, 0, 1, &4096_u32.to_be_bytes()).repeat(3 * MAX_CONTROL_FRAMES as usize);
        assert_eq!(FrameCounter::new().read(&credit, Instant::now()), Ok(()));
    }

    #[test]
    fn frames_without_content_are_bounded_in_time() {
        for (kind, payload) in [(PING, &b"12345678"[..]), (4, b""), (DATA, b""), (0xbb, b"unknown")] {
            let flood = frame(kind, 0, 0, payload).repeat(MAX_CONTROL_FRAMES as usize);
            let mut counter = FrameCounter::new();
            let now = Instant::now();
            assert_eq!(counter.read(&flood, now), Ok(()), "{kind}");
            let one = frame(kind, 0, 0, payload);
            assert_eq!(counter.read(&one, now), Err(FrameViolation::ControlFrames), "{kind}");
            let mut counter = FrameCounter::new();
            assert_eq!(counter.read(&flood, now), Ok(()));
            assert_eq!(counter.read(&flood, now + CONTROL_PERIOD), Ok(()), "{kind}");
        }
        let content = frame(DATA, 0, 1, b"x").repeat(2 * MAX_CONTROL_FRAMES as usize);
        assert_eq!(FrameCounter::new().read(&content, Instant::now()), Ok(()));
    }

    #[test]
    fn the_number_of_counted_streams_is_bounded() {
        let mut counter = FrameCounter::new();
        for stream in 0..10_000 {
            counter.read(&frame(HEADERS, 4, stream, b""), Instant::now()).unwrap();
        }
        assert_eq!(counter.sections.len(), MAX_COUNTED_STREAMS);
    }
}
