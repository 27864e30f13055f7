//! What a schema says of its fields, with how many records have each.
//!
//! Owns: that the sample says the shares and the schema all else. Does not own: which schema it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Holds, Inferred, Member};
use crate::{
    decode::{
        AvroEncoding, AvroSettings, DecodeError, DecodeSettings, Decoder, Described, Envelope, EventTime, EventWindow,
        Format, ProtobufSettings, Schemas, describe,
    },
    record::{Field, FieldKind, Record, Schema, SchemaKind},
};

/// What the records' fields are: by the newest of the schemas that they were written by.
pub fn infer_by_schema(records: &[Record], guide: &BySchema) -> Result<Inferred, String> {
    let newest = guide.writers.last().ok_or("the records name no schema that the registry has")?;
    let message = guide.message.as_deref();
    let described = describe(&newest.1, message)?;
    let format = format(newest.1.kind, guide);
    let writers = guide.writers.clone();
    let rows = records.iter().filter(|record| record.value.is_some()).count() as u64;
    let mut inferred = Inferred { format, rows, members: vec![], odd: BTreeMap::new(), writers };
    let present = present(&inferred, &described, records).map_err(|error| error.to_string())?;
    inferred.members = described.into_iter().zip(present).map(|(place, present)| member(place, present)).collect();
    Ok(inferred)
}

/// How records that name their schemas in a registry are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BySchema {
    /// The schemas that they name, by their ids; the newest last.
    pub writers: Vec<(u32, Schema)>,
    /// Of Protobuf.
    pub message: Option<String>,
}

/// The ids of the schemas that records name in a registry, in their order.
#[must_use]
pub fn schemas_named(records: &[Record]) -> BTreeSet<u32> {
    let settings = AvroSettings { encoding: AvroEncoding::Registry, reader: None, envelope: Envelope::None };
    decoder(Format::Avro(settings), vec![]).wanted(records)
}

fn format(kind: SchemaKind, guide: &BySchema) -> Format {
    let envelope = Envelope::None;
    match kind {
        SchemaKind::Protobuf => {
            Format::Protobuf(ProtobufSettings { framed: true, schema: None, message: guide.message.clone(), envelope })
        }
        SchemaKind::Avro | SchemaKind::Json => {
            Format::Avro(AvroSettings { encoding: AvroEncoding::Registry, reader: None, envelope })
        }
    }
}

fn member(Described { path, kind, nullable, note }: Described, present: u64) -> Member {
    Member { path, present, nullable, holds: kind.map_or(Holds::NoField, Holds::Kind), note }
}

/// In how many records each place is there and not null.
fn present(inferred: &Inferred, described: &[Described], records: &[Record]) -> Result<Vec<u64>, DecodeError> {
    let field = |(at, place): (usize, &Described)| Field {
        name: at.to_string(),
        // What no field can hold is not counted; a text stands for it, and makes no reject of what is null.
        kind: place.kind.unwrap_or(FieldKind::String),
        nullable: true,
        path: place.path.clone(),
    };
    let held = || described.iter().enumerate().filter(|(_, place)| place.kind.is_some());
    let decoder = decoder(inferred.format.clone(), held().map(field).collect());
    let columns = decoder.decode_with(records, &learnt(&decoder, &inferred.writers), 0)?.rows.columns;
    let mut present = vec![0; described.len()];
    for ((at, _), column) in held().zip(columns.columns()) {
        present[at] = (column.len() - column.null_count()) as u64;
    }
    Ok(present)
}

fn decoder(format: Format, fields: Vec<Field>) -> Decoder {
    let window = EventWindow { earliest_ms: i64::MIN, ahead_ms: i64::MAX };
    Decoder::new(&DecodeSettings {
        format,
        fields,
        event_time: EventTime::Broker,
        window,
        record_bytes_max: usize::MAX,
    })
}

pub(super) fn learnt(decoder: &Decoder, writers: &[(u32, Schema)]) -> Schemas {
    let mut schemas = Schemas::default();
    for (id, schema) in writers {
        schemas.insert(*id, Arc::new(decoder.learn(schema)));
    }
    schemas
}
