//! What a value in Avro begins with, so that a reader finds the schema that it was written by.
//!
//! Owns: the two ways of saying it, and the fingerprints of the schemas that this program writes by. Does not own: values,
//! and the schemas of others.

use serde_json::Value;

/// What the single-object encoding begins with; the schema's fingerprint follows.
const SINGLE_OBJECT: [u8; 2] = [0xC3, 0x01];
/// What Confluent's wire format begins with; the schema's number in the registry follows.
const CONFLUENT: u8 = 0;

const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

const TABLE: [u64; 256] = {
    let (mut table, mut i) = ([0; 256], 0);
    while i < table.len() {
        let (mut sum, mut bit) = (i as u64, 0);
        while bit < 8 {
            sum = (sum >> 1) ^ (EMPTY & (sum & 1).wrapping_neg());
            bit += 1;
        }
        table[i] = sum;
        i += 1;
    }
    table
};

/// CRC-64-AVRO, of a schema's "parsing canonical form".
#[must_use]
pub fn fingerprint(canonical: &str) -> u64 {
    canonical.bytes().fold(EMPTY, |sum, byte| {
        let at = usize::from(sum.to_le_bytes()[0] ^ byte);
        (sum >> 8) ^ TABLE[at]
    })
}

/// Of a schema of this program's own: a record whose fields are plain types, or unions of such.
pub fn own_fingerprint(schema: &str) -> Result<u64, serde_json::Error> {
    Ok(fingerprint(&canonical(&serde_json::from_str(schema)?)))
}

/// What a value in the single-object encoding begins with.
#[must_use]
pub fn single_object(fingerprint: u64) -> Vec<u8> {
    [SINGLE_OBJECT.as_slice(), &fingerprint.to_le_bytes()].concat()
}

/// The same for a schema of this program's own.
pub fn own_single_object(schema: &str) -> Result<Vec<u8>, serde_json::Error> {
    own_fingerprint(schema).map(single_object)
}

/// What a value in Confluent's wire format begins with.
#[must_use]
pub fn registered(schema_id: u32) -> Vec<u8> {
    [&[CONFLUENT], schema_id.to_be_bytes().as_slice()].concat()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A library's fingerprint, where it has the same view of the canonical form: without logical types.
    #[test]
    fn the_fingerprint_is_the_one_that_others_know() {
        for fields in [r#"{"name":"a","type":["null","long"],"default":null}"#, r#"{"name":"b","type":"string"}"#] {
            let schema = format!(r#"{{"type":"record","name":"row","namespace":"alluvium","fields":[{fields}]}}"#);
            let known = apache_avro::Schema::parse_str(&schema).unwrap().fingerprint::<apache_avro::rabin::Rabin>();
            assert_eq!(own_fingerprint(&schema).unwrap().to_le_bytes().as_slice(), known.bytes, "{schema}");
        }
    }

    #[test]
    fn a_logical_type_changes_nothing_in_how_a_value_is_read() {
        let of = |kind: &str| {
            let schema =
                r#"{"type":"record","name":"row","namespace":"alluvium","fields":[{"name":"at","type":KIND}]}"#;
            own_fingerprint(&schema.replace("KIND", kind)).unwrap()
        };
        assert_eq!(of(r#"{"type":"long","logicalType":"timestamp-millis"}"#), of(r#""long""#));
        assert_ne!(of(r#""long""#), of(r#"["null","long"]"#));
    }
}
