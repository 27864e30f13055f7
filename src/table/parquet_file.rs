//! A Parquet file as batches of the few types that a table knows. Owns: which types these are. Reads a page at a time.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
};

use super::{BATCH_ROWS, Column, Holds, TableError, inputs::Source};

/// The columns that the footer names.
pub(super) fn columns(file: &Source) -> Result<Vec<Column>, TableError> {
    let builder = open(file)?;
    let column = |field: &Arc<Field>| Column { name: field.name().clone(), holds: holds(field.data_type()) };
    Ok(builder.schema().fields().iter().map(column).collect())
}

fn open(file: &Source) -> Result<ParquetRecordBatchReaderBuilder<std::fs::File>, TableError> {
    let opened = ParquetRecordBatchReaderBuilder::try_new(file.open()?);
    opened.map_err(TableError::parquet("read the footer of", &file.place))
}

fn holds(data_type: &DataType) -> Holds {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Decimal32, Decimal64, Decimal128, Decimal256, Dictionary,
        Duration, FixedSizeBinary, FixedSizeList, Float16, Float32, Float64, Int8, Int16, Int32, Int64, Interval,
        LargeBinary, LargeList, LargeUtf8, List, Map, Struct, Time32, Time64, Timestamp, UInt8, UInt16, UInt32, UInt64,
        Utf8, Utf8View,
    };
    let other = match data_type {
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 => return Holds::Typed(Int64),
        UInt64 => return Holds::Typed(UInt64),
        Float16 | Float32 | Float64 | Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => {
            return Holds::Typed(Float64);
        }
        Boolean => return Holds::Typed(Boolean),
        Utf8 | LargeUtf8 | Utf8View => return Holds::Typed(Utf8),
        Dictionary(_, values) => return holds(values),
        Timestamp(..) => "a timestamp",
        Date32 | Date64 => "a date",
        Time32(_) | Time64(_) => "a time of day",
        Duration(_) | Interval(_) => "a span of time",
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => "bytes",
        List(_) | LargeList(_) | FixedSizeList(..) => "a list",
        Struct(_) | Map(..) => "a structure of several values",
        other => return Holds::Other(format!("of type {other}")),
    };
    Holds::Other(other.to_owned())
}

/// The rows of a file, a batch at a time.
#[derive(Debug)]
pub(super) struct ParquetBatches {
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    place: String,
}

impl ParquetBatches {
    pub(super) fn open(file: &Source, wanted: &[&Column]) -> Result<Self, TableError> {
        let builder = open(file)?;
        let mut roots = Vec::with_capacity(wanted.len());
        let mut fields = Vec::with_capacity(wanted.len());
        for column in wanted {
            let (root, data_type) = place_of(column, builder.schema(), &file.place)?;
            roots.push(root);
            fields.push(Field::new(&column.name, data_type, true));
        }
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        let reader = reader.map_err(TableError::parquet("read", &file.place))?;
        Ok(Self { reader, schema: Arc::new(Schema::new(fields)), place: file.place.clone() })
    }

    pub(super) fn read(&mut self) -> Result<Option<RecordBatch>, TableError> {
        let Some(batch) = self.reader.next().transpose().map_err(TableError::arrow("read", &self.place))? else {
            return Ok(None);
        };
        let lost = || TableError::data(&self.place, "a column of the footer is not in the rows");
        let array = |field: &Arc<Field>| -> Result<ArrayRef, TableError> {
            let array = batch.column_by_name(field.name()).ok_or_else(lost)?;
            cast(array, field.data_type()).map_err(TableError::arrow("convert a column of", &self.place))
        };
        let arrays = self.schema.fields().iter().map(array).collect::<Result<_, _>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays);
        batch.map(Some).map_err(TableError::arrow("arrange the columns of", &self.place))
    }
}

/// Where a column of the table stands in this file, and the type it is brought to.
fn place_of(column: &Column, schema: &Schema, place: &str) -> Result<(usize, DataType), TableError> {
    let here = schema.column_with_name(&column.name);
    let (root, field) =
        here.ok_or_else(|| TableError::data(place, format!("it lacks the column `{}`", column.name)))?;
    match (holds(field.data_type()), &column.holds) {
        (Holds::Typed(here), Holds::Typed(first)) if here == *first => Ok((root, here)),
        (_, Holds::Other(what)) => {
            Err(TableError::data(place, format!("the column `{}` is {what}, which can't be used", column.name)))
        }
        _ => Err(TableError::data(
            place,
            format!(
                "the column `{}` is {} here, and another type in the files before it",
                column.name,
                field.data_type()
            ),
        )),
    }
}
