//! A labelled CSV as columns: what kind each is, which are left out and why, and the classes.
//!
//! Owns reading and guessing; does not own what the network makes of a column.

use std::{
    collections::{BTreeSet, HashSet},
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayBuilder, ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, StringBuilder},
    datatypes::DataType,
};
use csv::{ReaderBuilder, StringRecord, Trim};
use sha2::{Digest, Sha256};

use crate::model::{
    error::ModelError,
    features::did_you_mean,
    manifest::{CLASSES_MAX, repeated},
};

/// The file is held in memory.
const TABLE_BYTES_MAX: u64 = 1 << 30;

/// Different words of a categorical column; one with more says too little about any of them.
const VOCABULARY_MAX: usize = 1_000;

/// What stands for a missing number.
const MISSING_NUMBERS: [&str; 4] = ["na", "n/a", "nan", "null"];

/// Which columns to learn from what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    pub label: String,
    /// Empty is every column that can be used.
    pub features: Vec<String>,
    pub ignore: Vec<String>,
}

/// A training table.
#[derive(Debug)]
pub struct Table {
    pub label: String,
    /// The columns to learn from.
    pub rows: RecordBatch,
    /// For each row, the index of its class.
    pub labels: Vec<u8>,
    pub classes: Vec<String>,
    /// Every column of the file but the label, used or not, in its order.
    pub columns: Vec<Column>,
    /// SHA-256 of the file, in hex.
    pub digest: String,
}

/// What became of a column of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// `numeric`, `boolean` or `categorical`; for a column left out, why.
    pub told: String,
    pub used: bool,
}

impl Table {
    /// Reads a CSV with a header line.
    pub fn read_csv(path: &Path, columns: &Columns) -> Result<Self, ModelError> {
        let bytes = read(path)?;
        let data = |fault: String| ModelError::Data { path: path.to_owned(), fault };
        let (header, cells) = parse(&bytes).map_err(data)?;
        let label = find(&header, &columns.label, "the label column").map_err(ModelError::Choice)?;
        for name in columns.features.iter().chain(&columns.ignore) {
            find(&header, name, "the column").map_err(ModelError::Choice)?;
        }
        let (labels, classes) = classes(&columns.label, &cells[label]).map_err(data)?;
        let (told, used) = columns.choose(&header, label, &cells);
        if used.is_empty() {
            return Err(data("it has no column to learn from".to_owned()));
        }
        let rows = RecordBatch::try_from_iter_with_nullable(used.into_iter().map(|(name, array)| (name, array, true)))?;
        let digest = format!("{:x}", Sha256::digest(&bytes));
        Ok(Self { label: columns.label.clone(), rows, labels, classes, columns: told, digest })
    }
}

impl Columns {
    /// What becomes of each column but the label's, and the columns to learn from.
    fn choose<'a>(
        &self,
        header: &'a [String],
        label: usize,
        cells: &[StringArray],
    ) -> (Vec<Column>, Vec<(&'a str, ArrayRef)>) {
        let mut told = Vec::new();
        let mut used = Vec::new();
        let columns = header.iter().zip(cells).enumerate().filter(|(index, _)| *index != label);
        for (_, (name, cells)) in columns {
            let outcome = if self.leaves_out(name) { Err("as asked".to_owned()) } else { infer(name, cells) };
            let (told_of, is_used) = match outcome {
                Ok((array, told_of)) => {
                    used.push((name.as_str(), array));
                    (told_of, true)
                }
                Err(why) => (format!("left out: {why}"), false),
            };
            told.push(Column { name: name.clone(), told: told_of, used: is_used });
        }
        (told, used)
    }

    fn leaves_out(&self, name: &String) -> bool {
        self.ignore.contains(name) || !(self.features.is_empty() || self.features.contains(name))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ModelError::Choice(format!("{}: there is no such file", path.display())),
        _ => ModelError::Io { action: "open", path: path.to_owned(), source },
    })?;
    let mut bytes = Vec::new();
    let read = file.take(TABLE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|source| ModelError::Io { action: "read", path: path.to_owned(), source })?;
    if bytes.len() as u64 > TABLE_BYTES_MAX {
        let fault = format!("it is larger than the limit of {TABLE_BYTES_MAX} bytes; take a sample of its rows");
        return Err(ModelError::Data { path: path.to_owned(), fault });
    }
    Ok(bytes)
}

