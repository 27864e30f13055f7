//! How good a set of predictions is. Pure.

use serde::{Deserialize, Serialize};

/// The result on a set of rows whose classes are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub rows: u64,
    pub accuracy: f64,
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
    /// Compares predictions with the truth, row by row; both are indices into `classes`.
    pub(super) fn new(classes: &[String], truth: &[u8], prediction: &[u8]) -> Self {
        let mut confusion = vec![vec![0; classes.len()]; classes.len()];
        for (&truth, &prediction) in truth.iter().zip(prediction) {
            confusion[usize::from(truth)][usize::from(prediction)] += 1;
        }
        let right = (0..classes.len()).map(|class| confusion[class][class]).sum();
        let rows = confusion.iter().flatten().sum();
        let results = classes.iter().enumerate().map(|(index, class)| class_result(class, index, &confusion)).collect();
        Self { rows, accuracy: share(right, rows), classes: results, confusion }
    }
}

fn class_result(class: &str, index: usize, confusion: &[Vec<u64>]) -> ClassResult {
    let right = confusion[index][index];
    let rows = confusion[index].iter().sum();
    let predicted = confusion.iter().map(|row| row[index]).sum();
    let f1 = share(2 * right, rows + predicted);
    ClassResult { class: class.to_owned(), rows, precision: share(right, predicted), recall: share(right, rows), f1 }
}

/// To six digits, which is all that a count of rows can tell, and reads well in the manifest.
#[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 1e6).round() / 1e6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measures_follow_from_the_confusion() {
        let classes = ["a", "b", "c"].map(String::from);
        let result = Evaluation::new(&classes, &[0, 0, 0, 1, 1], &[0, 0, 1, 1, 0]);
        assert_eq!(result.confusion, [[2, 1, 0], [1, 1, 0], [0, 0, 0]]);
        assert_eq!((result.rows, result.accuracy), (5, 0.6));
        let a = &result.classes[0];
        assert_eq!((a.rows, a.precision, a.recall, a.f1), (3, 0.666_667, 0.666_667, 0.666_667));
        let never_seen = &result.classes[2];
        assert_eq!((never_seen.rows, never_seen.precision, never_seen.recall, never_seen.f1), (0, 0.0, 0.0, 0.0));
    }
}
