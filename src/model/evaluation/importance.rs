//! What each feature is worth: how much worse the model does when that feature's values are dealt to other rows.

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::{take, take_record_batch},
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{mean, six_digits};
use crate::{
    model::{ModelError, Scorer},
    record::Scores,
};

/// Times that each feature is dealt anew.
const IMPORTANCE_REPEATS: u16 = 5;

/// Rows that are asked, evenly taken from all.
const IMPORTANCE_ROWS_MAX: usize = 5_000;

/// Values that are scored for all features and repeats together: of wide tables, fewer rows are asked.
const IMPORTANCE_VALUES_MAX: usize = 500_000_000;

/// But no fewer than this.
const IMPORTANCE_ROWS_MIN: usize = 100;

/// A probability of nought would make one row's loss endless.
const PROBABILITY_MIN: f64 = 1e-9;

/// What dealing one feature anew costs, as the mean and the standard deviation of the repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    pub feature: String,
    /// How far the accuracy falls.
    pub accuracy_drop: f64,
    pub accuracy_drop_std: f64,
    /// How far the log loss rises.
    pub loss_rise: f64,
    pub loss_rise_std: f64,
}

/// Of each column of the rows, the one that costs most first. The same seed deals the same way.
///
/// `rows` are rows that training never saw, with the columns that `scorer` was bound to; `labels` are their classes.
pub fn importance(
    rows: &RecordBatch,
    labels: &[u8],
    scorer: &Scorer,
    seed: u64,
) -> Result<Vec<Importance>, ModelError> {
    let (rows, labels) = sample(rows, labels)?;
    let whole = Quality::of(&scorer.score(&rows)?, &labels);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut all = Vec::with_capacity(rows.num_columns());
    for (index, field) in rows.schema().fields().iter().enumerate() {
        let mut drops = Vec::new();
        for _ in 0..IMPORTANCE_REPEATS {
            let dealt = deal(&rows, index, &mut rng)?;
            drops.push(whole.less(&Quality::of(&scorer.score(&dealt)?, &labels)));
        }
        all.push(summary(field.name(), &drops));
    }
    all.sort_by(|a, b| b.loss_rise.total_cmp(&a.loss_rise));
    Ok(all)
}

/// As many rows as are worth asking.
fn sample(rows: &RecordBatch, labels: &[u8]) -> Result<(RecordBatch, Vec<u8>), ModelError> {
    let columns = rows.num_columns().max(1);
    let affordable = IMPORTANCE_VALUES_MAX / (columns * columns * usize::from(IMPORTANCE_REPEATS));
    let wanted = affordable.clamp(IMPORTANCE_ROWS_MIN, IMPORTANCE_ROWS_MAX);
    let count = rows.num_rows().min(labels.len());
    let chosen = (0..wanted.min(count)).map(|number| number * count / wanted.min(count));
    let chosen: Vec<u32> = chosen.filter_map(|row| u32::try_from(row).ok()).collect();
    let labels = chosen.iter().filter_map(|&row| labels.get(row as usize).copied()).collect();
    Ok((take_record_batch(rows, &UInt32Array::from(chosen))?, labels))
}

