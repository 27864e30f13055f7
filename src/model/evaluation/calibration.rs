//! Whether a confidence of 90 % is right nine times in ten, and the temperature that makes it so.

use serde::{Deserialize, Serialize};

use super::{
    Predictions, mean, six_digits,
    softmax::{argmax, cross_entropy, probability},
};

/// Bins of a calibration curve, of equal width. Fewer and a fault hides in the mean; more and small tables leave noise.
const BINS: u8 = 10;

/// Temperatures tried lie between its inverse and this.
const TEMPERATURE_MAX: f64 = 10.0;

/// Rows that are asked for the temperature, evenly taken from all; one number needs no more.
const TEMPERATURE_ROWS_MAX: usize = 100_000;

/// Steps of the search; each leaves 0.618 of the interval, so this many leave less than a 10,000th of it.
const SEARCH_STEPS: usize = 32;

/// How well confidence and truth agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The mean distance between confidence and accuracy, each bin weighted by its rows.
    pub expected_error: f64,
    pub log_loss: f64,
    /// Those that hold rows, by rising confidence.
    pub bins: Vec<CalibrationBin>,
}

/// The rows whose confidence lies in one interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    pub from: f64,
    pub to: f64,
    pub rows: u64,
    /// Their mean.
    pub confidence: f64,
    /// The share of them that is right.
    pub accuracy: f64,
}

impl Calibration {
    #[must_use]
    pub fn of(predictions: &Predictions<'_>, temperature: f32) -> Self {
        let mut bins = [(0_u64, 0.0_f64, 0.0_f64); BINS as usize];
        for (label, logits) in predictions.rows() {
            let class = usize::from(argmax(logits));
            let confidence = probability(logits, class, temperature);
            if let Some((rows, sum, right)) = bins.get_mut(bin(confidence)) {
                *rows += 1;
                *sum += confidence;
                *right += f64::from(u8::from(class == label));
            }
        }
        let all: u64 = bins.iter().map(|(rows, ..)| rows).sum();
        let distance = bins.iter().map(|(_, sum, right)| (sum - right).abs()).sum();
        Self {
            expected_error: six_digits(mean(distance, all)),
            log_loss: six_digits(predictions.log_loss(temperature)),
            bins: (0..BINS).zip(bins).filter(|(_, (rows, ..))| *rows > 0).map(told).collect(),
        }
    }
}

/// A confidence on the border belongs to the bin above, and certainty to the last.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a confidence lies in 0..=1")]
fn bin(confidence: f64) -> usize {
    ((confidence * f64::from(BINS)) as usize).min(usize::from(BINS) - 1)
}

fn told((index, (rows, sum, right)): (u8, (u64, f64, f64))) -> CalibrationBin {
    CalibrationBin {
        from: f64::from(index) / f64::from(BINS),
        to: f64::from(index + 1) / f64::from(BINS),
        rows,
        confidence: six_digits(mean(sum, rows)),
        accuracy: six_digits(mean(right, rows)),
    }
}

/// The temperature that makes the validation rows most likely, to four digits; 1 if none does better.
///
/// A few rows that are all right would ask for certainty. So a temperature has to earn its distance from 1: its squared
/// logarithm, halved, counts like that much loss of one row, which many rows easily outweigh.
#[must_use]
pub fn temperature(validation: &Predictions<'_>) -> f32 {
    let step = validation.labels.len().div_ceil(TEMPERATURE_ROWS_MAX).max(1);
    let rows: Vec<_> = validation.rows().step_by(step).collect();
    let cost = |logarithm: f64| {
        let temperature = rounded(logarithm);
        let loss: f64 = rows.iter().map(|(label, logits)| cross_entropy(logits, *label, temperature)).sum();
        loss + logarithm * logarithm / 2.0
    };
    let best = lowest(TEMPERATURE_MAX.ln(), cost);
    if cost(best) < cost(0.0) { rounded(best) } else { 1.0 }
}

#[allow(clippy::cast_possible_truncation, reason = "four digits fit")]
fn rounded(logarithm: f64) -> f32 {
    ((logarithm.exp() * 1e4).round() / 1e4) as f32
}

