//! Where a member stands, for people. Nothing is decided by it but this: a batch that waits for others sees by it that its
//! group still moves.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{GroupProtocol, GroupSettings, TopicPartition};

/// What a member knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GroupStatus {
    pub group: String,
    pub protocol: GroupProtocol,
    pub instance: Option<String>,
    /// None while it is no member.
    pub member_id: Option<String>,
    /// The group's generation, or the member's epoch with the `consumer` protocol.
    pub generation: i32,
    /// This member hands out the partitions.
    pub leads: bool,
    pub assigned: Vec<TopicPartition>,
    /// How often this member was given its partitions anew, the first time among them.
    pub rebalances: u64,
    pub last_rebalance: Option<Rebalance>,
    /// Milliseconds in all between hearing of a rebalance and its result. Partitions that don't move are read all along.
    pub rebalancing_ms: u64,
    /// How often all was lost, as the group had given this member up.
    pub expelled: u64,
}

/// A rebalance that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rebalance {
    pub at: DateTime<Utc>,
    pub why: String,
    pub took_ms: u64,
    pub gained: Vec<TopicPartition>,
    pub given_up: Vec<TopicPartition>,
}

impl GroupStatus {
    pub(super) fn new(settings: &GroupSettings) -> Self {
        Self {
            group: settings.name.clone(),
            protocol: settings.protocol,
            instance: settings.instance.clone(),
            ..Self::default()
        }
    }
}
