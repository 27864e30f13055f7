//! Tables in files: CSV and Parquet, a file, several or a whole folder, on this machine or in a bucket; to be passed on as
//! they are, JSON lines too.
//!
//! Owns: finding the files, reading them as Arrow batches within bounded memory, a survey of what the columns hold, and
//! writing tables. Does not own: what anybody makes of a column. All of it is synchronous; call it away from the async
//! threads.

mod csv_file;
mod distinct;
mod error;
mod inputs;
mod parquet_file;
mod survey;
mod value;
mod whole;
mod writer;

use std::{ffi::OsStr, fs::File, io, path::Path};

use arrow::{array::RecordBatch, datatypes::DataType};
use sha2::{Digest, Sha256};

use self::{
    csv_file::CsvBatches,
    inputs::{Inputs, Source},
    parquet_file::ParquetBatches,
};
pub use self::{
    distinct::DISTINCT_MAX,
    error::TableError,
    survey::{ColumnSurvey, Found, Survey},
    value::{booleans, is_missing, numbers, words},
    whole::{Lines, Rows, Whole},
    writer::{Sink, Writer},
};

/// Rows of one batch.
const BATCH_ROWS: usize = 4_096;

/// How a table is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Csv,
    /// Written, and read as it is by [`Whole`].
    Jsonl,
    Parquet,
}

impl Format {
    /// What the end of a name says.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(OsStr::to_str)?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// A table whose files were found, and whose columns are known.
#[derive(Debug)]
pub struct Table {
    inputs: Inputs,
    columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub holds: Holds,
}

/// What a column's file says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The cells of a CSV: text that may mean a number, a boolean, or nothing but itself.
    Cells,
    /// One of the types that a column of a Parquet file is brought to: `Int64`, `UInt64`, `Float64`, `Boolean`, `Utf8`.
    Typed(DataType),
    /// What no table's reader can use, and in words what it is.
    Other(String),
}

impl Table {
    /// Opens files, folders and URLs as one table. The first file says which columns it has.
    pub fn open(inputs: &[String]) -> Result<Self, TableError> {
        Self::of(Inputs::find(inputs)?)
    }

    fn of(inputs: Inputs) -> Result<Self, TableError> {
        let columns = match inputs.files.first() {
            Some(first) => columns_of(first, inputs.format)?,
            None => Vec::new(),
        };
        Ok(Self { inputs, columns })
    }

    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The table in a word, for errors: the one file, or how many.
    #[must_use]
    pub fn place(&self) -> String {
        match self.inputs.files.as_slice() {
            [only] => only.place.clone(),
            [first, rest @ ..] => format!("{} and {} more", first.place, rest.len()),
            [] => String::new(),
        }
    }

    /// The rows, in the order of the files, of these columns; each is an index into [`Table::columns`].
    #[must_use]
    pub fn batches(&self, columns: &[usize]) -> Batches<'_> {
        let wanted = columns.iter().filter_map(|&index| self.columns.get(index)).collect();
        Batches { table: self, wanted, file: 0, reader: None, rows: 0, rows_before: 0 }
    }

    /// SHA-256, in hex, of the bytes of all the files one after the other.
    pub fn digest(&self) -> Result<String, TableError> {
        let mut digest = Sha256::new();
        for file in &self.inputs.files {
            let mut bytes = file.open()?;
            io::copy(&mut bytes, &mut digest).map_err(TableError::io("read", &file.place))?;
        }
        Ok(format!("{:x}", digest.finalize()))
    }

    fn read(&self, file: &Source, wanted: &[&Column]) -> Result<Reader, TableError> {
        if self.inputs.files.len() > 1 {
            self.check_columns(file)?;
        }
        match self.inputs.format {
            Format::Parquet => Ok(Reader::Parquet(ParquetBatches::open(file, wanted)?)),
            Format::Csv | Format::Jsonl => Ok(Reader::Csv(CsvBatches::open(file, wanted)?)),
        }
    }

    /// All files of a table have the same columns, apart from those that the lake adds: which of these there are depends
    /// on the model of the day.
    fn check_columns(&self, file: &Source) -> Result<(), TableError> {
        let own = |column: &&Column| !column.name.starts_with('_') && !column.name.starts_with("p_");
        let theirs = columns_of(file, self.inputs.format)?;
        let missing = self.columns.iter().filter(own).find(|column| !theirs.iter().any(|c| c.name == column.name));
        let extra = theirs.iter().filter(own).find(|column| !self.columns.iter().any(|c| c.name == column.name));
        match (missing, extra) {
            (None, None) => Ok(()),
            (Some(column), _) => {
                let fault = format!("it lacks the column `{}`, which the files before it have", column.name);
                Err(TableError::data(&file.place, fault))
            }
            (None, Some(column)) => {
                let fault = format!("it has the column `{}`, which the files before it lack", column.name);
                Err(TableError::data(&file.place, fault))
            }
        }
    }
}

