//! Rows to predictions, a chunk at a time. Shared by many lanes.
//!
//! What a row scores depends on the row alone: not on the batch that it came in, nor on where it stands there.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{
    error::ModelError,
    features::Encoder,
    network::{Forward, ROWS_STEP},
    softmax,
};
use crate::record::Scores;

/// Rows that go through the network at once. Larger chunks fall out of the processor's cache.
const CHUNK_ROWS_MAX: usize = 1_024;

/// So many floats of a chunk, between the widest two layers, are in the cache together with what is made of them.
const CHUNK_FLOATS: usize = 32_768;

/// A model bound to a schema. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scorer {
    bound: Arc<Bound>,
}

#[derive(Debug)]
struct Bound {
    forward: Arc<Forward>,
    encoder: Encoder,
    temperature: f32,
    chunk_rows: usize,
}

impl Scorer {
    pub(super) fn new(forward: Arc<Forward>, encoder: Encoder, temperature: f32) -> Self {
        let chunk_rows = chunk_rows(forward.width_max());
        Self { bound: Arc::new(Bound { forward, encoder, temperature, chunk_rows }) }
    }

    /// What the model says of each row. A row that it can't answer for is an error, never a guess.
    pub fn score(&self, batch: &RecordBatch) -> Result<Scores, ModelError> {
        let Bound { forward, temperature, .. } = &*self.bound;
        let mut scores = softmax::with_capacity(batch.num_rows(), forward.classes());
        for (rows, inputs) in self.inputs(batch) {
            let filled_up = filled_up(rows);
            let mut logits = forward.logits(inputs?, filled_up)?;
            softmax::push(&mut scores, &mut logits, filled_up, rows, *temperature);
        }
        Ok(scores)
    }

    /// The numbers that the network is given of these rows, chunk by chunk, for whoever asks what they cost without it.
    pub fn features(&self, batch: &RecordBatch) -> impl Iterator<Item = Result<Vec<f32>, ModelError>> {
        self.inputs(batch).map(|(_, inputs)| inputs)
    }

    /// For each chunk, how many rows it has and what the network is given of them.
    fn inputs(&self, batch: &RecordBatch) -> impl Iterator<Item = (usize, Result<Vec<f32>, ModelError>)> {
        let Bound { encoder, chunk_rows, .. } = &*self.bound;
        let all = batch.num_rows();
        (0..all).step_by(*chunk_rows).map(move |start| {
            let end = all.min(start + chunk_rows);
            (end - start, encoder.columns(batch, start..end, filled_up(end - start)))
        })
    }
}

/// The rows of a chunk, and the noughts after them.
fn filled_up(rows: usize) -> usize {
    rows.next_multiple_of(ROWS_STEP)
}

