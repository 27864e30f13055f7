//! A model from training to scoring, through the folder on disk.

use std::{
    fmt::Write as _,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

#[cfg(feature = "flex")]
use arrow::array::BooleanArray;
use arrow::{
    array::{ArrayRef, Float32Array, Float64Array, RecordBatch, StringArray},
    compute::concat_batches,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::record::FieldKind;

const IRIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");

fn open(path: &Path, label: &str) -> Labelled {
    let columns = Columns { label: label.to_owned(), ..Columns::default() };
    Labelled::open(&[path.display().to_string()], &columns).unwrap()
}

fn iris_table() -> Labelled {
    open(&Path::new(IRIS).join("data/iris.csv"), "species")
}

fn rows(table: &Labelled) -> RecordBatch {
    let batches: Vec<RecordBatch> = table.batches().unwrap().map(Result::unwrap).collect();
    concat_batches(&table.schema(), &batches).unwrap()
}

/// Waits, where a test is not async itself.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn load(path: impl AsRef<Path>, version: Option<u32>) -> Result<Model, ModelError> {
    let url = path.as_ref().to_str().unwrap().to_owned();
    wait(Model::load(&ModelSettings { url, version, backend: Backend::NdArray }))
}

fn save(model: &Path, trained: &Trained, promote: bool) -> Result<Saved, ModelError> {
    wait(super::save(model.to_str().unwrap(), trained, Papers::default(), promote))
}

fn train(table: &Labelled, settings: TrainSettings) -> Result<Trained, ModelError> {
    super::train(table, &Plan { settings, ..Plan::default() }, &mut |_, _| ControlFlow::Continue(()))
}

fn iris() -> Model {
    load(IRIS, None).unwrap()
}

/// Fifteen rows of each of two classes, with every kind of feature, some values missing.
fn mixed_csv() -> String {
    let mut csv = "size,on,colour,kind\n".to_owned();
    for row in 0..30 {
        let (high, missing) = (row % 2 == 0, row % 7 == 0);
        let size = if missing { String::new() } else { format!("{}.5", if high { 10 + row } else { -row }) };
        let (colour, kind) = if high { ("red", "a") } else { ("blue", "b") };
        writeln!(csv, "{size},{high},{colour},{kind}").unwrap();
    }
    csv
}

/// A model folder with one version, trained on [`mixed_csv`].
fn mixed_model() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("mixed.csv");
    fs::write(&csv, mixed_csv()).unwrap();
    let table = open(&csv, "kind");
    let settings = TrainSettings { hidden: vec![8, 4], epochs_max: 60, ..TrainSettings::default() };
    let model = folder.path().join("mixed");
    save(&model, &train(&table, settings.clone()).unwrap(), true).unwrap();
    (folder, model)
}

fn accuracy(model: &Model, table: &Labelled) -> f64 {
    let scorer = model.scorer(&table.schema()).unwrap();
    let prediction = scorer.score(&rows(table)).unwrap().class;
    Evaluation::new(&table.classes, &table.labels, &prediction).accuracy
}

#[test]
fn the_shipped_iris_model_knows_the_150_rows() {
    let (model, table) = (iris(), iris_table());
    assert_eq!(table.labels.len(), 150);
    assert_eq!(model.classes(), ["setosa", "versicolor", "virginica"]);
    assert_eq!(model.manifest().widths(), [4, 16, 3]);
    let accuracy = accuracy(&model, &table);
    assert!(accuracy >= 0.96, "{accuracy}");
}

#[test]
fn the_shipped_iris_model_can_be_made_again_and_each_time_the_same() {
    let (shipped, table) = (iris(), iris_table());
    let recorded = shipped.manifest().training.as_ref().unwrap();
    assert_eq!(recorded.data, table.digest);
    let settings = TrainSettings {
        seed: recorded.seed,
        hidden: shipped.manifest().hidden.clone(),
        epochs_max: recorded.epochs,
        batch_size: Some(recorded.batch_size),
        learning_rate: recorded.learning_rate,
        weight_decay: Some(recorded.weight_decay),
        dropout: recorded.dropout,
        ..TrainSettings::default()
    };
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("iris");
        let saved = save(&model, &train(&table, settings.clone()).unwrap(), true).unwrap();
        let read = load(&model, None).unwrap();
        assert_eq!(read.reference(), saved.reference);
        assert!(accuracy(&read, &table) >= 0.96);
        saved.reference
    };
    assert_eq!(make(), make());
}

