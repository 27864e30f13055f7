//! How many different values there are, and whether each is there once, in bounded memory.
//!
//! Owns the sample. Values are known by a hash of 64 bits.

use std::{collections::HashSet, hash::BuildHasher};

use foldhash::fast::FixedState;

/// So many different values are counted; of more it is known that they are more.
pub const DISTINCT_MAX: usize = 1_000;

/// Values remembered while none has come twice. Beyond it, those whose hash ends in a nought more are kept: of a value
/// that repeats, every repetition is either seen or not, so many repetitions can't be missed.
const SAMPLED_MAX: usize = 1 << 16;

/// The hash of a value.
pub(super) fn hash(value: impl std::hash::Hash) -> u64 {
    FixedState::with_seed(0).hash_one(value)
}

#[derive(Clone, Debug, Default)]
pub(super) struct Distinct {
    seen: HashSet<u64, FixedState>,
    /// A hash is of interest if it has none of these bits.
    mask: u64,
    repeated: bool,
    /// More than the limit, and not all different: there is nothing left to find out.
    settled: bool,
}

impl Distinct {
    pub(super) fn insert(&mut self, hash: u64) {
        if self.settled || hash & self.mask != 0 {
            return;
        }
        self.repeated |= !self.seen.insert(hash);
        if self.seen.len() > DISTINCT_MAX {
            self.thin_out();
        }
    }

    /// It is of no interest any more whether all are different.
    pub(super) fn expect_repetition(&mut self) {
        self.repeated = true;
    }

    #[must_use]
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    fn thin_out(&mut self) {
        if self.repeated {
            self.settled = true;
            self.seen = HashSet::default();
        } else if self.seen.len() > SAMPLED_MAX {
            self.mask = (self.mask << 1) | 1;
            self.seen.retain(|hash| hash & self.mask == 0);
        }
    }

    /// `None` is more than [`DISTINCT_MAX`].
    pub(super) fn count(&self) -> Option<usize> {
        let is_known = !self.settled && self.mask == 0 && self.seen.len() <= DISTINCT_MAX;
        is_known.then_some(self.seen.len())
    }

    /// No value came twice, as far as was looked.
    pub(super) fn all_differ(&self) -> bool {
        !self.repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Distinct {
        let mut distinct = Distinct::default();
        values.into_iter().for_each(|value| distinct.insert(hash(value)));
        distinct
    }

    #[test]
    fn few_values_are_counted_and_many_are_many() {
        assert_eq!(of([]).count(), Some(0));
        assert_eq!(of([1, 2, 1, 3, 3]).count(), Some(3));
        assert_eq!(of((0..10_000).map(|value| value % 1_000)).count(), Some(1_000));
        assert_eq!(of((0..10_000).map(|value| value % 1_001)).count(), None);
    }

    #[test]
    fn a_repetition_is_found_and_none_invented() {
        assert!(of(0..1_000_000).all_differ());
        assert!(!of([7, 8, 7]).all_differ());
        assert!(!of((0..1_000_000).map(|value| value / 2)).all_differ());
        assert!(!of((0..400_000).chain(0..400_000)).all_differ());
    }

    #[test]
    fn memory_stays_bounded_whatever_comes() {
        assert!(of(0..1_000_000).seen.len() <= SAMPLED_MAX);
        assert!(of((0..1_000_000).map(|value| value / 2)).seen.is_empty());
    }
}
