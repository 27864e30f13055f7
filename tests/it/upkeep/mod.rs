//! Old data deleted by policy, and what a crash left mended: over a small lake, written as the product writes it, with rows
//! that the audit can read.

mod expire;
mod repair;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use alluvium::{
    lake::{
        Counts, EncodedFile, FileKind, Finished, LakeError, Ledger, Outcome, PartitionBy, Store,
        audit::{self, Report},
        names::Bucket,
    },
    offset::{LaneId, OffsetRange},
    record::ModelRef,
};
use arrow::{
    array::{ArrayRef, Int32Array, Int64Array},
    record_batch::RecordBatch,
};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path};
use parquet::arrow::ArrowWriter;

use crate::support::faulty::{Fault, Faulty};

const DATASET: &str = "iris";
const HOUR_MS: i64 = 3_600_000;
/// Where rejects are filed that have no time of their own.
const UNDATED: (FileKind, i64) = (FileKind::Rejected, 0);

fn lane() -> LaneId {
    LaneId { dataset: DATASET.into(), generation: 0, partition: 0 }
}

fn ledger(store: &Store) -> Ledger {
    Ledger::new(store.clone(), lane(), "test".into())
}

fn memory() -> (Arc<dyn ObjectStore>, Store) {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    (objects.clone(), Store::over(objects, "memory"))
}

/// A segment with a file for each kind and hour since 1970.
fn segment(range: OffsetRange, files: &[(FileKind, i64, &[i64])]) -> Finished {
    let mut counts = Counts { absent: range.len(), ..Counts::default() };
    let mut encoded = vec![];
    for (kind, hour, offsets) in files {
        let rows = offsets.len() as u64;
        counts += match kind {
            FileKind::Scored => Counts { records: rows, scored: rows, ..Counts::default() },
            FileKind::Rejected => Counts { records: rows, rejected: rows, ..Counts::default() },
        };
        counts.absent -= rows;
        let bytes = parquet_of(offsets);
        let crc32c = crc32c::crc32c(&bytes);
        encoded.push(EncodedFile {
            kind: *kind,
            bucket: Bucket::of(hour * HOUR_MS, PartitionBy::Hour),
            rows,
            undated: (*kind, *hour) == UNDATED,
            bytes,
            crc32c,
        });
    }
    let model = ModelRef { name: "iris".into(), version: 1, digest: "d".into() };
    Finished { range, counts, fingerprint: None, model, files: encoded }
}

fn parquet_of(offsets: &[i64]) -> Bytes {
    let constant = || Arc::new(Int32Array::from(vec![0; offsets.len()])) as ArrayRef;
    let columns = [
        ("_generation", constant()),
        ("_partition", constant()),
        ("_offset", Arc::new(Int64Array::from(offsets.to_vec())) as ArrayRef),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(vec![], rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap().into()
}

async fn commit(store: &Store, start: i64, end: i64, files: &[(FileKind, i64, &[i64])]) {
    let segment = segment(OffsetRange { start, end }, files);
    assert!(matches!(ledger(store).commit(segment).await.unwrap(), Outcome::Won(_)));
}

/// Two segments over hours 1 to 3, the first with rejects, and one reject of no time, which is in hour 0.
async fn fill(store: &Store) {
    use FileKind::{Rejected, Scored};
    ledger(store).begin("flowers", 0).await.unwrap();
    let first: [(FileKind, i64, &[i64]); 4] =
        [(Scored, 1, &[0, 1, 2]), (Scored, 2, &[3, 4]), (Rejected, 1, &[5]), (Rejected, 0, &[6])];
    commit(store, 0, 10, &first).await;
    commit(store, 10, 20, &[(Scored, 2, &[10, 11]), (Scored, 3, &[12, 13])]).await;
}

async fn audited(objects: &Arc<dyn ObjectStore>) -> Report {
    audit::audit(objects, DATASET, &BTreeMap::new(), |_| ()).await.unwrap()
}

/// The paths below a folder.
async fn paths(objects: &Arc<dyn ObjectStore>, folder: &str) -> BTreeSet<String> {
    let listed = objects.list(Some(&Path::from(folder))).map_ok(|object| object.location.to_string());
    listed.try_collect().await.unwrap()
}

/// Everything in the ledger but hints, with its bytes.
async fn ledger_objects(objects: &Arc<dyn ObjectStore>) -> BTreeMap<String, Bytes> {
    let mut all = BTreeMap::new();
    for path in paths(objects, "_ledger").await.into_iter().filter(|path| !path.ends_with("latest.json")) {
        let bytes = objects.get(&Path::from(path.as_str())).await.unwrap().bytes().await.unwrap();
        all.insert(path, bytes);
    }
    all
}

/// A store without a rename of its own, as S3 is, that fails so; and the calls that it got.
fn faulty(objects: &Arc<dyn ObjectStore>, fault: Option<Fault>) -> (Store, Arc<Faulty>) {
    let faulty = Faulty::meddled(objects.clone(), true, Fault::meddle(fault));
    (Store::over(faulty.clone(), "faulty"), faulty)
}

/// Moves a claim's files back to where they were staged.
async fn unpublish(objects: &Arc<dyn ObjectStore>, store: &Store, start: i64) {
    let claim = ledger(store).claim_at(start).await.unwrap().unwrap();
    for file in claim.files {
        objects.rename(&Path::from(file.path), &Path::from(file.staged)).await.unwrap();
    }
}

/// Which call of an expiry that nobody disturbs is its first delete.
async fn first_delete(expire: impl AsyncFnOnce(&Store) -> Result<(), LakeError>) -> usize {
    let (objects, store) = memory();
    fill(&store).await;
    let (whole, calls) = faulty(&objects, None);
    expire(&whole).await.unwrap();
    calls.log().iter().position(|call| call.starts_with("delete")).unwrap()
}