#[test]
fn another_seed_makes_other_weights() {
    let table = iris_table();
    let layers = |seed| {
        let settings = TrainSettings { seed, epochs_max: 2, ..TrainSettings::default() };
        train(&table, settings.clone()).unwrap().layers
    };
    assert_ne!(layers(1), layers(2));
}

#[test]
fn every_kind_of_feature_is_learned_from_and_scored() {
    let (folder, model) = mixed_model();
    let model = load(model, None).unwrap();
    let table = open(&folder.path().join("mixed.csv"), "kind");
    assert!(accuracy(&model, &table) > 0.99);
    assert_eq!(model.required_fields().collect::<Vec<_>>(), ["on", "colour"]);
    assert_eq!(model.reference().to_string(), "mixed@1");
}

#[test]
fn the_fields_of_a_pipeline_are_checked_one_sentence_a_fault() {
    let (_folder, model) = mixed_model();
    let model = load(model, None).unwrap();
    let field = |name: &str, kind| Field { name: name.to_owned(), kind, nullable: false, path: vec![name.to_owned()] };
    let good = [field("on", FieldKind::Bool), field("colour", FieldKind::String), field("size", FieldKind::Int64)];
    assert_eq!(model.check_fields(&good), Vec::<String>::new());
    let bad = [field("color", FieldKind::String), field("on", FieldKind::Bool), field("size", FieldKind::Date)];
    assert_eq!(
        model.check_fields(&bad),
        [
            "the field `size` is numeric to the model, so it must be int32, int64, float32, float64 or bool",
            "the model needs the field `colour`, which is not declared; did you mean `color`?",
        ]
    );
}

