//! A segment grows in memory as encoded Parquet, one file for each kind and hour, until it is committed as a whole.
//!
//! Owns: which row goes to which file, when a segment must be cut, what its claim will count.
//! Invariant: a segment covers one range of offsets, and each record in it is in exactly one of its files;
//! the rows of a record that has several may fall into several hours, each row in one file.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::take_record_batch,
};
use bytes::Bytes;

use super::{Counts, FileKind, Fingerprint, LakeError, Layout, Seen, growing::Growing, names::Bucket};
use crate::{
    offset::{LaneId, OffsetRange},
    record::{Batch, Decoded, ModelRef, Reason, Record, Scores},
};

#[derive(Debug)]
pub struct Segment {
    id: LaneId,
    layout: Arc<Layout>,
    range: OffsetRange,
    counts: Counts,
    fingerprint: Option<Fingerprint>,
    files: BTreeMap<(FileKind, Bucket), OpenFile>,
    example: Option<Example>,
    seen: Seen,
}

/// A reject, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    pub offset: i64,
    pub reason: Reason,
    pub detail: String,
}

#[derive(Debug)]
pub(super) struct OpenFile {
    file: Growing,
    rows: u64,
    undated: bool,
    /// Of what the writer says it takes.
    untouched: usize,
}

/// A segment ready to be committed.
#[derive(Debug)]
pub struct Finished {
    pub range: OffsetRange,
    pub counts: Counts,
    pub fingerprint: Option<Fingerprint>,
    pub model: ModelRef,
    pub files: Vec<EncodedFile>,
}

#[derive(Debug)]
pub struct EncodedFile {
    pub kind: FileKind,
    pub bucket: Bucket,
    pub rows: u64,
    /// Some of its rejects have no time of their own.
    pub undated: bool,
    pub bytes: Bytes,
    pub crc32c: u32,
}

/// A batch that was decoded and scored, on its way into a segment.
#[derive(Debug)]
pub struct Scored {
    pub batch: Batch,
    pub decoded: Decoded,
    pub scores: Scores,
}

impl Segment {
    #[must_use]
    pub fn new(id: LaneId, layout: Arc<Layout>, start: i64) -> Self {
        let range = OffsetRange::empty(start);
        Self {
            id,
            layout,
            range,
            counts: Counts::default(),
            fingerprint: None,
            files: BTreeMap::new(),
            example: None,
            seen: Seen::default(),
        }
    }

    /// The record that was seen last before the segment, which it hands on if it has none of its own.
    #[must_use]
    pub fn after(self, seen: Option<Fingerprint>) -> Self {
        Self { fingerprint: seen, ..self }
    }

    #[must_use]
    pub fn range(&self) -> OffsetRange {
        self.range
    }