/// The same rows, with one column's values shuffled among them.
fn deal(rows: &RecordBatch, column: usize, rng: &mut ChaCha8Rng) -> Result<RecordBatch, ModelError> {
    let mut order: Vec<u32> = (0..).take(rows.num_rows()).collect();
    order.shuffle(rng);
    let mut columns = rows.columns().to_vec();
    if let Some(values) = columns.get_mut(column) {
        *values = take(values, &UInt32Array::from(order), None)?;
    }
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

#[derive(Clone, Copy)]
struct Quality {
    accuracy: f64,
    loss: f64,
}

impl Quality {
    fn of(scores: &Scores, labels: &[u8]) -> Self {
        let (mut right, mut loss) = (0_u32, 0.0);
        for (row, (&class, &label)) in scores.class.iter().zip(labels).enumerate() {
            right += u32::from(class == label);
            let column = scores.probabilities.get(usize::from(label));
            let probability = column.and_then(|column| column.get(row)).map_or(0.0, |&own| f64::from(own));
            loss -= probability.max(PROBABILITY_MIN).ln();
        }
        let rows = labels.len() as u64;
        Self { accuracy: mean(f64::from(right), rows), loss: mean(loss, rows) }
    }

    /// What was lost from here to there.
    fn less(self, after: &Self) -> Self {
        Self { accuracy: self.accuracy - after.accuracy, loss: after.loss - self.loss }
    }
}

fn summary(feature: &str, drops: &[Quality]) -> Importance {
    let (accuracy_drop, accuracy_drop_std) = spread(drops.iter().map(|drop| drop.accuracy));
    let (loss_rise, loss_rise_std) = spread(drops.iter().map(|drop| drop.loss));
    Importance { feature: feature.to_owned(), accuracy_drop, accuracy_drop_std, loss_rise, loss_rise_std }
}

/// The mean, and the standard deviation about it.
fn spread(numbers: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = numbers.clone().count() as u64;
    let centre = mean(numbers.clone().sum(), count);
    let variance = mean(numbers.map(|number| (number - centre).powi(2)).sum(), count);
    (six_digits(centre), six_digits(variance.sqrt()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array};

    use super::*;
    use crate::model::{
        Activation, Backend, Feature, FeatureKind, features::Encoder, network::Forward, weights::Layer,
    };

    const ROWS: usize = 400;

    /// The class is whether `said` is above nought. `noise` has no weight.
    fn rows() -> (RecordBatch, Vec<u8>) {
        let said: Vec<f64> = (0..ROWS).map(|row| if row % 2 == 0 { -1.0 } else { 1.0 }).collect();
        let noise: Vec<f64> = (0..ROWS).map(|row| f64::from(u8::try_from(row % 7).unwrap())).collect();
        let labels = (0..ROWS).map(|row| u8::from(row % 2 == 1)).collect();
        let column = |values| Arc::new(Float64Array::from(values)) as ArrayRef;
        (RecordBatch::try_from_iter([("noise", column(noise)), ("said", column(said))]).unwrap(), labels)
    }

    fn scorer(rows: &RecordBatch) -> Scorer {
        let feature = |name: &str| Feature {
            name: name.to_owned(),
            missing: false,
            kind: FeatureKind::Numeric { mean: 0.0, std: 1.0 },
        };
        let encoder = Encoder::bind(&[feature("noise"), feature("said")], rows.schema_ref()).unwrap();
        let layer = Layer { inputs: 2, outputs: 2, weight: vec![0.0, -1.0, 0.0, 1.0], bias: vec![0.0; 2] };
        let network = Forward::new(&[layer], Activation::Relu, Backend::NdArray).unwrap();
        Scorer::new(Arc::new(network), encoder, 1.0)
    }

    #[test]
    fn the_feature_that_says_it_all_comes_first_and_one_without_weight_costs_nothing() {
        let (rows, labels) = rows();
        let scorer = scorer(&rows);
        let result = importance(&rows, &labels, &scorer, 42).unwrap();
        let [said, noise] = result.as_slice() else { panic!("{result:?}") };
        assert_eq!((said.feature.as_str(), noise.feature.as_str()), ("said", "noise"));
        // Dealt anew, it is right half the time; a wrong row's loss is greater by the logits' distance, which is two.
        assert!((said.accuracy_drop - 0.5).abs() < 0.1, "{said:?}");
        assert!((said.loss_rise - 2.0 * said.accuracy_drop).abs() < 1e-4, "{said:?}");
        assert!(said.loss_rise_std > 0.0);
        assert_eq!((noise.accuracy_drop, noise.loss_rise, noise.loss_rise_std), (0.0, 0.0, 0.0));
        assert_eq!(importance(&rows, &labels, &scorer, 42).unwrap(), result, "the same seed deals the same way");
    }

    #[test]
    fn no_rows_have_no_cost() {
        let rows = rows().0.slice(0, 0);
        let result = importance(&rows, &[], &scorer(&rows), 42).unwrap();
        assert!(result.iter().all(|one| (one.accuracy_drop, one.loss_rise) == (0.0, 0.0)), "{result:?}");
    }

    #[test]
    fn many_rows_are_sampled_evenly() {
        let many = IMPORTANCE_ROWS_MAX * 4;
        let column = Arc::new(Float64Array::from(vec![0.0; many])) as ArrayRef;
        let rows = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let labels: Vec<u8> = (0..many).map(|row| u8::from(row >= many / 2)).collect();
        let (rows, labels) = sample(&rows, &labels).unwrap();
        assert_eq!((rows.num_rows(), labels.len()), (IMPORTANCE_ROWS_MAX, IMPORTANCE_ROWS_MAX));
        assert_eq!(labels.iter().map(|&label| usize::from(label)).sum::<usize>(), IMPORTANCE_ROWS_MAX / 2);
    }
}
