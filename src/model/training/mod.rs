//! Training: a table to a network, its manifest and its report; the same network for the same data, seed and build.
//!
//! Owns the order of things: search, train, compare with something simple, cross-validate, judge. One thread.

mod descend;
mod labelled;
mod packed;
mod prepared;
mod settings;
mod split;
mod trials;

use std::{ops::ControlFlow, sync::Arc};

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};

use self::{
    descend::{Learned, learn, predict, rows_by_class},
    prepared::{Part, Prepared},
    split::Split,
    trials::{Draw, cross_validate, generator, search, unwatched},
};
pub use self::{
    labelled::{Column, ColumnKind, Columns, Labelled},
    settings::{ClassWeights, TrainSettings},
    split::FOLDS_MAX,
    trials::{TRIALS_MAX, folds},
};
use super::{
    Backend, BaselineResult, ClassShare, ColumnSummary, DataSummary, EpochPoint, Evaluation, Fold, NumberSummary,
    Pages, Predictions, Report, ReportInput, Setting, SplitSizes, Trial,
    error::ModelError,
    features::Encoder,
    importance,
    manifest::{FORMAT, Manifest, Training},
    network::{BURN, Forward},
    scorer::Scorer,
    temperature,
    weights::Layer,
};
use crate::record::ModelRef;

/// All that one run of training does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub settings: TrainSettings,
    /// Cross-validate with so many folds.
    pub folds: Option<u8>,
    /// Try so many settings before, and take the best.
    pub trials: Option<usize>,
}

/// What is being trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Trial { number: usize, of: usize },
    Network,
    Fold { number: usize, of: usize },
}

/// Is told of each epoch; `Break` ends the training after it, with the best weights so far.
pub type Watch<'a> = dyn FnMut(Stage, &EpochPoint) -> ControlFlow<()> + 'a;

/// A trained network that has no version yet.
#[derive(Debug)]
pub struct Trained {
    pub(super) layers: Vec<Layer>,
    /// Without name and version.
    draft: Manifest,
    training: Training,
    report: Report,
    golden: RecordBatch,
    stopped: bool,
}

impl Trained {
    /// How it was trained, and how well it does on the rows that training never saw.
    #[must_use]
    pub fn training(&self) -> &Training {
        &self.training
    }

    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Rows that training never saw, to be scored and kept with the model.
    #[must_use]
    pub fn golden(&self) -> &RecordBatch {
        &self.golden
    }

    /// It was told to stop before its time.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        self.stopped
    }

    /// The report about the version that it is saved as.
    pub fn pages(&self, version: &ModelRef, date: DateTime<Utc>) -> Result<Pages, ModelError> {
        let report = self.report.about(&version.name, version.version, date);
        let told = |error: serde_json::Error| ModelError::Training(format!("write the report: {error}"));
        Ok(Pages { html: report.to_html()?, json: report.to_json().map_err(told)? })
    }

    pub(super) fn manifest(&self, name: &str, version: u32) -> Manifest {
        let training = Some(self.training.clone());
        Manifest { name: name.to_owned(), version, training, ..self.draft.clone() }
    }
}

/// Trains on a table, and measures the result on rows that were held out.
pub fn train(table: &Labelled, plan: &Plan, watch: &mut Watch<'_>) -> Result<Trained, ModelError> {
    check(plan).map_err(ModelError::Choice)?;
    let seed = plan.settings.seed;
    let given = &plan.settings;
    let mut rng = generator(seed, Draw::Split);
    let split = Split::draw(&table.labels, given.validation_share, given.test_share, &mut rng)?;
    let prepared = Prepared::new(table, &split, given.memory_bytes_max)?;
    draft(table, given, &prepared)?;

    let (settings, trials) = match plan.trials {
        Some(count) => search(&prepared, table, given, count, watch)?.ok_or_else(stopped_early)?,
        None => (given.clone(), vec![]),
    };
    let mut rng = generator(seed, Draw::Weights);
    let learned = learn(&prepared, &table.classes, &settings, &mut rng, &mut |epoch| watch(Stage::Network, epoch))?;
    let baselines = baselines(table, &prepared, &settings)?;
    let folds = match plan.folds.filter(|_| !learned.stopped) {
        Some(count) => cross_validate(table, &settings, count, watch)?.unwrap_or_default(),
        None => vec![],
    };
    Judged { table, prepared: &prepared, settings: &settings, learned }.conclude(baselines, folds, trials)
}

