//! Files read as they are, to be passed on: every column, in the types that the files have.
//!
//! Owns: the rows of CSV, JSON lines and Parquet as batches, or of JSON lines as the lines themselves, each row known by
//! its file and number. Does not own: what is made of them. Bounded memory; synchronous.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
    json::reader::{ReaderBuilder, infer_json_schema_from_iterator},
};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde::de::IgnoredAny;

use super::{
    BATCH_ROWS, Batches, Format, Found, Survey, Table, TableError, booleans,
    inputs::{Inputs, Source},
    numbers,
    value::Number,
    words,
};

/// One line of a file of JSON lines.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Of the lines of one batch; beyond it the next one begins.
const LINES_BYTES_MAX: usize = 16 << 20;

/// Files of one format whose columns are known.
#[derive(Debug)]
pub struct Whole {
    read: Reads,
    schema: SchemaRef,
}

#[derive(Debug)]
enum Reads {
    Csv(Table),
    Lines(Inputs),
    Parquet(Inputs),
}

/// Some rows of one file.
#[derive(Debug)]
pub struct Rows {
    pub batch: RecordBatch,
    pub place: String,
    numbers: Numbers,
}

/// How rows are counted in their file, from 1.
#[derive(Debug)]
enum Numbers {
    From(u64),
    Lines(Vec<u64>),
}

impl Rows {
    /// What a person calls a row of these: `trips.csv: row 17`.
    #[must_use]
    pub fn name_of(&self, row: usize) -> String {
        match &self.numbers {
            Numbers::From(first) => format!("{}: row {}", self.place, first + row as u64),
            Numbers::Lines(numbers) => {
                format!("{}: line {}", self.place, numbers.get(row).copied().unwrap_or_default())
            }
        }
    }
}

/// Some lines of a file of JSON lines, each an object.
#[derive(Debug)]
pub struct Lines {
    pub lines: Vec<Vec<u8>>,
    pub place: String,
    /// The number of each line in its file, counted from 1; empty lines count, and are left out.
    pub numbers: Vec<u64>,
}

impl Whole {
    /// Finds the files, here or in a bucket, and their columns. Of CSV and JSON lines that takes a pass over all of them.
    pub fn open(inputs: &[String]) -> Result<Self, TableError> {
        let found = Inputs::find_any(inputs)?;
        let (read, schema) = match found.format {
            Format::Csv => {
                let table = Table::of(found)?;
                let schema = csv_schema(&table)?;
                (Reads::Csv(table), schema)
            }
            Format::Jsonl => {
                let schema = lines_schema(&found)?;
                (Reads::Lines(found), schema)
            }
            Format::Parquet => {
                let schema = parquet_schema(&found)?;
                (Reads::Parquet(found), schema)
            }
        };
        Ok(Self { read, schema: Arc::new(schema) })
    }

    /// Of JSON lines, what all the lines together have.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    #[must_use]
    pub fn format(&self) -> Format {
        match &self.read {
            Reads::Csv(_) => Format::Csv,
            Reads::Lines(_) => Format::Jsonl,
            Reads::Parquet(_) => Format::Parquet,
        }
    }

    /// The rows with their columns in the types of the schema; of CSV, as the cells that they are if asked so.
    #[must_use]
    pub fn rows(&self, as_cells: bool) -> Box<dyn Iterator<Item = Result<Rows, TableError>> + '_> {
        match &self.read {
            Reads::Csv(table) => {
                let all: Vec<usize> = (0..table.columns().len()).collect();
                let schema = (!as_cells).then(|| Arc::clone(&self.schema));
                Box::new(CsvRows { batches: table.batches(&all), schema })
            }
            Reads::Lines(files) => {
                let schema = Arc::clone(&self.schema);
                Box::new(LineBatches::new(files).map(move |lines| decode(&lines?, &schema)))
            }
            Reads::Parquet(files) => {
                Box::new(ParquetRows { files: files.files.iter(), reader: None, place: "", first: 1, failed: false })
            }
        }
    }

    /// The lines as they stand in the files; nothing, if the files are of another format.
    #[must_use]
    pub fn lines(&self) -> Option<impl Iterator<Item = Result<Lines, TableError>> + '_> {
        match &self.read {
            Reads::Lines(files) => Some(LineBatches::new(files)),
            Reads::Csv(_) | Reads::Parquet(_) => None,
        }
    }
}

