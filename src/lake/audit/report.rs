//! What the audit found.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::{BrokerOffsets, FAULTS_KEPT_MAX, Fault};
use crate::{
    lake::{Claim, Counts, Kind},
    offset::LaneId,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub dataset: String,
    pub verdict: Verdict,
    pub totals: Totals,
    pub partitions: Vec<PartitionReport>,
    /// What is worth knowing and no fault; at most a few a partition.
    pub notes: Vec<String>,
    pub faults: Faults,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Each offset is in exactly one place.
    Clean,
    Unclean,
}

/// One partition in one generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    pub generation: u32,
    pub partition: i32,
    /// `None` if the genesis could not be read.
    pub genesis: Option<i64>,
    /// One past the last offset that the walk reached.
    pub head: Option<i64>,
    pub claims: u64,
    pub gaps: u64,
    pub counts: Counts,
    /// At their final names.
    pub files: u64,
    pub bytes: u64,
    /// Deleted by policy, as notes in the ledger say.
    pub expired_files: u64,
    pub expired_rows: u64,
    /// To be deleted by policy, and there.
    pub expired_files_left: u64,
    /// Whether every file of the newest claim is at its final name.
    pub published: bool,
    /// Records that the broker holds and the lake doesn't; `None` if the broker wasn't asked.
    pub lag: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub offsets: u64,
    pub claims: u64,
    pub gaps: u64,
    pub counts: Counts,
    pub files: u64,
    pub bytes: u64,
    pub expired_files: u64,
    pub expired_rows: u64,
    pub lag: Option<u64>,
}

/// The first faults found, and how many there were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    pub found: u64,
    #[serde(serialize_with = "sentences")]
    pub named: Vec<Fault>,
}

impl Report {
    pub(super) fn new(dataset: &str) -> Self {
        Self {
            dataset: dataset.into(),
            verdict: Verdict::Unclean,
            totals: Totals::default(),
            partitions: vec![],
            notes: vec![],
            faults: Faults::default(),
        }
    }

    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.verdict == Verdict::Clean
    }

    /// Takes in what the broker holds, if that became known only now.
    pub fn hold_against(&mut self, broker: &BTreeMap<i32, BrokerOffsets>) {
        self.compare_with_broker(broker);
        self.settle();
    }

    /// Sets the newest generation beside what the broker holds.
    pub(super) fn compare_with_broker(&mut self, broker: &BTreeMap<i32, BrokerOffsets>) {
        let newest = self.partitions.iter().map(|partition| partition.generation).max();
        let mut unopened = broker.clone();
        for partition in self.partitions.iter_mut().filter(|partition| Some(partition.generation) == newest) {
            let Some(kept) = unopened.remove(&partition.partition) else { continue };
            let Some(head) = partition.head else { continue };
            let id = partition.lane(&self.dataset);
            partition.lag = Some(distance(head.max(kept.earliest), kept.latest));
            if head > kept.latest {
                self.faults.push(Fault::BeyondBroker { lane: id, head, latest: kept.latest });
            } else if head < kept.earliest {
                let lost = distance(head, kept.earliest);
                self.notes.push(format!("{id}: the broker deleted {lost} offsets before the lake had read them"));
            }
        }
        for (partition, kept) in unopened {
            let waiting = distance(kept.earliest, kept.latest);
            self.notes.push(format!(
                "partition {partition} is not in the lake yet: the broker holds {waiting} offsets of it"
            ));
        }
    }

    pub(super) fn settle(&mut self) {
        self.totals = self.partitions.iter().fold(Totals::default(), Totals::with);
        self.verdict = if self.faults.found == 0 { Verdict::Clean } else { Verdict::Unclean };
    }
}

fn distance(from: i64, to: i64) -> u64 {
    if from < to { from.abs_diff(to) } else { 0 }
}

impl PartitionReport {
    pub(super) fn new(id: &LaneId) -> Self {
        Self {
            generation: id.generation,
            partition: id.partition,
            genesis: None,
            head: None,
            claims: 0,
            gaps: 0,
            counts: Counts::default(),
            files: 0,
            bytes: 0,
            expired_files: 0,
            expired_rows: 0,
            expired_files_left: 0,
            published: true,
            lag: None,
        }
    }

    pub(super) fn lane(&self, dataset: &str) -> LaneId {
        LaneId { dataset: dataset.into(), generation: self.generation, partition: self.partition }
    }

    pub(super) fn begin(&mut self, genesis: i64) {
        self.genesis = Some(genesis);
        self.head = Some(genesis);
    }

    /// Takes in the next claim of the walk; counts that don't account for its range are left out.
    pub(super) fn reach(&mut self, claim: &Claim) {
        self.head = Some(claim.end);
        self.claims += 1;
        self.gaps += u64::from(matches!(claim.kind, Kind::Gap { .. }));
        if claim.counts.account_for(claim.range()) {
            self.counts = sum(self.counts, claim.counts);
        }
    }
}

impl Totals {
    fn with(self, partition: &PartitionReport) -> Self {
        let offsets = partition.genesis.zip(partition.head).map_or(0, |(genesis, head)| distance(genesis, head));
        Self {
            offsets: self.offsets.saturating_add(offsets),
            claims: self.claims + partition.claims,
            gaps: self.gaps + partition.gaps,
            counts: sum(self.counts, partition.counts),
            files: self.files + partition.files,
            bytes: self.bytes.saturating_add(partition.bytes),
            expired_files: self.expired_files + partition.expired_files,
            expired_rows: self.expired_rows.saturating_add(partition.expired_rows),
            lag: partition.lag.map(|lag| lag.saturating_add(self.lag.unwrap_or(0))).or(self.lag),
        }
    }
}

/// Never overflows: the numbers are what a claim says.
fn sum(a: Counts, b: Counts) -> Counts {
    Counts {
        records: a.records.saturating_add(b.records),
        scored: a.scored.saturating_add(b.scored),
        rejected: a.rejected.saturating_add(b.rejected),
        filtered: a.filtered.saturating_add(b.filtered),
        absent: a.absent.saturating_add(b.absent),
        further_rows: a.further_rows.saturating_add(b.further_rows),
    }
}

impl Faults {
    pub(super) fn push(&mut self, fault: Fault) {
        self.found += 1;
        if self.named.len() < FAULTS_KEPT_MAX {
            self.named.push(fault);
        }
    }

    /// How many were found and not named.
    #[must_use]
    pub fn unnamed(&self) -> u64 {
        self.found.saturating_sub(self.named.len() as u64)
    }
}

fn sentences<S: Serializer>(faults: &[Fault], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(faults.iter().map(ToString::to_string))
}
