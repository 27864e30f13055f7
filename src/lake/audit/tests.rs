//! Lakes made by hand over the in-memory store: a clean one, and one for each thing that can be wrong.

use arrow::{
    array::{ArrayRef, BinaryArray, Int32Array, Int64Array, StringArray},
    record_batch::RecordBatch,
};
use chrono::DateTime;
use object_store::{PutPayload, RetryConfig, aws::AmazonS3Builder, memory::InMemory};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use uuid::Uuid;

use super::*;
use crate::{
    lake::{
        Claim, Counts, FileEntry,
        FileKind::{self, Rejected, Scored},
        Genesis, Kind, PartitionBy,
        names::{self, Bucket},
    },
    offset::{LaneId, OffsetRange},
};

const HOUR_MS: i64 = 3_600_000;

/// A lake under construction.
struct TestLake {
    memory: InMemory,
}

fn lane(partition: i32) -> LaneId {
    LaneId { dataset: "iris".into(), generation: 0, partition }
}

fn parquet_of(columns: Vec<(&str, ArrayRef)>) -> Bytes {
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
    let mut writer = ArrowWriter::try_new(vec![], rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap().into()
}

fn provenance(generation: i32, partition: i32, offsets: &[i64]) -> Vec<(&'static str, ArrayRef)> {
    vec![
        ("prediction", Arc::new(StringArray::from(vec!["setosa"; offsets.len()]))),
        ("_generation", Arc::new(Int32Array::from(vec![generation; offsets.len()]))),
        ("_partition", Arc::new(Int32Array::from(vec![partition; offsets.len()]))),
        ("_offset", Arc::new(Int64Array::from(offsets.to_vec()))),
    ]
}

/// As [`provenance`], of records that may be several rows.
fn numbered(offsets: &[i64], rows: &[i32]) -> Bytes {
    let mut columns = provenance(0, 0, offsets);
    columns.push(("_row", Arc::new(Int32Array::from(rows.to_vec()))));
    parquet_of(columns)
}

fn rows(offsets: &[i64]) -> Bytes {
    parquet_of(provenance(0, 0, offsets))
}

/// A claim with the files that these offsets make, each in an hour of its own.
fn segment(id: &LaneId, range: OffsetRange, files: &[(FileKind, &[i64])]) -> (Claim, Vec<Bytes>) {
    let attempt = Uuid::from_u64_pair(u64::try_from(id.partition).unwrap(), range.start.unsigned_abs());
    let mut counts = Counts::default();
    let mut claim = Claim {
        format: 1,
        start: range.start,
        end: range.end,
        kind: Kind::Segment,
        attempt,
        writer: "test".into(),
        committed: DateTime::UNIX_EPOCH,
        model: None,
        counts,
        fingerprint: None,
        files: vec![],
    };
    let mut contents = vec![];
    for (hour, (kind, offsets)) in (0..).zip(files) {
        let bytes = parquet_of(provenance(0, id.partition, offsets));
        let path = names::data_file(*kind, id, Bucket::of(hour * HOUR_MS, PartitionBy::Hour), range.start);
        let staged = names::staging(id, attempt).join(format!("{kind}-{hour}.parquet"));
        let rows = offsets.len() as u64;
        claim.files.push(FileEntry {
            kind: *kind,
            staged: staged.to_string(),
            path: path.to_string(),
            rows,
            bytes: bytes.len() as u64,
            crc32c: crc32c::crc32c(&bytes),
            undated: false,
        });
        counts.records += rows;
        match kind {
            Scored => counts.scored += rows,
            Rejected => counts.rejected += rows,
        }
        contents.push(bytes);
    }
    counts.absent = range.len().saturating_sub(counts.records);
    claim.counts = counts;
    (claim, contents)
}

impl TestLake {
    fn empty() -> Self {
        Self { memory: InMemory::new() }
    }

    /// Two partitions from 10 to 40: a segment of three files and one absent offset, a gap, a segment of one file.
    async fn clean() -> Self {
        let lake = Self::empty();
        for id in [lane(0), lane(1)] {
            lake.begin(&id, 10).await;
            let files: [(FileKind, &[i64]); 3] =
                [(Scored, &[10, 12, 14, 16, 17]), (Scored, &[11, 13]), (Rejected, &[15, 19])];
            lake.segment(&id, 10, 20, &files).await;
            let (mut gap, _) = segment(&id, OffsetRange { start: 20, end: 30 }, &[]);
            gap.kind = Kind::Gap { reason: "retention".into() };
            lake.claim(&id, &gap).await;
            let last: Vec<i64> = (30..40).collect();
            lake.segment(&id, 30, 40, &[(Scored, &last)]).await;
        }
        lake.put(&names::hint(&lane(0)), "30").await;
        lake
    }

    async fn put(&self, path: &Path, bytes: impl Into<Bytes>) {
        self.memory.put(path, PutPayload::from(bytes.into())).await.unwrap();
    }

    async fn take(&self, path: &Path) -> Bytes {
        let bytes = self.memory.get(path).await.unwrap().bytes().await.unwrap();
        self.memory.delete(path).await.unwrap();
        bytes
    }

    async fn begin(&self, id: &LaneId, start: i64) {
        let genesis =
            Genesis { format: 1, start, topic: "iris".into(), writer: "test".into(), created: DateTime::UNIX_EPOCH };
        self.put(&names::genesis(id), serde_json::to_vec(&genesis).unwrap()).await;
    }

    async fn claim(&self, id: &LaneId, claim: &Claim) {
        self.put(&names::claim(id, claim.start), serde_json::to_vec(claim).unwrap()).await;
    }

    async fn segment(&self, id: &LaneId, start: i64, end: i64, files: &[(FileKind, &[i64])]) {
        let (claim, contents) = segment(id, OffsetRange { start, end }, files);
        for (entry, bytes) in claim.files.iter().zip(contents) {
            self.put(&Path::from(entry.path.as_str()), bytes).await;
        }
        self.claim(id, &claim).await;
    }

    async fn edit(&self, start: i64, edit: impl FnOnce(&mut Claim)) -> Claim {
        let bytes = self.take(&names::claim(&lane(0), start)).await;
        let mut claim = serde_json::from_slice(&bytes).unwrap();
        edit(&mut claim);
        self.claim(&lane(0), &claim).await;
        claim
    }

    /// Puts other bytes in place of the claim's first file, and makes the claim agree with them.
    async fn swap_file(&self, start: i64, bytes: Bytes) -> Path {
        let claim = self.edit(start, |claim| {
            claim.files[0].bytes = bytes.len() as u64;
            claim.files[0].crc32c = crc32c::crc32c(&bytes);
        });
        let file = Path::from(claim.await.files[0].path.as_str());
        self.put(&file, bytes).await;
        file
    }

    async fn first_file(&self, start: i64) -> Path {
        Path::from(self.edit(start, |_| ()).await.files[0].path.as_str())
    }

    async fn audit_with(self, broker: &BTreeMap<i32, BrokerOffsets>) -> Report {
        let store: Arc<dyn ObjectStore> = Arc::new(self.memory);
        audit(&store, "iris", broker, |_| ()).await.unwrap()
    }

    async fn audit(self) -> Report {
        self.audit_with(&BTreeMap::new()).await
    }

    /// The faults found; the verdict must agree.
    async fn faults(self) -> Vec<Fault> {
        let report = self.audit().await;
        assert_eq!(report.is_clean(), report.faults.found == 0);
        assert_eq!(report.faults.found, report.faults.named.len() as u64);
        report.faults.named
    }
}

fn claim_at(start: i64) -> Path {
    names::claim(&lane(0), start)
}

#[tokio::test]
async fn a_clean_lake_is_clean_and_its_numbers_add_up() {
    let report = TestLake::clean().await.audit().await;
    assert_eq!(report.faults.named, []);
    assert_eq!(report.verdict, Verdict::Clean);
    assert_eq!(report.notes, Vec::<String>::new());
    let counts = Counts { records: 19, scored: 17, rejected: 2, filtered: 0, absent: 11, further_rows: 0 };
    let one = &report.partitions[1];
    assert_eq!((one.generation, one.partition, one.genesis, one.head), (0, 1, Some(10), Some(40)));
    assert_eq!((one.claims, one.gaps, one.counts, one.files, one.published), (3, 1, counts, 4, true));
    assert_eq!((report.totals.offsets, report.totals.claims, report.totals.files), (60, 6, 8));
    assert_eq!((report.totals.counts.scored, report.totals.lag), (34, None));
}

#[tokio::test]
async fn a_lake_without_the_dataset_has_nothing_to_show() {
    let report = TestLake::empty().audit().await;
    assert!(report.is_clean() && report.partitions.is_empty());
}

#[tokio::test]
async fn other_datasets_and_foreign_folders_are_left_alone() {
    let lake = TestLake::clean().await;
    lake.put(&Path::from("scored/iris2/notes.parquet"), "x").await;
    lake.put(&Path::from("_ledger/iris/g00/p0000/00000000000000000000.json"), "x").await;
    lake.put(&Path::from("_ledger/iris/g0/p7/00000000000000000000.json"), "x").await;
    lake.put(&Path::from("_ledger/iris/g0/p-001/00000000000000000000.json"), "x").await;
    lake.put(&Path::from("_ledger/iris/g0/p0000/readme.md"), "x").await;
    assert_eq!(lake.faults().await, []);
}

#[tokio::test]
async fn each_file_is_reported_as_it_is_done() {
    let lake: Arc<dyn ObjectStore> = Arc::new(TestLake::clean().await.memory);
    let seen = std::sync::Mutex::new(vec![]);
    audit(&lake, "iris", &BTreeMap::new(), |at| seen.lock().unwrap().push(at)).await.unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), 8);
    assert_eq!(seen.last(), Some(&Progress { files_done: 8, files_total: 8 }));
}

