//! Bodies that nobody should have to read.

use super::UNKNOWN;
use crate::gateway::tests::fixture::BODY;

/// Bodies that a scrubber changes, refuses or finds hard to read.
pub(super) fn hostile_bodies() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = [
        BODY,
        UNKNOWN,
        "",
        " ",
        "\n\n",
        "null",
        "0",
        "\"Ada\"",
        "[]",
        "{}",
        "[[[]]]",
        "{ \"id\" : \"p-1\" ,\r\n\t\"name\" : \"Ada\" }\r\n",
        "{\"id\":\"p-1\",\"name\":\"\\u0041d\\u0061\"}",
        "{\"id\":\"p-1\",\"id\":\"p-2\",\"name\":\"Ada\",\"name\":\"Bea\"}",
        "{\"id\":\"p-1\",\"name\":null,\"email\":[],\"phone\":{}}",
        "{\"id\":1e400,\"name\":-0.0}",
        "{\"id\":12345678901234567890123456789,\"name\":\"x\"}",
        "{\"id\":\"p-1\",\"name\":\"Ada\"",
        "{\"id\":\"p-1\",\"name\":\"Ada",
        "{\"id\":\"p-1\",}",
        "{\"id\":\"p-1\"} trailing",
        "{\"id\":\"p-1\"}{\"id\":\"p-2\"}",
        "{'id':'p-1'}",
        "{\"id\":\"p-1\",\"name\":\"Ada\" /* a comment */}",
        "NaN",
        "<html><body>Ada</body></html>",
        "id,name\r\np-1,Ada\r\n",
        "{\"id\":\"p-1\",\"note\":\"{\\\"name\\\":\\\"Ada\\\"}\"}",
        "{\"id\":\"p-1\",\"\":\"\",\" \":\" \"}",
        "{\"__proto__\":{\"id\":\"p-1\"},\"constructor\":1}",
        "{\"id\":\"p-1\",\"name\":\"\u{1F600}\u{2028}\u{FEFF}\"}",
        "\u{FEFF}{\"id\":\"p-1\",\"name\":\"Ada\"}",
        "{\"id\":\"p-1\",\"name\":\"\\ud800\"}",
        "{\"id\":\"p-1\",\"name\":\"a\u{0}b\"}",
        "{\"id\":{\"id\":{\"id\":\"p-1\"}}}",
        "[{\"id\":\"p-1\",\"name\":\"Ada\"},{\"id\":\"p-2\",\"name\":\"Bea\"}]",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    bodies.push(b"{\"id\":\"p-1\",\"name\":\"\xff\xfe\"}".to_vec());
    bodies.push(b"\xff\xfe{\x00\"\x00".to_vec());
    bodies.push(format!("{}{}", "[".repeat(5000), "]".repeat(5000)).into_bytes());
    bodies.push(format!("{{\"id\":\"p-1\",\"name\":\"{}\"}}", "a".repeat(3 << 20)).into_bytes());
    bodies.push(format!("[{}]", vec![BODY; 4000].join(" ,\n")).into_bytes());
    bodies.push(format!("{{{}\"id\":\"p-1\"}}", "\"a\":1,".repeat(20_000)).into_bytes());
    bodies
}
