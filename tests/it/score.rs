//! `alluvium score`: the same answers as a stream's, and what becomes of rows that can't be scored.

use std::{fmt::Write as _, fs, process::Stdio};

use alluvium::lake::FileKind;
use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Float32Type,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use tokio::io::AsyncWriteExt;

use crate::support::{
    lake::{rows, texts},
    program::{Ran, command, ended, run},
    stage::{DATASET, Stage, batch, objects, value},
};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");
const NUMBERS: [&str; 4] = ["confidence", "p_setosa", "p_versicolor", "p_virginica"];

/// Measurements over the whole range, hardly two alike.
fn measurements(row: u32) -> [String; 4] {
    let between = |low: f64, high: f64, step: u32| {
        let share = f64::from(row * step % 9973) / 9973.0;
        format!("{:.5}", low + share * (high - low))
    };
    [between(4.3, 7.9, 7919), between(2.0, 4.4, 6133), between(1.0, 6.9, 4099), between(0.1, 2.5, 3571)]
}

fn json(row: u32) -> String {
    let [a, b, c, d] = measurements(row);
    format!(
        "{{\"note\":[\"{row} {{}}\"],\"sepal_length\":{a},\"sepal_width\":{b},\"petal_length\":{c},\"petal_width\":{d} }}"
    )
}

fn csv(rows: u32) -> String {
    (0..rows).fold("id,sepal_length,sepal_width,petal_length,petal_width\n".to_owned(), |mut csv, row| {
        writeln!(csv, "{row},{}", measurements(row).join(",")).unwrap();
        csv
    })
}

/// The predictions, and the bits of each number.
type Answers = (Vec<String>, [Vec<u32>; 4]);

fn of_table(rows: &RecordBatch) -> Answers {
    let bits = |name: &str| {
        let numbers = rows.column_by_name(name).unwrap().as_primitive::<Float32Type>();
        numbers.values().iter().map(|number| number.to_bits()).collect()
    };
    (texts(rows, "prediction"), NUMBERS.map(bits))
}

fn of_lines(text: &str) -> Answers {
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bits = |name: &str| {
        let number = |line: &serde_json::Value| serde_json::from_value::<f32>(line[name].clone()).unwrap();
        lines.iter().map(|line| number(line).to_bits()).collect()
    };
    let prediction = |line: &serde_json::Value| line["prediction"].as_str().unwrap().to_owned();
    (lines.iter().map(prediction).collect(), NUMBERS.map(bits))
}

async fn score(arguments: &[&str]) -> Ran {
    run(["score", "--model", MODEL].iter().chain(arguments)).await
}

async fn fed(input: &str, arguments: &[&str]) -> Ran {
    let mut child = command(["score", "--model", MODEL].iter().chain(arguments)).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    ended(child).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_are_the_stream_s_to_the_last_bit_from_every_format_and_to_every_one() {
    const ROWS: u32 = 5_000;
    let stage = Stage::new(1).await;
    stage.send(0, (0..ROWS).map(|row| value(json(row))).collect()).await;
    let settings = stage.settings("lake", "");
    assert_eq!(batch(settings.clone()).await.tally.counts.scored, u64::from(ROWS));
    let of_stream = of_table(&rows(&objects(&settings), FileKind::Scored, DATASET).await.unwrap());

    let path = |name: &str| stage.folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("flowers.csv"), csv(ROWS)).unwrap();
    fs::write(path("flowers.jsonl"), (0..ROWS).map(|row| json(row) + "\n").collect::<String>()).unwrap();

    let by_lines = score(&[&path("flowers.jsonl")]).await;
    assert!(of_lines(&by_lines.stdout) == of_stream);
    by_lines.assert_told(0, &["{\"note\":[\"7 {}\"],\"sepal_length\":"]);
    assert!(by_lines.stderr.contains("5,000 rows scored"), "{}", by_lines.stderr);
    assert!(of_lines(&score(&[&path("flowers.csv")]).await.stdout) == of_stream);

    assert_eq!(score(&[&path("flowers.csv"), "--out", &path("scored.parquet")]).await.code, Some(0));
    let read = || {
        let file = fs::File::open(path("scored.parquet")).unwrap();
        let batches: Vec<_> = ParquetRecordBatchReader::try_new(file, 10_000).unwrap().map(Result::unwrap).collect();
        arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
    };
    assert!(of_table(&read()) == of_stream);

    // What was there already is replaced, and everything else stays.
    let before = read();
    let again = score(&[&path("scored.parquet"), "--out", &path("scored.parquet")]).await;
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(read() == before);
    fs::write(path("scored.jsonl"), &by_lines.stdout).unwrap();
    assert!(score(&[&path("scored.jsonl")]).await.stdout.replace(" ,", ",") == by_lines.stdout.replace(" ,", ","));

    assert_eq!(score(&[&path("flowers.jsonl"), "--out", &path("scored.csv")]).await.code, Some(0));
    let text = fs::read_to_string(path("scored.csv")).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    assert!(header.ends_with("petal_width,prediction,confidence,p_setosa,p_versicolor,p_virginica"), "{header}");
    let confidences: Vec<u32> =
        lines.map(|line| line.split(',').nth(5).unwrap().parse::<f32>().unwrap().to_bits()).collect();
    assert!(confidences == of_stream.1[0]);
}

