//! Rows a second through the shipped iris model, one thread; beside it the bound of only copying the rows.

#![allow(clippy::expect_used, reason = "a benchmark without its model has nothing to measure")]

mod common;

use std::{hint::black_box, sync::Arc};

use alluvium::model::{Backend, Model, ModelSettings};
use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::Float64Type;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const ROWS: usize = 65_536;

fn measurements() -> RecordBatch {
    let column = |from: f64| {
        let spread = (0..ROWS).map(move |row| from + f64::from(u16::try_from(row % 97).unwrap_or(0)) / 40.0);
        Arc::new(Float64Array::from_iter_values(spread)) as ArrayRef
    };
    let columns = [("sepal_length", 4.5), ("sepal_width", 2.0), ("petal_length", 1.0), ("petal_width", 0.1)];
    RecordBatch::try_from_iter(columns.map(|(name, from)| (name, column(from)))).expect("four equal columns")
}

fn score(criterion: &mut Criterion) {
    let url = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris").to_owned();
    let settings = ModelSettings { url, version: None, backend: Backend::NdArray };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let model = runtime.block_on(Model::load(&settings)).expect("the iris model");
    let batch = measurements();
    let scorer = model.scorer(batch.schema_ref()).expect("four measurements");
    let mut group = criterion.benchmark_group("score");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("iris 4-16-3", |bencher| bencher.iter(|| scorer.score(black_box(&batch))));
    group.bench_function("bound: copy the rows", |bencher| bencher.iter(|| copied(black_box(&batch))));
    group.finish();
}

fn copied(batch: &RecordBatch) -> Vec<f64> {
    let columns: Vec<_> = batch.columns().iter().map(|column| column.as_primitive::<Float64Type>().values()).collect();
    (0..batch.num_rows()).flat_map(|row| columns.iter().map(move |column| column[row])).collect()
}

criterion_group!(benches, score);
criterion_main!(benches);