/// Golden-section search in `-limit..=limit`. The loss falls, then rises, with the inverse of the temperature.
fn lowest(limit: f64, cost: impl Fn(f64) -> f64) -> f64 {
    let golden = (5_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (-limit, limit);
    let (mut left, mut right) = (high - golden * (high - low), low + golden * (high - low));
    let (mut cost_left, mut cost_right) = (cost(left), cost(right));
    for _ in 0..SEARCH_STEPS {
        if cost_left <= cost_right {
            (high, right, cost_right) = (right, left, cost_left);
            left = high - golden * (high - low);
            cost_left = cost(left);
        } else {
            (low, left, cost_left) = (left, right, cost_right);
            right = low + golden * (high - low);
            cost_right = cost(right);
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes() -> Vec<String> {
        ["a", "b"].map(String::from).to_vec()
    }

    /// Rows of which so many in ten are right, all with the same margin between the logits.
    fn predictions(right_in_ten: usize, margin: f32, rows: usize) -> (Vec<u8>, Vec<f32>) {
        let labels = (0..rows).map(|row| u8::from(row % 10 < right_in_ten)).collect();
        (labels, [0.0, margin].repeat(rows))
    }

    #[test]
    fn an_overconfident_network_is_cooled_until_it_is_as_sure_as_it_is_right() {
        let (labels, logits) = predictions(9, 6.0, 10_000);
        let classes = classes();
        let predictions = Predictions { classes: &classes, labels: &labels, logits: &logits };
        let temperature = temperature(&predictions);
        // sigmoid(6 / T) = 0.9 at T = 6 / ln 9.
        assert!((f64::from(temperature) - 6.0 / 9_f64.ln()).abs() < 2e-3, "{temperature}");
        let (before, after) = (Calibration::of(&predictions, 1.0), Calibration::of(&predictions, temperature));
        assert!((before.expected_error - 0.097_527).abs() < 1e-6, "{before:?}");
        assert!(after.expected_error < 1e-3 && after.log_loss < before.log_loss, "{after:?}");
    }

    #[test]
    fn a_timid_network_is_warmed() {
        let (labels, logits) = predictions(9, 1.0, 10_000);
        let classes = classes();
        let temperature = temperature(&Predictions { classes: &classes, labels: &labels, logits: &logits });
        assert!((f64::from(temperature) - 1.0 / 9_f64.ln()).abs() < 1e-3, "{temperature}");
    }

    #[test]
    fn a_few_rows_that_are_all_right_do_not_ask_for_certainty() {
        let (labels, logits) = predictions(10, 3.0, 20);
        let classes = classes();
        let temperature = temperature(&Predictions { classes: &classes, labels: &labels, logits: &logits });
        assert!((0.5..1.0).contains(&temperature), "{temperature}");
    }

    #[test]
    fn without_rows_the_temperature_is_one() {
        let classes = classes();
        let none = Predictions { classes: &classes, labels: &[], logits: &[] };
        assert!((temperature(&none) - 1.0).abs() < f32::EPSILON);
        assert_eq!(Calibration::of(&none, 1.0), Calibration { expected_error: 0.0, log_loss: 0.0, bins: Vec::new() });
    }

    #[test]
    fn logits_without_end_leave_the_temperature_within_its_limits() {
        let classes = classes();
        let logits = [3e38, -3e38, f32::INFINITY, f32::NEG_INFINITY];
        for labels in [[0, 0], [1, 1], [0, 1]] {
            let temperature = temperature(&Predictions { classes: &classes, labels: &labels, logits: &logits });
            assert!((0.1..=10.0).contains(&temperature), "{temperature}");
        }
    }

    #[test]
    fn rows_are_binned_by_their_confidence() {
        let classes = classes();
        let odds = |confidence: f32| [0.0, (confidence / (1.0 - confidence)).ln()];
        let logits = [odds(0.65), odds(0.68), odds(0.95), [0.0, 100.0]].concat();
        let result = Calibration::of(&Predictions { classes: &classes, labels: &[1, 0, 1, 1], logits: &logits }, 1.0);
        let told: Vec<_> = result.bins.iter().map(|bin| (bin.from, bin.to, bin.rows, bin.accuracy)).collect();
        assert_eq!(told, [(0.6, 0.7, 2, 0.5), (0.9, 1.0, 2, 1.0)]);
        assert!((result.bins[0].confidence - 0.665).abs() < 1e-6);
        // (2 × |0.665 − 0.5| + 2 × |0.975 − 1|) / 4
        assert!((result.expected_error - 0.095).abs() < 1e-6, "{result:?}");
    }
}