#[tokio::test]
async fn a_missing_genesis_is_a_fault() {
    let lake = TestLake::clean().await;
    lake.take(&names::genesis(&lane(0))).await;
    assert_eq!(lake.faults().await, [Fault::GenesisMissing { lane: lane(0) }]);
}

#[tokio::test]
async fn a_genesis_below_zero_is_a_fault() {
    let lake = TestLake::clean().await;
    lake.begin(&lane(0), -3).await;
    assert_eq!(lake.faults().await, [Fault::GenesisNegative { lane: lane(0), start: -3 }]);
}

#[tokio::test]
async fn a_missing_claim_leaves_a_hole() {
    let lake = TestLake::clean().await;
    lake.take(&claim_at(20)).await;
    let missing = OffsetRange { start: 20, end: 30 };
    assert_eq!(lake.faults().await, [Fault::Hole { lane: lane(0), missing, claims: 1 }]);
}

#[tokio::test]
async fn an_overlapping_claim_is_named() {
    let lake = TestLake::clean().await;
    lake.segment(&lane(0), 15, 20, &[]).await;
    assert_eq!(lake.faults().await, [Fault::Overlap { claim: claim_at(15) }]);
}

#[tokio::test]
async fn a_claim_before_genesis_is_named() {
    let lake = TestLake::clean().await;
    lake.segment(&lane(0), 5, 10, &[]).await;
    assert_eq!(lake.faults().await, [Fault::BeforeGenesis { claim: claim_at(5) }]);
}

