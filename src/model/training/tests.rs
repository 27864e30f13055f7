//! Whole trainings, on tables small enough to wait for.

use std::{fmt::Write as _, fs};

use tempfile::TempDir;

use super::*;

const IRIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris/data/iris.csv");

fn iris() -> Labelled {
    let columns = Columns { label: "species".to_owned(), ..Columns::default() };
    Labelled::open(&[IRIS.to_owned()], &columns).unwrap()
}

/// Numbers, words and text, some missing: enough rows for several blocks.
fn mixed() -> (TempDir, Labelled) {
    let mut csv = "size,colour,said,kind\n".to_owned();
    for row in 0_u32..18_000 {
        let (high, size) = (row.wrapping_mul(2_654_435_761) % 7 < 3, f64::from(row % 97));
        let size = if row % 11 == 0 { String::new() } else { format!("{}", if high { size } else { -size }) };
        let (colour, said, kind) =
            if high { ("red", "all is well here", "a") } else { ("blue", "it is bad there", "b") };
        writeln!(csv, "{size},{colour}{},{said} {},{kind}", row % 5, row % 3).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mixed.csv");
    fs::write(&path, csv).unwrap();
    let columns = Columns { label: "kind".to_owned(), text: vec!["said".to_owned()], ..Columns::default() };
    let table = Labelled::open(&[path.display().to_string()], &columns).unwrap();
    (folder, table)
}

fn quick() -> TrainSettings {
    TrainSettings { epochs_max: 2, ..TrainSettings::default() }
}

fn go_on(_: Stage, _: &EpochPoint) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn plan(settings: TrainSettings) -> Plan {
    Plan { settings, ..Plan::default() }
}

#[test]
fn ten_folds_of_iris_are_right_in_96_of_100_rows_and_more() {
    let plan = Plan { folds: Some(10), ..Plan::default() };
    let trained = train(&iris(), &plan, &mut go_on).unwrap();
    let folds = trained.report().folds.clone().unwrap();
    assert_eq!((folds.folds.len(), folds.folds.iter().map(|fold| fold.rows).sum::<u64>()), (10, 150));
    assert!(folds.accuracy_mean >= 0.96, "{folds:?}");
}

#[test]
fn rows_on_disk_train_the_same_weights_to_the_last_bit_as_rows_in_memory() {
    let (_folder, table) = mixed();
    let train =
        |memory_bytes_max| train(&table, &plan(TrainSettings { memory_bytes_max, ..quick() }), &mut go_on).unwrap();
    let (held, spilled) = (train(u64::MAX), train(0));
    assert!(held.layers == spilled.layers);
    assert_eq!(held.training, spilled.training);
    assert!(held.training.held_out.accuracy > 0.99, "{:?}", held.training.held_out);
}

#[test]
fn a_seed_trains_the_same_weights_and_another_seed_others() {
    let table = iris();
    let layers = |seed| train(&table, &plan(TrainSettings { seed, ..quick() }), &mut go_on).unwrap().layers;
    assert!(layers(1) == layers(1));
    assert!(layers(1) != layers(2));
}

#[test]
fn cross_validation_beside_it_changes_nothing_of_the_network() {
    let table = iris();
    let layers = |folds| train(&table, &Plan { folds, ..plan(quick()) }, &mut go_on).unwrap().layers;
    assert!(layers(None) == layers(Some(2)));
}

#[test]
fn breaking_off_keeps_the_best_until_then() {
    let mut epochs = 0;
    let trained = train(&iris(), &Plan { folds: Some(3), ..Plan::default() }, &mut |_, _| {
        epochs += 1;
        if epochs < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap();
    assert!(trained.was_stopped());
    assert_eq!((trained.report().epochs.len(), &trained.report().folds), (3, &None));
    assert!((1..=3).contains(&trained.training().best_epoch));
}

#[test]
fn breaking_off_a_search_is_an_error_because_there_is_nothing_to_keep() {
    let plan = Plan { trials: Some(2), ..Plan::default() };
    let error = train(&iris(), &plan, &mut |_, _| ControlFlow::Break(())).unwrap_err();
    assert!(error.to_string().contains("nothing was written"), "{error}");
}

#[test]
fn baselines_stand_beside_the_result_on_the_same_rows() {
    let trained = train(&iris(), &plan(TrainSettings { epochs_max: 30, ..TrainSettings::default() }), &mut go_on);
    let report = trained.unwrap().report;
    let [majority, logistic] = report.baselines.as_slice() else { panic!("two baselines") };
    assert_eq!((majority.evaluation.rows, logistic.evaluation.rows), (30, 30));
    assert!((majority.evaluation.accuracy - 1.0 / 3.0).abs() < 1e-6);
    assert!(logistic.evaluation.accuracy > 0.8, "{logistic:?}");
}

#[test]
fn a_search_takes_the_settings_of_its_best_trial() {
    let trained = train(&iris(), &Plan { trials: Some(3), ..plan(quick()) }, &mut go_on).unwrap();
    let trials = &trained.report().trials;
    assert_eq!(trials.len(), 3);
    let taken: Vec<&Trial> = trials.iter().filter(|trial| trial.chosen).collect();
    let [taken] = taken.as_slice() else { panic!("{trials:?}") };
    assert!(trials.iter().all(|trial| trial.validation_loss >= taken.validation_loss));
    assert_eq!(trained.manifest("m", 1).hidden, taken.hidden);
}

#[test]
fn plans_that_can_not_be_are_refused() {
    let refused = |plan: Plan| train(&iris(), &plan, &mut go_on).unwrap_err().to_string();
    assert!(refused(Plan { folds: Some(1), ..Plan::default() }).contains("2 to 100 folds"));
    assert!(refused(Plan { trials: Some(0), ..Plan::default() }).contains("1 to 1000 settings"));
}