fn stopped_early() -> ModelError {
    ModelError::Training("stopped before the search was done; nothing was written".to_owned())
}

fn check(plan: &Plan) -> Result<(), String> {
    plan.settings.check()?;
    if let Some(folds) = plan.folds.filter(|folds| !(2..=FOLDS_MAX).contains(&usize::from(*folds))) {
        return Err(format!("a cross-validation has 2 to {FOLDS_MAX} folds, and {folds} are asked for"));
    }
    match plan.trials.filter(|trials| !(1..=TRIALS_MAX).contains(trials)) {
        Some(trials) => Err(format!("a search tries 1 to {TRIALS_MAX} settings, and {trials} are asked for")),
        None => Ok(()),
    }
}

/// The manifest as far as the training rows tell it; checked, so that what is trained can be loaded.
fn draft(table: &Labelled, settings: &TrainSettings, prepared: &Prepared) -> Result<Manifest, ModelError> {
    let draft = Manifest {
        format: FORMAT.to_owned(),
        name: String::new(),
        version: 0,
        features: prepared.features.clone(),
        hidden: settings.hidden.clone(),
        activation: settings.activation,
        classes: table.classes.clone(),
        temperature: 1.0,
        training: None,
    };
    draft.check().map_err(|fault| ModelError::Choice(format!("such a model is not possible: {fault}")))?;
    Ok(draft)
}

/// What is simpler than a network: always the commonest class, and a logistic regression, which is a network without hidden
/// layers.
fn baselines(
    table: &Labelled,
    prepared: &Prepared,
    settings: &TrainSettings,
) -> Result<Vec<BaselineResult>, ModelError> {
    let Part { packed, labels } = &prepared.test;
    let simple = TrainSettings { hidden: vec![], dropout: 0.0, ..settings.clone() };
    let mut rng = generator(settings.seed, Draw::Baseline);
    let learned = learn(prepared, &table.classes, &simple, &mut rng, &mut unwatched)?;
    let logistic = predict(&learned.layers, settings.activation, packed)?;
    let shares = log_shares(&prepared.train.labels, table.classes.len());
    let majority: Vec<f32> = labels.iter().flat_map(|_| shares.iter().copied()).collect();
    let result = |name: &str, logits: &[f32]| {
        let predictions = Predictions { classes: &table.classes, labels, logits };
        BaselineResult { name: name.to_owned(), evaluation: Evaluation::of(&predictions, 1.0) }
    };
    Ok(vec![result("the majority class", &majority), result("logistic regression", &logistic)])
}

/// The logarithm of each class's share of the rows: the best that can be said of a row without a look at it.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "shares of rows")]
fn log_shares(labels: &[u8], classes: usize) -> Vec<f32> {
    let rows = rows_by_class(labels, classes);
    rows.into_iter().map(|rows| (rows.max(1) as f64 / labels.len() as f64).ln() as f32).collect()
}

/// A trained network and what it is judged by.
struct Judged<'a> {
    table: &'a Labelled,
    prepared: &'a Prepared,
    settings: &'a TrainSettings,
    learned: Learned,
}

