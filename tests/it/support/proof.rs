//! What is promised, what may come between, and which test shows that the promise held all the same.
//!
//! A test that shows something begins with [`Proof::of`]. `docs/guarantees.md` is made by reading these calls from the
//! sources, so each is written out literally, but for the lists that have a name in [`LISTS`]. A proof that did not check what it declares fails its test.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex},
};

use alluvium::{lake::FileKind, record::Record};
use object_store::ObjectStore;
use serde::Deserialize;

use super::{
    lake::{Standing, binaries, numbers, places, rows_of, standing},
    stage::DATASET,
};

/// The columns of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    L1,
    L2,
    L3,
    L4,
    L5,
    L6,
    L7,
    L8,
    L9,
    L10,
    NoneLost,
    NoneDoubled,
    NoneEarly,
    RejectsExact,
    BatchIsStream,
    MemoryInBudget,
    StopsInTime,
    Resumes,
    R1,
    R2,
    R3,
    R4,
    R5,
}

impl Promise {
    pub const ALL: [(Self, &'static str, &'static str); 23] = [
        (Self::L1, "L1", "there is at most one claim for a start offset, by its name"),
        (Self::L2, "L2", "claims lead from genesis to the head with no gap and no overlap"),
        (Self::L3, "L3", "offsets without a record are claimed too, and counted"),
        (Self::L4, "L4", "a claim is never changed and never deleted"),
        (Self::L5, "L5", "a reader sees no offset twice and nothing that is gone later"),
        (Self::L6, "L6", "a writer that lost a claim goes on from the head and corrupts nothing"),
        (Self::L7, "L7", "a claim whose answer was lost is settled by reading it back"),
        (Self::L8, "L8", "nothing outside the ledger is believed, the hint neither"),
        (Self::L9, "L9", "a store that does not honour conditional creation is refused at the start"),
        (
            Self::L10,
            "L10",
            "a topic that was re-created or truncated stops the lane; nothing is skipped, nothing read again",
        ),
        (Self::NoneLost, "lost", "no record is missing"),
        (Self::NoneDoubled, "doubled", "no record is there twice"),
        (Self::NoneEarly, "early", "no row is visible before its claim"),
        (Self::RejectsExact, "rejects", "every record that could not be scored is kept, byte for byte"),
        (Self::BatchIsStream, "batch", "a batch over the same offsets gives the same rows"),
        (Self::MemoryInBudget, "memory", "what lanes hold stays within the budget"),
        (Self::StopsInTime, "stops", "told to stop, it ends within its limit"),
        (Self::Resumes, "resumes", "the next start goes on by itself"),
        (Self::R1, "R1", "a replay makes a revision beside the claim, once; neither is ever changed"),
        (Self::R2, "R2", "a claim's revisions follow each other, each made of what the one before it left"),
        (Self::R3, "R3", "what was rejected and passes now becomes a row once, visible only after its revision"),
        (Self::R4, "R4", "while rejects are replayed, every record is in a file that readers see"),
        (Self::R5, "R5", "a replay run again changes nothing"),
    ];
}

/// A row of the matrix.
#[derive(Debug)]
pub struct Circumstance {
    pub name: &'static str,
    /// What it could break; a promise in this list that no test shows stands in the page as missing.
    pub bears_on: &'static [Promise],
}

use Promise::{
    BatchIsStream, L1, L2, L3, L4, L5, L6, L7, L8, L9, L10, MemoryInBudget, NoneDoubled, NoneEarly, NoneLost, R1, R2,
    R3, R4, R5, RejectsExact, Resumes, StopsInTime,
};

const fn circumstance(name: &'static str, bears_on: &'static [Promise]) -> Circumstance {
    Circumstance { name, bears_on }
}

/// What a crash may break where segments are made up for the purpose, and no record is decoded.
pub const OF_THE_LEDGER: &[Promise] = &[L1, L2, L4, L5, L6, L7, L8, NoneLost, NoneDoubled, NoneEarly];
/// What a crash of the whole program may break.
pub const OF_A_CRASH: &[Promise] =
    &[L1, L2, L4, L5, NoneLost, NoneDoubled, NoneEarly, RejectsExact, BatchIsStream, Resumes];
