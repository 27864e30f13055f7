//! Rows to predictions, a chunk at a time. Shared by many lanes.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{error::ModelError, features::Encoder, network::Network};
use crate::record::Scores;

/// Rows that go through the network at once. Larger falls out of the processor's cache, at a half to a quarter of the
/// speed.
const CHUNK_ROWS: usize = 1_024;

/// A model bound to a schema. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scorer {
    bound: Arc<Bound>,
}

#[derive(Debug)]
struct Bound {
    network: Arc<Network>,
    encoder: Encoder,
    classes: usize,
}

impl Scorer {
    pub(super) fn new(network: Arc<Network>, encoder: Encoder, classes: usize) -> Self {
        Self { bound: Arc::new(Bound { network, encoder, classes }) }
    }

    /// What the model says of each row. A row that it can't answer for is an error, never a guess.
    pub fn score(&self, batch: &RecordBatch) -> Result<Scores, ModelError> {
        let Bound { network, encoder, classes } = &*self.bound;
        let rows = batch.num_rows();
        let mut scores = with_capacity(rows, *classes);
        for start in (0..rows).step_by(CHUNK_ROWS) {
            let end = rows.min(start + CHUNK_ROWS);
            let logits = network.logits(encoder.encode(batch, start..end)?, end - start)?;
            logits.chunks_exact(*classes).for_each(|row| push(&mut scores, row));
        }
        Ok(scores)
    }
}

fn with_capacity(rows: usize, classes: usize) -> Scores {
    Scores {
        class: Vec::with_capacity(rows),
        confidence: Vec::with_capacity(rows),
        probabilities: (0..classes).map(|_| Vec::with_capacity(rows)).collect(),
    }
}

/// The softmax of a row's logits, and the first of the largest.
fn push(scores: &mut Scores, logits: &[f32]) {
    let (class, largest) = argmax(logits);
    let mut sum = 0.0;
    for (column, logit) in scores.probabilities.iter_mut().zip(logits) {
        // Taking off the largest keeps `exp` from overflowing.
        let part = (logit - largest).exp();
        sum += part;
        column.push(part);
    }
    for probability in scores.probabilities.iter_mut().filter_map(|column| column.last_mut()) {
        *probability /= sum;
    }
    scores.class.push(class);
    scores.confidence.push(1.0 / sum);
}

fn argmax(logits: &[f32]) -> (u8, f32) {
    let start = (0, f32::NEG_INFINITY);
    (0..=u8::MAX).zip(logits).fold(start, |best, (class, &logit)| if logit > best.1 { (class, logit) } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(logits: &[f32]) -> Scores {
        let mut scores = with_capacity(1, logits.len());
        push(&mut scores, logits);
        scores
    }

    #[test]
    fn the_largest_logit_wins_and_its_probability_is_the_confidence() {
        let scores = scores(&[1.0, 3.0, 2.0]);
        assert_eq!(scores.class, [1]);
        assert!((scores.confidence[0] - 0.665_240_94).abs() < 1e-6);
        assert_eq!(scores.probabilities[1], scores.confidence);
        assert!((scores.probabilities.iter().flatten().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_tie_goes_to_the_lower_class() {
        assert_eq!(scores(&[0.0, 7.0, 7.0]).class, [1]);
    }

    #[test]
    fn logits_far_apart_do_not_overflow() {
        let scores = scores(&[-3e38, 1e38, 0.0]);
        assert_eq!((scores.class[0], scores.confidence[0]), (1, 1.0));
        assert_eq!(scores.probabilities, [[0.0], [1.0], [0.0]]);
    }
}