/// What the cells of each column can all be taken for.
fn csv_schema(table: &Table) -> Result<Schema, TableError> {
    let all: Vec<usize> = (0..table.columns().len()).collect();
    let mut survey = Survey::new(all.iter().map(|_| false));
    let mut batches = table.batches(&all);
    while let Some(batch) = batches.next() {
        survey.add(&batch?, |row| batches.name_of_row(row));
    }
    let kind = |column: &super::ColumnSurvey| match column.found() {
        Found::Numbers if column.has_fractions() => DataType::Float64,
        Found::Numbers => DataType::Int64,
        Found::Booleans => DataType::Boolean,
        Found::Words | Found::Nothing => DataType::Utf8,
    };
    let columns = table.columns().iter().zip(survey.columns());
    Ok(Schema::new(columns.map(|(column, found)| Field::new(&column.name, kind(found), true)).collect::<Vec<_>>()))
}

struct CsvRows<'a> {
    batches: Batches<'a>,
    schema: Option<SchemaRef>,
}

impl Iterator for CsvRows<'_> {
    type Item = Result<Rows, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.batches.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        let (place, first) = self.batches.place();
        let place = place.to_owned();
        let Some(schema) = &self.schema else { return Some(Ok(Rows { batch, place, numbers: Numbers::From(first) })) };
        let columns = batch.columns().iter().zip(schema.fields());
        let columns: Result<Vec<ArrayRef>, _> = columns.map(|(cells, field)| typed(cells, field.data_type())).collect();
        let batch = columns.and_then(|columns| RecordBatch::try_new(Arc::clone(schema), columns));
        Some(batch.map_err(TableError::arrow("read the cells of", &place)).map(|batch| Rows {
            batch,
            place,
            numbers: Numbers::From(first),
        }))
    }
}

fn typed(cells: &ArrayRef, kind: &DataType) -> Result<ArrayRef, arrow::error::ArrowError> {
    Ok(match kind {
        DataType::Int64 => {
            let whole = |cell: &str| Number::parse(cell).and_then(|number| number.whole);
            Arc::new(cells.as_string::<i32>().iter().map(|cell| cell.and_then(whole)).collect::<Int64Array>())
        }
        DataType::Float64 => Arc::new(numbers(cells)?),
        DataType::Boolean => Arc::new(booleans(cells)?),
        _ => Arc::new(words(cells)?),
    })
}

/// Every file has the columns of the first, in its types.
fn parquet_schema(files: &Inputs) -> Result<Schema, TableError> {
    let mut first: Option<Schema> = None;
    for file in &files.files {
        let schema = footer(file)?.schema().as_ref().clone();
        let schema = Schema::new(schema.fields().clone());
        match &first {
            None => first = Some(schema),
            Some(first) if alike(first, &schema) => {}
            Some(_) => {
                return Err(TableError::data(&file.place, "it has other columns than the files before it"));
            }
        }
    }
    Ok(first.unwrap_or_else(Schema::empty))
}

/// By names and types.
fn alike(one: &Schema, other: &Schema) -> bool {
    let key = |schema: &Schema| -> Vec<(String, DataType)> {
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    };
    key(one) == key(other)
}

fn footer(file: &Source) -> Result<ParquetRecordBatchReaderBuilder<File>, TableError> {
    let opened = ParquetRecordBatchReaderBuilder::try_new(file.open()?);
    opened.map_err(TableError::parquet("read the footer of", &file.place))
}

struct ParquetRows<'a> {
    files: std::slice::Iter<'a, Source>,
    reader: Option<ParquetRecordBatchReader>,
    place: &'a str,
    first: u64,
    failed: bool,
}

