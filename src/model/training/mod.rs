//! Training: a table to a network and its manifest, the same bytes for the same data, seed and build.
//!
//! Owns the split, the schedule and when to stop. Every random number comes from one generator of its own, because
//! Burn's is shared by the whole process. One thread.

mod labelled;

use std::{f64::consts::PI, sync::Arc};

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

pub use self::labelled::{Column, ColumnKind, Columns, Labelled};
use super::{
    error::ModelError,
    evaluation::Evaluation,
    features::{self, Encoder},
    manifest::{Activation, FORMAT, Manifest, Training},
    network::{BURN, Network, Trainer},
    scorer::Scorer,
    weights::Layer,
};

/// Classes are weighted when the commonest has so many times the rows of the rarest.
const SKEW_MAX: f64 = 1.5;

/// Without a batch size of its own, a table is cut into so many batches, within the limits.
const BATCHES_AN_EPOCH: usize = 8;
const BATCH_ROWS_AUTO: std::ops::RangeInclusive<usize> = 8..=256;

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSettings {
    pub seed: u64,
    pub hidden: Vec<usize>,
    pub activation: Activation,
    pub epochs_max: usize,
    /// Training stops after so many epochs without a better validation loss.
    pub patience: usize,
    /// `None` goes by the number of rows.
    pub batch_size: Option<usize>,
    /// Where the schedule begins; it ends at nought.
    pub learning_rate: f64,
    pub weight_decay: f32,
    pub validation_share: f64,
    pub test_share: f64,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            seed: 42,
            hidden: vec![16],
            activation: Activation::Relu,
            epochs_max: 200,
            patience: 40,
            batch_size: None,
            learning_rate: 0.01,
            weight_decay: 1e-3,
            validation_share: 0.15,
            test_share: 0.2,
        }
    }
}

impl TrainSettings {
    fn check(&self) -> Result<(), String> {
        let share = |share: f64| share > 0.0 && share < 1.0;
        if self.epochs_max == 0 || self.patience == 0 || self.batch_size == Some(0) {
            return Err("epochs, patience and batch size are at least 1".to_owned());
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return Err(format!("a learning rate lies above 0 and up to 1, and {} does not", self.learning_rate));
        }
        if !(share(self.validation_share) && share(self.test_share) && self.validation_share + self.test_share < 1.0) {
            return Err("the shares of validation and test lie above 0, and together below 1".to_owned());
        }
        Ok(())
    }
}

/// What came of an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// From 1.
    pub number: usize,
    pub validation_loss: f64,
}

/// A trained network that has no version yet.
#[derive(Debug)]
pub struct Trained {
    pub(super) layers: Vec<Layer>,
    /// Without name and version.
    draft: Manifest,
    training: Training,
}

impl Trained {
    /// How it was trained, and how well it does on the rows that training never saw.
    #[must_use]
    pub fn training(&self) -> &Training {
        &self.training
    }

    pub(super) fn manifest(&self, name: &str, version: u32) -> Manifest {
        let training = Some(self.training.clone());
        Manifest { name: name.to_owned(), version, training, ..self.draft.clone() }
    }
}

