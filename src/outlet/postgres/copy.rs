//! Rows as the bytes of a binary `COPY`.
//!
//! Owns: which column of a file goes to which of the table, and how its values are written. Pure.
//!
//! | in the lake | in PostgreSQL | what it can't hold |
//! |---|---|---|
//! | text | `text` | NUL characters: each becomes U+FFFD, and is counted |
//! | timestamp | `timestamptz` | what is finer than a microsecond is cut off (a `bigint` column holds nanoseconds exactly); what lies outside its years becomes `infinity` or `-infinity`, and is counted |
//! | date | `date` | the same |
//! | float | `real`, `double precision` | nothing: NaN and the infinities are theirs too |

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray},
    datatypes::{
        ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, Schema, TimeUnit,
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    },
    error::ArrowError,
    record_batch::RecordBatch,
};
use bytes::{BufMut, BytesMut};

use super::{
    OutletError,
    names::{Quoted, identifier},
    table::{Column, create, kind_of},
};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Between 1970 and 2000, from which PostgreSQL counts.
const EPOCH_DAYS: i64 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS * 86_400_000_000;
/// The first day and the first moment that it holds (4714 BC), and the first that it doesn't (294277, 5874898).
const DAYS: std::ops::Range<i64> = -2_451_545..2_145_031_949;
const MICROS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;
/// What stands for a NUL character.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// How a column's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Int4,
    Int8,
    Float4,
    Float8,
    Bool,
    Text,
    Bytes,
    /// How many nanoseconds a unit is.
    Moment(i64),
    /// Nanoseconds since 1970, as they are.
    Nanos,
    Date,
}

/// Where the columns of some files go.
#[derive(Debug)]
pub(super) struct Plan {
    names: Vec<String>,
    how: Vec<How>,
}

impl Plan {
    /// Tells all that does not fit at once, with the statement that would help.
    pub(super) fn new(schema: &Schema, there: &[Column], to: &Quoted) -> Result<Self, OutletError> {
        let (mut missing, mut other, mut how, mut names) = (vec![], vec![], vec![], vec![]);
        for field in schema.fields() {
            let kind = kind_of(field.data_type()).unwrap_or("text");
            match there.iter().find(|column| column.name == *field.name()) {
                None => missing.push(format!("ADD COLUMN {} {kind}", identifier(field.name()))),
                Some(column) => match How::of(field.data_type(), &column.kind) {
                    Some(fits) => {
                        names.push(field.name().clone());
                        how.push(fits);
                    }
                    None => {
                        other.push(format!(
                            "{} is {}, and the rows need {kind}",
                            identifier(field.name()),
                            column.kind
                        ));
                    }
                },
            }
        }
        let unfilled = there.iter().filter(|column| !column.optional && schema.field_with_name(&column.name).is_err());
        other.extend(
            unfilled.map(|column| format!("{} may not be left out, and no row has it", identifier(&column.name))),
        );
        if missing.is_empty() && other.is_empty() {
            return Ok(Self { names, how });
        }
        let mut told = vec![];
        if !other.is_empty() {
            told.push(format!(
                "{}; choose another `table` under [postgres], or start from: {}",
                other.join(", "),
                create(to, schema)?
            ));
        }
        if !missing.is_empty() {
            told.push(format!("it lacks columns; run: ALTER TABLE {to} {}", missing.join(", ")));
        }
        Err(OutletError::Misfit(format!("the table {to} does not fit the rows: {}", told.join("; "))))
    }

    pub(super) fn statement(&self, to: &Quoted) -> String {
        let names: Vec<_> = self.names.iter().map(|name| identifier(name)).collect();
        format!("COPY {to} ({}) FROM STDIN BINARY", names.join(", "))
    }

    /// Appends the rows; how many values could not be written as they are.
    pub(super) fn encode(&self, rows: &RecordBatch, out: &mut BytesMut) -> Result<u64, OutletError> {
        let failed = |source| OutletError::Encode { what: "a copy for PostgreSQL", source };
        let mut columns = vec![];
        for (name, how) in self.names.iter().zip(&self.how) {
            let lacks = || ArrowError::SchemaError(format!("no column {name}"));
            let column = rows.column_by_name(name).ok_or_else(lacks).map_err(failed)?;
            columns.push(Values::new(column, *how).map_err(failed)?);
        }
        let fields = i16::try_from(columns.len())
            .map_err(|_| OutletError::Misfit("PostgreSQL has no tables of so many columns".into()))?;
        let mut altered = 0;
        for row in 0..rows.num_rows() {
            out.put_i16(fields);
            for column in &columns {
                altered += u64::from(column.put(row, out)?);
            }
        }
        Ok(altered)
    }
}

