//! Where the fields of a record stand in its bytes, in every format. Reads only what this folder's own writers wrote.

use std::ops::Range;

use super::{
    encoding::Format,
    fields::{Field, Kind},
};

/// A field in a record's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// With its name, if it has one there.
    pub(super) whole: Range<usize>,
    pub(super) value: Range<usize>,
}

/// One span a field, or fewer if the bytes are not what they should be. `prefix` is what stands before an Avro record.
pub(super) fn spans(format: Format, fields: &[Field], prefix: usize, bytes: &[u8]) -> Vec<Span> {
    match format {
        Format::Json => json(bytes),
        Format::Csv => csv(bytes),
        Format::Avro => avro(fields, prefix, bytes),
    }
}

/// The members of a flat object.
fn json(bytes: &[u8]) -> Vec<Span> {
    let (mut spans, mut at) = (vec![], 1);
    while bytes.get(at) == Some(&b'"') {
        let value = after_text(bytes, at, b'\\') + 1;
        let end = match bytes.get(value) {
            Some(b'"') => after_text(bytes, value, b'\\'),
            _ => first(bytes, value, |byte| matches!(byte, b',' | b'}')),
        };
        spans.push(Span { whole: at..end, value: value..end });
        at = end + 1;
    }
    spans
}

fn csv(bytes: &[u8]) -> Vec<Span> {
    let (mut spans, mut at) = (vec![], 0);
    while at <= bytes.len() {
        // A quotation mark in quotation marks is there twice, so it ends one text and begins the next.
        let mut end = at;
        while bytes.get(end) == Some(&b'"') {
            end = after_text(bytes, end, 0);
        }
        let end = first(bytes, end, |byte| byte == b',');
        spans.push(Span { whole: at..end, value: at..end });
        at = end + 1;
    }
    spans
}

fn avro(fields: &[Field], prefix: usize, bytes: &[u8]) -> Vec<Span> {
    let mut at = prefix;
    let span = |field: &Field| {
        let start = at;
        at = match field.kind {
            Kind::Whole | Kind::Time => after_long(bytes, at),
            Kind::Decimal => at + 8,
            Kind::Flag => at + 1,
            Kind::Text => after_long(bytes, at) + length(bytes, at),
        };
        Span { whole: start..at, value: start..at }
    };
    fields.iter().map(span).collect()
}

/// One past the closing quotation mark of the text that begins at `at`.
fn after_text(bytes: &[u8], at: usize, escape: u8) -> usize {
    let mut at = at + 1;
    loop {
        match bytes.get(at) {
            None => return bytes.len(),
            Some(b'"') => return at + 1,
            Some(byte) if *byte == escape => at += 2,
            Some(_) => at += 1,
        }
    }
}

fn first(bytes: &[u8], from: usize, is: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| is(*byte)).unwrap_or(rest.len())
}

fn after_long(bytes: &[u8], at: usize) -> usize {
    first(bytes, at, |byte| byte < 0x80) + 1
}

fn length(bytes: &[u8], at: usize) -> usize {
    let digits = bytes.get(at..after_long(bytes, at)).unwrap_or_default();
    digits.iter().rev().fold(0, |length, byte| (length << 7) | usize::from(byte & 0x7f)) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Source, encoding::Encoding, fields};

    #[test]
    fn every_field_of_every_source_is_found_in_every_format() {
        for source in Source::ALL {
            let fields = fields::of_records(source, true);
            for encoding in [Encoding::json(true), Encoding::csv(true), Encoding::avro(source, true).unwrap()] {
                let mut stream = source.stream(5, 0);
                for _ in 0..500 {
                    let mut value = vec![];
                    encoding.push(&mut stream, &mut value);
                    let found = spans(encoding.format, &fields, encoding.prefix_bytes(), &value);
                    assert_eq!(found.len(), fields.len(), "{}", String::from_utf8_lossy(&value));
                    let end = found.last().unwrap().whole.end;
                    let close = usize::from(encoding.format == Format::Json);
                    assert_eq!(end + close, value.len());
                    let truth = &value[found.last().unwrap().value.clone()];
                    let is_class = String::from_utf8_lossy(truth).chars().any(char::is_alphabetic);
                    assert!(is_class, "{}", String::from_utf8_lossy(truth));
                }
            }
        }
    }

    #[test]
    fn quotation_marks_within_a_text_do_not_end_it() {
        let json = spans(Format::Json, &[], 0, br#"{"a":"x\"y,\\","b":-1.5}"#);
        assert_eq!(json.iter().map(|span| span.value.clone()).collect::<Vec<_>>(), [5..14, 19..23]);
        let csv = spans(Format::Csv, &[], 0, br#""a ""b"", c",,3"#);
        assert_eq!(csv.iter().map(|span| span.value.clone()).collect::<Vec<_>>(), [0..12, 13..13, 14..15]);
    }
}
