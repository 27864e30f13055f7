//! What a commit costs, fsync included, and what it costs to find the head of a long ledger.
//!
//! ```text
//! cargo bench --bench commit
//! ```
//!
//! A commit is five and more calls to the store: stage, claim, publish, hint. Its bound is one call with the bytes of
//! the segment: a put in memory, a write and an fsync in a folder. The bound of finding the head is reading one claim.
#![expect(clippy::expect_used, reason = "a benchmark that can't run has nothing better to do than stop")]

mod common;

use std::{fs::File, io::Write, path::Path as FilePath};

use alluvium::{
    lake::{Compression, EncodedFile, Finished, Genesis, Ledger, Outcome, Store, names},
    offset::OffsetRange,
};
use bytes::Bytes;
use common::{Stages, done, folder, lane_id};
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, path::Path};
use tokio::runtime::Runtime;

/// Of one segment, in one file.
const RECORDS: usize = 1_000;
const SEGMENT: i64 = 1_000;
const CLAIMS: i64 = 10_000;
const SAMPLES: usize = 20;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn commit(c: &mut Criterion) {
    let runtime = done(Runtime::new());
    let segment = segment();
    let bytes = segment.files.first().expect("one file").bytes.clone();
    let folder = folder();
    let mut group = c.benchmark_group("commit");
    group.throughput(Throughput::Elements(RECORDS as u64)).sample_size(SAMPLES);

    let memory = done(Store::open("memory://"));
    commits(&mut group, "memory", &runtime, &memory, &segment);
    let mut objects = (0..).map(|n| Path::from(format!("bound/{n}")));
    group.bench_function("memory, bound: one put", |b| {
        b.iter(|| runtime.block_on(memory.objects().put(&objects.next().expect("names"), bytes.clone().into())));
    });

    let lake = folder.path().join("lake");
    let local = done(Store::open(&lake.display().to_string()));
    commits(&mut group, "local folder", &runtime, &local, &segment);
    let mut files = (0..).map(|n| folder.path().join(format!("{n}")));
    group.bench_function("local folder, bound: one write and fsync", |b| {
        b.iter(|| write_durably(&files.next().expect("names"), &bytes));
    });
}

fn head(c: &mut Criterion) {
    let runtime = done(Runtime::new());
    let (genesis, objects) = runtime.block_on(long_ledger());
    let folder = folder();
    let mut group = c.benchmark_group("head of 10,000 claims");
    group.sample_size(SAMPLES);
    for (name, url) in [("memory", "memory://"), ("local folder", &*folder.path().display().to_string())] {
        let store = done(Store::open(url));
        runtime.block_on(fill(&store, &objects));
        let ledger = ledger(&store);
        let (hint, newest) = (names::hint(&lane_id()), names::claim(&lane_id(), (CLAIMS - 1) * SEGMENT));
        let find = || {
            let head = done(runtime.block_on(ledger.head(&genesis)));
            assert_eq!(head.position, CLAIMS * SEGMENT);
        };
        group.bench_function(format!("{name}, with the hint"), |b| b.iter(find));
        let forget = || done(runtime.block_on(store.objects().delete(&hint)));
        group.bench_function(format!("{name}, without the hint"), |b| {
            b.iter_batched(forget, |()| find(), BatchSize::PerIteration);
        });
        group.bench_function(format!("{name}, bound: read one claim"), |b| {
            b.iter(|| done(runtime.block_on(store.read(&newest))).expect("the newest claim"));
        });
    }
}

/// Commits the segment again and again, each time at the offsets after the last.
fn commits(group: &mut Group<'_>, name: &str, runtime: &Runtime, store: &Store, segment: &Finished) {
    let ledger = ledger(store);
    let mut segments = (0..).step_by(RECORDS).map(|start| at(segment, start));
    group.bench_function(name, |b| {
        let next = || segments.next().expect("offsets");
        b.iter_batched(next, |segment| runtime.block_on(win(&ledger, segment)), BatchSize::SmallInput);
    });
}

fn ledger(store: &Store) -> Ledger {
    Ledger::new(store.clone(), lane_id(), "bench".into())
}

async fn win(ledger: &Ledger, segment: Finished) {
    assert!(matches!(done(ledger.commit(segment).await), Outcome::Won(_)), "there is no other writer");
}

fn segment() -> Finished {
    let stages = Stages::new(Compression::default());
    let mut segment = stages.segment();
    for scored in stages.scored(RECORDS, RECORDS) {
        assert!(done(segment.append(scored)).is_none(), "all in one hour");
    }
    done(segment.finish())
}

/// The segment, moved to begin at `start`.
fn at(segment: &Finished, start: i64) -> Finished {
    let file = |file: &EncodedFile| EncodedFile { bytes: file.bytes.clone(), ..*file };
    Finished {
        range: OffsetRange { start, end: start + SEGMENT },
        model: segment.model.clone(),
        files: segment.files.iter().map(file).collect(),
        ..*segment
    }
}

/// Every object of a lake with [`CLAIMS`] claims, of which only the newest has a file.
async fn long_ledger() -> (Genesis, Vec<(Path, Bytes)>) {
    let store = done(Store::open("memory://"));
    let ledger = ledger(&store);
    let genesis = done(ledger.begin("flowers", 0).await);
    for claim in 0..CLAIMS - 1 {
        let range = OffsetRange { start: claim * SEGMENT, end: (claim + 1) * SEGMENT };
        done(ledger.gap(range, None, "for the benchmark").await);
    }
    win(&ledger, at(&segment(), (CLAIMS - 1) * SEGMENT)).await;
    let mut objects = vec![];
    let mut listing = store.objects().list(None);
    while let Some(object) = done(listing.try_next().await) {
        let bytes = done(store.read(&object.location).await).expect("what was listed");
        objects.push((object.location, bytes));
    }
    (genesis, objects)
}

async fn fill(store: &Store, objects: &[(Path, Bytes)]) {
    for (path, bytes) in objects {
        done(store.write_loosely(path, bytes.clone()).await);
    }
}

fn write_durably(path: &FilePath, bytes: &[u8]) {
    let mut file = done(File::create_new(path));
    done(file.write_all(bytes));
    done(file.sync_all());
}

criterion_group!(benches, commit, head);
criterion_main!(benches);