impl Source {
    fn open(&self) -> Result<File, TableError> {
        File::open(&self.path).map_err(TableError::io("open", &self.place))
    }
}

fn columns_of(file: &Source, format: Format) -> Result<Vec<Column>, TableError> {
    let columns = match format {
        Format::Parquet => parquet_file::columns(file)?,
        Format::Csv | Format::Jsonl => csv_file::columns(file)?,
    };
    let mut seen = std::collections::HashSet::new();
    match columns.iter().find(|column| !seen.insert(column.name.as_str())) {
        Some(twice) => Err(TableError::data(&file.place, format!("the column `{}` is there twice", twice.name))),
        None => Ok(columns),
    }
}

/// The rows of a table, a batch at a time.
#[derive(Debug)]
pub struct Batches<'a> {
    table: &'a Table,
    wanted: Vec<&'a Column>,
    file: usize,
    reader: Option<Reader>,
    /// Of the file at hand, up to the end of the batch that came last.
    rows: u64,
    /// The same, up to its beginning.
    rows_before: u64,
}

#[derive(Debug)]
enum Reader {
    Csv(CsvBatches),
    Parquet(ParquetBatches),
}

impl Batches<'_> {
    /// What a person calls a row of the batch that came last: `row 17`, with its file if there are several.
    #[must_use]
    pub fn name_of_row(&self, row: usize) -> String {
        let number = self.rows_before + row as u64 + 1;
        match self.table.inputs.files.get(self.file) {
            Some(file) if self.table.inputs.files.len() > 1 => format!("row {number} of {}", file.place),
            _ => format!("row {number}"),
        }
    }

    /// The file of the batch that came last, and the number of its first row in it.
    fn place(&self) -> (&str, u64) {
        let place = self.table.inputs.files.get(self.file).map_or("", |file| file.place.as_str());
        (place, self.rows_before + 1)
    }

    fn advance(&mut self) -> Result<Option<RecordBatch>, TableError> {
        let table = self.table;
        while let Some(file) = table.inputs.files.get(self.file) {
            let reader = match self.reader.take() {
                Some(reader) => reader,
                None => table.read(file, &self.wanted)?,
            };
            let reader = self.reader.insert(reader);
            let batch = match reader {
                Reader::Csv(batches) => batches.read()?,
                Reader::Parquet(batches) => batches.read()?,
            };
            if let Some(batch) = batch {
                self.rows_before = self.rows;
                self.rows += batch.num_rows() as u64;
                return Ok(Some(batch));
            }
            (self.reader, self.rows, self.file) = (None, 0, self.file + 1);
        }
        Ok(None)
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<RecordBatch, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            // Nothing after a fault can be trusted.
            (self.reader, self.file) = (None, self.table.inputs.files.len());
        }
        next.transpose()
    }
}

#[cfg(test)]
mod tests;
