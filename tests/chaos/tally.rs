//! What a campaign did and found, as figures.

use std::{fmt, ops::AddAssign};

use anyhow::ensure;
use serde::Serialize;

/// A dead worker's records are visible that long after its session at the latest.
const BEYOND_SESSION_MS_MAX: u64 = 5_000;
/// A planned hand-over holds a partition up no longer.
const STALL_MS_MAX: u64 = 2_000;
/// The middle of fewer says nothing.
const JUDGED_MIN: usize = 100;

#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    pub rounds: u64,
    pub failed: u64,
    pub records: u64,
    pub kills: u64,
    pub zombies: u64,
    pub terms: u64,
    pub broker_outages: u64,
    pub store_outages: u64,
    /// Requests to the store that were failed.
    pub requests_failed: u64,
    pub fences: u64,
    /// Workers that could not start or go on in an outage, said so, and were started again.
    pub gave_up: u64,
    /// How often a reader looked at a lake while all went on.
    pub looks: u64,
    /// Generations that groups came to.
    pub rebalances: u64,
    /// What became of a partition whose worker was killed.
    #[serde(skip)]
    pub take_overs: Vec<TakeOver>,
    /// How long a partition stood still at most when its worker left, in milliseconds.
    #[serde(skip)]
    pub stalls_ms: Vec<u64>,
    /// From the start after a kill to the first new claim, in milliseconds.
    #[serde(skip)]
    pub recoveries_ms: Vec<u64>,
}

/// From a worker's death to the first claim of a partition of its by another.
#[derive(Clone, Copy, Debug)]
pub struct TakeOver {
    pub ms: u64,
    /// The group waits so long before it gives a member up.
    pub session_ms: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.failed += other.failed;
        self.records += other.records;
        self.kills += other.kills;
        self.zombies += other.zombies;
        self.terms += other.terms;
        self.broker_outages += other.broker_outages;
        self.store_outages += other.store_outages;
        self.requests_failed += other.requests_failed;
        self.fences += other.fences;
        self.gave_up += other.gave_up;
        self.looks += other.looks;
        self.rebalances += other.rebalances;
        self.take_overs.extend(other.take_overs);
        self.stalls_ms.extend(other.stalls_ms);
        self.recoveries_ms.extend(other.recoveries_ms);
    }
}

impl Tally {
    /// The times that are measured, by the names that the report gives them.
    pub fn times(&self) -> [(&'static str, Times); 4] {
        let beyond = |over: &TakeOver| over.ms.saturating_sub(over.session_ms);
        [
            ("recovery", Times::of(self.recoveries_ms.iter().copied())),
            ("take_over", Times::of(self.take_overs.iter().map(|over| over.ms))),
            ("take_over_beyond_session", Times::of(self.take_overs.iter().map(beyond))),
            ("stall", Times::of(self.stalls_ms.iter().copied())),
        ]
    }

    /// What is promised of hand-overs, in the middle of all that were seen.
    pub fn judge(&self) -> anyhow::Result<()> {
        let [_, _, (_, beyond), (_, stall)] = self.times();
        ensure!(beyond.keeps_to(BEYOND_SESSION_MS_MAX), "what the dead held waits beyond the session: {beyond}");
        ensure!(stall.keeps_to(STALL_MS_MAX), "partitions stand still when their worker leaves: {stall}");
        Ok(())
    }

    /// As lines for people.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let [(_, recovery), (_, take_over), (_, beyond), (_, stall)] = self.times();
        vec![
            ("rounds", self.rounds.to_string()),
            ("failed", self.failed.to_string()),
            ("records", self.records.to_string()),
            ("kill -9", self.kills.to_string()),
            ("zombies", self.zombies.to_string()),
            ("SIGTERM", self.terms.to_string()),
            ("broker outages", self.broker_outages.to_string()),
            ("store outages", format!("{}, {} requests failed", self.store_outages, self.requests_failed)),
            ("fences", self.fences.to_string()),
            ("restarted in outages", self.gave_up.to_string()),
            ("readers' looks", self.looks.to_string()),
            ("rebalances", self.rebalances.to_string()),
            ("recovery", recovery.to_string()),
            ("after a death", take_over.to_string()),
            ("  beyond the session", beyond.to_string()),
            ("stall at a hand-over", stall.to_string()),
        ]
    }
}

/// Milliseconds, over all that were measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Times {
    pub count: usize,
    pub median_ms: Option<u64>,
    pub p99_ms: Option<u64>,
    pub longest_ms: Option<u64>,
}

impl Times {
    fn of(all: impl Iterator<Item = u64>) -> Self {
        let mut sorted: Vec<_> = all.collect();
        sorted.sort_unstable();
        let at =
            |percent: usize| sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied();
        Self { count: sorted.len(), median_ms: at(50), p99_ms: at(99), longest_ms: at(100) }
    }

    fn keeps_to(&self, ms_max: u64) -> bool {
        self.count < JUDGED_MIN || self.median_ms.is_none_or(|median_ms| median_ms <= ms_max)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p99, longest] = [self.median_ms, self.p99_ms, self.longest_ms]
            .map(|ms| ms.map_or_else(|| "-".into(), |ms| format!("{ms} ms")));
        write!(f, "median {median}, p99 {p99}, at most {longest}, of {}", self.count)
    }
}