/// What a store or a broker in trouble may break.
pub const OF_TROUBLE: &[Promise] = &[L1, L2, L4, L5, NoneLost, NoneDoubled, NoneEarly, RejectsExact, Resumes];

/// What a worker that others overtook may break.
pub const OF_RIVALS: &[Promise] = &[L1, L2, L4, L5, L6, NoneLost, NoneDoubled, NoneEarly, RejectsExact];
/// What a worker may break that stood still meanwhile.
pub const OF_A_FREEZE: &[Promise] = &[L1, L2, L4, L5, L6, NoneLost, NoneDoubled, NoneEarly, RejectsExact, Resumes];

/// What a replay of rejects may break, whatever comes between.
pub const OF_A_REPLAY: &[Promise] = &[L1, L2, L4, NoneLost, NoneDoubled, RejectsExact, Resumes, R1, R2, R3, R4, R5];
/// Of the rows that an outlet hands on to a table.
pub const OF_A_TABLE: &[Promise] = &[NoneLost, NoneDoubled, Resumes];

/// Of what goes to a topic, at least once.
pub const OF_A_TOPIC: &[Promise] = &[NoneLost, Resumes];
/// Of what several programs do at once, or comes in another shape.
pub const OF_ROWS: &[Promise] = &[NoneLost, NoneDoubled];

/// By the names that proofs may use instead of a list.
pub const LISTS: [(&str, &[Promise]); 9] = [
    ("OF_THE_LEDGER", OF_THE_LEDGER),
    ("OF_A_CRASH", OF_A_CRASH),
    ("OF_TROUBLE", OF_TROUBLE),
    ("OF_RIVALS", OF_RIVALS),
    ("OF_A_FREEZE", OF_A_FREEZE),
    ("OF_A_REPLAY", OF_A_REPLAY),
    ("OF_A_TABLE", OF_A_TABLE),
    ("OF_A_TOPIC", OF_A_TOPIC),
    ("OF_ROWS", OF_ROWS),
];

