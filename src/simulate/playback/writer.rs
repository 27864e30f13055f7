//! What a row of a file looks like on its way.
//!
//! Owns: from each kind of file to each format, and what can't be. JSON lines as JSON stay byte for byte what they are,
//! and so do the cells of a CSV as CSV.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Schema},
    error::ArrowError,
    json::{WriterBuilder, writer::LineDelimited},
    util::display::{ArrayFormatter, FormatOptions},
};
use serde_json::value::RawValue;

use super::{
    Options, PlayError, Row, Timing,
    columns::{in_avro, in_utc, key_of_member, keys, push_avro, time_of_member, times},
};
use crate::{
    record::avro,
    simulate::{csv::push_cell, encoding::Format},
    table::{self, Lines, Rows, Whole},
};

/// How rows are written.
#[derive(Debug)]
pub(super) struct Writer {
    form: Form,
    key: Option<String>,
    time: Option<String>,
    described: String,
}

#[derive(Debug)]
enum Form {
    /// The lines of the files themselves.
    Lines,
    Json,
    /// The cells of the files themselves.
    Cells,
    Csv,
    Avro {
        prefix: Vec<u8>,
        kinds: Vec<DataType>,
    },
}

impl Writer {
    pub(super) fn new(files: &Whole, options: &Options) -> Result<Self, PlayError> {
        let schema = files.schema();
        let time = match &options.timing {
            Timing::Pauses { column, .. } => Some(column.clone()),
            Timing::Full | Timing::Rate(_) => None,
        };
        for (option, column) in [("--key", &options.key), ("--pauses", &time)] {
            if let Some(column) = column {
                check_column(option, column, schema)?;
            }
        }
        let (form, described) = match (options.format, files.format()) {
            (Format::Json, table::Format::Jsonl) => (Form::Lines, names(schema)),
            (Format::Json, _) => (Form::Json, names(schema)),
            (Format::Csv, table::Format::Csv) => (Form::Cells, names(schema)),
            (Format::Csv, _) => (Form::Csv, names(schema)),
            (Format::Avro, _) => avro_form(schema)?,
        };
        Ok(Self { form, key: options.key.clone(), time, described })
    }

    pub(super) fn described(&self) -> &str {
        &self.described
    }

    pub(super) fn register(&mut self, schema_id: u32) {
        if let Form::Avro { prefix, .. } = &mut self.form {
            *prefix = avro::registered(schema_id);
        }
    }

    /// All rows of the files, some at a time.
    pub(super) fn rows<'a>(&'a self, files: &'a Whole) -> Box<dyn Iterator<Item = Result<Vec<Row>, PlayError>> + 'a> {
        if let (Form::Lines, Some(lines)) = (&self.form, files.lines()) {
            return Box::new(lines.map(|lines| self.lines(lines?)));
        }
        let as_cells = matches!(self.form, Form::Cells);
        Box::new(files.rows(as_cells).map(|rows| self.batch(&rows?)))
    }

    fn lines(&self, lines: Lines) -> Result<Vec<Row>, PlayError> {
        let Lines { lines, place, numbers } = lines;
        let row = |(value, number): (Vec<u8>, u64)| {
            let (key, at_ms) =
                self.told_by(&value).map_err(|fault| PlayError::Row(format!("{place}: line {number}: {fault}")))?;
            Ok(Row { key, value, at_ms })
        };
        lines.into_iter().zip(numbers).map(row).collect()
    }

    /// The key and the time of a line.
    fn told_by(&self, line: &[u8]) -> Result<(Option<Vec<u8>>, Option<i64>), String> {
        if self.key.is_none() && self.time.is_none() {
            return Ok((None, None));
        }
        let members: BTreeMap<String, &RawValue> =
            serde_json::from_slice(line).map_err(|error| format!("it is not an object: {error}"))?;
        let member = |column: &Option<String>| column.as_ref().and_then(|column| members.get(column));
        let key = member(&self.key).and_then(|member| key_of_member(member));
        let Some(time) = member(&self.time) else { return Ok((key, None)) };
        let at_ms = time_of_member(time).map_err(|()| no_time(self.time.as_deref()))?;
        Ok((key, at_ms))
    }

    fn batch(&self, rows: &Rows) -> Result<Vec<Row>, PlayError> {
        let place = &rows.place;
        let count = rows.batch.num_rows();
        let column = |name: &Option<String>| name.as_ref().and_then(|name| rows.batch.column_by_name(name));
        let keys = match column(&self.key) {
            Some(column) => keys(column).map_err(|error| cannot(place, &error))?,
            None => vec![None; count],
        };
        let times = match column(&self.time) {
            Some(column) => times(column)
                .map_err(|row| PlayError::Row(format!("{}: {}", rows.name_of(row), no_time(self.time.as_deref()))))?,
            None => vec![None; count],
        };
        let values = self.values(&rows.batch).map_err(|error| cannot(place, &error))?;
        let rows = values.into_iter().zip(keys).zip(times);
        Ok(rows.map(|((value, key), at_ms)| Row { key, value, at_ms }).collect())
    }

