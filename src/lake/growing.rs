//! A Parquet file that grows in memory, row group after row group.
//!
//! Owns: which of its columns parquet's writer encodes, and which are [`super::coded`]; when a row group is full. Does not
//! own: the columns themselves ([`super::layout`]).

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{DataType, Field, SchemaRef},
};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    },
    errors::Result,
    file::{properties::WriterPropertiesPtr, writer::SerializedFileWriter},
};

use super::{coded::Coded, layout::ROW_GROUP_ROWS_MAX};

pub(super) struct Growing {
    file: SerializedFileWriter<Vec<u8>>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    /// The row group that grows, and the rows that it has.
    columns: Vec<Column>,
    rows: usize,
}

/// A column of the schema: one writer for each of its leaves, or the numbers of its words.
enum Column {
    Encoded(Vec<ArrowColumnWriter>),
    Coded(Coded),
}

impl Growing {
    pub(super) fn new(schema: &SchemaRef, properties: &WriterPropertiesPtr) -> Result<Self> {
        let parquet = ArrowSchemaConverter::new().convert(schema)?;
        let file = SerializedFileWriter::new(vec![], parquet.root_schema_ptr(), Arc::clone(properties))?;
        let factory = ArrowRowGroupWriterFactory::new(&file, Arc::clone(schema));
        Ok(Self { file, factory, schema: Arc::clone(schema), columns: vec![], rows: 0 })
    }

    /// Bytes in memory: what is written, and what the open row group says it takes.
    pub(super) fn memory(&self) -> usize {
        self.file.inner().len() + self.columns.iter().map(Column::memory).sum::<usize>()
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut start = 0;
        while start < rows.num_rows() {
            let taken = (rows.num_rows() - start).min(ROW_GROUP_ROWS_MAX - self.rows);
            self.add(&rows.slice(start, taken))?;
            start += taken;
            if self.rows == ROW_GROUP_ROWS_MAX {
                self.close_row_group()?;
            }
        }
        Ok(())
    }

    /// The whole file.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        self.close_row_group()?;
        self.file.into_inner()
    }

    fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        if self.columns.is_empty() {
            self.columns = self.open_row_group(rows)?;
        }
        for ((column, field), array) in self.columns.iter_mut().zip(self.schema.fields()).zip(rows.columns()) {
            column.write(field, array)?;
        }
        self.rows += rows.num_rows();
        Ok(())
    }

    /// The columns of a new row group, for rows like these.
    fn open_row_group(&self, rows: &RecordBatch) -> Result<Vec<Column>> {
        let writers = self.factory.create_column_writers(self.file.flushed_row_groups().len())?;
        let mut all = self.file.schema_descr().columns().iter().zip(writers);
        let fields = self.schema.fields().iter().zip(rows.columns());
        let column = |(field, array): (&Arc<Field>, &ArrayRef)| {
            let (leaves, writers): (Vec<_>, Vec<_>) = all.by_ref().take(leaves(field.data_type())).unzip();
            match leaves.first() {
                Some(&leaf) if Coded::takes(array) => Column::Coded(Coded::new(leaf.clone())),
                _ => Column::Encoded(writers),
            }
        };
        Ok(fields.map(column).collect())
    }

    fn close_row_group(&mut self) -> Result<()> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for column in self.columns.drain(..) {
            match column {
                Column::Encoded(writers) => {
                    for writer in writers {
                        writer.close()?.append_to_row_group(&mut group)?;
                    }
                }
                Column::Coded(coded) => {
                    let chunk = coded.close()?;
                    group.append_column(&chunk.bytes, chunk.close)?;
                }
            }
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

impl Column {
    fn memory(&self) -> usize {
        match self {
            Self::Encoded(writers) => writers.iter().map(ArrowColumnWriter::memory_size).sum(),
            Self::Coded(coded) => coded.memory(),
        }
    }

    fn write(&mut self, field: &Field, array: &ArrayRef) -> Result<()> {
        match self {
            Self::Encoded(writers) => {
                let leaves = compute_leaves(field, array)?;
                writers.iter_mut().zip(&leaves).try_for_each(|(writer, leaf)| writer.write(leaf))
            }
            Self::Coded(coded) => coded.write(array),
        }
    }
}

/// How many columns of a Parquet file a column of ours is.
fn leaves(kind: &DataType) -> usize {
    match kind {
        DataType::List(item) => leaves(item.data_type()),
        DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        _ => 1,
    }
}

impl std::fmt::Debug for Growing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Growing").field("schema", &self.schema).field("rows", &self.rows).finish_non_exhaustive()
    }
}