    /// Rows of all its files, and what was filtered: what the segment is worth.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.counts.records + self.counts.further_rows
    }

    /// Of the records so far; what is absent is counted at the end.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A reject of those that were taken in last, if there was any.
    #[must_use]
    pub fn example(&self) -> Option<&Example> {
        self.example.as_ref()
    }

    /// What went into it, for people; asked for once, when it is about to be finished.
    pub fn take_seen(&mut self) -> Seen {
        std::mem::take(&mut self.seen)
    }

    /// Bytes held in memory, encoded or about to be.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.files.values().map(OpenFile::memory).sum()
    }

    /// Takes a batch in, or as much of it as fits into the segment's limit of hours: what is left over comes back, and
    /// belongs to the next segment.
    pub fn append(&mut self, scored: Scored) -> Result<Option<Scored>, LakeError> {
        let range = scored.batch.range;
        if range.start != self.range.end {
            return Err(LakeError::Discontinuous { id: self.id.clone(), expected: self.range.end, found: range.start });
        }
        let (taken, rest) = match self.cut(&scored.decoded) {
            None => (scored, None),
            Some(at) => scored.split(at),
        };
        self.take(taken)?;
        Ok(rest)
    }

    /// Closes the files.
    pub fn finish(self) -> Result<Finished, LakeError> {
        let mut counts = self.counts;
        counts.absent = self.range.len() - counts.records;
        let files = self.files.into_iter().map(|((kind, bucket), file)| file.finish(kind, bucket));
        Ok(Finished {
            range: self.range,
            counts,
            fingerprint: self.fingerprint,
            model: self.layout.model.clone(),
            files: files.collect::<Result<_, _>>()?,
        })
    }

    fn take(&mut self, scored: Scored) -> Result<(), LakeError> {
        self.seen.take(&scored);
        let Scored { batch, decoded, scores } = scored;
        let assemble = |what| move |source| LakeError::Assemble { what, source };
        let (rows, rejects) = (decoded.rows.source.len(), decoded.rejects.len());
        if rows > 0 {
            let columns = self.layout.scored_rows(self.id.partition, &batch.records, &decoded, scores);
            let columns = columns.map_err(assemble("scored rows"))?;
            self.write(FileKind::Scored, &columns, &decoded.rows.event_ms)?;
        }
        if let Some(first) = decoded.rejects.first() {
            let offset = batch.records.get(first.source as usize).map_or(batch.range.start, |record| record.offset);
            self.example = Some(Example { offset, reason: first.reason, detail: first.detail.clone() });
            let columns = self.layout.rejected_rows(self.id.partition, &batch.records, &decoded.rejects);
            let columns = columns.map_err(assemble("rejected rows"))?;
            let event_ms: Vec<i64> = decoded.rejects.iter().map(|reject| reject.event_ms).collect();
            self.write(FileKind::Rejected, &columns, &event_ms)?;
            // All of them are filed in one place.
            if let Some(undated) = decoded.rejects.iter().find(|reject| !reject.dated) {
                let bucket = Bucket::of(undated.event_ms, self.layout.partition_by);
                self.file(FileKind::Rejected, bucket)?.undated = true;
            }
        }
        self.range.end = batch.range.end;
        self.counts.records += batch.records.len() as u64;
        let scored = decoded.rows.records();
        self.counts.scored += scored as u64;
        self.counts.further_rows += (rows - scored) as u64;
        self.counts.rejected += rejects as u64;
        self.counts.filtered += decoded.filtered.len() as u64;
        self.fingerprint = batch.records.last().map(Fingerprint::of).or(self.fingerprint);
        Ok(())
    }

    fn write(&mut self, kind: FileKind, rows: &RecordBatch, event_ms: &[i64]) -> Result<(), LakeError> {
        let by = self.layout.partition_by;
        if let Some(only) = Bucket::of_all(event_ms, by) {
            return self.file(kind, only)?.write(rows);
        }
        let mut buckets: BTreeMap<Bucket, Vec<u32>> = BTreeMap::new();
        for (row, event_ms) in (0..).zip(event_ms) {
            buckets.entry(Bucket::of(*event_ms, by)).or_default().push(row);
        }
        for (bucket, members) in buckets {
            let members = take_record_batch(rows, &UInt32Array::from(members));
            let members = members.map_err(|source| LakeError::Assemble { what: "rows of one hour", source })?;
            self.file(kind, bucket)?.write(&members)?;
        }
        Ok(())
    }

    fn file(&mut self, kind: FileKind, bucket: Bucket) -> Result<&mut OpenFile, LakeError> {
        use std::collections::btree_map::Entry;
        match self.files.entry((kind, bucket)) {
            Entry::Occupied(file) => Ok(file.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(OpenFile::new(&self.layout, kind)?)),
        }
    }

    /// The first record of the batch that would open one hour too many.
    fn cut(&self, decoded: &Decoded) -> Option<u32> {
        let by = self.layout.partition_by;
        let mut open: BTreeSet<Bucket> = self.files.keys().map(|(_, bucket)| *bucket).collect();
        let fits = |bucket| open.contains(&bucket) || open.len() < self.layout.hours_max;
        if decoded.rejects.is_empty() && Bucket::of_all(&decoded.rows.event_ms, by).is_some_and(fits) {
            return None;
        }
        let bucket = |(source, event_ms)| (source, Bucket::of(event_ms, by));
        let rows = decoded.rows.source.iter().copied().zip(decoded.rows.event_ms.iter().copied()).map(bucket);
        let rejects = decoded.rejects.iter().map(|reject| (reject.source, reject.event_ms)).map(bucket);
        let mut firsts: Vec<_> = first_of_each(rows).into_iter().chain(first_of_each(rejects)).collect();
        firsts.sort_unstable();
        firsts.into_iter().find_map(|(source, bucket)| {
            open.insert(bucket);
            (open.len() > self.layout.hours_max).then_some(source)
        })
    }
}

