//! From a seed to everything that a round decides beforehand.
//!
//! Owns: what happens, to whom, after how many records. Does not own: making it happen ([`super::round`]).

use std::{fmt, ops::RangeInclusive, str::FromStr};

use rand::{Rng, RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

/// Where the round's lake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Local,
    S3,
}

/// A round's name says all that is needed to play it again: `local-1f`, `s3-2a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    pub place: Place,
    pub seed: u64,
}

#[derive(Debug)]
pub struct Plan {
    pub partitions: i32,
    pub workers: Vec<Role>,
    pub records: usize,
    /// The producer keeps so far ahead of the next event.
    pub lead: usize,
    pub records_a_batch: RangeInclusive<usize>,
    /// One record in so many is bad.
    pub bad_one_in: u32,
    /// Over how many hours of event time the records are spread.
    pub hours: i64,
    pub roll_rows: usize,
    pub roll_age_ms: u64,
    pub segment_hours: usize,
    pub events: Vec<Event>,
    pub ending: Ending,
    pub fetch_wait_ms: u64,
    /// Keeps its records in a file, and so outlives a kill; but its file storage slows down with every record.
    pub broker_keeps: bool,
    /// DuckDB reads all the while, too.
    pub duckdb_watches: bool,
}

/// What a worker runs, whenever it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Stream,
    Batch,
}

/// Something that happens once so many records are committed.
#[derive(Clone, Debug)]
pub struct Event {
    pub committed: usize,
    pub moment: Moment,
    pub what: What,
}

#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// So many milliseconds later.
    Later(u64),
    /// When the next claim appears, and to whoever made it: its files are on their way to their names.
    AtClaim,
}

#[derive(Clone, Debug)]
pub enum What {
    /// `kill -9`, perhaps again soon after the restart.
    Kill {
        worker: usize,
        down_ms: u64,
        again_after_ms: Option<u64>,
    },
    KillAll {
        down_ms: u64,
    },
    /// SIGTERM: it commits what it has in hand and exits 0.
    Terminate {
        worker: usize,
        down_ms: u64,
    },
    /// SIGSTOP until others have committed so many records, and a while longer; then SIGCONT.
    Freeze {
        worker: usize,
        others_commit: usize,
        longer_ms: u64,
    },
    /// In the midst of an outage, everyone may be killed as well.
    Broker {
        how: BrokerFault,
        for_ms: u64,
        kill: bool,
    },
    Store {
        how: StoreFault,
        for_ms: u64,
        kill: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum BrokerFault {
    Killed,
    Stopped,
    /// Each connection is reset after so many bytes of answers.
    CutAfter(usize),
    /// Answers get lost on the way.
    Swallowed,
}

#[derive(Clone, Copy, Debug)]
pub struct StoreFault {
    pub kind: StoreFaultKind,
    /// The request does its work, and only its answer is spoilt.
    pub after_effect: bool,
    /// One request in so many.
    pub one_in: u32,
}

#[derive(Clone, Copy, Debug)]
pub enum StoreFaultKind {
    Status(u16),
    Reset,
    /// An answer that never comes.
    Silence,
}

/// How the workers end when the load is over.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    Kill,
    Terminate,
}

impl Plan {
    pub fn of(name: Name) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(name.seed);
        let dice = &mut dice;
        let workers: Vec<_> = (0..dice.random_range(1..=3)).map(|_| role(dice)).collect();
        let records = dice.random_range(1_000..3_500);
        let roll_rows = dice.random_range(50..600);
        Self {
            partitions: dice.random_range(1..=6),
            records,
            lead: dice.random_range(200..900),
            records_a_batch: 1..=dice.random_range(5..120),
            bad_one_in: *[3, 10, 40].choose(dice).unwrap_or(&10),
            hours: dice.random_range(1..=8),
            roll_rows,
            roll_age_ms: dice.random_range(100..400),
            segment_hours: dice.random_range(1..=8),
            events: events(dice, name.place, workers.len(), records),
            ending: if dice.random_bool(0.5) { Ending::Kill } else { Ending::Terminate },
            fetch_wait_ms: 10,
            broker_keeps: true,
            duckdb_watches: name.place == Place::Local && dice.random_ratio(1, 8),
            workers,
        }
    }
}

