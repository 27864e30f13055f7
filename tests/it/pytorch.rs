//! Weights go to PyTorch and come from there, and both say the same of a row.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use alluvium::model::{Backend, Model, ModelSettings};
use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use serde::Deserialize;

use crate::support::parts;

const BACKENDS: &[Backend] = &[
    Backend::NdArray,
    #[cfg(feature = "flex")]
    Backend::Flex,
];

/// How far two computations of the same network may be apart.
const DIFFERENCE_MAX: f32 = 1e-5;

/// What PyTorch says of rows.
#[derive(Deserialize)]
struct Answers {
    rows: Vec<Vec<f64>>,
    probabilities: Vec<Vec<f32>>,
}

#[test]
fn a_network_that_pytorch_made_says_here_what_it_says_there() {
    assert_alike(&at("tests/pytorch/fixture"));
}

#[test]
fn a_network_that_pytorch_makes_now_says_here_what_it_says_there() {
    let Some(python) = parts::python_with_optional("torch") else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = at("tests/pytorch/make_fixture.py");
    let made = Command::new(python).arg(script).arg(folder.path()).arg("7").status().unwrap();
    assert!(made.success());
    assert_alike(folder.path());
}

#[test]
fn a_network_of_ours_says_in_pytorch_what_it_says_here() {
    let Some(python) = parts::python_with_optional("torch") else { return };
    let rows: Vec<Vec<f64>> = (0..50).map(f64::from).map(|x| vec![4.3 + x / 14.0, 3.0, x / 8.0, x / 20.0]).collect();
    let mut command = Command::new(python);
    command.arg(at("tests/pytorch/score.py")).arg(at("models/iris/1")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = command.spawn().unwrap();
    running.stdin.take().unwrap().write_all(&serde_json::to_vec(&rows).unwrap()).unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success());
    let probabilities: Vec<Vec<f32>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_near(&at("models/iris"), Some(1), &Answers { rows, probabilities });
}

/// Every model of the folder against the answers that lie beside it.
fn assert_alike(folder: &Path) {
    for name in ["relu", "tanh"] {
        let model = folder.join(name);
        let answers = serde_json::from_slice(&fs::read(model.join("answers.json")).unwrap()).unwrap();
        assert_near(&model, None, &answers);
    }
}

fn assert_near(model: &Path, version: Option<u32>, answers: &Answers) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert!(!answers.rows.is_empty() && answers.rows.len() == answers.probabilities.len());
    for &backend in BACKENDS {
        let settings = ModelSettings { url: model.display().to_string(), version, backend };
        let model = runtime.block_on(Model::load(&settings)).unwrap();
        let columns = model.manifest().features.iter().enumerate().map(|(place, feature)| {
            let column = Float64Array::from_iter_values(answers.rows.iter().map(|row| row[place]));
            (feature.name.clone(), Arc::new(column) as ArrayRef)
        });
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let scores = model.scorer(batch.schema_ref()).unwrap().score(&batch).unwrap();
        for (row, theirs) in answers.probabilities.iter().enumerate() {
            for (ours, theirs) in scores.probabilities.iter().zip(theirs) {
                let difference = (ours[row] - theirs).abs();
                assert!(difference < DIFFERENCE_MAX, "{backend:?}, row {row}: {} and {theirs}", ours[row]);
            }
        }
    }
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
