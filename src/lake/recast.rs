//! What is made of a claim's rejects when they are tried once more: files of rows, and files of what stays.
//!
//! Owns: which reject goes to which file. Does not own: decoding and scoring, durability ([`super::revise`]).
//! Invariant: each record that was taken in is in exactly one of the files made, or was filtered. What stays is written as
//! it was read, to the last byte.

use std::collections::BTreeMap;
use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{BooleanArray, UInt32Array},
    compute::{filter_record_batch, take_record_batch},
};
use bytes::Bytes;

use super::{FileEntry, FileKind, LakeError, Layout, Rejected, Scored, names::Bucket, segment::OpenFile};
use crate::{offset::LaneId, record::ModelRef};

/// Files that grow in memory until the claim has been gone through.
#[derive(Debug)]
pub struct Recast {
    id: LaneId,
    layout: Arc<Layout>,
    /// What the files of rows may take; what would go beyond stays for the next revision.
    bytes_max: usize,
    rows: BTreeMap<Bucket, OpenFile>,
    open: Option<OpenRejects>,
    rejects: Vec<RecastRejects>,
    scored: u64,
    filtered: u64,
    further_rows: u64,
    is_full: bool,
}

#[derive(Debug)]
struct OpenRejects {
    entry: FileEntry,
    left: OpenFile,
    taken: u64,
}

/// All that a revision will say and stage.
#[derive(Debug)]
pub struct Recasted {
    pub(super) model: ModelRef,
    pub(super) scored: u64,
    pub(super) filtered: u64,
    pub(super) further_rows: u64,
    pub(super) rows: Vec<RecastRows>,
    pub(super) rejects: Vec<RecastRejects>,
    /// There was no room for all of it: another revision is to follow.
    pub is_cut: bool,
}

#[derive(Debug)]
pub(super) struct RecastRows {
    pub(super) bucket: Bucket,
    pub(super) rows: u64,
    pub(super) bytes: Bytes,
}

/// A file of rejects that some were taken from.
#[derive(Debug)]
pub(super) struct RecastRejects {
    pub(super) entry: FileEntry,
    /// What stays, with the number of rows; none, if all were taken.
    pub(super) left: Option<(u64, Bytes)>,
}

impl Recast {
    #[must_use]
    pub fn new(id: LaneId, layout: Arc<Layout>, bytes_max: usize) -> Self {
        Self {
            id,
            layout,
            bytes_max,
            rows: BTreeMap::new(),
            open: None,
            rejects: vec![],
            scored: 0,
            filtered: 0,
            further_rows: 0,
            is_full: false,
        }
    }

    /// Bytes held in memory, encoded or about to be.
    #[must_use]
    pub fn memory(&self) -> usize {
        let left = self.rejects.iter().filter_map(|file| Some(file.left.as_ref()?.1.len()));
        let open = self.open.iter().map(|open| open.left.memory());
        self.rows.values().map(OpenFile::memory).chain(open).chain(left).sum()
    }

    /// Begins with the next file of rejects.
    pub fn open(&mut self, entry: &FileEntry) -> Result<(), LakeError> {
        self.close()?;
        let left = OpenFile::new(&self.layout, FileKind::Rejected)?;
        self.open = Some(OpenRejects { entry: entry.clone(), left, taken: 0 });
        Ok(())
    }

    /// Takes some rejects of the open file in. `tried` says which of them were tried, in their order; `scored` is what came
    /// of these.
    pub fn take(&mut self, rejected: &Rejected, tried: &[u32], scored: &Scored) -> Result<(), LakeError> {
        let mut taken = BTreeSet::new();
        self.take_rows(tried, scored, &mut taken)?;
        self.take_filtered(tried, scored, &mut taken);
        let Some(open) = &mut self.open else { return Ok(()) };
        open.taken += taken.len() as u64;
        let stays: BooleanArray = (0..).map(|row| Some(!taken.contains(&row))).take(rejected.records.len()).collect();
        let left = filter_record_batch(&rejected.rows, &stays).map_err(assemble("the rejects that stay"))?;
        if left.num_rows() > 0 {
            open.left.write(&left)?;
        }
        Ok(())
    }

