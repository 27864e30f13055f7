//! Record batches, as they stand in a partition's log, become records.
//!
//! Owns: which records a reader may have: none of an aborted transaction, no marker of its end, each offset once; a batch's
//! checksum, and how it is unpacked. Does not own: the layout of a record, which is rskafka's.
//! Invariant: whatever the bytes are, there come records or an error, and never a panic.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufReader, Cursor, Read},
};

use flate2::read::GzDecoder;
use rskafka::protocol::{
    messages::FetchResponseAbortedTransaction as Aborted,
    primitives::{Int8, Int16, Varint, Varlong},
    record::{ControlBatchOrRecords, Record as Laid, RecordBatchBody},
    traits::{ReadError, ReadType},
};

use super::cause::{Cause, undecodable};
use crate::record::Record;

/// A batch's offset and its length stand before what that length counts.
const PREFIX_BYTES: usize = 12;
/// From the end of its prefix to its first record.
const HEADER_BYTES: usize = 49;
/// Before what the checksum is of.
const CHECKED_AT: usize = 21;
/// Of a batch, unpacked at a time.
const UNPACKED_BYTES: usize = 64 << 10;
/// No record is shorter.
const RECORD_BYTES_MIN: usize = 7;
/// The only layout since Kafka 0.11.
const LAYOUT: u8 = 2;
const COMPRESSION: i16 = 0b111;
const PLAIN: i16 = 0;
const GZIP: i16 = 1;
const LZ4: i16 = 3;
const ZSTD: i16 = 4;
const APPENDED: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const ABORT: i16 = 0;

/// What the whole batches of an answer hold.
#[derive(Debug)]
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
    let records = Vec::with_capacity(records_told(batches));
    let mut contents = Contents { records, begin: None, end: from };
    let mut transactions = Transactions::new(aborted);
    let mut rest = batches;
    while let Some(outcome) = Batch::next(&mut rest) {
        let before = contents.records.len();
        if let Err(error) = outcome.and_then(|batch| contents.take(&batch, &mut transactions, from)) {
            if from == contents.end {
                return Err(undecodable(&error.to_string()));
            }
            contents.records.truncate(before);
            return Ok(contents);
        }
    }
    if rest.len() == batches.len() && !rest.is_empty() {
        return Err(Cause::senseless("not even its first batch is whole"));
    }
    Ok(contents)
}

/// As many records as the batches say that they hold, if their bytes can be so many: then there is room for them at once.
fn records_told(mut batches: &[u8]) -> usize {
    std::iter::from_fn(|| Batch::next(&mut batches)).flatten().map(|batch| batch.room()).sum()
}

impl Contents {
    fn take(&mut self, batch: &Batch<'_>, transactions: &mut Transactions, from: i64) -> Result<(), ReadError> {
        let visible = transactions.is_visible(batch)?;
        let end = batch.end()?;
        if from < self.end && batch.base_offset < self.end {
            return Err(malformed("two batches with the same offsets"));
        }
        let before = self.records.len();
        if visible {
            batch.read_into(&mut self.records).map_err(not_cut_off)?;
        }
        let read = self.records.get(before..).unwrap_or_default();
        let beyond = read.last().map_or(Some(end), |last| last.offset.checked_add(1));
        let end = end.max(beyond.ok_or_else(|| malformed("a record whose offset makes no sense"))?);
        // Records ascend: those before the offset asked for stand first.
        let known = read.partition_point(|record| record.offset < self.end);
        self.records.drain(before..before + known);
        if self.end < end {
            self.begin.get_or_insert(batch.base_offset);
            self.end = end;
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
    first_ms: i64,
    max_ms: i64,
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
                first_ms: i64::from_be_bytes(bytes_at(whole, 27)?),
                max_ms: i64::from_be_bytes(bytes_at(whole, 35)?),
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

    /// What a reader gets is what was written, and what is hidden from it is hidden for sure.
    fn check(&self) -> Result<(), ReadError> {
        let (checked, told) = (self.whole.get(CHECKED_AT..), bytes_at(self.whole, 17).map(u32::from_be_bytes));
        if checked.map(crc32c::crc32c) == told { Ok(()) } else { Err(malformed("a batch whose checksum is wrong")) }
    }

    /// Room for its records, by what it says and what its bytes can be; of packed ones there may be more.
    fn room(&self) -> usize {
        usize::try_from(self.records).unwrap_or(0).min(self.whole.len() / RECORD_BYTES_MIN)
    }

    /// After an error, some records may have been added.
    fn read_into(&self, records: &mut Vec<Record>) -> Result<(), ReadError> {
        self.check()?;
        let packed = self.whole.get(PREFIX_BYTES + HEADER_BYTES..).unwrap_or_default();
        match self.attributes & COMPRESSION {
            // Of what compaction has emptied, not even the frame of a compression is left.
            _ if packed.is_empty() && self.records <= 0 => Ok(()),
            PLAIN => self.each(packed, records),
            // A record is read in small pieces, each of which would be a call into the decompressor.
            GZIP => self.each(BufReader::with_capacity(UNPACKED_BYTES, GzDecoder::new(packed)), records),
            LZ4 => self.each(BufReader::with_capacity(UNPACKED_BYTES, lz4::Decoder::new(packed)?), records),
            ZSTD => self.each(BufReader::with_capacity(UNPACKED_BYTES, zstd::Decoder::with_buffer(packed)?), records),
            _ => self.whole_body(records),
        }
    }

    /// The records one after the other to where they are to be, as there may be many, and they are small.
    fn each(&self, mut unpacked: impl Read, records: &mut Vec<Record>) -> Result<(), ReadError> {
        let mut before = None;
        for _ in 0..self.records {
            records.push(self.record(Laid::read(&mut unpacked)?, &mut before)?);
        }
        let mut more = [0];
        if unpacked.read(&mut more)? > 0 {
            return Err(malformed("a batch with something after its last record"));
        }
        Ok(())
    }

    /// What Java and others pack as snappy, each in its way, and what can't be unpacked.
    fn whole_body(&self, records: &mut Vec<Record>) -> Result<(), ReadError> {
        let mut checked = self.whole.get(CHECKED_AT..).unwrap_or_default();
        let body = RecordBatchBody::read(&mut checked)?;
        if !checked.is_empty() {
            return Err(malformed("a batch with something after its last record"));
        }
        let ControlBatchOrRecords::Records(laid) = body.records else { return Ok(()) };
        let mut before = None;
        for laid in laid {
            records.push(self.record(laid, &mut before)?);
        }
        Ok(())
    }

    /// A record as we know it; offsets ascend.
    fn record(&self, laid: Laid, before: &mut Option<i64>) -> Result<Record, ReadError> {
        let offset = self.base_offset.checked_add(i64::from(laid.offset_delta));
        let offset = offset.filter(|offset| laid.offset_delta >= 0 && before.is_none_or(|last| last < *offset));
        let offset = offset.ok_or_else(|| malformed("a record whose offset makes no sense"))?;
        *before = Some(offset);
        let created_ms = self.first_ms.checked_add(laid.timestamp_delta);
        let timestamp_ms = if self.is(APPENDED) { Some(self.max_ms) } else { created_ms };
        let timestamp_ms = timestamp_ms.ok_or_else(|| malformed("a record whose time makes no sense"))?;
        let mut headers = BTreeMap::new();
        // Collecting none takes its time too, and most records have none.
        if !laid.headers.is_empty() {
            headers = laid.headers.into_iter().map(|header| (header.key, header.value)).collect();
        }
        Ok(Record { offset, timestamp_ms, key: laid.key, value: laid.value, headers })
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
