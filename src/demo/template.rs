//! Texts with places to fill: `{{key}}`.
//!
//! It knows no keys of its own. Invariant: a place that nobody fills is said by name, never left in.

/// Fills every `{{key}}` of a template with what `value` gives for it.
///
/// # Errors
/// The first key that has no value, or that is never closed.
pub fn fill<V: AsRef<str>>(
    template: &str,
    mut value: impl FnMut(&str) -> Option<V>,
) -> Result<String, String> {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let (key, tail) =
            after.split_once("}}").ok_or_else(|| format!("`{{{{` without `}}}}` before `{before}`"))?;
        let found = value(key).ok_or_else(|| format!("nothing fills `{key}`"))?;
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
    fn places_are_filled_and_the_rest_is_left_alone() {
        let filled = fill("a {{x}} b {{y}}{{x}} {c}", |key| Some(format!("<{key}>")));
        assert_eq!(filled.as_deref(), Ok("a <x> b <y><x> {c}"));
    }

    #[test]
    fn an_unknown_or_open_place_is_an_error() {
        assert_eq!(fill::<&str>("{{who}}", |_| None), Err("nothing fills `who`".into()));
        assert!(fill("{{who", |_| Some("x")).is_err());
    }
}
