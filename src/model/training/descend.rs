//! Down the gradient: epochs of mini-batches until the validation rows no longer gain from it.
//!
//! Owns the order of the rows, the schedule and when to stop. Every random number comes from the generator that is handed
//! in, because Burn's is shared by the whole process. Rows are shuffled within a window of blocks, and the blocks among
//! each other; so the order, and with it the result, is the same wherever the blocks are kept.

use std::{f64::consts::PI, ops::ControlFlow, sync::Arc};

use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{
    packed::{BLOCK_ROWS, Block, Packed},
    prepared::{Part, Prepared},
    settings::TrainSettings,
};
use crate::model::{
    Backend, EpochPoint,
    error::ModelError,
    evaluation::argmax,
    manifest::Activation,
    network::{Forward, ROWS_STEP, Trainer},
    scorer::chunk_rows,
    weights::Layer,
};

/// Blocks whose rows are shuffled together.
const WINDOW_BLOCKS: usize = 32;

/// What training came to.
#[derive(Debug)]
pub(super) struct Learned {
    /// Those of the best epoch.
    pub layers: Vec<Layer>,
    pub epochs: Vec<EpochPoint>,
    pub best: EpochPoint,
    pub batch_size: usize,
    pub weight_decay: f32,
    pub class_weights: Option<Vec<f32>>,
    /// It was told to stop before its time.
    pub stopped: bool,
}

/// Is told of each epoch, and may end the training after it.
pub(super) type OnEpoch<'a> = dyn FnMut(&EpochPoint) -> ControlFlow<()> + 'a;

/// Trains a network with these hidden layers on the prepared rows.
pub(super) fn learn(
    prepared: &Prepared,
    classes: &[String],
    settings: &TrainSettings,
    rng: &mut ChaCha8Rng,
    on_epoch: &mut OnEpoch<'_>,
) -> Result<Learned, ModelError> {
    let class_weights = settings.class_weights.of(classes, &rows_by_class(&prepared.train.labels, classes.len()));
    let class_weights = class_weights.map_err(ModelError::Choice)?;
    let packed = &prepared.train.packed;
    let widths: Vec<usize> =
        [packed.width()].into_iter().chain(settings.hidden.iter().copied()).chain([classes.len()]).collect();
    let start = initial_layers(&widths, &packed.silent()?, rng);
    let weight_decay = settings.weight_decay(packed.rows());
    let trainer = Trainer::new(&start, settings.activation, class_weights.clone(), weight_decay, settings.dropout)?;
    let batch_size = settings.batch_size(packed.rows());
    Descent { prepared, settings, class_weights, weight_decay, batch_size, trainer, rng }.run(on_epoch)
}

/// What the network says of every row: as many logits as there are classes, row after row.
pub(super) fn predict(layers: &[Layer], activation: Activation, packed: &Packed) -> Result<Vec<f32>, ModelError> {
    let forward = Forward::new(layers, activation, Backend::default())?;
    let chunk = chunk_rows(forward.width_max());
    let mut logits = Vec::with_capacity(packed.rows() * forward.classes());
    for index in 0..packed.blocks() {
        let block = packed.block(index)?;
        for start in (0..block.rows()).step_by(chunk) {
            let rows = chunk.min(block.rows() - start);
            let stride = rows.next_multiple_of(ROWS_STEP);
            let mut inputs = vec![0.0; packed.width() * stride];
            for row in 0..rows {
                packed.each(&block, start + row, |slot, float| inputs[slot * stride + row] = float);
            }
            let columns = forward.logits(inputs, stride)?;
            logits.extend((0..rows).flat_map(|row| columns.iter().skip(row).step_by(stride).copied()));
        }
    }
    Ok(logits)
}

/// How many rows are of each class.
pub(super) fn rows_by_class(labels: &[u8], classes: usize) -> Vec<usize> {
    let mut rows = vec![0; classes];
    for &label in labels {
        if let Some(rows) = rows.get_mut(usize::from(label)) {
            *rows += 1;
        }
    }
    rows
}

/// A network on its way.
struct Descent<'a> {
    prepared: &'a Prepared,
    settings: &'a TrainSettings,
    class_weights: Option<Vec<f32>>,
    weight_decay: f32,
    batch_size: usize,
    trainer: Trainer,
    rng: &'a mut ChaCha8Rng,
}

