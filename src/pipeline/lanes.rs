//! The lanes that a run has, and had.
//!
//! Owns: their tasks' handles, and the sums over them. Does not own: when one is opened or closed ([`super::run`]).

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use tokio::task::{AbortHandle, Id};
use tokio_util::sync::CancellationToken;

use super::Progress;
use crate::{
    broker::TopicPartition,
    lane::{Status, Tally},
    offset::LaneId,
    outlet,
};

/// By the lane's task: a partition that comes back has another.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    held: HashMap<Id, Held>,
    /// Of lanes that were given up.
    gone: Tally,
    gone_advanced: u64,
    ever: BTreeSet<LaneId>,
    /// Of all topics, whoever has them.
    pub partitions: usize,
    /// The broker has said which there are.
    pub begun: bool,
}

/// A lane of this worker's, running or ended by itself.
#[derive(Debug)]
pub(super) struct Held {
    pub id: LaneId,
    pub place: TopicPartition,
    pub until: Option<i64>,
    pub status: Arc<Status>,
    /// Where the followers of its outlets stand, by the outlets' names.
    pub outlets: Vec<(&'static str, Arc<outlet::Arrived>)>,
    pub stop: CancellationToken,
    pub task: AbortHandle,
    /// It is to end with its task, and is this worker's no more.
    pub leaving: bool,
    /// The position that the group knows of.
    pub told: Option<i64>,
}

impl Held {
    /// Offsets that are to be brought to the lake and are not there; of what a batch leaves to the next, nothing.
    pub fn lag(&self) -> u64 {
        let end = self.until.map_or(self.status.end(), |until| until.min(self.status.end()));
        u64::try_from(end - self.status.position()).unwrap_or(0)
    }
}

impl Lanes {
    pub fn add(&mut self, held: Held) {
        self.ever.insert(held.id.clone());
        self.held.insert(held.task.id(), held);
    }

    /// Every lane that is this worker's.
    pub fn staying(&mut self) -> impl Iterator<Item = &mut Held> {
        self.held.values_mut().filter(|held| !held.leaving)
    }

    /// The same, to look at.
    pub fn all(&self) -> impl Iterator<Item = &Held> {
        self.held.values().filter(|held| !held.leaving)
    }

    pub fn of(&mut self, place: &TopicPartition) -> Option<&mut Held> {
        self.staying().find(|held| held.place == *place)
    }

    /// The same of several partitions, and those that are being given up.
    pub fn all_of(&mut self, places: &[TopicPartition]) -> impl Iterator<Item = &mut Held> {
        self.held.values_mut().filter(|held| places.contains(&held.place))
    }

    pub fn has(&self, id: &LaneId) -> bool {
        self.held.values().any(|held| !held.leaving && held.id == *id)
    }

    pub fn get(&mut self, task: Id) -> Option<&mut Held> {
        self.held.get_mut(&task)
    }

    /// A lane's task has ended. What it did stays known.
    pub fn ended(&mut self, task: Id) {
        if self.held.get(&task).is_some_and(|held| held.leaving) {
            self.forget(task);
        }
    }

    /// Leaves what it did in the sums.
    pub fn forget(&mut self, task: Id) {
        if let Some(held) = self.held.remove(&task) {
            self.gone += held.status.tally();
            self.gone_advanced += held.status.advanced();
        }
    }

    pub fn ever(&self) -> usize {
        self.ever.len()
    }

    /// Offsets that lanes with an end have not reached.
    pub fn remaining(&self) -> u64 {
        let remaining = |held: &Held| held.until.map_or(0, |until| (until - held.status.position()).max(0));
        self.held.values().map(|held| remaining(held).unsigned_abs()).sum()
    }

    pub fn progress(&self) -> Progress {
        let gone = Progress {
            tally: self.gone,
            advanced: self.gone_advanced,
            partitions: self.partitions,
            ..Progress::default()
        };
        self.held.values().fold(gone, |mut sum, held| {
            sum.advanced += held.status.advanced();
            sum.tally += held.status.tally();
            if !held.leaving {
                sum.lag += held.lag();
                sum.lanes += 1;
                sum.lanes_open += usize::from(held.status.is_open());
            }
            sum
        })
    }
}
