//! Scored rows in Avro, straight from their columns.
//!
//! Owns: the schema that follows from the columns, and the bytes. Pure. A value begins with what tells its schema: the
//! marker and fingerprint of Avro's single-object encoding, or a registry's number.

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray},
    compute::cast,
    datatypes::{DataType, Date32Type, Field, Float32Type, Float64Type, Int32Type, Int64Type, Schema, TimeUnit},
    error::ArrowError,
    record_batch::RecordBatch,
};
use serde_json::{Value, json};

use super::OutletError;
use crate::record::avro;

/// How a reader finds the schema of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By the schema's fingerprint (CRC-64-AVRO).
    Single(u64),
    /// By the number that a schema registry gave it.
    Registered(u32),
}

/// Writes rows whose columns are those of its schema.
#[derive(Debug)]
pub(super) struct Writer {
    columns: Vec<Column>,
    prefix: Vec<u8>,
}

#[derive(Debug)]
struct Column {
    name: String,
    nullable: bool,
}

impl Writer {
    pub(super) fn new(schema: &Schema, framing: Framing) -> Self {
        let column =
            |field: &std::sync::Arc<Field>| Column { name: field.name().clone(), nullable: is_optional(field) };
        Self { columns: schema.fields().iter().map(column).collect(), prefix: framing.prefix() }
    }

