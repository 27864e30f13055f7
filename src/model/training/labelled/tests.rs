//! From files to labelled columns.

use std::{fmt::Write as _, fs, path::Path};

use arrow::{array::AsArray, compute::concat_batches, datatypes::Float64Type};
use tempfile::TempDir;

use super::*;

fn label(label: &str) -> Columns {
    Columns { label: label.to_owned(), ..Columns::default() }
}

fn open(path: &Path, columns: &Columns) -> Result<Labelled, ModelError> {
    Labelled::open(&[path.display().to_string()], columns)
}

fn read_csv(text: &str, columns: &Columns) -> Result<Labelled, ModelError> {
    let folder = folder(&[("data.csv", text)]);
    open(&folder.path().join("data.csv"), columns)
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn rows(table: &Labelled) -> RecordBatch {
    let batches: Vec<RecordBatch> = table.batches().unwrap().map(Result::unwrap).collect();
    concat_batches(&table.schema(), &batches).unwrap()
}

fn told(table: &Labelled) -> Vec<(&str, &str)> {
    table.columns.iter().map(|column| (column.name.as_str(), column.told.as_str())).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().copied().map(String::from).collect()
}

#[test]
fn kinds_are_inferred_and_useless_columns_left_out_with_a_reason() {
    let table = read_csv(
        "id,x,on,country,note,same,gap,,y\n\
         1,1.5,true,de,one,7,,1,b\n\
         2,NaN,FALSE,fr,two,7,2,2,a\n\
         3, 3e2 ,true,,three,7,4,3,b\n\
         4,-1,null,de,four,7,4,3,a\n",
        &label("y"),
    )
    .unwrap();
    assert_eq!(
        told(&table),
        [
            ("id", "left out: it numbers the rows"),
            ("x", "numeric, 1 missing"),
            ("on", "boolean, 1 missing"),
            ("country", "categorical, 1 missing, 2 words"),
            ("note", "left out: text, and every row's is different"),
            ("same", "left out: every row is alike"),
            ("gap", "numeric, 1 missing"),
            ("", "left out: it has no name"),
        ]
    );
    let kinds: Vec<_> = table.features.iter().map(|(name, kind, missing)| (name.as_str(), *kind, *missing)).collect();
    assert_eq!(
        kinds,
        [
            ("x", ColumnKind::Numeric, true),
            ("on", ColumnKind::Boolean, true),
            ("country", ColumnKind::Categorical, true),
            ("gap", ColumnKind::Numeric, true),
        ]
    );
    let batch = rows(&table);
    let x: Vec<Option<f64>> = batch.column(0).as_primitive::<Float64Type>().iter().collect();
    assert_eq!(x, [Some(1.5), None, Some(300.0), Some(-1.0)]);
    let on: Vec<Option<bool>> = batch.column(1).as_boolean().iter().collect();
    assert_eq!(on, [Some(true), Some(false), Some(true), None]);
    assert_eq!((table.labels, table.classes), (vec![1, 0, 1, 0], names(&["a", "b"])));
}

/// A column of cells, what it is asked to be, and what becomes of it in a table of 30 rows.
#[test]
fn each_column_becomes_what_its_cells_suggest() {
    type Cell = fn(usize) -> String;
    let cases: [(Cell, &str); 14] = [
        (
            |row| (7 * row * row).to_string(),
            "left out: whole numbers, and every row's is different; --numeric asks for it",
        ),
        (|row| format!("{}.25", row), "numeric"),
        (|row| (row + 5).to_string(), "left out: it numbers the rows"),
        (|row| (row % 4).to_string(), "numeric"),
        (|row| if row == 2 { "na".to_owned() } else { (row % 4).to_string() }, "numeric, 1 missing"),
        (
            |row| if row == 16 { "-".to_owned() } else { (row % 4).to_string() },
            "categorical, 5 words; row 17 holds `-` among numbers",
        ),
        (|row| if row == 3 { "inf".to_owned() } else { (row % 4).to_string() }, "left out: row 4 is infinite"),
        (|row| ["NA", "DE", "FR"][row % 3].to_owned(), "categorical, 3 words"),
        (|row| ["", "DE", "FR"][row % 3].to_owned(), "categorical, 10 missing, 2 words"),
        (|row| ["True", "false"][row % 2].to_owned(), "boolean"),
        (
            |row| ["true", "false", "maybe"][row % 3].to_owned(),
            "categorical, 3 words; row 3 holds `maybe` among true and false",
        ),
        (|row| format!("post {row} says this"), "text, 4.0 words on average"),
        (|row| ["one of few texts", "another of few texts"][row % 2].to_owned(), "categorical, 2 words"),
        (|_| String::new(), "left out: it is empty"),
    ];
    for (cell, want) in cases {
        let mut csv = "x,z,y\n".to_owned();
        (0..30).for_each(|row| writeln!(csv, "{},{}.5,{}", cell(row), row % 3, row % 2).unwrap());
        let table = read_csv(&csv, &label("y")).unwrap();
        assert_eq!(table.columns[0].told, want, "{csv}");
        assert_eq!(rows(&table).num_rows(), 30);
    }
}

#[test]
fn words_beyond_a_vocabulary_are_text_only_if_they_are_sentences() {
    let mut csv = "path,post,y\n".to_owned();
    for row in 0..2_400 {
        writeln!(csv, "/item/{},so it goes {},{}", row / 2, row / 2, row % 2).unwrap();
    }
    let table = read_csv(&csv, &label("y")).unwrap();
    assert_eq!(
        told(&table),
        [
            ("path", "left out: text of more than 1000 different values; --text asks for it"),
            ("post", "text, 4.0 words on average"),
        ]
    );
    let asked = Columns { text: names(&["path"]), ..label("y") };
    let table = read_csv(&csv, &asked).unwrap();
    assert_eq!(table.features[0], ("path".to_owned(), ColumnKind::Text, false));
    let asked = Columns { categorical: names(&["path"]), ..label("y") };
    let error = read_csv(&csv, &asked).unwrap_err().to_string();
    assert!(error.contains("`path` is asked for as categorical, and it has more than 1000"), "{error}");
}

#[test]
fn columns_can_be_chosen_and_ignored() {
    let text = "a,b,c,y\n1,2,4,p\n2,2,8,q\n5,1,1,p\n";
    let features = Columns { features: names(&["a", "c"]), ..label("y") };
    assert_eq!(told(&read_csv(text, &features).unwrap())[1], ("b", "left out: as asked"));
    let ignore = Columns { ignore: names(&["b"]), ..label("y") };
    assert_eq!(rows(&read_csv(text, &features).unwrap()), rows(&read_csv(text, &ignore).unwrap()));
}

#[test]
fn kinds_can_be_chosen() {
    let text = "id,zip,on,y\n1,012,true,p\n2,12,false,q\n3,012,true,p\n";
    let columns = Columns { numeric: names(&["id"]), categorical: names(&["zip"]), text: names(&["on"]), ..label("y") };
    let table = read_csv(text, &columns).unwrap();
    assert_eq!(
        told(&table),
        [("id", "numeric"), ("zip", "categorical, 2 words"), ("on", "text, 1.0 words on average")]
    );
    let batch = rows(&table);
    assert_eq!(batch.column(1).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["012", "12", "012"]);
    let boolean = Columns { boolean: names(&["on"]), ..label("y") };
    assert_eq!(told(&read_csv(text, &boolean).unwrap())[2], ("on", "boolean"));
}

#[test]
fn what_can_not_be_chosen_is_told_in_one_sentence() {
    let text = "x,word,on,y\n1,a,true,p\n2,b,false,q\nmuch,a,true,p\n";
    let none = || label("y");
    let cases = [
        (label("z"), "the label column `z` is not in the table, which has x, word, on, y"),
        (Columns { features: names(&["wort"]), ..none() }, "did you mean `word`?"),
        (Columns { ignore: names(&["q"]), ..none() }, "the column `q` is not in the table"),
        (Columns { numeric: names(&["x"]), ..none() }, "as numeric, and row 3 holds `much` among numbers"),
        (Columns { numeric: names(&["word"]), ..none() }, "as numeric, and it holds words"),
        (Columns { numeric: names(&["on"]), ..none() }, "as numeric, and it holds true and false"),
        (Columns { boolean: names(&["word"]), ..none() }, "as boolean, and it holds words"),
        (Columns { features: names(&["y"]), ..none() }, "`y` is the label, and can't be learned from"),
        (
            Columns { features: names(&["x"]), ignore: names(&["x"]), ..none() },
            "`x` is to be ignored, and to be learned",
        ),
        (Columns { text: names(&["x"]), categorical: names(&["x"]), ..none() }, "`x` is asked for as two kinds"),
    ];
    for (columns, want) in cases {
        let error = read_csv(text, &columns).unwrap_err();
        assert!(matches!(error, ModelError::Choice(_)), "{error:?}");
        assert!(error.to_string().contains(want), "{error}");
    }
}

#[test]
fn each_fault_of_the_data_is_one_clear_sentence() {
    let many = (0..300).map(|class| format!("{},c{class}", class % 7)).collect::<Vec<_>>().join("\n");
    let amounts = (0..300).map(|row| format!("{},{row}.5", row % 7)).collect::<Vec<_>>().join("\n");
    let cases = [
        ("", "it is empty"),
        ("x,y\n", "it has a header, and no rows"),
        ("x,y\n1,a\n2,a\n", "the label column `y` holds only `a`"),
        ("x,y\n1,a\n2,\n", "row 2 has nothing in the label column `y`"),
        ("x,y\n1,a\n2\n", "line 3: the row has 1 cells, and the header has 2"),
        ("x,x,y\n1,1,a\n", "the column `x` is there twice"),
        ("y\na\nb\n", "it has no column but the label"),
        ("x,y\n1,a\n1,b\n", "it has no column to learn from: `x` is left out: every row is alike"),
        (&format!("x,y\n{many}"), "holds more than 255 different values"),
        (&format!("x,y\n{amounts}"), "holds more than 255 different numbers; a classifier tells a few classes apart"),
    ];
    for (text, want) in cases {
        let error = read_csv(text, &label("y")).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("data.csv: "), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_a_wrong_choice() {
    let error = open(Path::new("nowhere.csv"), &label("y")).unwrap_err();
    assert!(matches!(error, ModelError::Choice(_)));
    assert_eq!(error.to_string(), "nowhere.csv: there is no such file");
}

#[test]
fn a_row_of_one_of_several_files_is_named_with_its_file() {
    let folder = folder(&[("a.csv", "x,y\n1,p\n2,q\n"), ("b.csv", "x,y\n1,p\n2,\n")]);
    let error = open(folder.path(), &label("y")).unwrap_err().to_string();
    assert!(error.contains("row 2 of") && error.contains("b.csv has nothing in the label column"), "{error}");
}

#[test]
fn the_digest_is_that_of_the_files_bytes_one_after_the_other() {
    let text = "x,y\n1.5,p\n2,q\n";
    let folder = folder(&[("a.csv", text), ("b.csv", text)]);
    let digest = |path: &Path| open(path, &label("y")).unwrap().digest;
    // As `sha256sum` tells it of the file, and of both after each other.
    assert_eq!(
        digest(&folder.path().join("a.csv")),
        "0861971851a6a3f7515b392ec8dd6377e0c9b57bafeed8d3145349dd323341a6"
    );
    assert_eq!(digest(folder.path()), "1c9f1a9c1735a7d96761256526eb0ed7e026e6d78b90a98dcd645de1f0a746cf");
}

#[test]
fn the_columns_that_a_lake_adds_are_left_out_unless_asked_for() {
    let csv = "x,prediction,confidence,p_a,_offset,p_value_of_mine\n1.5,a,0.9,0.9,7,1\n2.5,b,0.8,0.2,9,2\n0.5,b,0.7,0.3,11,4\n";
    let table = read_csv(csv, &label("prediction")).unwrap();
    assert_eq!(table.features, [("x".to_owned(), ColumnKind::Numeric, false)]);
    assert_eq!(told(&table)[1], ("confidence", "left out: the lake's own; --features asks for it"));
    let asked = Columns { features: names(&["x", "confidence"]), ..label("prediction") };
    assert_eq!(read_csv(csv, &asked).unwrap().features.len(), 2);
    let not_of_a_lake = csv.replace("_offset", "offset");
    assert_eq!(read_csv(&not_of_a_lake, &label("prediction")).unwrap().features.len(), 5);
}

#[test]
fn a_table_may_be_gone_through_several_times_held_or_read_again() {
    let mut csv = "x,y\n".to_owned();
    (0..10_000).for_each(|row| writeln!(csv, "{}.5,{}", row % 100, row % 2).unwrap());
    let folder = folder(&[("data.csv", &csv)]);
    let mut table = open(&folder.path().join("data.csv"), &label("y")).unwrap();
    assert!(table.held.is_some());
    let (first, second) = (rows(&table), rows(&table));
    table.held = None;
    assert!(first == second && first == rows(&table));
    assert!(first.num_rows() == 10_000 && table.batches().unwrap().count() > 1);
}
