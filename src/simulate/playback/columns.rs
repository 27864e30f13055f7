//! What single values of a table mean on their way: keys, times, and columns in the types that Avro has. Pure.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::{cast, kernels::cast_utils::string_to_datetime},
    datatypes::{
        DataType, Date32Type, Field, Float64Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
        TimestampMillisecondType,
    },
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use chrono::Utc;
use serde_json::value::RawValue;

use crate::simulate::avro::{push_bytes, push_double, push_long};

/// As an offset, which needs no database of time zones.
const UTC: &str = "+00:00";
/// A whole number above it tells milliseconds since 1970, one up to it seconds: as seconds it is the year 5138.
const SECONDS_MAX: i64 = 100_000_000_000;

/// All timestamps in UTC, and said so: what has no zone is taken for UTC.
pub(super) fn in_utc(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let is_time = |field: &Arc<Field>| matches!(field.data_type(), DataType::Timestamp(..));
    if !batch.schema_ref().fields().iter().any(is_time) {
        return Ok(batch);
    }
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let kind = match field.data_type() {
            DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, Some(UTC.into())),
            kind => kind.clone(),
        };
        columns.push(cast(column, &kind)?);
        fields.push(Field::new(field.name(), kind, true));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The keys of the rows; a row without a value there has none.
pub(super) fn keys(column: &ArrayRef) -> Result<Vec<Option<Vec<u8>>>, ArrowError> {
    let options = FormatOptions::default();
    let text = ArrayFormatter::try_new(column, &options)?;
    let key = |row| (!column.is_null(row)).then(|| text.value(row).to_string().into_bytes());
    Ok((0..column.len()).map(key).collect())
}

/// The times that a column tells, in milliseconds since 1970; the row, if one is no time.
pub(super) fn times(column: &ArrayRef) -> Result<Vec<Option<i64>>, usize> {
    let rows = 0..column.len();
    let tell = |time: &dyn Fn(usize) -> Option<i64>| {
        rows.map(|row| if column.is_null(row) { Ok(None) } else { time(row).map(Some).ok_or(row) }).collect()
    };
    match column.data_type() {
        DataType::Utf8 => tell(&|row| of_text(column.as_string::<i32>().value(row))),
        DataType::Int64 => tell(&|row| Some(of_whole(column.as_primitive::<Int64Type>().value(row)))),
        DataType::Float64 => tell(&|row| of_number(column.as_primitive::<Float64Type>().value(row))),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            let times = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None)).map_err(|_| 0_usize)?;
            tell(&|row| Some(times.as_primitive::<TimestampMillisecondType>().value(row)))
        }
        _ => {
            let plain = plain(column).map_err(|_| 0_usize)?;
            if plain.data_type() == column.data_type() { Err(0) } else { times(&plain) }
        }
    }
}

/// Smaller numbers and other texts as the few kinds that are looked at.
fn plain(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    use DataType::{
        Decimal128, Dictionary, Float32, Int8, Int16, Int32, LargeUtf8, UInt8, UInt16, UInt32, UInt64, Utf8View,
    };
    match column.data_type() {
        Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 | UInt64 => cast(column, &DataType::Int64),
        Float32 | Decimal128(..) => cast(column, &DataType::Float64),
        LargeUtf8 | Utf8View | Dictionary(..) => cast(column, &DataType::Utf8),
        _ => Ok(Arc::clone(column)),
    }
}

fn of_text(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<f64>() {
        return of_number(number);
    }
    string_to_datetime(&Utc, text).ok().map(|time| time.timestamp_millis())
}