impl ParquetRows<'_> {
    fn advance(&mut self) -> Result<Option<Rows>, TableError> {
        loop {
            if let Some(reader) = &mut self.reader
                && let Some(batch) = reader.next()
            {
                let batch = batch.map_err(TableError::arrow("read", self.place))?;
                let rows = Rows { place: self.place.to_owned(), numbers: Numbers::From(self.first), batch };
                self.first += rows.batch.num_rows() as u64;
                return Ok(Some(rows));
            }
            let Some(file) = self.files.next() else { return Ok(None) };
            let reader = footer(file)?.with_batch_size(BATCH_ROWS).build();
            self.reader = Some(reader.map_err(TableError::parquet("read", &file.place))?);
            (self.place, self.first) = (&file.place, 1);
        }
    }
}

impl Iterator for ParquetRows<'_> {
    type Item = Result<Rows, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance();
        self.failed = next.is_err();
        next.transpose()
    }
}

/// The lines of all files, some at a time.
struct LineBatches<'a> {
    files: std::slice::Iter<'a, Source>,
    reader: Option<(BufReader<File>, &'a str, u64)>,
    failed: bool,
}

impl<'a> LineBatches<'a> {
    fn new(files: &'a Inputs) -> Self {
        Self { files: files.files.iter(), reader: None, failed: false }
    }

    fn advance(&mut self) -> Result<Option<Lines>, TableError> {
        loop {
            if let Some((reader, place, number)) = &mut self.reader {
                let lines = some_lines(reader, place, number)?;
                if !lines.lines.is_empty() {
                    return Ok(Some(lines));
                }
            }
            let Some(file) = self.files.next() else { return Ok(None) };
            self.reader = Some((BufReader::new(file.open()?), &file.place, 0));
        }
    }
}

impl Iterator for LineBatches<'_> {
    type Item = Result<Lines, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance();
        self.failed = next.is_err();
        next.transpose()
    }
}

fn some_lines(reader: &mut BufReader<File>, place: &str, number: &mut u64) -> Result<Lines, TableError> {
    let mut found = Lines { lines: Vec::new(), place: place.to_owned(), numbers: Vec::new() };
    let mut bytes = 0;
    while found.lines.len() < BATCH_ROWS && bytes < LINES_BYTES_MAX {
        let mut line = Vec::new();
        let read = reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
        if read.map_err(TableError::io("read", place))? == 0 {
            break;
        }
        *number += 1;
        if line.len() as u64 > LINE_BYTES_MAX {
            let mebibytes = LINE_BYTES_MAX >> 20;
            return Err(TableError::data(place, format!("line {number}: it is longer than {mebibytes} MiB")));
        }
        line.truncate(line.trim_ascii_end().len());
        if line.is_empty() {
            continue;
        }
        is_object(&line).map_err(|fault| TableError::data(place, format!("line {number}: {fault}")))?;
        bytes += line.len();
        found.lines.push(line);
        found.numbers.push(*number);
    }
    Ok(found)
}

fn is_object(line: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<IgnoredAny>(line).map_err(|error| format!("it is not JSON: {error}"))?;
    if line.trim_ascii_start().first() == Some(&b'{') {
        Ok(())
    } else {
        Err("it is JSON, but not an object".to_owned())
    }
}

fn lines_schema(files: &Inputs) -> Result<Schema, TableError> {
    let mut fault = None;
    let values = LineBatches::new(files).map_while(|lines| lines.map_err(|error| fault = Some(error)).ok());
    let values = values.flat_map(|lines| lines.lines);
    let values = values.map(|line| {
        serde_json::from_slice::<serde_json::Value>(&line)
            .map_err(|error| arrow::error::ArrowError::from_external_error(Box::new(error)))
    });
    let schema = infer_json_schema_from_iterator(values);
    if let Some(fault) = fault {
        return Err(fault);
    }
    let place = files.files.first().map_or("", |file| file.place.as_str());
    schema.map_err(TableError::arrow("find the columns of", place))
}

