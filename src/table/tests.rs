//! Reading tables from files.

use std::{fmt::Write as _, fs};

use arrow::array::{Array, AsArray};
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
        ("x,y\n1,2\n\n3,4,5\n", "line 4: the row has 3 cells, and the header has 2"),
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