#[tokio::test]
async fn a_claim_that_cannot_be_read_breaks_the_way_and_the_rest_is_said_to_be_unchecked() {
    let lake = TestLake::clean().await;
    lake.put(&claim_at(20), "{}").await;
    let faults = lake.faults().await;
    let [Fault::Unreadable { path, .. }, unreached] = faults.as_slice() else { panic!("{faults:?}") };
    assert_eq!(path, &claim_at(20));
    assert_eq!(unreached, &Fault::Unreached { lane: lane(0), from: 20, claims: 1 });
}

#[tokio::test]
async fn a_claim_of_a_newer_format_is_not_guessed_at() {
    let lake = TestLake::clean().await;
    lake.edit(30, |claim| claim.format = 2).await;
    assert_eq!(lake.faults().await, [Fault::NewerFormat { path: claim_at(30), format: 2 }]);
}

#[tokio::test]
async fn a_claim_whose_name_and_start_differ_is_a_fault() {
    let lake = TestLake::clean().await;
    let mut claim = lake.edit(30, |_| ()).await;
    claim.start = 31;
    lake.put(&claim_at(30), serde_json::to_vec(&claim).unwrap()).await;
    assert_eq!(lake.faults().await, [Fault::Misnamed { claim: claim_at(30), start: 31 }]);
}

