//! Record batches, as they stand in a partition's log, become records.
//!
//! Owns: which records a reader may have: none of an aborted transaction, no marker of its end, each offset once. Does
//! not own: compression and the layout of a record, which are rskafka's.
//! Invariant: whatever the bytes are, there come records or an error, and never a panic.

use std::{collections::BTreeSet, io::Cursor};

use rskafka::protocol::{
    messages::FetchResponseAbortedTransaction as Aborted,
    primitives::{Int8, Int16, Varint, Varlong},
    record::{ControlBatchOrRecords, RecordBatch, RecordBatchTimestampType},
    traits::{ReadError, ReadType},
};

use super::cause::{Cause, undecodable};
use crate::record::Record;

/// A batch's offset and its length stand before what that length counts.
const PREFIX_BYTES: usize = 12;
/// From the end of its prefix to its first record.
const HEADER_BYTES: usize = 49;
/// The only layout since Kafka 0.11.
const LAYOUT: u8 = 2;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const ABORT: i16 = 0;

/// What the whole batches of an answer hold.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) records: Vec<Record>,
    /// Where the first batch begins that is not wholly before the offset asked for.
    pub(super) begin: Option<i64>,
    /// One past the last batch, whether or not there is a record at its end.
    pub(super) end: i64,
}

/// The records from `from` on. What can't be read is an error only if nothing stands before it: then it is what the
/// offset asked for has to wait for.
pub(super) fn read(batches: &[u8], aborted: Vec<Aborted>, from: i64) -> Result<Contents, Cause> {
    let mut contents = Contents { end: from, ..Contents::default() };
    let mut transactions = Transactions::new(aborted);
    let mut rest = batches;
    while let Some(outcome) = Batch::next(&mut rest) {
        match outcome.and_then(|batch| contents.take(&batch, &mut transactions, from)) {
            Ok(()) => {}
            Err(_) if from < contents.end => return Ok(contents),
            Err(error) => return Err(undecodable(&error.to_string())),
        }
    }
    if rest.len() == batches.len() && !rest.is_empty() {
        return Err(Cause::senseless("not even its first batch is whole"));
    }
    Ok(contents)
}

impl Contents {
    fn take(&mut self, batch: &Batch<'_>, transactions: &mut Transactions, from: i64) -> Result<(), ReadError> {
        let visible = transactions.is_visible(batch)?;
        let end = batch.end()?;
        if from < self.end && batch.base_offset < self.end {
            return Err(malformed("two batches with the same offsets"));
        }
        let mut records = if visible { batch.records()? } else { vec![] };
        let beyond = records.last().map_or(Some(end), |last| last.offset.checked_add(1));
        let end = end.max(beyond.ok_or_else(|| malformed("a record whose offset makes no sense"))?);
        if end <= self.end {
            return Ok(());
        }
        if batch.base_offset < self.end {
            records.retain(|record| record.offset >= self.end);
        }
        self.begin.get_or_insert(batch.base_offset);
        self.end = end;
        if self.records.is_empty() {
            self.records = records;
        } else {
            self.records.append(&mut records);
        }
        Ok(())
    }
}

/// Which producers have a transaction open, at this place of the log, that they will abort.
#[derive(Debug)]
struct Transactions {
    /// Those that begin further on; the last is the next.
    aborted: Vec<Aborted>,
    open: BTreeSet<i64>,
}

impl Transactions {
    fn new(mut aborted: Vec<Aborted>) -> Self {
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset.0));
        Self { aborted, open: BTreeSet::new() }
    }

    /// Whether a reader may have the batch's records.
    fn is_visible(&mut self, batch: &Batch<'_>) -> Result<bool, ReadError> {
        let end = batch.end()?;
        while let Some(begun) = self.aborted.pop_if(|next| next.first_offset.0 < end) {
            self.open.insert(begun.producer_id.0);
        }
        if batch.is(CONTROL) {
            batch.check()?;
            if batch.marker()? == Some(ABORT) {
                self.open.remove(&batch.producer);
            }
            return Ok(false);
        }
        let aborted = batch.is(TRANSACTIONAL) && self.open.contains(&batch.producer);
        if aborted {
            batch.check()?;
        }
        Ok(!aborted)
    }
}