/// The header of a copy.
pub(super) fn begin(out: &mut BytesMut) {
    out.put_slice(SIGNATURE);
    out.put_i32(0);
    out.put_i32(0);
}

/// What says that there are no more rows.
pub(super) fn end(out: &mut BytesMut) {
    out.put_i16(-1);
}

impl How {
    fn of(kind: &DataType, column: &str) -> Option<Self> {
        let kind = match kind {
            DataType::Dictionary(_, value) => value.as_ref(),
            plain => plain,
        };
        Some(match (kind, column) {
            (DataType::Int32, "integer") => Self::Int4,
            (DataType::Int32 | DataType::Int64, "bigint") => Self::Int8,
            (DataType::Float32, "real") => Self::Float4,
            (DataType::Float32 | DataType::Float64, "double precision") => Self::Float8,
            (DataType::Boolean, "boolean") => Self::Bool,
            (DataType::Utf8, "text" | "character varying") => Self::Text,
            (DataType::Binary, "bytea") => Self::Bytes,
            (DataType::Timestamp(TimeUnit::Nanosecond, _), "bigint") => Self::Nanos,
            (DataType::Timestamp(unit, _), "timestamp with time zone") => Self::Moment(match unit {
                TimeUnit::Second => 1_000_000_000,
                TimeUnit::Millisecond => 1_000_000,
                TimeUnit::Microsecond => 1_000,
                TimeUnit::Nanosecond => 1,
            }),
            (DataType::Date32, "date") => Self::Date,
            _ => return None,
        })
    }
}

/// A column of a batch, ready to be written.
enum Values {
    Int4(PrimitiveArray<Int32Type>),
    Int8(PrimitiveArray<Int64Type>),
    Float4(PrimitiveArray<Float32Type>),
    Float8(PrimitiveArray<Float64Type>),
    /// In the units of `How::Moment`.
    Moment(PrimitiveArray<Int64Type>, i64),
    Date(PrimitiveArray<Date32Type>),
    Bool(arrow::array::BooleanArray),
    Text(arrow::array::StringArray),
    Bytes(arrow::array::BinaryArray),
}

impl Values {
    fn new(column: &ArrayRef, how: How) -> Result<Self, ArrowError> {
        let plain = |to: &DataType| arrow::compute::cast(column, to);
        Ok(match how {
            How::Int4 => Self::Int4(plain(&DataType::Int32)?.as_primitive().clone()),
            How::Int8 => Self::Int8(plain(&DataType::Int64)?.as_primitive().clone()),
            How::Float4 => Self::Float4(plain(&DataType::Float32)?.as_primitive().clone()),
            How::Float8 => Self::Float8(plain(&DataType::Float64)?.as_primitive().clone()),
            How::Bool => Self::Bool(plain(&DataType::Boolean)?.as_boolean().clone()),
            How::Text => Self::Text(plain(&DataType::Utf8)?.as_string().clone()),
            How::Bytes => Self::Bytes(plain(&DataType::Binary)?.as_binary().clone()),
            How::Date => Self::Date(plain(&DataType::Date32)?.as_primitive().clone()),
            How::Nanos => Self::Int8(units(column)?),
            How::Moment(nanos) => Self::Moment(units(column)?, nanos),
        })
    }

    /// Appends one value; whether it could not be written as it is.
    fn put(&self, row: usize, out: &mut BytesMut) -> Result<bool, OutletError> {
        let mut altered = false;
        match self {
            Self::Int4(values) => put(values, row, out, bytes::BufMut::put_i32),
            Self::Int8(values) => put(values, row, out, bytes::BufMut::put_i64),
            Self::Float4(values) => put(values, row, out, bytes::BufMut::put_f32),
            Self::Float8(values) => put(values, row, out, bytes::BufMut::put_f64),
            Self::Moment(values, nanos) => put(values, row, out, |out, value| {
                let (micros, outside) = moment(value, *nanos);
                altered = outside;
                out.put_i64(micros);
            }),
            Self::Date(values) => put(values, row, out, |out, value| {
                let (days, outside) = date(value);
                altered = outside;
                out.put_i32(days);
            }),
            Self::Bool(values) if values.is_null(row) => out.put_i32(-1),
            Self::Bool(values) => {
                out.put_i32(1);
                out.put_u8(u8::from(values.value(row)));
            }
            Self::Text(values) if values.is_null(row) => out.put_i32(-1),
            Self::Text(values) => altered = text(values.value(row).as_bytes(), out)?,
            Self::Bytes(values) if values.is_null(row) => out.put_i32(-1),
            Self::Bytes(values) => bytes(values.value(row), out)?,
        }
        Ok(altered)
    }
}

