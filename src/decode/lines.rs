//! Values of several lines, each a row of its own. Owns: that a record's lines are all rows, or the record is one reject.

use std::collections::BTreeSet;

use super::{DecodeError, Reader, growing::Growing, refusal::Refusal};
use crate::record::Record;

/// Rows that one record may be.
pub(super) const RECORD_ROWS_MAX: i32 = 10_000;
const HOUR_MS: i64 = 3_600_000;

/// That a value may be several lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Different hours that the rows of one record may fall into: as many as a segment takes.
    pub hours_max: usize,
}

impl Lines {
    /// Takes all rows of a record, or rejects it.
    pub(super) fn take<'a>(
        self,
        growing: &mut Growing<'_>,
        index: u32,
        record: &'a Record,
        bytes: &'a [u8],
        reader: &mut impl Reader<'a>,
    ) -> Result<(), DecodeError> {
        let before = growing.mark();
        let refusal = take_lines(growing, index, record, bytes, reader)?;
        if let Some(refusal) = refusal.or_else(|| self.scattered(growing.events_since(before))) {
            growing.take_back(before);
            growing.refuse(index, record, refusal);
        }
        Ok(())
    }

    /// A segment could not take such a record, however empty it is.
    fn scattered(self, event_ms: &[i64]) -> Option<Refusal> {
        let hour = |ms: &i64| ms.div_euclid(HOUR_MS);
        let (first, last) = (event_ms.iter().map(hour).min()?, event_ms.iter().map(hour).max()?);
        // Mostly there is no need to count them.
        if usize::try_from(last.abs_diff(first)).is_ok_and(|span| span < self.hours_max) {
            return None;
        }
        let hours = event_ms.iter().map(hour).collect::<BTreeSet<_>>().len();
        (hours > self.hours_max).then(|| Refusal::scattered(hours, self.hours_max))
    }
}

/// Takes the rows of a record, up to the first that can't be one.
fn take_lines<'a>(
    growing: &mut Growing<'_>,
    index: u32,
    record: &'a Record,
    bytes: &'a [u8],
    reader: &mut impl Reader<'a>,
) -> Result<Option<Refusal>, DecodeError> {
    let (mut rest, mut row) = (bytes, 0);
    while !rest.is_empty() {
        let (line, after) = reader.line(rest);
        if !is_empty(line) {
            if row == RECORD_ROWS_MAX {
                return Ok(Some(Refusal::too_many_rows(RECORD_ROWS_MAX)));
            }
            if let Err(refusal) = growing.take_numbered((index, row), record, line, reader)? {
                return Ok(Some(refusal.in_line(line_number(bytes, rest))));
            }
            row += 1;
        }
        rest = after;
    }
    Ok((row == 0).then(Refusal::no_lines))
}

/// Of spaces alone; a tab may part columns.
fn is_empty(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\r' | b'\n'))
}

/// Of the line that `rest` begins with, from 1.
fn line_number(bytes: &[u8], rest: &[u8]) -> usize {
    let before = bytes.get(..bytes.len() - rest.len()).unwrap_or_default();
    before.split(|byte| *byte == b'\n').count()
}

/// The first line, and what follows its line break; for formats in which a line break always ends a row.
pub(super) fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => bytes.split_at(end + 1),
        None => (bytes, &[]),
    }
}