/// Trains on a table, and measures the result on rows that were held out.
pub fn train(
    table: &Labelled,
    settings: &TrainSettings,
    mut on_epoch: impl FnMut(Epoch),
) -> Result<Trained, ModelError> {
    settings.check().map_err(ModelError::Choice)?;
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    let rows = rows_of(table)?;
    let split = Split::of(table, &rows, settings, &mut rng)?;
    let draft = draft(table, settings, &split.train)?;
    let encoder = Encoder::bind(&draft.features, &table.schema())?;
    let class_weights = class_weights(&split.train.labels, table.classes.len());

    let run = Run::new(settings, &split.train, &encoder)?;
    let validation = Validation::new(&split.validation, &encoder, class_weights.as_ref(), table.classes.len())?;
    let start = initial_layers(&draft.widths(), &run.input, &mut rng);
    let trainer = Trainer::new(&start, settings.activation, class_weights.clone(), settings.weight_decay)?;
    let best = run.descend(trainer, &validation, &mut rng, &mut on_epoch)?;

    let layers = best.network.layers()?;
    let scorer = Scorer::new(Arc::new(best.network), encoder, table.classes.len());
    let prediction = scorer.score(&split.test.rows)?.class;
    let training = Training {
        label: table.label.clone(),
        data: table.digest.clone(),
        rows: table.labels.len(),
        rows_train: split.train.labels.len(),
        rows_validation: split.validation.labels.len(),
        rows_test: split.test.labels.len(),
        seed: settings.seed,
        epochs: settings.epochs_max,
        best_epoch: best.epoch,
        batch_size: run.batch_size,
        learning_rate: settings.learning_rate,
        weight_decay: settings.weight_decay,
        class_weights,
        held_out: Evaluation::new(&table.classes, &split.test.labels, &prediction),
        alluvium: env!("CARGO_PKG_VERSION").to_owned(),
        burn: BURN.to_owned(),
    };
    Ok(Trained { layers, draft, training })
}

fn rows_of(table: &Labelled) -> Result<RecordBatch, ModelError> {
    let batches = table.batches()?.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&table.schema(), &batches)?)
}

/// The manifest as far as the training rows tell it; checked, so that what is trained can be loaded.
fn draft(table: &Labelled, settings: &TrainSettings, train: &Part) -> Result<Manifest, ModelError> {
    let missing: Vec<bool> = table.features.iter().map(|(_, _, missing)| *missing).collect();
    let draft = Manifest {
        format: FORMAT.to_owned(),
        name: String::new(),
        version: 0,
        features: features::fit(&train.rows, &missing).map_err(ModelError::Training)?,
        hidden: settings.hidden.clone(),
        activation: settings.activation,
        classes: table.classes.clone(),
        temperature: 1.0,
        training: None,
    };
    draft.check().map_err(|fault| ModelError::Choice(format!("such a model is not possible: {fault}")))?;
    Ok(draft)
}

/// Rows for one purpose.
struct Part {
    rows: RecordBatch,
    labels: Vec<u8>,
}

impl Part {
    fn of(table: &Labelled, all: &RecordBatch, rows: &[u32]) -> Result<Self, ModelError> {
        let labels = rows.iter().filter_map(|&row| table.labels.get(row as usize).copied()).collect();
        Ok(Self { rows: take_record_batch(all, &UInt32Array::from(rows.to_vec()))?, labels })
    }

    fn encode(&self, encoder: &Encoder) -> Result<Vec<f32>, ModelError> {
        encoder.encode(&self.rows, 0..self.labels.len())
    }
}

struct Split {
    train: Part,
    validation: Part,
    test: Part,
}