    fn values(&self, batch: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
        match &self.form {
            Form::Lines | Form::Json => json(&in_utc(batch.clone())?),
            Form::Csv => csv(&in_utc(batch.clone())?),
            Form::Cells => Ok(cells(batch)),
            Form::Avro { prefix, kinds } => avro_values(batch, prefix, kinds),
        }
    }
}

fn check_column(option: &str, column: &str, schema: &Schema) -> Result<(), PlayError> {
    if schema.column_with_name(column).is_some() {
        return Ok(());
    }
    Err(PlayError::Choice(format!("{option} {column}: the files have no such column; they have {}", names(schema))))
}

fn no_time(column: Option<&str>) -> String {
    let column = column.unwrap_or_default();
    format!("`{column}` is no time; a timestamp, its text, or seconds or milliseconds since 1970 are wanted")
}

fn cannot(place: &str, error: &ArrowError) -> PlayError {
    PlayError::Row(format!("{place}: its rows can't be sent in this format: {error}"))
}

fn names(schema: &Schema) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(",")
}

/// What is missing is null, and so is a number that is none.
fn json(batch: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
    let mut lines = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut lines);
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    Ok(lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect())
}

fn csv(batch: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
    let options = FormatOptions::default();
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let line = |row| {
        joined(columns.iter().map(|column| {
            // Nothing stands for null.
            let mut cell = String::new();
            column.value(row).write(&mut cell).map(|()| cell)
        }))
    };
    (0..batch.num_rows()).map(line).collect()
}

fn joined(cells: impl Iterator<Item = Result<String, ArrowError>>) -> Result<Vec<u8>, ArrowError> {
    let mut line = Vec::new();
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            line.push(b',');
        }
        push_cell(&mut line, &cell?);
    }
    Ok(line)
}

fn cells(batch: &RecordBatch) -> Vec<Vec<u8>> {
    let columns: Vec<_> = batch.columns().iter().map(AsArray::as_string::<i32>).collect();
    let line = |row| {
        let mut line = Vec::new();
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                line.push(b',');
            }
            // The text of a null is empty.
            push_cell(&mut line, column.value(row));
        }
        line
    };
    (0..batch.num_rows()).map(line).collect()
}

