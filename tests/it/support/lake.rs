//! Reading a lake as a stranger would: by its files alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use alluvium::{
    lake::{Claim, FileKind, Genesis, Revision, names},
    offset::LaneId,
};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch},
    datatypes::{Int32Type, Int64Type},
};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// All rows of a dataset, ordered by partition and offset; `None` if there is no file.
pub async fn rows(objects: &Arc<dyn ObjectStore>, kind: FileKind, dataset: &str) -> Option<RecordBatch> {
    let mut batches = vec![];
    for file in data_files(objects, kind, dataset).await {
        batches.extend(read(objects, &file).await.expect("what was listed is there"));
    }
    let all = concat_batches(&batches.first()?.schema(), &batches).unwrap();
    let by = |name| SortColumn { values: all.column_by_name(name).unwrap().clone(), options: None };
    let order = lexsort_to_indices(&[by("_partition"), by("_offset")], None).unwrap();
    Some(take_record_batch(&all, &order).unwrap())
}

/// Each row's partition and offset.
pub fn places(rows: &RecordBatch) -> Vec<(i32, i64)> {
    let partitions = rows.column_by_name("_partition").unwrap().as_primitive::<Int32Type>();
    let offsets = rows.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
    partitions.values().iter().copied().zip(offsets.values().iter().copied()).collect()
}

/// A text column's values.
pub fn texts(rows: &RecordBatch, column: &str) -> Vec<String> {
    let values = rows.column_by_name(column).unwrap().as_string::<i32>();
    (0..values.len()).map(|row| values.value(row).to_owned()).collect()
}

/// A binary column's values.
pub fn binaries(rows: &RecordBatch, column: &str) -> Vec<Option<Vec<u8>>> {
    rows.column_by_name(column).unwrap().as_binary::<i32>().iter().map(|value| value.map(<[u8]>::to_vec)).collect()
}

/// The rows of one generation, a batch a file; no order among them.
pub async fn rows_of(
    objects: &Arc<dyn ObjectStore>,
    kind: FileKind,
    dataset: &str,
    generation: u32,
) -> Vec<RecordBatch> {
    let mut batches = vec![];
    for file in data_files(objects, kind, dataset).await {
        let of = names::data_file_claim(&file).unwrap_or_else(|| panic!("{file} is no name of ours"));
        if of.0 == generation {
            batches.extend(read(objects, &file).await.unwrap_or_else(|| panic!("{file} is gone")));
        }
    }
    batches
}

async fn data_files(objects: &Arc<dyn ObjectStore>, kind: FileKind, dataset: &str) -> Vec<Path> {
    let folder = names::data(kind, dataset);
    objects.list(Some(&folder)).map_ok(|object| object.location).try_collect().await.unwrap()
}

