//! Where a lane goes on, and whether it may: the ledger beside what the broker has.
//!
//! Owns: the checks that a lane makes before it reads, law L10 among them. Does not own: what follows from them; the lane
//! stops, and the doctor tells why. Only reads.

use super::LaneError;
use crate::{
    broker::{BrokerError, Partition},
    lake::{Fingerprint, Genesis, Head},
};

/// What the broker keeps of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    pub earliest: i64,
    /// The offset that the next record will get.
    pub latest: i64,
}

impl Kept {
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
    kept: Kept,
) -> Result<(), LaneError> {
    let recreated = |evidence| Err(LaneError::Recreated { evidence, generation });
    let Head { position, newest } = head;
    let Kept { earliest, latest } = kept;
    if *position > latest {
        return recreated(format!("the lake holds offsets up to {position} and the topic ends at {latest}"));
    }
    let Some(seen) = newest.as_ref().and_then(|claim| claim.fingerprint).filter(|seen| seen.offset >= earliest) else {
        return Ok(());
    };
    match partition.record_at(seen.offset).await? {
        Some(record) if Fingerprint::of(&record) != seen => {
            recreated(format!("offset {} holds another record than the one in the lake", seen.offset))
        }
        _ => Ok(()),
    }
}