fn avro_form(schema: &Schema) -> Result<(Form, String), PlayError> {
    let mut kinds = Vec::new();
    let mut fields = Vec::new();
    for field in schema.fields() {
        let name = field.name();
        if !is_avro_name(name) {
            let fault = format!("the column `{name}` has a name that Avro does not allow: use --format json");
            return Err(PlayError::Choice(fault));
        }
        let Some((kind, told)) = in_avro(field.data_type()) else {
            let fault = format!("the column `{name}` is of type {}: use --format json", field.data_type());
            return Err(PlayError::Choice(fault));
        };
        kinds.push(kind);
        fields.push(format!(r#"{{"name":"{name}","type":["null",{told}],"default":null}}"#));
    }
    let fields = fields.join(",");
    let schema = format!(r#"{{"type":"record","name":"row","namespace":"alluvium","fields":[{fields}]}}"#);
    let prefix = avro::own_single_object(&schema).map_err(|error| PlayError::Choice(error.to_string()))?;
    Ok((Form::Avro { prefix, kinds }, schema))
}

fn is_avro_name(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn avro_values(batch: &RecordBatch, prefix: &[u8], kinds: &[DataType]) -> Result<Vec<Vec<u8>>, ArrowError> {
    let columns = batch.columns().iter().zip(kinds);
    let columns: Vec<ArrayRef> = columns
        .map(|(column, kind)| if column.data_type() == kind { Ok(Arc::clone(column)) } else { cast(column, kind) })
        .collect::<Result<_, _>>()?;
    let value = |row| {
        let mut value = prefix.to_vec();
        for column in &columns {
            push_avro(&mut value, column, row);
        }
        value
    };
    Ok((0..batch.num_rows()).map(value).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use apache_avro::{from_avro_datum, types::Value};

    use super::*;

    const CSV: &str = "id,name,amount,at\n1,\"a, \"\"b\"\"\",1.50,2025-01-01 00:00:01\n2,,,2025-01-01 00:00:03\n";

    fn rows(file: &str, text: &str, options: &Options) -> Result<(String, Vec<Row>), PlayError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        fs::write(&path, text).unwrap();
        let files = Whole::open(&[path.display().to_string()])?;
        let writer = Writer::new(&files, options)?;
        let mut rows = vec![];
        for some in writer.rows(&files) {
            rows.extend(some?);
        }
        Ok((writer.described().to_owned(), rows))
    }

    fn options(format: Format) -> Options {
        Options { format, key: None, timing: Timing::Full, rounds: Some(1), count: None }
    }

    fn texts(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|row| str::from_utf8(&row.value).unwrap()).collect()
    }

    #[test]
    fn a_csv_becomes_json_with_types_and_nulls() {
        let (header, rows) = rows("a.csv", CSV, &options(Format::Json)).unwrap();
        let wanted = [
            r#"{"id":1,"name":"a, \"b\"","amount":1.5,"at":"2025-01-01 00:00:01"}"#,
            r#"{"id":2,"name":null,"amount":null,"at":"2025-01-01 00:00:03"}"#,
        ];
        assert_eq!((header.as_str(), texts(&rows)), ("id,name,amount,at", wanted.to_vec()));
    }

    #[test]
    fn a_csv_as_csv_keeps_its_cells() {
        let (_, rows) = rows("a.csv", CSV, &options(Format::Csv)).unwrap();
        let wanted = [r#"1,"a, ""b""",1.50,2025-01-01 00:00:01"#, "2,,,2025-01-01 00:00:03"];
        assert_eq!(texts(&rows), wanted);
    }

    #[test]
    fn json_lines_stay_as_they_are_and_become_csv() {
        let text = "{\"a\": 1.0, \"b\":\"x,y\"}\n{\"a\":2,\"b\":null}\n";
        let (_, same) = rows("a.jsonl", text, &options(Format::Json)).unwrap();
        assert_eq!(texts(&same), text.lines().collect::<Vec<_>>());
        let (header, lines) = rows("a.jsonl", text, &options(Format::Csv)).unwrap();
        assert_eq!((header.as_str(), texts(&lines)), ("a,b", vec!["1.0,\"x,y\"", "2.0,"]));
    }

    #[test]
    fn avro_is_read_by_its_schema() {
        let (schema, rows) = rows("a.csv", CSV, &options(Format::Avro)).unwrap();
        let schema = apache_avro::Schema::parse_str(&schema).unwrap();
        let Value::Record(fields) = from_avro_datum(&schema, &mut &rows[1].value[10..], None).unwrap() else {
            panic!("a record is read")
        };
        let union = |index, value| Value::Union(index, Box::new(value));
        let wanted = [
            union(1, Value::Long(2)),
            union(0, Value::Null),
            union(0, Value::Null),
            union(1, Value::String("2025-01-01 00:00:03".to_owned())),
        ];
        assert_eq!(fields.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn a_column_is_the_key_and_another_the_time_in_every_kind_of_file() {
        let jsonl = "{\"id\":1,\"at\":\"2025-01-01T00:00:01Z\"}\n{\"at\":1735689603}\n";
        for (file, text, second) in [("a.csv", CSV, Some("2")), ("a.jsonl", jsonl, None)] {
            let timing = Timing::Pauses { column: "at".into(), speed: 1.0 };
            let options = Options { key: Some("id".into()), timing, ..options(Format::Json) };
            let (_, rows) = rows(file, text, &options).unwrap();
            let keys: Vec<_> =
                rows.iter().map(|row| row.key.as_deref().map(|key| str::from_utf8(key).unwrap())).collect();
            assert_eq!(keys, [Some("1"), second], "{file}");
            let times: Vec<_> = rows.iter().map(|row| row.at_ms).collect();
            assert_eq!(times, [Some(1_735_689_601_000), Some(1_735_689_603_000)], "{file}");
        }
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        let told = |file, text, options: Options| rows(file, text, &options).unwrap_err().to_string();
        let by_key = Options { key: Some("vehicle".into()), ..options(Format::Json) };
        let error = told("a.csv", CSV, by_key);
        assert_eq!(error, "--key vehicle: the files have no such column; they have id,name,amount,at");
        let timing = || Timing::Pauses { column: "name".into(), speed: 1.0 };
        let error = told("a.csv", CSV, Options { timing: timing(), ..options(Format::Json) });
        assert!(error.contains("a.csv: row 1: `name` is no time"), "{error}");
        let lines = "{\"name\":5}\n\n{\"name\":[]}\n";
        let error = told("a.jsonl", lines, Options { timing: timing(), ..options(Format::Json) });
        assert!(error.contains("a.jsonl: line 3: `name` is no time"), "{error}");
        let error = told("a.jsonl", "{\"a\":[1]}", options(Format::Avro));
        assert!(error.contains("the column `a` is of type") && error.contains("--format json"), "{error}");
        let error = told("a.csv", "a b\n1\n", options(Format::Avro));
        assert!(error.contains("a name that Avro does not allow"), "{error}");
    }
}
