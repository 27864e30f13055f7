//! A Parquet file that grows in memory, row group after row group.
//!
//! Owns: which of its columns parquet's writer encodes, and which are [`super::coded`], as long as they have few words; when
//! a row group is full. Does not own: the columns themselves ([`super::layout`]).

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{DataType, Field, SchemaRef},
};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    },
    basic::Compression,
    errors::Result,
    file::{properties::WriterPropertiesPtr, writer::SerializedFileWriter},
    schema::types::{ColumnDescPtr, ColumnPath},
};

use super::{
    coded::{Coded, Taken},
    layout::{ROW_GROUP_ROWS_MAX, is_steady},
    numbers::Numbers,
    pages::{Chunk, PAGE_ROWS},
};

/// A file's end mostly takes less: what is told of the file, of each chunk and of each of its pages.
const FILE_TOLD_BYTES: usize = 8 << 10;
const CHUNK_TOLD_BYTES: usize = 512;
const PAGE_TOLD_BYTES: usize = 192;

pub(super) struct Growing {
    file: SerializedFileWriter<Vec<u8>>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    /// The row group that grows, and the rows that it has.
    columns: Vec<Column>,
    rows: usize,
    /// Which columns had too many words to be written by their numbers; those of the next row group are not tried.
    wordy: Vec<bool>,
}

/// A column of the schema: one writer for each of its leaves, or the numbers of its words.
enum Column {
    Encoded(Vec<ArrowColumnWriter>),
    /// With the writer that takes over if there are too many words.
    Coded(Box<(Coded, ArrowColumnWriter)>),
    Numbers(Box<Numbers>),
}

/// A column's chunk that only has to be put into the file.
enum Closed {
    Theirs(Box<ArrowColumnChunk>),
    Ours(Box<Chunk>),
}

impl Growing {
    pub(super) fn new(schema: &SchemaRef, properties: &WriterPropertiesPtr) -> Result<Self> {
        let parquet = ArrowSchemaConverter::new().convert(schema)?;
        let file = SerializedFileWriter::new(vec![], parquet.root_schema_ptr(), Arc::clone(properties))?;
        let factory = ArrowRowGroupWriterFactory::new(&file, Arc::clone(schema));
        let wordy = vec![false; schema.fields().len()];
        Ok(Self { file, factory, schema: Arc::clone(schema), columns: vec![], rows: 0, wordy })
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
            self.columns = self.open_row_group()?;
        }
        let columns = std::mem::take(&mut self.columns);
        for (((column, wordy), field), array) in
            columns.into_iter().zip(&mut self.wordy).zip(self.schema.fields()).zip(rows.columns())
        {
            let column = column.write(field, array)?;
            *wordy = !matches!(column, Column::Coded(..));
            self.columns.push(column);
        }
        self.rows += rows.num_rows();
        Ok(())
    }

    /// The columns of a new row group.
    fn open_row_group(&self) -> Result<Vec<Column>> {
        let compression = |field: &Field| self.file.properties().compression(&ColumnPath::from(field.name().as_str()));
        let writers = self.factory.create_column_writers(self.file.flushed_row_groups().len())?;
        let mut all = self.file.schema_descr().columns().iter().zip(writers);
        let fields = self.schema.fields().iter().zip(&self.wordy);
        let column = |(field, wordy): (&Arc<Field>, &bool)| {
            let mut own = all.by_ref().take(leaves(field.data_type()));
            match own.next() {
                Some((leaf, writer)) => match Coded::new(field.data_type(), leaf, compression(field)) {
                    Some(coded) if !wordy && !is_steady(field) => Column::Coded(Box::new((coded, writer))),
                    _ => Column::wordy(
                        field,
                        (leaf, compression(field)),
                        [writer].into_iter().chain(own.map(|(_, writer)| writer)).collect(),
                    ),
                },
                None => Column::Encoded(vec![]),
            }
        };
        Ok(fields.map(column).collect())
    }

    fn close_row_group(&mut self) -> Result<()> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let chunks = self.columns.drain(..).map(Column::close).collect::<Result<Vec<_>>>()?;
        let chunks: Vec<_> = chunks.into_iter().flatten().collect();
        let bytes = chunks.iter().map(Closed::bytes).sum::<usize>();
        // Room for all of it at once: a file that grows by and by is copied again and again.
        let told =
            FILE_TOLD_BYTES + chunks.len() * (CHUNK_TOLD_BYTES + self.rows.div_ceil(PAGE_ROWS) * PAGE_TOLD_BYTES);
        self.file.inner_mut().reserve(bytes + told);
        let mut group = self.file.next_row_group()?;
        for chunk in chunks {
            match chunk {
                Closed::Theirs(chunk) => chunk.append_to_row_group(&mut group)?,
                Closed::Ours(chunk) => group.append_column(&chunk.bytes, chunk.close)?,
            }
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

impl Closed {
    fn bytes(&self) -> usize {
        let close = match self {
            Self::Theirs(chunk) => chunk.close(),
            Self::Ours(chunk) => &chunk.close,
        };
        usize::try_from(close.bytes_written).unwrap_or_default()
    }
}

impl Column {
    /// For values that are many.
    fn wordy(
        field: &Field,
        (leaf, compression): (&ColumnDescPtr, Compression),
        writers: Vec<ArrowColumnWriter>,
    ) -> Self {
        Numbers::new(field, leaf, compression)
            .map_or(Self::Encoded(writers), |numbers| Self::Numbers(Box::new(numbers)))
    }

    fn memory(&self) -> usize {
        match self {
            Self::Encoded(writers) => writers.iter().map(ArrowColumnWriter::memory_size).sum(),
            Self::Coded(coded) => coded.0.memory(),
            Self::Numbers(numbers) => numbers.memory(),
        }
    }

    fn close(self) -> Result<Vec<Closed>> {
        let ours = |chunk: Result<Chunk>| Ok(vec![Closed::Ours(Box::new(chunk?))]);
        match self {
            Self::Encoded(writers) => {
                writers.into_iter().map(|writer| Ok(Closed::Theirs(Box::new(writer.close()?)))).collect()
            }
            Self::Coded(coded) => ours(coded.0.close()),
            Self::Numbers(numbers) => ours(numbers.close()),
        }
    }

    fn write(self, field: &Field, array: &ArrayRef) -> Result<Self> {
        match self {
            Self::Encoded(mut writers) => {
                let leaves = compute_leaves(field, array)?;
                writers.iter_mut().zip(&leaves).try_for_each(|(writer, leaf)| writer.write(leaf))?;
                Ok(Self::Encoded(writers))
            }
            Self::Numbers(mut numbers) => {
                numbers.write(array)?;
                Ok(Self::Numbers(numbers))
            }
            Self::Coded(mut coded) => match coded.0.write(array) {
                Taken::Yes => Ok(Self::Coded(coded)),
                Taken::TooMany => {
                    let (coded, writer) = *coded;
                    let before = coded.rows(field.data_type())?;
                    let column = Self::wordy(field, (coded.column(), coded.compression()), vec![writer]);
                    drop(coded);
                    column.write(field, &before)?.write(field, array)
                }
            },
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