#[tokio::test]
async fn a_claim_that_ends_at_its_start_is_a_fault() {
    let lake = TestLake::clean().await;
    lake.edit(30, |claim| claim.end = 30).await;
    assert_eq!(lake.faults().await, [Fault::Backwards { claim: claim_at(30), end: 30 }]);
}

#[tokio::test]
async fn counts_that_do_not_cover_the_range_are_a_fault() {
    let lake = TestLake::clean().await;
    let counts = lake.edit(10, |claim| claim.counts.absent = 0).await.counts;
    let range = OffsetRange { start: 10, end: 20 };
    assert_eq!(lake.faults().await, [Fault::Counts { claim: claim_at(10), range, counts }]);
}

#[tokio::test]
async fn counts_that_the_files_do_not_bear_out_are_a_fault() {
    let lake = TestLake::clean().await;
    lake.edit(10, |claim| (claim.counts.scored, claim.counts.filtered) = (6, 1)).await;
    assert_eq!(lake.faults().await, [Fault::FileCounts { claim: claim_at(10), kind: Scored, counted: 6, rows: 7 }]);
}

#[tokio::test]
async fn a_gap_that_names_files_is_a_fault() {
    let lake = TestLake::clean().await;
    lake.edit(30, |claim| claim.kind = Kind::Gap { reason: "retention".into() }).await;
    assert_eq!(lake.faults().await, [Fault::GapHoldsRecords { claim: claim_at(30) }]);
}

#[tokio::test]
async fn a_file_named_outside_the_contract_is_a_fault() {
    for path in ["scored/iris/../../etc/passwd", "scored/iris/hour=07/g0-p0000-00000000000000000030.parquet", ""] {
        let lake = TestLake::clean().await;
        let file = lake.first_file(30).await;
        lake.take(&file).await;
        lake.edit(30, |claim| claim.files[0].path = path.into()).await;
        assert_eq!(lake.faults().await, [Fault::FileName { claim: claim_at(30), path: path.into() }]);
    }
}

#[tokio::test]
async fn a_file_named_twice_counts_once() {
    let lake = TestLake::clean().await;
    let file = lake.first_file(30).await;
    let twice = |claim: &mut Claim| {
        claim.files[0].rows = 5;
        claim.files.push(claim.files[0].clone());
    };
    lake.edit(30, twice).await;
    let rows = Fault::Rows { file: file.clone(), found: 10, expected: 5 };
    assert_eq!(lake.faults().await, [rows, Fault::NamedTwice { claim: claim_at(30), path: file }]);
}

#[tokio::test]
async fn a_missing_file_is_a_fault() {
    let lake = TestLake::clean().await;
    let file = lake.first_file(10).await;
    lake.take(&file).await;
    assert_eq!(lake.faults().await, [Fault::Missing { claim: claim_at(10), file }]);
}

/// Moves a claim's file back to where it was staged.
async fn unpublish(lake: &TestLake, start: i64) -> Path {
    let entry = lake.edit(start, |_| ()).await.files[0].clone();
    let bytes = lake.take(&Path::from(entry.path.as_str())).await;
    lake.put(&Path::from(entry.staged.as_str()), bytes).await;
    Path::from(entry.path)
}

#[tokio::test]
async fn the_newest_claim_may_be_unpublished() {
    let lake = TestLake::clean().await;
    unpublish(&lake, 30).await;
    let report = lake.audit().await;
    assert!(report.is_clean(), "{:?}", report.faults);
    assert_eq!((report.partitions[0].published, report.partitions[0].files), (false, 3));
    assert!(
        report.notes[0].contains("iris/g0/p0000") && report.notes[0].contains("not all published"),
        "{:?}",
        report.notes
    );
}

#[tokio::test]
async fn an_older_claim_may_not_be_unpublished() {
    let lake = TestLake::clean().await;
    let file = unpublish(&lake, 10).await;
    assert_eq!(lake.faults().await, [Fault::Unpublished { claim: claim_at(10), file }]);
}