/// The rows, in the page's order.
pub const CIRCUMSTANCES: &[Circumstance] = &[
    circumstance(
        "nothing in particular",
        &[
            L1,
            L2,
            L3,
            L4,
            L5,
            L8,
            NoneLost,
            NoneDoubled,
            NoneEarly,
            RejectsExact,
            BatchIsStream,
            MemoryInBudget,
            StopsInTime,
            Resumes,
        ],
    ),
    circumstance("a cut at every call: memory", OF_THE_LEDGER),
    circumstance("a cut at every call: memory, publishing by copy and delete", OF_THE_LEDGER),
    circumstance("a cut at every call: local folder", OF_THE_LEDGER),
    circumstance("a cut at every request: S3", OF_THE_LEDGER),
    circumstance("a cut in the middle of an upload: S3", &[L1, L2, L5, NoneLost, NoneDoubled, NoneEarly]),
    circumstance(
        "simulated histories: crashes, lost answers, delays, rivals, retention",
        &[L1, L2, L3, L4, L5, L6, L7, L8, NoneLost, NoneDoubled, NoneEarly],
    ),
    circumstance("kill -9 at every step: local folder", OF_A_CRASH),
    circumstance("kill -9 at every step: S3", OF_A_CRASH),
    circumstance("kill -9 at any moment", &[L1, L2, L4, L5, NoneLost, NoneDoubled, NoneEarly, Resumes]),
    circumstance("SIGTERM, SIGINT, and twice", &[NoneLost, NoneDoubled, StopsInTime, Resumes]),
    circumstance("frozen at every step while another takes over: local folder", OF_A_FREEZE),
    circumstance("frozen at every step while another takes over: S3", OF_A_FREEZE),
    circumstance("two workers on the same partitions", OF_RIVALS),
    circumstance("five workers on the same partitions", OF_RIVALS),
    circumstance("workers of a group join, leave, die and are replaced one by one: embedded broker", OF_TROUBLE),
    circumstance("workers of a group join, leave, die and are replaced one by one: Apache Kafka", OF_TROUBLE),
    circumstance("a rebalance at every step of a commit", OF_TROUBLE),
    circumstance("a member of a group is frozen past its session", OF_TROUBLE),
    circumstance("two groups on one dataset", OF_RIVALS),
    circumstance("workers with fixed shares", &[L1, L2, NoneLost, NoneDoubled, RejectsExact]),
    circumstance("a batch shared by a group", &[L1, L2, NoneLost, NoneDoubled, RejectsExact]),
    circumstance("a replay, and nothing in particular", OF_A_REPLAY),
    circumstance("a replay is cut at every call: memory", OF_A_REPLAY),
    circumstance("a replay is cut at every call: memory, publishing by copy and delete", OF_A_REPLAY),
    circumstance("a replay is cut at every call: local folder", OF_A_REPLAY),
    circumstance("a replay is killed at every step: local folder", OF_A_REPLAY),
    circumstance("a replay is killed at every step: S3", OF_A_REPLAY),
    circumstance("a replay is frozen at every step while another does its work: local folder", OF_A_REPLAY),
    circumstance("a replay is frozen at every step while another does its work: S3", OF_A_REPLAY),
    circumstance("replays, repairs and crashes in any order", OF_A_REPLAY),
    circumstance("a replay beside an expiry", &[L4, NoneDoubled, R1, R2]),
    circumstance("a replay beside a stream", OF_A_REPLAY),
    circumstance("DuckDB reads all the while", &[L5, NoneDoubled]),
    circumstance("many partitions, little memory", &[L2, NoneLost, NoneDoubled, MemoryInBudget]),
    circumstance("the store lets several writers win", &[L9]),
    circumstance(
        "the store fails before or after the effect: 500, 503, 409, 412",
        &[L1, L2, L4, L5, L7, NoneLost, NoneDoubled, NoneEarly, RejectsExact, Resumes],
    ),
    circumstance("the store never answers", &[L1, L2, L5, L7, NoneLost, NoneDoubled, NoneEarly, StopsInTime, Resumes]),
    circumstance("the store resets the connection, a body half sent", OF_TROUBLE),
    circumstance("the store's answer is cut short", OF_TROUBLE),
    circumstance(
        "the store is out for a while",
        &[L1, L2, L4, L5, NoneLost, NoneDoubled, NoneEarly, MemoryInBudget, StopsInTime, Resumes],
    ),
    circumstance("the store in any trouble, at random", OF_TROUBLE),
    circumstance("a request lands when its writer is long gone: S3", OF_A_FREEZE),
    circumstance("the disk is full", OF_TROUBLE),
    circumstance("the folder is moved away, and put back", OF_TROUBLE),
    circumstance(
        "the folder's path has spaces, letters of all kinds and a link in it",
        &[L1, L2, NoneLost, NoneDoubled, RejectsExact, BatchIsStream, Resumes],
    ),
    circumstance("the folder is read-only", OF_TROUBLE),
    circumstance("credentials expire", &[L1, L2, NoneLost, NoneDoubled, Resumes]),
    circumstance("a listing in pages", &[L1, L2, L8, NoneLost, NoneDoubled]),
    circumstance("the broker is killed and restarted", OF_TROUBLE),
    circumstance("the broker is paused", &[L1, L2, NoneLost, NoneDoubled, StopsInTime, Resumes]),
    circumstance("the broker's connection breaks inside a frame", &[L1, L2, L3, NoneLost, NoneDoubled, Resumes]),
    circumstance("the leader moves, a broker is lost", OF_TROUBLE),
    circumstance("the group's coordinator moves", OF_TROUBLE),
    circumstance("the group's coordinator is restarted", OF_TROUBLE),
    circumstance("workers join and leave a group 50 times in a minute", OF_TROUBLE),
    circumstance("the topic is deleted", &[L2, L10, NoneLost, NoneDoubled]),
    circumstance("the topic is re-created with fewer records", &[L2, L10, NoneLost, NoneDoubled]),
    circumstance("the topic is re-created with more records", &[L2, L10, NoneLost, NoneDoubled]),
    circumstance("retention overtakes the reader", &[L1, L2, L3, NoneLost, NoneDoubled, Resumes]),
    circumstance("log compaction", &[L1, L2, L3, NoneLost, NoneDoubled]),
    circumstance("transactions, committed and aborted", &[L2, L3, NoneLost, NoneDoubled]),
    circumstance("headers without a value", &[L2, NoneLost, NoneDoubled]),
    circumstance("records of 10 MB", &[L2, NoneLost, NoneDoubled, RejectsExact, MemoryInBudget]),
    circumstance("hostile bytes", &[L2, NoneLost, NoneDoubled, RejectsExact, MemoryInBudget]),
    circumstance(
        "foreign producers: every compression, keys, headers, timestamps",
        &[L2, NoneLost, NoneDoubled, RejectsExact],
    ),
    circumstance("a table of PostgreSQL: kill -9 at every step", OF_A_TABLE),
    circumstance("a table of PostgreSQL: frozen at every step while another takes over", OF_A_TABLE),
    circumstance("a table of PostgreSQL: the server crashes, and is out", OF_A_TABLE),
    circumstance("topics of results and rejects: kill -9 around every kept position", OF_A_TOPIC),
    circumstance("topics of results: the broker is killed and restarted", OF_A_TOPIC),
    circumstance("topics of results: workers of a group leave and die", OF_A_TOPIC),
    circumstance("what a replay made rows of is handed on: kill -9 at every step", OF_A_TABLE),
    circumstance("what a replay made rows of is handed on by two at once", OF_ROWS),
    circumstance("the schema registry is out for a while", OF_A_TABLE),
    circumstance("records that are filtered, in segments of several hours", OF_ROWS),
];

