//! Scored rows as records of a topic: the value in JSON or Avro, the key of the source, and where it came from as headers.
//!
//! Owns: which rows, and what a record holds. Pure.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray},
    compute::cast,
    datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimeUnit},
    error::ArrowError,
    json::{WriterBuilder, writer::LineDelimited},
    record_batch::RecordBatch,
};
use chrono::{DateTime, SecondsFormat};

use super::{Condition, OutletError, Source, avro::Writer};
use crate::record::Record;

const TOPIC: &str = "alluvium.topic";
const PARTITION: &str = "alluvium.partition";
const OFFSET: &str = "alluvium.offset";
const ROW: &str = "alluvium.row";
const DATASET: &str = "alluvium.dataset";
const GENERATION: &str = "alluvium.generation";
const MODEL: &str = "alluvium.model";
const REVISION: &str = "alluvium.revision";
const EVENT_TIME: &str = "alluvium.event_time";

/// How the value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResultFormat {
    #[default]
    Json,
    Avro,
}

/// A record on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    /// The source's partition.
    pub came_from: i32,
    pub record: Record,
}

/// How rows become records.
#[derive(Debug)]
pub(super) struct Results {
    pub condition: Option<Condition>,
    /// The column of the event time; the broker's timestamp, if none.
    pub event: Option<String>,
}

impl Results {
    /// Those that are to be sent.
    pub(super) fn select(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        self.condition.as_ref().map_or_else(|| Ok(rows.clone()), |condition| condition.select(rows))
    }

    /// `values` are the selected rows' as JSON or Avro.
    pub(super) fn records(
        &self,
        source: &Source,
        rows: &RecordBatch,
        values: Vec<Vec<u8>>,
    ) -> Result<Vec<Outgoing>, ArrowError> {
        let column = |name: &str| named(rows, name);
        let partitions = column("_partition")?.as_primitive_opt::<Int32Type>().ok_or_else(|| odd("_partition"))?;
        let offsets = column("_offset")?.as_primitive_opt::<Int64Type>().ok_or_else(|| odd("_offset"))?;
        let keys = column("_key")?.as_binary_opt::<i32>().ok_or_else(|| odd("_key"))?;
        let models = cast(column("_model")?, &DataType::Utf8)?;
        let models = models.as_string::<i32>();
        let numbers = rows.column_by_name("_row").map(|numbers| cast(numbers, &DataType::Int64)).transpose()?;
        let numbers = numbers.as_ref().map(arrow::array::AsArray::as_primitive::<Int64Type>);
        let events = event_times(rows, self.event.as_deref())?;
        let mut records = Vec::with_capacity(rows.num_rows());
        for (row, value) in values.into_iter().enumerate() {
            let mut headers = BTreeMap::new();
            let mut add = |name: &str, value: String| drop(headers.insert(name.to_owned(), value.into_bytes()));
            add(TOPIC, source.topic.to_string());
            add(DATASET, source.id.dataset.to_string());
            add(GENERATION, source.id.generation.to_string());
            add(PARTITION, partitions.value(row).to_string());
            add(OFFSET, offsets.value(row).to_string());
            add(MODEL, models.value(row).to_owned());
            if let Some((claim, number)) = source.revision {
                add(REVISION, format!("{claim}.r{number}"));
            }
            if let Some(numbers) = numbers {
                add(ROW, numbers.value(row).to_string());
            }
            if let Some(Some(event)) = events.get(row) {
                add(EVENT_TIME, event.clone());
            }
            let record = Record { key: key(keys, row), value: Some(value), headers, ..Record::default() };
            records.push(Outgoing { came_from: partitions.value(row), record });
        }
        Ok(records)
    }
}

/// The rows' values, as the format has them.
pub(super) fn values(rows: &RecordBatch, avro: Option<&Writer>) -> Result<Vec<Vec<u8>>, OutletError> {
    let rows = without_key(rows).map_err(|source| OutletError::Encode { what: "a result", source })?;
    match avro {
        Some(writer) => writer.rows(&rows),
        None => json(&rows).map_err(|source| OutletError::Encode { what: "JSON", source }),
    }
}

/// The columns of a value: the record's key is its key.
pub(super) fn value_columns(schema: &Schema) -> Schema {
    Schema::new(schema.fields().iter().filter(|field| field.name() != "_key").cloned().collect::<Vec<_>>())
}

fn without_key(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let kept: Vec<usize> =
        rows.schema().fields().iter().enumerate().filter(|(_, f)| f.name() != "_key").map(|(at, _)| at).collect();
    rows.project(&kept)
}

