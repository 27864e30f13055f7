//! What people are told about a record that was rejected. Owns: the wording and its bounds.

use std::{borrow::Cow, fmt, str::Utf8Error};

use chrono::{DateTime, SecondsFormat};

use super::{decimal, plan::Planned, slot::Slot, value::Fault};
use crate::record::{FieldKind, Reason, TimestampFormat, short};

/// However long paths and values are; a longer detail is cut.
pub(super) const DETAIL_BYTES_MAX: usize = 256;
/// How much of a text is shown.
const EXCERPT_CHARS_MAX: usize = 32;

/// Why a record can't be a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn new(reason: Reason, mut detail: String) -> Self {
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        Self { reason, detail }
    }

    pub(super) fn tombstone() -> Self {
        Self::new(Reason::Empty, "a tombstone: the record has no value".into())
    }

    pub(super) fn empty() -> Self {
        Self::new(Reason::Empty, "the value has no bytes".into())
    }

    pub(super) fn too_large(bytes: usize, bytes_max: usize) -> Self {
        Self::new(Reason::TooLarge, format!("the value has {bytes} bytes, over the limit of {bytes_max}"))
    }

    pub(super) fn not_utf8(reason: Reason, error: Utf8Error) -> Self {
        Self::new(reason, format!("not UTF-8 from byte {} on", error.valid_up_to() + 1))
    }

    pub(super) fn not_json(error: &serde_json::Error) -> Self {
        Self::new(Reason::NotJson, error.to_string())
    }

    pub(super) fn not_an_object() -> Self {
        Self::new(Reason::WrongType, "the value is JSON, but not an object".into())
    }

    pub(super) fn not_finite_elsewhere() -> Self {
        Self::new(Reason::NotANumber, "a member that is not a declared field is NaN or infinite".into())
    }

    pub(super) fn field(Planned { path, kind, .. }: &Planned, slot: &Slot<'_>, fault: Fault) -> Self {
        let kind = kind_name(*kind);
        let detail = match fault {
            Fault::Missing if *slot == Slot::Null => format!("{path} is null"),
            Fault::Missing => format!("{path} is missing"),
            Fault::WrongType => format!("{path}: {slot} is not {kind}"),
            Fault::OutOfRange => format!("{path}: {slot} is out of range for {kind}"),
            Fault::NotANumber => format!("{path}: {slot} is not a finite number as {kind}"),
        };
        Self::new(fault.reason(), detail)
    }

    pub(super) fn event_time(event_ms: i64, window: &str) -> Self {
        Self::new(Reason::EventTime, format!("event time {} is outside {window}", utc(event_ms)))
    }

    pub(super) fn scattered(hours: usize, hours_max: usize) -> Self {
        let detail = format!("the event times of its lines are in {hours} hours, and a segment takes {hours_max}");
        Self::new(Reason::EventTime, detail)
    }

    pub(super) fn too_many_rows(rows_max: i32) -> Self {
        Self::new(Reason::TooLarge, format!("the value has more than {rows_max} lines that are rows"))
    }

    pub(super) fn no_lines() -> Self {
        Self::new(Reason::Empty, "every line of the value is empty".into())
    }

    pub(super) fn not_csv(detail: String) -> Self {
        Self::new(Reason::NotCsv, detail)
    }

    pub(super) fn not_debezium(detail: String) -> Self {
        Self::new(Reason::NotDebezium, detail)
    }

    /// The same, about a line of a value of several.
    pub(super) fn in_line(self, line: usize) -> Self {
        Self::new(self.reason, format!("line {line}: {}", self.detail))
    }
}

pub(super) fn utc(ms: i64) -> Cow<'static, str> {
    match DateTime::from_timestamp_millis(ms) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Millis, true).into(),
        None => format!("{ms} ms").into(),
    }
}

fn kind_name(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Int32 => "int32",
        FieldKind::Int64 => "int64",
        FieldKind::Float32 => "float32",
        FieldKind::Float64 => "float64",
        FieldKind::Bool => "bool",
        FieldKind::String => "string",
        FieldKind::Timestamp(TimestampFormat::Rfc3339) => "an RFC 3339 timestamp",
        FieldKind::Timestamp(TimestampFormat::Seconds) => "a timestamp in seconds",
        FieldKind::Timestamp(TimestampFormat::Milliseconds) => "a timestamp in milliseconds",
        FieldKind::Timestamp(TimestampFormat::Microseconds) => "a timestamp in microseconds",
        FieldKind::Timestamp(TimestampFormat::Nanoseconds) => "a timestamp in nanoseconds",
        FieldKind::Date => "a date such as 2026-11-21",
    }
}

/// As it may stand in a sentence.
impl fmt::Display for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("nothing"),
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Huge(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(text) => write!(f, "the text {}", short::quoted(text, EXCERPT_CHARS_MAX)),
            Self::NotFinite(written) => f.write_str(&short::shortened(written, EXCERPT_CHARS_MAX)),
            Self::Bytes(bytes) => write!(f, "{} bytes that are no text", bytes.len()),
            Self::Decimal(bytes, scale) => match decimal::text(bytes, *scale) {
                Some(text) => f.write_str(&text),
                None => f.write_str("a decimal of more than 38 digits"),
            },
            Self::Days(days) => write!(f, "a date, {days} days since 1970,"),
            Self::Instant(time, unit) => write!(f, "an instant, {time} {unit} since 1970,"),
            Self::Array => f.write_str("an array"),
            Self::Object => f.write_str("an object"),
            Self::NoObject => f.write_str("what lies in something other than an object"),
        }
    }
}