    /// A value for each row. A column that an older file lacks is null.
    pub(super) fn rows(&self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>, OutletError> {
        let failed = |source| OutletError::Encode { what: "Avro", source };
        let mut columns = vec![];
        for column in &self.columns {
            let values = rows.column_by_name(&column.name).map(Values::new).transpose().map_err(failed)?;
            if values.is_none() && !column.nullable {
                let lacks = format!("no column {}, which the schema asks for", column.name);
                return Err(failed(ArrowError::SchemaError(lacks)));
            }
            columns.push((column.nullable, values));
        }
        let row = |row: usize| {
            let mut out = self.prefix.clone();
            for (nullable, values) in &columns {
                match values.as_ref().filter(|values| values.is_valid(row)) {
                    Some(values) => {
                        if *nullable {
                            long(1, &mut out);
                        }
                        values.put(row, &mut out);
                    }
                    None => long(0, &mut out),
                }
            }
            out
        };
        Ok((0..rows.num_rows()).map(row).collect())
    }
}

impl Framing {
    fn prefix(self) -> Vec<u8> {
        match self {
            Self::Single(fingerprint) => avro::single_object(fingerprint),
            Self::Registered(id) => avro::registered(id),
        }
    }
}

/// The schema as JSON, and its fingerprint.
pub(super) fn schema(columns: &Schema, dataset: &str) -> Result<(String, u64), OutletError> {
    let mut taken = vec![];
    let mut fields = vec![];
    for field in columns.fields() {
        let name = unused(&plain(field.name()), &taken);
        taken.push(name.clone());
        let kind = kind(field.data_type())
            .ok_or_else(|| OutletError::Unfit(format!("column {} has no type in Avro", field.name())))?;
        let mut told = json!({ "name": name, "type": kind });
        if is_optional(field) {
            told = json!({ "name": name, "type": ["null", kind], "default": null });
        }
        if name != *field.name()
            && let Some(members) = told.as_object_mut()
        {
            members.insert("doc".into(), Value::String(field.name().clone()));
        }
        fields.push(told);
    }
    let schema = json!({
        "type": "record", "name": plain(&format!("{dataset}_scored")), "namespace": "alluvium", "fields": fields,
    });
    let text = schema.to_string();
    let unfit = |error| OutletError::Unfit(format!("the columns make no Avro schema: {error}"));
    let fingerprint = avro::own_fingerprint(&text).map_err(unfit)?;
    Ok((text, fingerprint))
}

/// Columns of the record itself may come and go with the file; those of its origin and result are always there.
fn is_optional(field: &Field) -> bool {
    let always = field.name().starts_with('_') || matches!(field.name().as_str(), "prediction" | "confidence");
    !always || field.is_nullable()
}

fn kind(of: &DataType) -> Option<Value> {
    Some(match of {
        DataType::Int32 => json!("int"),
        DataType::Int64 | DataType::Timestamp(TimeUnit::Second, _) => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Boolean => json!("boolean"),
        DataType::Utf8 => json!("string"),
        DataType::Binary => json!("bytes"),
        DataType::Date32 => json!({ "type": "int", "logicalType": "date" }),
        DataType::Timestamp(unit, _) => {
            let logical = match unit {
                TimeUnit::Millisecond => "timestamp-millis",
                TimeUnit::Microsecond => "timestamp-micros",
                _ => "timestamp-nanos",
            };
            json!({ "type": "long", "logicalType": logical })
        }
        DataType::Dictionary(_, value) => return kind(value),
        _ => return None,
    })
}

/// A name that Avro takes.
fn plain(name: &str) -> String {
    let mut plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if plain.starts_with(|c: char| c.is_ascii_digit()) || plain.is_empty() {
        plain.insert(0, '_');
    }
    plain
}

fn unused(name: &str, taken: &[String]) -> String {
    let numbered = (2..).map(|n| format!("{name}_{n}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

enum Values {
    Int(PrimitiveArray<Int32Type>),
    Long(PrimitiveArray<Int64Type>),
    Float(PrimitiveArray<Float32Type>),
    Double(PrimitiveArray<Float64Type>),
    Date(PrimitiveArray<Date32Type>),
    Bool(arrow::array::BooleanArray),
    Text(arrow::array::StringArray),
    Bytes(arrow::array::BinaryArray),
}

impl Values {
    fn new(column: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(match column.data_type() {
            DataType::Int32 => Self::Int(column.as_primitive().clone()),
            DataType::Int64 => Self::Long(column.as_primitive().clone()),
            DataType::Float32 => Self::Float(column.as_primitive().clone()),
            DataType::Float64 => Self::Double(column.as_primitive().clone()),
            DataType::Date32 => Self::Date(column.as_primitive().clone()),
            DataType::Boolean => Self::Bool(column.as_boolean().clone()),
            DataType::Binary => Self::Bytes(column.as_binary().clone()),
            DataType::Timestamp(..) => Self::Long(cast(column, &DataType::Int64)?.as_primitive().clone()),
            _ => Self::Text(cast(column, &DataType::Utf8)?.as_string().clone()),
        })
    }

    fn is_valid(&self, row: usize) -> bool {
        match self {
            Self::Int(values) => values.is_valid(row),
            Self::Long(values) => values.is_valid(row),
            Self::Float(values) => values.is_valid(row),
            Self::Double(values) => values.is_valid(row),
            Self::Date(values) => values.is_valid(row),
            Self::Bool(values) => values.is_valid(row),
            Self::Text(values) => values.is_valid(row),
            Self::Bytes(values) => values.is_valid(row),
        }
    }

    fn put(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Int(values) => long(i64::from(values.value(row)), out),
            Self::Date(values) => long(i64::from(values.value(row)), out),
            Self::Long(values) => long(values.value(row), out),
            Self::Float(values) => out.extend(values.value(row).to_le_bytes()),
            Self::Double(values) => out.extend(values.value(row).to_le_bytes()),
            Self::Bool(values) => out.push(u8::from(values.value(row))),
            Self::Text(values) => bytes(values.value(row).as_bytes(), out),
            Self::Bytes(values) => bytes(values.value(row), out),
        }
    }
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    // Arrow's own lengths are an i32.
    long(i64::try_from(value.len()).unwrap_or(0), out);
    out.extend(value);
}

/// Zigzag, seven bits a byte.
fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use apache_avro::types::Value as Avro;
    use arrow::array::{Date32Array, Float32Array, Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    fn rows() -> RecordBatch {
        let columns: [(&str, ArrayRef, bool); 7] = [
            ("sepal length", Arc::new(Float32Array::from(vec![Some(0.1), None])), true),
            ("sepal_length", Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX])), false),
            ("day", Arc::new(Date32Array::from(vec![Some(-1), None])), true),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(5), None]).with_timezone("UTC")), true),
            ("text", Arc::new(StringArray::from(vec![Some("é\0"), Some("")])), true),
            ("prediction", Arc::new(StringArray::from(vec!["a", "b"])), false),
            ("_offset", Arc::new(Int64Array::from(vec![0, 300])), false),
        ];
        let schema = Schema::new(
            columns
                .iter()
                .map(|(name, column, null)| Field::new(*name, column.data_type().clone(), *null))
                .collect::<Vec<_>>(),
        );
        RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, column, _)| column).collect()).unwrap()
    }

    #[test]
    fn another_reader_finds_every_value() {
        let rows = rows();
        let (text, fingerprint) = schema(&rows.schema(), "my data").unwrap();
        let parsed = apache_avro::Schema::parse_str(&text).unwrap();
        let values = Writer::new(&rows.schema(), Framing::Single(fingerprint)).rows(&rows).unwrap();
        assert_eq!(values[0][..2], [0xc3, 0x01]);
        assert_eq!(values[0][2..10], fingerprint.to_le_bytes());
        let read = |row: usize| {
            let Avro::Record(fields) = apache_avro::from_avro_datum(&parsed, &mut &values[row][10..], None).unwrap()
            else {
                panic!("a record")
            };
            fields
        };
        let union = |at, value| Avro::Union(at, Box::new(value));
        let of = |name: &str, value| (name.to_owned(), value);
        assert_eq!(
            read(0),
            [
                of("sepal_length", union(1, Avro::Float(0.1))),
                of("sepal_length_2", union(1, Avro::Long(i64::MIN))),
                of("day", union(1, Avro::Date(-1))),
                of("at", union(1, Avro::TimestampMicros(5))),
                of("text", union(1, Avro::String("é\0".into()))),
                of("prediction", Avro::String("a".into())),
                of("_offset", Avro::Long(0)),
            ]
        );
        assert_eq!(read(1)[3], of("at", union(0, Avro::Null)));
        assert_eq!(read(1)[6], of("_offset", Avro::Long(300)));
    }

    #[test]
    fn a_registry_s_number_stands_before_a_value() {
        let rows = rows();
        let values = Writer::new(&rows.schema(), Framing::Registered(258)).rows(&rows).unwrap();
        assert_eq!(values[0][..5], [0, 0, 0, 1, 2]);
    }

    #[test]
    fn a_column_that_an_older_file_lacks_is_null() {
        let rows = rows();
        let writer = Writer::new(&rows.schema(), Framing::Registered(1));
        let older = rows.project(&[1, 5, 6]).unwrap();
        assert_eq!(writer.rows(&older).unwrap()[0][5..6], [0]);
        let broken = rows.project(&[0, 1]).unwrap();
        assert!(writer.rows(&broken).unwrap_err().to_string().contains("Avro"));
    }
}
