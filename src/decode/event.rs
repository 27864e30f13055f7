//! When a record's event was. Owns: where that is told, and which times are believed.

use super::{
    DecodeError,
    refusal::{Refusal, utc},
    slot::Slot,
};
use crate::record::{FieldKind, Record, TimestampFormat};

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

/// The event times of a batch.
#[derive(Debug)]
pub(super) struct Events {
    source: Source,
    earliest_ms: i64,
    latest_ms: i64,
    /// The window, for people; once a batch, because every reject may need it.
    shown: String,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Broker,
    Field { index: usize, units_per_ms: i64 },
}

impl Events {
    /// `kind` is that of the field which tells the time, if one does.
    pub(super) fn new(
        event_time: EventTime,
        kind: Option<FieldKind>,
        EventWindow { earliest_ms, ahead_ms }: EventWindow,
        now_ms: i64,
    ) -> Result<Self, DecodeError> {
        let latest_ms = now_ms.saturating_add(ahead_ms);
        let shown = format!("{} to {}", utc(earliest_ms), utc(latest_ms));
        Ok(Self { source: Source::new(event_time, kind)?, earliest_ms, latest_ms, shown })
    }

    /// The event time of a row that is settled.
    #[inline]
    pub(super) fn of(&self, record: &Record, slots: &[Slot<'_>]) -> Result<i64, Refusal> {
        let event_ms = match self.source {
            Source::Broker => record.timestamp_ms,
            Source::Field { index, units_per_ms } => match slots.get(index) {
                Some(Slot::Int(time)) => time.div_euclid(units_per_ms),
                // A required timestamp is always settled; were it not, this lies outside any window.
                _ => i64::MIN,
            },
        };
        if self.contains(event_ms) { Ok(event_ms) } else { Err(Refusal::event_time(event_ms, &self.shown)) }
    }

    /// The time that a reject is filed under, and whether that is the record's own.
    pub(super) fn filing(&self, record: &Record) -> (i64, bool) {
        let dated = self.contains(record.timestamp_ms);
        (if dated { record.timestamp_ms } else { self.earliest_ms }, dated)
    }

    #[inline]
    fn contains(&self, ms: i64) -> bool {
        self.earliest_ms <= ms && ms <= self.latest_ms
    }
}

impl Source {
    fn new(event_time: EventTime, kind: Option<FieldKind>) -> Result<Self, DecodeError> {
        let EventTime::Field(index) = event_time else { return Ok(Self::Broker) };
        match kind {
            Some(FieldKind::Timestamp(TimestampFormat::Nanoseconds)) => {
                Ok(Self::Field { index, units_per_ms: 1_000_000 })
            }
            Some(FieldKind::Timestamp(_)) => Ok(Self::Field { index, units_per_ms: 1_000 }),
            _ => Err(DecodeError::EventField { index }),
        }
    }
}
