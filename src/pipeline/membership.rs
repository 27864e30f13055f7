//! This worker in its group: what is to be handed over and by when, and what the group is told.
//!
//! Owns: hand-overs that are under way, and how long a batch stays. Does not own: the lanes ([`super::run`]), the protocol
//! ([`crate::broker`]).

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{AbortHandle, Id},
    time::Instant,
};

use super::{
    Pipeline,
    goals::{Goals, Watched},
    lanes::Held,
};
use crate::broker::{BrokerError, GroupSettings, GroupStatus, Member, Revocation, TopicPartition, Turn};

/// Heartbeats after a session's end by which a member hears that a partition is its own now.
const HEARTBEATS_MORE: u32 = 3;
/// Partitions that a log line names.
const PLACES_SHOWN_MAX: usize = 12;

pub(super) struct Membership {
    member: Member,
    topics: watch::Sender<Arc<[Arc<str>]>>,
    handovers: Vec<Handover>,
    /// What a batch is to reach, and how far it is when this worker has nothing to do.
    goals: Goals,
    watched: Option<Watched>,
    /// The group has answered.
    joined: bool,
    rebalances: (i32, u64),
    /// Nothing has changed for this worker since.
    quiet_since: Instant,
    /// How long a batch stays that has nothing to do.
    stay: Duration,
}

/// Partitions that are to be given up, while their lanes close.
struct Handover {
    revocation: Revocation,
    closing: BTreeMap<TopicPartition, AbortHandle>,
    dropped: bool,
}

impl Membership {
    pub fn new(settings: &GroupSettings, topics: watch::Sender<Arc<[Arc<str>]>>, member: Member, goals: Goals) -> Self {
        Self {
            member,
            topics,
            handovers: vec![],
            goals,
            watched: None,
            joined: false,
            rebalances: (0, 0),
            quiet_since: Instant::now(),
            stay: settings.session_timeout + settings.heartbeat_every * HEARTBEATS_MORE,
        }
    }

    pub async fn next(&mut self) -> Result<Turn, BrokerError> {
        let turn = self.member.next().await;
        self.joined = true;
        turn
    }

    pub fn status(&mut self) -> Arc<GroupStatus> {
        let status = self.member.status();
        let rebalances = (status.generation, status.rebalances);
        if rebalances != self.rebalances {
            self.rebalances = rebalances;
            self.joined |= status.rebalances > 0;
            self.changed();
        }
        status
    }

    /// The topics that this worker reads are others now.
    pub fn read(&self, topics: Arc<[Arc<str>]>) {
        self.topics.send_if_modified(|before| {
            let other = *before != topics;
            *before = topics;
            other
        });
    }

    pub fn reached(&self, held: &mut Held) {
        let position = held.status.position();
        if held.status.is_open() && held.told != Some(position) {
            held.told = Some(position);
            self.member.reached(held.place.clone(), position);
        }
    }

    pub fn hand_over(&mut self, revocation: Revocation, closing: BTreeMap<TopicPartition, AbortHandle>) {
        self.handovers.push(Handover { revocation, closing, dropped: false });
        self.finish_handovers();
    }

    /// A lane's task has ended.
    pub fn closed(&mut self, task: Id) {
        for handover in &mut self.handovers {
            handover.closing.retain(|_, closing| closing.id() != task);
        }
        self.finish_handovers();
        self.changed();
    }

    fn finish_handovers(&mut self) {
        for done in self.handovers.extract_if(.., |handover| handover.closing.is_empty()) {
            done.revocation.done();
        }
    }

    /// When a hand-over is no longer waited for.
    pub fn due(&self) -> Option<Instant> {
        self.handovers.iter().filter(|handover| !handover.dropped).map(|handover| handover.revocation.by).min()
    }

    pub fn drop_overdue(&mut self, now: Instant) {
        for handover in self.handovers.iter_mut().filter(|handover| !handover.dropped && handover.revocation.by <= now)
        {
            let places: Vec<_> = handover.closing.keys().cloned().collect();
            tracing::warn!(
                partitions = %some(&places),
                "not committed within `handover`: dropped, and read again by the next owner"
            );
            handover.closing.values().for_each(AbortHandle::abort);
            handover.dropped = true;
        }
    }

    /// What this worker has is another now, or the group is.
    pub fn changed(&mut self) {
        self.quiet_since = Instant::now();
    }

    /// Whether a batch that has nothing to do may end: all is in the lake, or what is not has a living owner. Who was
    /// dead when this worker had done its part has lost its session by now, and its partitions would have come here or to
    /// somebody else who lives.
    pub fn nothing_comes(&mut self, pipeline: &Pipeline) -> bool {
        let watched = self.watched.get_or_insert_with(|| self.goals.watch(pipeline));
        watched.unfinished() == 0 || (self.joined && self.quiet_since.elapsed() >= self.stay)
    }

    /// While lanes run there is no need to look what others do.
    pub fn is_busy(&mut self) {
        self.watched = None;
    }

    /// Partitions that are not where this batch would have them.
    pub fn unfinished(&self) -> usize {
        self.watched.as_ref().map_or(0, Watched::unfinished)
    }

    pub async fn leave(self, for_good: bool) {
        self.member.leave(for_good).await;
    }
}

/// Some of them, on one line.
pub(super) fn some(places: &[TopicPartition]) -> impl fmt::Display {
    let shown: Vec<_> = places.iter().take(PLACES_SHOWN_MAX).map(ToString::to_string).collect();
    let more = places.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
