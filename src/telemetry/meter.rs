//! What a run measures beside its counts: how long the steps of a record's journey take, how large segments are.
//!
//! Owns: histograms whose bounds never change. Does not own: when something is measured, and how it is shown. Invariant:
//! what is held does not grow with what is measured.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::status;

/// In seconds.
const STEP_BOUNDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// From a KiB to a GiB, each four times the one before.
pub const BYTES_BOUNDS: &[f64] = &[
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];
pub const ROWS_BOUNDS: &[f64] = &[1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7];

/// A step of a record's journey. The list is closed, and its names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Fetch,
    Decode,
    Score,
    Encode,
    Stage,
    Claim,
    Publish,
}

impl Step {
    pub const ALL: [Self; 7] =
        [Self::Fetch, Self::Decode, Self::Score, Self::Encode, Self::Stage, Self::Claim, Self::Publish];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Decode => "decode",
            Self::Score => "score",
            Self::Encode => "encode",
            Self::Stage => "stage",
            Self::Claim => "claim",
            Self::Publish => "publish",
        }
    }
}

/// How long each step takes, a batch or a commit at a time.
#[derive(Debug)]
pub struct Steps([Histogram; Step::ALL.len()]);

impl Default for Steps {
    fn default() -> Self {
        Self(Step::ALL.map(|_| Histogram::new(STEP_BOUNDS)))
    }
}

impl Steps {
    pub fn record(&self, step: Step, took: Duration) {
        let place = Step::ALL.iter().position(|&one| one == step);
        if let Some(histogram) = place.and_then(|place| self.0.get(place)) {
            histogram.record(took.as_secs_f64());
        }
    }

    /// All of them, in the order of the journey.
    pub fn told(&self) -> impl Iterator<Item = (&'static str, status::Histogram)> {
        Step::ALL.iter().zip(&self.0).map(|(step, histogram)| (step.name(), histogram.told()))
    }
}

/// Counts by size. Written once a batch or a commit, so a lock is cheap enough.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// One more than there are bounds.
    buckets: Vec<u64>,
    sum: f64,
}

impl Histogram {
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, state: Mutex::new(State { buckets: vec![0; bounds.len() + 1], sum: 0.0 }) }
    }

    pub fn record(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        let mut state = self.state();
        state.sum += value;
        state.buckets.get_mut(bucket).into_iter().for_each(|count| *count += 1);
    }

    #[must_use]
    pub fn told(&self) -> status::Histogram {
        let state = self.state();
        status::Histogram { bounds: self.bounds.to_vec(), buckets: state.buckets.clone(), sum: state.sum }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_the_first_bucket_whose_bound_it_does_not_pass() {
        let histogram = Histogram::new(ROWS_BOUNDS);
        for rows in [0.0, 1.0, 1.5, 10.0, 2e7] {
            histogram.record(rows);
        }
        let told = histogram.told();
        assert_eq!(told.buckets, [2, 2, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((told.count(), told.sum), (5, 20_000_012.5));
    }

    #[test]
    fn each_step_has_a_histogram_of_its_own() {
        let steps = Steps::default();
        for (times, step) in (1..).zip(Step::ALL) {
            (0..times).for_each(|_| steps.record(step, Duration::from_millis(2)));
        }
        let told: Vec<_> = steps.told().map(|(name, histogram)| (name, histogram.count())).collect();
        let names = ["fetch", "decode", "score", "encode", "stage", "claim", "publish"];
        assert_eq!(told, names.into_iter().zip(1..).collect::<Vec<_>>());
    }
}
