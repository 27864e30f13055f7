//! Which fields records have, by a sample of them.
//!
//! Owns: what a sample says of names, types and nullability, and whether its records would be rows. Does not own: where
//! the sample is from, how the answer is written. Pure.
//!
//! A sample proves nothing about the next record: what is told here is to be read, and changed, by a person.

use std::collections::BTreeMap;

use crate::{
    decode::{
        CsvSettings, DecodeError, DecodeSettings, Decoder, Envelope, EventTime, EventWindow, Format, JsonSettings,
        Lines,
    },
    record::{Field, FieldKind, Reason, Record, Schema},
};

mod by_schema;
mod csv;
mod json;
mod seen;

use seen::Seen;

pub use self::by_schema::{BySchema, infer_by_schema, schemas_named};

/// How the records are written, as far as a person has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guide {
    Json,
    Csv {
        delimiter: u8,
        /// The columns in order; numbered if there are none.
        columns: Vec<String>,
    },
    Raw,
}

/// What a sample says.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred {
    pub format: Format,
    /// Rows that were looked at: records, or their lines.
    pub rows: u64,
    /// In the order in which they were met.
    pub members: Vec<Member>,
    /// What is odd about some records, and how many there are of each.
    pub odd: BTreeMap<String, u64>,
    /// The schemas that the records name, by their ids.
    pub writers: Vec<(u32, Schema)>,
}

/// A place in the records where there is something.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub path: Vec<String>,
    /// Rows in which it is there, and not null.
    pub present: u64,
    pub nullable: bool,
    pub holds: Holds,
    /// What a person may want to know.
    pub note: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Kind(FieldKind),
    /// Nothing that a field could hold; the note says why.
    NoField,
}

/// How many lines of a record count as one segment's hours: a sample's records are not filed anywhere.
const ANY_HOURS: Lines = Lines { hours_max: usize::MAX };

/// What the records' fields are.
#[must_use]
pub fn infer(records: &[Record], guide: &Guide) -> Inferred {
    let values = || records.iter().filter_map(|record| record.value.as_deref());
    let mut inferred = match guide {
        Guide::Json => json::infer(values()),
        Guide::Csv { delimiter, columns } => csv::infer(values(), *delimiter, columns),
        Guide::Raw => raw(records.len() as u64),
    };
    let tombstones = records.iter().filter(|record| record.value.is_none()).count();
    let is_debezium = matches!(inferred.format, Format::Json(JsonSettings { envelope: Envelope::Debezium, .. }));
    if tombstones > 0 && !is_debezium {
        inferred.odd.insert("without a value".into(), tombstones as u64);
    }
    inferred
}

fn raw(rows: u64) -> Inferred {
    let holds = Holds::Kind(FieldKind::String);
    let text = Member { path: vec!["text".into()], present: rows, nullable: false, holds, note: None };
    Inferred { format: Format::Raw, rows, members: vec![text], odd: BTreeMap::new(), writers: vec![] }
}

impl Inferred {
    fn new(format: Format, rows: u64, seen: &Seen, odd: BTreeMap<String, u64>) -> Self {
        Self { format, rows, members: seen.members(rows), odd, writers: vec![] }
    }

    /// How many of the records would be rejects, by reason, if these were the fields of a pipeline.
    pub fn rejects(&self, fields: Vec<Field>, records: &[Record]) -> Result<BTreeMap<Reason, u64>, DecodeError> {
        let decoder = Decoder::new(&DecodeSettings {
            format: self.format.clone(),
            fields,
            event_time: EventTime::Broker,
            window: EventWindow { earliest_ms: i64::MIN, ahead_ms: i64::MAX },
            record_bytes_max: usize::MAX,
        });
        let known = by_schema::learnt(&decoder, &self.writers);
        let rejects = decoder.decode_with(records, &known, 0)?.rejects;
        Ok(rejects.into_iter().fold(BTreeMap::new(), |mut by_reason, reject| {
            *by_reason.entry(reject.reason).or_insert(0) += 1;
            by_reason
        }))
    }
}

fn count(odd: &mut BTreeMap<String, u64>, what: &str) {
    match odd.get_mut(what) {
        Some(records) => *records += 1,
        None => drop(odd.insert(what.to_owned(), 1)),
    }
}

/// The lines of a value that are not empty.
fn lines(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests;