impl Split {
    /// Draws from each class its share of the rows for validation and for the test.
    fn of(
        table: &Labelled,
        all: &RecordBatch,
        settings: &TrainSettings,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, ModelError> {
        let (mut train, mut validation, mut test) = (Vec::new(), Vec::new(), Vec::new());
        for class in (0..=u8::MAX).take(table.classes.len()) {
            let mut rows: Vec<u32> =
                (0..).zip(&table.labels).filter(|(_, label)| **label == class).map(|(row, _)| row).collect();
            rows.shuffle(rng);
            let (held, rest) = rows.split_at(share(rows.len(), settings.test_share));
            let (checked, learned) = rest.split_at(share(rows.len(), settings.validation_share).min(rest.len()));
            test.extend_from_slice(held);
            validation.extend_from_slice(checked);
            train.extend_from_slice(learned);
        }
        if train.is_empty() || validation.is_empty() || test.is_empty() {
            let (rows, classes) = (table.labels.len(), table.classes.len());
            return Err(ModelError::Training(format!(
                "{rows} rows of {classes} classes are too few to hold some out for validation and a test; \
                 ten rows of each class are a beginning"
            )));
        }
        Ok(Self {
            train: Part::of(table, all, &train)?,
            validation: Part::of(table, all, &validation)?,
            test: Part::of(table, all, &test)?,
        })
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of rows"
)]
fn share(rows: usize, share: f64) -> usize {
    ((rows as f64 * share).round() as usize).min(rows)
}

fn batch_size_for(rows: usize) -> usize {
    (rows / BATCHES_AN_EPOCH).clamp(*BATCH_ROWS_AUTO.start(), *BATCH_ROWS_AUTO.end())
}

/// The loss weight of each class, if some are much rarer than others; the mean over the rows is 1.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts of rows, and a weight")]
fn class_weights(labels: &[u8], classes: usize) -> Option<Vec<f32>> {
    let mut counts = vec![0_usize; classes];
    for &label in labels {
        counts[usize::from(label)] += 1;
    }
    // A class whose only row was held out still needs a weight that is a number.
    let counts: Vec<f64> = counts.into_iter().map(|count| count.max(1) as f64).collect();
    let rarest = counts.iter().copied().fold(f64::INFINITY, f64::min);
    let commonest = counts.iter().copied().fold(0.0, f64::max);
    let balanced = |count: f64| (labels.len() as f64 / (classes as f64 * count)) as f32;
    (commonest / rarest > SKEW_MAX).then(|| counts.into_iter().map(balanced).collect())
}

/// Random weights after He, which keep a signal's size through rectifiers, and no bias: smaller ones, as PyTorch begins
/// with, left whole narrow layers silent for good. An input that is nought in every training row begins, and
/// so stays, at nought: it has nothing to say.
#[allow(clippy::cast_precision_loss, reason = "a width is at most 16,384")]
fn initial_layers(widths: &[usize], input: &[f32], rng: &mut ChaCha8Rng) -> Vec<Layer> {
    let mut layers: Vec<Layer> = widths
        .windows(2)
        .map(|pair| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let limit = (6.0 / inputs as f32).sqrt();
            let weight = (0..inputs * outputs).map(|_| rng.random_range(-limit..limit)).collect();
            Layer { inputs, outputs, weight, bias: vec![0.0; outputs] }
        })
        .collect();
    if let Some(first) = layers.first_mut() {
        let width = first.inputs;
        for silent in (0..width).filter(|&slot| input.iter().skip(slot).step_by(width).all(|float| *float == 0.0)) {
            first.weight.iter_mut().skip(silent).step_by(width).for_each(|weight| *weight = 0.0);
        }
    }
    layers
}

/// The training rows, and how to go through them.
struct Run<'a> {
    settings: &'a TrainSettings,
    batch_size: usize,
    width: usize,
    input: Vec<f32>,
    labels: &'a [u8],
}

/// The network of the epoch that did best on the validation rows.
struct Best {
    network: Network,
    epoch: usize,
    loss: f64,
}

impl<'a> Run<'a> {
    fn new(settings: &'a TrainSettings, train: &'a Part, encoder: &Encoder) -> Result<Self, ModelError> {
        let batch_size = settings.batch_size.unwrap_or_else(|| batch_size_for(train.labels.len()));
        Ok(Self { settings, batch_size, width: encoder.width(), input: train.encode(encoder)?, labels: &train.labels })
    }

    fn descend(
        &self,
        mut trainer: Trainer,
        validation: &Validation<'_>,
        rng: &mut ChaCha8Rng,
        on_epoch: &mut impl FnMut(Epoch),
    ) -> Result<Best, ModelError> {
        let mut best: Option<Best> = None;
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        for number in 1..=self.settings.epochs_max {
            order.shuffle(rng);
            self.epoch(&mut trainer, &order, number)?;
            let network = trainer.network();
            let loss = validation.loss(&network)?;
            on_epoch(Epoch { number, validation_loss: loss });
            if loss.is_finite() && best.as_ref().is_none_or(|best| loss < best.loss) {
                best = Some(Best { network, epoch: number, loss });
            }
            if number - best.as_ref().map_or(0, |best| best.epoch) >= self.settings.patience {
                break;
            }
        }
        let remedy = "training found no weights with a finite loss; try a smaller learning rate";
        best.ok_or_else(|| ModelError::Training(remedy.to_owned()))
    }