/// One test's part in the matrix.
#[derive(Debug)]
pub struct Proof {
    circumstance: &'static str,
    declared: &'static [Promise],
    shown: Mutex<BTreeSet<Promise>>,
}

impl Proof {
    #[track_caller]
    pub fn of(circumstance: &'static str, declared: &'static [Promise]) -> Self {
        let known = CIRCUMSTANCES.iter().find(|known| known.name == circumstance);
        let known = known.unwrap_or_else(|| panic!("`{circumstance}` is no row of the matrix"));
        for promise in declared {
            assert!(known.bears_on.contains(promise), "`{circumstance}` is not said to bear on {promise:?}");
        }
        Self { circumstance, declared, shown: Mutex::default() }
    }

    /// The test can't run here, which has been said.
    pub fn left_out(mut self) {
        self.declared = &[];
    }

    /// For what the test has just asserted by itself.
    pub fn shown(&self, promises: &[Promise]) {
        self.shown.lock().unwrap().extend(promises);
    }

    /// The lake of the stage's dataset holds exactly what was sent: ledger, files, rows, and the product's own audit.
    pub async fn lake(&self, objects: &Arc<dyn ObjectStore>, sent: &Sent) {
        self.lake_of(objects, DATASET, 0, sent).await;
    }

    pub async fn lake_of(&self, objects: &Arc<dyn ObjectStore>, dataset: &str, generation: u32, sent: &Sent) {
        let standing = standing(objects, dataset, generation).await;
        let scored = rows_of(objects, FileKind::Scored, dataset, generation).await;
        let rejected = rows_of(objects, FileKind::Rejected, dataset, generation).await;
        let mut landed = BTreeMap::new();
        let mut land = |place, fate| {
            let before = landed.insert(place, fate);
            assert!(before.is_none(), "{place:?} is there twice: {before:?} and {:?}", landed[&place]);
        };
        for rows in &scored {
            places(rows).into_iter().zip(numbers(rows, "id")).for_each(|(place, id)| land(place, Fate::Scored(id)));
        }
        for rows in &rejected {
            let values = binaries(rows, "_value");
            places(rows).into_iter().zip(values).for_each(|(place, value)| land(place, Fate::Rejected(value)));
        }
        self.shown(&[NoneDoubled]);
        sent.assert_landed(&landed);
        self.shown(&[NoneLost]);
        if landed.values().any(|fate| matches!(fate, Fate::Rejected(_))) {
            self.shown(&[RejectsExact]);
        }
        self.ledger(&standing, &landed);
        assert_eq!(standing.visible, standing.named(), "what is visible, and what claims name");
        let report = alluvium::lake::audit::audit(objects, dataset, &BTreeMap::default(), |_| {}).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
    }

