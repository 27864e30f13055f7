//! What is in the lake, handed on to other programs: to a topic of the broker, to a table of PostgreSQL.
//!
//! An outlet follows the ledger, claim by claim, from a position of its own, and reads the rows from the lake's files. So
//! nothing is sent that is not committed; an outage of the target stops nothing else; and catching up is the same code.
//! What replays make rows of later goes out revision by revision (`revisions`).
//!
//! Owns: what is sent of a claim, and in which order. Does not own: when a follower is started, tried again or stopped
//! ([`crate::pipeline`]). Invariant: a position says that all below it has arrived.

mod avro;
mod condition;
mod error;
mod follow;
mod letter;
mod message;
mod position;
mod postgres;
mod revisions;
mod topic;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use tokio::sync::Semaphore;

pub use self::{
    condition::{Condition, Known, Misread},
    error::OutletError,
    follow::{Follower, Order, run},
    message::ResultFormat,
    position::Mark,
    postgres::{PostgresSettings, Table, TableName, check_url},
    revisions::hand_on,
    topic::{Topic, TopicName},
};
pub use crate::secret::Secret;
use crate::{
    lake::{FileKind, Genesis, Ledger, Store},
    offset::LaneId,
};

/// Claims of one outlet that are on their way at once, whoever's; each may hold a segment's row groups in memory.
const CLAIMS_ON_THEIR_WAY_MAX: usize = 4;

/// What a pipeline file says of outlets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutletSettings {
    pub results: Option<ResultsSettings>,
    pub rejected: Option<RejectedSettings>,
    pub postgres: Option<PostgresSettings>,
}

impl Eq for OutletSettings {}

impl OutletSettings {
    #[must_use]
    pub fn are_any(&self) -> bool {
        self.results.is_some() || self.rejected.is_some() || self.postgres.is_some()
    }
}

/// `[results]`
#[derive(Clone, Debug, PartialEq)]
pub struct ResultsSettings {
    pub topic: TopicName,
    pub format: ResultFormat,
    /// Only these rows.
    pub condition: Option<Condition>,
}

/// `[rejected]`, as far as it is about a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedSettings {
    pub topic: TopicName,
}

/// One place that rows are handed on to.
pub struct Outlet {
    /// `results`, `rejected` or `postgres`.
    pub name: &'static str,
    kind: FileKind,
    target: Target,
    store: Store,
    gate: Semaphore,
    sent: AtomicU64,
    skipped: AtomicU64,
}

#[derive(Debug)]
pub enum Target {
    Topic(Box<Topic>),
    Table(Box<Table>),
}

/// What an outlet has done in this run.
#[derive(Clone, Debug, serde::Serialize)]
pub struct OutletTally {
    pub outlet: &'static str,
    pub to: String,
    /// Rows or records that have arrived.
    pub sent: u64,
    /// Rows of files that an expiry deleted before they could be sent.
    pub expired: u64,
    /// Offsets that are in the lake and have not been looked at, of partitions that this run had last.
    pub behind: u64,
}

/// Up to where all has arrived, for people.
#[derive(Debug, Default)]
pub struct Arrived {
    position: AtomicI64,
}

impl Arrived {
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position.load(Relaxed)
    }

    fn reached(&self, position: i64) {
        self.position.store(position, Relaxed);
    }
}

impl Outlet {
    #[must_use]
    pub fn new(name: &'static str, kind: FileKind, target: Target, store: Store) -> Self {
        let gate = Semaphore::new(CLAIMS_ON_THEIR_WAY_MAX);
        Self { name, kind, target, store, gate, sent: AtomicU64::new(0), skipped: AtomicU64::new(0) }
    }

    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What it would do with a topic and its dataset, if it were asked to; changes nothing.
    pub async fn look(&self, topic: &str, dataset: &str) -> Result<String, OutletError> {
        match &self.target {
            Target::Topic(to) => to.look(topic).await,
            Target::Table(to) => to.look(dataset).await,
        }
    }

    /// Rows or records that have arrived.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// `behind` is the callers' to know, and whose rows they were, if one source's alone.
    #[must_use]
    pub fn tally(&self, behind: u64, source: Option<(&str, &str)>) -> OutletTally {
        let (sent, expired) = (self.sent(), self.skipped.load(Relaxed));
        let to = source.map_or_else(|| self.target.to_string(), |(topic, dataset)| self.target.of(topic, dataset));
        OutletTally { outlet: self.name, to, sent, expired, behind }
    }
}

impl Target {
    /// Where what comes from that topic and its dataset goes.
    #[must_use]
    pub fn of(&self, topic: &str, dataset: &str) -> String {
        self.to_string().replace(topic::TOPIC, topic).replace(postgres::DATASET, dataset)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => topic.fmt(f),
            Self::Table(table) => table.fmt(f),
        }
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outlet({} to {})", self.name, self.target)
    }
}

/// Whose rows they are.
#[derive(Clone, Debug)]
pub struct Source {
    pub id: LaneId,
    pub topic: Arc<str>,
    /// Of the partition's genesis: another lake's dataset of the same name has another.
    pub begun_by: String,
    pub genesis: i64,
    /// What made rows of them, if not the claim: a claim's start, and the number of one of its revisions.
    pub revision: Option<(i64, u32)>,
}

impl Source {
    fn of(ledger: &Ledger, topic: &Arc<str>, genesis: &Genesis) -> Self {
        Self {
            id: ledger.id().clone(),
            topic: topic.clone(),
            begun_by: genesis.writer.clone(),
            genesis: genesis.start,
            revision: None,
        }
    }
}