/// A line a row. A line break inside a text is escaped, so that lines are rows.
fn json(rows: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
    let rows = with_offsets(rows)?;
    let mut out = Vec::with_capacity(rows.num_rows() * 256);
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut out);
    writer.write(&rows)?;
    writer.finish()?;
    drop(writer);
    Ok(out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect())
}

/// UTC as an offset, the only form of a time zone that is known here.
fn with_offsets(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns): (Vec<Arc<Field>>, Vec<ArrayRef>) = (vec![], vec![]);
    let schema = rows.schema();
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        if let DataType::Timestamp(unit, Some(_)) = field.data_type() {
            let kind = DataType::Timestamp(*unit, Some("+00:00".into()));
            columns.push(cast(column, &kind)?);
            fields.push(Arc::new(field.as_ref().clone().with_data_type(kind)));
        } else {
            columns.push(column.clone());
            fields.push(field.clone());
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// RFC 3339 with milliseconds.
fn event_times(rows: &RecordBatch, event: Option<&str>) -> Result<Vec<Option<String>>, ArrowError> {
    let Some(column) = rows.column_by_name(event.unwrap_or("_timestamp")) else { return Ok(vec![]) };
    let ms = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into())))?;
    let ms = cast(&ms, &DataType::Int64)?;
    let told = |ms: i64| DateTime::from_timestamp_millis(ms).map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true));
    Ok(ms.as_primitive::<Int64Type>().iter().map(|ms| ms.and_then(told)).collect())
}

fn key(keys: &BinaryArray, row: usize) -> Option<Vec<u8>> {
    keys.is_valid(row).then(|| keys.value(row).to_vec())
}

fn named<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    rows.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")))
}

fn odd(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("column {name} has an unknown type"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Float32Array, Int32Array, Int64Array, StringArray, TimestampMillisecondArray, TimestampNanosecondArray,
    };

    use super::*;

    fn rows() -> RecordBatch {
        let columns: [(&str, ArrayRef); 9] = [
            ("note", Arc::new(StringArray::from(vec![Some("a\n\"b\""), None]))),
            ("at", Arc::new(TimestampNanosecondArray::from(vec![Some(1_000_000_001), None]).with_timezone("UTC"))),
            ("prediction", Arc::new(StringArray::from(vec!["fraud", "genuine"]))),
            ("confidence", Arc::new(Float32Array::from(vec![0.9, 0.5]))),
            ("_partition", Arc::new(Int32Array::from(vec![3, 3]))),
            ("_offset", Arc::new(Int64Array::from(vec![10, 12]))),
            ("_timestamp", Arc::new(TimestampMillisecondArray::from(vec![2_000, 3_000]).with_timezone("UTC"))),
            ("_key", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\0k"), None]))),
            ("_model", Arc::new(StringArray::from(vec!["iris@3", "iris@3"]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    #[test]
    fn a_result_has_the_source_s_key_its_columns_and_where_it_came_from() {
        let id = crate::offset::LaneId { dataset: "cards".into(), generation: 2, partition: 3 };
        let source = Source { id, topic: "payments".into(), begun_by: "w".into(), genesis: 0, revision: None };
        let results = Results { condition: None, event: Some("at".into()) };
        let rows = results.select(&rows()).unwrap();
        let records = results.records(&source, &rows, values(&rows, None).unwrap()).unwrap();
        let record = &records[0].record;
        assert_eq!((records.len(), records[0].came_from, record.key.as_deref()), (2, 3, Some(&b"\0k"[..])));
        assert_eq!(
            std::str::from_utf8(record.value.as_ref().unwrap()).unwrap(),
            "{\"note\":\"a\\n\\\"b\\\"\",\"at\":\"1970-01-01T00:00:01.000000001Z\",\"prediction\":\"fraud\",\
             \"confidence\":0.9,\"_partition\":3,\"_offset\":10,\"_timestamp\":\"1970-01-01T00:00:02Z\",\
             \"_model\":\"iris@3\"}"
        );
        let headers: Vec<_> =
            record.headers.iter().map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value))).collect();
        assert_eq!(
            headers,
            [
                "alluvium.dataset=cards",
                "alluvium.event_time=1970-01-01T00:00:01.000Z",
                "alluvium.generation=2",
                "alluvium.model=iris@3",
                "alluvium.offset=10",
                "alluvium.partition=3",
                "alluvium.topic=payments",
            ]
        );
        let second = &records[1].record;
        assert_eq!((second.key.as_ref(), second.headers.contains_key(EVENT_TIME)), (None, false));
        let source = Source { revision: Some((7, 2)), ..source };
        let records = results.records(&source, &rows, values(&rows, None).unwrap()).unwrap();
        assert_eq!(records[1].record.headers[REVISION], b"7.r2");
    }
}
