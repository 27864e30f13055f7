//! A batch while it is decoded. Owns: that each record is in its rows, its rejects or what is filtered, as a whole.

use std::ops::Range;

use arrow::{array::BooleanArray, compute::filter_record_batch, datatypes::SchemaRef};

use super::{
    DecodeError, Reader,
    columns::Columns,
    event::Events,
    plan::{Plan, Verdict},
    refusal::Refusal,
    slot::Slot,
};
use crate::record::{Decoded, Record, Reject, Rows};

#[derive(Debug)]
pub(super) struct Growing<'d> {
    plan: &'d Plan,
    events: Events,
    columns: Columns,
    source: Vec<u32>,
    row: Vec<i32>,
    event_ms: Vec<i64>,
    rejects: Vec<Reject>,
    filtered: Vec<u32>,
    /// What of the columns was taken back: they can't be made shorter.
    dropped: Vec<Range<usize>>,
}

/// How much there was at some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    rows: usize,
    in_columns: usize,
}

impl<'d> Growing<'d> {
    pub(super) fn new(plan: &'d Plan, events: Events, records: usize) -> Self {
        Self {
            plan,
            events,
            columns: Columns::new(plan.kinds(), records),
            source: Vec::with_capacity(records),
            row: vec![],
            event_ms: Vec::with_capacity(records),
            rejects: vec![],
            filtered: vec![],
            dropped: vec![],
        }
    }

    /// Takes a record of which all that was read is one row.
    #[inline]
    pub(super) fn take<'a>(
        &mut self,
        index: u32,
        record: &'a Record,
        bytes: &'a [u8],
        reader: &mut impl Reader<'a>,
    ) -> Result<(), DecodeError> {
        match self.row(record, bytes, reader) {
            Ok(Some(event_ms)) => self.push(index, event_ms, reader.slots())?,
            Ok(None) => self.filter(index),
            Err(refusal) => self.refuse(index, record, refusal),
        }
        Ok(())
    }

    /// Takes one row of several of a record, or tells why it can't be one.
    pub(super) fn take_numbered<'a>(
        &mut self,
        (index, row): (u32, i32),
        record: &'a Record,
        bytes: &'a [u8],
        reader: &mut impl Reader<'a>,
    ) -> Result<Result<(), Refusal>, DecodeError> {
        match self.row(record, bytes, reader) {
            Ok(Some(event_ms)) => {
                self.push(index, event_ms, reader.slots())?;
                self.row.push(row);
                Ok(Ok(()))
            }
            Ok(None) => Ok(Ok(())),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    pub(super) fn filter(&mut self, index: u32) {
        self.filtered.push(index);
    }

    pub(super) fn refuse(&mut self, source: u32, record: &Record, refusal: Refusal) {
        let Refusal { reason, detail } = refusal;
        let (event_ms, dated) = self.events.filing(record);
        self.rejects.push(Reject { source, reason, detail, event_ms, dated });
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { rows: self.source.len(), in_columns: self.columns.rows() }
    }

    /// The event times of the rows since then.
    pub(super) fn events_since(&self, mark: Mark) -> &[i64] {
        self.event_ms.get(mark.rows..).unwrap_or_default()
    }

    /// Forgets the rows since then.
    pub(super) fn take_back(&mut self, mark: Mark) {
        self.dropped.push(mark.in_columns..self.columns.rows());
        self.source.truncate(mark.rows);
        self.row.truncate(mark.rows);
        self.event_ms.truncate(mark.rows);
    }

    pub(super) fn finish(self, schema: SchemaRef) -> Result<Decoded, DecodeError> {
        let in_columns = self.columns.rows();
        let mut columns = self.columns.finish(schema)?;
        if self.dropped.iter().any(|dropped| !dropped.is_empty()) {
            columns = filter_record_batch(&columns, &all_but(&self.dropped, in_columns))?;
        }
        let rows = Rows { columns, source: self.source, row: self.row, event_ms: self.event_ms };
        Ok(Decoded { rows, rejects: self.rejects, filtered: self.filtered })
    }

    /// Makes the value a row in the reader's slots and tells its event time, unless it is no row by what it says.
    #[inline]
    fn row<'a>(
        &self,
        record: &'a Record,
        bytes: &'a [u8],
        reader: &mut impl Reader<'a>,
    ) -> Result<Option<i64>, Refusal> {
        reader.read(bytes)?;
        let slots = reader.slots();
        if self.plan.verdict(slots)? == Verdict::Filtered {
            return Ok(None);
        }
        self.plan.settle(slots)?;
        self.events.of(record, slots).map(Some)
    }

    #[inline]
    fn push(&mut self, index: u32, event_ms: i64, slots: &[Slot<'_>]) -> Result<(), DecodeError> {
        self.columns.push(slots)?;
        self.source.push(index);
        self.event_ms.push(event_ms);
        Ok(())
    }
}

fn all_but(dropped: &[Range<usize>], rows: usize) -> BooleanArray {
    let mut kept = vec![true; rows];
    for range in dropped {
        kept.iter_mut().take(range.end).skip(range.start).for_each(|kept| *kept = false);
    }
    kept.into()
}