#[tokio::test]
async fn a_staged_file_must_be_whole_too() {
    let lake = TestLake::clean().await;
    unpublish(&lake, 30).await;
    let staged = Path::from(lake.edit(30, |_| ()).await.files[0].staged.as_str());
    let bytes = lake.take(&staged).await;
    lake.put(&staged, bytes.slice(1..)).await;
    let (found, expected) = (bytes.len() as u64 - 1, bytes.len() as u64);
    assert_eq!(lake.faults().await, [Fault::Size { file: staged, found, expected }]);
}

#[tokio::test]
async fn a_truncated_file_is_a_fault() {
    let lake = TestLake::clean().await;
    let file = lake.first_file(30).await;
    let bytes = lake.take(&file).await;
    lake.put(&file, bytes.slice(..100)).await;
    assert_eq!(lake.faults().await, [Fault::Size { file, found: 100, expected: bytes.len() as u64 }]);
}

#[tokio::test]
async fn a_flipped_bit_is_a_fault() {
    let lake = TestLake::clean().await;
    let file = lake.first_file(30).await;
    let mut bytes = lake.take(&file).await.to_vec();
    let expected = crc32c::crc32c(&bytes);
    bytes[20] ^= 1;
    let found = crc32c::crc32c(&bytes);
    lake.put(&file, bytes).await;
    assert_eq!(lake.faults().await, [Fault::Crc { file, found, expected }]);
}

#[tokio::test]
async fn rubbish_that_its_claim_agrees_with_is_still_no_parquet() {
    for rubbish in [&b""[..], b"PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"not a parquet file"] {
        let lake = TestLake::clean().await;
        let file = lake.swap_file(30, Bytes::from_static(rubbish)).await;
        let faults = lake.faults().await;
        assert!(matches!(&faults[..], [Fault::Undecodable { file: named, .. }] if named == &file), "{faults:?}");
    }
}

#[tokio::test]
async fn no_damage_to_a_file_stops_the_audit() {
    let whole = rows(&(30..40).collect::<Vec<_>>());
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x55;
        let lake = TestLake::clean().await;
        lake.swap_file(30, bytes.into()).await;
        // Some of the damage is where nobody looks; none of it may end in a panic or an error.
        lake.faults().await;
    }
}

#[tokio::test]
async fn a_deep_audit_finds_damage_where_a_plain_one_does_not_look_and_survives_all_of_it() {
    let whole = rows(&(30..40).collect::<Vec<_>>());
    let (mut plain, mut deep) = (0, 0);
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x55;
        let lake = TestLake::clean().await;
        lake.swap_file(30, bytes.into()).await;
        let store: Arc<dyn ObjectStore> = Arc::new(lake.memory);
        let found = audit(&store, "iris", &BTreeMap::new(), |_| ()).await.unwrap().faults.found;
        let found_deep =
            audit_to(Depth::EveryColumn, &store, "iris", &BTreeMap::new(), |_| ()).await.unwrap().faults.found;
        assert!(found <= found_deep, "byte {at}: a deep audit finds all that a plain one finds");
        plain += found;
        deep += found_deep;
    }
    assert!(plain < deep, "{plain} and {deep}");
}

#[tokio::test]
async fn a_deep_audit_of_a_clean_lake_is_clean_however_large_its_rows_are() {
    let lake = TestLake::clean().await;
    let mut columns = provenance(0, 0, &(30..40).collect::<Vec<_>>());
    let blob = vec![7; 2 << 20];
    columns.push(("blob", Arc::new(BinaryArray::from_vec(vec![blob.as_slice(); 10]))));
    lake.swap_file(30, parquet_of(columns)).await;
    let store: Arc<dyn ObjectStore> = Arc::new(lake.memory);
    let report = audit_to(Depth::EveryColumn, &store, "iris", &BTreeMap::new(), |_| ()).await.unwrap();
    assert_eq!((report.faults.named, report.totals.files), (vec![], 8));
}

#[tokio::test]
async fn a_file_with_another_number_of_rows_is_a_fault() {
    let lake = TestLake::clean().await;
    let file = lake.swap_file(30, rows(&[30, 31])).await;
    assert_eq!(lake.faults().await, [Fault::Rows { file, found: 2, expected: 10 }]);
}

