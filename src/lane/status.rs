//! Where a lane stands, for people: bars, log lines, summaries. Nothing is decided by it.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use serde::Serialize;
use tokio::sync::watch;

use crate::{
    lake::{Claim, Counts},
    record::ModelRef,
};

#[derive(Debug, Default)]
pub struct Status {
    /// Where this run began.
    began: AtomicI64,
    /// Up to where records are in a segment, committed or not.
    reached: AtomicI64,
    /// Up to where they are in the lake.
    position: AtomicI64,
    /// The partition's end when it was last asked.
    end: AtomicI64,
    fences: AtomicU64,
    opened: AtomicU64,
    tally: Mutex<Tally>,
    /// Of the newest claim that has one.
    model: Mutex<Option<ModelRef>>,
    /// The same position, for who waits for it.
    commits: watch::Sender<i64>,
}

/// What a run has committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    #[serde(flatten)]
    pub counts: Counts,
    pub segments: u64,
    pub files: u64,
    pub bytes: u64,
    pub fences: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.counts += other.counts;
        self.segments += other.segments;
        self.files += other.files;
        self.bytes += other.bytes;
        self.fences += other.fences;
    }
}

impl Status {
    pub(super) fn opened(&self, position: i64, end: i64) {
        if self.opened.fetch_add(1, Relaxed) == 0 {
            self.began.store(position, Relaxed);
        }
        self.position.store(position, Relaxed);
        self.reached.store(position, Relaxed);
        self.end.store(end, Relaxed);
        self.commits.send_replace(position);
    }

    pub(super) fn reached(&self, offset: i64) {
        self.reached.store(offset, Relaxed);
        self.end.fetch_max(offset, Relaxed);
    }

    pub(super) fn fenced(&self) {
        self.fences.fetch_add(1, Relaxed);
    }

    pub(super) fn committed(&self, claim: &Claim) {
        self.position.store(claim.end, Relaxed);
        self.commits.send_replace(claim.end);
        self.reached(claim.end);
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        *tally += Tally {
            counts: claim.counts,
            segments: 1,
            files: claim.files.len() as u64,
            bytes: claim.files.iter().map(|file| file.bytes).sum(),
            fences: 0,
        };
    }

    /// Notes which version scored the newest claim; gives back which scored the one before.
    pub(super) fn scored_by(&self, model: &ModelRef) -> Option<ModelRef> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner).replace(model.clone())
    }

    /// Whether the lane has found its place in the ledger since it was started.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.opened.load(Relaxed) > 0
    }

    /// Offsets worked through in this run.
    #[must_use]
    pub fn advanced(&self) -> u64 {
        self.reached.load(Relaxed).abs_diff(self.began.load(Relaxed))
    }

    /// Offsets that the broker has and the lake has not.
    #[must_use]
    pub fn lag(&self) -> u64 {
        u64::try_from(self.end.load(Relaxed) - self.position.load(Relaxed)).unwrap_or(0)
    }

    #[must_use]
    pub fn position(&self) -> i64 {
        self.position.load(Relaxed)
    }

    /// Wakes whoever follows this lane, as soon as its position has moved.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<i64> {
        self.commits.subscribe()
    }

    #[must_use]
    pub fn tally(&self) -> Tally {
        let tally = *self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        Tally { fences: self.fences.load(Relaxed), ..tally }
    }
}