fn decode(lines: &Lines, schema: &SchemaRef) -> Result<Rows, TableError> {
    let place = lines.place.clone();
    let first = lines.numbers.first().copied().unwrap_or(1);
    let fault = |error| {
        let last = lines.numbers.last().copied().unwrap_or(first);
        TableError::arrow("read", &format!("lines {first} to {last} of {place}"))(error)
    };
    let mut decoder =
        ReaderBuilder::new(Arc::clone(schema)).with_batch_size(BATCH_ROWS).build_decoder().map_err(fault)?;
    for line in &lines.lines {
        decoder.decode(line).map_err(fault)?;
        decoder.decode(b"\n").map_err(fault)?;
    }
    let batch = decoder.flush().map_err(fault)?.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(schema)));
    Ok(Rows { batch, place, numbers: Numbers::Lines(lines.numbers.clone()) })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use arrow::array::Array;
    use arrow::datatypes::{Float64Type, Int64Type};

    use super::*;

    /// The folder must outlive what is read from it.
    fn open(files: &[(&str, &str)]) -> Result<(tempfile::TempDir, Whole), TableError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let whole = Whole::open(&[folder.path().display().to_string()])?;
        Ok((folder, whole))
    }

    fn kinds(whole: &Whole) -> Vec<(String, DataType)> {
        whole.schema().fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    }

    #[test]
    fn the_cells_of_a_csv_get_the_types_that_suit_all_of_them() {
        let csv = "id,amount,ok,zip\n9007199254740993,1.5,true,01234\n2,,false,x\n3,NA,,\n";
        let (_folder, whole) = open(&[("a.csv", csv)]).unwrap();
        let wanted = [
            ("id", DataType::Int64),
            ("amount", DataType::Float64),
            ("ok", DataType::Boolean),
            ("zip", DataType::Utf8),
        ];
        assert_eq!(kinds(&whole), wanted.map(|(name, kind)| (name.to_owned(), kind)));
        let rows = whole.rows(false).next().unwrap().unwrap();
        assert_eq!(rows.batch.column(0).as_primitive::<Int64Type>().value(0), 9_007_199_254_740_993);
        assert_eq!(rows.batch.column(1).as_primitive::<Float64Type>().null_count(), 2);
        assert!(rows.name_of(1).ends_with("a.csv: row 2"), "{}", rows.name_of(1));
        let cells = whole.rows(true).next().unwrap().unwrap();
        assert_eq!(cells.batch.column(0).as_string::<i32>().value(1), "2");
    }

    #[test]
    fn json_lines_stay_as_they_are_and_are_columns_too() {
        let (_folder, whole) =
            open(&[("a.jsonl", "{\"a\": 1}\n\n{\"a\":2.5,\"b\":\"x\"}\r\n"), ("b.ndjson", "{\"c\":true}")]).unwrap();
        assert_eq!(whole.format(), Format::Jsonl);
        let lines: Vec<_> = whole.lines().unwrap().map(Result::unwrap).collect();
        assert_eq!(lines[0].lines, [b"{\"a\": 1}".to_vec(), b"{\"a\":2.5,\"b\":\"x\"}".to_vec()]);
        assert_eq!((lines[0].numbers.as_slice(), lines[1].numbers.as_slice()), ([1, 3].as_slice(), [1].as_slice()));
        let rows: Vec<_> = whole.rows(false).map(Result::unwrap).collect();
        assert_eq!(rows.iter().map(|rows| rows.batch.num_rows()).sum::<usize>(), 3);
        assert_eq!(rows[0].batch.column_by_name("a").unwrap().as_primitive::<Float64Type>().values(), &[1.0, 2.5]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file_and_line() {
        for (text, told) in [
            ("{\"a\":1}\n\n{\"a\":", "a.jsonl: line 3: it is not JSON"),
            ("{\"a\":1}\n[1]\n", "a.jsonl: line 2: it is JSON, but not an object"),
        ] {
            let error = open(&[("a.jsonl", text)]).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        let error = open(&[("a.csv", "x,y\n1,2\n3\n")]).unwrap_err().to_string();
        assert!(error.contains("a.csv: line 3: the row has 1 cells"), "{error}");
    }
}
