//! Hostile bytes: damaged records into the decoder, damaged objects into whoever reads the ledger or a data file.
//!
//! Each try follows from its number. `ALLUVIUM_FUZZ=20` does twenty times as many.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path as FilePath,
    sync::Arc,
    time::Duration,
};

use alluvium::{
    config,
    decode::Decoder,
    lake::{Ledger, Store, audit},
    offset::LaneId,
    record::Record,
};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path};
use rand::{RngExt as _, SeedableRng, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;

use crate::support::{
    proof::{Promise, Proof, Sent},
    stage::{DATASET, Stage, batch, flower, objects, value},
};

const RECORDS: u64 = 40_000;
const LEDGERS: u64 = 300;
const NOW_MS: i64 = 1_795_244_400_000;
/// What has upset parsers of JSON, of numbers and of text.
const WORDS: [&str; 24] = [
    "NaN",
    "-0",
    "1e999",
    "-1e-999",
    "99999999999999999999",
    "9007199254740993",
    "0x10",
    "\\u0000",
    "\\ud800",
    "\\uDFFF",
    "\u{feff}",
    "\u{0}",
    "null",
    "true",
    "[[[[[[[[",
    "{\"a\":",
    "}}}}",
    "\"\"",
    "\\",
    ",",
    ":",
    "\"id\":1,",
    "1.",
    "\u{10ffff}",
];

fn times() -> u64 {
    std::env::var("ALLUVIUM_FUZZ").ok().map_or(1, |times| times.parse().expect("ALLUVIUM_FUZZ is a number"))
}

/// One to six wounds.
fn damage(bytes: &[u8], dice: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..dice.random_range(1..=6) {
        let at = dice.random_range(0..=bytes.len());
        let to = dice.random_range(at..=bytes.len().min(at + 40));
        match dice.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = dice.random(),
            2 => drop(bytes.drain(at..to)),
            3 => bytes.truncate(at),
            4 => {
                let again = bytes[at..to].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let word = WORDS.choose(dice).expect("there are words");
                bytes.splice(at..to, word.bytes());
            }
        }
    }
    bytes
}

#[test]
fn damaged_records_are_rows_or_rejects_and_never_both() {
    let lines = fs::read_to_string(at("src/simulate/testdata/first_records.jsonl")).unwrap();
    let corpus: Vec<&[u8]> = lines.lines().map(str::as_bytes).collect();
    for pipeline in ["iris", "fraud", "sensors", "sentiment", "weblogs"] {
        let settings = config::parse(&fs::read_to_string(at(&format!("pipelines/{pipeline}.toml"))).unwrap(), |_| None);
        let decoder = Decoder::new(&settings.unwrap().decode);
        for seed in 0..RECORDS * times() / 5 / 256 {
            let mut dice = ChaCha8Rng::seed_from_u64(seed);
            let records: Vec<Record> =
                (0..256).map(|_| value(damage(corpus.choose(&mut dice).unwrap(), &mut dice))).collect();
            let outcome = decoder.decode(&records, NOW_MS).unwrap();
            let (rows, rejects) = (&outcome.rows, &outcome.rejects);
            assert_eq!(rows.columns.num_rows(), rows.source.len(), "{pipeline}, seed {seed}");
            let sources: BTreeSet<_> =
                rows.source.iter().copied().chain(rejects.iter().map(|reject| reject.source)).collect();
            let each_once = rows.source.len() + rejects.len() == records.len();
            assert!(each_once && sources == (0..256).collect(), "{pipeline}, seed {seed}: {sources:?}");
        }
    }
}

fn at(path: &str) -> std::path::PathBuf {
    FilePath::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_land_as_rejects_byte_for_byte() {
    let proof =
        Proof::of("hostile bytes", &[Promise::L2, Promise::NoneLost, Promise::NoneDoubled, Promise::RejectsExact]);
    let (stage, mut sent) = (Stage::new(1).await, Sent::default());
    let mut dice = ChaCha8Rng::seed_from_u64(1);
    // Never empty: a fuzzed record must not happen to be a whole flower, which the last byte sees to.
    let records = (0..1_000).map(flower).map(|record| {
        let mut bytes = damage(record.value.as_deref().unwrap(), &mut dice);
        bytes.push(b'\\');
        let headers: BTreeMap<_, _> =
            (0..dice.random_range(0..40)).map(|n| (format!("h{n}"), vec![dice.random(); n])).collect();
        Record { key: Some(damage(b"key", &mut dice)), headers, ..value(bytes) }
    });
    let records: Vec<_> = records.collect();
    sent.add(0, &records);
    stage.send(0, records).await;
    let settings = stage.settings("lake", "");
    assert_eq!(batch(settings.clone()).await.tally.counts.rejected, 1_000);
    proof.lake(&objects(&settings), &sent).await;
}

/// A small lake of two partitions, object by object.
async fn small_lake() -> (Vec<(Path, Bytes)>, Sent) {
    let (stage, mut sent) = (Stage::new(2).await, Sent::default());
    for partition in 0..2 {
        for _ in 0..3 {
            let records: Vec<_> = (0..20).map(|id| if id % 7 == 3 { value("no flower") } else { flower(id) }).collect();
            sent.add(partition, &records);
            stage.send(partition, records).await;
        }
    }
    let settings = stage.settings("lake", "roll_rows = 20\n");
    batch(settings.clone()).await;
    let objects = objects(&settings);
    let paths: Vec<_> = objects.list(None).map_ok(|object| object.location).try_collect().await.unwrap();
    let mut all = vec![];
    for path in paths {
        let bytes = objects.get(&path).await.unwrap().bytes().await.unwrap();
        all.push((path, bytes));
    }
    (all, sent)
}

/// What a lane does first, and what the audit does, over a lake with one damaged object; they must come to an end, and
/// a clean verdict must be the truth.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_lake_is_never_called_clean_unless_it_is_whole() {
    let proof = Proof::of("hostile bytes", &[Promise::L2, Promise::NoneLost, Promise::NoneDoubled]);
    let (lake, sent) = small_lake().await;
    let mut dice = ChaCha8Rng::seed_from_u64(2);
    let (mut clean, mut unclean) = (0, 0);
    for _ in 0..LEDGERS * times() {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let hit = dice.random_range(0..lake.len());
        for (n, (path, bytes)) in lake.iter().enumerate() {
            let bytes = if n == hit { damage(bytes, &mut dice).into() } else { bytes.clone() };
            objects.put(path, bytes.into()).await.unwrap();
        }
        let what = &lake[hit].0;
        let opened = tokio::time::timeout(Duration::from_secs(20), open(objects.clone())).await;
        assert!(opened.is_ok(), "{what}: a lane opens, or says why not");
        let report = audit::audit(&objects, DATASET, &BTreeMap::default(), |_| {}).await.unwrap();
        if report.is_clean() {
            clean += 1;
            proof.lake(&objects, &sent).await;
        } else {
            unclean += 1;
        }
    }
    assert!(clean > 0 && unclean > clean, "{clean} clean, {unclean} not");
}

async fn open(objects: Arc<dyn ObjectStore>) {
    for partition in 0..2 {
        let id = LaneId { dataset: DATASET.into(), generation: 0, partition };
        let ledger = Ledger::new(Store::over(objects.clone(), "memory"), id, "fuzz".into());
        if let Ok(Some(genesis)) = ledger.genesis().await {
            let _either = ledger.look(&genesis).await;
        }
    }
}
