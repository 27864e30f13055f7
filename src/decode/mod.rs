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
    csv::{Csv, CsvReader},
    event::Events,
    growing::Growing,
    json::{Json, JsonReader},
    plan::Plan,
    protobuf::Protobuf,
    raw::RawReader,
    refusal::Refusal,
    schemas::Lesson,
    slot::Slot,
};
pub use self::{
    avro::{AvroEncoding, AvroSchema, AvroSettings},
    described::{Described, describe},
    event::{EventTime, EventWindow},
    format::{CsvSettings, Envelope, Format, JsonSettings},
    lines::Lines,
    protobuf::{ProtobufSchema, ProtobufSettings},
    schemas::{Learnt, Schemas},
};
use crate::record::{Decoded, Field, Record, Schema, SchemaKind};

mod avro;
mod columns;
mod confluent;
mod csv;
mod debezium;
mod decimal;
mod described;
mod event;
mod format;
mod growing;
mod json;
mod lines;
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
    lines: Option<Lines>,
    schema: SchemaRef,
    event_time: EventTime,
    window: EventWindow,
    record_bytes_max: usize,
}

/// A format, with what can be worked out before there are records.
#[derive(Debug)]
enum Form {
    Json(Json),
    Csv(Csv),
    Avro(Avro),
    Protobuf(Protobuf),
    Raw,
}

/// What reads the records of one batch, each into the same slots. One a format.
trait Reader<'a> {
    /// Reads the whole of a value; after a refusal the slots hold nothing of meaning.
    fn read(&mut self, bytes: &'a [u8]) -> Result<(), Refusal>;

    /// What was read last: a slot for each declared field in the order declared, then those that the plan asks for beside.
    fn slots(&mut self) -> &mut [Slot<'a>];

    /// The first line of a value of several, with its line break or without, and what follows; neither is lost.
    fn line(&self, bytes: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        lines::split(bytes)
    }
}

impl Decoder {
    #[must_use]
    pub fn new(settings: &DecodeSettings) -> Self {
        let plan = Plan::new(&settings.fields, settings.event_time, settings.format.envelope());
        let form = match &settings.format {
            Format::Json(_) => Form::Json(Json::new(&plan)),
            Format::Csv(csv) => Form::Csv(Csv::new(csv, &settings.fields)),
            Format::Avro(settings) => Form::Avro(Avro::new(&plan, settings)),
            Format::Protobuf(settings) => Form::Protobuf(Protobuf::new(&plan, settings)),
            Format::Raw => Form::Raw,
        };
        Self {
            plan,
            form,
            lines: settings.format.lines(),
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

    /// Whether a record may be several rows, which are numbered then.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        self.lines.is_some()
    }

    /// As [`Self::decode_with`], for records that need no schema.
    pub fn decode(&self, records: &[Record], now_ms: i64) -> Result<Decoded, DecodeError> {
        self.decode_with(records, &Schemas::default(), now_ms)
    }

    /// Every record ends up either in the rows, in the rejects or in what is filtered, all in the order of the batch.
    pub fn decode_with(&self, records: &[Record], known: &Schemas, now_ms: i64) -> Result<Decoded, DecodeError> {
        match &self.form {
            Form::Json(json) => self.batch(JsonReader::new(json, &self.plan), records, now_ms),
            Form::Csv(csv) => self.batch(CsvReader::new(csv, &self.plan), records, now_ms),
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
            Form::Json(_) | Form::Csv(_) | Form::Raw => false,
        }
    }

    /// Works a schema out for the declared fields. What can't be used is known for that, and its records are rejects.
    #[must_use]
    pub fn learn(&self, schema: &Schema) -> Learnt {
        let unusable = || Lesson::Unusable(format!("it is {}", schema.kind));
        Learnt(match (&self.form, schema.kind) {
            (Form::Avro(avro), SchemaKind::Avro) => avro.learn(schema),
            (Form::Protobuf(protobuf), SchemaKind::Protobuf) => protobuf.learn(schema),
            (Form::Avro(_) | Form::Protobuf(_) | Form::Json(_) | Form::Csv(_) | Form::Raw, _) => unusable(),
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
        let mut growing = Growing::new(&self.plan, self.events(now_ms)?, records.len());
        for (index, record) in sources.zip(records) {
            match (self.bytes(record), self.lines) {
                (Ok(bytes), None) => growing.take(index, record, bytes, &mut reader)?,
                (Ok(bytes), Some(lines)) => lines.take(&mut growing, index, record, bytes, &mut reader)?,
                (Err(NoBytes::Filtered), _) => growing.filter(index),
                (Err(NoBytes::Refused(refusal)), _) => growing.refuse(index, record, refusal),
            }
        }
        growing.finish(self.schema())
    }

    fn events(&self, now_ms: i64) -> Result<Events, DecodeError> {
        let kind = match self.event_time {
            EventTime::Broker => None,
            EventTime::Field(index) => self.plan.kind(index),
        };
        Events::new(self.event_time, kind, self.window, now_ms)
    }

    #[inline]
    fn bytes<'a>(&self, record: &'a Record) -> Result<&'a [u8], NoBytes> {
        match record.value.as_deref() {
            None => Err(if self.plan.takes_tombstones() { NoBytes::Filtered } else { Refusal::tombstone().into() }),
            Some([]) => Err(Refusal::empty().into()),
            Some(value) if value.len() > self.record_bytes_max => {
                Err(Refusal::too_large(value.len(), self.record_bytes_max).into())
            }
            Some(value) => Ok(value),
        }
    }
}

/// Why there is nothing to read of a record.
enum NoBytes {
    Filtered,
    Refused(Refusal),
}

impl From<Refusal> for NoBytes {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
