//! Text that is shown no longer than so many characters, whatever comes from outside.
//!
//! Does not own: how long that is, and what a terminal may have ([`super::name::visible`]).

/// The first characters of a text; and `…`, if there are more.
#[must_use]
pub fn beginning(text: &str, chars_max: usize) -> (&str, &'static str) {
    let cut = text.char_indices().nth(chars_max).and_then(|(end, _)| text.get(..end));
    cut.map_or((text, ""), |cut| (cut, "…"))
}

/// Cut after so many characters, with a `…` beyond them.
#[must_use]
pub fn shortened(text: &str, chars_max: usize) -> String {
    let (shown, more) = beginning(text, chars_max);
    [shown, more].concat()
}

/// The same where the `…` must have its room too.
#[must_use]
pub fn fitted(text: &str, chars_max: usize) -> String {
    let (_, more) = beginning(text, chars_max);
    if more.is_empty() { text.to_owned() } else { shortened(text, chars_max.saturating_sub(1)) }
}

/// In quotes, on one line, with nothing in it that a terminal would obey.
#[must_use]
pub fn quoted(text: &str, chars_max: usize) -> String {
    let (shown, more) = beginning(text, chars_max);
    format!("{shown:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        assert_eq!((beginning("naïve", 5), beginning("naïveté", 3)), (("naïve", ""), ("naï", "…")));
        assert_eq!(
            (shortened("ñññ", 2), shortened("ñ", 2), shortened("", 0)),
            ("ññ…".into(), "ñ".into(), String::new())
        );
        assert_eq!((fitted("naïve", 5), fitted("naïveté", 5)), ("naïve".into(), "naïv…".into()));
        assert_eq!((fitted("ab", 1), fitted("ab", 0)), ("…".into(), "…".into()));
        assert_eq!(quoted("a\n\u{1b}[31m", 60), r#""a\n\u{1b}[31m""#);
        assert_eq!(quoted(&"é".repeat(100), 60), format!("{:?}…", "é".repeat(60)));
    }
}
