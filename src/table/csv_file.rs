//! A CSV file as batches of cells. Owns: the header, what parts cells, and how long a row may be. Does not own: what a
//! cell means.

use std::{
    fs::File,
    io::{self, Read},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch, StringBuilder},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::{BATCH_ROWS, Column, Holds, TableError, inputs::Source};

/// One row of a CSV file, as text.
const ROW_BYTES_MAX: usize = 16 << 20;

/// Of one batch; beyond it the next one begins.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// What is read from the disk at once.
const READ_BYTES: usize = 256 << 10;

/// The columns that the first line names.
pub(super) fn columns(file: &Source) -> Result<Vec<Column>, TableError> {
    let (_, header) = open(file)?;
    Ok(header.into_iter().map(|name| Column { name, holds: Holds::Cells }).collect())
}

fn open(file: &Source) -> Result<(csv::Reader<Measured>, Vec<String>), TableError> {
    let bytes = Measured { file: file.open()?, left: ROW_BYTES_MAX };
    let mut reader = ReaderBuilder::new().buffer_capacity(READ_BYTES).from_reader(bytes);
    let header = reader.headers().map_err(|error| fault(error, &file.place, 1))?;
    let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    if header.is_empty() {
        return Err(TableError::data(&file.place, "it is empty; a header line and rows are wanted"));
    }
    Ok((reader, header))
}

/// The rows of a file, a batch at a time. A cell without text is null.
#[derive(Debug)]
pub(super) struct CsvBatches {
    reader: csv::Reader<Measured>,
    record: StringRecord,
    schema: SchemaRef,
    /// Where each wanted column stands in a row.
    wanted: Vec<usize>,
    place: String,
}

impl CsvBatches {
    pub(super) fn open(file: &Source, wanted: &[&Column]) -> Result<Self, TableError> {
        let (reader, header) = open(file)?;
        let fields: Vec<Field> = wanted.iter().map(|column| Field::new(&column.name, DataType::Utf8, true)).collect();
        let index = |column: &&Column| header.iter().position(|name| *name == column.name);
        let wanted: Option<Vec<usize>> = wanted.iter().map(index).collect();
        let wanted = wanted.ok_or_else(|| TableError::data(&file.place, "its header has changed while it was read"))?;
        let place = file.place.clone();
        Ok(Self { reader, record: StringRecord::new(), schema: Arc::new(Schema::new(fields)), wanted, place })
    }

    pub(super) fn read(&mut self) -> Result<Option<RecordBatch>, TableError> {
        let mut columns: Vec<StringBuilder> =
            self.wanted.iter().map(|_| StringBuilder::with_capacity(BATCH_ROWS, 8 * BATCH_ROWS)).collect();
        let (mut rows, mut bytes) = (0, 0);
        while rows < BATCH_ROWS && bytes < BATCH_BYTES_MAX && self.next_row()? {
            for (cells, &index) in columns.iter_mut().zip(&self.wanted) {
                let cell = self.record.get(index).unwrap_or_default().trim();
                cells.append_option((!cell.is_empty()).then_some(cell));
            }
            bytes += self.record.as_slice().len();
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays = columns.iter_mut().map(|cells| Arc::new(cells.finish()) as ArrayRef).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays);
        batch.map(Some).map_err(TableError::arrow("arrange the cells of", &self.place))
    }

    fn next_row(&mut self) -> Result<bool, TableError> {
        self.reader.get_mut().left = ROW_BYTES_MAX;
        let line = self.reader.position().line();
        self.reader.read_record(&mut self.record).map_err(|error| fault(error, &self.place, line))
    }
}

/// A file that lets no row be longer than the limit: an open quote would take all the rest into one.
#[derive(Debug)]
struct Measured {
    file: File,
    left: usize,
}

impl Read for Measured {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let end = buffer.len().min(self.left);
        let read = self.file.read(buffer.get_mut(..end).unwrap_or_default())?;
        self.left -= read;
        Ok(read)
    }
}

fn fault(error: csv::Error, place: &str, line: u64) -> TableError {
    let line = error.position().map_or(line, csv::Position::line);
    match error.into_kind() {
        ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let mebibytes = ROW_BYTES_MAX >> 20;
            let fault = format!("line {line}: the row is longer than {mebibytes} MiB; is a quote left open?");
            TableError::data(place, fault)
        }
        ErrorKind::Io(error) => TableError::io("read", place)(error),
        ErrorKind::Utf8 { err, .. } => {
            TableError::data(place, format!("line {line}: cell {} is not UTF-8", err.field() + 1))
        }
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            TableError::data(place, format!("line {line}: the row has {len} cells, and the header has {expected_len}"))
        }
        other => TableError::data(place, format!("line {line}: {other:?}")),
    }
}
