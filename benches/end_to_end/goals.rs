//! The rows of the table: what each figure must be, and what it aims at.

use alluvium::telemetry::progress::{bytes, count};
use serde::Serialize;

const MIB: f64 = 1024.0 * 1024.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    RecordsPerSecond,
    CpuSecondsPerMillion,
    Bytes,
    Ratio,
    Seconds,
}

/// A bound on a figure.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    pub name: &'static str,
    unit: Unit,
    must: f64,
    aim: f64,
    better: Better,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

use Better::{Less, More};

const fn goal(name: &'static str, unit: Unit, better: Better, must: f64, aim: f64) -> Goal {
    Goal { name, unit, must, aim, better }
}

pub const SPEED: Goal = goal("records a second, committed", Unit::RecordsPerSecond, More, 2e6, 3e6);
pub const SHARE: Goal = goal("share of the bare fetch loop", Unit::Ratio, More, 0.40, 0.60);
pub const CPU: Goal = goal("CPU seconds a million records", Unit::CpuSecondsPerMillion, Less, 0.8, 0.5);
pub const MEMORY: Goal = goal("peak resident memory", Unit::Bytes, Less, 512.0 * MIB, 256.0 * MIB);
pub const GROWTH: Goal = goal("CPU per record, large over small run", Unit::Ratio, Less, 1.1, 1.0);
pub const PARTITIONS: Goal = goal("CPU per record, many over few partitions", Unit::Ratio, Less, 1.3, 1.1);
pub const FRESHNESS: Goal = goal("age of the newest visible row, p99", Unit::Seconds, Less, 3.0, 2.5);
pub const START: Goal = goal("start to exit with a long ledger", Unit::Seconds, Less, 1.0, 0.2);
pub const START_UNHINTED: Goal = goal("the same without its hints", Unit::Seconds, Less, 1.0, 0.2);

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    name: &'static str,
    value: f64,
    unit: Unit,
    must: f64,
    aim: f64,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// The aim too.
    AimMet,
    Met,
    Missed,
}

impl Goal {
    pub fn held_against(self, value: f64) -> Figure {
        let Self { name, unit, must, aim, .. } = self;
        let verdict = match () {
            () if self.reaches(value, aim) => Verdict::AimMet,
            () if self.reaches(value, must) => Verdict::Met,
            () => Verdict::Missed,
        };
        Figure { name, value, unit, must, aim, verdict }
    }

    fn reaches(self, value: f64, bound: f64) -> bool {
        match self.better {
            More => value >= bound,
            Less => value <= bound,
        }
    }
}

impl Figure {
    pub fn print_head() {
        println!("{:42} {:>12} {:>12} {:>12}  verdict", "figure", "measured", "must", "aim");
    }

    pub fn print(&self) {
        let Self { name, value, unit, must, aim, verdict } = self;
        let verdict = match verdict {
            Verdict::AimMet => "met, and the aim",
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
        };
        let [value, must, aim] = [value, must, aim].map(|figure| unit.told(*figure));
        println!("{name:42} {value:>12} {must:>12} {aim:>12}  {verdict}");
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
impl Unit {
    pub fn told(self, value: f64) -> String {
        match self {
            Self::RecordsPerSecond => count(value as u64),
            Self::CpuSecondsPerMillion | Self::Ratio => format!("{value:.2}"),
            Self::Bytes => bytes(value as u64),
            Self::Seconds => format!("{value:.2} s"),
        }
    }
}
