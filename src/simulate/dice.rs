//! Chance and time for the sources: both begin at a fixed place, so that a seed gives the same records on any day.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, StandardNormal};

pub(super) type Dice = ChaCha8Rng;

/// 2025-01-01T00:00:00Z, where the clock of every stream begins.
pub(super) const BEGINNING_MS: i64 = 1_735_689_600_000;
const MS_PER_HOUR: i64 = 3_600_000;

/// How busy each hour of the day is; 1 on average.
const RHYTHM: [f64; 24] = [
    0.30, 0.20, 0.15, 0.15, 0.20, 0.35, 0.60, 0.95, 1.15, 1.25, 1.30, 1.45, 1.55, 1.40, 1.30, 1.25, 1.40, 1.65, 1.75,
    1.65, 1.45, 1.15, 0.85, 0.55,
];

/// The dice of one partition; others have streams of their own.
pub(super) fn dice(seed: u64, partition: i32) -> Dice {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    dice.set_stream(u64::from(partition.unsigned_abs()));
    dice
}

/// What beside the records themselves is left to chance; none of it moves the others' dice.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Disorder = 1,
    Corruption = 2,
    Moods = 3,
}

/// Dice of one partition for something else than its records.
pub(super) fn dice_for(seed: u64, partition: i32, purpose: Purpose) -> Dice {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    dice.set_stream(((purpose as u64) << 32) | u64::from(partition.unsigned_abs()));
    dice
}

/// One of `0..count`; the low ones are drawn much more often: the first fifty times as often as the average.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "below count")]
pub(super) fn skewed(dice: &mut Dice, count: usize) -> usize {
    let u: f64 = dice.random();
    let place = u * (0.02 + 0.98 * u);
    (place * count as f64) as usize
}

/// One of a list that is not empty.
#[inline]
pub(super) fn pick<T: Copy>(dice: &mut Dice, list: &[T]) -> T {
    list[dice.random_range(0..list.len())]
}

/// The index of one of the weights, each as often as it weighs.
pub(super) fn weighted<const N: usize>(dice: &mut Dice, weights: &[u32; N]) -> usize {
    let mut left = dice.random_range(0..weights.iter().sum());
    for (index, &weight) in weights.iter().enumerate() {
        if left < weight {
            return index;
        }
        left -= weight;
    }
    N - 1
}

#[inline]
pub(super) fn normal(dice: &mut Dice) -> f64 {
    StandardNormal.sample(dice)
}

/// Half of the draws are below `median`; two thirds lie within a factor of e to the `spread`.
#[inline]
pub(super) fn log_normal(dice: &mut Dice, median: f64, spread: f64) -> f64 {
    median * (spread * normal(dice)).exp()
}

/// A stream's own time, which goes on from record to record whatever the pace at which they are sent.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    ms: i64,
}

impl Clock {
    pub(super) const fn new() -> Self {
        Self { ms: BEGINNING_MS }
    }

    /// Goes on to the next of records that come by chance, `gap_ms` apart on average.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a few times the gap")]
    pub(super) fn advance(&mut self, dice: &mut Dice, gap_ms: f64) {
        let gaps: f64 = Exp1.sample(dice);
        self.ms += (gaps * gap_ms + 0.5) as i64;
    }

    /// How busy people are at this hour; 1 on average over the day.
    #[inline]
    pub(super) fn rhythm(&self) -> f64 {
        RHYTHM[hour(self.ms)]
    }

    #[inline]
    pub(super) fn ms(&self) -> i64 {
        self.ms
    }

    /// Since the stream began.
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(super) fn hours(&self) -> f64 {
        (self.ms - BEGINNING_MS) as f64 / MS_PER_HOUR as f64
    }
}

/// Of the day; below 24.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "below 24")]
pub(super) fn hour(ms: i64) -> usize {
    ms.div_euclid(MS_PER_HOUR).rem_euclid(24) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rhythm_is_one_on_average() {
        assert!((RHYTHM.iter().sum::<f64>() - 24.0).abs() < 1e-9, "{}", RHYTHM.iter().sum::<f64>());
    }

    #[test]
    fn a_skewed_choice_prefers_the_low_and_reaches_all() {
        let mut dice = dice(1, 0);
        let mut drawn = [0_u32; 100];
        for _ in 0..100_000 {
            drawn[skewed(&mut dice, 100)] += 1;
        }
        assert!(drawn[0] > 5 * drawn[50] && drawn[99] > 0, "{drawn:?}");
    }

    #[test]
    fn weights_are_shares() {
        let mut dice = dice(1, 0);
        let mut drawn = [0_u32; 3];
        for _ in 0..10_000 {
            drawn[weighted(&mut dice, &[1, 0, 3])] += 1;
        }
        assert_eq!(drawn[1], 0);
        assert!((2_300..2_700).contains(&drawn[0]), "{drawn:?}");
    }

    #[test]
    fn the_clock_keeps_its_pace() {
        let (mut dice, mut clock) = (dice(1, 0), Clock::new());
        for _ in 0..36_000 {
            clock.advance(&mut dice, 100.0);
        }
        assert!((0.97..1.03).contains(&clock.hours()), "{}", clock.hours());
    }
}
