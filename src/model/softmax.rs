//! From what the network says of a chunk of rows to classes and probabilities. Pure, and the same on every machine:
//! only sums, products and quotients, each rounded as IEEE 754 tells.

use crate::record::Scores;

/// Below it, e to the power is taken for nought; it is a number that has fewer digits already.
const EXPONENT_MIN: f32 = -87.0;

/// Scores with room for so many rows.
pub(super) fn with_capacity(rows: usize, classes: usize) -> Scores {
    Scores {
        class: Vec::with_capacity(rows),
        confidence: Vec::with_capacity(rows),
        probabilities: (0..classes).map(|_| Vec::with_capacity(rows)).collect(),
    }
}

/// Adds the first `rows` rows of a chunk: the first of the largest logits, and the softmax of all.
///
/// `logits` holds `stride` floats for each class, of which the first `rows` count. They are overwritten.
pub(super) fn push(scores: &mut Scores, logits: &mut [f32], stride: usize, rows: usize, temperature: f32) {
    let (class, largest) = argmax(logits, stride, rows);
    let mut sums = vec![0.0; rows];
    for line in logits.chunks_exact_mut(stride) {
        for ((logit, largest), sum) in line.iter_mut().zip(&largest).zip(&mut sums) {
            // Taking off the largest keeps the power from overflowing, and makes it 1 for the class itself.
            *logit = exp((*logit - largest) / temperature);
            *sum += *logit;
        }
    }
    // From here on the share of the whole that 1 is; for the class itself, its probability.
    for sum in &mut sums {
        *sum = 1.0 / *sum;
    }
    for (column, line) in scores.probabilities.iter_mut().zip(logits.chunks_exact(stride)) {
        column.extend(line.iter().zip(&sums).map(|(part, share)| part * share));
    }
    scores.class.extend_from_slice(&class);
    scores.confidence.extend_from_slice(&sums);
}

/// For each row, the first class with the largest logit, and that logit.
fn argmax(logits: &[f32], stride: usize, rows: usize) -> (Vec<u8>, Vec<f32>) {
    let (mut class, mut largest) = (vec![0; rows], vec![f32::NEG_INFINITY; rows]);
    for (number, line) in (0..=u8::MAX).zip(logits.chunks_exact(stride)) {
        for ((class, largest), logit) in class.iter_mut().zip(&mut largest).zip(line) {
            let larger = logit > largest;
            *class = if larger { number } else { *class };
            *largest = if larger { *logit } else { *largest };
        }
    }
    (class, largest)
}

/// e to the power of a number that is not above nought, to within 2 units in the last place.
///
/// The standard library's differs between machines, and is called for one number at a time. This one, after the Cephes
/// library's, is made a vector of. It splits `x = n ln 2 + r`, so that e^x = 2^n e^r with a small r.
#[inline]
fn exp(x: f32) -> f32 {
    // Adding it leaves the whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts; n times the first is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const POLYNOMIAL: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];
    let bounded = x.max(EXPONENT_MIN);
    let rounded = bounded * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = bounded - n * LN_2[0] - n * LN_2[1];
    let tail = POLYNOMIAL.iter().fold(0.0, |sum, coefficient| sum * r + coefficient);
    let two_to_n = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    let power = (1.0 + (r + r * r * tail)) * two_to_n;
    if x < EXPONENT_MIN { 0.0 } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one row.
    fn scores(logits: &[f32], temperature: f32) -> Scores {
        let mut scores = with_capacity(1, logits.len());
        push(&mut scores, &mut logits.to_vec(), 1, 1, temperature);
        scores
    }

    #[test]
    fn the_largest_logit_wins_and_its_probability_is_the_confidence() {
        let scores = scores(&[1.0, 3.0, 2.0], 1.0);
        assert_eq!(scores.class, [1]);
        assert!((scores.confidence[0] - 0.665_240_94).abs() < 1e-6);
        assert_eq!(scores.probabilities[1], scores.confidence);
        assert!((scores.probabilities.iter().flatten().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_tie_goes_to_the_lower_class() {
        assert_eq!(scores(&[0.0, 7.0, 7.0], 1.0).class, [1]);
    }

    #[test]
    fn logits_far_apart_do_not_overflow() {
        for temperature in [1.0, 1e-38, 1e38] {
            let scores = scores(&[-3e38, 3e38, 0.0], temperature);
            assert_eq!(scores.class, [1]);
            assert!(scores.probabilities.iter().flatten().all(|probability| (0.0..=1.0).contains(probability)));
        }
        assert_eq!(scores(&[-3e38, 1e38, 0.0], 1.0).probabilities, [[0.0], [1.0], [0.0]]);
    }

    #[test]
    fn a_temperature_changes_the_confidence_and_never_the_class() {
        let [cold, as_is, hot] = [0.5, 1.0, 4.0].map(|temperature| scores(&[1.0, 3.0, 2.0], temperature));
        assert!(cold.confidence > as_is.confidence && as_is.confidence > hot.confidence);
        assert_eq!((cold.class, hot.class), (vec![1], vec![1]));
        assert_eq!(hot.probabilities, scores(&[0.25, 0.75, 0.5], 1.0).probabilities);
    }

    #[test]
    fn rows_past_the_last_are_left_out() {
        let mut scores = with_capacity(0, 2);
        push(&mut scores, &mut [1.0, 0.0, 9.0, 0.0, 1.0, 0.0], 3, 2, 1.0);
        push(&mut scores, &mut [0.0, 5.0], 1, 1, 1.0);
        assert_eq!((scores.class.as_slice(), scores.confidence.len()), (&[0, 1, 1][..], 3));
        assert!(scores.probabilities.iter().all(|column| column.len() == 3));
    }

    #[test]
    fn the_power_is_that_of_the_exact_one() {
        assert_eq!((exp(0.0), exp(-0.0)), (1.0, 1.0));
        assert_eq!((exp(f32::NEG_INFINITY), exp(-1e30)), (0.0, 0.0));
        for step in 0..880_000_u32 {
            let x = -f32::from_bits(step * 1_275 + 1);
            let (power, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(
                power <= 1.0 && (x < EXPONENT_MIN || (power / exact - 1.0).abs() < 2.4e-7),
                "{x}: {power}, {exact}"
            );
        }
    }
}