    /// The rows of records that there is room for.
    fn take_rows(&mut self, tried: &[u32], scored: &Scored, taken: &mut BTreeSet<u32>) -> Result<(), LakeError> {
        let Scored { batch, decoded, scores } = scored;
        if decoded.rows.source.is_empty() {
            return Ok(());
        }
        let all = self.layout.scored_rows(self.id.partition, &batch.records, decoded, scores.clone());
        let all = all.map_err(assemble("scored rows"))?;
        let before = taken.len();
        let mut rows_taken = 0;
        for (bucket, members) in self.by_bucket(scored) {
            let sources = members.iter().filter_map(|&row| decoded.rows.source.get(row as usize));
            taken.extend(sources.filter_map(|&source| tried.get(source as usize)));
            rows_taken += members.len();
            let rows = take_record_batch(&all, &UInt32Array::from(members)).map_err(assemble("rows of one hour"))?;
            self.rows_of(bucket)?.write(&rows)?;
        }
        let records = taken.len() - before;
        self.scored += records as u64;
        self.further_rows += rows_taken.saturating_sub(records) as u64;
        Ok(())
    }

    /// The rows, by the hour that they are filed under; without those that there is no room for. All rows of one record
    /// have room, or none.
    fn by_bucket(&mut self, scored: &Scored) -> BTreeMap<Bucket, Vec<u32>> {
        let mut buckets: BTreeMap<Bucket, Vec<u32>> = BTreeMap::new();
        if self.rows.values().map(OpenFile::memory).sum::<usize>() >= self.bytes_max {
            self.is_full = true;
            return buckets;
        }
        let (by, rows) = (self.layout.partition_by, &scored.decoded.rows);
        let mut open: BTreeSet<Bucket> = self.rows.keys().copied().collect();
        let mut first = 0;
        for record in rows.source.chunk_by(|one, next| one == next) {
            let times = rows.event_ms.iter().skip(first).take(record.len());
            let filed: Vec<Bucket> = times.map(|&event_ms| Bucket::of(event_ms, by)).collect();
            let fresh: BTreeSet<Bucket> = filed.iter().filter(|bucket| !open.contains(bucket)).copied().collect();
            if open.len() + fresh.len() <= self.layout.hours_max.max(fresh.len()) {
                for (row, bucket) in (first..).zip(filed) {
                    buckets.entry(bucket).or_default().extend(u32::try_from(row));
                }
                open.extend(fresh);
            } else {
                self.is_full = true;
            }
            first += record.len();
        }
        buckets
    }

    /// Records that are no rows and no rejects any more.
    fn take_filtered(&mut self, tried: &[u32], scored: &Scored, taken: &mut BTreeSet<u32>) {
        let filtered = &scored.decoded.filtered;
        self.filtered += filtered.len() as u64;
        taken.extend(filtered.iter().filter_map(|&source| tried.get(source as usize)));
    }

    fn rows_of(&mut self, bucket: Bucket) -> Result<&mut OpenFile, LakeError> {
        use std::collections::btree_map::Entry;
        match self.rows.entry(bucket) {
            Entry::Occupied(file) => Ok(file.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(OpenFile::new(&self.layout, FileKind::Scored)?)),
        }
    }

    fn close(&mut self) -> Result<(), LakeError> {
        let Some(OpenRejects { entry, left, taken }) = self.open.take() else { return Ok(()) };
        if taken > 0 {
            let rows = left.rows();
            let left = if rows > 0 { Some((rows, left.encode()?)) } else { None };
            self.rejects.push(RecastRejects { entry, left });
        }
        Ok(())
    }

    /// Closes the files; `None` if no record has moved.
    pub fn finish(mut self) -> Result<Option<Recasted>, LakeError> {
        self.close()?;
        if self.rejects.is_empty() {
            return Ok(None);
        }
        let rows = self.rows.into_iter().map(|(bucket, file)| {
            let rows = file.rows();
            file.encode().map(|bytes| RecastRows { bucket, rows, bytes })
        });
        Ok(Some(Recasted {
            model: self.layout.model.clone(),
            scored: self.scored,
            filtered: self.filtered,
            further_rows: self.further_rows,
            rows: rows.collect::<Result<_, _>>()?,
            rejects: self.rejects,
            is_cut: self.is_full,
        }))
    }
}

impl Recasted {
    /// How many records move: to rows, and out as nothing to be scored.
    #[must_use]
    pub fn moved(&self) -> (u64, u64) {
        (self.scored, self.filtered)
    }
}

fn assemble(what: &'static str) -> impl FnOnce(arrow::error::ArrowError) -> LakeError {
    move |source| LakeError::Assemble { what, source }
}