/// A file's rows, if it is there.
pub async fn read(objects: &Arc<dyn ObjectStore>, file: &Path) -> Option<Vec<RecordBatch>> {
    let found = match objects.get(file).await {
        Err(object_store::Error::NotFound { .. }) => return None,
        found => found.unwrap().bytes().await.unwrap(),
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(found).unwrap().build().unwrap();
    Some(reader.map(|batch| batch.unwrap()).collect())
}

/// A whole-number column's values.
pub fn numbers(rows: &RecordBatch, column: &str) -> Vec<i64> {
    rows.column_by_name(column).unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// The ledger of one generation of a dataset, and the data files beside it, as they stand.
#[derive(Debug)]
pub struct Standing {
    pub partitions: BTreeMap<i32, PartitionLedger>,
    pub visible: BTreeSet<String>,
}

#[derive(Debug)]
pub struct PartitionLedger {
    id: LaneId,
    pub genesis: Genesis,
    /// By the object's name.
    pub claims: BTreeMap<Path, Claim>,
    /// By the claim's start and their number.
    pub revisions: BTreeMap<(i64, u32), Revision>,
}

/// Reads the ledger object by object, without any code of the writer's but its names and its JSON.
pub async fn standing(objects: &Arc<dyn ObjectStore>, dataset: &str, generation: u32) -> Standing {
    let ledger = Path::from_iter(["_ledger", dataset, &format!("g{generation}")]);
    let mut partitions = BTreeMap::new();
    for folder in objects.list_with_delimiter(Some(&ledger)).await.unwrap().common_prefixes {
        let partition = folder.filename().unwrap().strip_prefix('p').unwrap().parse().unwrap();
        let id = LaneId { dataset: dataset.into(), generation, partition };
        let listed: Vec<_> = objects.list(Some(&folder)).map_ok(|object| object.location).try_collect().await.unwrap();
        let mut claims = BTreeMap::new();
        for path in listed.into_iter().filter(|path| names::claim_start(path).is_some()) {
            let claim = json(objects, &path).await;
            claims.insert(path, claim);
        }
        let mut revisions = BTreeMap::new();
        for object in
            objects.list(Some(&folder)).map_ok(|object| object.location).try_collect::<Vec<_>>().await.unwrap()
        {
            if let Some(number) = names::revision_number(&object) {
                revisions.insert(number, json(objects, &object).await);
            }
        }
        let genesis = json(objects, &names::genesis(&id)).await;
        partitions.insert(partition, PartitionLedger { id, genesis, claims, revisions });
    }
    let mut visible = BTreeSet::new();
    for kind in [FileKind::Scored, FileKind::Rejected] {
        let files = data_files(objects, kind, dataset).await;
        let of = |file: &Path| names::data_file_claim(file).is_none_or(|(of, ..)| of == generation);
        visible.extend(files.iter().filter(|file| of(file)).map(ToString::to_string));
    }
    Standing { partitions, visible }
}

async fn json<T: serde::de::DeserializeOwned>(objects: &Arc<dyn ObjectStore>, path: &Path) -> T {
    let bytes = objects.get(path).await.unwrap_or_else(|error| panic!("{path}: {error}")).bytes().await.unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl Standing {
    /// The final names of all files that claims name, and revisions, but for those of rejects that have all become rows.
    pub fn named(&self) -> BTreeSet<String> {
        let claims = self.partitions.values().flat_map(|ledger| ledger.claims.values());
        let mut named: BTreeSet<_> =
            claims.flat_map(|claim| claim.files.iter().map(|file| file.path.clone())).collect();
        for revision in self.partitions.values().flat_map(|ledger| ledger.revisions.values()) {
            named.extend(revision.files.iter().map(|file| file.path.clone()));
            let gone = revision.rejected.iter().filter(|replaced| replaced.now.is_none());
            gone.for_each(|replaced| assert!(named.remove(&replaced.path), "{} is gone once", replaced.path));
        }
        named
    }

    /// Each claim's revisions are numbered from 1 on, and add up to its rejects.
    pub fn assert_revisions_follow(&self) {
        for ledger in self.partitions.values() {
            for claim in ledger.claims.values() {
                let mut left = claim.counts.rejected;
                let of_claim = ledger.revisions.range((claim.start, 0)..=(claim.start, u32::MAX));
                for (number, ((_, found), revision)) in (1..).zip(of_claim) {
                    assert_eq!((*found, revision.number, revision.start), (number, number, claim.start));
                    let counts = revision.counts;
                    assert_eq!(counts.scored + counts.filtered + counts.rejected, left, "{revision:?}");
                    assert!(counts.rejected < left, "{revision:?} takes some");
                    left = counts.rejected;
                }
            }
        }
    }

    pub fn assert_named_by_start(&self) {
        for ledger in self.partitions.values() {
            for (path, claim) in &ledger.claims {
                assert_eq!(*path, names::claim(&ledger.id, claim.start), "a claim's name follows from its start alone");
            }
        }
    }

    /// Every claim starts at genesis or at another's end, and the counts of each account for its offsets.
    pub fn assert_tiled(&self) {
        for ledger in self.partitions.values() {
            let mut at = ledger.genesis.start;
            let mut unmet: BTreeSet<_> = ledger.claims.keys().collect();
            while let Some(claim) = ledger.claims.get(&names::claim(&ledger.id, at)) {
                assert!(claim.end > claim.start && claim.counts.account_for(claim.range()), "{claim:?}");
                unmet.remove(&names::claim(&ledger.id, at));
                at = claim.end;
            }
            assert!(unmet.is_empty(), "not reached from genesis: {unmet:?}");
        }
    }

    /// Each offset up to the head is in a row or counted as absent (none is filtered); how many are absent.
    pub fn assert_absent_is_counted(&self, landed: impl Iterator<Item = (i32, i64)>) -> u64 {
        let mut held: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
        landed.for_each(|(partition, offset)| assert!(held.entry(partition).or_default().insert(offset)));
        let mut absent = 0;
        for (partition, ledger) in &self.partitions {
            for claim in ledger.claims.values() {
                let rows = held.get(partition).map_or(0, |held| held.range(claim.start..claim.end).count());
                let without = claim.range().len() - u64::try_from(rows).unwrap();
                assert_eq!(claim.counts.absent, without, "{claim:?}");
                absent += without;
            }
        }
        absent
    }
}