#[tokio::test]
async fn a_file_without_the_offset_column_is_a_fault() {
    let lake = TestLake::clean().await;
    let columns = provenance(0, 0, &(30..40).collect::<Vec<_>>());
    let file =
        lake.swap_file(30, parquet_of(columns.into_iter().filter(|(name, _)| *name != "_offset").collect())).await;
    assert_eq!(lake.faults().await, [Fault::Column { file, column: "_offset", kind: "Int64".into() }]);
}

#[tokio::test]
async fn null_offsets_are_a_fault() {
    let lake = TestLake::clean().await;
    let mut columns = provenance(0, 0, &(30..40).collect::<Vec<_>>());
    columns[3].1 = Arc::new((30..40).map(|offset| (offset != 33).then_some(offset)).collect::<Int64Array>());
    let file = lake.swap_file(30, parquet_of(columns)).await;
    assert_eq!(lake.faults().await, [Fault::Column { file, column: "_offset", kind: "Int64".into() }]);
}

#[tokio::test]
async fn rows_of_another_partition_or_generation_are_a_fault() {
    let offsets: Vec<i64> = (30..40).collect();
    for (generation, partition, column, found) in [(0, 7, "_partition", 7), (4, 0, "_generation", 4)] {
        let lake = TestLake::clean().await;
        let file = lake.swap_file(30, parquet_of(provenance(generation, partition, &offsets))).await;
        assert_eq!(lake.faults().await, [Fault::Provenance { file, column, found, expected: 0 }]);
    }
}

#[tokio::test]
async fn an_offset_outside_the_range_is_a_fault() {
    let lake = TestLake::clean().await;
    let file = lake.swap_file(30, rows(&[30, 31, 32, 33, 34, 35, 36, 37, 38, 40])).await;
    let range = OffsetRange { start: 30, end: 40 };
    assert_eq!(lake.faults().await, [Fault::OutOfRange { file, offset: 40, range }]);
}

#[tokio::test]
async fn an_offset_twice_in_a_file_is_a_fault() {
    let lake = TestLake::clean().await;
    let file = lake.swap_file(30, rows(&[30, 31, 32, 33, 34, 35, 35, 37, 38, 39])).await;
    assert_eq!(lake.faults().await, [Fault::NotAscending { file, offset: 35, after: 35 }]);
}

#[tokio::test]
async fn an_offset_in_two_files_of_a_claim_is_a_fault() {
    let lake = TestLake::clean().await;
    lake.swap_file(10, rows(&[10, 11, 14, 15, 17])).await;
    assert_eq!(lake.faults().await, [Fault::Doubled { claim: claim_at(10), offsets: 2, first: 11 }]);
}

#[tokio::test]
async fn a_file_too_large_to_hold_is_checked_all_the_same() {
    let blob = vec![7; 2 << 20];
    let large = |offsets: &[i64]| {
        let mut columns = provenance(0, 0, offsets);
        columns.push(("blob", Arc::new(BinaryArray::from_vec(vec![blob.as_slice(); offsets.len()]))));
        parquet_of(columns)
    };
    let lake = TestLake::clean().await;
    let whole = large(&(30..40).collect::<Vec<_>>());
    assert!(whole.len() as u64 > FILE_HELD_BYTES_MAX);
    lake.swap_file(30, whole).await;
    assert_eq!(lake.faults().await, []);

    let lake = TestLake::clean().await;
    let file = lake.swap_file(30, large(&[30, 31, 32, 33, 34, 35, 36, 37, 38, 38])).await;
    assert_eq!(lake.faults().await, [Fault::NotAscending { file, offset: 38, after: 38 }]);
}

#[tokio::test]
async fn a_file_that_no_claim_names_is_a_stranger() {
    for path in [
        "scored/iris/date=1970-01-01/hour=09/g0-p0000-00000000000000000030.parquet",
        "scored/iris/g0-p0000-00000000000000000011.parquet",
        "scored/iris/g0-p0000-00000000000000000040.parquet",
        "rejected/iris/g0-p0099-00000000000000000030.parquet",
        "rejected/iris/g7-p0000-00000000000000000030.parquet",
        "scored/iris/date=1970-01-01/notes.txt",
        "scored/iris/g0-p0-30.parquet",
    ] {
        let lake = TestLake::clean().await;
        lake.put(&Path::from(path), rows(&[30])).await;
        assert_eq!(lake.faults().await, [Fault::Stranger { path: Path::from(path) }]);
    }
}

