//! Bytes to Arrow columns and rejects. Pure: no clock, no network, and no panic on any bytes.

use crate::record::Field;

/// How a record's value becomes a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeSettings {
    pub fields: Vec<Field>,
    pub event_time: EventTime,
    pub window: EventWindow,
    /// A larger value is a reject.
    pub record_bytes_max: usize,
}

/// What tells a record's event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTime {
    /// The timestamp that the broker keeps with the record.
    Broker,
    /// The index of a timestamp field; its absence is a reject.
    Field(usize),
}

/// The event times that are believed, so that a broken clock upstream can't scatter files over the centuries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventWindow {
    /// Milliseconds since 1970, UTC.
    pub earliest_ms: i64,
    /// How far ahead of now an event may lie.
    pub ahead_ms: i64,
}
