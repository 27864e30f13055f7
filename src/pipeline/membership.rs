//! This worker in its group: what is to be handed over and by when, and what the group is told.
//!
//! Owns: hand-overs that are under way, and what a batch that has nothing to do waits for. Does not own: the lanes
//! ([`super::run`]), the protocol ([`crate::broker`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{AbortHandle, Id},
    time::Instant,
};

use super::{
    Pipeline,
    goals::{Goals, Standing, Watched},
    lanes::Held,
};
use crate::broker::{BrokerError, GroupSettings, GroupStatus, Member, Revocation, TopicPartition, Turn};

/// Partitions that a log line names.
const PLACES_SHOWN_MAX: usize = 12;

pub(super) struct Membership {
    member: Member,
    topics: watch::Sender<Arc<[Arc<str>]>>,
    /// What the group has handed over and not taken back.
    assigned: BTreeSet<TopicPartition>,
    handovers: Vec<Handover>,
    /// What a batch is to reach, and how far it is when this worker has nothing to do.
    goals: Goals,
    watched: Option<Watched>,
    /// What was seen last of the group and of the lake; neither has changed since.
    rebalances: (i32, u64),
    standing: Standing,
    quiet_since: Instant,
    /// After so long in vain a batch reads on what it holds: who is waited for may wait for that.
    patience: Duration,
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
            assigned: BTreeSet::new(),
            handovers: vec![],
            goals,
            watched: None,
            rebalances: (0, 0),
            standing: Standing::default(),
            quiet_since: Instant::now(),
            patience: settings.session_timeout,
        }
    }

    pub async fn next(&mut self) -> Result<Turn, BrokerError> {
        let turn = self.member.next().await;
        match &turn {
            Ok(Turn::Assigned(places)) => self.assigned.extend(places.iter().cloned()),
            Ok(Turn::Revoked(Revocation { partitions, .. }) | Turn::Lost { partitions, .. }) => {
                self.assigned.retain(|place| !partitions.contains(place));
            }
            Err(_) => {}
        }
        self.look_anew();
        turn
    }

    pub fn status(&mut self) -> Arc<GroupStatus> {
        let status = self.member.status();
        let rebalances = (status.generation, status.rebalances);
        if rebalances != self.rebalances {
            self.rebalances = rebalances;
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
    fn changed(&mut self) {
        self.quiet_since = Instant::now();
    }

    /// Where a batch stands that has nothing to do.
    pub fn look(&mut self, pipeline: &Pipeline) -> &Standing {
        let held = || self.assigned.iter().cloned().collect();
        let watched = self.watched.get_or_insert_with(|| self.goals.watch(pipeline, held(), self.patience));
        let standing = watched.standing();
        if standing != self.standing {
            self.standing = standing;
            self.changed();
        }
        &self.standing
    }

    /// What was seen is no longer of use: lanes run, or this worker has other partitions.
    pub fn look_anew(&mut self) {
        self.watched = None;
        self.changed();
    }

    /// How long neither the group nor the lake has changed.
    pub fn quiet_for(&self) -> Duration {
        self.quiet_since.elapsed()
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
