//! Bytes to Arrow columns and rejects. Pure: no clock, no network, and no panic on any bytes.
//!
//! Owns: what makes a record a row, and what is wrong with one that is not. Does not own: where either goes.
//!
//! A record is read in one pass, by the reader of its format, into a slot for each declared field; the slots are made to
//! fit their fields (`value`); only a record in which all of them fit is appended to the columns, so that a reject leaves
//! nothing behind.

use std::collections::BTreeSet;

use arrow::{datatypes::SchemaRef, error::ArrowError};

use self::{
    avro::Avro,
    columns::Columns,
    json::Json,
    plan::Plan,
    protobuf::Protobuf,
    raw::RawReader,
    refusal::{Refusal, utc},
    schemas::Lesson,
    slot::Slot,
};
pub use self::{
    avro::{AvroEncoding, AvroSchema, AvroSettings},
    format::{Format, JsonSettings},
    protobuf::{ProtobufSchema, ProtobufSettings},
    schemas::{Learnt, Schemas},
};
use crate::record::{Decoded, Field, FieldKind, Record, Reject, Rows, Schema, SchemaKind, TimestampFormat};

mod avro;
mod columns;
mod confluent;
mod decimal;
mod format;
mod json;
mod plan;
mod protobuf;
mod raw;
mod refusal;
mod schemas;
mod shape;
mod slot;
mod target;
#[cfg(test)]
mod tests;
mod time;
mod value;

/// How a record's value becomes a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeSettings {
    pub format: Format,
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

/// A batch that can't be decoded at all; no record's bytes lead here, unless there are too many of them.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("a batch of {records} records is too large to number them; fetch fewer bytes at once")]
    TooManyRecords { records: usize },
    #[error("a column of a batch holds more than {bytes_max} bytes of text; fetch fewer bytes at once")]
    TooMuchText { bytes_max: usize },
    #[error("the event time is told by field {index}, which is not a declared timestamp; name a field that is")]
    EventField { index: usize },
    #[error("assemble the columns of a batch")]
    Columns(#[from] ArrowError),
}

/// Turns batches of records into rows and rejects. Built once and shared by all lanes.
#[derive(Debug)]
pub struct Decoder {
    plan: Plan,
    form: Form,
    schema: SchemaRef,
    event_time: EventTime,
    window: EventWindow,
    record_bytes_max: usize,
}

/// A format, with what can be worked out before there are records.
#[derive(Debug)]
enum Form {
    Json(Json),
    Avro(Avro),
    Protobuf(Protobuf),
    Raw,
}