/// The header, and the text of each column; an empty cell is null.
fn parse(bytes: &[u8]) -> Result<(Vec<String>, Vec<StringArray>), String> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(bytes);
    let header: Vec<String> = reader.headers().map_err(|error| error.to_string())?.iter().map(String::from).collect();
    if header.is_empty() {
        return Err("it is empty; a header line and rows are wanted".to_owned());
    }
    if let Some(name) = repeated(header.iter()) {
        return Err(format!("the column `{name}` is there twice"));
    }
    let mut columns: Vec<StringBuilder> = header.iter().map(|_| StringBuilder::new()).collect();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| error.to_string())? {
        for (column, cell) in columns.iter_mut().zip(&record) {
            column.append_option((!cell.is_empty()).then_some(cell));
        }
    }
    if columns.iter().all(ArrayBuilder::is_empty) {
        return Err("it has a header, and no rows".to_owned());
    }
    Ok((header, columns.iter_mut().map(StringBuilder::finish).collect()))
}

fn find(header: &[String], name: &str, what: &str) -> Result<usize, String> {
    header.iter().position(|column| column == name).ok_or_else(|| {
        let hint = did_you_mean(name, header.iter().map(String::as_str));
        format!("{what} `{name}` is not in the file, which has {}{hint}", header.join(", "))
    })
}

/// The class of each row, and the names: in order of number if all are numbers, else of text.
fn classes(label: &str, cells: &StringArray) -> Result<(Vec<u8>, Vec<String>), String> {
    if let Some(row) = (0..cells.len()).find(|&row| cells.is_null(row)) {
        return Err(format!("row {} has nothing in the label column `{label}`", row + 1));
    }
    let distinct: BTreeSet<&str> = cells.iter().flatten().collect();
    match distinct.len() {
        0 | 1 => {
            let only = distinct.first().copied().unwrap_or("");
            return Err(format!("the label column `{label}` holds only `{only}`; a classifier needs two classes"));
        }
        count if count > CLASSES_MAX => {
            return Err(format!(
                "the label column `{label}` holds {count} different values; {CLASSES_MAX} are allowed"
            ));
        }
        _ => {}
    }
    let mut names: Vec<&str> = distinct.into_iter().collect();
    if names.iter().all(|name| number(name).is_some()) {
        names.sort_by(|left, right| number(left).unwrap_or(0.0).total_cmp(&number(right).unwrap_or(0.0)));
    }
    let indices: std::collections::HashMap<&str, u8> = names.iter().copied().zip(0..).collect();
    let labels = cells.iter().flatten().filter_map(|name| indices.get(name).copied()).collect();
    Ok((labels, names.into_iter().map(String::from).collect()))
}

/// The column as numbers, booleans or words, and what to tell of it; or why it is of no use.
fn infer(name: &str, cells: &StringArray) -> Result<(ArrayRef, String), String> {
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    let distinct: HashSet<&str> = cells.iter().flatten().collect();
    if distinct.len() < 2 {
        return Err("every row is alike".to_owned());
    }
    if let Some(numbers) = numbers(cells) {
        if counts_up(&numbers) {
            return Err("it numbers the rows".to_owned());
        }
        let told = with_missing(&numbers);
        return Ok((Arc::new(numbers), told));
    }
    if let Some(booleans) = booleans(cells) {
        let told = with_missing(&booleans);
        return Ok((Arc::new(booleans), told));
    }
    match distinct.len() {
        count if count == cells.len() => Err("text, and every row's is different".to_owned()),
        count if count > VOCABULARY_MAX => {
            Err(format!("text of {count} different values; {VOCABULARY_MAX} are allowed"))
        }
        count => Ok((Arc::new(cells.clone()), format!("{}, {count} words", with_missing(cells)))),
    }
}

fn with_missing(array: &dyn Array) -> String {
    let kind = match array.data_type() {
        DataType::Boolean => "boolean",
        DataType::Utf8 => "categorical",
        _ => "numeric",
    };
    match array.null_count() {
        0 => kind.to_owned(),
        missing => format!("{kind}, {missing} missing"),
    }
}

