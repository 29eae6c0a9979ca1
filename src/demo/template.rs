//! Templates with placeholders of the form `{{key}}`.
//!
//! The keys are the caller's. Invariant: a placeholder without a value is an error, and never stays in the text.

/// Replaces every `{{key}}` of a template by the value that `value` returns for the key.
///
/// # Errors
/// The first key without a value, or the first placeholder without an end.
pub(super) fn fill<V: AsRef<str>>(
    template: &str,
    mut value: impl FnMut(&str) -> Option<V>,
) -> Result<String, String> {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let (key, tail) =
            after.split_once("}}").ok_or_else(|| format!("`{{{{` without `}}}}` after `{before}`"))?;
        let found = value(key).ok_or_else(|| format!("no value for `{key}`"))?;
        filled.push_str(found.as_ref());
        rest = tail;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_and_other_text_stays() {
        let filled = fill("a {{x}} b {{y}}{{x}} {c}", |key| Some(format!("<{key}>")));
        assert_eq!(filled.as_deref(), Ok("a <x> b <y><x> {c}"));
    }

    #[test]
    fn a_placeholder_without_value_or_end_is_an_error() {
        assert_eq!(fill::<&str>("{{who}}", |_| None), Err("no value for `who`".into()));
        assert!(fill("{{who", |_| Some("x")).is_err());
    }
}