/// One batch, its header read.
#[derive(Debug)]
struct Batch<'a> {
    base_offset: i64,
    attributes: i16,
    last_delta: i32,
    producer: i64,
    records: i32,
    whole: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The next batch; none at the end, or where the broker cut the last one off.
    fn next(rest: &mut &'a [u8]) -> Option<Result<Self, ReadError>> {
        let length = i32::from_be_bytes(bytes_at(rest, 8)?);
        let length = PREFIX_BYTES.checked_add(usize::try_from(length).unwrap_or(0))?;
        let (whole, after) = rest.split_at_checked(length)?;
        *rest = after;
        Some(Self::read(whole))
    }

    fn read(whole: &'a [u8]) -> Result<Self, ReadError> {
        let told = |layout: u8| malformed(format!("a batch in layout {layout}, which Kafka 0.11 gave up"));
        match whole.get(PREFIX_BYTES + 4) {
            Some(&LAYOUT) => {}
            Some(&layout) => return Err(told(layout)),
            None => return Err(malformed("a batch without a header")),
        }
        let read = || {
            Some(Self {
                base_offset: i64::from_be_bytes(bytes_at(whole, 0)?),
                attributes: i16::from_be_bytes(bytes_at(whole, 21)?),
                last_delta: i32::from_be_bytes(bytes_at(whole, 23)?),
                producer: i64::from_be_bytes(bytes_at(whole, 43)?),
                records: i32::from_be_bytes(bytes_at(whole, 57)?),
                whole,
            })
        };
        read().ok_or_else(|| malformed("a batch whose header is cut off"))
    }

    fn is(&self, attribute: i16) -> bool {
        self.attributes & attribute != 0
    }

    /// One past its last offset, which compaction leaves as it was.
    fn end(&self) -> Result<i64, ReadError> {
        let end = self.base_offset.checked_add(i64::from(self.last_delta)).and_then(|last| last.checked_add(1));
        end.filter(|end| 0 <= self.base_offset && self.base_offset < *end)
            .ok_or_else(|| malformed("a batch whose offsets make no sense"))
    }

    /// What is hidden from a reader is hidden for sure: a batch with records is checked where these are read.
    fn check(&self) -> Result<(), ReadError> {
        let (checked, told) = (self.whole.get(21..), bytes_at(self.whole, 17).map(u32::from_be_bytes));
        if checked.map(crc32c::crc32c) == told { Ok(()) } else { Err(malformed("a batch whose checksum is wrong")) }
    }

    fn records(&self) -> Result<Vec<Record>, ReadError> {
        let batch = RecordBatch::read(&mut Cursor::new(self.whole)).map_err(not_cut_off)?;
        let ControlBatchOrRecords::Records(records) = batch.records else { return Ok(vec![]) };
        let appended = batch.timestamp_type == RecordBatchTimestampType::LogAppendTime;
        let mut before = None;
        let records = records.into_iter().map(|record| {
            let offset = batch.base_offset.checked_add(i64::from(record.offset_delta));
            let offset = offset.filter(|offset| record.offset_delta >= 0 && before.is_none_or(|last| last < *offset));
            let offset = offset.ok_or_else(|| malformed("a record whose offset makes no sense"))?;
            before = Some(offset);
            let created_ms = batch.first_timestamp.checked_add(record.timestamp_delta);
            let timestamp_ms = if appended { Some(batch.max_timestamp) } else { created_ms };
            Ok(Record {
                offset,
                timestamp_ms: timestamp_ms.ok_or_else(|| malformed("a record whose time makes no sense"))?,
                key: record.key,
                value: record.value,
                headers: record.headers.into_iter().map(|header| (header.key, header.value)).collect(),
            })
        });
        records.collect()
    }

    /// What a control batch says of its transaction; nothing once compaction has taken the marker out.
    fn marker(&self) -> Result<Option<i16>, ReadError> {
        if self.records == 0 {
            return Ok(None);
        }
        let mut record = Cursor::new(self.whole.get(PREFIX_BYTES + HEADER_BYTES..).unwrap_or_default());
        let _length = Varint::read(&mut record)?;
        let _attributes = Int8::read(&mut record)?;
        let _timestamp_delta = Varlong::read(&mut record)?;
        let _offset_delta = Varint::read(&mut record)?;
        let _key_length = Varint::read(&mut record)?;
        let _version = Int16::read(&mut record)?;
        Ok(Some(Int16::read(&mut record)?.0))
    }
}

/// A batch that is there whole and ends too early is broken, not cut off by the broker.
fn not_cut_off(error: ReadError) -> ReadError {
    match error {
        ReadError::IO(_) => malformed("a batch that ends inside a record"),
        other => other,
    }
}

fn malformed(what: impl Into<String>) -> ReadError {
    ReadError::Malformed(what.into().into())
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests;
