//! A writer as lanes are, of made-up segments: its whole work is the ledger's.

use std::sync::Arc;

use alluvium::{
    lake::{
        Counts, EncodedFile, FileKind, Finished, LakeError, Ledger, Outcome, PartitionBy, Store,
        names::{self, Bucket},
    },
    offset::{LaneId, OffsetRange},
    record::ModelRef,
};
use bytes::Bytes;
use object_store::{ObjectStore, memory::InMemory};

/// Where the made-up topic ends.
pub const END: i64 = 9;
pub const LANE_DATASET: &str = "iris";

pub fn lane() -> LaneId {
    LaneId { dataset: LANE_DATASET.into(), generation: 0, partition: 3 }
}

pub fn ledger(store: Store, writer: &str) -> Ledger {
    Ledger::new(store, lane(), writer.into())
}

pub fn memory() -> (Arc<dyn ObjectStore>, Store) {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    (objects.clone(), Store::over(objects, "memory"))
}

/// A segment over `[start, end)` with a file in each of two hours, and one of rejects.
pub fn segment(start: i64, end: i64) -> Finished {
    let file = |kind, hour: i64, rows| {
        let bytes = Bytes::from(format!("{kind} {start}..{end} {hour}"));
        let crc32c = crc32c::crc32c(&bytes);
        let bucket = Bucket::of(hour * 3_600_000, PartitionBy::Hour);
        EncodedFile { kind, bucket, rows, undated: false, bytes, crc32c }
    };
    let records = u64::try_from(end - start).unwrap();
    Finished {
        range: OffsetRange { start, end },
        counts: Counts { records, scored: records - 1, rejected: 1, ..Counts::default() },
        fingerprint: None,
        model: ModelRef { name: "iris".into(), version: 1, digest: "d".into() },
        files: vec![
            file(FileKind::Scored, 1, records - 1),
            file(FileKind::Scored, 2, 0),
            file(FileKind::Rejected, 1, 1),
        ],
    }
}

/// The names under which readers see the files of a segment.
pub fn final_names(start: i64) -> [String; 3] {
    [(FileKind::Scored, 1), (FileKind::Scored, 2), (FileKind::Rejected, 1)].map(|(kind, hour)| {
        names::data_file(kind, &lane(), Bucket::of(hour * 3_600_000, PartitionBy::Hour), start).to_string()
    })
}

/// A writer's whole work: opens the partition and commits three offsets at a time up to [`END`].
pub async fn work(store: Store, writer: &str) -> Result<(), LakeError> {
    let ledger = ledger(store, writer);
    let genesis = match ledger.genesis().await? {
        Some(genesis) => genesis,
        None => ledger.begin("flowers", 0).await?,
    };
    loop {
        let head = ledger.head(&genesis).await?;
        ledger.sweep(head.newest.as_ref()).await?;
        let mut position = head.position;
        while position < END {
            match ledger.commit(segment(position, (position + 3).min(END))).await? {
                Outcome::Won(claim) => position = claim.end,
                Outcome::Fenced { .. } => break,
            }
        }
        if position >= END {
            return Ok(());
        }
    }
}