/// What reads the records of one batch, each into the same slots. One a format.
trait Reader<'a> {
    /// Reads the whole of a value; after a refusal the slots hold nothing of meaning.
    fn read(&mut self, bytes: &'a [u8]) -> Result<(), Refusal>;

    /// What was read last, a slot for each declared field in the order declared.
    fn slots(&mut self) -> &mut [Slot<'a>];
}

/// Where a row's event time comes from.
#[derive(Clone, Copy, Debug)]
enum EventSource {
    Broker,
    Field { index: usize, units_per_ms: i64 },
}

/// The event window as of now.
#[derive(Debug)]
struct Window {
    earliest_ms: i64,
    latest_ms: i64,
    /// For people; once a batch, because every reject may need it.
    shown: String,
}

impl Window {
    fn at(now_ms: i64, EventWindow { earliest_ms, ahead_ms }: EventWindow) -> Self {
        let latest_ms = now_ms.saturating_add(ahead_ms);
        Self { earliest_ms, latest_ms, shown: format!("{} to {}", utc(earliest_ms), utc(latest_ms)) }
    }

    fn contains(&self, ms: i64) -> bool {
        self.earliest_ms <= ms && ms <= self.latest_ms
    }
}

impl Decoder {
    #[must_use]
    pub fn new(settings: &DecodeSettings) -> Self {
        let plan = Plan::new(&settings.fields, settings.event_time);
        let form = match &settings.format {
            Format::Json(JsonSettings {}) => Form::Json(Json::new(&plan)),
            Format::Avro(settings) => Form::Avro(Avro::new(&plan, settings)),
            Format::Protobuf(settings) => Form::Protobuf(Protobuf::new(&plan, settings)),
            Format::Raw => Form::Raw,
        };
        Self {
            plan,
            form,
            schema: columns::schema(&settings.fields),
            event_time: settings.event_time,
            window: settings.window,
            record_bytes_max: settings.record_bytes_max,
        }
    }

    /// The declared fields, in the order declared.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// As [`Self::decode_with`], for records that need no schema.
    pub fn decode(&self, records: &[Record], now_ms: i64) -> Result<Decoded, DecodeError> {
        self.decode_with(records, &Schemas::default(), now_ms)
    }

    /// Every record ends up either in the rows or in the rejects, both in the order of the batch.
    pub fn decode_with(&self, records: &[Record], known: &Schemas, now_ms: i64) -> Result<Decoded, DecodeError> {
        match &self.form {
            Form::Json(json) => self.batch(json.reader(&self.plan), records, now_ms),
            Form::Avro(avro) => self.batch(avro.reader(&self.plan, known), records, now_ms),
            Form::Protobuf(protobuf) => self.batch(protobuf.reader(&self.plan, known), records, now_ms),
            Form::Raw => self.batch(RawReader::new(&self.plan), records, now_ms),
        }
    }

    /// The ids of the schemas without which some of these records can't be read, each once; few formats have any.
    #[must_use]
    pub fn wanted(&self, records: &[Record]) -> BTreeSet<u32> {
        let mut wanted = BTreeSet::new();
        if !self.asks_a_registry() {
            return wanted;
        }
        let mut last = None;
        let values = records.iter().filter_map(|record| record.value.as_deref());
        for (id, _) in values.filter(|value| value.len() <= self.record_bytes_max).filter_map(confluent::split) {
            if last.replace(id) != Some(id) {
                wanted.insert(id);
            }
        }
        wanted
    }

    /// Whether records name their schemas by ids that a registry knows.
    #[must_use]
    pub fn asks_a_registry(&self) -> bool {
        match &self.form {
            Form::Avro(avro) => avro.asks_a_registry(),
            Form::Protobuf(protobuf) => protobuf.asks_a_registry(),
            Form::Json(_) | Form::Raw => false,
        }
    }

    /// Works a schema out for the declared fields. What can't be used is known for that, and its records are rejects.
    #[must_use]
    pub fn learn(&self, schema: &Schema) -> Learnt {
        let unusable = || Lesson::Unusable(format!("it is {}", schema.kind));
        Learnt(match (&self.form, schema.kind) {
            (Form::Avro(avro), SchemaKind::Avro) => avro.learn(schema),
            (Form::Protobuf(protobuf), SchemaKind::Protobuf) => protobuf.learn(schema),
            (Form::Avro(_) | Form::Protobuf(_) | Form::Json(_) | Form::Raw, _) => unusable(),
        })
    }

    fn batch<'a>(
        &self,
        mut reader: impl Reader<'a>,
        records: &'a [Record],
        now_ms: i64,
    ) -> Result<Decoded, DecodeError> {
        let too_many = |_| DecodeError::TooManyRecords { records: records.len() };
        let sources = 0..u32::try_from(records.len()).map_err(too_many)?;
        let event = self.event_source()?;
        let window = Window::at(now_ms, self.window);
        let mut columns = Columns::new(self.plan.kinds(), records.len());
        let (mut source, mut event_times) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
        let mut rejects = Vec::new();
        for (index, record) in sources.zip(records) {
            match self.row(record, &mut reader, event, &window) {
                Ok(event_ms) => {
                    columns.push(reader.slots())?;
                    source.push(index);
                    event_times.push(event_ms);
                }
                Err(refusal) => rejects.push(reject(index, record, refusal, &window)),
            }
        }
        let columns = columns.finish(self.schema())?;
        Ok(Decoded { rows: Rows { columns, source, event_ms: event_times }, rejects })
    }

    fn event_source(&self) -> Result<EventSource, DecodeError> {
        let EventTime::Field(index) = self.event_time else { return Ok(EventSource::Broker) };
        match self.plan.kind(index) {
            Some(FieldKind::Timestamp(TimestampFormat::Nanoseconds)) => {
                Ok(EventSource::Field { index, units_per_ms: 1_000_000 })
            }
            Some(FieldKind::Timestamp(_)) => Ok(EventSource::Field { index, units_per_ms: 1_000 }),
            _ => Err(DecodeError::EventField { index }),
        }
    }

    /// Makes the record a row in the reader's slots, and tells its event time.
    #[inline]
    fn row<'a>(
        &self,
        record: &'a Record,
        reader: &mut impl Reader<'a>,
        event: EventSource,
        window: &Window,
    ) -> Result<i64, Refusal> {
        reader.read(self.bytes(record)?)?;
        let slots = reader.slots();
        self.plan.settle(slots)?;
        let event_ms = event_ms(event, record, slots);
        if window.contains(event_ms) { Ok(event_ms) } else { Err(Refusal::event_time(event_ms, window)) }
    }

    #[inline]
    fn bytes<'a>(&self, record: &'a Record) -> Result<&'a [u8], Refusal> {
        match record.value.as_deref() {
            None => Err(Refusal::tombstone()),
            Some([]) => Err(Refusal::empty()),
            Some(value) if value.len() > self.record_bytes_max => {
                Err(Refusal::too_large(value.len(), self.record_bytes_max))
            }
            Some(value) => Ok(value),
        }
    }
}

#[inline]
fn event_ms(event: EventSource, record: &Record, slots: &[Slot<'_>]) -> i64 {
    match event {
        EventSource::Broker => record.timestamp_ms,
        EventSource::Field { index, units_per_ms } => match slots.get(index) {
            Some(Slot::Int(time)) => time.div_euclid(units_per_ms),
            // A required timestamp is always settled; were it not, this lies outside any window.
            _ => i64::MIN,
        },
    }
}

fn reject(source: u32, record: &Record, refusal: Refusal, window: &Window) -> Reject {
    let Refusal { reason, detail } = refusal;
    let dated = window.contains(record.timestamp_ms);
    let event_ms = if dated { record.timestamp_ms } else { window.earliest_ms };
    Reject { source, reason, detail, event_ms, dated }
}