impl Judged<'_> {
    fn conclude(
        self,
        baselines: Vec<BaselineResult>,
        folds: Vec<Fold>,
        trials: Vec<Trial>,
    ) -> Result<Trained, ModelError> {
        let validation = self.predictions(&self.prepared.validation)?;
        let temperature = temperature(&self.against(&self.prepared.validation, &validation));
        let draft = Manifest { temperature, ..draft(self.table, self.settings, self.prepared)? };
        let logits = self.predictions(&self.prepared.test)?;
        let test = self.against(&self.prepared.test, &logits);
        let training = self.training(Evaluation::of(&test, temperature));
        let report = Report::new(ReportInput {
            data: self.data(),
            settings: self.choices(),
            split: self.sizes(),
            epochs: self.learned.epochs.clone(),
            best_epoch: self.learned.best.number,
            test,
            temperature,
            baselines,
            importance: self.importance(&draft)?,
            folds,
            trials,
        });
        let golden = self.prepared.sample.rows.clone();
        Ok(Trained { layers: self.learned.layers, draft, training, report, golden, stopped: self.learned.stopped })
    }

    fn predictions(&self, part: &Part) -> Result<Vec<f32>, ModelError> {
        predict(&self.learned.layers, self.settings.activation, &part.packed)
    }

    fn against<'a>(&'a self, part: &'a Part, logits: &'a [f32]) -> Predictions<'a> {
        Predictions { classes: &self.table.classes, labels: &part.labels, logits }
    }

    fn importance(&self, draft: &Manifest) -> Result<Vec<super::Importance>, ModelError> {
        let encoder = Encoder::bind(&draft.features, &self.table.schema())?;
        let forward = Forward::new(&self.learned.layers, draft.activation, Backend::default())?;
        let scorer = Scorer::new(Arc::new(forward), encoder, draft.temperature);
        let sample = &self.prepared.sample;
        importance(&sample.rows, &sample.labels, &scorer, self.settings.seed)
    }

    fn training(&self, held_out: Evaluation) -> Training {
        let (settings, learned, split) = (self.settings, &self.learned, &self.prepared);
        Training {
            label: self.table.label.clone(),
            data: self.table.digest.clone(),
            rows: self.table.labels.len(),
            rows_train: split.train.labels.len(),
            rows_validation: split.validation.labels.len(),
            rows_test: split.test.labels.len(),
            seed: settings.seed,
            epochs: settings.epochs_max,
            best_epoch: learned.best.number,
            batch_size: learned.batch_size,
            learning_rate: settings.learning_rate,
            weight_decay: learned.weight_decay,
            dropout: settings.dropout,
            class_weights: learned.class_weights.clone(),
            held_out,
            alluvium: env!("CARGO_PKG_VERSION").to_owned(),
            burn: BURN.to_owned(),
        }
    }

    fn sizes(&self) -> SplitSizes {
        let rows = |part: &Part| part.labels.len() as u64;
        let Prepared { train, validation, test, .. } = self.prepared;
        SplitSizes { train: rows(train), validation: rows(validation), test: rows(test) }
    }

    fn data(&self) -> DataSummary {
        let table = self.table;
        let rows = rows_by_class(&table.labels, table.classes.len());
        let share = |(class, rows): (&String, usize)| ClassShare { class: class.clone(), rows: rows as u64 };
        DataSummary {
            sources: table.sources(),
            digest: table.digest.clone(),
            rows: table.labels.len() as u64,
            label: table.label.clone(),
            classes: table.classes.iter().zip(rows).map(share).collect(),
            columns: table.columns.iter().map(|column| self.column(column)).collect(),
        }
    }

    fn column(&self, column: &Column) -> ColumnSummary {
        let at = self.table.features.iter().position(|(name, ..)| *name == column.name);
        let numbers = at.and_then(|at| self.prepared.numbers.get(at).copied().flatten());
        ColumnSummary {
            name: column.name.clone(),
            kind: at.map_or_else(String::new, |at| self.table.features[at].1.name().to_owned()),
            used: column.used,
            told: column.told.clone(),
            missing: at.and_then(|at| self.prepared.missing.get(at).copied()).unwrap_or(0),
            numbers: numbers.map(|numbers| NumberSummary {
                min: numbers.min,
                mean: numbers.mean,
                max: numbers.max,
                std: numbers.std(),
            }),
        }
    }

    /// As a person would type them.
    fn choices(&self) -> Vec<Setting> {
        let settings = self.settings;
        let hidden: Vec<_> = settings.hidden.iter().map(usize::to_string).collect();
        let setting = |(name, value): (&str, String)| Setting { name: name.to_owned(), value };
        [
            ("hidden layers", if hidden.is_empty() { "none".to_owned() } else { hidden.join(", ") }),
            ("activation", settings.activation.name().to_owned()),
            ("epochs at most", settings.epochs_max.to_string()),
            ("patience", settings.patience.to_string()),
            ("batch size", self.learned.batch_size.to_string()),
            ("learning rate", settings.learning_rate.to_string()),
            ("weight decay", self.learned.weight_decay.to_string()),
            ("dropout", settings.dropout.to_string()),
            ("class weights", settings.class_weights.to_string()),
            ("validation share", settings.validation_share.to_string()),
            ("test share", settings.test_share.to_string()),
            ("seed", settings.seed.to_string()),
        ]
        .map(setting)
        .to_vec()
    }
}

#[cfg(test)]
mod tests;