fn put<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    row: usize,
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut, T::Native),
) {
    if values.is_null(row) {
        return out.put_i32(-1);
    }
    // Eight bytes at most.
    out.put_i32(i32::try_from(size_of::<T::Native>()).unwrap_or(0));
    write(out, values.value(row));
}

/// A timestamp's numbers, whatever their unit.
fn units(column: &ArrayRef) -> Result<PrimitiveArray<Int64Type>, ArrowError> {
    Ok(match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => column.as_primitive::<TimestampSecondType>().reinterpret_cast(),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            column.as_primitive::<TimestampMillisecondType>().reinterpret_cast()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            column.as_primitive::<TimestampMicrosecondType>().reinterpret_cast()
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            column.as_primitive::<TimestampNanosecondType>().reinterpret_cast()
        }
        other => return Err(ArrowError::CastError(format!("{other} is no timestamp"))),
    })
}

/// Microseconds since 2000, and whether the moment lies outside what can be held.
fn moment(value: i64, nanos: i64) -> (i64, bool) {
    let micros = (i128::from(value) * i128::from(nanos)).div_euclid(1_000) - i128::from(EPOCH_MICROS);
    match i64::try_from(micros) {
        Ok(micros) if MICROS.contains(&micros) => (micros, false),
        _ if micros < 0 => (i64::MIN, true),
        _ => (i64::MAX, true),
    }
}

fn date(days: i32) -> (i32, bool) {
    let days = i64::from(days) - EPOCH_DAYS;
    match i32::try_from(days) {
        Ok(narrow) if DAYS.contains(&days) => (narrow, false),
        _ if days < 0 => (i32::MIN, true),
        _ => (i32::MAX, true),
    }
}

fn text(value: &[u8], out: &mut BytesMut) -> Result<bool, OutletError> {
    if !value.contains(&0) {
        bytes(value, out)?;
        return Ok(false);
    }
    let pieces: Vec<&[u8]> = value.split(|byte| *byte == 0).collect();
    bytes(&pieces.join(REPLACEMENT), out)?;
    Ok(true)
}

fn bytes(value: &[u8], out: &mut BytesMut) -> Result<(), OutletError> {
    let length = i32::try_from(value.len());
    out.put_i32(length.map_err(|_| OutletError::Unfit("a value is larger than PostgreSQL takes".into()))?);
    out.put_slice(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;
    use crate::outlet::TableName;

    fn to() -> Quoted {
        TableName::new("s.t").unwrap().of("iris").unwrap()
    }

    fn column(name: &str, kind: &str, optional: bool) -> Column {
        Column { name: name.into(), kind: kind.into(), optional }
    }

    fn told(fields: Vec<Field>, there: &[Column]) -> String {
        Plan::new(&Schema::new(fields), there, &to()).unwrap_err().to_string()
    }

    #[test]
    fn times_and_dates_count_from_2000_and_end_where_the_server_s_do() {
        assert_eq!(moment(946_684_800_000, 1_000_000), (0, false));
        assert_eq!(moment(-1, 1), (-EPOCH_MICROS - 1, false), "what is finer is cut off, towards the past");
        assert_eq!(moment(i64::MAX, 1_000_000), (i64::MAX, true));
        assert_eq!(moment(i64::MIN, 1_000), (i64::MIN, true));
        assert_eq!(date(10_957), (0, false));
        assert_eq!((date(i32::MIN), date(i32::MAX)), ((i32::MIN, true), (i32::MAX, true)));
    }

    #[test]
    fn a_nul_character_is_replaced_and_told() {
        let mut out = BytesMut::new();
        assert!(text(b"a\0b\0", &mut out).unwrap());
        assert_eq!(&out[4..], "a\u{fffd}b\u{fffd}".as_bytes());
        assert_eq!(&out[..4], 8_i32.to_be_bytes());
    }

    #[test]
    fn all_that_does_not_fit_is_told_at_once_with_what_helps() {
        let fields = || vec![Field::new("a", DataType::Int64, true), Field::new("b\"", DataType::Utf8, true)];
        let there = [column("a", "integer", true), column("more", "text", false)];
        let said = told(fields(), &there);
        for part in [
            "\"a\" is integer, and the rows need bigint",
            "\"more\" may not be left out",
            "ALTER TABLE \"s\".\"t\" ADD COLUMN \"b\"\"\" text",
            "CREATE TABLE IF NOT EXISTS \"s\".\"t\" (\"a\" bigint, \"b\"\"\" text)",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let fitting = [column("b\"", "text", true), column("more", "text", true), column("a", "bigint", false)];
        let plan = Plan::new(&Schema::new(fields()), &fitting, &to()).unwrap();
        assert_eq!(plan.statement(&to()), "COPY \"s\".\"t\" (\"a\", \"b\"\"\") FROM STDIN BINARY");
    }
}