#[tokio::test]
async fn a_stranger_does_not_hide_behind_a_missing_file() {
    let lake = TestLake::clean().await;
    let file = lake.first_file(30).await;
    let bytes = lake.take(&file).await;
    let path = Path::from("scored/iris/date=1970-01-02/hour=00/g0-p0000-00000000000000000030.parquet");
    lake.put(&path, bytes).await;
    assert_eq!(lake.faults().await, [Fault::Missing { claim: claim_at(30), file }, Fault::Stranger { path }]);
}

#[tokio::test]
async fn faults_beyond_the_limit_are_counted() {
    let lake = TestLake::clean().await;
    for n in 0..FAULTS_KEPT_MAX + 7 {
        lake.put(&Path::from(format!("scored/iris/{n}.txt")), "x").await;
    }
    let report = lake.audit().await;
    assert_eq!(report.faults.named.len(), FAULTS_KEPT_MAX);
    assert_eq!((report.faults.found, report.faults.unnamed()), (FAULTS_KEPT_MAX as u64 + 7, 7));
}

#[tokio::test]
async fn what_the_broker_still_holds_is_lag() {
    let held = |earliest, latest| BrokerOffsets { earliest, latest };
    let broker = BTreeMap::from([(0, held(10, 45)), (1, held(60, 100)), (2, held(0, 5))]);
    let report = TestLake::clean().await.audit_with(&broker).await;
    assert!(report.is_clean(), "{:?}", report.faults);
    assert_eq!((report.partitions[0].lag, report.partitions[1].lag, report.totals.lag), (Some(5), Some(40), Some(45)));
    assert!(report.notes[0].contains("deleted 20 offsets"), "{:?}", report.notes);
    assert!(report.notes[1].contains("partition 2 is not in the lake yet"), "{:?}", report.notes);
}

#[tokio::test]
async fn a_head_beyond_the_broker_s_end_is_a_fault_in_the_newest_generation_only() {
    let broker = BTreeMap::from([(0, BrokerOffsets { earliest: 0, latest: 39 })]);
    let lake = TestLake::clean().await;
    let report = lake.audit_with(&broker).await;
    assert_eq!(report.faults.named, [Fault::BeyondBroker { lane: lane(0), head: 40, latest: 39 }]);

    let lake = TestLake::clean().await;
    lake.begin(&LaneId { generation: 1, ..lane(0) }, 0).await;
    assert!(lake.audit_with(&broker).await.is_clean());
}

#[tokio::test]
async fn a_store_that_fails_is_no_fault_of_the_lake() {
    let nobody = AmazonS3Builder::new()
        .with_bucket_name("lake")
        .with_region("eu-west-1")
        .with_endpoint("http://127.0.0.1:9")
        .with_allow_http(true)
        .with_access_key_id("a")
        .with_secret_access_key("b")
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
    let store: Arc<dyn ObjectStore> = Arc::new(nobody.build().unwrap());
    let error = audit(&store, "iris", &BTreeMap::new(), |_| ()).await.unwrap_err();
    assert!(error.to_string().starts_with("the audit could not finish: list scored/iris"), "{error}");
}

#[tokio::test]
async fn a_local_lake_is_audited_alike() {
    let memory = TestLake::clean().await.memory;
    let folder = tempfile::tempdir().unwrap();
    let local = object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let objects: Vec<_> = futures::TryStreamExt::try_collect(memory.list(None)).await.unwrap();
    for object in objects {
        let object: object_store::ObjectMeta = object;
        let bytes = memory.get(&object.location).await.unwrap().bytes().await.unwrap();
        local.put(&object.location, bytes.into()).await.unwrap();
    }
    let store: Arc<dyn ObjectStore> = Arc::new(local);
    let report = audit(&store, "iris", &BTreeMap::new(), |_| ()).await.unwrap();
    assert_eq!((report.is_clean(), report.totals.files), (true, 8));
    let missing = audit(&store, "wine", &BTreeMap::new(), |_| ()).await.unwrap();
    assert!(missing.partitions.is_empty());
}

#[test]
fn the_audit_can_run_on_any_thread() {
    fn is_send(_: &impl Send) {}
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    is_send(&audit(&store, "iris", &BTreeMap::new(), |_| ()));
}

