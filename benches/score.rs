//! Rows a second through networks of several shapes, one thread; beside them the bound of only copying the rows.
//!
//! With `ALLUVIUM_BENCH_MODEL` it scores that model's `rows.safetensors` instead and prints JSON, for
//! `benches/peers/score.py`.

#![allow(clippy::expect_used, reason = "a benchmark without its model has nothing to measure")]

mod common;

use std::{
    env, fs,
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use alluvium::model::{Backend, Model, ModelSettings, Scorer};
use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::Float64Type;
use criterion::{Criterion, Throughput};
use safetensors::{SafeTensors, serialize, tensor::Dtype, tensor::TensorView};

const ROWS: usize = 65_536;
const SHAPES: [&[usize]; 3] = [&[4, 16, 3], &[4, 64, 64, 3], &[30, 128, 64, 2]];
const BACKENDS: &[(&str, Backend)] = &[
    ("ndarray", Backend::NdArray),
    #[cfg(feature = "flex")]
    ("flex", Backend::Flex),
];

/// How long the peers' rows are scored, over and over.
const MEASURED: Duration = Duration::from_millis(500);

fn main() {
    if let Some(model) = env::var_os("ALLUVIUM_BENCH_MODEL") {
        return beside_peers(Path::new(&model));
    }
    let mut criterion = Criterion::default().configure_from_args();
    score(&mut criterion);
    criterion.final_summary();
}

fn score(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("score");
    group.throughput(Throughput::Elements(ROWS as u64));
    for shape in SHAPES {
        let folder = tempfile::tempdir().expect("a folder for the model");
        write_model(folder.path(), shape);
        let batch = columns(shape[0], &numbers(ROWS * shape[0]));
        let name = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("-");
        for &(backend_name, backend) in BACKENDS {
            let scorer = scorer(folder.path(), backend, &batch);
            group.bench_function(format!("{name} {backend_name}"), |bencher| {
                bencher.iter(|| scorer.score(black_box(&batch)));
            });
        }
        group.bench_function(format!("{name} bound: copy the rows"), |bencher| {
            bencher.iter(|| copied(black_box(&batch)));
        });
    }
    group.finish();
}

fn beside_peers(model: &Path) {
    let name = env::var("ALLUVIUM_BENCH_BACKEND").unwrap_or_default();
    let (_, backend) =
        *BACKENDS.iter().find(|(known, _)| *known == name).expect("ALLUVIUM_BENCH_BACKEND names a backend");
    let bytes = fs::read(model.join("rows.safetensors")).expect("the rows");
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let rows = tensors.tensor("rows").expect("the tensor `rows`");
    let floats: Vec<f32> = rows.data().as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes).collect();
    let batch = columns(rows.shape()[1], &floats);
    let bound = scorer(model, backend, &batch);

    let (mut fastest, begin) = (Duration::MAX, Instant::now());
    while begin.elapsed() < MEASURED {
        let round = Instant::now();
        black_box(common::done(bound.score(black_box(&batch))));
        fastest = fastest.min(round.elapsed());
    }
    let scores = common::done(bound.score(&batch.slice(0, batch.num_rows().min(1_000))));
    let row = |row: usize| scores.probabilities.iter().map(|column| column[row]).collect::<Vec<_>>();
    let probabilities: Vec<Vec<f32>> = (0..scores.class.len()).map(row).collect();
    #[allow(clippy::cast_precision_loss, reason = "a count of rows")]
    let rows_per_second = batch.num_rows() as f64 / fastest.as_secs_f64();
    println!("{}", serde_json::json!({ "rows_per_second": rows_per_second, "probabilities": probabilities }));
}

fn scorer(model: &Path, backend: Backend, batch: &RecordBatch) -> Scorer {
    let settings = ModelSettings { url: model.display().to_string(), version: None, backend };
    let runtime = common::done(tokio::runtime::Runtime::new());
    let model = common::done(runtime.block_on(Model::load(&settings)));
    common::done(model.scorer(batch.schema_ref()))
}

/// Numbers between -1 and 1 that look random.
fn numbers(count: usize) -> Vec<f32> {
    let step = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let number = |state: u32| {
        let [high, low, ..] = state.to_be_bytes();
        f32::from(i16::from_be_bytes([high, low])) / 32_768.0
    };
    std::iter::successors(Some(7), step).map(number).take(count).collect()
}

/// The rows' numbers, which stand row after row, as the columns `x0`, `x1` and so on.
fn columns(width: usize, rows: &[f32]) -> RecordBatch {
    let column = |place: usize| {
        let numbers = rows.iter().skip(place).step_by(width).map(|number| f64::from(*number));
        (format!("x{place}"), Arc::new(Float64Array::from_iter_values(numbers)) as ArrayRef)
    };
    RecordBatch::try_from_iter((0..width).map(column)).expect("equal columns")
}

/// A model that learned nothing.
fn write_model(folder: &Path, shape: &[usize]) {
    let feature = |place: usize| {
        let kind = serde_json::json!({ "numeric": { "mean": 0.0, "std": 1.0 } });
        serde_json::json!({ "name": format!("x{place}"), "missing": false, "kind": kind })
    };
    let (inputs, hidden, outputs) = (shape[0], &shape[1..shape.len() - 1], shape[shape.len() - 1]);
    let manifest = serde_json::json!({
        "format": "alluvium-model/1", "name": "bench", "version": 1, "activation": "relu", "hidden": hidden,
        "features": (0..inputs).map(feature).collect::<Vec<_>>(),
        "classes": (0..outputs).map(|class| class.to_string()).collect::<Vec<_>>(),
    });
    let version = folder.join("1");
    fs::create_dir(&version).expect("a folder for the version");
    fs::write(folder.join("champion"), "1\n").expect("write the champion");
    fs::write(version.join("manifest.json"), manifest.to_string()).expect("write the manifest");
    fs::write(version.join("weights.safetensors"), weights(shape)).expect("write the weights");
}

fn weights(shape: &[usize]) -> Vec<u8> {
    let bytes = |count: usize| numbers(count).into_iter().flat_map(|x| (x / 4.0).to_le_bytes()).collect::<Vec<u8>>();
    let tensors = shape.windows(2).enumerate().flat_map(|(layer, pair)| {
        let weight = (format!("layers.{layer}.weight"), vec![pair[1], pair[0]], bytes(pair[0] * pair[1]));
        [weight, (format!("layers.{layer}.bias"), vec![pair[1]], bytes(pair[1]))]
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("as many bytes as the shape says"))
    });
    common::done(serialize(views, None))
}

fn copied(batch: &RecordBatch) -> Vec<f64> {
    let columns: Vec<_> = batch.columns().iter().map(|column| column.as_primitive::<Float64Type>().values()).collect();
    (0..batch.num_rows()).flat_map(|row| columns.iter().map(move |column| column[row])).collect()
}