    fn ledger(&self, standing: &Standing, landed: &BTreeMap<(i32, i64), Fate>) {
        standing.assert_named_by_start();
        standing.assert_tiled();
        standing.assert_revisions_follow();
        self.shown(&[L1, L2]);
        if standing.assert_absent_is_counted(landed.keys().copied()) > 0 {
            self.shown(&[L3]);
        }
    }

    /// The rows of two lakes are the same, but for the files that they are in.
    pub async fn same_rows(&self, one: &Arc<dyn ObjectStore>, other: &Arc<dyn ObjectStore>) {
        for kind in [FileKind::Scored, FileKind::Rejected] {
            let (one, other) =
                (super::lake::rows(one, kind, DATASET).await, super::lake::rows(other, kind, DATASET).await);
            assert!(one == other, "the {kind} rows differ");
        }
        self.shown(&[BatchIsStream]);
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let shown = self.shown.lock().unwrap();
            let unshown: Vec<_> = self.declared.iter().filter(|promise| !shown.contains(promise)).collect();
            assert!(unshown.is_empty(), "`{}`: declared, and never checked: {unshown:?}", self.circumstance);
        }
    }
}

/// What became of a record, or is to become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// By its `id`.
    Scored(i64),
    Rejected(Option<Vec<u8>>),
}

impl Fate {
    /// A record of the stage's is scored if it is a whole flower.
    pub fn of(record: &Record) -> Self {
        #[derive(Deserialize)]
        struct Flower {
            id: i64,
            #[serde(flatten)]
            measures: BTreeMap<String, f64>,
        }
        let value = record.value.as_deref().unwrap_or_default();
        match serde_json::from_slice::<Flower>(value) {
            Ok(flower) if flower.measures.len() == 4 => Self::Scored(flower.id),
            _ => Self::Rejected(record.value.clone()),
        }
    }
}

/// What was sent, as the one who sent it wrote it down: by partition and offset.
#[derive(Clone, Debug, Default)]
pub struct Sent(BTreeMap<(i32, i64), Fate>);

impl Sent {
    /// Records that follow those of the partition sent before.
    pub fn add(&mut self, partition: i32, records: impl IntoIterator<Item = impl Borrow<Record>>) {
        let last = self.0.range((partition, i64::MIN)..=(partition, i64::MAX)).next_back();
        let next = last.map_or(0, |((_, offset), _)| offset + 1);
        for (offset, record) in (next..).zip(records) {
            self.at(partition, offset, record.borrow());
        }
    }

    pub fn at(&mut self, partition: i32, offset: i64, record: &Record) {
        let before = self.0.insert((partition, offset), Fate::of(record));
        assert!(before.is_none(), "offset {offset} of partition {partition} is sent once");
    }

    /// The broker deleted these before anyone read them.
    pub fn gone(&mut self, partition: i32, offsets: std::ops::Range<i64>) {
        self.0.retain(|(of, offset), _| *of != partition || !offsets.contains(offset));
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn scored(&self) -> usize {
        self.0.values().filter(|fate| matches!(fate, Fate::Scored(_))).count()
    }

    fn assert_landed(&self, landed: &BTreeMap<(i32, i64), Fate>) {
        let (lost, extra) = (missing_in(&self.0, landed), missing_in(landed, &self.0));
        assert!(lost.is_empty() && extra.is_empty(), "lost: {lost:?}…; never sent: {extra:?}…");
        let other = self.0.iter().find(|(place, fate)| landed[place] != **fate);
        assert!(other.is_none(), "{other:?} was sent, and {:?} landed", other.map(|(place, _)| &landed[place]));
    }
}

/// The first few keys of `all` that `those` lacks.
fn missing_in<K: Ord + Copy + Debug, V>(all: &BTreeMap<K, V>, those: &BTreeMap<K, V>) -> Vec<K> {
    all.keys().filter(|key| !those.contains_key(key)).take(5).copied().collect()
}