    fn epoch(&self, trainer: &mut Trainer, order: &[usize], number: usize) -> Result<(), ModelError> {
        let batches = order.len().div_ceil(self.batch_size);
        for (batch, rows) in order.chunks(self.batch_size).enumerate() {
            let step = (number - 1) * batches + batch;
            let rate = cosine(step, self.settings.epochs_max * batches) * self.settings.learning_rate;
            let line = |row: usize| &self.input[row * self.width..(row + 1) * self.width];
            let input = rows.iter().flat_map(|&row| line(row)).copied().collect();
            let labels: Vec<u8> = rows.iter().map(|&row| self.labels[row]).collect();
            trainer.step(input, &labels, rate)?;
        }
        Ok(())
    }
}

/// From 1 at the first step down to nearly 0 at the last.
#[allow(clippy::cast_precision_loss, reason = "a count of steps is far below 2^52")]
fn cosine(step: usize, steps: usize) -> f64 {
    0.5 * (1.0 + (PI * step as f64 / steps as f64).cos())
}

/// The rows that say when to stop.
struct Validation<'a> {
    input: Vec<f32>,
    labels: &'a [u8],
    class_weights: Vec<f32>,
}

impl<'a> Validation<'a> {
    fn new(
        part: &'a Part,
        encoder: &Encoder,
        class_weights: Option<&Vec<f32>>,
        classes: usize,
    ) -> Result<Self, ModelError> {
        let class_weights = class_weights.cloned().unwrap_or_else(|| vec![1.0; classes]);
        Ok(Self { input: part.encode(encoder)?, labels: &part.labels, class_weights })
    }

    /// The weighted mean of the cross-entropy.
    fn loss(&self, network: &Network) -> Result<f64, ModelError> {
        let logits = network.logits(self.input.clone(), self.labels.len())?;
        let (mut sum, mut weights) = (0.0, 0.0);
        for (row, &label) in logits.chunks_exact(self.class_weights.len()).zip(self.labels) {
            let weight = f64::from(self.class_weights[usize::from(label)]);
            sum += weight * cross_entropy(row, usize::from(label));
            weights += weight;
        }
        Ok(sum / weights)
    }
}

fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    sum.ln() - f64::from(logits[label] - largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_goes_from_one_to_nearly_nothing() {
        assert!((cosine(0, 100) - 1.0).abs() < 1e-12);
        assert!((cosine(50, 100) - 0.5).abs() < 1e-12);
        assert!(cosine(99, 100) < 1e-3);
    }

    #[test]
    fn rare_classes_weigh_more_and_even_ones_need_no_weights() {
        assert_eq!(class_weights(&[0, 1, 0, 1, 2, 2], 3), None);
        assert_eq!(class_weights(&[0, 0, 0, 0, 0, 0, 1, 1], 2), Some(vec![8.0 / 12.0, 2.0]));
        assert_eq!(class_weights(&[0, 0, 0], 2), Some(vec![0.5, 1.5]));
    }

    #[test]
    fn an_input_that_is_always_nought_begins_without_weights() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let layers = initial_layers(&[2, 2, 2], &[1.0, 0.0, -1.0, 0.0], &mut rng);
        let weight = &layers[0].weight;
        assert!(weight[0] != 0.0 && weight[1] == 0.0 && weight[2] != 0.0 && weight[3] == 0.0, "{weight:?}");
        assert!(layers[1].weight.iter().all(|weight| *weight != 0.0));
    }

    #[test]
    fn cross_entropy_is_that_of_the_softmax() {
        assert!((cross_entropy(&[0.0, 0.0], 1) - 2_f64.ln()).abs() < 1e-12);
        assert!((cross_entropy(&[1e30, 0.0], 0)).abs() < 1e-12);
    }
}
