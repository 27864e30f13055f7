//! Where a lane stands, for people: bars, log lines, summaries. Nothing is decided by it.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use serde::Serialize;
use tokio::sync::watch;

use crate::{
    lake::{Claim, Counts, Kind},
    record::ModelRef,
    telemetry::status::State,
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
    /// How often it has begun to read.
    carried: AtomicU64,
    standing: Mutex<Standing>,
    times: Mutex<Times>,
    /// Of the rejects lately, as the bits of a float; nought while nothing has been read.
    rejected_share: AtomicU64,
    tally: Mutex<Tally>,
    /// Of the newest claim that has one.
    model: Mutex<Option<ModelRef>>,
    changed_at: Mutex<Option<i64>>,
    /// The same position, for who waits for it.
    commits: watch::Sender<i64>,
}

/// Whether a lane is on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has not found its place in the ledger yet.
    #[default]
    Opening,
    Running,
    /// It failed, and will be tried again.
    Waiting(String),
    /// It failed, and a person must mend it.
    Stopped(String),
    /// It has done what it was to do.
    Ended,
}

impl Standing {
    /// The same without why.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Self::Opening => State::Opening,
            Self::Running => State::Running,
            Self::Waiting(_) => State::Waiting,
            Self::Stopped(_) => State::Stopped,
            Self::Ended => State::Ended,
        }
    }

    /// Why it is not on its way.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::Waiting(why) | Self::Stopped(why) => Some(why),
            Self::Opening | Self::Running | Self::Ended => None,
        }
    }
}

/// When records were written to the broker, in milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The newest that is in the lake.
    pub newest_ms: Option<i64>,
    /// The oldest that is in hand, and not in the lake.
    pub in_hand_ms: Option<i64>,
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
    /// Offsets that were gone before they were read.
    #[serde(skip)]
    pub gap_offsets: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.counts += other.counts;
        self.segments += other.segments;
        self.files += other.files;
        self.bytes += other.bytes;
        self.fences += other.fences;
        self.gap_offsets += other.gap_offsets;
    }
}

impl Status {
    pub(super) fn opened(&self, position: i64, end: i64, newest_ms: Option<i64>) {
        if self.opened.fetch_add(1, Relaxed) == 0 {
            self.began.store(position, Relaxed);
        }
        *lock(&self.times) = Times { newest_ms, in_hand_ms: None };
        self.stands(Standing::Running);
        self.position.store(position, Relaxed);
        self.reached.store(position, Relaxed);
        self.end.store(end, Relaxed);
        self.commits.send_replace(position);
    }

    pub(super) fn reached(&self, offset: i64) {
        self.reached.store(offset, Relaxed);
        self.end.fetch_max(offset, Relaxed);
    }

    /// The lane reads on from its place in the ledger.
    pub(super) fn carries(&self) {
        if self.carried.fetch_add(1, Relaxed) > 0 {
            metrics::counter!("alluvium_lane_restarts_total").increment(1);
        }
    }

    /// Where the partition ends, by the answer to a fetch.
    pub(super) fn ends_at(&self, end: i64) {
        self.end.fetch_max(end, Relaxed);
    }

    /// The first record of a segment is in hand.
    pub(super) fn begun(&self, timestamp_ms: Option<i64>) {
        lock(&self.times).in_hand_ms = timestamp_ms;
    }

    pub(super) fn rejects(&self, share: f64) {
        self.rejected_share.store(share.to_bits(), Relaxed);
    }

    /// Whoever keeps the lane going says so.
    pub fn stands(&self, standing: Standing) {
        *lock(&self.standing) = standing;
    }

    pub(super) fn fenced(&self) {
        self.fences.fetch_add(1, Relaxed);
    }

    pub(super) fn committed(&self, claim: &Claim) {
        self.position.store(claim.end, Relaxed);
        self.commits.send_replace(claim.end);
        self.reached(claim.end);
        let newest_ms = claim.fingerprint.map(|fingerprint| fingerprint.timestamp_ms);
        *lock(&self.times) = Times { newest_ms, in_hand_ms: None };
        *lock(&self.tally) += Tally {
            counts: claim.counts,
            segments: 1,
            files: claim.files.len() as u64,
            bytes: claim.files.iter().map(|file| file.bytes).sum(),
            fences: 0,
            gap_offsets: if matches!(claim.kind, Kind::Gap { .. }) { claim.range().len() } else { 0 },
        };
    }

    /// Notes which version scored the newest claim; gives back which scored the one before.
    pub(super) fn scored_by(&self, model: &ModelRef) -> Option<ModelRef> {
        lock(&self.model).replace(model.clone())
    }

    /// The first offset that the version of now has scored, once the model has changed.
    pub(super) fn changed_at(&self, offset: i64) {
        *lock(&self.changed_at) = Some(offset);
    }

    #[must_use]
    pub fn model(&self) -> Option<ModelRef> {
        lock(&self.model).clone()
    }

    #[must_use]
    pub fn model_changed_at(&self) -> Option<i64> {
        *lock(&self.changed_at)
    }

    #[must_use]
    pub fn standing(&self) -> Standing {
        lock(&self.standing).clone()
    }

    #[must_use]
    pub fn times(&self) -> Times {
        *lock(&self.times)
    }

    /// Of the records read lately, how many were rejects.
    #[must_use]
    pub fn rejected_share(&self) -> f64 {
        f64::from_bits(self.rejected_share.load(Relaxed))
    }

    /// Where the partition ended when the broker was last asked.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.end.load(Relaxed)
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
        let tally = *lock(&self.tally);
        Tally { fences: self.fences.load(Relaxed), ..tally }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
