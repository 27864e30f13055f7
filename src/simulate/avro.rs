//! A record in Avro's binary form, and the schema that reads it.
//!
//! Owns: how a field is written, and what stands before the record so that a reader finds the schema. Does not own: the
//! registry that may have given the schema its number.

use serde_json::Value;

use super::{
    fields::{Field, Kind},
    row::{Row, push_entity, scale, units},
};

/// What single-object encoding begins with; the schema's fingerprint follows.
const SINGLE_OBJECT: [u8; 2] = [0xC3, 0x01];
/// What Confluent's wire format begins with; the schema's number in the registry follows.
const CONFLUENT: u8 = 0;

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

/// What a record in single-object encoding begins with; `schema` is one of this program's own.
pub fn single_object(schema: &str) -> Result<Vec<u8>, serde_json::Error> {
    let canonical = canonical(&serde_json::from_str(schema)?);
    Ok([SINGLE_OBJECT.as_slice(), &fingerprint(canonical.as_bytes()).to_le_bytes()].concat())
}

/// Avro's "parsing canonical form": of two schemas that read the same, it is the same. Not the library's, which keeps
/// what tells of a logical type, and so gives a fingerprint that other readers don't know.
fn canonical(schema: &Value) -> String {
    let joined =
        |parts: &[Value], each: &dyn Fn(&Value) -> String| parts.iter().map(each).collect::<Vec<_>>().join(",");
    let field = |field: &Value| format!(r#"{{"name":{},"type":{}}}"#, field["name"], canonical(&field["type"]));
    match (schema, schema["fields"].as_array()) {
        (_, Some(fields)) => {
            let [namespace, name] = ["namespace", "name"].map(|part| schema[part].as_str().unwrap_or_default());
            format!(r#"{{"name":"{namespace}.{name}","type":"record","fields":[{}]}}"#, joined(fields, &field))
        }
        (Value::Array(branches), _) => format!("[{}]", joined(branches, &canonical)),
        (Value::Object(kind), _) => kind.get("type").map(canonical).unwrap_or_default(),
        (name, _) => name.to_string(),
    }
}

/// CRC-64-AVRO.
fn fingerprint(bytes: &[u8]) -> u64 {
    const EMPTY: u64 = 0xc15d_213a_a4d7_a795;
    bytes.iter().fold(EMPTY, |sum, byte| {
        let row =
            (0..8).fold((sum ^ u64::from(*byte)) & 0xff, |row, _| (row >> 1) ^ (EMPTY & (row & 1).wrapping_neg()));
        (sum >> 8) ^ row
    })
}

/// What a record in Confluent's wire format begins with.
#[must_use]
pub fn numbered(schema_id: u32) -> Vec<u8> {
    [&[CONFLUENT], schema_id.to_be_bytes().as_slice()].concat()
}
