//! Writes Protocol Buffers: the few types of fields that OTLP has.

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct MessageWriter {
    bytes: Vec<u8>,
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

impl MessageWriter {
    /// Returns the encoded message.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes a `fixed64`.
    pub(super) fn fixed64(&mut self, field: u64, value: u64) {
        self.tag(field, FIXED64);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Writes a `fixed32`.
    pub(super) fn fixed32(&mut self, field: u64, value: u32) {
        self.tag(field, FIXED32);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Writes an `enum`, or an integer that is not negative.
    pub(super) fn number(&mut self, field: u64, value: u64) {
        self.tag(field, VARINT);
        self.varint(value);
    }

    /// Writes `bytes` or a `string`.
    pub(super) fn bytes(&mut self, field: u64, value: &[u8]) {
        self.tag(field, LENGTH_DELIMITED);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// Writes a message within the message.
    pub(super) fn message(&mut self, field: u64, write: impl FnOnce(&mut MessageWriter)) {
        self.tag(field, LENGTH_DELIMITED);
        // Most messages are shorter than 128 bytes, so that their length takes one byte.
        let at = self.bytes.len();
        self.bytes.push(0);
        write(self);
        let length = self.bytes.len() - at - 1;
        match (u8::try_from(length), self.bytes.get_mut(at)) {
            (Ok(length @ ..0x80), Some(byte)) => *byte = length,
            _ => {
                let (varint, count) = varint(length as u64);
                drop(self.bytes.splice(at..=at, varint.into_iter().take(count)));
            }
        }
    }

    fn tag(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    /// Most are tags and lengths of one byte.
    fn varint(&mut self, value: u64) {
        match u8::try_from(value) {
            Ok(byte @ ..0x80) => self.bytes.push(byte),
            Ok(_) | Err(_) => {
                let (varint, length) = varint(value);
                self.bytes.extend(varint.into_iter().take(length));
            }
        }
    }
}

/// Returns the bytes of a varint, and how many of them count.
fn varint(mut value: u64) -> ([u8; 10], usize) {
    let (mut bytes, mut length) = ([0; 10], 0);
    for byte in &mut bytes {
        length += 1;
        *byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            break;
        }
        *byte |= 0x80;
    }
    (bytes, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the specification of the encoding.
    #[test]
    fn fields_are_encoded_as_the_specification_says() {
        let mut writer = MessageWriter::default();
        writer.number(1, 150);
        writer.bytes(2, b"testing");
        writer.message(3, |inner| inner.number(1, 150));
        let mut expected = vec![0x08, 0x96, 0x01, 0x12, 0x07];
        expected.extend(b"testing");
        expected.extend([0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(writer.into_bytes(), expected);
        let mut writer = MessageWriter::default();
        writer.fixed64(7, 1);
        writer.fixed32(16, 2);
        assert_eq!(writer.into_bytes(), [0x39, 1, 0, 0, 0, 0, 0, 0, 0, 0x85, 0x01, 2, 0, 0, 0]);
    }

    #[test]
    fn a_long_message_has_a_long_length() {
        let mut writer = MessageWriter::default();
        writer.message(1, |inner| inner.bytes(2, &[7; 300]));
        let bytes = writer.into_bytes();
        assert_eq!(bytes[..6], [0x0a, 0xaf, 0x02, 0x12, 0xac, 0x02]);
        assert_eq!(bytes.len(), 306);
        assert_eq!(varint(u64::MAX), ([255, 255, 255, 255, 255, 255, 255, 255, 255, 1], 10));
        assert_eq!(varint(0), ([0; 10], 1));
    }
}
