//! The group member: which partitions are this worker's, as the broker's group coordinator has it.
//!
//! Owns: joining, heartbeats, who takes which partition when this member leads, offsets committed for people and tools.
//! Does not own: what is done with a partition, nor how far the lake is; a hand-over that comes late or never costs
//! work and no record.

mod status;

use std::{fmt, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};

pub use self::status::{GroupStatus, Rebalance};
use super::{Broker, BrokerError};

/// A holder that leaves so many turns lying works on nothing any more: the heartbeats wait for it, and the session ends.
const TURNS_WAITING_MAX: usize = 64;

/// How this worker takes part in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    pub name: String,
    /// Static membership: a restart under the same name within the session timeout moves no partition.
    pub instance: Option<String>,
    pub protocol: GroupProtocol,
    /// A member that is not heard of for so long has lost its partitions.
    pub session_timeout: Duration,
    pub heartbeat_every: Duration,
    /// How long a partition that is to move may take to commit what is in hand.
    pub handover_max: Duration,
}

/// Who hands out the partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupProtocol {
    /// The member that leads; every Kafka and Redpanda knows it.
    #[default]
    Classic,
    /// The broker itself (KIP-848), from Apache Kafka 4.0 on.
    Consumer,
}

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

/// What the group asks of a member.
#[derive(Debug)]
pub enum Turn {
    /// These are this member's from now on, besides those that it holds already.
    Assigned(Vec<TopicPartition>),
    /// These are to be given up.
    Revoked(Revocation),
    /// They may be somebody else's already: everything in hand is dropped at once.
    Lost { partitions: Vec<TopicPartition>, why: String },
}

/// Partitions that are to move. They are free when this is dropped.
#[derive(Debug)]
pub struct Revocation {
    pub partitions: Vec<TopicPartition>,
    /// The group waits no longer than that.
    pub by: Instant,
    given_up: DropGuard,
}

/// A member of a group. It ends, without leaving, when it is dropped.
#[derive(Debug)]
pub struct Member {
    turns: mpsc::Receiver<Result<Turn, BrokerError>>,
    status: watch::Receiver<Arc<GroupStatus>>,
    _task: Option<AbortOnDropHandle<()>>,
}

impl Broker {
    /// Joins the group, with all `topics` that this worker reads; a change of theirs is told to the group.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "it moves into the task")]
    pub fn join_group(&self, settings: GroupSettings, topics: watch::Receiver<Arc<[Arc<str>]>>) -> Member {
        let (_status, status) = watch::channel(Arc::new(GroupStatus::new(&settings)));
        let (turn, turns) = mpsc::channel(TURNS_WAITING_MAX);
        drop((turn, topics));
        Member { turns, status, _task: None }
    }
}

impl Member {
    /// The next thing that the group asks for. An error is one that only a person can mend; the rest is tried again.
    pub async fn next(&mut self) -> Result<Turn, BrokerError> {
        match self.turns.recv().await {
            Some(turn) => turn,
            // The task ends with an error, which has been told.
            None => std::future::pending().await,
        }
    }

    /// Notes how far a partition is in the lake, for people and tools: it is committed to the group before long.
    pub fn reached(&self, partition: TopicPartition, offset: i64) {
        drop((partition, offset));
    }

    #[must_use]
    pub fn status(&self) -> Arc<GroupStatus> {
        Arc::clone(&self.status.borrow())
    }

    /// Leaves at once, so that the others needn't wait for the session to end. A member with an instance name stays in
    /// the group, as it will be back, unless it is `for_good`.
    pub async fn leave(self, for_good: bool) {
        let _ = for_good;
        std::future::ready(()).await;
    }

    /// One that hands on what it is given, without a broker.
    #[cfg(test)]
    pub(crate) fn scripted(turns: mpsc::Receiver<Result<Turn, BrokerError>>) -> Self {
        let (_status, status) = watch::channel(Arc::new(GroupStatus::default()));
        Self { turns, status, _task: None }
    }
}

impl Revocation {
    /// The token is cancelled when the partitions are given up.
    #[cfg_attr(not(test), expect(dead_code, reason = "until the member hands them out"))]
    pub(crate) fn new(partitions: Vec<TopicPartition>, by: Instant) -> (Self, CancellationToken) {
        let token = CancellationToken::new();
        (Self { partitions, by, given_up: token.clone().drop_guard() }, token)
    }

    /// No lane of the partitions is open any more.
    pub fn done(self) {
        drop(self.given_up);
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl Serialize for TopicPartition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