fn of_whole(number: i64) -> i64 {
    if number.abs() <= SECONDS_MAX { number.saturating_mul(1_000) } else { number }
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
#[expect(clippy::cast_precision_loss, reason = "a power of ten")]
fn of_number(number: f64) -> Option<i64> {
    let seconds_max = SECONDS_MAX as f64;
    match number {
        number if number.abs() <= seconds_max => Some((number * 1_000.0).round() as i64),
        number if number.abs() <= 1_000.0 * seconds_max => Some(number.round() as i64),
        _ => None,
    }
}

/// The key that a member of a JSON object is.
pub(super) fn key_of_member(member: &RawValue) -> Option<Vec<u8>> {
    match member.get() {
        "null" => None,
        text if text.starts_with('"') => serde_json::from_str::<String>(text).ok().map(String::into_bytes),
        text => Some(text.as_bytes().to_vec()),
    }
}

/// The time that a member of a JSON object tells.
pub(super) fn time_of_member(member: &RawValue) -> Result<Option<i64>, ()> {
    let text = match member.get() {
        "null" => return Ok(None),
        text if text.starts_with('"') => serde_json::from_str::<String>(text).map_err(drop)?,
        text => text.to_owned(),
    };
    of_text(&text).map(Some).ok_or(())
}

/// The type that a column is brought to before it is written in Avro, and what the schema says of it.
pub(super) fn in_avro(kind: &DataType) -> Option<(DataType, &'static str)> {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Decimal32, Decimal64, Decimal128, Dictionary, FixedSizeBinary,
        Float16, Float32, Float64, Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8, Null, Timestamp, UInt8, UInt16,
        UInt32, Utf8, Utf8View,
    };
    Some(match kind {
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 => (Int64, r#""long""#),
        Float16 | Float32 | Float64 | Decimal32(..) | Decimal64(..) | Decimal128(..) => (Float64, r#""double""#),
        Boolean => (Boolean, r#""boolean""#),
        Utf8 | LargeUtf8 | Utf8View | Null => (Utf8, r#""string""#),
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => (Binary, r#""bytes""#),
        Timestamp(..) => {
            (Timestamp(TimeUnit::Microsecond, Some(UTC.into())), r#"{"type":"long","logicalType":"timestamp-micros"}"#)
        }
        Date32 | Date64 => (Date32, r#"{"type":"int","logicalType":"date"}"#),
        Dictionary(_, values) => return in_avro(values),
        _ => return None,
    })
}

/// Appends a value as a union of null and its type. The column is of a type that [`in_avro`] gives.
pub(super) fn push_avro(value: &mut Vec<u8>, column: &ArrayRef, row: usize) {
    if column.is_null(row) {
        return push_long(value, 0);
    }
    push_long(value, 1);
    match column.data_type() {
        DataType::Int64 => push_long(value, column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => push_double(value, column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => value.push(u8::from(column.as_boolean().value(row))),
        DataType::Binary => push_bytes(value, column.as_binary::<i32>().value(row)),
        DataType::Date32 => push_long(value, i64::from(column.as_primitive::<Date32Type>().value(row))),
        DataType::Timestamp(..) => push_long(value, column.as_primitive::<TimestampMicrosecondType>().value(row)),
        _ => push_bytes(value, column.as_string::<i32>().value(row).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, ListArray, StringArray, TimestampSecondArray};

    use super::*;

    #[test]
    fn a_time_is_a_timestamp_a_text_or_seconds_or_milliseconds() {
        let texts = StringArray::from(vec![
            Some("2025-01-01T00:00:01Z"),
            Some("2025-01-01 00:00:01.5"),
            Some("1735689601"),
            Some("1735689601500"),
            None,
        ]);
        let base = 1_735_689_601_000;
        let wanted = [Some(base), Some(base + 500), Some(base), Some(base + 500), None];
        assert_eq!(times(&(Arc::new(texts) as ArrayRef)).unwrap(), wanted);
        assert_eq!(times(&(Arc::new(TimestampSecondArray::from(vec![7])) as ArrayRef)).unwrap(), [Some(7_000)]);
        assert_eq!(times(&(Arc::new(Int32Array::from(vec![7])) as ArrayRef)).unwrap(), [Some(7_000)]);
        assert_eq!(times(&(Arc::new(StringArray::from(vec!["2025-01-01", "soon"])) as ArrayRef)), Err(1));
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])]);
        assert_eq!(times(&(Arc::new(list) as ArrayRef)), Err(0));
    }

    #[test]
    fn a_member_is_a_key_as_it_reads() {
        let raw = |json: &str| key_of_member(&RawValue::from_string(json.to_owned()).unwrap());
        assert_eq!(raw("\"a\\nb\"").as_deref(), Some(b"a\nb".as_slice()));
        assert_eq!(raw("17").as_deref(), Some(b"17".as_slice()));
        assert_eq!(raw("null"), None);
    }
}