fn number(cell: &str) -> Option<f64> {
    cell.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The column as numbers, if every cell is one or stands for none.
fn numbers(cells: &StringArray) -> Option<Float64Array> {
    let mut found = 0;
    let numbers: Option<Vec<Option<f64>>> = cells
        .iter()
        .map(|cell| match cell {
            Some(cell) if MISSING_NUMBERS.contains(&cell.to_lowercase().as_str()) => Some(None),
            Some(cell) => number(cell).map(Some).inspect(|_| found += 1),
            None => Some(None),
        })
        .collect();
    numbers.filter(|_| found > 0).map(Float64Array::from)
}

fn booleans(cells: &StringArray) -> Option<BooleanArray> {
    let boolean = |cell: &str| cell.to_lowercase().parse::<bool>().ok();
    let booleans: Option<Vec<_>> =
        cells.iter().map(|cell| cell.map_or(Some(None), |cell| boolean(cell).map(Some))).collect();
    booleans.map(BooleanArray::from)
}

/// A row number knows the class wherever the file is sorted by it, and nothing of the next record.
#[allow(clippy::float_cmp, reason = "whole numbers are exact")]
fn counts_up(numbers: &Float64Array) -> bool {
    numbers.null_count() == 0 && numbers.values().windows(2).all(|pair| pair[1] - pair[0] == 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_csv(text: &str, columns: &Columns) -> Result<Table, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        std::fs::write(&path, text).unwrap();
        Table::read_csv(&path, columns)
    }

    fn label(label: &str) -> Columns {
        Columns { label: label.to_owned(), ..Columns::default() }
    }

    fn told(table: &Table) -> Vec<(&str, &str)> {
        table.columns.iter().map(|column| (column.name.as_str(), column.told.as_str())).collect()
    }

    #[test]
    fn kinds_are_inferred_and_useless_columns_left_out_with_a_reason() {
        let table = read_csv(
            "id,x,on,country,note,same,gap,y\n\
             1,1.5,true,de,one,7,,b\n\
             2,NaN,FALSE,fr,two,7,2,a\n\
             3,3e2,true,,three,7,4,b\n\
             4,-1,true,de,four,7,4,a\n",
            &label("y"),
        )
        .unwrap();
        assert_eq!(
            told(&table),
            [
                ("id", "left out: it numbers the rows"),
                ("x", "numeric, 1 missing"),
                ("on", "boolean"),
                ("country", "categorical, 1 missing, 2 words"),
                ("note", "left out: text, and every row's is different"),
                ("same", "left out: every row is alike"),
                ("gap", "numeric, 1 missing"),
            ]
        );
        let names: Vec<_> = table.rows.schema_ref().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["x", "on", "country", "gap"]);
        assert_eq!((table.labels, table.classes), (vec![1, 0, 1, 0], vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn columns_can_be_chosen_and_ignored() {
        let text = "a,b,c,y\n1,2,4,p\n2,2,8,q\n5,1,1,p\n";
        let features = Columns { features: vec!["a".to_owned(), "c".to_owned()], ..label("y") };
        assert_eq!(told(&read_csv(text, &features).unwrap())[1], ("b", "left out: as asked"));
        let ignore = Columns { ignore: vec!["b".to_owned()], ..label("y") };
        assert_eq!(read_csv(text, &features).unwrap().rows, read_csv(text, &ignore).unwrap().rows);
    }

    #[test]
    fn classes_that_are_numbers_are_in_the_order_of_numbers() {
        let table = read_csv("x,y\n1,10\n5,9\n2,-1\n", &label("y")).unwrap();
        assert_eq!((table.classes, table.labels), (vec!["-1".into(), "9".into(), "10".into()], vec![2, 1, 0]));
    }

    #[test]
    fn each_fault_of_the_data_is_one_clear_sentence() {
        let many = (0..300).map(|class| format!("{},c{class}", class % 7)).collect::<Vec<_>>().join("\n");
        let cases = [
            ("", "it is empty"),
            ("x,y\n", "it has a header, and no rows"),
            ("x,y\n1,a\n2,a\n", "the label column `y` holds only `a`"),
            ("x,y\n1,a\n2,\n", "row 2 has nothing in the label column `y`"),
            ("x,y\n1,a\n2\n", "found record with 1 fields"),
            ("x,x,y\n1,1,a\n", "the column `x` is there twice"),
            ("x,y\n1,a\n1,b\n", "it has no column to learn from"),
            (&format!("x,y\n{many}"), "holds 300 different values; 255 are allowed"),
        ];
        for (text, want) in cases {
            let error = read_csv(text, &label("y")).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn a_column_that_is_not_there_is_a_wrong_choice_with_a_hint() {
        let error = read_csv("x,species\n1,a\n2,b\n", &label("specie")).unwrap_err();
        assert!(matches!(error, ModelError::Choice(_)));
        assert!(error.to_string().contains("did you mean `species`?"), "{error}");
        let error = Table::read_csv(Path::new("nowhere.csv"), &label("y")).unwrap_err();
        assert_eq!(error.to_string(), "nowhere.csv: there is no such file");
    }
}
