//! Names that come from outside: fields of a pipeline file, features and classes of a model that a stranger made. They go
//! to columns, folders, SQL and terminals.
//!
//! Owns: what no name may hold, and how text with such characters is shown. Does not own: names with rules of their own,
//! such as a dataset's.

use std::{borrow::Cow, fmt::Write as _};

use super::short;

/// Of a name.
pub const NAME_CHARS_MAX: usize = 200;
/// Of a name that is shown because it is wrong.
const NAME_SHOWN_CHARS_MAX: usize = 40;

/// Why nothing can have this name, as `has a control character in it`; `None` if it may.
#[must_use]
pub fn fault(name: &str) -> Option<String> {
    match () {
        () if name.trim().is_empty() => Some("is empty".to_owned()),
        () if name.chars().any(is_unseen) => Some("has a control character in it".to_owned()),
        () if name.chars().nth(NAME_CHARS_MAX).is_some() => Some(format!("is longer than {NAME_CHARS_MAX} characters")),
        () => None,
    }
}

/// A name in a message about it: in quotes, with escapes, and cut.
#[must_use]
pub fn quoted(name: &str) -> String {
    short::quoted(name, NAME_SHOWN_CHARS_MAX)
}

/// Text as a terminal may have it: what it would obey, and what would turn a line around, is escaped. Lines stay lines.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| is_unseen(c) && !matches!(c, '\n' | '\t');
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            // Writing to a string can't fail.
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Control characters, breaks of lines, and what writes a line from right to left.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_are_let_through_whatever_their_script() {
        let longest = "é".repeat(NAME_CHARS_MAX);
        for name in ["setosa", "Größe in cm", "花びら", "a/b", "it's", "\"quoted\"", "1", "e\u{301}", &longest] {
            assert_eq!(fault(name), None, "{name}");
        }
    }

    #[test]
    fn what_no_name_may_hold_is_told() {
        for (name, why) in [
            ("", "is empty"),
            (" \u{a0}", "is empty"),
            ("a\0", "control"),
            ("a\nb", "control"),
            ("\u{1b}[2J", "control"),
            ("\u{9b}2J", "control"),
            ("a\u{202e}b", "control"),
            ("a\u{2028}b", "control"),
            (&"x".repeat(NAME_CHARS_MAX + 1), "longer than 200"),
        ] {
            assert!(fault(name).is_some_and(|told| told.contains(why)), "{name:?}");
        }
    }

    #[test]
    fn a_terminal_is_given_nothing_to_obey_and_lines_stay_lines() {
        assert!(matches!(visible("plain ✓\n\ttext"), Cow::Borrowed(_)));
        assert_eq!(visible("a\u{1b}[31mb\r\u{7}\u{9b}\u{202e}\n"), "a\\u{1b}[31mb\\r\\u{7}\\u{9b}\\u{202e}\n");
    }

    #[test]
    fn a_name_in_a_message_is_cut() {
        assert_eq!(quoted("a\n\"b"), r#""a\n\"b""#);
        assert_eq!(quoted(&"x".repeat(1_000_000)).chars().count(), NAME_SHOWN_CHARS_MAX + 3);
    }
}
