//! Which partitions are this worker's.
//!
//! Invariant: with a fixed share the answer depends on names and numbers alone, so that workers that know nothing of each
//! other agree, and a new topic or partition moves no other.

use crate::broker::GroupSettings;

/// How a topic's partitions are shared among workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// This worker reads them all.
    All,
    /// One of so many equal shares, from 1.
    Worker { index: u32, of: u32 },
    /// The group hands them out while the run goes on.
    Group(GroupSettings),
}

impl Sharing {
    /// Whether a partition is this worker's from the start. With `first_of` each topic's shares begin with another worker,
    /// so that topics of one partition do not all fall to the first.
    pub(super) fn has(&self, first_of: Option<&str>, partition: i32) -> bool {
        let Self::Worker { index, of } = self else { return matches!(self, Self::All) };
        let first = first_of.map_or(0, |topic| crc32c::crc32c(topic.as_bytes()));
        let at = u64::from(first) + u64::from(partition.unsigned_abs());
        at % u64::from(*of) == u64::from(*index) - 1
    }

    pub(super) fn group(&self) -> Option<&GroupSettings> {
        match self {
            Self::Group(settings) => Some(settings),
            Self::All | Self::Worker { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_shares_cover_every_partition_once_and_evenly() {
        for first_of in [None, Some("iris"), Some("payments.eu")] {
            for of in [1, 3, 5] {
                let mut counts = vec![];
                let mut taken = vec![0; 30];
                for index in 1..=of {
                    let share = Sharing::Worker { index, of };
                    let mine: Vec<_> = (0..30).filter(|&partition| share.has(first_of, partition)).collect();
                    for &partition in &mine {
                        taken[usize::try_from(partition).unwrap()] += 1;
                    }
                    counts.push(mine.len());
                }
                assert!(taken.iter().all(|&times| times == 1), "{first_of:?} {of}: {taken:?}");
                assert!(counts.iter().all(|&count| count == counts[0]), "{first_of:?} {of}: {counts:?}");
            }
        }
        assert!(Sharing::Worker { index: 2, of: 5 }.has(None, 1), "the second of one topic has partition 1");
    }
}