impl Plan {
    /// Two rivals for a long time, with segments as they are in earnest, and nothing planned.
    pub fn soak(records: usize) -> Self {
        Self {
            partitions: 4,
            workers: vec![Role::Stream; 2],
            records,
            lead: 0,
            records_a_batch: 1..=100,
            bad_one_in: 20,
            hours: 24,
            roll_rows: 10_000,
            roll_age_ms: 2_000,
            segment_hours: 24,
            events: vec![],
            ending: Ending::Terminate,
            fetch_wait_ms: 100,
            broker_keeps: false,
            duckdb_watches: false,
        }
    }
}

fn role(dice: &mut impl Rng) -> Role {
    if dice.random_ratio(1, 6) { Role::Batch } else { Role::Stream }
}

fn events(dice: &mut impl Rng, place: Place, workers: usize, records: usize) -> Vec<Event> {
    let mut at: Vec<_> = (0..dice.random_range(4..=9)).map(|_| dice.random_range(0..records * 9 / 10)).collect();
    at.sort_unstable();
    let event = |committed| Event { committed, moment: moment(dice), what: what(dice, place, workers) };
    at.into_iter().map(event).collect()
}

fn moment(dice: &mut impl Rng) -> Moment {
    if dice.random_ratio(1, 3) { Moment::AtClaim } else { Moment::Later(dice.random_range(0..40)) }
}

fn what(dice: &mut impl Rng, place: Place, workers: usize) -> What {
    let worker = dice.random_range(0..workers);
    let down_ms = if dice.random_bool(0.6) { 0 } else { dice.random_range(0..250) };
    let for_ms = dice.random_range(100..1_200);
    let kill = dice.random_bool(0.4);
    match dice.random_range(0..100) {
        0..40 => {
            let again_after_ms = dice.random_ratio(1, 3).then(|| dice.random_range(0..150));
            What::Kill { worker, down_ms, again_after_ms }
        }
        40..52 => What::KillAll { down_ms },
        52..60 => What::Terminate { worker, down_ms },
        60..76 => {
            let others_commit = dice.random_range(50..600);
            let longer_ms = if dice.random_ratio(1, 4) { dice.random_range(1_000..1_600) } else { 0 };
            What::Freeze { worker, others_commit, longer_ms }
        }
        76..92 if place == Place::S3 => What::Store { how: store_fault(dice), for_ms: for_ms * 3 / 2, kill },
        _ => What::Broker { how: broker_fault(dice), for_ms, kill },
    }
}

fn broker_fault(dice: &mut impl Rng) -> BrokerFault {
    match dice.random_range(0..4) {
        0 => BrokerFault::Killed,
        1 => BrokerFault::Stopped,
        2 => BrokerFault::CutAfter(dice.random_range(1..20_000)),
        _ => BrokerFault::Swallowed,
    }
}

fn store_fault(dice: &mut impl Rng) -> StoreFault {
    let kind = match dice.random_range(0..4) {
        0 => StoreFaultKind::Status(500),
        1 => StoreFaultKind::Status(503),
        2 => StoreFaultKind::Reset,
        _ => StoreFaultKind::Silence,
    };
    StoreFault { kind, after_effect: dice.random_bool(0.6), one_in: *[1, 1, 2, 4].choose(dice).unwrap_or(&1) }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::S3 => "s3",
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.place, self.seed)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` names no round; write it as it was printed, such as local-1f or s3-2a");
        let (place, seed) = text.split_once('-').ok_or_else(wrong)?;
        let place = match place {
            "local" => Place::Local,
            "s3" => Place::S3,
            _ => return Err(wrong()),
        };
        Ok(Self { place, seed: u64::from_str_radix(seed, 16).map_err(|_| wrong())? })
    }
}
