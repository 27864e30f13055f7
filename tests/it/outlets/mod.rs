//! What is in the lake, handed on: to a table of PostgreSQL exactly once, to topics at least once.

mod brokers;
mod postgres;
mod postgres_trouble;
mod replays;
mod topics;

use std::{collections::BTreeMap, path::PathBuf};

use alluvium::{config, lake::FileKind, pipeline::Settings};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float32Type, Float64Type, Int64Type},
};
use tokio_postgres::Client;

use crate::support::{
    lake::{binaries, numbers, places, rows, texts},
    program::written,
    stage::{DATASET, Stage, objects},
};

/// The stage's pipeline file, with outlets.
fn file(stage: &Stage, outlets: &str, lake: &str) -> PathBuf {
    written(stage, &text(stage, "lake", outlets, lake))
}

fn text(stage: &Stage, folder: &str, outlets: &str, lake: &str) -> String {
    let limits =
        "[limits]\nfetch_wait = \"10ms\"\nfetch_bytes = \"16KiB\"\nretry_for = \"2s\"\nrequest_timeout = \"20s\"\n";
    stage.pipeline(stage.lake_folder(folder).to_str().unwrap(), &format!("{limits}{outlets}")) + lake
}

fn settings(stage: &Stage, outlets: &str, lake: &str) -> Settings {
    let text = text(stage, "lake", outlets, lake);
    config::parse(&text, |_| None).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"))
}

/// What tells one row from another, and one content from another.
type Row = (i32, i64, Option<i64>, String, u32, Option<u64>, i64, Option<Vec<u8>>, String);

/// The rows of the lake by partition and offset.
async fn in_the_lake(settings: &Settings) -> Vec<Row> {
    let Some(rows) = rows(&objects(settings), FileKind::Scored, DATASET).await else { return vec![] };
    let floats = |name: &str| rows.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
    let (petals, ids) = (floats("petal_length"), rows.column_by_name("id").unwrap().as_primitive::<Int64Type>());
    let confidence = rows.column_by_name("confidence").unwrap().as_primitive::<Float32Type>();
    let times = milliseconds(&rows);
    let (predictions, models, keys) = (texts(&rows, "prediction"), texts(&rows, "_model"), binaries(&rows, "_key"));
    let places = places(&rows);
    (0..rows.num_rows())
        .map(|row| {
            let petal = petals.is_valid(row).then(|| petals.value(row).to_bits());
            let id = ids.is_valid(row).then(|| ids.value(row));
            let (partition, offset) = places[row];
            (
                partition,
                offset,
                id,
                predictions[row].clone(),
                confidence.value(row).to_bits(),
                petal,
                times[row],
                keys[row].clone(),
                models[row].clone(),
            )
        })
        .collect()
}

fn milliseconds(rows: &RecordBatch) -> Vec<i64> {
    let times = cast(rows.column_by_name("_timestamp").unwrap(), &DataType::Int64).unwrap();
    let times = times.as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(times.len(), numbers(rows, "_offset").len());
    times
}

/// The rows of a table, in the same form.
async fn in_the_table(client: &Client, table: &str) -> Vec<Row> {
    let select = format!(
        "SELECT _partition, _offset, id, prediction, confidence, petal_length, \
         (extract(epoch FROM _timestamp) * 1000)::bigint, _key, _model FROM {table} ORDER BY 1, 2"
    );
    let rows = client.query(&select, &[]).await.unwrap();
    let row = |row: &tokio_postgres::Row| {
        let petal: Option<f64> = row.get(5);
        let confidence: f32 = row.get(4);
        (
            row.get(0),
            row.get(1),
            row.get(2),
            row.get(3),
            confidence.to_bits(),
            petal.map(f64::to_bits),
            row.get(6),
            row.get(7),
            row.get(8),
        )
    };
    rows.iter().map(row).collect()
}

async fn count(client: &Client, table: &str) -> i64 {
    match client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await {
        Ok(row) => row.get(0),
        Err(_) => 0,
    }
}

/// The table has the lake's rows, each once.
async fn assert_same(client: &Client, table: &str, settings: &Settings, expected: usize) {
    let (there, lake) = (in_the_table(client, table).await, in_the_lake(settings).await);
    assert_eq!(lake.len(), expected, "all are in the lake");
    let mut times: BTreeMap<(i32, i64), usize> = BTreeMap::new();
    for row in &there {
        *times.entry((row.0, row.1)).or_default() += 1;
    }
    let doubled: Vec<_> = times.iter().filter(|(_, times)| **times > 1).take(5).collect();
    assert!(doubled.is_empty(), "doubled: {doubled:?}");
    assert_eq!(there.len(), lake.len());
    assert!(there == lake, "the table has other rows than the lake");
}