#[tokio::test]
async fn stdin_is_json_lines_unless_told_otherwise() {
    let lines = format!("{}\n\n{}", json(1), json(2));
    let by_lines = fed(&lines, &["-"]).await;
    assert_eq!(by_lines.stdout.lines().count(), 2, "{}", by_lines.stderr);
    let by_csv = fed(&csv(3), &["-", "--format", "csv"]).await;
    let (all, two) = (of_lines(&by_csv.stdout), of_lines(&by_lines.stdout));
    assert_eq!((&all.0[1..], &all.1[0][1..]), (&two.0[..], &two.1[0][..]));
}

#[tokio::test]
async fn a_row_that_can_not_be_scored_ends_it_or_is_left_out_and_counted() {
    let bad = format!("{}\n{{\"sepal_length\":1}}\nnot json\n{}\n", json(1), json(2));
    let refused = fed(&bad, &["-"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("line 2 of stdin: missing_field, "), "{}", refused.stderr);
    let skipped = fed(&bad, &["-", "--skip-bad"]).await;
    skipped.assert_told(0, &[]);
    assert_eq!(skipped.stdout.lines().count(), 2);
    assert!(skipped.stderr.contains("2 rows scored, 2 left out; the first was line 2 of stdin"), "{}", skipped.stderr);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.csv");
    let path = path.to_str().unwrap();
    for (cell, why) in
        [("wide", "`petal_width` is `wide`, and not a number"), ("", "`petal_width` is missing"), ("inf", "is inf")]
    {
        fs::write(path, format!("{}3,5,3,4,{cell}\n", csv(3))).unwrap();
        let refused = score(&[path]).await;
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains("row 4 of ") && refused.stderr.contains(why), "{}", refused.stderr);
        let skipped = score(&[path, "--skip-bad"]).await;
        assert_eq!((skipped.code, skipped.stdout.lines().count()), (Some(0), 3), "{}", skipped.stderr);
    }
}

#[tokio::test]
async fn what_can_not_be_is_said_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("a.csv"), csv(2)).unwrap();
    fs::write(path("b.csv"), "x\n1\n").unwrap();
    let cases: [(&[&str], i32, &str); 5] = [
        (&[&path("none.csv")], 2, "there is no such file"),
        (&[&path("none.jsonl")], 2, "none.jsonl"),
        (&[&path("a.csv"), "-"], 2, "name `-` alone"),
        (&[&path("a.csv"), "--out", &path("c.txt")], 2, "a file to write ends in .csv, .jsonl or .parquet"),
        (&[&path("b.csv")], 1, "the model needs the column `sepal_length`"),
    ];
    for (arguments, code, why) in cases {
        score(arguments).await.assert_refused(code, &[why]);
    }
    assert!(!folder.path().join("c.txt").exists());
}
