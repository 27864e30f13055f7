//! Numbers that JSON can't write but producers do: a bare `NaN`, `Infinity` or `-Infinity`, as Python's `json.dumps` puts
//! them, and numbers too large for any float. The parser stops at them; quoted, they let it go on, so that the record is
//! rejected for what is wrong with it. Only records that are rejects already come here.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::decode::slot::Slot;

/// Tells a quoted number from a text of the record. A text that begins so by itself may get a reject another reason, never
/// make it a row.
const MARK: &str = "\0bare ";
/// The mark as JSON writes it.
const MARK_IN_JSON: &str = "\\u0000bare ";

/// Whether it may be a bare number that the parser stopped at. Most records that are no JSON end here, without being
/// looked through.
pub(super) fn is_at(json: &str, error: &serde_json::Error) -> bool {
    let line = json.split('\n').nth(error.line().saturating_sub(1));
    let Some((before, after)) = line.and_then(|line| line.split_at_checked(error.column())) else { return false };
    let token_start = before.trim_end_matches(is_word).len();
    let token_end = before.len() + after.find(|c| !is_word(c)).unwrap_or(after.len());
    line.and_then(|line| line.get(token_start..token_end)).is_some_and(is_bare)
}

/// The record with its bare numbers quoted and marked; `None` if it has none.
pub(super) fn quote(json: &str) -> Option<String> {
    let mut quoted = None;
    let mut rest = json;
    let mut kept = 0;
    while !rest.is_empty() {
        let at = json.len() - rest.len();
        let (token, after) = rest.split_at(token_len(rest));
        if is_bare(token) {
            let out: &mut String = quoted.get_or_insert_with(|| String::with_capacity(2 * json.len()));
            for part in [&json[kept..at], "\"", MARK_IN_JSON, token, "\""] {
                out.push_str(part);
            }
            kept = at + token.len();
        }
        rest = after;
    }
    quoted.map(|out| out + &json[kept..])
}

/// Makes the marked texts what they were.
pub(super) fn unmark(slots: &mut [Slot<'_>]) {
    for slot in slots {
        if let Slot::Text(text) = slot
            && let Some(written) = text.strip_prefix(MARK)
        {
            *slot = Slot::NotFinite(Cow::Owned(written.to_owned()));
        }
    }
}

/// The length of the string, word or number, or else the character that `rest` begins with; `rest` is not empty.
fn token_len(rest: &str) -> usize {
    match rest.chars().next() {
        Some('"') => string_len(rest.as_bytes()),
        Some(first) if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
        first => first.map_or(rest.len(), char::len_utf8),
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// From the opening quotation mark to the closing one; to the end if there is none.
fn string_len(rest: &[u8]) -> usize {
    let mut escaped = true;
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn is_bare(token: &str) -> bool {
    matches!(token, "NaN" | "Infinity" | "-Infinity") || is_too_large(token)
}

fn is_too_large(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        && token.parse::<f64>().is_ok_and(f64::is_infinite)
        && serde_json::from_str::<IgnoredAny>(token).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_numbers_are_quoted_and_nothing_else_is() {
        let quoted = quote(r#"{"NaN":"NaN \" NaN","é":[NaN,-Infinity],"x":1e999}"#).unwrap();
        let mark = MARK_IN_JSON;
        let expected = format!(r#"{{"NaN":"NaN \" NaN","é":["{mark}NaN","{mark}-Infinity"],"x":"{mark}1e999"}}"#);
        assert_eq!(quoted, expected);
    }

    #[test]
    fn a_record_without_them_is_left_alone() {
        for json in
            ["", "{}", r#"{"a":"NaN"}"#, r#"{"a":nan,"b":inf,"c":+Infinity,"d":1e308,"e":01e999}"#, "\"\\", "é\""]
        {
            assert_eq!(quote(json), None, "{json}");
        }
    }

    #[test]
    fn the_mark_is_taken_off_again() {
        let quoted = quote("[NaN]").unwrap();
        let texts: Vec<String> = serde_json::from_str(&quoted).unwrap();
        let mut slots = texts.into_iter().map(|text| Slot::Text(text.into())).collect::<Vec<_>>();
        unmark(&mut slots);
        assert_eq!(slots, [Slot::NotFinite("NaN".into())]);
    }
}