impl Descent<'_> {
    fn run(mut self, on_epoch: &mut OnEpoch<'_>) -> Result<Learned, ModelError> {
        let mut epochs = Vec::new();
        let mut best: Option<(EpochPoint, Vec<Layer>)> = None;
        let mut stopped = false;
        for number in 1..=self.settings.epochs_max {
            let (train_loss, train_accuracy) = self.epoch(number)?;
            let layers = self.trainer.network().layers()?;
            let (validation_loss, validation_accuracy) = self.validate(&layers)?;
            let epoch = EpochPoint { number, train_loss, validation_loss, train_accuracy, validation_accuracy };
            epochs.push(epoch);
            let is_better = best.as_ref().is_none_or(|(best, _)| validation_loss < best.validation_loss);
            if validation_loss.is_finite() && is_better {
                best = Some((epoch, layers));
            }
            stopped = on_epoch(&epoch).is_break();
            let waited = number - best.as_ref().map_or(0, |(best, _)| best.number);
            if stopped || waited >= self.settings.patience {
                break;
            }
        }
        let remedy = "training found no weights with a finite loss; try a smaller learning rate";
        let (best, layers) = best.ok_or_else(|| ModelError::Training(remedy.to_owned()))?;
        let Self { batch_size, weight_decay, class_weights, .. } = self;
        Ok(Learned { layers, epochs, best, batch_size, weight_decay, class_weights, stopped })
    }

    /// Every training row once; the mean loss and the accuracy on the way.
    #[allow(clippy::cast_precision_loss, reason = "counts of rows")]
    fn epoch(&mut self, number: usize) -> Result<(f64, f64), ModelError> {
        let packed = &self.prepared.train.packed;
        let rows = packed.rows() as f64;
        let (mut done, mut loss, mut right) = (0, 0.0, 0);
        let mut blocks: Vec<usize> = (0..packed.blocks()).collect();
        blocks.shuffle(self.rng);
        for window in blocks.chunks(WINDOW_BLOCKS) {
            let window = Window::load(&self.prepared.train, window)?;
            let mut order = window.order();
            order.shuffle(self.rng);
            for batch in order.chunks(self.batch_size) {
                let progress = ((number - 1) as f64 + done as f64 / rows) / self.settings.epochs_max as f64;
                let (input, labels) = window.batch(batch);
                let step =
                    self.trainer.step(input, &labels, cosine(progress) * self.settings.learning_rate, self.rng)?;
                done += batch.len();
                loss += f64::from(step.loss) * batch.len() as f64;
                right += step.right;
            }
        }
        Ok((loss / rows, right as f64 / rows))
    }

    /// The weighted mean of the cross-entropy on the validation rows, and the accuracy.
    #[allow(clippy::cast_precision_loss, reason = "counts of rows")]
    fn validate(&self, layers: &[Layer]) -> Result<(f64, f64), ModelError> {
        let Part { packed, labels } = &self.prepared.validation;
        let logits = predict(layers, self.settings.activation, packed)?;
        let classes = logits.len() / labels.len().max(1);
        let (mut loss, mut weights, mut right) = (0.0, 0.0, 0_usize);
        for (row, &label) in logits.chunks_exact(classes.max(1)).zip(labels) {
            let label = usize::from(label);
            let weight = self.class_weights.as_ref().map_or(1.0, |weights| f64::from(weights[label]));
            loss += weight * cross_entropy(row, label);
            weights += weight;
            right += usize::from(usize::from(argmax(row)) == label);
        }
        Ok((loss / weights, right as f64 / labels.len() as f64))
    }
}

/// Blocks that are in memory together.
struct Window<'a> {
    part: &'a Part,
    blocks: Vec<(usize, Arc<Block>)>,
}

impl<'a> Window<'a> {
    fn load(part: &'a Part, blocks: &[usize]) -> Result<Self, ModelError> {
        let load = |index: &usize| Ok((*index, part.packed.block(*index)?));
        Ok(Self { part, blocks: blocks.iter().map(load).collect::<Result<_, ModelError>>()? })
    }

    /// Every row, as the place of its block and its place there.
    fn order(&self) -> Vec<(u16, u16)> {
        let rows = |block: &Block| (0..=u16::MAX).take(block.rows());
        (0..=u16::MAX).zip(&self.blocks).flat_map(|(at, (_, block))| rows(block).map(move |row| (at, row))).collect()
    }

    /// The input of some rows, and their labels.
    fn batch(&self, rows: &[(u16, u16)]) -> (Vec<f32>, Vec<u8>) {
        let width = self.part.packed.width();
        let mut input = vec![0.0; rows.len() * width];
        let mut labels = Vec::with_capacity(rows.len());
        for ((at, row), line) in rows.iter().zip(input.chunks_exact_mut(width)) {
            let (index, block) = &self.blocks[usize::from(*at)];
            self.part.packed.unpack(block, usize::from(*row), line);
            labels.push(self.part.labels[index * BLOCK_ROWS + usize::from(*row)]);
        }
        (input, labels)
    }
}

/// Random weights after He, which keep a signal's size through rectifiers, and no bias: smaller ones, as PyTorch begins
/// with, left whole narrow layers silent for good. An input that is nought in every training row begins, and
/// so stays, at nought: it has nothing to say.
#[allow(clippy::cast_precision_loss, reason = "a width is at most 16,384")]
fn initial_layers(widths: &[usize], silent: &[bool], rng: &mut ChaCha8Rng) -> Vec<Layer> {
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
        for slot in (0..width).filter(|slot| silent[*slot]) {
            first.weight.iter_mut().skip(slot).step_by(width).for_each(|weight| *weight = 0.0);
        }
    }
    layers
}

/// From 1 at the beginning down to 0 at the end.
fn cosine(progress: f64) -> f64 {
    0.5 * (1.0 + (PI * progress).cos())
}

/// A logit that is no number makes a loss that is none, so that such weights are never taken for the best.
fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    sum.ln() - f64::from(logits[label] - largest)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_schedule_goes_from_one_to_nearly_nothing() {
        assert!((cosine(0.0) - 1.0).abs() < 1e-12);
        assert!((cosine(0.5) - 0.5).abs() < 1e-12);
        assert!(cosine(0.99) < 1e-3);
    }

    #[test]
    fn an_input_that_is_always_nought_begins_without_weights() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let layers = initial_layers(&[2, 2, 2], &[false, true], &mut rng);
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
