//! A record in Avro's binary form, and the schema that reads it.
//!
//! Owns: how a field is written. Does not own: what stands before the record, so that a reader finds the schema.

use super::{
    fields::{Field, Kind},
    row::{Row, push_entity, scale, units},
};

/// A record at the end of a buffer.
#[derive(Debug)]
pub struct Avro<'a> {
    value: &'a mut Vec<u8>,
    with_truth: bool,
}

impl<'a> Avro<'a> {
    pub fn begin(value: &'a mut Vec<u8>, prefix: &[u8], with_truth: bool) -> Self {
        value.extend_from_slice(prefix);
        Self { value, with_truth }
    }
}

impl Row for Avro<'_> {
    #[inline]
    fn id(&mut self, id: u64) {
        push_long(self.value, i64::try_from(id).unwrap_or(i64::MAX));
    }

    #[inline]
    fn whole(&mut self, _: &'static str, whole: i64) {
        push_long(self.value, whole);
    }

    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "what was a float with a few places is one again")]
    fn decimal(&mut self, _: &'static str, decimal: f64, places: u32) {
        push_double(self.value, units(decimal, places) as f64 / scale(places));
    }

    #[inline]
    fn flag(&mut self, _: &'static str, flag: bool) {
        self.value.push(u8::from(flag));
    }

    #[inline]
    fn text(&mut self, _: &'static str, text: &str) {
        push_bytes(self.value, text.as_bytes());
    }

    #[inline]
    fn time(&mut self, _: &'static str, ms: i64) {
        push_long(self.value, ms);
    }

    #[inline]
    fn entity(&mut self, _: &'static str, letter: char, number: u64) {
        // Its length comes first, and is a byte.
        let before = self.value.len();
        self.value.push(0);
        push_entity(self.value, letter, number);
        let written = self.value.len() - before - 1;
        if let Some(length) = self.value.get_mut(before) {
            *length = u8::try_from(2 * written).unwrap_or(u8::MAX);
        }
    }

    #[inline]
    fn truth(&mut self, name: &'static str, class: &'static str) {
        if self.with_truth {
            self.text(name, class);
        }
    }
}

/// Small numbers, of either sign, in few bytes.
#[inline]
pub(super) fn push_long(value: &mut Vec<u8>, long: i64) {
    let mut left = ((long << 1) ^ (long >> 63)).cast_unsigned();
    while left >= 0x80 {
        value.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    value.push((left & 0x7f) as u8);
}

#[inline]
pub(super) fn push_double(value: &mut Vec<u8>, double: f64) {
    value.extend_from_slice(&double.to_le_bytes());
}

#[inline]
pub(super) fn push_bytes(value: &mut Vec<u8>, bytes: &[u8]) {
    push_long(value, i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    value.extend_from_slice(bytes);
}

/// The schema of records with these fields, as JSON.
#[must_use]
pub fn schema(name: &str, fields: &[Field]) -> String {
    let field = |field: &Field| {
        let kind = match field.kind {
            Kind::Whole => r#""long""#,
            Kind::Decimal => r#""double""#,
            Kind::Flag => r#""boolean""#,
            Kind::Text => r#""string""#,
            Kind::Time => r#"{"type":"long","logicalType":"timestamp-millis"}"#,
        };
        format!(r#"{{"name":"{}","type":{kind}}}"#, field.name)
    };
    let fields: Vec<_> = fields.iter().map(field).collect();
    format!(r#"{{"type":"record","name":"{name}","namespace":"alluvium","fields":[{}]}}"#, fields.join(","))
}
