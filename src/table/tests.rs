//! Reading tables from files.

use std::{fmt::Write as _, fs, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, BinaryArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Int32Array,
        LargeStringArray, ListArray, StringViewArray, TimestampMillisecondArray, UInt64Array,
    },
    datatypes::{Float64Type, Int32Type, Int64Type, UInt64Type},
};
use tempfile::TempDir;

use super::*;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn open(path: &Path) -> Result<Table, TableError> {
    Table::open(&[path.display().to_string()])
}

/// The cells of a column, row by row.
fn cells(table: &Table, column: usize) -> Result<Vec<Option<String>>, TableError> {
    let mut cells = Vec::new();
    for batch in table.batches(&[column]) {
        cells.extend(batch?.column(0).as_string::<i32>().iter().map(|cell| cell.map(String::from)));
    }
    Ok(cells)
}

#[test]
fn cells_are_trimmed_and_an_empty_one_is_null() {
    let folder = folder(&[("data.csv", "\u{feff} a , b\n 1 ,\" x, y \"\n,z\n")]);
    let table = open(folder.path()).unwrap();
    let names: Vec<_> = table.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(cells(&table, 0).unwrap(), [Some("1".to_owned()), None]);
    assert_eq!(cells(&table, 1).unwrap(), [Some("x, y".to_owned()), Some("z".to_owned())]);
}

#[test]
fn files_follow_each_other_and_their_columns_may_stand_in_another_order() {
    let folder = folder(&[("a.csv", "x,y\n1,a\n2,b\n"), ("b.csv", "y,x\nc,3\n"), ("c.csv", "x,y\n")]);
    let table = open(folder.path()).unwrap();
    assert_eq!(cells(&table, 0).unwrap().into_iter().flatten().collect::<String>(), "123");
    assert_eq!(cells(&table, 1).unwrap().into_iter().flatten().collect::<String>(), "abc");
}

#[test]
fn batches_are_of_a_few_thousand_rows_and_each_row_has_a_name() {
    let mut csv = "x\n".to_owned();
    (0..10_000).for_each(|row| writeln!(csv, "{row}").unwrap());
    let folder = folder(&[("a.csv", &csv), ("b.csv", &csv)]);
    let table = open(folder.path()).unwrap();
    let mut batches = table.batches(&[0]);
    let (mut rows, mut last) = (0, String::new());
    while let Some(batch) = batches.next() {
        let batch = batch.unwrap();
        assert!(batch.num_rows() <= BATCH_ROWS);
        rows += batch.num_rows();
        last = batches.name_of_row(batch.num_rows() - 1);
    }
    assert_eq!(rows, 20_000);
    assert!(last.starts_with("row 10000 of ") && last.ends_with("b.csv"), "{last}");
}

#[test]
fn each_fault_of_a_csv_names_the_file_and_the_line() {
    let open_quote = format!("x,y\n1,2\n\"{}", "all the rest\n".repeat(2_000_000));
    let cases = [
        ("", "it is empty"),
        ("x,y\n1,2\n3\n", "line 3: the row has 1 cells, and the header has 2"),
        ("x,y\n1,2\n3,4\n3,4,5\n", "line 4: the row has 3 cells, and the header has 2"),
        ("x, x\n1,2\n", "the column `x` is there twice"),
        (&open_quote, "line 3: the row is longer than 16 MiB; is a quote left open?"),
    ];
    for (text, want) in cases {
        let folder = folder(&[("bad.csv", text)]);
        let read = open(folder.path()).and_then(|table| cells(&table, 0));
        let error = read.unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("bad.csv: "), "{error}");
    }
    let folder = folder(&[]);
    fs::write(folder.path().join("bad.csv"), b"x,y\n1,2\n3,\xff\n").unwrap();
    let error = cells(&open(folder.path()).unwrap(), 0).unwrap_err().to_string();
    assert!(error.ends_with("bad.csv: line 3: cell 2 is not UTF-8"), "{error}");
}

