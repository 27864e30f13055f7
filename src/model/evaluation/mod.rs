//! How good a set of predictions is, and how far its confidence can be trusted.
//!
//! Owns the measures: `Evaluation`, the temperature and the calibration, the curves, the importance of features. Pure
//! but for `importance`, which asks a scorer. Does not own where predictions come from, nor how results are shown.

mod calibration;
mod curves;
mod importance;
mod mcnemar;
mod softmax;

use serde::{Deserialize, Serialize};

pub(super) use self::softmax::argmax;
use self::softmax::cross_entropy;
pub use self::{
    calibration::{Calibration, CalibrationBin, temperature},
    curves::{Area, Curves, Point},
    importance::{Importance, importance},
    mcnemar::{McNemar, McNemarTest, SIGNIFICANT_BELOW, mcnemar},
};

/// What a network says of rows whose classes are known. Of every row as many logits as there are classes.
#[derive(Clone, Copy, Debug)]
pub struct Predictions<'a> {
    pub classes: &'a [String],
    /// Indices into `classes`.
    pub labels: &'a [u8],
    /// Row after row, before any temperature.
    pub logits: &'a [f32],
}

impl<'a> Predictions<'a> {
    fn rows(&self) -> impl Iterator<Item = (usize, &'a [f32])> + Clone + use<'a> {
        let rows = self.logits.chunks_exact(self.classes.len().max(1));
        self.labels.iter().map(|&label| usize::from(label)).zip(rows)
    }

    /// The mean cross-entropy with the logits divided by the temperature.
    fn log_loss(&self, temperature: f32) -> f64 {
        let (mut sum, mut rows) = (0.0, 0_u64);
        for (label, logits) in self.rows() {
            sum += cross_entropy(logits, label, temperature);
            rows += 1;
        }
        mean(sum, rows)
    }
}

/// The result on a set of rows whose classes are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub rows: u64,
    pub accuracy: f64,
    /// The mean cross-entropy of the calibrated probabilities; absent where only the classes are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_loss: Option<f64>,
    pub classes: Vec<ClassResult>,
    /// `confusion[truth][prediction]`, in rows.
    pub confusion: Vec<Vec<u64>>,
}

/// The result for one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassResult {
    pub class: String,
    /// How many rows are of this class.
    pub rows: u64,
    /// Of the rows predicted so, the share that is.
    pub precision: f64,
    /// Of the rows that are so, the share predicted so.
    pub recall: f64,
    pub f1: f64,
}

impl Evaluation {
    /// Measures predictions with their probabilities. The temperature never changes a class.
    #[must_use]
    pub fn of(predictions: &Predictions<'_>, temperature: f32) -> Self {
        let prediction: Vec<u8> = predictions.rows().map(|(_, logits)| argmax(logits)).collect();
        let log_loss = Some(six_digits(predictions.log_loss(temperature)));
        Self { log_loss, ..Self::new(predictions.classes, predictions.labels, &prediction) }
    }

    /// Compares predictions with the truth, row by row; both are indices into `classes`.
    #[must_use]
    pub fn new(classes: &[String], truth: &[u8], prediction: &[u8]) -> Self {
        let mut confusion = vec![vec![0; classes.len()]; classes.len()];
        for (&truth, &prediction) in truth.iter().zip(prediction) {
            confusion[usize::from(truth)][usize::from(prediction)] += 1;
        }
        let right = (0..classes.len()).map(|class| confusion[class][class]).sum();
        let rows = confusion.iter().flatten().sum();
        let results = classes.iter().enumerate().map(|(index, class)| class_result(class, index, &confusion)).collect();
        Self { rows, accuracy: share(right, rows), log_loss: None, classes: results, confusion }
    }

    /// The mean recall of the classes that have rows: a rare class counts as much as a common one.
    #[must_use]
    pub fn balanced_accuracy(&self) -> f64 {
        let recalls = self.classes.iter().filter(|class| class.rows > 0).map(|class| class.recall);
        mean_of(recalls)
    }

