//! What a training came to: every number of it as `report.json`, and as a page for people, `report.html`.
//!
//! Owns the numbers' form, the verdict, the charts and the page. Does not own how numbers are measured, which is
//! `evaluation`'s, nor where the files go, which is the registry's.

mod charts;
mod page;
mod sections;
mod verdict;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use self::verdict::{Standing, Verdict};
use super::{
    error::ModelError,
    evaluation::{Area, Calibration, Curves, Evaluation, Importance, Predictions},
};

/// A change that a reader of the JSON would stumble over takes the next number.
const FORMAT: &str = "alluvium-report/1";

/// Epochs kept of the history; of more, evenly chosen ones.
const EPOCHS_KEPT_MAX: usize = 1_000;

/// All that training hands over for a report.
#[derive(Clone, Debug)]
pub struct ReportInput<'a> {
    pub data: DataSummary,
    /// Everything that a person could have set, in the order to show it.
    pub settings: Vec<Setting>,
    pub split: SplitSizes,
    /// All epochs that were run, in order.
    pub epochs: Vec<EpochPoint>,
    /// The number of the epoch whose weights were kept.
    pub best_epoch: usize,
    /// The network on the test rows, which neither training nor the temperature has seen; logits as the network gives
    /// them, not divided by the temperature.
    pub test: Predictions<'a>,
    /// What [`super::temperature`] said of the validation rows.
    pub temperature: f32,
    /// The majority class and the logistic regression, on the same test rows.
    pub baselines: Vec<BaselineResult>,
    /// What [`super::importance`] said of the test rows.
    pub importance: Vec<Importance>,
    /// Empty unless cross-validation was asked for.
    pub folds: Vec<Fold>,
    /// Empty unless a search was asked for.
    pub trials: Vec<Trial>,
}

/// The table that was learned from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Files or folders, as they were named.
    pub sources: Vec<String>,
    /// SHA-256, in hex.
    pub digest: String,
    pub rows: u64,
    /// The column to predict.
    pub label: String,
    /// In the order of the network's outputs.
    pub classes: Vec<ClassShare>,
    /// All columns but the label, in the order of the file.
    pub columns: Vec<ColumnSummary>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassShare {
    pub class: String,
    pub rows: u64,
}

/// What became of a column, and what is in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnSummary {
    pub name: String,
    /// `numeric`, `categorical`, `boolean` or `text`.
    pub kind: String,
    pub used: bool,
    /// For people: `12 words`, or why it was left out.
    pub told: String,
    pub missing: u64,
    /// Of numbers only, and only of finite ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<NumberSummary>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberSummary {
    pub min: f64,
    pub mean: f64,
    pub max: f64,
    pub std: f64,
}

/// A setting of the training, as a person would write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    pub name: String,
    pub value: String,
}

/// In rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SplitSizes {
    pub train: u64,
    pub validation: u64,
    pub test: u64,
}

/// What came of an epoch. One with a loss that is no number is left out of the report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochPoint {
    /// From 1.
    pub number: usize,
    pub train_loss: f64,
    pub validation_loss: f64,
    pub train_accuracy: f64,
    pub validation_accuracy: f64,
}

impl EpochPoint {
    fn is_finite(&self) -> bool {
        [self.train_loss, self.validation_loss, self.train_accuracy, self.validation_accuracy]
            .iter()
            .all(|number| number.is_finite())
    }
}

/// Something simple that the network has to beat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineResult {
    /// As it reads in a sentence: `logistic regression`, `the majority class`.
    pub name: String,
    pub evaluation: Evaluation,
}

/// A network trained without a part of the rows and measured on that part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fold {
    /// From 1.
    pub number: usize,
    /// Of the part it was measured on.
    pub rows: u64,
    pub accuracy: f64,
    pub log_loss: f64,
}

/// All folds of a cross-validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Folds {
    pub accuracy_mean: f64,
    pub accuracy_std: f64,
    pub log_loss_mean: f64,
    pub folds: Vec<Fold>,
}

