//! Where a run stands, as the page, `alluvium top` and `/status` show it.
//!
//! Owns: the shape of what is told. Does not own: finding it out, which is the pipeline's; showing it. Every list in it has
//! a limit, and what a list leaves out is counted beside it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Everything that is told of a run, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// `stream` or `batch`.
    pub mode: String,
    pub started_ms: i64,
    pub now_ms: i64,
    /// Whether every lane is open.
    pub ready: bool,
    /// What is in the way, a line each.
    pub not_ready: Vec<String>,
    pub totals: Totals,
    /// By name: fetch, decode, score, encode, stage, claim, publish.
    pub steps: BTreeMap<String, Step>,
    /// Of the files of a segment together.
    pub segment_bytes: Histogram,
    pub segment_rows: Histogram,
    pub memory: Memory,
    pub group: Option<Group>,
    /// Those that need a look first: stopped, then the furthest behind.
    pub partitions: Vec<Partition>,
    /// How many more there are.
    pub partitions_left_out: u64,
    /// Scored records by predicted class, in the order of the model's classes.
    pub classes: Vec<Class>,
    pub rejects: Vec<Rejects>,
    pub model: Option<Model>,
    /// The newest scored records that are in the lake, newest first.
    pub newest: Vec<Scored>,
    pub outlets: Vec<Outlet>,
    /// What happened lately, newest first.
    pub events: Vec<Event>,
}

/// Of this run and this worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    pub records: u64,
    pub scored: u64,
    pub rejected: u64,
    pub filtered: u64,
    pub gap_offsets: u64,
    pub segments: u64,
    pub files: u64,
    /// Of files in the lake.
    pub bytes: u64,
    pub fences: u64,
    pub retries: u64,
    /// Offsets worked through, whether they are committed or not.
    pub advanced: u64,
    pub lag_records: u64,
    /// Of the partition that is furthest behind: how old the oldest record is that is not in the lake.
    pub lag_seconds: Option<f64>,
    /// Of the partition that is furthest behind: how old the newest row is that a reader can see.
    pub freshness_seconds: Option<f64>,
    pub lanes: u64,
    pub lanes_open: u64,
    /// That failed, and will be tried again.
    pub lanes_waiting: u64,
    pub lanes_stopped: u64,
    pub lanes_ended: u64,
}

/// Time that one step of a record's journey has taken in this run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub times: u64,
    pub seconds: f64,
    /// The same by how long it took.
    pub took: Histogram,
}

/// Counts by size: how many are no larger than each bound and larger than the one before, and last those beyond all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    pub bounds: Vec<f64>,
    pub buckets: Vec<u64>,
    pub sum: f64,
}

impl Histogram {
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub used_bytes: u64,
    pub peak_bytes: u64,
    pub limit_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    pub generation: i32,
    pub joined: bool,
    /// That it has handed to this worker.
    pub partitions: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    pub topic: String,
    pub dataset: String,
    pub partition: i32,
    pub state: State,
    /// Why it waits or has stopped.
    pub trouble: Option<String>,
    /// Whether it has found its place in the ledger since it was started; what follows is known from then on.
    pub open: bool,
    /// Below it everything is in the lake.
    pub position: i64,
    pub end: i64,
    pub lag_records: u64,
    pub lag_seconds: Option<f64>,
    pub freshness_seconds: Option<f64>,
    pub scored: u64,
    pub rejected: u64,
    /// Of the records read within the last minute, or `stop_window`.
    pub rejected_share: Option<f64>,
    /// Name and version that scored its newest segment.
    pub model: Option<String>,
    pub model_version: Option<u32>,
    /// The first offset that this version has scored, if the model has changed in this run.
    pub model_changed_at: Option<i64>,
    pub outlets: Vec<OutletPlace>,
}

/// Where a lane stands. Those that need a look come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A person must mend it.
    Stopped,
    /// It failed, and will be tried again.
    Waiting,
    /// It has not found its place in the ledger yet.
    #[default]
    Opening,
    Running,
    /// It has done what it was to do.
    Ended,
}

impl State {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Ended => "ended",
        }
    }

    /// Whether nothing is in the way of it.
    #[must_use]
    pub fn is_well(self) -> bool {
        matches!(self, Self::Running | Self::Ended)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where an outlet stands in a partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutletPlace {
    pub name: String,
    /// Below it everything has arrived.
    pub position: i64,
    /// Offsets that are in the lake and have not been looked at.
    pub behind: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Class {
    pub name: String,
    pub records: u64,
    /// How sure the model was of them.
    pub confidence: Histogram,
    /// Of `records`, those of each dataset; of many datasets the later ones together.
    pub datasets: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rejects {
    pub reason: String,
    pub records: u64,
    /// The newest one.
    pub sample: Option<Sample>,
}

/// What comes from a record is text from strangers: cut to a length, and never more than text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub dataset: String,
    pub partition: i32,
    pub offset: i64,
    pub detail: String,
    pub value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub name: String,
    pub version: u32,
    /// The headline metrics of its report, as name and value, best known first.
    pub metrics: Vec<(String, f64)>,
    /// A command that holds it against what else there is.
    pub next: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    pub dataset: String,
    pub partition: i32,
    pub offset: i64,
    pub event_ms: i64,
    pub prediction: String,
    pub confidence: f32,
    /// The declared fields, as text, each cut to a length.
    pub fields: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outlet {
    pub name: String,
    pub to: String,
    pub sent: u64,
    pub behind: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub at_ms: i64,
    /// `commit`, `fence`, `retry`, `stop`, `gap`, `swap`, `group`, `outlet`, …
    pub kind: String,
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_the_same_name_in_json_and_everywhere_else() {
        for state in [State::Stopped, State::Waiting, State::Opening, State::Running, State::Ended] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
            assert_eq!(format!("{state:<8}").len(), 8);
        }
    }
}