#[test]
fn files_of_one_table_have_the_same_columns() {
    for (second, want) in
        [("x\n1\n", "b.csv: it lacks the column `y`"), ("x,y,z\n1,2,3\n", "b.csv: it has the column `z`")]
    {
        let folder = folder(&[("a.csv", "x,y\n1,2\n"), ("b.csv", second)]);
        let error = cells(&open(folder.path()).unwrap(), 0).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn nothing_comes_after_a_fault() {
    let folder = folder(&[("a.csv", "x,y\n1\n"), ("b.csv", "x,y\n1,2\n")]);
    let table = open(folder.path()).unwrap();
    let mut batches = table.batches(&[0]);
    assert!(batches.next().is_some_and(|batch| batch.is_err()));
    assert!(batches.next().is_none());
}

#[test]
fn what_is_no_parquet_file_is_refused() {
    let folder = folder(&[("bad.parquet", "this is no Parquet")]);
    let error = open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("read the footer of") && error.ends_with("bad.parquet"), "{error}");
}

fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let mut writer = Writer::create(path).unwrap();
    writer.write(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    writer.finish().unwrap();
}

#[test]
fn the_many_types_of_parquet_become_a_few() {
    let folder = folder(&[]);
    let path = folder.path().join("types.parquet");
    let dictionary: DictionaryArray<Int32Type> = vec!["b", "a"].into_iter().collect();
    let decimal = Decimal128Array::from(vec![150, -25]).with_precision_and_scale(10, 2).unwrap();
    write_parquet(
        &path,
        vec![
            ("int", Arc::new(Int32Array::from(vec![1, -2]))),
            ("unsigned", Arc::new(UInt64Array::from(vec![1, u64::MAX]))),
            ("float", Arc::new(Float32Array::from(vec![0.5, 1.5]))),
            ("decimal", Arc::new(decimal)),
            ("large", Arc::new(LargeStringArray::from(vec!["x", ""]))),
            ("view", Arc::new(StringViewArray::from(vec!["y", "z"]))),
            ("dictionary", Arc::new(dictionary)),
        ],
    );
    let table = open(&path).unwrap();
    let batch = table.batches(&[0, 1, 2, 3, 4, 5, 6]).next().unwrap().unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[1, -2]);
    assert_eq!(batch.column(1).as_primitive::<UInt64Type>().values(), &[1, u64::MAX]);
    assert_eq!(batch.column(2).as_primitive::<Float64Type>().values(), &[0.5, 1.5]);
    assert_eq!(batch.column(3).as_primitive::<Float64Type>().values(), &[1.5, -0.25]);
    let words: Vec<Vec<Option<&str>>> =
        (4..7).map(|column| batch.column(column).as_string::<i32>().iter().collect()).collect();
    assert_eq!(words, [[Some("x"), Some("")], [Some("y"), Some("z")], [Some("b"), Some("a")]]);
    let picked = table.batches(&[5, 0]).next().unwrap().unwrap();
    assert_eq!(picked.schema_ref().field(0).name(), "view");
    assert_eq!(picked.column(1), batch.column(0));
}

#[test]
fn what_a_table_can_not_use_is_said_in_words() {
    let folder = folder(&[]);
    let path = folder.path().join("types.parquet");
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]);
    write_parquet(
        &path,
        vec![
            ("at", Arc::new(TimestampMillisecondArray::from(vec![1]))),
            ("day", Arc::new(Date32Array::from(vec![1]))),
            ("key", Arc::new(BinaryArray::from_iter_values([b"k"]))),
            ("list", Arc::new(list)),
        ],
    );
    let table = open(&path).unwrap();
    let told: Vec<_> = table
        .columns()
        .iter()
        .map(|column| match &column.holds {
            Holds::Other(what) => what.as_str(),
            Holds::Cells | Holds::Typed(_) => "usable",
        })
        .collect();
    assert_eq!(told, ["a timestamp", "a date", "bytes", "a list"]);
}

#[test]
fn a_column_that_changes_its_type_from_file_to_file_is_an_error() {
    let folder = folder(&[]);
    write_parquet(&folder.path().join("a.parquet"), vec![("x", Arc::new(Int32Array::from(vec![1])))]);
    write_parquet(&folder.path().join("b.parquet"), vec![("x", Arc::new(Float32Array::from(vec![1.0])))]);
    let table = open(folder.path()).unwrap();
    let error = table.batches(&[0]).find_map(Result::err).unwrap().to_string();
    assert!(error.contains("b.parquet: the column `x` is Float32 here, and another type"), "{error}");
}

#[test]
fn a_damaged_parquet_file_is_an_error() {
    let folder = folder(&[]);
    let path = folder.path().join("t.parquet");
    write_parquet(&path, vec![("x", Arc::new(Int32Array::from_iter_values(0..1_000)))]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4..400].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let error = open(&path).unwrap().batches(&[0]).find_map(Result::err).unwrap().to_string();
    assert!(error.starts_with("read ") && error.ends_with("t.parquet"), "{error}");
}
