//! The law of offsets: half-open ranges of one partition, and the name of the lane they belong to.
//!
//! Owns: what a range is and how ranges follow one another. Does not own: where they are stored.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The offsets from `start` up to, and not including, `end`.
///
/// | range    | means                                    |
/// |----------|------------------------------------------|
/// | `[5, 9)` | offsets 5, 6, 7 and 8; a claim of 4      |
/// | `[9, 9)` | nothing; where the next claim will start |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OffsetRange {
    pub start: i64,
    pub end: i64,
}

impl OffsetRange {
    /// A range, unless it would run backwards or start below zero.
    #[must_use]
    pub fn new(start: i64, end: i64) -> Option<Self> {
        (0 <= start && start <= end).then_some(Self { start, end })
    }

    /// The empty range at `at`.
    #[must_use]
    pub const fn empty(at: i64) -> Self {
        Self { start: at, end: at }
    }

    #[must_use]
    pub fn len(self) -> u64 {
        self.start.abs_diff(self.end)
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    #[must_use]
    pub fn contains(self, offset: i64) -> bool {
        self.start <= offset && offset < self.end
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

/// What a lane, its ledger and its files are named after.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId {
    pub dataset: Arc<str>,
    pub generation: u32,
    pub partition: i32,
}

impl LaneId {
    /// `g0`, as it stands in folder names.
    #[must_use]
    pub fn generation_name(&self) -> String {
        format!("g{}", self.generation)
    }

    /// `p0003`, as it stands in folder names.
    #[must_use]
    pub fn partition_name(&self) -> String {
        format!("p{:04}", self.partition)
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/g{}/p{:04}", self.dataset, self.generation, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_never_runs_backwards_or_below_zero() {
        assert_eq!(OffsetRange::new(4, 3), None);
        assert_eq!(OffsetRange::new(-1, 3), None);
        assert_eq!(OffsetRange::new(3, 3), Some(OffsetRange::empty(3)));
    }

    #[test]
    fn a_range_holds_its_start_and_not_its_end() {
        let range = OffsetRange { start: 5, end: 9 };
        assert_eq!(range.len(), 4);
        assert!(range.contains(5) && range.contains(8));
        assert!(!range.contains(9) && !range.contains(4));
    }
}