#[test]
fn versions_count_up_and_the_champion_is_named_only_when_asked() {
    let table = iris_table();
    let settings = TrainSettings { epochs_max: 1, ..TrainSettings::default() };
    let trained = train(&table, settings.clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("deep/iris");
    let versions: Vec<u32> =
        [true, false].into_iter().map(|promote| save(&model, &trained, promote).unwrap().reference.version).collect();
    assert_eq!(versions, [1, 2]);
    assert_eq!(load(&model, None).unwrap().reference().version, 1);
    assert_eq!(load(&model, Some(2)).unwrap().reference().version, 2);
    assert_eq!(fs::read_dir(&model).unwrap().count(), 3, "two versions, the champion, and no draft");
}

#[test]
fn the_digest_is_of_the_manifest_and_the_weights() {
    let (_folder, model) = mixed_model();
    fs::remove_file(model.join("1/SHA256SUMS")).unwrap();
    let before = load(&model, None).unwrap().reference();
    let manifest = model.join("1/manifest.json");
    let json = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, json.replacen(r#""name": "mixed""#, r#""name": "other""#, 1)).unwrap();
    let after = load(&model, None).unwrap().reference();
    assert_eq!((before.digest.len(), before.name), (64, after.name));
    assert_ne!(before.digest, after.digest);
}

#[test]
fn each_fault_of_an_artifact_is_one_clear_error() {
    type Damage = fn(&Path);
    let cases: [(Damage, &str); 11] = [
        (|model| fs::remove_dir_all(model).unwrap(), "there is no such folder; train a model with"),
        (|model| fs::remove_dir_all(model.join("1")).unwrap(), "there is no version 1; it has no versions"),
        (|model| fs::remove_file(model.join("champion")).unwrap(), "no champion is named; it has 1; name a version"),
        (|model| fs::write(model.join("champion"), "one").unwrap(), "it holds `one`, which is no version number"),
        (|model| fs::write(model.join("champion"), "7").unwrap(), "there is no version 7; it has 1"),
        (|model| fs::rename(model.join("1"), model.join("2")).unwrap(), "there is no version 1; it has 2"),
        (|model| fs::remove_file(model.join("1/manifest.json")).unwrap(), "manifest.json: the file is not there"),
        (|model| fs::remove_file(model.join("1/weights.safetensors")).unwrap(), "safetensors: the file is not there"),
        (|model| fs::write(model.join("1/weights.safetensors"), "short").unwrap(), "not a safetensors file"),
        (|model| edit(model, r#""version": 1"#, r#""version": 2"#), "it says version 2, and stands in the folder"),
        (|model| edit(model, r#""b""#, r#""b", "c""#), "`layers.2.weight` is [2, 4], and [3, 4] ([out, in]) is wanted"),
    ];
    for (damage, want) in cases {
        let (_folder, model) = mixed_model();
        // As one that was made elsewhere: the digests would tell of nearly every damage first.
        fs::remove_file(model.join("1/SHA256SUMS")).unwrap();
        damage(&model);
        let error = load(&model, None).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("mixed"), "{error}");
    }
}

fn edit(model: &Path, from: &str, to: &str) {
    let path = model.join("1/manifest.json");
    fs::write(&path, fs::read_to_string(&path).unwrap().replacen(from, to, 1)).unwrap();
}

#[test]
fn an_empty_batch_has_empty_scores() {
    let batch = rows(&iris_table()).slice(0, 0);
    let scores = iris().scorer(batch.schema_ref()).unwrap().score(&batch).unwrap();
    assert_eq!((scores.class.len(), scores.confidence.len()), (0, 0));
    assert_eq!(scores.probabilities, vec![Vec::<f32>::new(); 3]);
}

#[test]
fn a_row_scores_the_same_wherever_it_stands_among_the_chunks() {
    let rows = rows(&iris_table());
    let many = concat_batches(rows.schema_ref(), &vec![rows.clone(); 20]).unwrap();
    let scorer = iris().scorer(rows.schema_ref()).unwrap();
    let (once, again) = (scorer.score(&rows).unwrap(), scorer.score(&many).unwrap());
    assert_eq!(again.class, once.class.repeat(20));
    assert_eq!(again.confidence, once.confidence.repeat(20));
}

#[test]
fn a_scorer_is_shared_by_threads() {
    let rows = rows(&iris_table());
    let scorer = iris().scorer(rows.schema_ref()).unwrap();
    let expected = scorer.score(&rows).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (scorer, rows, expected) = (scorer.clone(), &rows, &expected);
            scope.spawn(move || assert_eq!(&scorer.score(rows).unwrap(), expected));
        }
    });
}

#[test]
fn columns_that_do_not_fit_are_refused_before_any_row_is_scored() {
    let model = iris();
    let names = ["sepal_length", "sepal_width", "petal_length", "petal_width"];
    let numbers = || Arc::new(Float64Array::from(vec![1.0])) as ArrayRef;
    let without = RecordBatch::try_from_iter(names[..3].iter().map(|name| (*name, numbers()))).unwrap();
    let error = model.scorer(without.schema_ref()).unwrap_err().to_string();
    assert!(error.contains("needs the column `petal_width`, which is not there"), "{error}");
    let text = Arc::new(StringArray::from(vec!["1.0"])) as ArrayRef;
    let columns = names[..3].iter().map(|name| (*name, numbers())).chain([("petal_width", text)]);
    let error = model.scorer(RecordBatch::try_from_iter(columns).unwrap().schema_ref()).unwrap_err().to_string();
    assert!(error.contains("`petal_width` is numeric to the model: int32"), "{error}");
}

#[test]
fn a_batch_of_another_schema_than_the_scorers_is_an_error() {
    let scorer = iris().scorer(&iris_table().schema()).unwrap();
    let other = RecordBatch::try_from_iter([("x", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)]).unwrap();
    assert!(matches!(scorer.score(&other), Err(ModelError::Schema(_))));
}

#[test]
fn too_few_rows_and_settings_that_can_not_be_are_errors() {
    let table = iris_table();
    let refused = |settings: TrainSettings| train(&table, settings).unwrap_err().to_string();
    let default = TrainSettings::default;
    assert!(refused(TrainSettings { batch_size: Some(0), ..default() }).contains("at least 1"));
    assert!(refused(TrainSettings { learning_rate: f64::NAN, ..default() }).contains("learning rate"));
    assert!(refused(TrainSettings { test_share: 0.9, ..default() }).contains("together below 1"));
    assert!(refused(TrainSettings { hidden: vec![0], ..default() }).contains("a hidden layer has 0 units"));
    assert!(refused(TrainSettings { test_share: 0.001, ..default() }).contains("too few"));
}

/// Rows that the features could have come from, each value another one.
#[cfg(feature = "flex")]
fn imagined(features: &[Feature]) -> RecordBatch {
    const ROWS: u32 = 600;
    let words = ["GET /index.php", "what a lovely day!", "not again", "curl/8.1", "so slow :("];
    let column = |(place, feature): (u32, &Feature)| {
        let turn = |row: u32| row.wrapping_mul(2_654_435_761).wrapping_add(place * 97) >> 16;
        let pick = |words: &[String], row: u32| words[turn(row) as usize % words.len()].clone();
        let column: ArrayRef = match &feature.kind {
            FeatureKind::Numeric { mean, std } => {
                let spread = |row: u32| mean + std * (f64::from(turn(row) % 1_000) / 200.0 - 2.5);
                Arc::new(Float64Array::from_iter_values((0..ROWS).map(spread)))
            }
            FeatureKind::Boolean => Arc::new((0..ROWS).map(|row| Some(turn(row) % 2 == 0)).collect::<BooleanArray>()),
            FeatureKind::Categorical { vocabulary } => {
                Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| pick(vocabulary, row))))
            }
            FeatureKind::Text(_) => {
                let text = |row: u32| format!("{} {}", words[turn(row) as usize % 5], words[row as usize % 5]);
                Arc::new(StringArray::from_iter_values((0..ROWS).map(text)))
            }
        };
        (feature.name.clone(), column)
    };
    RecordBatch::try_from_iter((0..).zip(features).map(column)).unwrap()
}

