//! From a seed to everything that a round decides beforehand.
//!
//! Owns: what happens, to whom, after how many records. Does not own: making it happen ([`super::round`]).

use std::{fmt, ops::RangeInclusive, str::FromStr};

use rand::{Rng, RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

/// More workers than that are never there at once.
pub const WORKERS_MAX: usize = 5;

/// Where the round's lake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Local,
    S3,
}

/// Who reads which partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Every worker all of them: they are rivals all the time.
    All,
    /// What the consumer group gives them.
    Group,
    /// Each worker a part that is fixed: `worker = "1/3"`.
    Worker,
}

/// A round's name says all that is needed to play it again: `local-1f`, `s3-2a`, `local-group-3b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    pub place: Place,
    pub share: Share,
    pub seed: u64,
}

#[derive(Debug)]
pub struct Plan {
    pub share: Share,
    /// How long the group waits for a member that says nothing.
    pub session_ms: u64,
    /// Members have names, so that a restart moves no partition.
    pub named_members: bool,
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
    /// `kill -9`, and nobody comes in its place until others have all its partitions.
    Fall {
        worker: usize,
    },
    /// SIGTERM, and the same.
    HandOver {
        worker: usize,
    },
    /// Another worker comes; if there are many already, one goes.
    Join {
        role: Role,
    },
    /// SIGTERM, and nobody comes in its place.
    Leave {
        worker: usize,
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
        let plan = Self {
            share: name.share,
            session_ms: 0,
            named_members: false,
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
        };
        match name.share {
            Share::All => plan,
            Share::Group => plan.of_a_group(dice),
            Share::Worker => plan.of_fixed_shares(),
        }
    }

    /// More to share, and more coming and going.
    fn of_a_group(self, dice: &mut impl Rng) -> Self {
        let records = dice.random_range(6_000..10_000);
        let session_ms = dice.random_range(1_500..3_000);
        let workers: Vec<_> = (0..dice.random_range(2..=4)).map(|_| role(dice)).collect();
        Self {
            session_ms,
            named_members: dice.random_ratio(1, 4),
            partitions: dice.random_range(3..=8),
            records,
            records_a_batch: 1..=dice.random_range(5..30),
            events: times(dice, 16..=26, records).into_iter().map(|at| group_event(dice, at, session_ms)).collect(),
            broker_keeps: dice.random_ratio(1, 4),
            workers,
            ..self
        }
        .without_broken_promises()
    }

    /// A broker that keeps nothing may stand still, but not die.
    fn without_broken_promises(mut self) -> Self {
        for event in &mut self.events {
            if let What::Broker { how: how @ BrokerFault::Killed, .. } = &mut event.what
                && !self.broker_keeps
            {
                *how = BrokerFault::Stopped;
            }
        }
        self
    }

    /// A share that nobody has would never be read.
    fn of_fixed_shares(mut self) -> Self {
        self.workers.resize(self.workers.len().max(2), Role::Stream);
        self
    }
}

impl Plan {
    /// Two rivals for a long time, with segments as they are in earnest, and nothing planned.
    pub fn soak(records: usize) -> Self {
        Self {
            share: Share::All,
            session_ms: 0,
            named_members: false,
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
    let at = times(dice, 4..=9, records);
    let event = |committed| Event { committed, moment: moment(dice), what: what(dice, place, workers) };
    at.into_iter().map(event).collect()
}

/// After how many records something happens.
fn times(dice: &mut impl Rng, count: RangeInclusive<usize>, records: usize) -> Vec<usize> {
    let mut at: Vec<_> = (0..dice.random_range(count)).map(|_| dice.random_range(0..records * 9 / 10)).collect();
    at.sort_unstable();
    at
}

fn group_event(dice: &mut impl Rng, committed: usize, session_ms: u64) -> Event {
    let moment = moment(dice);
    let worker = dice.random_range(0..WORKERS_MAX);
    let what = match dice.random_range(0..100) {
        0..22 => What::Join { role: role(dice) },
        22..40 => What::Leave { worker },
        40..54 => What::Fall { worker },
        54..66 => What::HandOver { worker },
        66..74 => What::Terminate { worker, down_ms: 0 },
        74..86 => {
            // Some wake up in time, the others as somebody that the group knows no more.
            let longer_ms = dice.random_range(session_ms / 2..session_ms * 2);
            What::Freeze { worker, others_commit: dice.random_range(0..200), longer_ms }
        }
        86..94 => {
            What::Broker { how: broker_fault(dice), for_ms: dice.random_range(100..2_000), kill: dice.random_bool(0.2) }
        }
        _ => what(dice, Place::Local, WORKERS_MAX),
    };
    Event { committed, moment, what }
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
        let share = match self.share {
            Share::All => "",
            Share::Group => "-group",
            Share::Worker => "-worker",
        };
        write!(f, "{}{share}-{:x}", self.place, self.seed)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` names no round; write it as it was printed, such as local-1f or s3-group-2a");
        let (kind, seed) = text.rsplit_once('-').ok_or_else(wrong)?;
        let (place, share) = kind.split_once('-').unwrap_or((kind, ""));
        let place = match place {
            "local" => Place::Local,
            "s3" => Place::S3,
            _ => return Err(wrong()),
        };
        let share = match share {
            "" => Share::All,
            "group" => Share::Group,
            "worker" => Share::Worker,
            _ => return Err(wrong()),
        };
        Ok(Self { place, share, seed: u64::from_str_radix(seed, 16).map_err(|_| wrong())? })
    }
}