/// Where each bucket comes up first.
fn first_of_each(entries: impl Iterator<Item = (u32, Bucket)>) -> Vec<(u32, Bucket)> {
    let mut seen = BTreeSet::new();
    let mut last = None;
    // Neighbours mostly share an hour; only a change is looked up.
    entries.filter(|&(_, bucket)| last.replace(bucket) != Some(bucket) && seen.insert(bucket)).collect()
}

impl OpenFile {
    pub(super) fn new(layout: &Layout, kind: FileKind) -> Result<Self, LakeError> {
        let file = Growing::new(layout.schema(kind), layout.properties(kind));
        let file = file.map_err(|source| LakeError::Encode { what: "a new file", source })?;
        Ok(Self { file, rows: 0, undated: false, untouched: layout.untouched(kind) })
    }

    pub(super) fn memory(&self) -> usize {
        self.file.memory().saturating_sub(self.untouched)
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), LakeError> {
        self.rows += rows.num_rows() as u64;
        self.file.write(rows).map_err(|source| LakeError::Encode { what: "rows", source })
    }

    fn finish(self, kind: FileKind, bucket: Bucket) -> Result<EncodedFile, LakeError> {
        let (rows, undated) = (self.rows, self.undated);
        let bytes = self.encode()?;
        let crc32c = crc32c::crc32c(&bytes);
        Ok(EncodedFile { kind, bucket, rows, undated, bytes, crc32c })
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Closes the file; gives back its bytes.
    pub(super) fn encode(self) -> Result<Bytes, LakeError> {
        let bytes = self.file.finish().map_err(|source| LakeError::Encode { what: "a file's footer", source })?;
        Ok(bytes.into())
    }
}

impl Scored {
    /// Parts the batch before the record at index `at`; nothing comes first if that is the first record.
    fn split(mut self, at: u32) -> (Self, Option<Self>) {
        let Some(cut) = self.batch.records.get(at as usize).map(|record| record.offset) else { return (self, None) };
        let records = self.batch.records.split_off(at as usize);
        let range = self.batch.range;
        let high_watermark = self.batch.high_watermark;
        let (decoded, later) = split_decoded(self.decoded, at);
        let row = decoded.rows.source.len();
        let (scores, later_scores) = split_scores(self.scores, row);
        let first = Batch { records: self.batch.records, range: OffsetRange { end: cut, ..range }, high_watermark };
        let second = Batch { records, range: OffsetRange { start: cut, ..range }, high_watermark };
        (Self { batch: first, decoded, scores }, Some(Self { batch: second, decoded: later, scores: later_scores }))
    }
}

fn split_decoded(mut decoded: Decoded, at: u32) -> (Decoded, Decoded) {
    let row = decoded.rows.source.partition_point(|&source| source < at);
    let reject = decoded.rejects.partition_point(|reject| reject.source < at);
    let later_rows = crate::record::Rows {
        columns: decoded.rows.columns.slice(row, decoded.rows.columns.num_rows() - row),
        source: decoded.rows.source.split_off(row).into_iter().map(|source| source - at).collect(),
        row: decoded.rows.row.split_off(row.min(decoded.rows.row.len())),
        event_ms: decoded.rows.event_ms.split_off(row),
    };
    let mut later_rejects = decoded.rejects.split_off(reject);
    for reject in &mut later_rejects {
        reject.source -= at;
    }
    let filtered = decoded.filtered.partition_point(|&source| source < at);
    let later_filtered = decoded.filtered.split_off(filtered).into_iter().map(|source| source - at).collect();
    decoded.rows.columns = decoded.rows.columns.slice(0, row);
    (decoded, Decoded { rows: later_rows, rejects: later_rejects, filtered: later_filtered })
}

fn split_scores(mut scores: Scores, row: usize) -> (Scores, Scores) {
    let later = Scores {
        class: scores.class.split_off(row),
        confidence: scores.confidence.split_off(row),
        probabilities: scores.probabilities.iter_mut().map(|p| p.split_off(row)).collect(),
    };
    (scores, later)
}

impl Fingerprint {
    /// What tells this record from another at the same offset.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let mut crc = 0;
        let mut add = |bytes: &[u8]| {
            crc = crc32c::crc32c_append(crc, &bytes.len().to_le_bytes());
            crc = crc32c::crc32c_append(crc, bytes);
        };
        add(record.key.as_deref().unwrap_or_default());
        add(record.value.as_deref().unwrap_or_default());
        for (key, value) in &record.headers {
            add(key.as_bytes());
            add(value);
        }
        Self { offset: record.offset, timestamp_ms: record.timestamp_ms, crc32c: crc }
    }
}