/// Rows that go through a network of this width at once.
pub(super) fn chunk_rows(width_max: usize) -> usize {
    let fitting = CHUNK_FLOATS / width_max.max(1) / ROWS_STEP * ROWS_STEP;
    fitting.clamp(ROWS_STEP, CHUNK_ROWS_MAX)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use arrow::array::{ArrayRef, Float64Array};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::model::{Activation, Backend, Feature, FeatureKind, weights::Layer};

    const BACKENDS: &[Backend] = &[
        Backend::NdArray,
        #[cfg(feature = "flex")]
        Backend::Flex,
    ];

    fn layers(widths: &[usize]) -> Vec<Layer> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut floats = |count| (0..count).map(|_| rng.random_range(-0.3..0.3)).collect();
        let layer = |pair: &[usize]| Layer {
            inputs: pair[0],
            outputs: pair[1],
            weight: floats(pair[0] * pair[1]),
            bias: floats(pair[1]),
        };
        widths.windows(2).map(layer).collect()
    }

    fn rows(width: usize, rows: usize) -> RecordBatch {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut column = || Arc::new(Float64Array::from_iter_values((0..rows).map(|_| rng.random_range(-2.0..2.0))));
        RecordBatch::try_from_iter((0..width).map(|place| (place.to_string(), column() as ArrayRef))).unwrap()
    }

    fn scorer(widths: &[usize], activation: Activation, backend: Backend, batch: &RecordBatch) -> Scorer {
        let kind = FeatureKind::Numeric { mean: 0.1, std: 1.3 };
        let feature = |place: usize| Feature { name: place.to_string(), missing: false, kind: kind.clone() };
        let features: Vec<Feature> = (0..widths[0]).map(feature).collect();
        let encoder = Encoder::bind(&features, batch.schema_ref()).unwrap();
        Scorer::new(Arc::new(Forward::new(&layers(widths), activation, backend).unwrap()), encoder, 1.5)
    }

    /// The scores of these rows, to the last bit.
    fn bits(scores: &Scores, rows: Range<usize>) -> Vec<u32> {
        let columns = scores.probabilities.iter().chain([&scores.confidence]);
        let classes = scores.class[rows.clone()].iter().map(|class| u32::from(*class));
        columns.flat_map(|column| &column[rows.clone()]).map(|float| float.to_bits()).chain(classes).collect()
    }

    /// Whether each row of batches of these sizes, taken from somewhere, scores as it does among all.
    fn assert_alike(widths: &[usize], activation: Activation, sizes: impl IntoIterator<Item = usize>) {
        let all = rows(widths[0], 1_400);
        let scorers = BACKENDS.iter().map(|&backend| (backend, scorer(widths, activation, backend, &all)));
        let scorers: Vec<_> = scorers.map(|(name, scorer)| (name, scorer.score(&all).unwrap(), scorer)).collect();
        for size in sizes {
            let start = (size * 37) % (all.num_rows() - size + 1);
            for (backend, expected, scorer) in &scorers {
                let part = scorer.score(&all.slice(start, size)).unwrap();
                let same = bits(&part, 0..size) == bits(expected, start..start + size);
                assert!(same, "{widths:?} {backend:?}: rows {start} to {}", start + size);
            }
        }
    }

    #[test]
    fn a_row_scores_the_same_to_the_last_bit_in_a_batch_of_any_size() {
        assert_alike(&[4, 16, 3], Activation::Relu, 1..=1_400);
        assert_alike(&[4, 64, 64, 3], Activation::Relu, (1..=1_400).step_by(13));
        assert_alike(&[30, 128, 64, 2], Activation::Relu, (1..=1_400).step_by(41));
    }

    #[test]
    fn so_it_does_in_networks_of_uncommon_widths() {
        assert_alike(&[1, 2], Activation::Relu, (1..=1_400).step_by(29));
        assert_alike(&[2, 1, 5, 2], Activation::Tanh, (1..=1_400).step_by(29));
        assert_alike(&[3, 17, 33, 255], Activation::Tanh, (1..=1_400).step_by(97));
        // Sums so long that the kernels cut them.
        assert_alike(&[1_300, 7, 2], Activation::Relu, [1, 64, 127, 129, 300, 1_399]);
        assert_alike(&[5, 700, 600, 3], Activation::Relu, [1, 65, 128, 700]);
    }

    #[cfg(feature = "flex")]
    #[test]
    fn the_backends_agree() {
        for widths in [&[4, 16, 3][..], &[30, 128, 64, 2], &[300, 64, 5]] {
            let batch = rows(widths[0], 500);
            let [one, other] = [Backend::NdArray, Backend::Flex]
                .map(|backend| scorer(widths, Activation::Relu, backend, &batch).score(&batch).unwrap());
            for (one, other) in one.probabilities.iter().flatten().zip(other.probabilities.iter().flatten()) {
                assert!((one - other).abs() < 1e-5, "{widths:?}: {one} and {other}");
            }
        }
    }

    #[test]
    fn chunks_are_whole_steps_and_narrower_for_wide_networks() {
        assert_eq!([1, 16, 64, 128, 100, 1_024, 16_384].map(chunk_rows), [1_024, 1_024, 512, 256, 256, 128, 128]);
    }
}