    /// The mean F1 of the classes that have rows or were predicted.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        // From a file, the matrix may have any shape.
        let seen = |index: usize| self.confusion.iter().any(|row| row.get(index).is_some_and(|&rows| rows > 0));
        let classes = self.classes.iter().enumerate().filter(|(index, class)| class.rows > 0 || seen(*index));
        mean_of(classes.map(|(_, class)| class.f1))
    }
}

fn class_result(class: &str, index: usize, confusion: &[Vec<u64>]) -> ClassResult {
    let right = confusion[index][index];
    let rows = confusion[index].iter().sum();
    let predicted = confusion.iter().map(|row| row[index]).sum();
    let f1 = share(2 * right, rows + predicted);
    ClassResult { class: class.to_owned(), rows, precision: share(right, predicted), recall: share(right, rows), f1 }
}

fn mean_of(numbers: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = numbers.fold((0.0, 0), |(sum, count), number| (sum + number, count + 1));
    six_digits(mean(sum, count))
}

/// Nought where there is nothing to take the mean of.
#[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
fn mean(sum: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
fn share(part: u64, whole: u64) -> f64 {
    six_digits(mean(part as f64, whole))
}

/// Which is all that a count of rows can tell, and reads well in the manifest.
fn six_digits(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measures_follow_from_the_confusion() {
        let classes = ["a", "b", "c"].map(String::from);
        let result = Evaluation::new(&classes, &[0, 0, 0, 1, 1], &[0, 0, 1, 1, 0]);
        assert_eq!(result.confusion, [[2, 1, 0], [1, 1, 0], [0, 0, 0]]);
        assert_eq!((result.rows, result.accuracy, result.log_loss), (5, 0.6, None));
        let a = &result.classes[0];
        assert_eq!((a.rows, a.precision, a.recall, a.f1), (3, 0.666_667, 0.666_667, 0.666_667));
        let never_seen = &result.classes[2];
        assert_eq!((never_seen.rows, never_seen.precision, never_seen.recall, never_seen.f1), (0, 0.0, 0.0, 0.0));
        // A class without rows and without predictions says nothing, so it takes nothing off either.
        assert_eq!((result.balanced_accuracy(), result.macro_f1()), (0.583_334, 0.583_334));
    }

    /// `accuracy_score`, `balanced_accuracy_score`, `f1_score(average="macro")` and `log_loss` of scikit-learn.
    #[test]
    fn logits_are_measured_as_scikit_learn_measures_them() {
        let classes = ["a", "b", "c"].map(String::from);
        let logits = [2.0, 1.0, 0.0, 0.5, 0.4, 0.3, -1.0, 2.5, 0.0, 1.0, 0.0, 3.0, 0.2, 0.1, 0.9, 1.5, 1.0, 1.2];
        let predictions = Predictions { classes: &classes, labels: &[0, 1, 1, 2, 2, 2], logits: &logits };
        let result = Evaluation::of(&predictions, 1.0);
        assert_eq!(result.confusion, [[1, 0, 0], [1, 1, 0], [1, 0, 2]]);
        assert_eq!((result.accuracy, result.balanced_accuracy()), (0.666_667, 0.722_222));
        assert_eq!((result.macro_f1(), result.log_loss), (0.655_556, Some(0.600_805)));
        let cooled = Evaluation::of(&predictions, 2.0);
        assert_eq!((cooled.confusion, cooled.log_loss), (result.confusion, Some(0.768_051)));
    }

    #[test]
    fn nothing_to_measure_is_nought_and_not_nan() {
        let classes = ["a", "b"].map(String::from);
        let result = Evaluation::of(&Predictions { classes: &classes, labels: &[], logits: &[] }, 1.0);
        assert_eq!((result.rows, result.accuracy, result.log_loss), (0, 0.0, Some(0.0)));
        assert_eq!((result.balanced_accuracy(), result.macro_f1()), (0.0, 0.0));
    }
}
