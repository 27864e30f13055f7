//! The columns of a batch while they grow. Owns: how a settled value stands in Arrow.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Date32Builder, Float32Builder, Float64Builder, Int32Builder, Int64Builder,
        RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder, TimestampNanosecondBuilder,
    },
    datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit},
};

use super::{DecodeError, slot::Slot, value::to_f32};
use crate::record::{Field, FieldKind, TimestampFormat};

/// A guess that only decides how often a text column grows.
const TEXT_BYTES_GUESS: usize = 16;
/// Arrow's offsets into a text column are `i32`.
const TEXT_BYTES_MAX: usize = i32::MAX as usize;
const UTC: &str = "UTC";

pub(super) fn schema(fields: &[Field]) -> SchemaRef {
    let column = |field: &Field| ArrowField::new(&field.name, data_type(field.kind), field.nullable);
    Arc::new(Schema::new(fields.iter().map(column).collect::<Vec<_>>()))
}

fn data_type(kind: FieldKind) -> DataType {
    match kind {
        FieldKind::Int32 => DataType::Int32,
        FieldKind::Int64 => DataType::Int64,
        FieldKind::Float32 => DataType::Float32,
        FieldKind::Float64 => DataType::Float64,
        FieldKind::Bool => DataType::Boolean,
        FieldKind::String => DataType::Utf8,
        FieldKind::Timestamp(TimestampFormat::Nanoseconds) => {
            DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into()))
        }
        FieldKind::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        FieldKind::Date => DataType::Date32,
    }
}

#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    rows: usize,
}

impl Columns {
    pub(super) fn new(fields: impl Iterator<Item = FieldKind>, rows: usize) -> Self {
        Self { columns: fields.map(|kind| Column::new(kind, rows)).collect(), rows: 0 }
    }

    /// Appends a row of settled slots, one for each column.
    #[inline]
    pub(super) fn push(&mut self, row: &[Slot<'_>]) -> Result<(), DecodeError> {
        self.rows += 1;
        self.columns.iter_mut().zip(row).try_for_each(|(column, slot)| column.push(slot))
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn finish(mut self, schema: SchemaRef) -> Result<RecordBatch, DecodeError> {
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }
}

#[derive(Debug)]
enum Column {
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Bool(BooleanBuilder),
    Text(StringBuilder),
    Micros(TimestampMicrosecondBuilder),
    Nanos(TimestampNanosecondBuilder),
    Date(Date32Builder),
}

impl Column {
    fn new(kind: FieldKind, rows: usize) -> Self {
        match kind {
            FieldKind::Int32 => Self::Int32(Int32Builder::with_capacity(rows)),
            FieldKind::Int64 => Self::Int64(Int64Builder::with_capacity(rows)),
            FieldKind::Float32 => Self::Float32(Float32Builder::with_capacity(rows)),
            FieldKind::Float64 => Self::Float64(Float64Builder::with_capacity(rows)),
            FieldKind::Bool => Self::Bool(BooleanBuilder::with_capacity(rows)),
            FieldKind::String => Self::Text(StringBuilder::with_capacity(rows, rows * TEXT_BYTES_GUESS)),
            FieldKind::Timestamp(TimestampFormat::Nanoseconds) => {
                Self::Nanos(TimestampNanosecondBuilder::with_capacity(rows).with_timezone(UTC))
            }
            FieldKind::Timestamp(_) => {
                Self::Micros(TimestampMicrosecondBuilder::with_capacity(rows).with_timezone(UTC))
            }
            FieldKind::Date => Self::Date(Date32Builder::with_capacity(rows)),
        }
    }

    #[inline]
    fn push(&mut self, slot: &Slot<'_>) -> Result<(), DecodeError> {
        match self {
            Self::Int32(column) => column.append_option(small(slot)),
            Self::Int64(column) => column.append_option(int(slot)),
            Self::Float32(column) => column.append_option(float(slot).map(to_f32)),
            Self::Float64(column) => column.append_option(float(slot)),
            Self::Bool(column) => column.append_option(if let Slot::Bool(value) = slot { Some(*value) } else { None }),
            Self::Text(column) => push_text(column, if let Slot::Text(text) = slot { Some(text) } else { None })?,
            Self::Micros(column) => column.append_option(int(slot)),
            Self::Nanos(column) => column.append_option(int(slot)),
            Self::Date(column) => column.append_option(small(slot)),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Int32(column) => Arc::new(column.finish()),
            Self::Int64(column) => Arc::new(column.finish()),
            Self::Float32(column) => Arc::new(column.finish()),
            Self::Float64(column) => Arc::new(column.finish()),
            Self::Bool(column) => Arc::new(column.finish()),
            Self::Text(column) => Arc::new(column.finish()),
            Self::Micros(column) => Arc::new(column.finish()),
            Self::Nanos(column) => Arc::new(column.finish()),
            Self::Date(column) => Arc::new(column.finish()),
        }
    }
}

#[inline]
fn int(slot: &Slot<'_>) -> Option<i64> {
    if let Slot::Int(value) = slot { Some(*value) } else { None }
}

#[inline]
fn small(slot: &Slot<'_>) -> Option<i32> {
    int(slot).and_then(|value| value.try_into().ok())
}

#[inline]
fn float(slot: &Slot<'_>) -> Option<f64> {
    if let Slot::Float(value) = slot { Some(*value) } else { None }
}

/// The builder would panic where this refuses.
#[inline]
fn push_text(column: &mut StringBuilder, text: Option<&impl AsRef<str>>) -> Result<(), DecodeError> {
    let text = text.map(AsRef::as_ref);
    if column.values_slice().len() + text.map_or(0, str::len) > TEXT_BYTES_MAX {
        return Err(DecodeError::TooMuchText { bytes_max: TEXT_BYTES_MAX });
    }
    column.append_option(text);
    Ok(())
}