/// One attempt of the search over settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    pub hidden: Vec<usize>,
    pub learning_rate: f64,
    pub validation_loss: f64,
    pub validation_accuracy: f64,
    /// The one whose settings were taken.
    pub chosen: bool,
}

/// Which version the report is about. Only when it is saved has a model a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    pub name: String,
    pub version: u32,
    pub date: DateTime<Utc>,
}

/// Every number of a training: `report.json` is this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub format: String,
    /// Absent until the model is saved.
    pub model: Option<Subject>,
    pub verdict: Verdict,
    pub data: DataSummary,
    pub settings: Vec<Setting>,
    pub split: SplitSizes,
    pub epochs: Vec<EpochPoint>,
    pub best_epoch: usize,
    /// On the test rows.
    pub held_out: Evaluation,
    pub balanced_accuracy: f64,
    pub macro_f1: f64,
    pub baselines: Vec<BaselineResult>,
    pub temperature: f32,
    /// On the test rows, with a temperature of 1.
    pub calibration_before: Calibration,
    pub calibration_after: Calibration,
    /// Only of a model with two classes.
    pub curves: Option<Curves>,
    /// Each class against all others.
    pub areas: Vec<Area>,
    pub importance: Vec<Importance>,
    pub folds: Option<Folds>,
    pub trials: Vec<Trial>,
    /// The version of this program.
    pub alluvium: String,
}

impl Report {
    #[must_use]
    pub fn new(input: ReportInput<'_>) -> Self {
        let ReportInput { test, temperature, baselines, .. } = input;
        let held_out = Evaluation::of(&test, temperature);
        Self {
            format: FORMAT.to_owned(),
            model: None,
            verdict: Verdict::of(&held_out, &baselines),
            data: input.data,
            settings: input.settings,
            split: input.split,
            epochs: kept(input.epochs, input.best_epoch),
            best_epoch: input.best_epoch,
            balanced_accuracy: held_out.balanced_accuracy(),
            macro_f1: held_out.macro_f1(),
            held_out,
            baselines,
            temperature,
            calibration_before: Calibration::of(&test, 1.0),
            calibration_after: Calibration::of(&test, temperature),
            curves: Curves::of(&test),
            areas: Area::of(&test, temperature),
            importance: input.importance,
            folds: Folds::of(input.folds),
            trials: input.trials,
            alluvium: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The same report, about the version that the model was saved as.
    #[must_use]
    pub fn about(&self, name: &str, version: u32, date: DateTime<Utc>) -> Self {
        Self { model: Some(Subject { name: name.to_owned(), version, date }), ..self.clone() }
    }

    /// `report.json`.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// `report.html`: one page, with nothing to load and nothing to run.
    pub fn to_html(&self) -> Result<String, ModelError> {
        page::render(self)
    }
}

impl Folds {
    #[allow(clippy::cast_precision_loss, reason = "a handful of folds")]
    fn of(folds: Vec<Fold>) -> Option<Self> {
        if folds.is_empty() {
            return None;
        }
        let mean = |numbers: &dyn Fn(&Fold) -> f64| folds.iter().map(numbers).sum::<f64>() / folds.len() as f64;
        let accuracy_mean = mean(&|fold| fold.accuracy);
        let accuracy_std = mean(&|fold| (fold.accuracy - accuracy_mean).powi(2)).sqrt();
        let log_loss_mean = mean(&|fold| fold.log_loss);
        Some(Self { accuracy_mean, accuracy_std, log_loss_mean, folds })
    }
}

/// The epochs to show: the first, the last and the best among them.
fn kept(mut epochs: Vec<EpochPoint>, best: usize) -> Vec<EpochPoint> {
    epochs.retain(EpochPoint::is_finite);
    let last = epochs.len().saturating_sub(1);
    let step = epochs.len().div_ceil(EPOCHS_KEPT_MAX).max(1);
    let mut index = 0;
    epochs.retain(|epoch| {
        let keep = index % step == 0 || index == last || epoch.number == best;
        index += 1;
        keep
    });
    epochs
}