#[cfg(feature = "flex")]
#[test]
fn the_backends_agree_on_every_shipped_model() {
    let models = Path::new(IRIS).parent().unwrap();
    for folder in
        fs::read_dir(models).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.join("champion").is_file())
    {
        let [one, other] = [Backend::NdArray, Backend::Flex].map(|backend| {
            let url = folder.to_str().unwrap().to_owned();
            let model = wait(Model::load(&ModelSettings { url, version: None, backend })).unwrap();
            let batch = imagined(&model.manifest().features);
            model.scorer(batch.schema_ref()).unwrap().score(&batch).unwrap()
        });
        let pairs = one.probabilities.iter().flatten().zip(other.probabilities.iter().flatten());
        pairs.for_each(|(one, other)| assert!((one - other).abs() < 1e-5, "{}: {one}, {other}", folder.display()));
    }
}

fn finite() -> impl Strategy<Value = f64> {
    proptest::num::f64::ANY.prop_filter("finite", |x| x.is_finite())
}

proptest! {
    #[test]
    fn any_finite_rows_have_probabilities_that_sum_to_one(
        rows in proptest::collection::vec(proptest::array::uniform4(finite()), 1..40),
    ) {
        let columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"].into_iter().enumerate();
        let batch = RecordBatch::try_from_iter(columns.map(|(index, name)| {
            let array: ArrayRef = match index {
                // A double that no float holds becomes infinite, so it is clamped first.
                #[allow(clippy::cast_possible_truncation)]
                0 => Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| row[0].clamp(-3e38, 3e38) as f32))),
                _ => Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row[index]))),
            };
            (name, array)
        })).unwrap();
        let scores = iris().scorer(batch.schema_ref()).unwrap().score(&batch).unwrap();
        for row in 0..rows.len() {
            let probabilities: Vec<f32> = scores.probabilities.iter().map(|column| column[row]).collect();
            prop_assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            prop_assert_eq!(probabilities[usize::from(scores.class[row])].to_bits(), scores.confidence[row].to_bits());
            prop_assert!(probabilities.iter().all(|probability| *probability <= scores.confidence[row]));
        }
    }
}
