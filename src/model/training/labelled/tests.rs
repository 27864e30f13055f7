//! From files to labelled columns.

use std::{fmt::Write as _, fs, path::Path};

use arrow::{
    array::{
        Array, AsArray, BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int64Array, StringArray,
    },
    compute::concat_batches,
    datatypes::Float64Type,
};
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
        (|row| format!("{row}.25"), "numeric"),
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

fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let mut writer = table::Writer::create(path).unwrap();
    writer.write(&RecordBatch::try_from_iter_with_nullable(columns).unwrap()).unwrap();
    writer.finish().unwrap();
}

#[test]
fn a_csv_and_a_parquet_file_of_the_same_rows_are_learned_from_alike() {
    let rows_of = 50_usize;
    let texts = |text: fn(usize) -> Option<&'static str>| Arc::new((0..rows_of).map(text).collect::<StringArray>());
    let folder = folder(&[]);
    let path = folder.path().join("data.parquet");
    let float = |row: usize| f64::from(u32::try_from(row % 9).unwrap()) + 0.1;
    write_parquet(
        &path,
        vec![
            ("id", Arc::new(Int64Array::from_iter_values(1..51))),
            ("code", Arc::new(Int64Array::from_iter_values((0..50).map(|row| 100_000 - row * row)))),
            ("x", Arc::new((0..rows_of).map(|row| (row % 7 != 0).then(|| float(row))).collect::<Float64Array>())),
            ("n", Arc::new(Int64Array::from_iter_values((0..50).map(|row| row % 5)))),
            ("on", Arc::new((0..rows_of).map(|row| Some(row % 2 == 0)).collect::<BooleanArray>())),
            ("word", texts(|row| ["red", "green", "blue"].get(row % 4).copied())),
            ("say", texts(|row| Some(if row % 2 == 0 { "a b" } else { "c d" }))),
            ("y", texts(|row| Some(if row % 3 == 0 { "p" } else { "q" }))),
        ],
    );
    let as_csv = folder.path().join("data.csv");
    let mut writer = table::Writer::create(&as_csv).unwrap();
    let parquet = Table::open(&[path.display().to_string()]).unwrap();
    for batch in parquet.batches(&[0, 1, 2, 3, 4, 5, 6, 7]) {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.finish().unwrap();

    let (from_csv, from_parquet) = (open(&as_csv, &label("y")).unwrap(), open(&path, &label("y")).unwrap());
    assert_eq!(told(&from_csv), told(&from_parquet));
    assert_eq!(from_csv.features, from_parquet.features);
    assert_eq!((&from_csv.labels, &from_csv.classes), (&from_parquet.labels, &from_parquet.classes));
    assert_eq!(rows(&from_csv), rows(&from_parquet));
    assert_eq!(from_csv.features.len(), 5, "{:?}", told(&from_csv));
}

#[test]
fn a_folder_of_the_lake_is_a_table() {
    let folder = folder(&[]);
    for hour in 0..3_usize {
        let place = folder.path().join(format!("date=2026-11-21/hour=0{hour}"));
        fs::create_dir_all(&place).unwrap();
        let numbers = |of: fn(i64) -> i64| Arc::new(Int64Array::from_iter_values((0..20).map(of)));
        let model = if hour == 2 { "p_c" } else { "p_b" };
        write_parquet(
            &place.join(format!("g0-p0000-{hour:020}.parquet")),
            vec![
                ("width", numbers(|row| row % 4)),
                ("prediction", Arc::new(StringArray::from_iter_values((0..20).map(|row| ["a", "b"][row % 2])))),
                ("confidence", Arc::new(Float32Array::from(vec![0.9; 20]))),
                (model, Arc::new(Float32Array::from(vec![0.9; 20]))),
                ("_offset", numbers(|row| row)),
                ("_key", Arc::new(BinaryArray::from_iter_values([b"k"; 20]))),
            ],
        );
    }
    fs::create_dir_all(folder.path().join("_staging")).unwrap();
    fs::write(folder.path().join("_staging/half.parquet"), "half a file").unwrap();
    let table = open(folder.path(), &label("prediction")).unwrap();
    assert_eq!(table.features, [("width".to_owned(), ColumnKind::Numeric, false)]);
    assert_eq!((table.labels.len(), rows(&table).num_rows()), (60, 60));
    assert_eq!(
        told(&table)[1..],
        [
            ("confidence", "left out: the lake's own; --features asks for it"),
            ("p_b", "left out: the lake's own; --features asks for it"),
            ("_offset", "left out: the lake's own; --features asks for it"),
            ("_key", "left out: the lake's own; --features asks for it"),
        ]
    );
}

#[test]
fn what_is_no_value_to_learn_from_is_left_out_of_parquet_too() {
    let folder = folder(&[]);
    let path = folder.path().join("data.parquet");
    write_parquet(
        &path,
        vec![
            ("x", Arc::new(Float64Array::from(vec![1.5, f64::NAN, 2.5, 1.5]))),
            ("z", Arc::new(Float64Array::from(vec![1.5, 7.0, f64::NEG_INFINITY, 1.5]))),
            ("day", Arc::new(Date32Array::from(vec![1, 2, 3, 4]))),
            ("y", Arc::new(BooleanArray::from(vec![true, false, true, false]))),
        ],
    );
    let table = open(&path, &label("y")).unwrap();
    assert_eq!(
        told(&table),
        [
            ("x", "numeric, 1 missing"),
            ("z", "left out: row 3 is infinite"),
            ("day", "left out: a date, which can't be learned from"),
        ]
    );
    let error = open(&path, &label("day")).unwrap_err().to_string();
    assert!(error.contains("the label column `day` is a date"), "{error}");
    let error = open(&path, &Columns { features: names(&["day"]), ..label("y") }).unwrap_err().to_string();
    assert!(error.contains("the column `day` is a date, which can't be learned from"), "{error}");
    assert_eq!(rows(&table).column(0).null_count(), 1);
    let error = open(&path, &Columns { numeric: names(&["z"]), ..label("y") }).unwrap_err().to_string();
    assert!(error.contains("`z` is asked for as numeric, and row 3 is infinite"), "{error}");
}