/// A lake of one partition and one claim over [10, 13), whose two scored files are made of these offsets and rows.
async fn numbered_lake(files: [(&[i64], &[i32]); 2], further_rows: u64) -> TestLake {
    let lake = TestLake::empty();
    lake.begin(&lane(0), 10).await;
    let plain: Vec<(FileKind, &[i64])> = files.iter().map(|(offsets, _)| (Scored, *offsets)).collect();
    let (mut claim, _) = segment(&lane(0), OffsetRange { start: 10, end: 13 }, &plain);
    for (entry, (offsets, rows)) in claim.files.iter_mut().zip(files) {
        let bytes = numbered(offsets, rows);
        (entry.bytes, entry.crc32c) = (bytes.len() as u64, crc32c::crc32c(&bytes));
        lake.put(&Path::from(entry.path.as_str()), bytes).await;
    }
    claim.counts = Counts { records: 3, scored: 2, filtered: 1, further_rows, ..Counts::default() };
    lake.claim(&lane(0), &claim).await;
    lake
}

#[tokio::test]
async fn records_of_several_rows_are_clean_in_any_hours() {
    for depth in [Depth::Provenance, Depth::EveryColumn] {
        let lake = numbered_lake([(&[10, 10, 12], &[0, 2, 0]), (&[10], &[1])], 2).await;
        let store: Arc<dyn ObjectStore> = Arc::new(lake.memory);
        let report = audit_to(depth, &store, "iris", &BTreeMap::new(), |_| ()).await.unwrap();
        assert_eq!(report.faults.named, []);
        assert_eq!((report.totals.counts.filtered, report.totals.counts.further_rows), (1, 2));
    }
}

#[tokio::test]
async fn rows_of_a_record_that_are_missing_doubled_or_too_many_are_faults() {
    let claim = || claim_at(10);
    let gap = numbered_lake([(&[10, 10, 12], &[0, 2, 0]), (&[10], &[3])], 2).await;
    assert_eq!(gap.faults().await, [Fault::RowNumbers { claim: claim(), offset: 10 }]);
    let twice = numbered_lake([(&[10, 10, 12], &[0, 1, 0]), (&[10], &[1])], 2).await;
    assert_eq!(twice.faults().await, [Fault::Doubled { claim: claim(), offsets: 1, first: 10 }]);
    let miscounted = numbered_lake([(&[10, 10, 11], &[0, 1, 0]), (&[12], &[0])], 2).await;
    assert_eq!(miscounted.faults().await, [Fault::RecordsFound { claim: claim(), counted: 2, found: 3 }]);
    let unordered = numbered_lake([(&[10, 10, 12], &[1, 0, 0]), (&[10], &[2])], 2).await;
    let file = unordered.first_file(10).await;
    assert_eq!(unordered.faults().await, [Fault::NotAscending { file, offset: 10, after: 10 }]);
    let unknown = numbered_lake([(&[10, 10, 12], &[0, 2, 0]), (&[10], &[1])], 0).await;
    let faults = unknown.faults().await;
    assert_eq!(faults, [Fault::FileCounts { claim: claim(), kind: Scored, counted: 2, rows: 4 }]);
}

#[tokio::test]
async fn of_records_of_several_rows_a_missing_file_is_the_only_fault() {
    let lake = numbered_lake([(&[10, 10, 12], &[0, 2, 0]), (&[10], &[1])], 2).await;
    let file = lake.first_file(10).await;
    lake.take(&file).await;
    assert_eq!(lake.faults().await, [Fault::Missing { claim: claim_at(10), file }]);
}

#[test]
fn counts_without_further_rows_are_as_they_always_were() {
    let counts = Counts { records: 3, scored: 2, rejected: 1, ..Counts::default() };
    let json = serde_json::to_string(&counts).unwrap();
    assert_eq!(json, r#"{"records":3,"scored":2,"rejected":1,"filtered":0,"absent":0}"#);
    assert_eq!(serde_json::from_str::<Counts>(&json).unwrap(), counts);
    let further = Counts { further_rows: 7, ..counts };
    let again: Counts = serde_json::from_str(&serde_json::to_string(&further).unwrap()).unwrap();
    assert_eq!(again, further);
}
