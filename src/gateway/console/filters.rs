//! Filters of the templates.
#![allow(unreachable_pub, reason = "the attribute `filter_fn` makes a public type of a filter")]

use std::fmt::Display;

use askama::filters::Safe;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Encodes a text for a segment of a path or a value of a query.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Encodes a text for a segment of a path or a value of a query.
#[askama::filter_fn]
pub(super) fn encoded(text: impl Display, _: &dyn askama::Values) -> askama::Result<String> {
    Ok(encode(&text.to_string()))
}

/// Shows the words between backticks as code. Escapes the text.
#[askama::filter_fn]
pub(super) fn coded(text: impl Display, _: &dyn askama::Values) -> askama::Result<Safe<String>> {
    Ok(Safe(with_code(&text.to_string())))
}

fn with_code(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for (at, part) in text.split('`').enumerate() {
        if at > 0 {
            html.push_str(if at % 2 == 1 { "<code>" } else { "</code>" });
        }
        for letter in part.chars() {
            match letter {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                '\'' => html.push_str("&#39;"),
                other => html.push(other),
            }
        }
    }
    if text.matches('`').count() % 2 == 1 {
        html.push_str("</code>");
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_marked_and_everything_is_escaped() {
        assert_eq!(with_code("see `a<b>` & 'c'"), "see <code>a&lt;b&gt;</code> &amp; &#39;c&#39;");
        assert_eq!(with_code("one ` only <script>"), "one <code> only &lt;script&gt;</code>");
        assert_eq!(with_code("``"), "<code></code>");
    }
}
