//! JSON lines, through the same decoder as a stream's records.

use std::{
    borrow::Cow,
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
};

use anyhow::Context;
use arrow::array::RecordBatch;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Added, Sink, Tally, Writer};
use crate::{
    decode::{DecodeSettings, Decoder, EventTime, EventWindow, Format},
    model::{Model, Scorer},
    record::{Record, Rows, Scores},
};

/// A longer line is no record.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Lines that are decoded and scored at once…
const LINES_AT_ONCE: usize = 4_096;
/// …or fewer, if they are long.
const BYTES_AT_ONCE: usize = 8 << 20;

#[derive(Debug)]
pub(super) struct Lines {
    decoder: Decoder,
    scorer: Scorer,
    added: Added,
}

/// Some lines, each a record whose offset is the line's number; and what could be scored of them.
struct Chunk {
    records: Vec<Record>,
    rows: Rows,
    scores: Scores,
}

impl Lines {
    pub fn new(model: &Model) -> anyhow::Result<Self> {
        let decoder = Decoder::new(&DecodeSettings {
            format: Format::default(),
            fields: model.fields(),
            // A line has no time, and none is asked for.
            event_time: EventTime::Broker,
            window: EventWindow { earliest_ms: 0, ahead_ms: i64::MAX },
            record_bytes_max: LINE_BYTES_MAX,
        });
        let scorer = model.scorer(&decoder.schema())?;
        Ok(Self { decoder, scorer, added: Added::new(model.classes()) })
    }

    /// A table of the scored features, without rows.
    pub fn no_rows(&self) -> RecordBatch {
        RecordBatch::new_empty(self.added.schema(&self.decoder.schema()))
    }

    pub fn score_to_table(
        &self,
        mut file: BufReader<impl Read>,
        place: &str,
        out: &mut Writer,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let mut line = 0;
        while let Some(chunk) = self.next(&mut file, place, &mut line, tally)? {
            out.write(&self.added.to_rows(&chunk.rows.columns, chunk.scores)?)?;
        }
        Ok(())
    }

    /// Each line as it was, with the answer added.
    pub fn score_to_lines(
        &self,
        mut file: BufReader<impl Read>,
        place: &str,
        out: &mut Sink,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let mut line = 0;
        while let Some(Chunk { records, rows, scores }) = self.next(&mut file, place, &mut line, tally)? {
            for (row, &source) in rows.source.iter().enumerate() {
                let record =
                    records.get(source as usize).and_then(|record| record.value.as_deref()).unwrap_or_default();
                self.write_line(out, str::from_utf8(record)?, &scores, row).context("write the results")?;
            }
            // Who follows a stream of lines wants to see what there is.
            out.flush().context("write the results")?;
        }
        Ok(())
    }

    fn next(
        &self,
        file: &mut BufReader<impl Read>,
        place: &str,
        line: &mut i64,
        tally: &mut Tally,
    ) -> anyhow::Result<Option<Chunk>> {
        let records = read(file, line).with_context(|| format!("read {place}"))?;
        if records.is_empty() {
            return Ok(None);
        }
        let decoded = self.decoder.decode(&records, 0)?;
        for reject in &decoded.rejects {
            let number = records.get(reject.source as usize).map_or(0, |record| record.offset);
            tally.bad(&format!("line {number} of {place}"), &format!("{}, {}", reject.reason, reject.detail))?;
        }
        let scores = self.scorer.score(&decoded.rows.columns)?;
        tally.scored += decoded.rows.source.len() as u64;
        Ok(Some(Chunk { records, rows: decoded.rows, scores }))
    }

    fn write_line(&self, out: &mut impl Write, record: &str, scores: &Scores, row: usize) -> io::Result<()> {
        let comma = if self.added.may_stand_in(record) {
            self.write_others(out, record)?
        } else {
            // The decoder has seen that it is an object.
            let open = record.trim_ascii_end().strip_suffix('}').unwrap_or(record).trim_ascii_end();
            out.write_all(open.as_bytes())?;
            !open.ends_with('{')
        };
        self.added.write_members(out, comma, scores, row)?;
        out.write_all(b"}\n")
    }

    /// Writes an object without its end, and without what is about to be added; tells whether it has members.
    fn write_others(&self, out: &mut impl Write, record: &str) -> io::Result<bool> {
        let Members(mut members) = serde_json::from_str(record)?;
        members.retain(|(name, _)| !self.added.has(name));
        out.write_all(b"{")?;
        for (place, (name, value)) in members.iter().enumerate() {
            out.write_all(if place == 0 { b"" } else { b"," })?;
            serde_json::to_writer(&mut *out, name)?;
            write!(out, ":{value}")?;
        }
        Ok(!members.is_empty())
    }
}

/// The next lines, without those that are blank; none at the end. What is there is not kept waiting for more.
fn read(file: &mut BufReader<impl Read>, line: &mut i64) -> io::Result<Vec<Record>> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    while records.len() < LINES_AT_ONCE
        && bytes < BYTES_AT_ONCE
        && (records.is_empty() || file.buffer().contains(&b'\n'))
    {
        let mut value = Vec::new();
        if file.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut value)? == 0 {
            break;
        }
        *line += 1;
        if value.len() > LINE_BYTES_MAX {
            return Err(io::Error::other(format!("line {line} is longer than {} MiB", LINE_BYTES_MAX >> 20)));
        }
        value.truncate(value.trim_ascii_end().len());
        bytes += value.len();
        if !value.is_empty() {
            records.push(Record { offset: *line, value: Some(value), ..Record::default() });
        }
    }
    Ok(records)
}

/// The members of an object in their order, values as they were written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(parser: D) -> Result<Self, D::Error> {
        parser.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = object.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}
