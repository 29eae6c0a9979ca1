//! Reads the answer of a collector that took a batch: it can say that it rejected some of the spans
//! (`ExportTraceServiceResponse` of OTLP).
//!
//! The message of the collector is not read: it can quote anything. An answer that cannot be read rejects nothing.

/// The field of an answer that says what was rejected.
const PARTIAL_SUCCESS: u64 = 1;
/// The field in it with the number of spans.
const REJECTED_SPANS: u64 = 1;

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

/// Maximum length of a varint, in bytes.
const MAX_VARINT: usize = 10;

/// Returns the number of spans that a collector rejected of a batch that it took.
pub(super) fn rejected_spans(answer: &[u8]) -> u64 {
    let mut rejected = 0;
    let read = each_field(answer, |field, value| match value {
        FieldValue::Message(success) if field == PARTIAL_SUCCESS => each_field(success, |field, value| {
            if let FieldValue::Number(spans) = value
                && field == REJECTED_SPANS
            {
                // The last one of a field counts. A negative number has no meaning.
                rejected = u64::try_from(spans.cast_signed()).unwrap_or(0);
            }
            Some(())
        }),
        FieldValue::Message(_) | FieldValue::Number(_) | FieldValue::Fixed => Some(()),
    });
    read.map_or(0, |()| rejected)
}

/// The value of a field in Protocol Buffers.
enum FieldValue<'m> {
    Number(u64),
    /// A message, bytes or a text.
    Message(&'m [u8]),
    /// A number of a fixed width, which no field has that is read here.
    Fixed,
}

/// Passes on the fields of a message; `None` if it cannot be read, or `read` returns this.
fn each_field<'m>(
    mut message: &'m [u8],
    mut read: impl FnMut(u64, FieldValue<'m>) -> Option<()>,
) -> Option<()> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = match tag & 7 {
            VARINT => FieldValue::Number(varint(&mut message)?),
            FIXED_64 => message.split_off(..8).map(|_| FieldValue::Fixed)?,
            LENGTH_DELIMITED => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                FieldValue::Message(message.split_off(..length)?)
            }
            FIXED_32 => message.split_off(..4).map(|_| FieldValue::Fixed)?,
            _ => return None,
        };
        let field = Some(tag >> 3).filter(|field| *field > 0)?;
        read(field, value)?;
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..MAX_VARINT {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::trace_export::protobuf::MessageWriter;

    /// An answer with these numbers, and a message beside each.
    fn answer(numbers: &[u64]) -> Vec<u8> {
        let mut writer = MessageWriter::default();
        for spans in numbers {
            writer.message(1, |success| {
                success.bytes(2, b"jane@example.org is too long");
                success.number(1, *spans);
                success.fixed64(7, 1);
            });
        }
        writer.number(3, 9);
        writer.into_bytes()
    }

    #[test]
    fn the_number_of_rejected_spans_is_read() {
        for (numbers, expected) in
            [(&[][..], 0), (&[0], 0), (&[3], 3), (&[300, 7], 7), (&[u64::MAX], 0), (&[1 << 62], 1 << 62)]
        {
            assert_eq!(rejected_spans(&answer(numbers)), expected, "{numbers:?}");
        }
        assert_eq!(rejected_spans(b""), 0);
        // By hand, as the specification of the encoding says.
        assert_eq!(rejected_spans(&[0x0a, 0x03, 0x08, 0xac, 0x02]), 300);
    }

    #[test]
    fn an_answer_that_cannot_be_read_rejects_nothing() {
        let whole = answer(&[5]);
        for length in 0..whole.len() - 2 {
            assert_eq!(rejected_spans(&whole[..length]), 0, "{length}");
        }
        for other in [
            &b"{}"[..],
            b"{\"partialSuccess\":{}}",
            b"<html>",
            b"OK\n",
            &[0xff; 20],
            &[0x0a, 0x7f],
            &[0x00, 0x05],
        ] {
            assert_eq!(rejected_spans(other), 0, "{other:?}");
        }
        // A message whose length is beyond the end.
        assert_eq!(
            rejected_spans(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x08, 0x01]),
            0
        );
    }
}
