//! A row's logits to its class and its probabilities, in double precision and without a NaN.

/// The loss of one row that a softmax in double precision can still tell from certainty; more counts as this much.
const ROW_LOSS_MAX: f64 = 700.0;

/// The first of the largest, as the scorer has it.
pub(in crate::model) fn argmax(logits: &[f32]) -> u8 {
    let start = (0, f32::NEG_INFINITY);
    let largest = |best: (u8, f32), (class, &logit): (u8, &f32)| if logit > best.1 { (class, logit) } else { best };
    (0..=u8::MAX).zip(logits).fold(start, largest).0
}

/// `-ln` of the probability that the logits, divided by the temperature, give to the class.
pub(super) fn cross_entropy(logits: &[f32], class: usize, temperature: f32) -> f64 {
    let (largest, sum) = parts(logits, temperature);
    let own = logits.get(class).map_or(f64::NAN, |&logit| scaled(logit, largest, temperature));
    let loss = sum.ln() - own;
    // Not `min`, which would let a NaN pass for a number of its own.
    if loss < ROW_LOSS_MAX { loss.max(0.0) } else { ROW_LOSS_MAX }
}

pub(super) fn probability(logits: &[f32], class: usize, temperature: f32) -> f64 {
    (-cross_entropy(logits, class, temperature)).exp()
}

/// The largest logit, and the softmax's denominator relative to it.
fn parts(logits: &[f32], temperature: f32) -> (f32, f64) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    (largest, logits.iter().map(|&logit| scaled(logit, largest, temperature).exp()).sum())
}

fn scaled(logit: f32, largest: f32, temperature: f32) -> f64 {
    (f64::from(logit) - f64::from(largest)) / f64::from(temperature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_goes_to_the_lower_class() {
        assert_eq!((argmax(&[0.0, 7.0, 7.0]), argmax(&[1.0, 3.0, 2.0])), (1, 1));
    }

    #[test]
    fn the_loss_is_minus_the_logarithm_of_the_probability() {
        assert!((cross_entropy(&[0.0, 0.0], 1, 3.0) - 2_f64.ln()).abs() < 1e-12);
        assert!((probability(&[1.0, 3.0, 2.0], 1, 1.0) - 0.665_240_955_774_821_8).abs() < 1e-12);
        // A temperature of two is the same as halved logits.
        assert!((probability(&[2.0, 6.0], 1, 2.0) - probability(&[1.0, 3.0], 1, 1.0)).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_number_counts_as_the_greatest_loss() {
        let hopeless =
            [[3e38, -3e38], [f32::INFINITY, 0.0], [f32::NAN, f32::NAN], [f32::NEG_INFINITY, f32::NEG_INFINITY]];
        for logits in hopeless {
            assert!((cross_entropy(&logits, 1, 1.0) - ROW_LOSS_MAX).abs() < 1e-9, "{logits:?}");
        }
        assert!((cross_entropy(&[1.0], 9, 1.0) - ROW_LOSS_MAX).abs() < 1e-9);
    }
}
