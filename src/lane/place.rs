//! Where a lane goes on, and whether it may: the ledger beside what the broker has.
//!
//! Owns: the checks that a lane makes before it reads, law L10 among them. Does not own: what follows from them; the lane
//! stops, and the doctor tells why. Only reads.

use super::LaneError;
use crate::{
    broker::{BrokerError, Partition},
    lake::{Fingerprint, Genesis, Head},
    record::Record,
};

/// What the broker keeps of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub earliest: i64,
    /// The offset that the next record will get.
    pub latest: i64,
}

impl Extent {
    pub async fn of(partition: &Partition) -> Result<Self, BrokerError> {
        Ok(Self { earliest: partition.earliest().await?, latest: partition.latest().await? })
    }
}

/// The ledger must have been begun from this topic.
pub fn same_name(genesis: &Genesis, topic: &str) -> Result<(), LaneError> {
    if genesis.topic == topic {
        return Ok(());
    }
    Err(LaneError::OtherTopic { begun_from: genesis.topic.clone(), topic: topic.into() })
}

/// Law L10: what the newest claim saw last must still be there, or be gone with everything before it.
pub async fn same_topic_still(
    generation: u32,
    partition: &Partition,
    head: &Head,
    extent: Extent,
) -> Result<(), LaneError> {
    let recreated = |evidence| Err(LaneError::Recreated { evidence, generation });
    let Extent { earliest, latest } = extent;
    if head.position > latest {
        let position = head.position;
        return recreated(format!("the lake holds offsets up to {position} and the topic ends at {latest}"));
    }
    let Some(seen) = head.seen().filter(|seen| seen.offset >= earliest) else {
        return Ok(());
    };
    match still_at(partition, seen.offset).await? {
        Some(record) if Fingerprint::of(&record) != seen => {
            recreated(format!("offset {} holds another record than the one in the lake", seen.offset))
        }
        _ => Ok(()),
    }
}

/// The record at an offset that was read once, if it still can be: one that has become unreadable tells nothing of the
/// topic, and the lane that has its row needs it no more.
pub async fn still_at(partition: &Partition, offset: i64) -> Result<Option<Record>, BrokerError> {
    match partition.record_at(offset).await {
        Err(error) if error.unreadable() => {
            tracing::warn!(%error, "a record that the lake has can't be read any more, so nothing is compared with it");
            Ok(None)
        }
        found => found,
    }
}
