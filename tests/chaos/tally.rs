//! What a campaign did and found, as figures.

use std::ops::AddAssign;

use serde::Serialize;

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
    /// From the start after a kill to the first new claim, in milliseconds.
    #[serde(skip)]
    pub recoveries_ms: Vec<u64>,
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
        self.recoveries_ms.extend(other.recoveries_ms);
    }
}

impl Tally {
    /// Of all recoveries, the one below which this share lies.
    pub fn recovery_ms(&self, percent: usize) -> Option<u64> {
        let mut sorted = self.recoveries_ms.clone();
        sorted.sort_unstable();
        sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
    }

    /// As lines for people.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let recovery = |percent| self.recovery_ms(percent).map_or_else(|| "-".into(), |ms| format!("{ms} ms"));
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
            ("recovery", format!("median {}, p99 {}, of {}", recovery(50), recovery(99), self.recoveries_ms.len())),
        ]
    }
}
