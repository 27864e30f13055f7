//! The vocabulary that the stages share: what goes from one to the next, and nothing they do with it.
//!
//! ```text
//! broker ──Batch──▶ decode ──Decoded { Rows, Reject… }──▶ model ──Scores──▶ lake
//! ```

use std::{collections::BTreeMap, fmt};

use arrow::record_batch::RecordBatch;

use crate::offset::OffsetRange;

pub mod avro;
pub mod name;
mod schema;
pub mod short;

pub use self::schema::{Import, Schema, SchemaKind};

/// One record as the broker gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    /// Milliseconds since 1970, UTC, as the broker tells it.
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: BTreeMap<String, Vec<u8>>,
}

/// The records of one fetch, in offset order.
#[derive(Clone, Debug)]
pub struct Batch {
    pub records: Vec<Record>,
    /// From where the fetch began to one past its last record; offsets in it without a record are absent.
    pub range: OffsetRange,
    /// The partition's end when the fetch was answered.
    pub high_watermark: i64,
}

/// A column that the pipeline file declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub kind: FieldKind,
    /// May be absent or null in a record.
    pub nullable: bool,
    /// Where it stands in the record's value; `["payload", "after", "id"]`.
    pub path: Vec<String>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Int32,
    Int64,
    Float32,
    Float64,
    Bool,
    String,
    Timestamp(TimestampFormat),
    /// `2026-11-21`
    Date,
}

/// How a timestamp is written in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampFormat {
    Rfc3339,
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// The records of a batch that could be read, as columns.
#[derive(Clone, Debug)]
pub struct Rows {
    /// One column for each declared field, in the order declared.
    pub columns: RecordBatch,
    /// For each row, the index of its record in the batch; ascending, and the same for all rows of a record.
    pub source: Vec<u32>,
    /// For each row, which of its record's rows it is, from 0; empty where no record can be more than one row.
    pub row: Vec<i32>,
    /// For each row, its event time in milliseconds since 1970, UTC; always inside the configured window.
    pub event_ms: Vec<i64>,
}

impl Rows {
    /// How many records the rows are of.
    #[must_use]
    pub fn records(&self) -> usize {
        if self.row.is_empty() { self.source.len() } else { self.row.iter().filter(|row| **row == 0).count() }
    }
}

/// What became of a batch: rows, the records that could not be rows, and those that were not to be. Together they are the
/// whole batch.
#[derive(Clone, Debug)]
pub struct Decoded {
    pub rows: Rows,
    /// In the order of the batch.
    pub rejects: Vec<Reject>,
    /// The records that say nothing which is to land, such as that a row was deleted: their indices, ascending.
    pub filtered: Vec<u32>,
}

/// A record that can't be a row, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The index of its record in the batch.
    pub source: u32,
    pub reason: Reason,
    /// For people.
    pub detail: String,
    /// The time it is filed under: the record's own if it can be trusted, else the start of the window.
    pub event_ms: i64,
    /// Whether that is the record's own time.
    pub dated: bool,
}

/// Why a record was rejected. The list is closed and its names are stable: readers group by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    Empty,
    TooLarge,
    NotUtf8,
    NotJson,
    NotCsv,
    NotDebezium,
    NotAvro,
    NotProtobuf,
    UnknownSchema,
    WrongType,
    MissingField,
    NotANumber,
    EventTime,
}

impl Reason {
    pub const ALL: [Self; 13] = [
        Self::Empty,
        Self::TooLarge,
        Self::NotUtf8,
        Self::NotJson,
        Self::NotCsv,
        Self::NotDebezium,
        Self::NotAvro,
        Self::NotProtobuf,
        Self::UnknownSchema,
        Self::WrongType,
        Self::MissingField,
        Self::NotANumber,
        Self::EventTime,
    ];

    /// The name in the lake's `reason` column and in metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::NotCsv => "not_csv",
            Self::NotDebezium => "not_debezium",
            Self::NotAvro => "not_avro",
            Self::NotProtobuf => "not_protobuf",
            Self::UnknownSchema => "unknown_schema",
            Self::WrongType => "wrong_type",
            Self::MissingField => "missing_field",
            Self::NotANumber => "not_a_number",
            Self::EventTime => "event_time",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What the model says of each row of a [`Rows`].
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// For each row, the index of its class.
    pub class: Vec<u8>,
    /// For each row, the probability of that class.
    pub confidence: Vec<f32>,
    /// For each class, the probability for each row.
    pub probabilities: Vec<Vec<f32>>,
}

/// Which model scored a segment; written into its claim and its rows.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ModelRef {
    pub name: String,
    pub version: u32,
    /// SHA-256 of the weights and the manifest, in hex.
    pub digest: String,
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}
