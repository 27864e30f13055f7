//! The group member: which partitions are this worker's, as the broker's group coordinator has it.
//!
//! Owns: joining, heartbeats, who takes which partition when this member leads, offsets committed for people and tools.
//! Does not own: what is done with a partition, nor how far the lake is; a hand-over that comes late or never costs
//! work and no record.

mod assign;
mod classic;
pub(in crate::broker) mod codec;
mod consumer;
mod coordinator;
mod describe;
mod members;
pub(in crate::broker) mod messages;
mod offsets;
mod seat;
mod status;
mod subscription;
mod topics;
mod trouble;

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};

use self::{
    classic::Classic,
    consumer::Consumer,
    coordinator::Coordinator,
    seat::{Outlets, Reached, Seat},
    trouble::Trouble,
};
pub use self::{
    describe::{GroupSeen, PeerSeen},
    status::{GroupStatus, Rebalance},
};
use super::{Broker, BrokerError, cause::Cause, error::Place};

/// A holder that leaves so many turns lying works on nothing any more: the heartbeats wait for it, and the session ends.
const TURNS_WAITING_MAX: usize = 64;
/// A coordinator that takes longer to hear of it finds out by itself.
const LEAVE_MAX: Duration = Duration::from_secs(5);

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
    reached: Arc<Reached>,
    /// Says to leave, and whether for good.
    leave: Option<oneshot::Sender<bool>>,
    task: AbortOnDropHandle<()>,
    /// The task has ended, and it was told how.
    over: bool,
}

impl Broker {
    /// Joins the group, with all `topics` that this worker reads; a change of theirs is told to the group.
    #[must_use]
    pub fn join_group(&self, settings: GroupSettings, topics: watch::Receiver<Arc<[Arc<str>]>>) -> Member {
        let (status, seen) = watch::channel(Arc::new(GroupStatus::new(&settings)));
        let (turns, taken) = mpsc::channel(TURNS_WAITING_MAX);
        let (leave, told_to_leave) = oneshot::channel();
        let reached = Arc::new(Reached::default());
        let coordinator = Coordinator::new(Arc::clone(&self.link), settings.name.clone());
        let outlets = Outlets { turns, status, reached: Arc::clone(&reached) };
        let attendance = Attendance::new(Seat::new(settings, topics, outlets), coordinator);
        let task = tokio::spawn(attendance.go(told_to_leave));
        Member {
            turns: taken,
            status: seen,
            reached,
            leave: Some(leave),
            task: AbortOnDropHandle::new(task),
            over: false,
        }
    }
}

/// A member at work, by either protocol.
enum Attendance {
    Classic(Classic),
    Consumer(Consumer),
}

impl Attendance {
    fn new(seat: Seat, coordinator: Coordinator) -> Self {
        match seat.settings.protocol {
            GroupProtocol::Classic => Self::Classic(Classic::new(seat, coordinator)),
            GroupProtocol::Consumer => Self::Consumer(Consumer::new(seat, coordinator)),
        }
    }

    /// Takes part until it is told to leave, or can't.
    async fn go(mut self, told_to_leave: oneshot::Receiver<bool>) {
        let outcome = tokio::select! {
            // Where nobody is left to tell it, the task is about to be aborted.
            Ok(for_good) = told_to_leave => Ok(for_good),
            Err(cause) = self.run() => Err(cause),
        };
        match outcome {
            Ok(for_good) => {
                if let Err(trouble) = self.leave(for_good).await {
                    tracing::info!(?trouble, "the group was not told; it will notice when the session ends");
                }
            }
            Err(cause) => self.seat().fail(cause).await,
        }
    }

    async fn run(&mut self) -> Result<Infallible, Cause> {
        match self {
            Self::Classic(member) => member.run().await,
            Self::Consumer(member) => member.run().await,
        }
    }

    async fn leave(&mut self, for_good: bool) -> Result<(), Trouble> {
        match self {
            Self::Classic(member) => member.leave(for_good).await,
            Self::Consumer(member) => member.leave(for_good).await,
        }
    }

    fn seat(&mut self) -> &mut Seat {
        match self {
            Self::Classic(member) => &mut member.seat,
            Self::Consumer(member) => &mut member.seat,
        }
    }
}

impl Member {
    /// The next thing that the group asks for. An error is one that only a person can mend; the rest is tried again.
    pub async fn next(&mut self) -> Result<Turn, BrokerError> {
        if let Some(turn) = self.turns.recv().await {
            return turn;
        }
        if !std::mem::replace(&mut self.over, true)
            && let Err(panic) = (&mut self.task).await
        {
            let cause = Cause::person(format!("the member ended abnormally: {panic}"), "start the worker again");
            return Err(cause.at("take part in the group", Place::default()));
        }
        // It has ended with an error, which was told.
        std::future::pending().await
    }

    /// Notes how far a partition is in the lake, for people and tools: it is committed to the group before long.
    pub fn reached(&self, partition: TopicPartition, offset: i64) {
        self.reached.note(partition, offset);
    }

    #[must_use]
    pub fn status(&self) -> Arc<GroupStatus> {
        Arc::clone(&self.status.borrow())
    }

    /// Leaves at once, so that the others needn't wait for the session to end. A member with an instance name stays in
    /// the group, as it will be back, unless it is `for_good`.
    pub async fn leave(mut self, for_good: bool) {
        let told = self.leave.take().map(|leave| leave.send(for_good));
        if !self.over && told.is_some_and(|told| told.is_ok()) && timeout(LEAVE_MAX, &mut self.task).await.is_err() {
            tracing::info!("the group was not told in time; it will notice when the session ends");
        }
    }

    /// One that hands on what it is given, without a broker.
    #[cfg(test)]
    pub(crate) fn scripted(turns: mpsc::Receiver<Result<Turn, BrokerError>>) -> Self {
        let (_status, status) = watch::channel(Arc::new(GroupStatus::default()));
        let task = AbortOnDropHandle::new(tokio::spawn(async {}));
        Self { turns, status, reached: Arc::default(), leave: None, task, over: false }
    }
}

impl Revocation {
    /// The token is cancelled when the partitions are given up.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_member_that_broke_says_so_once_and_has_no_more_to_say() {
        let (turns, taken) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let _turns = turns;
            panic!("it broke");
        });
        let mut member = Member { task: AbortOnDropHandle::new(task), ..Member::scripted(taken) };
        let told = member.next().await.unwrap_err().to_string();
        assert!(told.contains("ended abnormally"), "{told}");
        assert!(timeout(Duration::from_millis(50), member.next()).await.is_err());
        member.leave(true).await;
    }
}
